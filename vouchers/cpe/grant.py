"""Whether a trusted voucher is for this device, and what it does to its Options (TR-069 C.2, C.3).  Pure."""

from datetime import datetime
from typing import Final, final

from spkg.common.frozen import dataclass
from spkg.common.sealed import Sealed
from spkg.common.times import write_time
from spkg.device import Device
from spkg.errors import RefusedError
from vouchers.cpe.identity import identity_of
from vouchers.cpe.option_life import Life
from vouchers.model import DeviceId, Option
from vouchers.signature.option_elements import content_of
from vouchers.signature.verify import TrustedVoucher

__all__ = ["Grant", "grant"]

_SEAL: Final = object()


@final
@dataclass(frozen=True, kw_only=True)
class Grant(Sealed, of=_SEAL, maker="grant()"):
    """What a trusted voucher does to the Options of this device.  Only :func:`grant` makes one."""

    lives: tuple[Life, ...]


def grant(trusted: TrustedVoucher, device: Device, now: datetime | None) -> Grant:
    """Return what a voucher does to the Options of a device.

    Args:
        trusted: The voucher.
        device: This device.
        now: The network time; None if it is not established.

    Raises:
        RefusedError: It is for another device, for an Option that the device does not have, or has ended; or
            the network time is not established.
        FormatError: The device has no identity.
    """
    # (1) C.2: applied only once network time is established.
    if now is None:
        raise RefusedError("network time is not established", section="C.2")
    # (2) Table 62: it must be for this device; the manufacturer is for display only (Table 63).
    own, named = identity_of(device), trusted.voucher.device
    if not named.is_same_device(own):
        problem = f"the voucher is for {_words(named)}, but this device is {_words(own)}"
        raise RefusedError(problem, field="DeviceId", section="C.3, Table 62")
    lives: dict[str, Life] = {}
    for option in trusted.voucher.options:
        # (3) The device must have each Option, and each may occur once.
        if device.supported_options is not None and option.ident not in device.supported_options:
            raise RefusedError(f"this device has no Option {option.ident!r}", section="C.3, Table 62")
        if option.ident in lives:
            raise RefusedError(f"the Option {option.ident!r} occurs twice in the voucher", section="C.3")
        life = lives[option.ident] = _life(option, trusted.signer_key, now)
        # (4) It must not have ended.
        if life.is_over(now):
            assert life.expires is not None  # or it would not be over
            problem = f"the Option {option.ident!r} expired at {write_time(life.expires)}"
            raise RefusedError(problem, section="C.2")
    return Grant(lives=tuple(lives.values()), seal=_SEAL)


def _life(option: Option, signer_key: bytes, now: datetime) -> Life:
    whole = now.replace(microsecond=0)
    return Life(
        name=option.ident,
        serial=option.serial,
        signer_key=signer_key,
        content=content_of(option),
        mode=option.mode,
        start=option.start or whole,
        expires=option.expires(whole),
        transferable=option.transferable,
        begun=(option.start or whole) <= whole,
    )


def _words(device: DeviceId) -> str:
    return f"{device.oui} {device.product_class!r} {device.serial_number!r}"
