"""JSON documents: their type, and how they are written."""

import json
from collections.abc import Mapping
from typing import Any

from spkg.common.printable import without_surrogates

__all__ = ["Document", "json_text"]

Document = dict[str, Any]
"""A JSON object."""


def json_text(document: Mapping[str, Any], *, indent: int | None = None) -> str:
    """Return a document as JSON that every reader accepts: without lone surrogates, which many refuse."""
    return json.dumps(_plain(document), indent=indent)


def _plain(value: Any) -> Any:
    match value:
        case str():
            return without_surrogates(value)
        case Mapping():
            return {_plain(key): _plain(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_plain(inner) for inner in value]
        case _:
            return value
