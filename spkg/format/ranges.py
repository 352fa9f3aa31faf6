"""Ranges of the payload: how many overlap at one place, and what they leave uncovered."""

from collections.abc import Collection, Iterable
from typing import NamedTuple

__all__ = ["Range", "deepest_overlap", "uncovered"]


class Range(NamedTuple):
    """A range of payload bytes: where it begins and how long it is; sorted by these two."""

    start: int
    length: int

    @property
    def end(self) -> int:
        """The position after the last byte."""
        return self.start + self.length

    def behind(self, count: int) -> "Range":
        """Return the range without its first *count* bytes."""
        return Range(self.start + count, self.length - count)


def deepest_overlap(ranges: Collection[Range]) -> frozenset[Range]:
    """Return the largest set of ranges that all have one byte in common."""
    starts = sorted(one for one in ranges if one.length)
    active: set[Range] = set()
    deepest: frozenset[Range] = frozenset()
    for one in starts:
        active = {other for other in active if other.end > one.start}
        active.add(one)
        if len(active) > len(deepest):
            deepest = frozenset(active)
    return deepest


def uncovered(ranges: Iterable[Range], length: int) -> tuple[Range, ...]:
    """Return the parts of a payload of *length* bytes that are not in any of the *ranges*."""
    gaps: list[Range] = []
    position = 0
    for one in sorted(one for one in ranges if one.length):
        if one.start > position:
            gaps.append(Range(position, one.start - position))
        position = max(position, one.end)
    if position < length:
        gaps.append(Range(position, length - position))
    return tuple(gaps)
