"""What is printed: results on standard output, all else on standard error, and nothing unescaped."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import TextIOWrapper
from time import monotonic
from typing import Any, Final

import click

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
    "writing",
]

LONG_WORK: Final = 32 << 20
"""How many octets make work long enough to draw its progress."""


class ClosedOutput(BaseException):
    """Nobody reads our standard output any more."""


class OutputError(Exception):
    """Standard output can't be written, so nothing can be told there of this either."""


def prepare_streams() -> None:
    """Make sure that results can be told, also on a terminal that lacks a character.

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
    """Tell apart what can't be printed from what else can't be written."""
    try:
        yield
    except BrokenPipeError as exc:
        sys.stdout = None  # Python would flush it when it ends, and complain.
        raise ClosedOutput from exc
    except OSError as exc:
        sys.stdout = None
        raise OutputError(f"standard output: {os_problem(exc)}") from exc


def print_text(text: str) -> None:
    """Write a line to standard output, now: what can't be written has to be known before the end."""
    with writing():
        click.echo(text)


def print_octets(octets: bytes) -> None:
    """Write octets to standard output as they are, whatever the terminal's encoding."""
    with writing():
        sys.stdout.flush()
        sys.stdout.buffer.write(octets)
        sys.stdout.buffer.flush()


def print_document(document: Mapping[str, Any]) -> None:
    """Write a JSON document to standard output."""
    print_text(json.dumps(document, indent=2))


def print_line(document: Mapping[str, Any]) -> None:
    """Write a JSON document in one line."""
    print_text(json.dumps(document))


def print_lines(lines: Iterable[Line]) -> None:
    """Write lines for people to standard output, in colours where it is a terminal."""
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
        for word, colour in (("spkg: error:", "red"), ("spkg: hint:", "cyan")):
            if shown.startswith(word):
                shown = click.style(word, fg=colour, bold=True) + shown[len(word) :]
    try:
        click.echo(shown, err=True)
    except OSError:
        sys.stderr = None  # nobody can be told; Python would try once more, and end with a status of its own


def hint(text: str) -> None:
    """Write a hint to standard error."""
    say(f"spkg: hint: {text}")


def _colours(stream: Any) -> bool:
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return stream is not None and stream.isatty() and not plain


@contextmanager
def progress_bar(
    label: str, total: int, *, wanted: bool, slow: bool = False
) -> Iterator[Callable[..., object] | None]:
    """Draw the progress of long work, on a terminal alone; None where nothing is drawn.

    Args:
        label: What is going on.
        total: How many octets there are to do.
        wanted: Whether the user wants it.
        slow: Whether it may take long, however little there is: what comes over a network.
    """
    if not wanted or (total < LONG_WORK and not slow) or sys.stderr is None or not sys.stderr.isatty():
        yield None
        return
    try:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            ProgressColumn,
            Task,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bar
        from rich.text import Text
    except ImportError:  # a gateway has no need of it
        yield None
        return

    from spkg.report.apply import standing_text

    standing, told = dict[str, Any](), monotonic()

    class Standing(ProgressColumn):
        """The state of a download, and the time that is left, also while nothing comes."""

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
        DownloadColumn(binary_units=True),
        TimeRemainingColumn(),
        Standing(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total)
        yield advance
