"""What an issuer wants of a ledger, and what it is given: vouchers, and the serial numbers for them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from vouchers.acs.ledger_entry import SerialState, option_columns
from vouchers.acs.templates import NOBODY, Template
from vouchers.model import DeviceId, Voucher
from vouchers.months import Units
from vouchers.signature.option_elements import content_of

__all__ = ["Predecessor", "Reservation", "Want", "device_key", "reserved_rows", "terms_of"]


@dataclass(frozen=True, kw_only=True)
class Predecessor:
    """The voucher that an Option of a new one renews or revokes."""

    renews: int | None = None
    """Its serial number; the ledger gives none if it no longer governs its Option."""
    duration: int | None = None
    """What the renewal adds."""
    units: Units | None = None
    revokes: int | None = None
    """Its serial number; the ledger gives none if it is revoked already."""


NO_PREDECESSOR = Predecessor()


@dataclass(frozen=True, kw_only=True)
class Want:
    """A voucher to issue: Options for one device."""

    device: DeviceId
    templates: tuple[Template, ...]
    before: tuple[Predecessor, ...] = ()
    """What each Option renews or revokes; empty if none does."""

    def voucher(self, serials: Sequence[int]) -> Voucher:
        """Return the voucher with serial numbers, one for each Option.

        Raises:
            ValueError: The voucher would be invalid.
        """
        pairs = zip(self.templates, serials, strict=True)
        return Voucher(options=tuple(template.option(serial, self.device) for template, serial in pairs))


@dataclass(frozen=True, kw_only=True)
class Reservation:
    """The answer of the ledger to a request."""

    serials: tuple[int, ...] = ()
    """The serial number of each Option; empty if the request is refused."""
    refusal: str | None = None
    """Why the request is refused; None if it is not."""
    outdated: bool = False
    """Whether it is, because another run was faster: what it renews or revokes is so no more."""


def terms_of(templates: Iterable[Template]) -> str:
    """Return a digest of Options, in whatever order they are."""
    contents = sorted(content_of(template.option(0, NOBODY)) for template in templates)
    return sha256(b"".join(contents)).hexdigest()


def device_key(device: DeviceId) -> tuple[str, str, str]:
    """Return what identifies a device (Table 63)."""
    return device.oui, device.product_class, device.serial_number


def reserved_rows(want: Want, serials: Sequence[int]) -> Iterator[Mapping[str, object]]:
    """Yield the rows of the ledger for a voucher, without what they have of the run."""
    oui, product_class, serial_number = device_key(want.device)
    before = want.before or (NO_PREDECESSOR,) * len(serials)
    for option, serial, one in zip(want.voucher(serials).options, serials, before, strict=True):
        yield {
            "serial": serial,
            "oui": oui,
            "product_class": product_class,
            "serial_number": serial_number,
            "option": option.ident,
            "digest": content_of(option).hex(),
            "state": SerialState.RESERVED.value,
            **option_columns(option),
            "renews": one.renews,
            "renewal_duration": one.duration,
            "renewal_units": None if one.units is None else one.units.value,
            "revokes": one.revokes,
        }
