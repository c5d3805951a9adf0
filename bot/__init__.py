"""A Slack bot that streams Claude's replies into messages."""

__version__ = "0.1.0"
