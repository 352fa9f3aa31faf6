"""Ranges of the payload: how deep they overlap, and what they leave uncovered."""

from collections.abc import Collection, Iterable
from typing import NamedTuple

__all__ = ["Range", "deepest_overlap", "uncovered"]


class Range(NamedTuple):
    """Octets of the payload: where they begin and how many they are; in the order of these two."""

    start: int
    length: int

    @property
    def end(self) -> int:
        """The octet behind the last."""
        return self.start + self.length

    def behind(self, count: int) -> "Range":
        """Return it without its first octets."""
        return Range(self.start + count, self.length - count)


def deepest_overlap(ranges: Collection[Range]) -> frozenset[Range]:
    """Return the largest set of ranges that all have one octet in common."""
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
    """Return the runs of a payload of *length* octets that belong to none of the *ranges*."""
    gaps: list[Range] = []
    position = 0
    for one in sorted(one for one in ranges if one.length):
        if one.start > position:
            gaps.append(Range(position, one.start - position))
        position = max(position, one.end)
    if position < length:
        gaps.append(Range(position, length - position))
    return tuple(gaps)
