"""What the service answers: one function for each endpoint, and the table of them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from http import HTTPStatus
from itertools import islice
from typing import Any, Final, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from spkg.common.documents import Document, json_text
from spkg.common.toml_document import read_duration
from spkg.errors import SpkgError
from vouchers.acs.bulk import BulkOrder
from vouchers.acs.issuer import Issued, check_want
from vouchers.acs.ledger import Ledger
from vouchers.acs.ledger_answers import KeptAnswer, KeyedRequest
from vouchers.acs.ledger_due import due_renewals
from vouchers.acs.ledger_entry import LedgerEntry, SerialState
from vouchers.acs.ledger_reserve import MAX_SERIAL
from vouchers.acs.ledger_search import batches_page, entries_page, ping_ledger, recent_journal
from vouchers.acs.ledger_tables import MAX_BATCH
from vouchers.acs.ledger_wants import Want, terms_of
from vouchers.acs.listed_device import plain_oui
from vouchers.acs.revocations import revocation_want
from vouchers.acs.voucher_form import VoucherForm
from vouchers.ledger_report import entry_document
from vouchers.months import span_of
from vouchers.service.batches import BatchRun, LinesResponse, Spool
from vouchers.service.issuing_desk import DeskAnswer, IssuingDesk, problem_of_busy
from vouchers.service.ledger_access import LedgerAccess
from vouchers.service.metrics import METRICS_TYPE, ServiceMetrics
from vouchers.service.openapi import openapi_document
from vouchers.service.operator_page import OperatorPage
from vouchers.service.problems import ServiceError, problem_of
from vouchers.service.requests import (
    idempotency_key,
    issue_request,
    offer_of,
    query_of,
    read_body,
    reason_of,
    request_digest,
    request_object,
    unprocessable,
    whole_number,
)
from vouchers.service.settings import ServiceSettings
from vouchers.service.tokens import ApiClient, Scope
from vouchers.signature.sign import VoucherSigner

__all__ = ["ENDPOINTS", "Endpoint", "ServiceCall", "ServiceParts"]

T = TypeVar("T")
FORMS: Final = {
    "json": (VoucherForm.NDJSON, "application/json"),
    "xml": (VoucherForm.XML, "application/xml"),
    "soap": (VoucherForm.SOAP, "text/xml; charset=utf-8"),
}
"""The formats of an answer with a voucher."""
PAGE: Final = 100
"""How many entries a list has, unless its query says otherwise."""
LONGEST_PAGE: Final = 1000
HEALTH_SECONDS: Final = 1.0
"""For how long the answer of ``/healthz`` is good: it wants no token, and must not become a load."""
READERS: Final = 8
"""How many threads read the ledger."""


@dataclass(frozen=True, kw_only=True)
class ServiceParts:
    """What endpoints work with."""

    settings: ServiceSettings
    access: LedgerAccess
    desk: IssuingDesk
    signer: VoucherSigner
    metrics: ServiceMetrics
    page: OperatorPage
    clock: Callable[[], datetime]
    timer: Callable[[], float]
    stopping: Callable[[], bool]
    defect: Callable[[Exception], object]
    readers: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(READERS))
    health: dict[str, Any] = field(default_factory=dict)
    running: set[object] = field(default_factory=set)
    """The batches that are being issued."""

    async def read(self, work: Callable[[Ledger], T]) -> T:
        """Read the ledger in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self.readers, partial(self._read, work))

    def _read(self, work: Callable[[Ledger], T]) -> T:
        try:
            found = work(self.access.ledger())
        except SpkgError as exc:
            self.access.note(exc)
            raise
        self.access.note(None)
        return found


@dataclass(frozen=True, kw_only=True)
class ServiceCall:
    """A request that was let in."""

    parts: ServiceParts
    request: Request
    client: ApiClient
    path: Mapping[str, str]
    """The parts of the path that vary, decoded."""

    @property
    def actor(self) -> str:
        """Who changes the ledger."""
        return self.client.name

    async def object(self, *, optional: bool = False) -> dict[str, Any]:
        """Return the JSON object in the body; an empty body is an empty object where it may be."""
        settings = self.parts.settings
        body = await read_body(self.request, settings.max_body, settings.client_timeout)
        return {} if optional and not body.strip() else request_object(body)

    @property
    def serial(self) -> int:
        """The serial number in the path."""
        text = self.path["serial"]
        if not text.isascii() or not text.isdecimal() or len(text) > 10:
            raise ServiceError(HTTPStatus.NOT_FOUND, 5, "expected the serial number of a voucher")
        return int(text)


Answer = Callable[[ServiceCall], Awaitable[Response]]


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A method of a path, and who may call it."""

    method: str
    path: str
    scopes: frozenset[Scope] | None
    """None: anybody."""
    answer: Answer
    long: bool = False
    """Whether it may take longer than other requests."""


async def issue(call: ServiceCall) -> Response:
    """Issue a voucher."""
    form = _form(query_of(call.request, "format"))
    key = idempotency_key(call.request)
    found = await call.object()
    asked = issue_request(found, call.parts.settings.offers)
    want = Want(device=asked.device, templates=asked.templates)
    return await _issue(call, want, form, key, request_digest(call.request, found))


async def revoke(call: ServiceCall) -> Response:
    """Issue what disables the Option that a serial number enabled."""
    form = _form(query_of(call.request, "format"))
    key = idempotency_key(call.request)
    found = await call.object(optional=True)
    reason_of(found)
    want, given = await call.parts.read(lambda ledger: _revocation(ledger, call))
    return await _issue(call, want, form, key, request_digest(call.request, found), given)


async def void(call: ServiceCall) -> Response:
    """Void a serial number."""
    query_of(call.request)
    key = idempotency_key(call.request)
    found = await call.object(optional=True)
    request = KeyedRequest(
        client=call.actor,
        key=key,
        digest=request_digest(call.request, found),
        void=call.serial,
        reason=reason_of(found),
    )
    access = call.parts.access

    def write(serials: tuple[int, ...], _octets: bytes) -> KeptAnswer:
        (entry,) = entries_page(access.ledger(), {"serial": serials[0]}, after=0, limit=1)
        return KeptAnswer(status=200, media="application/json", body=json_text(entry_document(entry)) + "\n")

    return _sent(await call.parts.desk.ask(request, write))


async def voucher(call: ServiceCall) -> Response:
    """Show an entry of the ledger."""
    query_of(call.request)
    found = await call.parts.read(lambda ledger: _entry(ledger, call.serial))
    return _json(entry_document(found))


async def vouchers(call: ServiceCall) -> Response:
    """List entries of the ledger."""
    query = query_of(
        call.request, "serial_number", "oui", "product_class", "batch", "state", "after", "limit"
    )
    after = whole_number(query.pop("after", "0"), "after", most=MAX_SERIAL)
    limit = whole_number(query.pop("limit", str(PAGE)), "limit", least=1, most=LONGEST_PAGE)
    if query.get("state") not in {None, *(state.value for state in SerialState)}:
        raise unprocessable("state", "expected reserved, issued or void")
    if "oui" in query:
        query["oui"] = plain_oui(query["oui"])
    found = await call.parts.read(lambda ledger: entries_page(ledger, query, after=after, limit=limit))
    following = found[-1].serial if len(found) == limit else None
    return _json({"entries": [entry_document(one) for one in found], "after": following})


async def device(call: ServiceCall) -> Response:
    """Show what a device has."""
    query = query_of(call.request, "after", "limit")
    after = whole_number(query.get("after", "0"), "after", most=MAX_SERIAL)
    limit = whole_number(query.get("limit", str(LONGEST_PAGE)), "limit", least=1, most=LONGEST_PAGE)
    wanted = {name: call.path[name] for name in ("oui", "product_class", "serial_number")}
    wanted["oui"] = plain_oui(wanted["oui"])
    if not all(value.isprintable() for value in wanted.values()):
        raise ServiceError(HTTPStatus.NOT_FOUND, 5, "this device has no vouchers")
    found = await call.parts.read(lambda ledger: entries_page(ledger, wanted, after=after, limit=limit))
    if not found and not after:
        raise ServiceError(HTTPStatus.NOT_FOUND, 5, "this device has no vouchers")
    following = found[-1].serial if len(found) == limit else None
    return _json({"device": wanted, "entries": [entry_document(one) for one in found], "after": following})


async def batch(call: ServiceCall) -> Response:
    """Issue to a list of devices."""
    parts, settings = call.parts, call.parts.settings
    query = query_of(call.request, "batch", "offer")
    name = query.get("batch", "")
    if not 1 <= len(name) <= MAX_BATCH:
        raise unprocessable("batch", f"expected a name of 1 to {MAX_BATCH} printable characters")
    templates = offer_of(query.get("offer"), settings.offers)
    if len(parts.running) >= settings.batches_at_once:
        raise problem_of_busy("too many batches are being issued")
    mark = object()
    parts.running.add(mark)
    parts.metrics.batches.set(len(parts.running))
    spool = Spool()

    def ended(error: BaseException | None) -> None:
        spool.file.close()
        parts.running.discard(mark)
        parts.metrics.batches.set(len(parts.running))
        if isinstance(error, Exception):
            parts.defect(error)

    try:
        await spool.fill(call.request, settings.max_list, settings.client_timeout, parts.timer)
        terms = terms_of(templates)
        await parts.read(lambda ledger: ledger.check_terms(name, terms))
        run = BatchRun(
            order=BulkOrder(templates=templates, batch=name),
            ledger=parts.access.ledger(call.actor),
            signer=parts.signer,
            stopping=parts.stopping,
            issued=parts.metrics.vouchers.inc,
        )
    except BaseException:
        ended(None)
        raise
    return LinesResponse(run.lines(spool.file), ended)


async def batches(call: ServiceCall) -> Response:
    """List batches."""
    query = query_of(call.request, "after", "limit")
    after = query.get("after", "")
    limit = whole_number(query.get("limit", str(PAGE)), "limit", least=1, most=LONGEST_PAGE)
    found = await call.parts.read(lambda ledger: batches_page(ledger, after=after, limit=limit))
    following = found[-1].batch if len(found) == limit else None
    return _json({"batches": [vars(one) for one in found], "after": following})


async def journal(call: ServiceCall) -> Response:
    """Show the journal, the newest entries first."""
    query = query_of(call.request, "before", "limit")
    before = whole_number(query["before"], "before") if "before" in query else None
    limit = whole_number(query.get("limit", str(PAGE)), "limit", least=1, most=LONGEST_PAGE)
    found = await call.parts.read(lambda ledger: recent_journal(ledger, before=before, limit=limit))
    return _json({"entries": [vars(one) for one in found]})


async def renewals(call: ServiceCall) -> Response:
    """List Options that end soon."""
    query = query_of(call.request, "within", "limit")
    within = read_duration(query.get("within", "30d"))
    limit = whole_number(query.get("limit", str(PAGE)), "limit", least=1, most=LONGEST_PAGE)
    if within is None:
        raise unprocessable("within", "expected a number of seconds, or a time such as 30d")
    now = call.parts.clock()
    found = await call.parts.read(lambda ledger: _due(ledger, span_of(within), now, limit + 1))
    entries = [entry_document(one) for one in found[:limit]]
    return _json({"entries": entries, "more": len(found) > limit})


async def offers(call: ServiceCall) -> Response:
    """List the offers."""
    query_of(call.request)
    found = call.parts.settings.offers
    return _json(
        {"offers": [{"name": name, "options": [one.ident for one in made]} for name, made in found.items()]}
    )


async def healthz(call: ServiceCall) -> Response:
    """Tell whether the ledger can be used."""
    parts = call.parts
    now = parts.timer()
    if parts.health.get("until", now) <= now:
        parts.health["until"] = now + HEALTH_SECONDS
        try:
            await parts.read(ping_ledger)
        except SpkgError as exc:
            parts.health["problem"] = exc
        else:
            parts.health["problem"] = None
    if parts.stopping():
        raise problem_of_busy("the service is stopping")
    problem = parts.health.get("problem")
    if problem is not None:
        raise problem_of(problem)
    return _json({"status": "ok"})


async def metrics(call: ServiceCall) -> Response:
    """Show the counters of this process."""
    return Response(call.parts.metrics.text(), media_type=METRICS_TYPE)


async def openapi(call: ServiceCall) -> Response:
    """Describe the service."""
    return _json(openapi_document(call.parts.settings.offers))


async def page(call: ServiceCall) -> Response:
    """Show the page of the operator."""
    shown = call.parts.page
    return Response(shown.html, media_type="text/html; charset=utf-8", headers=shown.headers)


READ, ISSUE = frozenset({Scope.READ}), frozenset({Scope.ISSUE})
ENDPOINTS: Final = (
    Endpoint(method="POST", path="/v1/vouchers", scopes=ISSUE, answer=issue),
    Endpoint(method="GET", path="/v1/vouchers", scopes=READ, answer=vouchers),
    Endpoint(method="GET", path="/v1/vouchers/{serial}", scopes=READ, answer=voucher),
    Endpoint(method="POST", path="/v1/vouchers/{serial}/void", scopes=frozenset({Scope.VOID}), answer=void),
    Endpoint(
        method="POST",
        path="/v1/vouchers/{serial}/revoke",
        scopes=frozenset({Scope.ISSUE, Scope.VOID}),
        answer=revoke,
    ),
    Endpoint(
        method="GET", path="/v1/devices/{oui}/{product_class}/{serial_number}", scopes=READ, answer=device
    ),
    Endpoint(method="POST", path="/v1/batches", scopes=ISSUE, answer=batch, long=True),
    Endpoint(method="GET", path="/v1/batches", scopes=READ, answer=batches),
    Endpoint(method="GET", path="/v1/journal", scopes=READ, answer=journal),
    Endpoint(method="GET", path="/v1/renewals", scopes=READ, answer=renewals),
    Endpoint(method="GET", path="/v1/offers", scopes=READ, answer=offers),
    Endpoint(method="GET", path="/healthz", scopes=None, answer=healthz),
    Endpoint(method="GET", path="/metrics", scopes=READ, answer=metrics),
    Endpoint(method="GET", path="/openapi.json", scopes=READ, answer=openapi),
    Endpoint(method="GET", path="/", scopes=None, answer=page),
)


async def _issue(  # noqa: PLR0917 - all that a request consists of
    call: ServiceCall, want: Want, form: str, key: str | None, digest: str, given: tuple[int, ...] = ()
) -> Response:
    check_want(want, call.parts.signer)
    made, media = FORMS[form]

    def write(serials: tuple[int, ...], octets: bytes) -> KeptAnswer:
        issued = Issued(device=want.device, serials=serials, octets=octets)
        return KeptAnswer(status=201, media=media, body=made.write(issued).decode())

    request = KeyedRequest(client=call.actor, key=key, digest=digest, want=want, given=given)
    answer = await call.parts.desk.ask(request, write)
    if not answer.repeated:
        call.parts.metrics.vouchers.inc()
    else:
        call.parts.metrics.replays.inc()
    return _sent(answer)


def _sent(answer: DeskAnswer) -> Response:
    kept = answer.kept
    return Response(kept.body, kept.status, media_type=kept.media)


def _form(query: Mapping[str, str]) -> str:
    form = query.get("format", "json")
    if form not in FORMS:
        raise unprocessable("format", f"expected json, xml or soap, got {form[:40]!r}")
    return form


def _entry(ledger: Ledger, serial: int) -> LedgerEntry:
    found = entries_page(ledger, {"serial": serial}, after=0, limit=1)
    if not found:
        raise ServiceError(HTTPStatus.NOT_FOUND, 5, f"serial number {serial} is not in this ledger")
    return found[0]


def _json(document: Document) -> Response:
    return Response(json_text(document) + "\n", media_type="application/json")


def _revocation(ledger: Ledger, call: ServiceCall) -> tuple[Want, tuple[int, ...]]:
    _entry(ledger, call.serial)
    return revocation_want(ledger, call.parts.signer, call.serial)


def _due(ledger: Ledger, within: timedelta, now: datetime, limit: int) -> list[LedgerEntry]:
    return [*islice(due_renewals(ledger, within, now), limit)]
