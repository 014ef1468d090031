"""Python SDK of LtAI. See ``ltai_hub.client.client``."""

from ltai_hub.client.client import Client
from ltai_hub.client.types import Page

__all__ = ["Client", "Page"]
