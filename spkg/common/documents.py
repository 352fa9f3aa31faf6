"""What JSON documents are here."""

from typing import Any

__all__ = ["Document"]

Document = dict[str, Any]
"""A JSON object."""
