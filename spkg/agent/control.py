"""The control socket: what ``spkg agent …`` asks of the running agent, a JSON line each way.

The socket lies in the state directory, 0600: only the owner of the agent, and root, may ask.
"""

import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from spkg.common.documents import Document
from spkg.common.json_input import read_json
from spkg.common.printable import printable
from spkg.common.socket_names import socket_name
from spkg.errors import FormatError, HostError, RefusedError, SpkgError, UsageError, os_problem

__all__ = ["CONTROL", "ControlServer", "NotRunningError", "ask_agent", "follow_agent"]

CONTROL: Final = "control"
"""The name of the socket in the state directory."""
LONGEST_QUESTION: Final = 1 << 16
"""The longest question, in bytes."""
LONGEST_CONTROL_ANSWER: Final = 1 << 25
"""The longest answer, in bytes: all parameters of a large gateway."""
PATIENCE: Final = 5.0
"""How long a question may take to arrive, in seconds."""
MOST: Final = 16
"""How many may ask at once."""
ERRORS: Final[dict[str, type[SpkgError]]] = {
    "usage": UsageError,
    "malformed": FormatError,
    "refused": RefusedError,
    "host": HostError,
}

Answerer = Callable[[str, Mapping[str, Any]], Awaitable[Document]]
"""Answers a question, by its name and arguments; its SpkgErrors reach the one who asked."""


class NotRunningError(HostError):
    """No agent is running with this state directory."""


class ControlServer:
    """Answers questions at the socket.

    Args:
        directory: The state directory.
        answer: Answers a question.
        follow: Is given a function for each entry of the log, and returns one that ends it.
    """

    def __init__(
        self,
        directory: Path,
        answer: Answerer,
        follow: Callable[[Callable[[Document], None]], Callable[[], None]],
    ) -> None:
        self._path = directory / CONTROL
        self._answer = answer
        self._follow = follow
        self._server: asyncio.Server | None = None
        self._open = 0

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            HostError: It can't.
        """
        with suppress(FileNotFoundError):
            self._path.unlink()  # of an agent that was killed: two can't run, since they lock the state
        mask = os.umask(0o177)
        try:
            with socket_name(self._path) as name:
                self._server = await asyncio.start_unix_server(self._serve, name, limit=LONGEST_QUESTION)
        except OSError as exc:
            raise HostError(f"{self._path}: {os_problem(exc)}") from exc
        finally:
            os.umask(mask)

    async def close(self) -> None:
        """End listening, and remove the socket."""
        if self._server is not None:
            self._server.close()
            with suppress(OSError):
                self._path.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= MOST:
                await self._one(reader, writer)
        except (
            OSError,
            ValueError,
            FormatError,
            asyncio.IncompleteReadError,
            asyncio.LimitOverrunError,
            TimeoutError,
            asyncio.CancelledError,
        ):
            pass  # whoever asked has gone, or does not speak this, or the agent ends
        finally:
            self._open -= 1
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        question = read_json(await asyncio.wait_for(reader.readuntil(b"\n"), PATIENCE))
        if not isinstance(question, dict):
            raise FormatError("expected an object")
        name, arguments = question.get("ask"), question.get("arguments", {})
        if not isinstance(name, str) or not isinstance(arguments, dict):
            raise FormatError("expected a question and its arguments")
        if name == "follow":
            await self._stream(reader, writer)
            return
        try:
            answer: Document = {"answer": await self._answer(name, arguments)}
        except SpkgError as exc:
            kind = next((word for word, error in ERRORS.items() if isinstance(exc, error)), "host")
            answer = {"error": {"kind": kind, "message": str(exc), "hint": exc.hint}}
        writer.write(_line(answer))
        await writer.drain()

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Send each entry of the log until the other side closes."""
        loop = asyncio.get_running_loop()

        def send(entry: Document) -> None:
            if writer.transport.get_write_buffer_size() < LONGEST_QUESTION:  # or who asked does not read
                writer.write(_line({"answer": entry}))

        def pass_on(entry: Document) -> None:  # called by the thread that decides
            loop.call_soon_threadsafe(send, entry)

        end = self._follow(pass_on)
        try:
            await reader.read()
        finally:
            end()


def ask_agent(directory: Path, name: str, timeout: float = 600, **arguments: Any) -> Document:
    """Ask the running agent, and return its answer.

    Args:
        directory: Its state directory.
        name: The question.
        timeout: How long the answer may take, in seconds: a session may be in progress.
        arguments: What belongs to the question.

    Raises:
        UsageError: An argument is not UTF-8, or they are too long.
        NotRunningError: No agent is running there.
        HostError: It does not answer.
        SpkgError: What it answers, if it refuses.
    """
    try:
        question = json.dumps({"ask": name, "arguments": arguments}, ensure_ascii=False).encode()
    except UnicodeEncodeError as exc:
        raise UsageError(f"expected UTF-8, got {printable(exc.object[exc.start : exc.end])}") from exc
    if len(question) >= LONGEST_QUESTION:
        raise UsageError(f"the arguments have {len(question)} bytes, at most {LONGEST_QUESTION} are taken")
    with _connected(directory, timeout) as stream:
        stream.sendall(question + b"\n")
        with stream.makefile("rb") as answers:
            line = answers.readline(LONGEST_CONTROL_ANSWER)
    return _read(line)


def follow_agent(directory: Path) -> Generator[Document, None, None]:
    """Yield each entry of the running agent's log as it comes.

    Raises:
        NotRunningError: No agent is running there.
    """
    with _connected(directory, None) as stream:
        stream.sendall(_line({"ask": "follow"}))
        with stream.makefile("rb") as answers:
            while line := answers.readline(LONGEST_CONTROL_ANSWER):
                yield _read(line)


@contextmanager
def _connected(directory: Path, timeout: float | None) -> Iterator[socket.socket]:
    path = directory / CONTROL
    try:
        with socket.socket(socket.AF_UNIX) as stream, socket_name(path) as name:
            stream.settimeout(timeout)
            stream.connect(name)
            yield stream
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError) as exc:
        raise NotRunningError(
            f"{directory}: no agent is running with this state", hint="start it with 'spkg agent run'"
        ) from exc
    except TimeoutError as exc:
        raise HostError(f"the agent did not answer within {timeout:g} s") from exc
    except OSError as exc:
        raise HostError(f"{path}: {os_problem(exc)}") from exc


def _line(document: Document) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def _read(line: bytes) -> Document:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise HostError("the agent ended before it answered") from exc
    error, answer = (found.get(key) if isinstance(found, dict) else None for key in ("error", "answer"))
    if isinstance(error, dict):
        hint = error.get("hint")
        kind = ERRORS.get(str(error.get("kind")), HostError)
        raise kind(str(error.get("message")), hint=None if hint is None else str(hint))
    if not isinstance(answer, dict):
        raise HostError("the agent answered something else than expected")
    return answer
