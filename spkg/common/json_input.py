"""JSON from files of unknown origin: read strictly, so that every other reader finds the same in it."""

import json
from collections.abc import Sequence
from typing import Any, NoReturn

from spkg.errors import FormatError

__all__ = ["read_json"]


def read_json(octets: bytes, source: str | None = None) -> Any:
    """Return the value that *octets* contain, in UTF-8.

    Args:
        octets: The contents of the file, of a length that the caller has limited.
        source: Its name, for errors.

    Raises:
        FormatError: It is not JSON, or readers differ on what it means: a key occurs twice, or there is NaN.
    """
    try:
        text = octets.decode()
    except UnicodeDecodeError as exc:
        line = octets.count(b"\n", 0, exc.start) + 1
        raise FormatError("expected UTF-8", source=source, line=line) from exc
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except json.JSONDecodeError as exc:
        problem = f"expected JSON: {exc.msg[:1].lower()}{exc.msg[1:]}"
        raise FormatError(problem, source=source, line=exc.lineno) from exc
    except RecursionError as exc:
        raise FormatError("the JSON is nested too deeply", source=source) from exc
    except _UnusableError as exc:
        raise FormatError(f"the JSON can't be used: {exc}", source=source) from exc
    except ValueError as exc:
        raise FormatError(
            "the JSON can't be used: a number in it has too many digits", source=source
        ) from exc


class _UnusableError(ValueError):
    """Readers differ on what it means."""


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _UnusableError(f"the key {twice!r:.60} occurs twice")
    return found


def _no_number(word: str) -> NoReturn:
    raise _UnusableError(f"{word} is not a number of JSON")
