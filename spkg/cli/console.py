"""What is printed: results on standard output, all else on standard error, everything escaped."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import TextIOWrapper
from time import monotonic
from typing import Any, Final

import click

from spkg.common.documents import json_text
from spkg.common.findings import Finding
from spkg.common.portable import write_fully
from spkg.common.printable import printable
from spkg.errors import HostError, os_problem
from spkg.report.lines import Line

__all__ = [
    "ClosedOutput",
    "OutputError",
    "hint",
    "prepare_streams",
    "print_document",
    "print_line",
    "print_lines",
    "print_octets",
    "print_text",
    "progress_bar",
    "say",
    "say_lines",
    "warn",
    "writing",
]

PREFIXES: Final = {"spkg: error:": "red", "spkg: warning:": "yellow", "spkg: hint:": "cyan"}
"""How lines on standard error begin, and the colour of each on a terminal."""
LONG_WORK: Final = 32 << 20
"""The number of bytes that make work long enough for a progress bar."""


class ClosedOutput(BaseException):
    """The reader of standard output has closed it."""


class OutputError(Exception):
    """Standard output can't be written, so this error can't be reported there either."""


def prepare_streams() -> None:
    """Make sure that results can be printed, even if the terminal's encoding lacks a character.

    Raises:
        HostError: There is no standard output.
    """
    if sys.stdout is None:
        raise HostError("standard output is closed")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def writing() -> Iterator[None]:
    """Distinguish errors of standard output from those of other files."""
    try:
        yield
    except BrokenPipeError as exc:
        sys.stdout = None  # Python would flush it when it ends, and complain.
        raise ClosedOutput from exc
    except OSError as exc:
        sys.stdout = None
        problem = OSError(exc.errno, exc.strerror or str(exc))  # without its descriptor for a name
        raise OutputError(f"standard output: {os_problem(problem)}") from exc


def print_text(text: str) -> None:
    """Write a line to standard output at once, so that an error is known before the end."""
    if sys.stdout is None:
        raise ClosedOutput  # it was lost before, and this line is lost, too
    if isinstance(sys.stdout, TextIOWrapper):
        print_octets(f"{text}\n".encode(sys.stdout.encoding, sys.stdout.errors or "strict"))
    else:  # text in memory
        with writing():
            click.echo(text)


def print_octets(octets: bytes) -> None:
    """Write bytes to standard output unchanged, whatever the terminal's encoding."""
    with writing():
        sys.stdout.flush()
        write_fully(sys.stdout.buffer, octets)
        sys.stdout.buffer.flush()


def print_document(document: Mapping[str, Any]) -> None:
    """Write a JSON document to standard output."""
    print_text(json_text(document, indent=2))


def print_line(document: Mapping[str, Any]) -> None:
    """Write a JSON document on one line."""
    print_text(json_text(document))


def print_lines(lines: Iterable[Line]) -> None:
    """Write lines for people to standard output, in colour on a terminal."""
    styles: dict[str, dict[str, Any]] = {
        "heading": {"bold": True},
        "good": {"fg": "green"},
        "bad": {"fg": "yellow"},
    }
    colours = _colours(sys.stdout)
    for tone, text in lines:
        shown = printable(text)
        style = styles.get(tone.value)
        print_text(click.style(shown, **style) if colours and style else shown)


def say(text: str) -> None:
    """Write a line to standard error."""
    shown = printable(text)
    if _colours(sys.stderr):
        for word, colour in PREFIXES.items():
            if shown.startswith(word):
                shown = click.style(word, fg=colour, bold=True) + shown[len(word) :]
    try:
        click.echo(shown, err=True)
    except OSError:
        sys.stderr = None  # Python would flush it when it ends, and exit with its own status


def hint(text: str) -> None:
    """Write a hint to standard error."""
    say(f"spkg: hint: {text}")


def warn(warning: Finding | str) -> None:
    """Write a warning to standard error."""
    say(f"spkg: warning: {warning}")


def say_lines(lines: Iterable[Line]) -> None:
    """Write lines for people to standard error: standard output is for something else."""
    for _, text in lines:
        say(text)


def _colours(stream: Any) -> bool:
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return stream is not None and stream.isatty() and not plain


@contextmanager
def progress_bar(
    label: str, total: int, *, wanted: bool, slow: bool = False, unit: str = "octets"
) -> Iterator[Callable[..., object] | None]:
    """Draw the progress of long work, only on a terminal; None if nothing is drawn.

    Args:
        label: What is being done.
        total: How many bytes are to be processed, or whatever is counted.
        wanted: Whether the user asked for it.
        slow: Whether it may take long even for few bytes, as over a network.
        unit: What is counted.
    """
    if not wanted or (total < LONG_WORK and not slow) or sys.stderr is None or not sys.stderr.isatty():
        yield None
        return
    try:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            MofNCompleteColumn,
            ProgressColumn,
            Task,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bar
        from rich.text import Text
    except ImportError:  # a gateway does not need it
        yield None
        return

    from spkg.report.apply import standing_text

    standing, told = dict[str, Any](), monotonic()

    class Standing(ProgressColumn):
        """The state of a download and the time left, updated even while no data arrives."""

        def render(self, _task: Task) -> Text:
            return Text(standing_text(standing, monotonic() - told) if standing else "")

    def advance(octets: int, **now: Any) -> None:
        nonlocal told
        standing.update(now)
        told = monotonic()
        bar.advance(task, octets)

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True) if unit == "octets" else MofNCompleteColumn(),
        TimeRemainingColumn(),
        Standing(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total)
        yield advance
