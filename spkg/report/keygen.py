"""``spkg keygen``: which files were written."""

from collections.abc import Iterator, Sequence

from spkg.report.lines import Line, Tone

__all__ = ["keys_lines"]


def keys_lines(directory: str, files: Sequence[str]) -> Iterator[Line]:
    """Yield what ``keygen`` prints."""
    yield Tone.PLAIN, f"{directory}: {', '.join(files)}"
