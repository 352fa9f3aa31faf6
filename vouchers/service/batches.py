"""A list of devices in, vouchers out, in constant memory; the same list, sent again, completes a batch.

The list is kept in a file without a name until all of it is there, since most clients read no answer before
they have sent everything.  What is sent to a client has been confirmed in the ledger before.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass
from tempfile import TemporaryFile
from threading import Thread
from typing import IO, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from spkg.common.documents import Document, json_text
from spkg.common.findings import warning_documents
from spkg.errors import FormatError, SpkgError
from vouchers.acs.bulk import BulkOrder, reserved_vouchers
from vouchers.acs.device_list import read_device_stream
from vouchers.acs.issuer import sign_voucher
from vouchers.acs.ledger import Ledger
from vouchers.acs.list_warnings import list_warnings
from vouchers.acs.listed_device import ListedDevice
from vouchers.acs.voucher_form import VoucherForm
from vouchers.service.problems import problem_of
from vouchers.service.requests import MIN_RATE, check_length, gone, not_in_time, too_large, unprocessable
from vouchers.signature.sign import VoucherSigner

__all__ = ["BatchRun", "LinesResponse", "Spool", "stream_lines"]

CHUNKS_AHEAD: Final = 2
"""How many pieces of an answer wait for the client."""
STOPPED: Final = 143
"""The exit status of a command that SIGTERM ends."""


class Spool:
    """A list of devices as it arrives, in a file without a name."""

    def __init__(self) -> None:
        self.file: IO[bytes] = TemporaryFile()  # noqa: SIM115 - the caller closes it

    async def fill(self, request: Request, most: int, seconds: float, timer: Callable[[], float]) -> None:
        """Take the body of a request.

        Args:
            request: The request.
            most: The longest list, in bytes.
            seconds: How long each piece may take, and all of it at first; more bytes may take more time.
            timer: Returns the time in seconds.

        Raises:
            ServiceError: It is too long or not sent in time, or the client has gone.
            OSError: There is no room for it.
        """
        check_length(request, most)
        received, begun = 0, timer()
        pieces = request.stream()
        try:
            while True:
                async with asyncio.timeout(seconds):
                    chunk = await anext(pieces, None)
                if chunk is None:
                    break
                received += len(chunk)
                if received > most:
                    raise too_large(most)
                await asyncio.to_thread(self.file.write, chunk)
                if timer() > begun + seconds + received / MIN_RATE:
                    raise not_in_time()
        except TimeoutError as exc:
            raise not_in_time() from exc
        except ClientDisconnect as exc:
            raise gone() from exc
        if not received:
            raise unprocessable(None, "expected a list of devices, got nothing")
        self.file.seek(0)


@dataclass(frozen=True, kw_only=True)
class BatchRun:
    """One list of one batch."""

    order: BulkOrder
    ledger: Ledger
    """That of the client who issues."""
    signer: VoucherSigner
    stopping: Callable[[], bool]
    """Whether the service is to end."""
    issued: Callable[[int], object]
    """Called with the number of vouchers that were issued."""

    def lines(self, file: IO[bytes]) -> Iterator[bytes]:
        """Yield the answer, line by line: vouchers, what is rejected and why, and the result last."""
        issued = rejected = 0
        refused: list[Document] = []
        end: Document = {"status": "done", "exit": 0}

        def reject(line: ListedDevice, reason: str) -> None:
            refused.append({"line": line.line, "reason": reason})

        confirmed = 0
        warnings = _warnings(file)
        try:
            devices = read_device_stream(file, "list")
            run = self.ledger.new_run()
            for taken, _ in reserved_vouchers(self.order, devices, self.ledger, self.signer, run, reject):
                done = [sign_voucher(want, serials, self.signer) for want, serials in taken]
                count = self.ledger.confirm_all(serial for one in done for serial in one.serials)
                confirmed += count // len(self.order.templates)
                issued += len(done)
                rejected += len(refused)
                self.issued(len(done))
                yield b"".join(
                    [
                        *(json_text(one).encode() + b"\n" for one in refused),
                        *(VoucherForm.NDJSON.write(one) for one in done),
                    ]
                )
                refused.clear()
                if self.stopping():
                    end = _stopped()
                    break
            else:
                if rejected:
                    end = {
                        "status": "malformed",
                        "exit": 3,
                        "message": f"lines of the list got no voucher: {rejected}",
                    }
        except SpkgError as exc:
            problem = problem_of(exc)
            rejected += len(refused)
            yield b"".join(json_text(one).encode() + b"\n" for one in refused)
            end = {
                "status": exc.STATUS,
                "exit": problem.exit_status,
                "message": problem.detail,
                "section": problem.section,
                "hint": problem.hint or "send the list again with the same batch to complete it",
            }
        result = {"event": "result", "batch": self.order.batch, **end}
        counts = {"issued": issued, "confirmed": confirmed, "rejected": rejected}
        yield json_text(result | counts | {"warnings": warnings}).encode() + b"\n"


def _warnings(file: IO[bytes]) -> list[Document]:
    """Return what may be wrong with a list, which is read once more for that."""
    try:
        return warning_documents(list_warnings(read_device_stream(file, "list")))
    except FormatError:  # the run ends with that, where it reads the list
        return []
    finally:
        file.seek(0)


def _stopped() -> Document:
    return {
        "status": "stopped",
        "exit": STOPPED,
        "message": "the service is stopping",
        "hint": "send the list again with the same batch to complete it",
    }


class LinesResponse(StreamingResponse):
    """An answer of lines that a thread makes; however it ends, and if it never begins, that is told.

    Args:
        lines: What runs in the thread.
        ended: Called at the end, maybe twice, with the exception if there is one.
    """

    def __init__(self, lines: Iterator[bytes], ended: Callable[[BaseException | None], object]) -> None:
        self._pieces, self._ended = stream_lines(lines, ended), ended
        super().__init__(self._pieces, media_type="application/x-ndjson")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it.  A client that has gone already never has the first line made."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._pieces.aclose()
            self._ended(None)


async def stream_lines(
    lines: Iterator[bytes], ended: Callable[[BaseException | None], object]
) -> AsyncGenerator[bytes, None]:
    """Yield what a thread makes, a little ahead of who reads it; a reader that goes away ends the thread.

    Args:
        lines: What runs in the thread.
        ended: Called at the end, with the exception if there is one.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[bytes | None] = asyncio.Queue(CHUNKS_AHEAD)
    given_up = False
    failure: list[BaseException] = []

    def work() -> None:
        try:
            for piece in lines:
                if given_up:
                    break
                asyncio.run_coroutine_threadsafe(queue.put(piece), loop).result()
        except BaseException as exc:  # noqa: BLE001 - the reader raises it
            failure.append(exc)
        finally:
            if not loop.is_closed():
                asyncio.run_coroutine_threadsafe(queue.put(None), loop)

    thread = Thread(target=work, daemon=True)
    thread.start()
    finished = False
    try:
        while (piece := await queue.get()) is not None:
            yield piece
        finished = True
        if failure:
            raise failure[0]
    finally:
        given_up = True
        while not finished:  # the thread may wait for room in the queue, and always ends it
            finished = await queue.get() is None
        ended(failure[0] if failure else None)
