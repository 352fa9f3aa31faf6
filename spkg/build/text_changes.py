"""Changed text files, line by line; within limits, since nothing of the packages is verified."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import islice, pairwise
from typing import Final

from spkg.build.compare import Difference, FileState
from spkg.format.ranges import Range
from spkg.verify.payload import Payload
from spkg.verify.single_pass import Consumer, distribute

__all__ = ["Omission", "TextChange", "text_changes"]

MAX_TEXT: Final = 1 << 20
"""The largest file that is compared as text, in bytes."""
MAX_TEXTS: Final = 8 << 20
"""The most bytes of one package that are compared as text."""
MAX_SHOWN_LINES: Final = 10_000
"""The most lines of a difference that are shown for one file."""
MAX_CHANGES: Final = 1000
"""How many removed and added lines are looked for; the time for that grows with the square."""
CONTEXT: Final = 3
"""How many unchanged lines are shown around changed ones."""
UNENDED: Final = "\n\\"
"""What marks a last line without a line break: no line contains one."""
Part = tuple[int, int, int, int]
"""The lines of one text, from and to, that are replaced by lines of the other, from and to."""


class Omission(Enum):
    """Why a file is not compared as text."""

    BINARY = "binary"
    """It contains a NUL, or is not UTF-8."""
    LARGE = "too large"


@dataclass(frozen=True, kw_only=True)
class TextChange:
    """The difference of one file."""

    path: str
    lines: tuple[str, ...]
    """As ``diff -u`` writes it, from the first ``@@`` on; empty if only the mode differs."""
    omitted: Omission | None
    cut: bool
    """Whether there are more lines than are shown."""


def text_changes(found: Difference, before: Payload, after: Payload) -> tuple[TextChange, ...]:
    """Return the difference of each changed, added or removed file, in the order of *found*.

    Args:
        found: What differs.
        before: The payload of the first package, from its beginning.
        after: That of the second one.

    Raises:
        FormatError: A payload is shorter or longer than its header states.
    """
    old = _contents([file.before for file in found.files], before)
    new = _contents([file.after for file in found.files], after)
    return tuple(
        _change(file.path, one, other) for file, one, other in zip(found.files, old, new, strict=True)
    )


class _Collector(Consumer):
    """A consumer that keeps its range."""

    def __init__(self, wanted: Range) -> None:
        self.range = wanted
        self.octets = bytearray()

    def feed(self, octets: memoryview) -> None:
        """Keep the next bytes."""
        self.octets += octets


def _contents(states: Sequence[FileState | None], payload: Payload) -> list[bytes | Omission]:
    """Return the contents of each file, empty for one that does not exist, or why it is left out."""
    collectors: dict[Range, _Collector] = {}
    left = MAX_TEXTS
    for state in states:
        if state is not None and state.length <= min(MAX_TEXT, left) and state.place not in collectors:
            collectors[state.place] = _Collector(state.place)
            left -= state.length
    distribute(payload, collectors.values())
    contents: list[bytes | Omission] = []
    for state in states:
        if state is None:
            contents.append(b"")
        elif state.place in collectors:
            contents.append(bytes(collectors[state.place].octets))
        else:
            contents.append(Omission.LARGE)
    return contents


def _change(path: str, before: bytes | Omission, after: bytes | Omission) -> TextChange:
    old, new = _lines(before), _lines(after)
    for side in (old, new):
        if isinstance(side, Omission):
            return TextChange(path=path, lines=(), omitted=side, cut=False)
    assert not isinstance(old, Omission)  # the loop has checked both
    assert not isinstance(new, Omission)
    shown = tuple(islice(_hunks(old, new), MAX_SHOWN_LINES + 1))
    return TextChange(
        path=path, lines=shown[:MAX_SHOWN_LINES], omitted=None, cut=len(shown) > MAX_SHOWN_LINES
    )


def _lines(contents: bytes | Omission) -> list[str] | Omission:
    """Return the lines of a text; the last one ends in a line break, or with the note that it does not."""
    if isinstance(contents, Omission):
        return contents
    if b"\0" in contents:
        return Omission.BINARY
    try:
        *lines, last = contents.decode().split("\n")
    except UnicodeDecodeError:
        return Omission.BINARY
    return [*lines, f"{last}{UNENDED}"] if last else lines


def _hunks(before: Sequence[str], after: Sequence[str]) -> Iterator[str]:
    """Yield the lines of a unified difference."""
    for group in _groups(replaced_lines(before, after)):
        (start, _, new_start, _), (_, end, _, new_end) = group[0], group[-1]
        above = min(CONTEXT, start)
        below = min(CONTEXT, len(before) - end)
        old = _span(start - above, end + below)
        yield f"@@ -{old} +{_span(new_start - above, new_end + below)} @@"
        position = start - above
        for first, last, new_first, new_last in group:
            yield from _marked(" ", before[position:first])
            yield from _marked("-", before[first:last])
            yield from _marked("+", after[new_first:new_last])
            position = last
        yield from _marked(" ", before[position : end + below])


def _groups(parts: Iterable[Part]) -> Iterator[list[Part]]:
    """Yield the parts that share a hunk, since their context meets."""
    group: list[Part] = []
    for part in parts:
        if group and part[0] - group[-1][1] > 2 * CONTEXT:
            yield group
            group = []
        group.append(part)
    if group:
        yield group


def _span(start: int, end: int) -> str:
    """Return a range of lines as a hunk states it: counted from 1, but for an empty one."""
    count = end - start
    first = start + 1 if count else start
    return str(first) if count == 1 else f"{first},{count}"


def _marked(mark: str, lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        yield f"{mark}{line.removesuffix(UNENDED)}"
        if line.endswith(UNENDED):
            yield "\\ No newline at end of file"


def replaced_lines(before: Sequence[str], after: Sequence[str]) -> list[Part]:
    """Return which parts of one text are replaced by which of the other: few lines, in little time.

    This is the algorithm of Myers (An O(ND) Difference Algorithm), which ends after a number of changes: then
    everything from the first change to the last one counts as replaced.
    """
    start = 0
    while start < min(len(before), len(after)) and before[start] == after[start]:
        start += 1
    end, new_end = len(before), len(after)
    while min(end, new_end) > start and before[end - 1] == after[new_end - 1]:
        end, new_end = end - 1, new_end - 1
    if (start, start) == (end, new_end):
        return []
    points = _path(before[start:end], after[start:new_end])
    if points is None:
        return [(start, end, start, new_end)]
    parts: list[Part] = []
    for (old, new), (next_old, next_new) in pairwise(points):
        # A step that removes or adds a line, then lines that are the same.
        same = min(next_old - old, next_new - new)
        part = (start + old, start + next_old - same, start + new, start + next_new - same)
        if parts and (parts[-1][1], parts[-1][3]) == (part[0], part[2]):
            part = (parts[-1][0], part[1], parts[-1][2], part[3])
            parts.pop()
        if part[0] != part[1] or part[2] != part[3]:
            parts.append(part)
    return parts


def _path(before: Sequence[str], after: Sequence[str]) -> list[tuple[int, int]] | None:
    """Return the places in both texts after each change, to the end; None if there are too many."""
    width, height = len(before), len(after)
    middle = MAX_CHANGES + 1
    reached = array("i", [-1]) * (2 * middle + 1)
    """How many lines of *before* are done on each diagonal."""
    reached[middle + 1] = 0
    rounds: list[array[int]] = []
    for changes in range(MAX_CHANGES + 1):
        rounds.append(reached[middle - changes - 1 : middle + changes + 2])
        for diagonal in range(-changes, changes + 1, 2):
            right, down = reached[middle + diagonal - 1] + 1, reached[middle + diagonal + 1]
            old = max(right, down)
            new = old - diagonal
            while old < width and new < height and before[old] == after[new]:
                old, new = old + 1, new + 1
            reached[middle + diagonal] = old
            if diagonal == width - height and old >= width:
                return _back(rounds, width, height)
    return None


def _back(rounds: Sequence["array[int]"], old: int, new: int) -> list[tuple[int, int]]:
    """Return the way that led to the end."""
    points = [(old, new)]
    for changes in range(len(rounds) - 1, 0, -1):
        row, diagonal = rounds[changes], points[-1][0] - points[-1][1]
        place = changes + 1 + diagonal
        removed = row[place - 1] + 1 > row[place + 1]
        diagonal += -1 if removed else 1
        old = row[place - 1] if removed else row[place + 1]
        points.append((old, old - diagonal))
    points.append((0, 0))
    return points[::-1]
