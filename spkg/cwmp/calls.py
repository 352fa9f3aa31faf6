"""Calls, answers and faults: octets from values, and values from messages, by the table of the methods.

A call that can't be read is a :class:`MethodFaultError`, since it has to be answered; an answer that can't be
read is a ``FormatError`` of its server.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from spkg.common.hostile_xml import XML_BLANKS, XmlElement
from spkg.common.printable import printable
from spkg.cwmp.arrays import References
from spkg.cwmp.envelopes import Message, MessageKind, argument_name
from spkg.cwmp.faults import (
    MAX_FAULT_STRING,
    PARAMETER_FAULTS,
    FaultCode,
    MethodFaultError,
    ParameterFault,
    method_fault,
)
from spkg.cwmp.fields import Argument, XmlWriter, read_arguments, write_arguments
from spkg.cwmp.methods import ACS_METHODS, CPE_METHODS, Method
from spkg.cwmp.soap import fault_response, own_text, write_envelope
from spkg.cwmp.values import AcsFault
from spkg.errors import NO_ROOM, FormatError, RefusedError, SpkgError

__all__ = [
    "MAX_ENVELOPE_WRITTEN",
    "Call",
    "WrittenEnvelope",
    "decode_answer",
    "decode_call",
    "encode_answer",
    "encode_fault",
    "encode_request",
    "listed_methods",
    "read_fault",
]

MAX_ENVELOPE_WRITTEN: Final = 16 << 20
"""The largest envelope that is written, in bytes."""
VOUCHER_METHODS: Final = frozenset({"SetVouchers", "GetOptions"})
"""The methods of which a device has both or none (Table 4, note 5)."""
VENDOR_METHOD: Final = re.compile(r"X_(?:[0-9A-F]{6}|[A-Z0-9]+(?:[_-][A-Z0-9]+)+)_[A-Za-z0-9_]+", re.ASCII)
"""The name of a vendor-specific method, with an OUI or a domain (A.3.1.1)."""
MAX_METHOD_NAME: Final = 64
"""The longest name in a MethodList, in characters (Table 8)."""
SERVER_FAULTS: Final = {"Client": 8003}
"""The FaultCodes of a SOAP fault that has none, by its faultcode; 8002 for all others (Table 59)."""
FAULT_CODE: Final = re.compile(r"\d{1,9}", re.ASCII)


class WrittenEnvelope(bytes):
    """An envelope, and how many characters of its values XML does not have: each became U+FFFD."""

    replaced: int

    def __new__(cls, octets: bytes, replaced: int) -> Self:
        """Return the octets with what is known of them."""
        made = super().__new__(cls, octets)
        made.replaced = replaced
        return made


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call of a method, with its arguments by their names."""

    method: str
    arguments: Mapping[str, Any]
    id: str | None
    version: int


def decode_call(message: Message, methods: Mapping[str, Method] = CPE_METHODS) -> Call:
    """Return the call that a message makes.

    Args:
        message: A message that is no answer and no fault.
        methods: What can be called: the methods of a device, or of a server.

    Raises:
        MethodFaultError: The method is unknown (9000), its arguments are wrong (9003) or too large (9004).
    """
    method = methods.get(message.name) if message.kind is MessageKind.CALL else None
    try:
        if method is None and message.name:
            raise message.not_supported()
        if message.problem is not None:
            raise message.problem
        if method is None or message.body is None:
            raise message.not_supported()
        arguments: dict[str, Any] = {}
        if not method.elsewhere:
            arguments = read_arguments(message.body, method.arguments, References(message))
    except SpkgError as exc:
        raise MethodFaultError(method_fault(exc, message.name), str(exc)) from exc
    return Call(method=method.name, arguments=arguments, id=message.id, version=message.version)


def encode_answer(
    call: Call | Message, values: Mapping[str, Any], methods: Mapping[str, Method] = CPE_METHODS
) -> WrittenEnvelope:
    """Return the answer to a call.

    Args:
        call: What was asked.
        values: The arguments of the answer.
        methods: What can be called.

    Raises:
        MethodFaultError: The answer is larger than an envelope may be.
        ValueError: They are not the arguments of the answer.
    """
    name = call.method if isinstance(call, Call) else call.name
    answer = methods[name].answer
    try:
        return _written(f"{name}Response", answer, values, call.id, call.version)
    except RefusedError as exc:
        raise MethodFaultError(method_fault(exc, name), str(exc)) from exc


def encode_fault(call: Call | Message, error: SpkgError) -> bytes:
    """Return the answer to a call that failed: with a fault that its method knows.

    Parameters in error are told for SetParameterValues, and the fault is then 9003 (A.3.2.1).
    """
    name = call.method if isinstance(call, Call) else call.name
    code = method_fault(error, name)
    told: tuple[ParameterFault, ...] = ()
    if name == "SetParameterValues" and isinstance(error, MethodFaultError) and error.parameters:
        code = FaultCode.INVALID_ARGUMENTS
        told = tuple(
            one if one.code in PARAMETER_FAULTS else one._replace(code=FaultCode.INTERNAL_ERROR)
            for one in error.parameters
        )
    return fault_response(code, str(error), call.id, version=call.version, parameters=told)


def encode_request(
    method: str, values: Mapping[str, Any], name: str | None, methods: Mapping[str, Method] = ACS_METHODS
) -> WrittenEnvelope:
    """Return a call.

    Args:
        method: The method.
        values: Its arguments.
        name: The cwmp:ID, which the answer repeats.
        methods: What can be called: the methods of a server, or of a device.

    Raises:
        RefusedError: The call is larger than an envelope may be.
        ValueError: They are not the arguments of the method.
    """
    return _written(method, methods[method].arguments, values, name, 0)


def decode_answer(
    message: Message, method: str, methods: Mapping[str, Method] = ACS_METHODS
) -> Mapping[str, Any] | AcsFault:
    """Return what a server answered to a call of ours, or its fault.

    Raises:
        FormatError: It is no answer to that method, or can't be read.
        RefusedError: It is too large.
    """
    if message.problem is not None:
        raise message.problem
    if message.kind is MessageKind.FAULT:
        return read_fault(message)
    if message.kind is not MessageKind.RESPONSE or message.name != method or message.body is None:
        got = {MessageKind.RESPONSE: f"{message.name}Response", MessageKind.FLOW: "no answer"}
        what = printable(got.get(message.kind, message.name))[:MAX_METHOD_NAME]
        raise FormatError(f"expected {method}Response, got {what}", section="3.5")
    return read_arguments(message.body, methods[method].answer, References(message))


def read_fault(message: Message) -> AcsFault:
    """Return the fault that a message is; whatever wrote it, code and text are somewhere in its detail."""
    parts = [] if message.body is None else [*message.body]
    own = _texts(parts)
    detail = _texts(one for part in parts if _local(part) == "detail" for one in part.iter())
    code, source = detail.get("FaultCode", ""), own.get("faultcode", "").rpartition(":")[2]
    number = int(code) if FAULT_CODE.fullmatch(code) else SERVER_FAULTS.get(source, 8002)
    return AcsFault(number, (detail.get("FaultString") or own.get("faultstring", ""))[:MAX_FAULT_STRING])


def listed_methods(
    *, without: Collection[str] = (), vendor: Sequence[str] = (), methods: Mapping[str, Method] = CPE_METHODS
) -> tuple[str, ...]:
    """Return what GetRPCMethods answers: the methods of Table 4 in its order, then those of vendors.

    Args:
        without: Optional methods that are not supported; of SetVouchers and GetOptions both or none are.
        vendor: Further methods, such as ``X_00D09E_Name``.
        methods: The methods of the table.

    Raises:
        ValueError: A required method is left out, or a name is not that of a vendor's method.
    """
    for name in without:
        if methods[name].required:
            raise ValueError(f"{name} is required (Table 4)")
    for name in vendor:
        if len(name) > MAX_METHOD_NAME or not VENDOR_METHOD.fullmatch(name):
            raise ValueError(f"expected a method such as X_00D09E_Name, got {name[:MAX_METHOD_NAME]!r}")
    missing = {*without} | (VOUCHER_METHODS if VOUCHER_METHODS & {*without} else frozenset())
    return (*(name for name in methods if name not in missing), *vendor)


def _written(
    tag: str, arguments: Sequence[Argument], values: Mapping[str, Any], name: str | None, version: int
) -> WrittenEnvelope:
    writer = XmlWriter()
    content = write_arguments(arguments, values, writer)
    body = f"<cwmp:{tag}>\n{content}</cwmp:{tag}>\n" if content else f"<cwmp:{tag}></cwmp:{tag}>\n"
    octets = write_envelope(body, name, version=version, typed="xsi:" in body or '"xsd:' in body)
    if len(octets) > MAX_ENVELOPE_WRITTEN:
        problem = f"expected an envelope of at most {MAX_ENVELOPE_WRITTEN} bytes, got {len(octets)}"
        raise RefusedError(problem, section="A.2.1", reason=NO_ROOM)
    return WrittenEnvelope(octets, writer.replaced)


def _texts(elements: Iterable[XmlElement]) -> dict[str, str]:
    """Return the texts of elements by their names; the first of each counts."""
    found: dict[str, str] = {}
    for one in elements:
        found.setdefault(_local(one), own_text(one).strip(XML_BLANKS))
    return found


def _local(element: XmlElement) -> str:
    return argument_name(element) or element.tag.rpartition("}")[2]
