"""What a request asks for: read strictly from its body and its query, every refusal located."""

import asyncio
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request

from spkg.common.json_input import read_json
from spkg.common.toml_document import Table
from spkg.errors import FormatError
from vouchers.acs.ledger_journal import check_reason
from vouchers.acs.ledger_tables import MAX_ANSWER_KEY
from vouchers.acs.listed_device import device_text
from vouchers.acs.templates import Template, read_options
from vouchers.model import DeviceId
from vouchers.service.problems import ServiceError, problem_of

__all__ = [
    "MIN_RATE",
    "IssueRequest",
    "idempotency_key",
    "issue_request",
    "query_of",
    "read_body",
    "reason_of",
    "request_digest",
    "request_object",
    "unprocessable",
    "whole_number",
]

MIN_RATE: Final = 1024
"""Bytes a second that a client has to send once it has used up its time."""
DEVICE_KEYS: Final = ("oui", "product_class", "serial_number")
MAX_QUERY: Final = 32
"""The most parameters in a query."""


@dataclass(frozen=True, kw_only=True)
class IssueRequest:
    """A voucher to issue: Options, or the name of an offer, for a device."""

    device: DeviceId
    templates: tuple[Template, ...]


def unprocessable(field: str | None, detail: str, *, section: str | None = None) -> ServiceError:
    """Return the problem of a request that is well formed, but says something that can't be done."""
    return ServiceError(HTTPStatus.UNPROCESSABLE_ENTITY, 3, detail, field=field, section=section)


def too_large(most: int) -> ServiceError:
    """Return the problem of a request that is too long."""
    return ServiceError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        3,
        f"expected a body of at most {most} bytes, got more",
        headers={"Connection": "close"},
    )


async def read_body(request: Request, most: int, seconds: float) -> bytes:
    """Return the body of a request, within limits.

    Raises:
        ServiceError: It is too long, is not sent in time, or the client has gone.
    """
    check_length(request, most)
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise too_large(most)
    except TimeoutError as exc:
        raise not_in_time() from exc
    except ClientDisconnect as exc:
        raise gone() from exc
    return bytes(body)


def check_length(request: Request, most: int) -> None:
    """Refuse a body that says it is too long, before any of it is read.

    Raises:
        ServiceError: It is.
    """
    stated = request.headers.get("content-length", "0")
    if stated.isdecimal() and (len(stated) > 20 or int(stated) > most):
        raise too_large(most)


def not_in_time() -> ServiceError:
    """Return the problem of a client that is too slow."""
    return ServiceError(
        HTTPStatus.REQUEST_TIMEOUT,
        3,
        "the request was not sent in time",
        headers={"Connection": "close"},
    )


def gone() -> ServiceError:
    """Return the problem of a client that went away; nobody reads it, but the log has it."""
    return ServiceError(HTTPStatus.BAD_REQUEST, 3, "the client closed the connection")


def request_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a body.

    Raises:
        ServiceError: It is something else.
    """
    try:
        found = read_json(body)
    except FormatError as exc:
        raise ServiceError(HTTPStatus.BAD_REQUEST, 3, str(exc)) from exc
    if not isinstance(found, dict):
        raise unprocessable(None, "expected a JSON object")
    return found


def issue_request(found: Mapping[str, Any], offers: Mapping[str, tuple[Template, ...]]) -> IssueRequest:
    """Return what a request wants issued.

    Raises:
        ServiceError: It says it wrong.
    """
    _known(found, ("device", "options", "offer"), None)
    if ("options" in found) == ("offer" in found):
        raise unprocessable(None, "expected either options or offer")
    device = _device(found.get("device"))
    if "offer" in found:
        return IssueRequest(device=device, templates=offer_of(found["offer"], offers))
    options = found["options"]
    if not isinstance(options, list) or not all(isinstance(one, dict) for one in options):
        raise unprocessable("options", "expected an array of objects")
    try:
        return IssueRequest(device=device, templates=read_options(Table({"option": options}, "options")))
    except FormatError as exc:
        first = problem_of(exc)
        first.field = "options" + (exc.field or "").removeprefix("option")
        raise first from exc


def offer_of(name: object, offers: Mapping[str, tuple[Template, ...]]) -> tuple[Template, ...]:
    """Return the Options of an offer.

    Raises:
        ServiceError: There is no such offer.
    """
    if not isinstance(name, str) or name not in offers:
        raise unprocessable("offer", f"expected one of the offers: {', '.join(offers) or 'there are none'}")
    return offers[name]


def reason_of(found: Mapping[str, Any]) -> str:
    """Return why something is to be done.

    Raises:
        ServiceError: The request says something else.
    """
    _known(found, ("reason",), None)
    reason = found.get("reason", "")
    if not isinstance(reason, str):
        raise unprocessable("reason", "expected a string")
    return check_reason(reason)


def query_of(request: Request, *known: str) -> dict[str, str]:
    """Return the parameters of a query, each of which may occur once.

    Raises:
        ServiceError: There are others.
    """
    text = request.url.query
    try:
        pairs = parse_qsl(
            text, keep_blank_values=True, strict_parsing=bool(text), max_num_fields=MAX_QUERY, errors="strict"
        )
    except ValueError as exc:
        raise unprocessable("query", "expected NAME=VALUE, joined by &, in UTF-8") from exc
    found: dict[str, str] = {}
    for name, value in pairs:
        if name not in known:
            words = f"expected one of {', '.join(known)}" if known else "expected none"
            raise unprocessable("query", f"unknown parameter {name[:40]!r}; {words}")
        if name in found:
            raise unprocessable(name, "occurs twice")
        if "\0" in value or not value.isprintable():
            raise unprocessable(name, "expected printable characters")
        found[name] = value
    return found


def whole_number(text: str, field: str, *, least: int = 0, most: int = (1 << 63) - 1) -> int:
    """Return a number in decimal digits.

    Raises:
        ServiceError: It is something else.
    """
    if not text.isascii() or not text.isdecimal() or len(text) > 19 or not least <= int(text) <= most:
        raise unprocessable(field, f"expected a number from {least} to {most}")
    return int(text)


def idempotency_key(request: Request) -> str | None:
    """Return the Idempotency-Key of a request; None if it has none.

    Raises:
        ServiceError: It has several, or one that can't be kept.
    """
    found = request.headers.getlist("idempotency-key")
    if not found:
        return None
    key = found[0].strip()
    if len(found) > 1 or not 1 <= len(key) <= MAX_ANSWER_KEY or not (key.isascii() and key.isprintable()):
        raise ServiceError(
            HTTPStatus.BAD_REQUEST,
            3,
            f"expected one key of 1 to {MAX_ANSWER_KEY} printable ASCII characters",
            field="Idempotency-Key",
        )
    return key


def request_digest(request: Request, found: Mapping[str, Any]) -> str:
    """Return the SHA-256 of what a request asks for, in hex; the order of keys does not count."""
    asked = [request.method, request.scope["raw_path"].decode("ascii"), request.url.query, found]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def _known(found: Mapping[str, Any], known: tuple[str, ...], within: str | None) -> None:
    for name in found:
        if name not in known:
            field = name[:40] if within is None else f"{within}.{name[:40]}"
            raise unprocessable(field, f"unknown key; expected {', '.join(known)}")


def _device(found: object) -> DeviceId:
    if not isinstance(found, dict):
        raise unprocessable("device", "expected an object with oui, product_class and serial_number")
    _known(found, (*DEVICE_KEYS, "manufacturer"), "device")
    facts = {"manufacturer": "", **found}
    for name in (*DEVICE_KEYS, "manufacturer"):
        if name not in facts:
            raise unprocessable(f"device.{name}", "required", section="C.3, Table 63")
        if not isinstance(facts[name], str):
            raise unprocessable(f"device.{name}", "expected a string", section="C.3, Table 63")
    try:
        for name in DEVICE_KEYS:
            device_text(name, facts[name])
        return DeviceId(**facts)
    except ValueError as exc:
        raise unprocessable("device", str(exc), section="C.3, Table 63") from exc
