"""Versions made of numbers, and the version ranges of packages (TR-069 E.4.10, Table 74)."""

from collections.abc import Sequence

__all__ = ["meets_maximum", "meets_minimum", "parse_version"]


def parse_version(text: str) -> tuple[int, ...]:
    """Return the elements of a version such as ``6.3.9``, the most major first.

    Raises:
        ValueError: It is not made of numbers that fit into 32 bits.
    """
    parts = text.split(".")
    if not all(
        part.isascii() and part.isdecimal() and len(part) <= 10 and int(part) < 1 << 32 for part in parts
    ):
        raise ValueError(f"must be a version such as 6.3.9, got {text[:40]!r}")
    return tuple(int(part) for part in parts)


def meets_minimum(version: Sequence[int], bound: Sequence[int]) -> bool:
    """Whether a device of *version* meets a Minimum Version command."""
    return _first_elements(version, len(bound)) >= tuple(bound)


def meets_maximum(version: Sequence[int], bound: Sequence[int]) -> bool:
    """Whether a device of *version* meets a Maximum Version command: 6.3.9 meets a maximum of 6.3."""
    return _first_elements(version, len(bound)) <= tuple(bound)


def _first_elements(version: Sequence[int], count: int) -> tuple[int, ...]:
    """Return as many elements as the command has: the command decides how many count (decision 17)."""
    return (*version[:count], *[0] * (count - len(version)))
