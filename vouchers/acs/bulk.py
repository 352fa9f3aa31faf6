"""Vouchers for many devices: a stream of devices in, files out, in constant memory and on several cores.

One process reads, reserves serial numbers and writes; worker processes sign.  A run may be interrupted at any
point: the same batch, run again, writes the same vouchers with the same serial numbers.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Final

from spkg.common.atomic_output import bulk_directory
from spkg.common.digests import Digest
from vouchers.acs.bulk_output import BulkOutput
from vouchers.acs.device_list import read_devices
from vouchers.acs.executor_signing import ExecutorSigning
from vouchers.acs.given_serials import GivenSerials
from vouchers.acs.ledger import Ledger
from vouchers.acs.ledger_reserve import TWICE
from vouchers.acs.ledger_wants import Want, terms_of
from vouchers.acs.listed_device import ListedDevice
from vouchers.acs.serial_log import SerialLog
from vouchers.acs.signing import SigningWork, TakenVouchers
from vouchers.acs.signing_pool import SigningPool
from vouchers.acs.templates import Template
from vouchers.acs.voucher_form import VoucherForm
from vouchers.model import DeviceId
from vouchers.signature.self_check import VoucherCheck
from vouchers.signature.sign import VoucherSigner

__all__ = [
    "DEVICES_AT_ONCE",
    "BulkOrder",
    "BulkReport",
    "BulkWriting",
    "ListProgress",
    "RejectLine",
    "issue_bulk",
    "issue_many",
    "reserved_vouchers",
    "write_vouchers",
]

DEVICES_AT_ONCE: Final = 200
"""The number of devices in one transaction of the ledger, and in one task of a worker process."""
LEAST_AHEAD: Final = 8
"""How many tasks an executor is given at once, at least: two for each of its workers keep all at work."""

ListProgress = Callable[[int], object]
RejectLine = Callable[[ListedDevice, str], object]
VoucherErrands = Callable[[str, RejectLine], Iterator[tuple[TakenVouchers, int]]]
"""Yields tasks, vouchers with their serial numbers, and how much of the input has been processed."""


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
class BulkWriting:
    """How many vouchers are signed and written."""

    form: VoucherForm = VoucherForm.NDJSON
    jobs: int = 1
    """The number of processes that sign."""
    check: VoucherCheck | None = None
    """What each voucher has to pass before it is written."""


@dataclass(frozen=True, kw_only=True)
class BulkOrder(BulkWriting):
    """What to issue to each of many devices."""

    templates: tuple[Template, ...]
    batch: str
    """The name that all runs of the same order share."""


def issue_bulk(
    order: BulkOrder,
    devices: Path | DeviceId,
    directory: Path,
    signer: VoucherSigner,
    ledger: AbstractContextManager[Ledger],
    *,
    progress: ListProgress | None = None,
    executor: Executor | None = None,
) -> BulkReport:
    """Issue a voucher to each of many devices: write a new directory, then confirm it in the ledger.

    Args:
        order: What to issue.
        devices: A list of devices, or one device.
        directory: The new directory; it appears once all of it is written.
        signer: Signs the vouchers.
        ledger: The source of the serial numbers; opened after the directory is reserved for this run.
        progress: Called with the number of bytes of the list processed since the last call.
        executor: Where the key signs, as :func:`issue_many` takes it.

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
            stack.enter_context(closing(read_devices(devices)))
            if isinstance(devices, Path)
            else iter([ListedDevice(line=1, device=devices)])
        )
        # What is no list fails before the directory has anything in it.
        listed = chain([*islice(listed, 1)], listed)
        report = issue_many(
            order, listed, part, signer, opened, progress=progress, log=log, executor=executor
        )
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
    executor: Executor | None = None,
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
        executor: Where the key signs; None for as many processes of this machine as the order says.
            What is not in this process gets the key by its name, as a ``KeyElsewhere``.

    Raises:
        FormatError: The list is malformed.
        RefusedError: The batch was begun with other Options.
        FailedError: A signing process was killed.
        HostError: The ledger can't be used.
        OSError: Something can't be read or written.
    """
    errands = partial(reserved_vouchers, order, devices, ledger, signer)
    run = ledger.new_run()
    return write_vouchers(
        order, errands, directory, signer, run, progress=progress, log=log, executor=executor
    )


def write_vouchers(
    writing: BulkWriting,
    errands: VoucherErrands,
    directory: Path,
    signer: VoucherSigner,
    run: str,
    *,
    progress: ListProgress | None = None,
    log: SerialLog | None = None,
    firsts: SerialLog | None = None,
    executor: Executor | None = None,
) -> BulkReport:
    """Sign vouchers that have their serial numbers, and write them into a directory.

    Args:
        writing: How.
        errands: Called with the name of the run, and with what is called for each line that gets no voucher.
        directory: An empty directory.
        signer: Signs the vouchers.
        run: The name of the run.
        progress: As for :func:`issue_many`.
        log: Where the serial numbers of what was written are added.
        firsts: Where the first serial number of each voucher is added.
        executor: Where the key signs, as for :func:`issue_many`.

    Raises:
        FailedError: A signing process was killed.
        HostError: The key can't be used.
        OSError: Something can't be written; and what *errands* raises.
    """
    issued = done = 0
    with ExitStack() as stack:
        out = BulkOutput(stack, directory, writing.form)
        work = SigningWork(signer=signer, form=writing.form, check=writing.check)
        workers: SigningPool | ExecutorSigning
        if executor is None:
            workers = stack.enter_context(SigningPool(work, writing.jobs))
        else:
            workers = ExecutorSigning(executor, work, max(LEAST_AHEAD, 2 * writing.jobs))
        for written, octets in workers.work(errands(run, out.reject)):
            out.put(written)
            issued += len(written)
            serials = [[int(serial) for serial in row[-1].split()] for row, _ in written]
            if log is not None:
                log.add(serial for some in serials for serial in some)
            if firsts is not None:
                firsts.add(some[0] for some in serials)
            if progress is not None:
                progress(octets - done)
            done = octets
    return BulkReport(issued=issued, rejected=out.reject.count, run=run)


def reserved_vouchers(  # noqa: PLR0917 - all that a run consists of
    order: BulkOrder,
    devices: Iterable[ListedDevice],
    ledger: Ledger,
    signer: VoucherSigner,
    run: str,
    reject: RejectLine,
) -> Iterator[tuple[TakenVouchers, int]]:
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
    with GivenSerials() as given:
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
                # The ledger knows the last run that a device was in; that may be another one by now.
                if refusal is None and not given.add(answered[index].serials[0]):
                    refusal = TWICE.refusal
                if refusal is None:
                    taken.append((wants[index], answered[index].serials))
                else:
                    reject(line, refusal)
            yield taken, some[-1].octets
