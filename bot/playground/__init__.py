"""The bot against a Slack and a Claude of our own, on loopback ports."""
