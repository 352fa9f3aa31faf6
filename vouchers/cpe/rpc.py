"""What a device answers to SetVouchers and GetOptions (TR-069 A.4.1.3, A.4.1.4, A.5)."""

import re
from base64 import b64decode
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from spkg.common.hostile_xml import BLANK, Element
from spkg.cwmp.faults import UnknownMethodError, method_fault
from spkg.device import Device
from spkg.errors import NO_ROOM, RefusedError, SpkgError, UsageError
from vouchers.cpe.apply import check_vouchers, get_options, set_vouchers
from vouchers.cpe.identity import identity_of
from vouchers.cpe.messages import (
    CWMP,
    ENCODING,
    MAX_VOUCHERS,
    Request,
    fault_response,
    options_response,
    own_text,
    vouchers_response,
)
from vouchers.cpe.store import OptionStore
from vouchers.signature.shape import MAX_VOUCHER
from vouchers.signature.verify import Verifier

__all__ = ["answer"]

MAX_OPTION_NAME: Final = 64
"""The longest OptionName, in characters (Table 46)."""
MAX_NAME: Final = 128
"""How much is told of a name that is not known."""
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
KNOWN: Final = f"{{{CWMP}}}"
ARRAY: Final = f"{{{ENCODING}}}arrayType"
MEMBERS: Final = {"base64", f"{{{ENCODING}}}base64"}
"""How a voucher in a list is named: by its type (3.5; SOAP 1.1, 5.1)."""


def answer(
    request: Request,
    store: OptionStore,
    verifier: Verifier,
    device: Device,
    now: datetime | None,
    *,
    supposed: bool = False,
) -> bytes | None:
    """Return the envelope that answers a request; None where that asks for nothing.

    Args:
        request: What the server sent, as :func:`read_envelope` has it.
        store: The Options of this device.
        verifier: Whose vouchers are believed.
        device: This device.
        now: The network time; None where there is none yet.
        supposed: Whether that time is only supposed, and nothing is remembered of it.

    Raises:
        FormatError: The device does not say who it is.
        SurroundingsError: The store can't be written, and nothing was asked for.
    """
    identity_of(device)
    try:
        store.observe(device.provisioning_code, None if supposed else now)
        if request.method is None and request.problem is None:
            return None
        call = _Call(request, store, verifier, device, now, supposed=supposed)
        tag = "" if request.method is None else request.method.tag
        if tag and tag not in _METHODS:
            raise UnknownMethodError(f"the method {tag[:MAX_NAME]} is not supported")
        if request.problem is not None:
            raise UsageError(request.problem, section="3.5")
        return _METHODS[tag](call)
    except SpkgError as exc:
        if request.method is None and request.problem is None:
            raise
        return fault_response(method_fault(exc), str(exc), request.id)


@dataclass(frozen=True)
class _Call:
    """A request, and all that answers it."""

    request: Request
    store: OptionStore
    verifier: Verifier
    device: Device
    at: datetime | None
    supposed: bool = field(kw_only=True)

    def argument(self, name: str) -> Element:
        """Return the one argument of the call, and no other (A.2.2).

        It is unqualified in the schema, and of the namespace of CWMP where somebody takes 3.5 by its words.
        What is of another one is of a later time, and ignored.
        """
        assert self.request.method is not None  # it was looked up
        found = [
            child for child in self.request.method if child.tag.startswith(KNOWN) or "}" not in child.tag
        ]
        if [child.tag.removeprefix(KNOWN) for child in found] != [name]:
            raise UsageError(f"the argument {name} belongs to it, and no other", section="A.2.2")
        return found[0]


def _set_vouchers(call: _Call) -> bytes:
    array = call.argument("VoucherList")
    members = [child for child in array if child.tag in MEMBERS or "}" not in child.tag]
    stated = re.search(r"\[(\d{1,9})\]\s*$", array.get(ARRAY) or "", re.ASCII)
    if len(members) > MAX_VOUCHERS:
        raise RefusedError(f"{len(members)} vouchers at once, {MAX_VOUCHERS} are taken", reason=NO_ROOM)
    if not members:
        raise UsageError("VoucherList: at least one voucher belongs in it", section="A.4.1.3")
    if stated is not None and int(stated[1]) != len(members):
        problem = f"VoucherList: its arrayType says {int(stated[1])}, {len(members)} are there"
        raise UsageError(problem, section="A.4.1.3")
    vouchers = [(f"VoucherList[{index}]", _octets(member)) for index, member in enumerate(members)]
    checked = check_vouchers(vouchers, call.verifier, call.device, call.at)
    assert call.at is not None  # or nothing would be granted
    set_vouchers(checked, call.store, call.at, call.device.provisioning_code, real=not call.supposed)
    return vouchers_response(call.request.id)


def _get_options(call: _Call) -> bytes:
    name = own_text(call.argument("OptionName"))
    if len(name) > MAX_OPTION_NAME:
        problem = f"OptionName: a string of at most {MAX_OPTION_NAME} characters belongs here"
        raise UsageError(problem, section="A.4.1.4")
    # Without network time nothing is held against a date that was not before (C.2).
    at = call.at or call.store.last_time() or EPOCH
    found = get_options(call.store, at, call.device.supported_options, name, real=not call.supposed)
    return options_response(found, call.request.id)


def _octets(member: Element) -> bytes:
    """Return the voucher that a member of the list is."""
    if member.tag not in MEMBERS:
        raise UsageError("VoucherList: base64 belongs in it", section="A.4.1.3")
    text = own_text(member).translate(dict.fromkeys(map(ord, BLANK)))
    try:
        octets = b64decode(text, validate=True)
    except ValueError as exc:
        raise UsageError("VoucherList: no base64", section="A.4.1.3") from exc
    if len(octets) > MAX_VOUCHER:
        raise RefusedError(f"a voucher of more than {MAX_VOUCHER} octets", reason=NO_ROOM)
    return octets


_METHODS: Final = {f"{{{CWMP}}}SetVouchers": _set_vouchers, f"{{{CWMP}}}GetOptions": _get_options}
