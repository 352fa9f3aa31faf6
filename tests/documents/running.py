"""Runs the commands of a page, in its order, in a directory of their own, and takes what they print."""

import functools
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from tests.documents.pages import DOCS, README, ROOT, Block, blocks, name_of
from tests.support.ready_program import ready_program

__all__ = ["TOUR", "Prompt", "bare", "prompts", "refreshed", "run", "same", "written"]

TOUR: Final = DOCS / "tour.md"
"""Every other page begins in the directory that this one leaves."""
SERVER: Final = "http://127.0.0.1:8069"
"""The server of the pages: here one on loopback that serves the page's directory."""
ANY_LINES: Final = "…"
VARYING: Final = (
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "TIME"),
    (re.compile(r"\b\d{4}-\d\d-\d\d\b"), "DATE"),
    (re.compile(r"\b[0-9a-fA-F]{16,}\b"), "HEX"),
    (re.compile(r"\b\d{20,}\b"), "SERIAL"),
    (re.compile(r"127\.0\.0\.1:\d+"), "SERVER"),
)
"""What differs from run to run: times, keys and what hangs on them."""


@dataclass(frozen=True)
class Prompt:
    """A command of a console block, and what the page says that it prints."""

    block: Block
    command: str
    printed: tuple[str, ...]


def prompts(block: Block) -> list[Prompt]:
    """Return the commands of a console block."""
    found: list[tuple[list[str], list[str]]] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append(([line[2:]], []))
        elif found and found[-1][0][-1].endswith("\\"):
            found[-1][0].append(line)
        else:
            found[-1][1].append(line)
    return [Prompt(block, "\n".join(command), tuple(printed)) for command, printed in found]


def run(page: Path, directory: Path) -> list[tuple[Prompt, list[str]]]:
    """Run the blocks of *page* in *directory*; return each prompt with what it printed.

    Raises:
        AssertionError: A command failed that the page does not show to fail.
    """
    outputs = directory.parent / f"{directory.name}.out"
    shutil.rmtree(outputs, ignore_errors=True)
    outputs.mkdir()
    asked: list[Prompt] = []
    pieces: list[str] = []
    for block in blocks(page):
        pieces.append(f"at={block.place}")
        if block.info == "sh":
            pieces += ["set -e", block.text, "set +e"]
        elif block.info == "python":
            pieces += [
                "set -e",
                f"{shlex.quote(sys.executable)} - <<'THE_END'",
                block.text,
                "THE_END",
                "set +e",
            ]
        elif block.info == "console":
            for prompt in prompts(block):
                file = shlex.quote(str(outputs / str(len(asked))))
                # Not "{ …; } >file": dash would take a redirection of a lone subshell inside for its own.
                pieces += [f"exec 4>&1 5>&2 >{file} 2>&1", "(exit ${status:-0})"]
                pieces += [prompt.command, "status=$?", "exec >&4 2>&5"]
                asked.append(prompt)
    place = outputs / "place"
    script = "\n".join([f"trap 'echo \"$at\" >{place}' EXIT", *pieces, "at="])
    with _serving(directory) as url:
        done = _sh(script.replace(SERVER, url), directory, _environment(directory))
    where = place.read_text().strip() if place.exists() else name_of(page)
    if done.returncode or where:
        raise AssertionError(f"{where}: exit status {done.returncode}\n{done.stdout}")
    printed = [(outputs / str(index)).read_text().splitlines() for index in range(len(asked))]
    return list(zip(asked, printed, strict=True))


def _sh(script: str, directory: Path, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["sh", "-c", script],
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )


def _environment(directory: Path) -> dict[str, str]:
    """Return the environment of the commands: ``spkg`` is this checkout's."""
    return {
        "PATH": os.pathsep.join([str(ready_program()), os.environ.get("PATH", os.defpath)]),
        "PYTHONPATH": str(ROOT),
        "HOME": str(directory),
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "NO_COLOR": "1",
    }


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_arguments: Any) -> None:
        """Print nothing."""


@contextmanager
def _serving(directory: Path) -> Iterator[str]:
    handler = functools.partial(_Quiet, directory=str(directory))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.05], daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def bare(directory: Path) -> None:
    """Make *directory* what a page begins with that needs nothing but the samples."""
    shutil.copytree(ROOT / "samples", directory / "samples", symlinks=True)


def same(stated: Sequence[str], printed: Sequence[str]) -> bool:
    """Whether a page shows what was printed, but for what differs from run to run."""
    shown, found = _masked(stated), _masked(printed)
    if ANY_LINES not in shown:
        return shown == found
    cut = shown.index(ANY_LINES)
    head, tail = shown[:cut], shown[cut + 1 :]
    if len(head) + len(tail) > len(found):
        return False
    return head == found[:cut] and tail == found[len(found) - len(tail) :]


def written(stated: Sequence[str], printed: Sequence[str]) -> Sequence[str]:
    """Return what a page should show: what was printed, with as much left out as now."""
    if same(stated, printed):
        return stated
    if ANY_LINES not in stated:
        return printed
    cut = list(stated).index(ANY_LINES)
    rest = len(stated) - cut - 1
    return [*printed[:cut], ANY_LINES, *printed[len(printed) - rest :]]


def _masked(lines: Sequence[str]) -> list[str]:
    masked = []
    for line in lines:
        text = line.rstrip()
        for pattern, word in VARYING:
            text = pattern.sub(word, text)
        masked.append(text)
    return masked


def refreshed(page: Path) -> str:
    """Return *page* with what its commands print now."""
    with tempfile.TemporaryDirectory() as parent:
        directory = Path(parent) / "page"
        bare(directory)
        if page not in {README, TOUR}:
            run(TOUR, directory)
        done = run(page, directory)
    lines = page.read_text().splitlines()
    by_block: dict[Block, list[str]] = {}
    for prompt, printed in done:
        shown = [*f"$ {prompt.command}".splitlines(), *written(prompt.printed, printed)]
        by_block.setdefault(prompt.block, []).extend(shown)
    for block, shown in reversed(by_block.items()):
        lines[block.line : block.line + len(block.text.splitlines())] = shown
    return "\n".join(lines) + "\n"
