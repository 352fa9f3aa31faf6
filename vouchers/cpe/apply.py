"""SetVouchers and GetOptions on a device, for a command, an RPC or a program (A.4.1.3, A.4.1.4)."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from spkg.device import Device
from spkg.errors import NO_ROOM, HostError, RefusedError, SpkgError, UsageError
from vouchers.cpe.grant import Grant, grant
from vouchers.cpe.identity import identity_of
from vouchers.cpe.option_life import Life, OptionState
from vouchers.cpe.store import OptionStore
from vouchers.model import MAX_VOUCHERS
from vouchers.signature.shape import read_voucher
from vouchers.signature.verify import TrustedVoucher, Verifier

__all__ = [
    "AppliedVoucher",
    "Checked",
    "KnownOptions",
    "apply_vouchers",
    "check_vouchers",
    "get_options",
    "known_options",
    "set_vouchers",
]


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A voucher that may take effect, and its source."""

    source: str
    trusted: TrustedVoucher
    grant: Grant


@dataclass(frozen=True, kw_only=True)
class AppliedVoucher:
    """A voucher that has taken effect."""

    source: str
    trusted: TrustedVoucher
    options: tuple[tuple[Life, bool], ...]
    """What governs each of its Options now, and whether that is new."""


@dataclass(frozen=True, kw_only=True)
class KnownOptions:
    """The state of Options at a time."""

    options: tuple[OptionState, ...]
    at: datetime
    next_change: datetime | None
    """When the next one of them begins or ends without a voucher; None if none does."""


def apply_vouchers(
    vouchers: Callable[[], Iterable[tuple[str, bytes]]],
    verifier: Verifier,
    device: Device,
    path: Path,
    now: datetime | None,
    *,
    supposed: bool = False,
) -> list[AppliedVoucher]:
    """Apply vouchers as SetVouchers does: all of them, or none.

    Args:
        vouchers: Returns the source of each, for errors, and its XML.
        verifier: Decides which signers are trusted.
        device: This device; a changed provisioning code takes effect even if the vouchers are refused.
        path: The file of the store, created if it is missing.
        now: The network time, for trust and for the Options; None if it is not established.
        supposed: Whether that time is hypothetical, so that nothing is stored of it.

    Raises:
        RefusedError: One is for another device, has ended or was seen before, or there are too many.
        UntrustedError: One has no trusted signature.
        FormatError: One is malformed, or the device has no identity.
        HostError: The store can't be read or written.
        OSError: A voucher can't be read.
    """
    real = None if supposed else now
    if path.is_file() and path.stat().st_size:
        with OptionStore(path) as known:
            known.observe(device.provisioning_code, real)
    checked = check_vouchers([*vouchers()], verifier, device, now)
    assert now is not None  # as check_vouchers() has checked
    with OptionStore(path, create=True) as opened:
        opened.observe(device.provisioning_code, real)
        return set_vouchers(checked, opened, now, device.provisioning_code, real=not supposed)


def known_options(
    path: Path,
    device: Device | None,
    now: datetime,
    name: str = "",
    *,
    supposed: bool = False,
    note: Callable[[str], object] = lambda _text: None,
) -> KnownOptions:
    """Return the state of Options, as GetOptions reports it, and when it changes next.

    Args:
        path: The file of the store.
        device: This device, and what it supports; None if unknown.
        now: The time.
        name: The Option to return; all if it is empty.
        supposed: Whether that time is hypothetical, so that nothing is stored of it.
        note: Called with a message if the store can be read but not written.

    Raises:
        UsageError: There is no Option of that name.
        HostError: The store can't be read.
    """
    code = None if device is None else device.provisioning_code
    with OptionStore(path) as opened:
        if not supposed:
            try:
                opened.observe(code, now)
            except HostError as exc:
                note(f"the time and the provisioning code are not stored: {exc}")
        supported = None if device is None else device.supported_options
        real = not supposed
        found = get_options(opened, now, supported, name, real=real, provisioning_code=code)
        names = {option.name for option in found}
        due = opened.next_change(now, names, real=real, provisioning_code=code)
    return KnownOptions(options=tuple(found), at=now, next_change=due)


def check_vouchers(
    vouchers: Sequence[tuple[str, bytes]], verifier: Verifier, device: Device, now: datetime | None
) -> list[Checked]:
    """Return what a list of vouchers would do, without changing anything.

    Args:
        vouchers: The source of each, for errors, and its XML.
        verifier: Decides which signers are trusted.
        device: This device.
        now: The network time, for trust and for the Options; None if it is not established.

    Raises:
        RefusedError: One is for another device or has ended, or there are too many.
        UntrustedError: One has no trusted signature.
        FormatError: One is malformed, or the device has no identity.
    """
    if now is None:
        raise RefusedError("network time is not established", section="C.2")
    identity_of(device)
    if len(vouchers) > MAX_VOUCHERS:
        raise RefusedError(f"expected at most {MAX_VOUCHERS} vouchers, got {len(vouchers)}", reason=NO_ROOM)
    checked = []
    for source, octets in vouchers:
        try:
            trusted = verifier.verify(read_voucher(octets), now)
            checked.append(Checked(source=source, trusted=trusted, grant=grant(trusted, device, now)))
        except SpkgError as exc:
            exc.source = exc.source or source
            raise
    return checked


def set_vouchers(
    checked: Sequence[Checked],
    store: OptionStore,
    now: datetime,
    provisioning_code: str | None = None,
    *,
    real: bool = True,
) -> list[AppliedVoucher]:
    """Apply vouchers: all of them, or none.

    Raises:
        RefusedError: One was seen before, or the store is full.
        HostError: The store can't be written.
    """
    grants, sources = [one.grant for one in checked], [one.source for one in checked]
    done = iter(store.apply(grants, now, sources, provisioning_code, real=real))
    return [
        AppliedVoucher(
            source=one.source, trusted=one.trusted, options=tuple(next(done) for _ in one.grant.lives)
        )
        for one in checked
    ]


def get_options(
    store: OptionStore,
    at: datetime,
    supported: Sequence[str] | None,
    name: str = "",
    *,
    real: bool = False,
    provisioning_code: str | None = None,
) -> list[OptionState]:
    """Return the state of one Option, or of all of the device if the name is empty.

    Args:
        store: The Options.
        at: The time.
        supported: The Options that the device has; None for those that have had a voucher.
        name: The Option to return.
        real: Whether *at* is the network time, not a hypothetical one.
        provisioning_code: The current one of the device, which may differ from the one in the store.

    Raises:
        UsageError: There is no Option of that name.
        HostError: The store can't be read.
    """
    found = store.options(at, supported, real=real, provisioning_code=provisioning_code)
    if name:
        found = [option for option in found if option.name == name]
        if not found:
            raise UsageError(f"unknown Option {name!r}")
    return found
