"""What a device answers to SetVouchers and GetOptions (TR-069 A.4.1.3, A.4.1.4, A.5)."""

import re
from base64 import b64decode
from datetime import UTC, datetime
from typing import Final

from spkg.device import Device
from spkg.errors import NO_ROOM, FormatError, RefusedError, SpkgError, UntrustedError, UsageError
from vouchers.applying import MAX_VOUCHERS, check_vouchers, get_options, set_vouchers
from vouchers.devices import identity_of
from vouchers.soap import (
    CWMP,
    Request,
    fault_response,
    options_response,
    read_envelope,
    vouchers_response,
)
from vouchers.store import OptionStore
from vouchers.xml.document import MAX_VOUCHER
from vouchers.xml.parsing import BLANK, Element
from vouchers.xml.verification import Verifier

__all__ = ["answer", "fault_code"]

UNKNOWN_METHOD: Final = 9000
INTERNAL: Final = 9002
FAULT_FOR: Final[dict[type[SpkgError], int]] = {
    UsageError: 9003,
    FormatError: 9003,
    UntrustedError: 9001,
    RefusedError: 9001,
}
"""The FaultCode of each class of errors (README, "Exit statuses"); of all others it is 9002."""
MAX_NAME: Final = 64
"""The longest OptionName (Table 46)."""
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
ARRAY: Final = "{http://schemas.xmlsoap.org/soap/encoding/}arrayType"


class UnknownMethodError(UsageError):
    """A method that is none of ours."""


def fault_code(error: SpkgError) -> int:
    """Return the FaultCode of SetVouchers or GetOptions for a failure (A.5.1)."""
    if isinstance(error, UnknownMethodError):
        return UNKNOWN_METHOD
    if error.fault == NO_ROOM:
        return NO_ROOM
    return next((FAULT_FOR[kind] for kind in type(error).__mro__ if kind in FAULT_FOR), INTERNAL)


def answer(
    octets: bytes,
    store: OptionStore,
    verifier: Verifier,
    device: Device,
    now: datetime | None,
    *,
    supposed: bool = False,
) -> bytes | None:
    """Return the envelope that answers one; None where that asks for nothing.

    Args:
        octets: What the server sent.
        store: The Options of this device.
        verifier: Whose vouchers are believed.
        device: This device.
        now: The network time; None where there is none yet.
        supposed: Whether that time is only supposed, and nothing is remembered of it.

    Raises:
        FormatError: It is no envelope, or the device does not say who it is.
    """
    identity_of(device)
    request = read_envelope(octets)
    if request.method is None and not request.not_understood:
        return None
    try:
        if request.not_understood:
            raise UsageError(f"the header {request.not_understood[0]!r} is not understood", section="3.5")
        store.observe(device.provisioning_code, None if supposed else now)
        assert request.method is not None  # or there would be a header that is not understood
        return _METHODS.get(request.method.tag, _unknown)(request, store, verifier, device, now)
    except SpkgError as exc:
        return fault_response(fault_code(exc), str(exc), request.id)


def _set_vouchers(
    request: Request, store: OptionStore, verifier: Verifier, device: Device, now: datetime | None
) -> bytes:
    (array,) = _arguments(request, "VoucherList")
    members = [child for child in array if not child.tag.startswith("{")]
    stated = re.search(r"\[(\d{1,9})\]\s*$", array.get(ARRAY) or "", re.ASCII)
    if len(members) > MAX_VOUCHERS:
        raise RefusedError(f"{len(members)} vouchers at once, {MAX_VOUCHERS} are taken", fault=NO_ROOM)
    if not members or (stated is not None and int(stated[1]) != len(members)):
        count = "at least one" if stated is None else stated[1]
        raise UsageError(f"VoucherList: {count} belong in it, {len(members)} are there", section="A.4.1.3")
    vouchers = [(f"VoucherList[{index}]", _octets(member)) for index, member in enumerate(members)]
    checked = check_vouchers(vouchers, verifier, device, now)
    assert now is not None  # or nothing would be granted
    set_vouchers(checked, store, now)
    return vouchers_response(request.id)


def _get_options(
    request: Request, store: OptionStore, _verifier: Verifier, device: Device, now: datetime | None
) -> bytes:
    (argument,) = _arguments(request, "OptionName")
    name = argument.text or ""
    if len(argument) or len(name) > MAX_NAME:
        raise UsageError(f"OptionName: a string of at most {MAX_NAME} characters", section="A.4.1.4")
    # Without network time nothing is held against a date that was not before (C.2).
    at = now or store.last_time() or EPOCH
    return options_response(get_options(store, at, device.supported_options, name), request.id)


def _unknown(request: Request, *_: object) -> bytes:
    tag = "" if request.method is None else request.method.tag
    raise UnknownMethodError(f"the method {tag.rpartition('}')[2][:64]!r} is not supported")


def _arguments(request: Request, *names: str) -> list[Element]:
    """Return the arguments of a call: those, in that order, and no others (A.2.2).

    What is of a namespace is of a later time, and ignored (3.5).
    """
    assert request.method is not None  # it was looked up
    found = [child for child in request.method if not child.tag.startswith("{")]
    if [child.tag for child in found] != [*names]:
        raise UsageError(f"the argument {', '.join(names)} belongs to it, and no other", section="A.2.2")
    return found


def _octets(member: Element) -> bytes:
    """Return the voucher that a member of the list is."""
    text = (member.text or "").translate(dict.fromkeys(map(ord, BLANK)))
    if member.tag != "base64" or len(member):
        raise UsageError("VoucherList: base64 belongs in it", section="A.4.1.3")
    if len(text) > MAX_VOUCHER * 4 // 3 + 4:
        raise RefusedError(f"a voucher of more than {MAX_VOUCHER} octets", fault=NO_ROOM)
    try:
        return b64decode(text, validate=True)
    except ValueError as exc:
        raise UsageError("VoucherList: no base64", section="A.4.1.3") from exc


_METHODS: Final = {f"{{{CWMP}}}SetVouchers": _set_vouchers, f"{{{CWMP}}}GetOptions": _get_options}
