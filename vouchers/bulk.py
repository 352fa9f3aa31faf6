"""Vouchers for many devices: a stream of devices in, files out, in flat memory and on several cores.

One process reads, takes serial numbers and writes; others sign.  It may be cut off anywhere: the same batch
run again writes the same vouchers under the same numbers.
"""

import csv
import json
import multiprocessing
import os
import select
import signal
import threading
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from pathlib import Path
from typing import IO, Final, Self

from spkg.digests import Digest
from spkg.errors import FailedError
from vouchers.devices import Listed
from vouchers.issuing import Issued, sign_voucher
from vouchers.ledger import Ledger, Want
from vouchers.soap import set_vouchers_request
from vouchers.templates import Template
from vouchers.xml.signing import VoucherSigner

__all__ = ["BulkReport", "Form", "Order", "issue_many"]

AT_ONCE: Final = 200
"""How many devices are one transaction of the ledger, and one errand of a process."""
AHEAD: Final = 2
"""How many errands wait for each process: enough that none waits for one."""
REJECTED: Final = "rejected.csv"

Progress = Callable[[int], object]
Taken = Sequence[tuple[Want, tuple[int, ...]]]
"""Vouchers with the serial numbers that they are to have."""
Written = Sequence[tuple[str, bytes]]
"""What a file of a voucher's own would be called, and what is written of it."""


class Form(Enum):
    """What is written of each voucher."""

    XML = "xml"
    BASE64 = "base64"
    SOAP = "soap"
    """The request SetVouchers."""
    NDJSON = "ndjson"

    def write(self, issued: Issued) -> bytes:
        """Return a voucher in this form; a line of text for those that have one."""
        match self:
            case Form.XML:
                return issued.octets
            case Form.BASE64:
                return b64encode(issued.octets) + b"\n"
            case Form.SOAP:
                return set_vouchers_request([issued.octets], name=str(issued.serials[0]))
            case Form.NDJSON:
                return json.dumps(_document(issued)).encode() + b"\n"

    @property
    def file(self) -> str | None:
        """The file of all vouchers; None where each has its own, named by its serial number."""
        return f"vouchers.{self.value}" if self in {Form.BASE64, Form.NDJSON} else None


@dataclass(frozen=True, kw_only=True)
class BulkReport:
    """What became of a list of devices."""

    issued: int
    """Vouchers, one for each device that counts."""
    rejected: int
    """Lines that got none."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is to be issued to each of many devices."""

    templates: tuple[Template, ...]
    batch: str
    """What makes this the same as another run."""
    form: Form = Form.NDJSON
    jobs: int = 1
    """How many processes sign."""


def issue_many(
    order: Order,
    devices: Iterable[Listed],
    directory: Path,
    signer: VoucherSigner,
    ledger: Ledger,
    *,
    progress: Progress | None = None,
) -> BulkReport:
    """Write a voucher for each device into a directory, and the lines that got none into ``rejected.csv``.

    The ledger counts them as issued once all are written; who calls makes the directory durable.

    Args:
        order: What is issued.
        devices: The list.
        directory: An empty directory.
        signer: Who signs.
        ledger: Where the serial numbers come from.
        progress: Called with the octets of the list that were done.

    Raises:
        FormatError: The list is none.
        FailedError: A process that signs was killed.
        SurroundingsError: The ledger can't be used.
        OSError: Something can't be read or written.
    """
    run = ledger.new_run()
    issued = done = 0
    with ExitStack() as stack:
        out = _Output(stack, directory, order.form)
        workers = stack.enter_context(_Workers(signer, order.form, order.jobs))
        errands = _reserved(
            order, devices, ledger, run, out.reject, unpredictable=signer.digest is Digest.SHA1
        )
        for written, octets in workers.work(errands):
            for name, contents in written:
                out.put(name, contents)
            issued += len(written)
            if progress is not None:
                progress(octets - done)
            done = octets
    ledger.confirm_batch(order.batch, run)
    return BulkReport(issued=issued, rejected=out.rejected)


def _reserved(
    order: Order,
    devices: Iterable[Listed],
    ledger: Ledger,
    run: str,
    reject: Callable[[int, str], object],
    *,
    unpredictable: bool,
) -> Iterator[tuple[Taken, int]]:
    """Give errands, vouchers with their serial numbers, and how far the list has been read."""
    lines = iter(devices)
    while some := list(islice(lines, AT_ONCE)):
        wants = {
            index: Want(device=line.device, templates=order.templates)
            for index, line in enumerate(some)
            if line.device is not None
        }
        outcomes = ledger.reserve([*wants.values()], run=run, batch=order.batch, unpredictable=unpredictable)
        answered = dict(zip(wants, outcomes, strict=True))
        taken = []
        for index, line in enumerate(some):
            refusal = answered[index].refusal if index in answered else line.problem
            if refusal is None:
                taken.append((wants[index], answered[index].serials))
            else:
                reject(line.line, refusal)
        yield taken, some[-1].octets


class _Output:
    """The files of a bulk output."""

    def __init__(self, stack: ExitStack, directory: Path, form: Form) -> None:
        self._directory = directory
        self._all: IO[bytes] | None = None
        if form.file is not None:
            self._all = stack.enter_context((directory / form.file).open("xb", buffering=1 << 20))
        file = stack.enter_context((directory / REJECTED).open("x", newline="", encoding="utf-8"))
        self._rejected = csv.writer(file)
        self._rejected.writerow(("line", "reason"))
        self.rejected = 0

    def put(self, name: str, contents: bytes) -> None:
        if self._all is not None:
            self._all.write(contents)
        else:
            with (self._directory / name).open("xb", buffering=0) as file:
                file.write(contents)

    def reject(self, line: int, reason: str) -> None:
        self._rejected.writerow((line, reason))
        self.rejected += 1


_signing: tuple[VoucherSigner, Form]
"""What a process that signs has from its parent; a key can't be sent."""


class _Workers:
    """Processes that sign, or this one."""

    def __init__(self, signer: VoucherSigner, form: Form, jobs: int) -> None:
        self._jobs = jobs
        self._mine = (signer, form)
        self._pool: ProcessPoolExecutor | None = None
        self._alive: tuple[int, int] | None = None

    def __enter__(self) -> Self:
        if self._jobs > 1:
            self._alive = os.pipe()
            # They are all started at once, before there is a thread, and have the key from memory.
            self._pool = ProcessPoolExecutor(
                self._jobs,
                multiprocessing.get_context("fork"),
                initializer=_begin,
                initargs=(*self._mine, *self._alive),
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        for end in self._alive or ():
            os.close(end)

    def work(self, errands: Iterator[tuple[Taken, int]]) -> Iterator[tuple[Written, int]]:
        """Give what is to be written of each errand, in order."""
        if self._pool is None:
            for taken, octets in errands:
                yield _sign_all(taken, *self._mine), octets
            return
        waiting: deque[tuple[Future[Written], int]] = deque()
        try:
            for taken, octets in errands:
                waiting.append((self._pool.submit(_errand, taken), octets))
                if len(waiting) > self._jobs * AHEAD:
                    yield _result(waiting)
            while waiting:
                yield _result(waiting)
        except BrokenProcessPool as exc:
            raise FailedError("a process that signs was killed: the same batch goes on") from exc


def _result(waiting: deque[tuple[Future[Written], int]]) -> tuple[Written, int]:
    future, octets = waiting.popleft()
    return future.result(), octets


def _begin(signer: VoucherSigner, form: Form, reading: int, writing: int) -> None:  # pragma: no cover
    """Become a process that signs.  What runs here is measured by nobody: it is ended, not left."""
    global _signing  # noqa: PLW0603 - a process has no other way to keep what it began with
    _signing = signer, form
    # What the terminal tells all processes is for the one that began them to heed.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.close(writing)
    threading.Thread(target=_end_with, args=[reading], daemon=True).start()


def _end_with(reading: int) -> None:  # pragma: no cover - as above
    """End the process once the one that began it is gone, whatever it waits for."""
    ready = select.poll()
    ready.register(reading, 0)  # to hear of the end alone
    ready.poll()
    os._exit(0)


def _errand(taken: Taken) -> Written:
    return _sign_all(taken, *_signing)


def _sign_all(taken: Taken, signer: VoucherSigner, form: Form) -> Written:
    issued = [sign_voucher(want, serials, signer) for want, serials in taken]
    return [(f"{one.serials[0]}.xml", form.write(one)) for one in issued]


def _document(issued: Issued) -> dict[str, object]:
    device = issued.device
    return {
        "device": {
            "manufacturer": device.manufacturer,
            "oui": device.oui,
            "product_class": device.product_class,
            "serial_number": device.serial_number,
        },
        "serials": issued.serials,
        "voucher": b64encode(issued.octets).decode(),
    }
