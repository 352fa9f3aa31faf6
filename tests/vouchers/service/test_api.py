"""What the service answers: vouchers, entries, and problems with our exit status."""

import json
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spkg.common.times import read_time
from tests.support.kit import AT
from tests.support.service_kit import DEVICE, READER, Service, bearer, served
from tests.support.voucher_kit import verified
from vouchers.acs.ledger_audit import audit_ledger

BODY: dict[str, Any] = {"device": DEVICE, "offer": "tv"}
OPTION: dict[str, Any] = {"ident": "QoS", "mode": "EnableWithoutExpiration"}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with served(tmp_path) as made:
        yield made


def keyed(key: str) -> dict[str, str]:
    return bearer() | {"Idempotency-Key": key}


def test_an_offer_becomes_a_voucher_that_a_device_trusts(service: Service) -> None:
    answer = service.ask("POST", "/v1/vouchers", BODY)

    found = answer.json
    trusted = verified(b64decode(found["voucher"]))
    assert answer.status == 201
    assert found["device"] == DEVICE | {"manufacturer": ""}
    assert found["serials"] == [1]
    assert [option.ident for option in trusted.voucher.options] == ["IPTV"]
    assert trusted.voucher.device.serial_number == "000001"


def test_options_are_those_of_an_options_file(service: Service) -> None:
    option = OPTION | {"start-date": "2026-07-01T00:00:00Z", "extra": {"Rate": 3}, "transferable": True}

    answer = service.ask("POST", "/v1/vouchers", {"device": DEVICE, "options": [option]})

    (made,) = verified(b64decode(answer.json["voucher"])).voucher.options
    assert made.start == read_time("2026-07-01T00:00:00Z")
    assert made.extra == (("Rate", "3"),)
    assert made.transferable


@pytest.mark.parametrize(
    ("form", "media", "begins"),
    [("xml", "application/xml", b"<Signature "), ("soap", "text/xml; charset=utf-8", b"<soap:Envelope ")],
)
def test_a_voucher_comes_as_xml_or_as_a_request(
    service: Service, form: str, media: str, begins: bytes
) -> None:
    answer = service.ask("POST", f"/v1/vouchers?format={form}", BODY)

    assert answer.status == 201
    assert answer.headers["content-type"] == media
    assert answer.body.startswith(begins)


def test_the_same_key_gives_the_same_octets_and_issues_once(service: Service) -> None:
    first = service.ask("POST", "/v1/vouchers", BODY, keyed("one"))

    second = service.ask("POST", "/v1/vouchers", dict(reversed(BODY.items())), keyed("one"))
    other = service.ask("POST", "/v1/vouchers", BODY | {"device": DEVICE | {"oui": "000000"}}, keyed("one"))

    assert (second.status, second.body) == (201, first.body)
    assert other.problem == (409, 5, None, "this Idempotency-Key was used for another request")
    assert [entry.serial for entry in service.ledger.entries()] == [1]


def test_clients_have_keys_of_their_own(service: Service) -> None:
    path = service.place / "tokens.toml"
    path.write_text(path.read_text().replace('scopes = ["read"]', 'scopes = ["issue"]'))
    service.app.refresh()

    first = service.ask("POST", "/v1/vouchers", BODY, keyed("one"))
    second = service.ask("POST", "/v1/vouchers", BODY, bearer(READER) | {"Idempotency-Key": "one"})

    assert [first.json["serials"], second.json["serials"]] == [[1], [2]]
    assert {entry.actor for entry in service.ledger.journal()} == {"shop", "reader"}


@pytest.mark.parametrize(
    ("body", "field", "detail"),
    [
        ({}, None, "expected either options or offer"),
        (BODY | {"options": [OPTION]}, None, "expected either options or offer"),
        (BODY | {"more": 1}, "more", "unknown key; expected device, options, offer"),
        ({"offer": "tv"}, "device", "expected an object with oui, product_class and serial_number"),
        (BODY | {"offer": "radio"}, "offer", "expected one of the offers: tv"),
        (BODY | {"offer": ["tv"]}, "offer", "expected one of the offers: tv"),
        (
            BODY | {"device": DEVICE | {"colour": "red"}},
            "device.colour",
            "unknown key; expected oui, product_class, serial_number, manufacturer",
        ),
        (BODY | {"device": DEVICE | {"oui": 1}}, "device.oui", "expected a string"),
        (BODY | {"device": {"oui": "00D09E"}}, "device.product_class", "required"),
        (
            BODY | {"device": DEVICE | {"oui": "zz"}},
            "device",
            "OUI: expected six upper-case hexadecimal digits, got 'zz'",
        ),
        (
            BODY | {"device": DEVICE | {"serial_number": "1\u200b"}},
            "device",
            "serial_number: must not have the invisible character U+200B",
        ),
        (
            BODY | {"device": DEVICE | {"product_class": " G"}},
            "device",
            "product_class: must not begin or end with white space",
        ),
        ({"device": DEVICE, "options": {}}, "options", "expected an array of objects"),
        ({"device": DEVICE, "options": [1]}, "options", "expected an array of objects"),
        ({"device": DEVICE, "options": []}, "options", "expected 1 to 64 [[option]] tables, got 0"),
        ({"device": DEVICE, "options": [{"ident": "x"}]}, "options[0].mode", "ident and mode are required"),
        ({"device": DEVICE, "options": [OPTION | {"colour": 1}]}, "options[0].colour", "unknown key"),
        (
            {"device": DEVICE, "options": [OPTION | {"duration": 5}]},
            "options[0]",
            "Duration: has no meaning with EnableWithoutExpiration",
        ),
    ],
)
def test_what_can_not_be_issued_is_located(
    service: Service, body: dict[str, Any], field: str | None, detail: str
) -> None:
    answer = service.ask("POST", "/v1/vouchers", body)

    assert answer.problem == (422, 3, field, detail)
    assert list(service.ledger.entries()) == []


def test_a_problem_names_the_section(service: Service) -> None:
    answer = service.ask("POST", "/v1/vouchers", BODY | {"device": DEVICE | {"serial_number": ""}})

    assert answer.json["section"] == "C.3, Table 63"


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        (b"{", 400, "line 1: expected JSON: expecting property name enclosed in double quotes"),
        (b'{"offer": "\xff"}', 400, "line 1: expected UTF-8"),
        (b"[" * 100_000, 400, "the JSON is nested too deeply"),
        (b'{"a": 1, "a": 2}', 400, "the JSON can't be used: the key 'a' occurs twice"),
        (b'{"a": NaN}', 400, "the JSON can't be used: NaN is not a number of JSON"),
        (b"[]", 422, "expected a JSON object"),
        (b" " * ((1 << 20) + 1), 413, "expected a body of at most 1048576 bytes, got more"),
    ],
    ids=["cut", "encoding", "deep", "twice", "number", "array", "large"],
)
def test_a_malformed_body_is_refused(service: Service, body: bytes, status: int, detail: str) -> None:
    answer = service.ask("POST", "/v1/vouchers", body)

    assert answer.problem == (status, 3, None, detail)


def test_a_length_beyond_the_limit_is_refused_before_anything_is_read(service: Service) -> None:
    answer = service.ask("POST", "/v1/vouchers", b"", bearer() | {"Content-Length": "9" * 30})

    assert answer.problem[:2] == (413, 3)
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize(
    ("target", "field", "detail"),
    [
        ("/v1/vouchers?format=pdf", "format", "expected json, xml or soap, got 'pdf'"),
        ("/v1/vouchers?colour=1", "query", "unknown parameter 'colour'; expected one of format"),
        ("/v1/vouchers?format=xml&format=xml", "format", "occurs twice"),
        ("/v1/vouchers?format", "query", "expected NAME=VALUE, joined by &, in UTF-8"),
        ("/v1/vouchers?format=%ff", "query", "expected NAME=VALUE, joined by &, in UTF-8"),
        ("/v1/vouchers?format=%00", "format", "expected printable characters"),
    ],
)
def test_a_query_is_read_strictly(service: Service, target: str, field: str, detail: str) -> None:
    assert service.ask("POST", target, BODY).problem == (422, 3, field, detail)


@pytest.mark.parametrize("key", ["", "x" * 256, "\x7f", "ä"])
def test_a_key_that_can_not_be_kept_is_refused(service: Service, key: str) -> None:
    answer = service.ask("POST", "/v1/vouchers", BODY, keyed(key))

    assert answer.problem == (
        *(400, 3, "Idempotency-Key"),
        "expected one key of 1 to 255 printable ASCII characters",
    )


def test_an_entry_is_shown_as_the_ledger_lists_it(service: Service) -> None:
    service.ask("POST", "/v1/vouchers", BODY)

    answer = service.ask("GET", "/v1/vouchers/1")

    found = answer.json
    assert answer.status == 200
    assert (found["serial"], found["state"], found["option"]) == (1, "issued", "IPTV")
    assert (found["end"], found["end_estimated"]) == ("2027-06-01T12:00:00Z", True)


@pytest.mark.parametrize("serial", ["2", "x", "99999999999", "%00"])
def test_an_unknown_serial_number_is_404(service: Service, serial: str) -> None:
    assert service.ask("GET", f"/v1/vouchers/{serial}").problem[:2] == (404, 5)


def test_entries_are_listed_page_by_page(service: Service) -> None:
    for number in range(3):
        service.ask(
            "POST", "/v1/vouchers", {"device": DEVICE | {"serial_number": f"{number}"}, "offer": "tv"}
        )

    first = service.ask("GET", "/v1/vouchers?limit=2").json
    second = service.ask("GET", f"/v1/vouchers?limit=2&after={first['after']}").json
    one = service.ask("GET", "/v1/vouchers?serial_number=1&state=issued").json

    assert [entry["serial"] for entry in first["entries"]] == [1, 2]
    assert [entry["serial"] for entry in second["entries"]] == [3]
    assert second["after"] is None
    assert [entry["serial"] for entry in one["entries"]] == [2]
    assert service.ask("GET", "/v1/vouchers?state=odd").problem[2] == "state"
    assert service.ask("GET", "/v1/vouchers?limit=1001").problem[3] == "expected a number from 1 to 1000"


def test_a_device_is_found_by_its_parts_whatever_is_in_them(service: Service) -> None:
    device = {"oui": "00D09E", "product_class": "a/b c", "serial_number": "ü%"}
    service.ask("POST", "/v1/vouchers", {"device": device, "offer": "tv"})

    answer = service.ask("GET", "/v1/devices/00D09E/a%2Fb%20c/%C3%BC%25")

    assert answer.json["device"] == device
    assert [entry["serial"] for entry in answer.json["entries"]] == [1]
    assert service.ask("GET", "/v1/devices/00D09E/a/1").problem == (
        404,
        5,
        None,
        "this device has no vouchers",
    )
    assert service.ask("GET", "/v1/devices/00D09E/a/%00").problem[0] == 404
    assert service.ask("GET", "/v1/devices/00D09E/%ff/1").problem[0] == 404


@pytest.mark.parametrize("oui", ["00d09e", "00:D0:9e", "00-d0-9e"])
def test_an_oui_is_found_as_people_write_it(service: Service, oui: str) -> None:
    service.ask("POST", "/v1/vouchers", BODY)

    of_device = service.ask("GET", f"/v1/devices/{oui}/Gateway/{DEVICE['serial_number']}")
    found = service.ask("GET", f"/v1/vouchers?oui={oui}")

    assert of_device.json["device"]["oui"] == "00D09E"
    assert [entry["serial"] for entry in found.json["entries"]] == [1]


def test_a_serial_number_is_voided_once_and_the_journal_says_who_and_why(service: Service) -> None:
    service.ask("POST", "/v1/vouchers", BODY)

    first = service.ask("POST", "/v1/vouchers/1/void", {"reason": "sold twice"}, keyed("v"))
    again = service.ask("POST", "/v1/vouchers/1/void", {"reason": "sold twice"}, keyed("v"))

    assert (first.status, first.json["state"]) == (200, "void")
    assert again.body == first.body
    assert service.ask("POST", "/v1/vouchers/1/void", {}).problem == (
        *(409, 5, None),
        "serial number 1 is already void",
    )
    assert service.ask("POST", "/v1/vouchers/7/void").problem[:2] == (404, 5)
    last = list(service.ledger.journal())[-1]
    assert (last.actor, last.action, last.reason) == ("shop", "void", "sold twice")
    assert service.ask("POST", "/v1/vouchers/1/void", {"reason": 1}).problem[2] == "reason"
    assert service.ask("POST", "/v1/vouchers/1/void", {"reason": "\n"}).problem[:2] == (422, 2)
    assert service.ask("POST", "/v1/vouchers/1/void", {"why": ""}).problem[2] == "why"


def test_a_voucher_is_revoked_by_one_that_disables_what_it_enabled(service: Service) -> None:
    service.ask("POST", "/v1/vouchers", BODY)

    answer = service.ask("POST", "/v1/vouchers/1/revoke", None, keyed("r"))
    again = service.ask("POST", "/v1/vouchers/1/revoke", None, keyed("r"))

    (option,) = verified(b64decode(answer.json["voucher"])).voucher.options
    assert (option.ident, option.mode.value, option.serial) == ("IPTV", "Disable", "2")
    assert again.body == answer.body
    assert service.ask("POST", "/v1/vouchers/1/revoke").json["serials"] == [2]
    assert service.ask("POST", "/v1/vouchers/2/revoke").problem[:2] == (409, 5)
    assert service.ask("POST", "/v1/vouchers/9/revoke").problem[:2] == (404, 5)
    assert service.ask("GET", "/v1/vouchers/1").json["revoked_by"] == 2


def test_batches_and_the_journal_are_listed(service: Service) -> None:
    service.ask("POST", "/v1/batches?batch=may&offer=tv", b"oui,product_class,serial_number\n00D09E,G,1\n")

    batches = service.ask("GET", "/v1/batches").json
    journal = service.ask("GET", "/v1/journal?limit=1").json["entries"]
    older = service.ask("GET", f"/v1/journal?before={journal[0]['number']}").json["entries"]

    assert batches == {"batches": [{"batch": "may", "by_state": {"issued": 1}}], "after": None}
    assert [entry["action"] for entry in journal + older] == ["issue", "reserve"]
    assert service.ask("GET", "/v1/batches?after=may").json["batches"] == []
    assert service.ask("GET", "/v1/offers").json == {"offers": [{"name": "tv", "options": ["IPTV"]}]}


def test_due_renewals_are_listed(service: Service) -> None:
    option = {
        "ident": "IPTV",
        "mode": "EnableWithExpiration",
        "duration": 40,
        "duration-units": "Days",
        "start-date": "2026-05-01T00:00:00Z",
    }
    service.ask("POST", "/v1/vouchers", {"device": DEVICE, "options": [option, option | {"ident": "TV"}]})

    found = service.ask("GET", "/v1/renewals?within=30d").json["entries"]

    end = "2026-06-10T00:00:00Z"
    assert [(entry["serial"], entry["end"]) for entry in found] == [(1, end), (2, end)]
    for limit, more in ((1, True), (2, False)):
        answer = service.ask("GET", f"/v1/renewals?within=30d&limit={limit}").json
        assert answer == {"entries": found[:limit], "more": more}
    assert service.ask("GET", "/v1/renewals?within=1d").json["entries"] == []
    assert service.ask("GET", "/v1/renewals?within=9999999999d").json["entries"] == found
    assert service.ask("GET", "/v1/renewals?within=soon").problem[2] == "within"


def test_what_is_done_by_the_service_is_right_in_the_books(service: Service) -> None:
    service.ask("POST", "/v1/vouchers", BODY, keyed("a"))
    service.ask("POST", "/v1/vouchers/1/revoke")
    service.ask("POST", "/v1/vouchers/2/void")
    service.ask("POST", "/v1/batches?batch=b&offer=tv", json.dumps(DEVICE).encode())

    audit = audit_ledger(service.ledger)

    assert (audit.serials, audit.problems) == (3, ())


def test_health_is_told_to_anybody(service: Service) -> None:
    assert service.ask("GET", "/healthz", headers={}).json == {"status": "ok"}
    service.stopping[0] = True

    assert service.ask("GET", "/healthz", headers={}).problem == (503, 9, None, "the service is stopping")


def test_metrics_are_those_of_this_process(service: Service) -> None:
    service.ask("POST", "/v1/vouchers", BODY, keyed("a"))
    service.ask("POST", "/v1/vouchers", BODY, keyed("a"))

    text = service.ask("GET", "/metrics").body.decode()

    assert 'spkg_requests_total{method="POST",route="/v1/vouchers",status="201"} 2.0' in text
    assert "spkg_vouchers_issued_total 1.0" in text
    assert "spkg_answers_repeated_total 1.0" in text
    assert "process_resident_memory_bytes" in text


def test_the_time_of_the_ledger_is_that_of_the_service(service: Service) -> None:
    service.ask("POST", "/v1/vouchers", BODY)

    (entry,) = service.ledger.entries()

    assert read_time(entry.reserved_at) == AT
