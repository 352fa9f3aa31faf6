"""SetVouchers and GetOptions on a device, whoever asks: a command, an RPC, a program (A.4.1.3, A.4.1.4)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from spkg.device import Device
from spkg.errors import NO_ROOM, RefusedError, SpkgError, UsageError
from vouchers.cpe.grant import Grant, grant
from vouchers.cpe.identity import identity_of
from vouchers.cpe.option_life import Life, OptionState
from vouchers.cpe.store import OptionStore
from vouchers.model import MAX_VOUCHERS
from vouchers.signature.shape import read_voucher
from vouchers.signature.verify import TrustedVoucher, Verifier

__all__ = ["Checked", "check_vouchers", "get_options", "set_vouchers"]


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A voucher that may take effect, and where it is from."""

    source: str
    trusted: TrustedVoucher
    grant: Grant


def check_vouchers(
    vouchers: Sequence[tuple[str, bytes]], verifier: Verifier, device: Device, now: datetime | None
) -> list[Checked]:
    """Return what a list of vouchers would do: nothing has happened yet.

    Args:
        vouchers: Where each is from, for errors, and its XML.
        verifier: Who is believed.
        device: This device.
        now: The network time, for trust and for the Options; None where there is none yet.

    Raises:
        RefusedError: One is not for this device or not now, or there are too many.
        UntrustedError: One is of nobody who is believed.
        FormatError: One is none.
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
) -> list[tuple[Checked, list[tuple[Life, bool]]]]:
    """Have vouchers take effect: all of them, or none.

    Returns:
        For each voucher and each of its Options what governs it now, and whether that is new.

    Raises:
        RefusedError: One was seen before, or there are more Options than can be kept.
        SurroundingsError: The store can't be written.
    """
    grants, sources = [one.grant for one in checked], [one.source for one in checked]
    done = iter(store.apply(grants, now, sources, provisioning_code, real=real))
    return [(one, [next(done) for _ in one.grant.lives]) for one in checked]


def get_options(
    store: OptionStore,
    at: datetime,
    supported: Sequence[str] | None,
    name: str = "",
    *,
    real: bool = False,
    provisioning_code: str | None = None,
) -> list[OptionState]:
    """Return how one Option stands, or all that the device has where the name is empty.

    Args:
        store: The Options.
        at: The time.
        supported: The Options that the device has; None for those that there were vouchers for.
        name: The one that is asked for.
        real: Whether it is the network time, and not only supposed.
        provisioning_code: That of the device, which may be another than the store has seen.

    Raises:
        UsageError: There is no Option of that name.
        SurroundingsError: The store can't be read.
    """
    found = store.options(at, supported, real=real, provisioning_code=provisioning_code)
    if name:
        found = [option for option in found if option.name == name]
        if not found:
            raise UsageError(f"there is no Option {name!r} here")
    return found
