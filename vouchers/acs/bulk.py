"""Vouchers for many devices: a stream of devices in, files out, in constant memory and on several cores.

One process reads, reserves serial numbers and writes; worker processes sign.  A run may be interrupted at any
point: the same batch, run again, writes the same vouchers with the same serial numbers.
"""

import multiprocessing
import signal
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from io import FileIO
from itertools import islice
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Final, Self

from spkg.common.atomic_output import bulk_directory, write_all
from spkg.common.child_process import forking
from spkg.common.digests import Digest
from spkg.common.documents import json_text
from spkg.common.portable import FORKS
from spkg.errors import FailedError
from vouchers.acs.device_list import ListedDevice, read_devices
from vouchers.acs.issuer import Issued, sign_voucher
from vouchers.acs.ledger import Ledger, Want, terms_of
from vouchers.acs.request import set_vouchers_request
from vouchers.acs.serial_log import SerialLog
from vouchers.acs.spreadsheet import SpreadsheetWriter
from vouchers.acs.templates import Template
from vouchers.model import DeviceId
from vouchers.signature.self_check import VoucherCheck
from vouchers.signature.sign import VoucherSigner

__all__ = ["BulkOrder", "BulkReport", "VoucherForm", "issue_bulk", "issue_many", "reserved_vouchers"]

DEVICES_AT_ONCE: Final = 200
"""The number of devices in one transaction of the ledger, and in one task of a worker process."""
REJECTED: Final = "rejected.csv"
INDEX: Final = "index.csv"
"""Lists the device of each voucher, in order.  NDJSON has no index: each line names its device."""

ListProgress = Callable[[int], object]
Taken = Sequence[tuple[Want, tuple[int, ...]]]
"""Vouchers with the serial numbers reserved for them."""
Written = Sequence[tuple[tuple[str, ...], bytes]]
"""For each voucher its row of the index, which begins with its own file name, and the bytes to write."""


class VoucherForm(Enum):
    """The format in which a voucher is written."""

    XML = "xml"
    BASE64 = "base64"
    SOAP = "soap"
    """A SetVouchers request."""
    NDJSON = "ndjson"

    def write(self, issued: Issued) -> bytes:
        """Return a voucher in this format; one line of text for base64 and NDJSON."""
        match self:
            case VoucherForm.XML:
                return issued.octets
            case VoucherForm.BASE64:
                return b64encode(issued.octets) + b"\n"
            case VoucherForm.SOAP:
                return set_vouchers_request([issued.octets], name=str(issued.serials[0]))
            case VoucherForm.NDJSON:
                return json_text(_document(issued)).encode() + b"\n"

    @property
    def file(self) -> str | None:
        """The one file for all vouchers; None if each has its own, named by its serial number."""
        return f"vouchers.{self.value}" if self in {VoucherForm.BASE64, VoucherForm.NDJSON} else None


@dataclass(frozen=True, kw_only=True)
class BulkReport:
    """The result of issuing to a list of devices."""

    issued: int
    """Vouchers, one for each device that was accepted."""
    rejected: int
    """Lines that got no voucher."""
    run: str
    """The name of this run in the ledger."""
    confirmed: int = 0
    """Vouchers of this output that count as issued in the ledger; those voided meanwhile do not."""


@dataclass(frozen=True, kw_only=True)
class BulkOrder:
    """What to issue to each of many devices."""

    templates: tuple[Template, ...]
    batch: str
    """The name that all runs of the same order share."""
    form: VoucherForm = VoucherForm.NDJSON
    jobs: int = 1
    """The number of processes that sign."""
    check: VoucherCheck | None = None
    """What each voucher has to pass before it is written."""


def issue_bulk(
    order: BulkOrder,
    devices: Path | DeviceId,
    directory: Path,
    signer: VoucherSigner,
    ledger: AbstractContextManager[Ledger],
    *,
    progress: ListProgress | None = None,
) -> BulkReport:
    """Issue a voucher to each of many devices: write a new directory, then confirm it in the ledger.

    Args:
        order: What to issue.
        devices: A list of devices, or one device.
        directory: The new directory; it appears once all of it is written.
        signer: Signs the vouchers.
        ledger: The source of the serial numbers; opened after the directory is reserved for this run.
        progress: Called with the number of bytes of the list processed since the last call.

    Raises:
        UsageError: The directory exists, or another run is writing it.
        FormatError: The list is malformed.
        RefusedError: The batch was begun with other Options.
        FailedError: A signing process was killed; the same batch, run again, completes the directory.
        HostError: The ledger can't be used.
        OSError: Something can't be read or written.
    """
    confirmed = 0

    def confirm() -> None:
        # Another run of the batch may have been given the same numbers since: what counts is what is written.
        nonlocal confirmed
        confirmed = opened.confirm_all(log) // len(order.templates)

    with ExitStack() as stack, SerialLog() as log, bulk_directory(directory, confirm) as part:
        opened = stack.enter_context(ledger)
        opened.check_terms(order.batch, terms_of(order.templates))
        listed = (
            read_devices(devices)
            if isinstance(devices, Path)
            else iter([ListedDevice(line=1, device=devices)])
        )
        report = issue_many(order, listed, part, signer, opened, progress=progress, log=log)
    return replace(report, confirmed=confirmed)


def issue_many(
    order: BulkOrder,
    devices: Iterable[ListedDevice],
    directory: Path,
    signer: VoucherSigner,
    ledger: Ledger,
    *,
    progress: ListProgress | None = None,
    log: SerialLog | None = None,
) -> BulkReport:
    """Write a voucher for each device into a directory, and the lines without one into ``rejected.csv``.

    The caller makes the directory durable, and then confirms the serial numbers in *log* in the ledger.

    Args:
        order: What to issue.
        devices: The list.
        directory: An empty directory.
        signer: Signs the vouchers.
        ledger: The source of the serial numbers.
        progress: Called with the number of bytes of the list processed since the last call.
        log: Where the serial numbers of what was written are added.

    Raises:
        FormatError: The list is malformed.
        RefusedError: The batch was begun with other Options.
        FailedError: A signing process was killed.
        HostError: The ledger can't be used.
        OSError: Something can't be read or written.
    """
    run = ledger.new_run()
    issued = done = 0
    with ExitStack() as stack:
        out = _Output(stack, directory, order.form)
        workers = stack.enter_context(_Workers(signer, order))
        errands = reserved_vouchers(order, devices, ledger, signer, run, out.reject)
        for written, octets in workers.work(errands):
            out.put(written)
            issued += len(written)
            if log is not None:
                log.add(int(serial) for row, _ in written for serial in row[-1].split())
            if progress is not None:
                progress(octets - done)
            done = octets
    return BulkReport(issued=issued, rejected=out.rejected, run=run)


def reserved_vouchers(  # noqa: PLR0917 - all that a run consists of
    order: BulkOrder,
    devices: Iterable[ListedDevice],
    ledger: Ledger,
    signer: VoucherSigner,
    run: str,
    reject: Callable[[ListedDevice, str], object],
) -> Iterator[tuple[Taken, int]]:
    """Yield tasks, vouchers with their serial numbers, and how many bytes of the list have been read.

    Args:
        order: What to issue.
        devices: The list.
        ledger: The source of the serial numbers.
        signer: Whose they are.
        run: The name of this run.
        reject: Called with each line that gets no voucher, and why.

    Raises:
        FormatError: The list is malformed.
        RefusedError: The batch was begun with other Options.
        HostError: The ledger can't be used.
    """
    reserve = partial(
        ledger.reserve,
        run=run,
        batch=order.batch,
        signer=signer.key_id,
        unpredictable=signer.digest is Digest.SHA1,
        terms=terms_of(order.templates),
    )
    lines = iter(devices)
    while some := list(islice(lines, DEVICES_AT_ONCE)):
        wants = {
            index: Want(device=line.device, templates=order.templates)
            for index, line in enumerate(some)
            if line.device is not None
        }
        outcomes = reserve([*wants.values()])
        answered = dict(zip(wants, outcomes, strict=True))
        taken = []
        for index, line in enumerate(some):
            refusal = answered[index].refusal if index in answered else line.problem
            if refusal is None:
                taken.append((wants[index], answered[index].serials))
            else:
                reject(line, refusal)
        yield taken, some[-1].octets


class _Output:
    """The files of a bulk output."""

    def __init__(self, stack: ExitStack, directory: Path, form: VoucherForm) -> None:
        self._directory, self._name = directory, form.file
        self._all: FileIO | None = None
        if form.file is not None:
            self._all = stack.enter_context(FileIO(directory / form.file, "x"))
        self._index = None
        if form is not VoucherForm.NDJSON:
            self._index = _table(stack, directory / INDEX)
            self._index.row(("file", "oui", "product_class", "serial_number", "serials"))
        self._rejected = _table(stack, directory / REJECTED)
        stack.callback(self._name_columns)
        self._columns: tuple[str, ...] | None = None
        self.rejected = 0

    def put(self, written: Written) -> None:
        if self._index is not None:
            for row, _ in written:
                self._index.row((self._name or row[0], *row[1:]))
        if self._all is not None:
            write_all(self._all, b"".join(contents for _, contents in written))
            return
        for row, contents in written:
            with FileIO(self._directory / row[0], "x") as file:
                write_all(file, contents)

    def reject(self, line: ListedDevice, reason: str) -> None:
        self._name_columns(line.columns)
        self._rejected.row((line.line, reason, *line.cells))
        self.rejected += 1

    def _name_columns(self, columns: tuple[str, ...] = ()) -> None:
        """Write the first line of the rejected ones, once: it has the columns of the list."""
        if self._columns is None:
            self._columns = columns
            self._rejected.row(("line", "reason", *columns))


def _table(stack: ExitStack, path: Path) -> SpreadsheetWriter:
    # What is not UTF-8 in a list is written as it was.
    opened = path.open("x", newline="", encoding="utf-8", errors="surrogateescape")
    return SpreadsheetWriter(stack.enter_context(opened))


class _Workers:
    """Worker processes that sign, or this process if there is only one job.

    Each has its own connection.  If a worker is killed in the middle of a message, nothing waits for the rest
    of it; an executor of the standard library does.
    """

    def __init__(self, signer: VoucherSigner, order: BulkOrder) -> None:
        self._sign = _Signing(signer=signer, form=order.form, check=order.check)
        self._jobs = order.jobs if FORKS else 1
        self._processes: list[multiprocessing.process.BaseProcess] = []
        self._connections: list[Connection] = []

    def __enter__(self) -> Self:
        if self._jobs > 1:
            before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            try:
                for _ in range(self._jobs):
                    self._start(before)
            except BaseException:
                self.__exit__()
                raise
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._connections:
            connection.close()
        for process in self._processes:
            process.terminate()
            process.join()

    def work(self, errands: Iterator[tuple[Taken, int]]) -> Iterator[tuple[Written, int]]:
        """Yield what to write for each task, in order.

        Raises:
            FailedError: A signing process was killed.
            FormatError: A voucher would be too large.
        """
        if not self._connections:
            for taken, octets in errands:
                yield self._sign(taken), octets
            return
        waiting: deque[tuple[Connection, int]] = deque()
        free = deque(self._connections)
        for taken, octets in errands:
            # A worker has one task at a time, or both sides could block in sending to each other.
            done = None if free else _receive(waiting, free)
            connection = free.popleft()
            _send(connection, taken)
            waiting.append((connection, octets))
            if done is not None:
                yield done
        while waiting:
            yield _receive(waiting, free)

    def _start(self, mask: Iterable[int]) -> None:
        """Start a process, with all signals blocked until it has set its own handlers."""
        ours, theirs = multiprocessing.Pipe()
        self._connections.append(ours)
        process = multiprocessing.get_context("fork").Process(  # a key can't be sent, only inherited
            target=_serve, args=(theirs, [*self._connections], self._sign, mask), daemon=True
        )
        with forking():
            process.start()
        self._processes.append(process)
        theirs.close()


@dataclass(frozen=True, kw_only=True)
class _Signing:
    """The work of a signing process."""

    signer: VoucherSigner
    form: VoucherForm
    check: VoucherCheck | None

    def __call__(self, taken: Taken) -> Written:
        issued = [sign_voucher(want, serials, self.signer) for want, serials in taken]
        if self.check is not None:
            for one in issued:
                self.check.check(one.octets)
        return [(_row(one), self.form.write(one)) for one in issued]


def _row(issued: Issued) -> tuple[str, ...]:
    device, serials = issued.device, " ".join(map(str, issued.serials))
    return f"{issued.serials[0]}.xml", device.oui, device.product_class, device.serial_number, serials


def _put(connection: Connection, message: object) -> None:
    """Send as Connection.send does, after whose errors Python 3.12 and 3.13 complain of an open buffer."""
    connection.send_bytes(bytes(ForkingPickler.dumps(message)))


def _send(connection: Connection, taken: Taken) -> None:
    try:
        _put(connection, taken)
    except OSError as exc:
        raise _killed() from exc


def _receive(waiting: deque[tuple[Connection, int]], free: deque[Connection]) -> tuple[Written, int]:
    connection, octets = waiting.popleft()
    try:
        done: Written | Exception = connection.recv()
    except (EOFError, OSError) as exc:
        raise _killed() from exc
    if isinstance(done, Exception):
        raise done
    free.append(connection)
    return done, octets


def _killed() -> FailedError:
    hint = "run the same batch again to complete it"
    return FailedError("a signing process was killed", hint=hint)


def _serve(  # pragma: no cover - the process is terminated, so nothing is measured
    connection: Connection, others: Sequence[Connection], sign: _Signing, mask: Iterable[int]
) -> None:
    """Sign in a worker process, until its parent is gone."""
    # The terminal sends these to all processes; the parent handles them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    for other in others:  # or no worker would notice that the parent is gone
        other.close()
    with suppress(EOFError, OSError):
        while True:
            taken = connection.recv()
            try:
                done: Written | Exception = sign(taken)
            except Exception as exc:  # noqa: BLE001 - the parent raises it
                done = exc
            _put(connection, done)


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
