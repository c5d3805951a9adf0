"""The Web API, one file for each family of methods."""

from . import chat, conversations, files, reactions, streams, threads, users, views
from .registry import METHODS, Method

__all__ = [
    "METHODS",
    "Method",
    "chat",
    "conversations",
    "files",
    "reactions",
    "streams",
    "threads",
    "users",
    "views",
]
