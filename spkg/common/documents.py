"""The type of JSON documents."""

from typing import Any

__all__ = ["Document"]

Document = dict[str, Any]
"""A JSON object."""
