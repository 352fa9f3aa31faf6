"""Renewals: vouchers for Options that run out, each from the end of the one before (TR-069 C.3, Table 62).

A renewal keeps the first StartDate and states the whole Duration.  So the Option is on without a break until
the old end plus what was added, whenever before the old end the device applies it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from hashlib import sha256
from itertools import groupby, islice
from pathlib import Path
from typing import Final

from spkg.common.atomic_output import bulk_directory
from spkg.common.digests import Digest
from spkg.errors import FormatError, HostError
from vouchers.acs.bulk import (
    DEVICES_AT_ONCE,
    BulkReport,
    BulkWriting,
    ListProgress,
    RejectLine,
    write_vouchers,
)
from vouchers.acs.ledger import Ledger
from vouchers.acs.ledger_due import count_estimated, due_by_device, entries_of
from vouchers.acs.ledger_entry import LedgerEntry, SerialState
from vouchers.acs.ledger_wants import Predecessor, Want, device_key, terms_of
from vouchers.acs.listed_device import ListedDevice
from vouchers.acs.serial_log import SerialLog
from vouchers.acs.signing import TakenVouchers
from vouchers.acs.templates import Template
from vouchers.model import MAX_VOUCHER_OPTIONS, Mode
from vouchers.months import LAST, Units, end_of
from vouchers.signature.option_elements import content_of
from vouchers.signature.sign import VoucherSigner

__all__ = ["RenewalOrder", "RenewalReport", "check_renewal_options", "renew_bulk", "renewed"]

MAX_MONTHS: Final = 12 * 9999
"""More months than there are."""


@dataclass(frozen=True, kw_only=True)
class RenewalOrder(BulkWriting):
    """What to renew, and how."""

    batch: str
    """The name that all runs of the same order share."""
    within: timedelta
    """How soon the Options end."""
    templates: tuple[Template, ...] = ()
    """The Options to renew, and what is added; empty to repeat what each device has."""


@dataclass(frozen=True, kw_only=True)
class RenewalReport(BulkReport):
    """The result of renewing."""

    estimated: int = 0
    """Options that may end soon, but are left out: their end is only estimated."""


def check_renewal_options(templates: Iterable[Template]) -> None:
    """Make sure that Options can be renewals.

    Raises:
        FormatError: One does not expire, or has a StartDate.
    """
    for template in templates:
        if template.mode is not Mode.WITH_EXPIRATION:
            raise FormatError(
                f"a renewal needs the mode EnableWithExpiration, got {template.mode.value}",
                field=template.ident,
            )
        if template.start is not None:
            hint = "leave start-date out"
            raise FormatError(
                "a renewal begins where the Option ends: expected no StartDate",
                field=template.ident,
                hint=hint,
            )


def renewed(entry: LedgerEntry, template: Template | None = None) -> tuple[Template, Predecessor]:
    """Return what a voucher does that renews another one.

    Args:
        entry: That one; it expires, and has a StartDate.
        template: What is added, with the description and so on; None to repeat the last one.

    Raises:
        ValueError: It does not expire, or its end is only estimated.
        HostError: It is damaged.
    """
    before = entry.template
    if before.start is None or before.duration is None or before.units is None:
        raise ValueError(f"serial number {entry.serial}: expected a StartDate and a Duration")
    if template is None:
        added, units = entry.renewal_duration or before.duration, entry.renewal_units or before.units
    else:
        assert template.duration is not None  # as check_renewal_options() has checked
        assert template.units is not None
        added, units = template.duration, template.units
    end = end_of(end_of(before.start, before.duration, before.units), added, units)
    whole = before.duration + added
    if not (
        before.units is units is Units.MONTHS
        and whole < MAX_MONTHS
        and end_of(before.start, whole, Units.MONTHS) == end < LAST
    ):
        # Days say exactly when it ends; months from the first StartDate may end a few days later.
        whole, units_of_all = (end - before.start).days + (end == LAST), Units.DAYS
    else:
        units_of_all = Units.MONTHS
    try:
        terms = replace(template or before, start=before.start, duration=whole, units=units_of_all)
    except ValueError as exc:
        raise entry.damaged(exc) from exc
    return terms, Predecessor(renews=entry.serial, duration=added, units=units)


def renew_bulk(
    order: RenewalOrder,
    directory: Path,
    signer: VoucherSigner,
    ledger: AbstractContextManager[Ledger],
    now: datetime,
    *,
    counted: Callable[[int], object] = lambda _: None,
    progress: ListProgress | None = None,
    executor: Executor | None = None,
) -> RenewalReport:
    """Renew all Options that end soon: write a new directory, then confirm it in the ledger.

    The same batch, run again, writes the same vouchers, and what has become due since.

    Args:
        order: What to renew.
        directory: The new directory; it appears once all of it is written.
        signer: Signs the vouchers.
        ledger: The ledger; opened after the directory is reserved for this run.
        now: The current time.
        counted: Called with the number of Options, once it is known.
        progress: Called with the number of Options processed since the last call.
        executor: Where the key signs, as :func:`issue_many` takes it.

    Raises:
        UsageError: The directory exists, or another run is writing it.
        FormatError: The Options can't be renewals.
        RefusedError: The batch was begun with other Options.
        FailedError: A signing process was killed; the same batch, run again, completes the directory.
        HostError: The ledger can't be used.
        OSError: Something can't be read or written.
    """
    check_renewal_options(order.templates)
    confirmed = 0
    due, log, firsts = SerialLog(), SerialLog(), SerialLog()

    def confirm() -> None:
        nonlocal confirmed
        opened.confirm_all(log)
        confirmed = opened.confirm_all(firsts)

    with ExitStack() as stack, due, log, firsts, bulk_directory(directory, confirm) as part:
        opened = stack.enter_context(ledger)
        opened.check_terms(order.batch, _terms(order))
        idents = [template.ident for template in order.templates]
        due.add(due_by_device(opened, order.batch, idents, order.within, now))
        counted(len(due))
        errands = partial(_errands, order, opened, signer, due)
        report = write_vouchers(
            *(order, errands, part, signer, opened.new_run()),
            progress=progress,
            log=log,
            firsts=firsts,
            executor=executor,
        )
        estimated = count_estimated(opened, order.within, now)
    return RenewalReport(**vars(report) | {"confirmed": confirmed, "estimated": estimated})


def _terms(order: RenewalOrder) -> str:
    """Return the terms of a batch of renewals, which no other batch has."""
    return sha256(b"renewals of " + terms_of(order.templates).encode()).hexdigest()


def _errands(  # noqa: PLR0917 - all that a run consists of
    order: RenewalOrder,
    ledger: Ledger,
    signer: VoucherSigner,
    due: Iterable[int],
    run: str,
    reject: RejectLine,
) -> Iterator[tuple[TakenVouchers, int]]:
    """Yield vouchers with their serial numbers, and how many Options have been processed."""
    templates = {template.ident: template for template in order.templates}
    devices = groupby(entries_of(ledger, due), key=lambda entry: device_key(entry.device))
    whole = ([*entries] for _, entries in devices)
    done = 0
    while some := [*islice(whole, DEVICES_AT_ONCE)]:
        wants: list[Want] = []
        for entries in some:
            done += len(entries)
            want = _want(ledger, order.batch, templates, entries, reject)
            if want is not None:
                wants.append(want)
        outcomes = ledger.reserve(
            wants,
            run=run,
            batch=order.batch,
            signer=signer.key_id,
            unpredictable=signer.digest is Digest.SHA1,
            terms=_terms(order),
        )
        taken = []
        for want, outcome in zip(wants, outcomes, strict=True):
            if outcome.refusal is None:
                taken.append((want, outcome.serials))
            elif not outcome.outdated:  # or another run was faster, or the device was disabled meanwhile
                reject(_line(want), outcome.refusal)
        yield taken, done


def _want(
    ledger: Ledger,
    batch: str,
    templates: dict[str, Template],
    entries: Sequence[LedgerEntry],
    reject: RejectLine,
) -> Want | None:
    """Return the renewal for a device: the one that the batch has, or one of all that it is to have."""
    had = [entry for entry in entries if entry.batch == batch and entry.renews is not None]
    if any(entry.state is SerialState.VOID for entry in had):
        return None
    if had:
        parts = [(entry.template, _kept(entry)) for entry in had]
        if len(had) < len(entries):
            reason = "this batch already renews other Options of this device; renew these in another batch"
            reject(_line(_joined(had, parts)), reason)
    else:
        parts = [renewed(entry, templates.get(entry.option)) for entry in entries[:MAX_VOUCHER_OPTIONS]]
    for entry in entries:
        if content_of(entry.template.option(entry.serial, entry.device)).hex() != entry.digest:
            name = ledger.database.name
            raise HostError(f"{name}: damaged: serial number {entry.serial}: its digest is of other contents")
    return _joined(had or entries, parts)


def _kept(entry: LedgerEntry) -> Predecessor:
    return Predecessor(renews=entry.renews, duration=entry.renewal_duration, units=entry.renewal_units)


def _joined(entries: Sequence[LedgerEntry], parts: Sequence[tuple[Template, Predecessor]]) -> Want:
    return Want(
        device=entries[0].device,
        templates=tuple(terms for terms, _ in parts),
        before=tuple(before for _, before in parts),
    )


def _line(want: Want) -> ListedDevice:
    """Return a renewal as a line of a list, for what is rejected."""
    return ListedDevice(
        line=0,
        device=want.device,
        columns=("oui", "product_class", "serial_number"),
        cells=device_key(want.device),
    )
