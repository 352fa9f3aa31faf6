"""Answering SetVouchers and GetOptions on a device (TR-069 A.4.1.3, A.4.1.4, A.5)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from spkg.cwmp.arrays import References
from spkg.cwmp.envelopes import Message, MessageKind, read_message
from spkg.cwmp.faults import method_fault
from spkg.cwmp.soap import fault_response, own_text
from spkg.device import MAX_OPTION_NAME, Device
from spkg.errors import NO_ROOM, HostError, RefusedError, SpkgError, UsageError
from vouchers.cpe.apply import check_vouchers, get_options, set_vouchers
from vouchers.cpe.identity import identity_of
from vouchers.cpe.messages import options_response, vouchers_response
from vouchers.cpe.store import OptionStore
from vouchers.cpe.store_tables import EPOCH
from vouchers.signature.verify import Verifier
from vouchers.signature.voucher_list import read_voucher_list, sole_argument

__all__ = ["answer", "answer_rpc", "take_vouchers"]

READS: Final = "GetOptions"
"""The method that changes nothing."""


def answer_rpc(
    octets: bytes,
    path: Path,
    verifier: Verifier,
    device: Device,
    now: datetime | None,
    *,
    supposed: bool = False,
    note: Callable[[str], object] = lambda _text: None,
) -> bytes | None:
    """Return the envelope that answers what a server sent; a fault is an answer, too.

    Args:
        octets: The envelope of the request; if it is too long, at least one byte more than the limit.
        path: The file of the store, created if it is missing.
        verifier: Decides which signers are trusted.
        device: This device.
        now: The network time; None if it is not established.
        supposed: Whether that time is hypothetical, so that nothing is stored of it.
        note: Called with a message if the store causes a fault.

    Returns:
        None if the envelope asks for nothing.

    Raises:
        FormatError: It is not an envelope, or the device has no identity.
        HostError: The store can't be written, and the envelope asks for nothing.
    """
    request = read_message(octets)
    if isinstance(request.problem, RefusedError):  # it is too large to be looked into
        return _failed(request, request.problem)
    try:
        with _store(path, request.name, note) as store:
            return answer(request, store, verifier, device, now, supposed=supposed, note=note)
    except HostError as exc:
        if request.is_empty:
            raise
        note(str(exc))
        return _failed(request, exc)


def _failed(request: Message, error: SpkgError) -> bytes:
    code = method_fault(error, request.name)
    return fault_response(code, str(error), request.id, version=request.version)


def _store(path: Path, method: str, note: Callable[[str], object]) -> OptionStore:
    """Open the store; if there is no room to make one, GetOptions is answered from an empty one."""
    try:
        return OptionStore(path, create=True)
    except HostError as exc:
        if method != READS or exc.reason != NO_ROOM:
            raise
        note(str(exc))
        return OptionStore(None, create=True)


def answer(
    request: Message,
    store: OptionStore,
    verifier: Verifier,
    device: Device,
    now: datetime | None,
    *,
    supposed: bool = False,
    note: Callable[[str], object] = lambda _text: None,
) -> bytes | None:
    """Return the envelope that answers a request; None if it asks for nothing.

    Args:
        request: What the server sent, as :func:`read_message` has it.
        store: The Options of this device.
        verifier: Decides which signers are trusted.
        device: This device.
        now: The network time; None if it is not established.
        supposed: Whether that time is hypothetical, so that nothing is stored of it.
        note: Called with a message if the store can be read but not written.

    Raises:
        FormatError: The device has no identity.
        HostError: The store can't be written, and the envelope asks for nothing.
    """
    identity_of(device)
    try:
        try:
            store.observe(device.provisioning_code, None if supposed else now)
        except HostError as exc:
            # GetOptions changes nothing, so it needs no room; what was not stored is seen again.
            if request.name != READS:
                raise
            note(f"the time and the provisioning code are not stored: {exc}")
        if request.is_empty:
            return None
        call = _Call(request, store, verifier, device, now, References(request), supposed=supposed)
        method = _METHODS.get(request.name) if request.kind is MessageKind.CALL else None
        if request.body is not None and method is None:
            raise request.not_supported()
        if request.problem is not None:
            raise request.problem
        assert method is not None  # or nothing is asked for
        return method(call)
    except SpkgError as exc:
        if request.is_empty:
            raise
        return _failed(request, exc)


@dataclass(frozen=True)
class _Call:
    """A request, and all that is needed to answer it."""

    request: Message
    store: OptionStore
    verifier: Verifier
    device: Device
    at: datetime | None
    references: References
    supposed: bool = field(kw_only=True)


def _set_vouchers(call: _Call) -> bytes:
    vouchers = read_voucher_list(call.request, call.references)
    take_vouchers(vouchers, call.store, call.verifier, call.device, call.at, supposed=call.supposed)
    return vouchers_response(call.request.id, version=call.request.version)


def take_vouchers(
    vouchers: Sequence[tuple[str, bytes]],
    store: OptionStore,
    verifier: Verifier,
    device: Device,
    at: datetime | None,
    *,
    supposed: bool = False,
) -> None:
    """Have vouchers take effect, all or none.

    Args:
        vouchers: Their sources and their bytes.
        store: The Options of this device.
        verifier: Decides which signers are trusted.
        device: This device.
        at: The network time; None if it is not established.
        supposed: Whether that time is hypothetical.

    Raises:
        SpkgError: One is refused, or the store can't be written.
    """
    checked = check_vouchers(vouchers, verifier, device, at)
    assert at is not None  # or nothing would be granted
    set_vouchers(checked, store, at, device.provisioning_code, real=not supposed)


def _get_options(call: _Call) -> bytes:
    name = own_text(sole_argument(call.request, call.references, "OptionName"))
    if len(name) > MAX_OPTION_NAME:
        problem = f"expected at most {MAX_OPTION_NAME} characters, got {len(name)}"
        raise UsageError(problem, field="OptionName", section="A.4.1.4")
    # Without network time the last one counts: no Option begins or ends before there is a new one (C.2).
    at = call.at or call.store.last_time() or EPOCH
    found = get_options(
        call.store,
        at,
        call.device.supported_options,
        name,
        real=not call.supposed,
        provisioning_code=call.device.provisioning_code,
    )
    return options_response(found, call.request.id, version=call.request.version)


_METHODS: Final = {"SetVouchers": _set_vouchers, "GetOptions": _get_options}
