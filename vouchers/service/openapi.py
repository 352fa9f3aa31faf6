"""The description of the service (OpenAPI 3.1), which is published at ``/openapi.json``."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from spkg import __version__
from vouchers.acs.ledger_tables import MAX_ANSWER_KEY, MAX_BATCH, MAX_WHY
from vouchers.model import MAX_VOUCHER_OPTIONS

__all__ = ["openapi_document"]

Schema = dict[str, Any]
PRINTABLE: Final = r"^[\x20-\x7E]*$"
"""What every text may have; more is allowed in most places."""
PROBLEMS: Final = {
    "400": "The request is malformed.",
    "401": "There is no valid token or client certificate.",
    "403": "The client has not the scope that this wants.",
    "404": "There is no such thing.",
    "408": "The request was not sent in time.",
    "409": "Refused: it contradicts what was done before.",
    "413": "The request is too long.",
    "422": "The request says something that can't be done.",
    "429": "Too many requests.",
    "431": "The head of the request is too long.",
    "503": "The ledger is not available, or there is too much to do.",
}
ANY_TEXT: Final[Schema] = {"type": "string"}
NULL_TEXT: Final[Schema] = {"type": ["string", "null"]}
SERIAL: Final[Schema] = {"type": "integer", "minimum": 1, "maximum": 0xFFFFFFFF}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}


def openapi_document(offers: Iterable[str]) -> Schema:
    """Return the description of a service with these offers."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Vouchers of TR-069, Appendix C",
            "version": __version__,
            "description": "Issues signed vouchers, each serial number once. Lists take `after` or `before`.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"token": []}],
        "paths": _paths([*offers]),
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": _schemas(),
        },
    }


def _paths(offers: list[str]) -> Schema:
    offer: Schema = {"type": "string", **({"enum": offers} if offers else {})}
    form = _query("format", {"type": "string", "enum": ["json", "xml", "soap"], "default": "json"})
    key: Schema = {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "The same key gives the same answer, whichever process is asked.",
        "schema": {"type": "string", "minLength": 1, "maxLength": MAX_ANSWER_KEY, "pattern": r"^[!-~]+$"},
    }
    limit = _query("limit", {"type": "integer", "minimum": 1, "maximum": 1000})
    after = _query("after", {"type": "integer", "minimum": 0, "maximum": 0xFFFFFFFF})
    serial: Schema = {"name": "serial", "in": "path", "required": True, "schema": SERIAL}
    name: Schema = {"type": "string", "minLength": 1, "maxLength": MAX_BATCH, "pattern": PRINTABLE}
    wanted: Schema = {
        "type": "object",
        "required": ["device"],
        "properties": {
            "device": {"$ref": "#/components/schemas/Device"},
            "options": {
                "type": "array",
                "minItems": 1,
                "maxItems": MAX_VOUCHER_OPTIONS,
                "items": {"$ref": "#/components/schemas/Option"},
            },
            "offer": offer,
        },
        "oneOf": [{"required": ["options"]}, {"required": ["offer"]}],
        "additionalProperties": False,
    }
    reason: Schema = {
        "type": "object",
        "properties": {"reason": {"type": "string", "maxLength": MAX_WHY, "pattern": PRINTABLE}},
        "additionalProperties": False,
    }
    issued = {
        "application/json": {"schema": {"$ref": "#/components/schemas/Issued"}},
        "application/xml": {"schema": ANY_TEXT},
        "text/xml": {"schema": ANY_TEXT},
    }
    places = [
        {"name": one, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for one in ("oui", "product_class", "serial_number")
    ]
    return {
        "/v1/vouchers": {
            "post": _operation(
                "issue", "Issue a voucher to a device.", "201", issued, [form, key], body=_body(wanted)
            ),
            "get": _operation(
                "listVouchers",
                "List entries of the ledger.",
                "200",
                _of(_list("entries", "Entry", after=SERIAL)),
                [
                    *(
                        _query(one, {"type": "string", "pattern": PRINTABLE})
                        for one in ("oui", "product_class")
                    ),
                    _query("serial_number", {"type": "string", "pattern": PRINTABLE}),
                    _query("batch", {"type": "string", "pattern": PRINTABLE}),
                    _query("state", {"type": "string", "enum": ["reserved", "issued", "void"]}),
                    after,
                    limit,
                ],
            ),
        },
        "/v1/vouchers/{serial}": {
            "get": _operation(
                "showVoucher",
                "Show an entry of the ledger.",
                "200",
                _of({"$ref": "#/components/schemas/Entry"}),
                [serial],
            )
        },
        "/v1/vouchers/{serial}/void": {
            "post": _operation(
                "void",
                "Void a serial number: no batch issues it again.",
                "200",
                _of({"$ref": "#/components/schemas/Entry"}),
                [serial, key],
                body=_body(reason, required=False),
            )
        },
        "/v1/vouchers/{serial}/revoke": {
            "post": _operation(
                "revoke",
                "Issue the voucher that disables what a serial number enabled.",
                "201",
                issued,
                [serial, form, key],
                body=_body(reason, required=False),
            )
        },
        "/v1/devices/{oui}/{product_class}/{serial_number}": {
            "get": _operation(
                "showDevice",
                "Show what a device has.",
                "200",
                _of(
                    _object(
                        device={"type": "object"},
                        entries={"type": "array", "items": {"$ref": "#/components/schemas/Entry"}},
                        after={"type": ["integer", "null"]},
                    )
                ),
                [*places, after, limit],
            )
        },
        "/v1/batches": {
            "post": _operation(
                "issueBatch",
                "Issue to each device of a list. The same list, sent again, completes a batch.",
                "200",
                {"application/x-ndjson": {"schema": ANY_TEXT}},
                [_query("batch", name, required=True), _query("offer", offer, required=True)],
                body={
                    "required": True,
                    "content": {
                        "application/x-ndjson": {"schema": ANY_TEXT},
                        "text/csv": {"schema": ANY_TEXT},
                    },
                },
            ),
            "get": _operation(
                "listBatches",
                "List batches.",
                "200",
                _of(_list("batches", "Batch", after=ANY_TEXT)),
                [_query("after", {"type": "string", "pattern": PRINTABLE}), limit],
            ),
        },
        "/v1/journal": {
            "get": _operation(
                "showJournal",
                "Show the journal, the newest entries first.",
                "200",
                _of(_list("entries", "JournalEntry")),
                [_query("before", {"type": "integer", "minimum": 0, "maximum": (1 << 63) - 1}), limit],
            )
        },
        "/v1/renewals": {
            "get": _operation(
                "listRenewals",
                "List Options that end soon, by the ledger.",
                "200",
                _of(_list("entries", "Entry", more={"type": "boolean"})),
                [
                    _query(
                        "within",
                        {"type": "string", "pattern": "^[0-9]{1,6}(s|min|h|d)?$", "default": "30d"},
                    ),
                    limit,
                ],
            )
        },
        "/v1/offers": {
            "get": _operation(
                "listOffers",
                "List the offers.",
                "200",
                _of(
                    _object(
                        offers={
                            "type": "array",
                            "items": _object(name=ANY_TEXT, options={"type": "array", "items": ANY_TEXT}),
                        }
                    )
                ),
                [],
            )
        },
        "/healthz": {
            "get": _operation(
                "health",
                "Tell whether the ledger can be used.",
                "200",
                _of(_object(status=ANY_TEXT)),
                [],
                open_=True,
            )
        },
        "/metrics": {
            "get": _operation(
                "metrics",
                "Show the counters of this process, for Prometheus.",
                "200",
                {"text/plain": {"schema": ANY_TEXT}},
                [],
            )
        },
        "/openapi.json": {
            "get": _operation("describe", "This document.", "200", _of({"type": "object"}), [])
        },
        "/": {
            "get": _operation(
                "page",
                "The page of the operator.",
                "200",
                {"text/html": {"schema": ANY_TEXT}},
                [],
                open_=True,
            )
        },
    }


def _schemas() -> Schema:
    text64: Schema = {"type": "string", "maxLength": 64, "pattern": PRINTABLE}
    named = {"minLength": 1, "pattern": r"^[!-~]+$"}
    device = {
        "oui": {"type": "string", "pattern": "^[0-9A-F]{6}$"},
        "product_class": text64,
        "serial_number": text64 | named,
        "manufacturer": text64,
    }
    option = {
        "ident": text64 | named,
        "description": {"type": "string", "maxLength": 256, "pattern": PRINTABLE},
        "mode": {"enum": ["Disable", "EnableWithExpiration", "EnableWithoutExpiration"]},
        "start-date": {"type": "string", "format": "date-time"},
        "duration": {"type": "integer", "minimum": 1, "maximum": 0xFFFFFFFF},
        "duration-units": {"enum": ["Days", "Months"]},
        "transferable": {"type": "boolean"},
        "extra": {"type": "object"},
    }
    return {
        "Device": {
            "type": "object",
            "description": "Table 63.",
            "required": ["oui", "product_class", "serial_number"],
            "properties": device,
            "additionalProperties": False,
        },
        "Option": {
            "type": "object",
            "description": "Table 62, with the keys of a file of Options.",
            "required": ["ident", "mode"],
            "properties": option,
            "additionalProperties": False,
        },
        "Issued": _object(
            device={"type": "object"},
            serials={"type": "array", "items": SERIAL},
            voucher={"type": "string", "contentEncoding": "base64"},
        ),
        "Entry": _object(
            serial=SERIAL,
            oui=ANY_TEXT,
            product_class=ANY_TEXT,
            serial_number=ANY_TEXT,
            option=ANY_TEXT,
            state={"enum": ["reserved", "issued", "void"]},
            batch=NULL_TEXT,
        ),
        "Batch": _object(batch=ANY_TEXT, by_state={"type": "object", "additionalProperties": COUNT}),
        "JournalEntry": _object(
            number=COUNT, at=ANY_TEXT, actor=ANY_TEXT, action=ANY_TEXT, serials=ANY_TEXT, digest=ANY_TEXT
        ),
        "Problem": _object(
            type=ANY_TEXT,
            title=ANY_TEXT,
            status={"type": "integer"},
            detail=ANY_TEXT,
            exit={"type": "integer"},
            section=NULL_TEXT,
        ),
    }


def _object(**properties: Schema) -> Schema:
    """Return the schema of an object that has at least these."""
    return {"type": "object", "required": [*properties], "properties": properties}


def _list(name: str, schema: str, after: Schema | None = None, **others: Schema) -> Schema:
    items: Schema = {"type": "array", "items": {"$ref": f"#/components/schemas/{schema}"}}
    following = {} if after is None else {"after": {"anyOf": [after, {"type": "null"}]}}
    return _object(**{name: items}, **following, **others)


def _of(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def _query(name: str, schema: Schema, *, required: bool = False) -> Schema:
    return {"name": name, "in": "query", "required": required, "schema": schema}


def _body(schema: Schema, *, required: bool = True) -> Schema:
    return {"required": required, "content": _of(schema)}


def _operation(
    identity: str,
    summary: str,
    status: str,
    content: Mapping[str, Any],
    parameters: list[Schema],
    *,
    body: Schema | None = None,
    open_: bool = False,
) -> Schema:
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    responses: Schema = {status: {"description": "Done.", "content": content}}
    responses |= {number: {"description": words, "content": problem} for number, words in PROBLEMS.items()}
    found: Schema = {
        "operationId": identity,
        "summary": summary,
        "parameters": parameters,
        "responses": responses,
    }
    if body is not None:
        found["requestBody"] = body
    if open_:
        found["security"] = []
    return found
