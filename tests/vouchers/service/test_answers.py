"""A key leads to one answer: requests that died half-way, ledgers that go away, and what nobody expected."""

from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Full
from typing import Any

import pytest

from spkg.errors import HostError
from tests.support.ledger_kit import want
from tests.support.service_kit import DEVICE, Service, bearer, served
from vouchers.acs.ledger_answers import (
    Begun,
    KeptAnswer,
    KeyedRequest,
    begin_requests,
    finish_requests,
    forget_answers,
)
from vouchers.acs.ledger_audit import audit_ledger
from vouchers.acs.ledger_database import LedgerAwayError
from vouchers.acs.ledger_entry import SerialState
from vouchers.service import api, issuing_desk

BODY: dict[str, Any] = {"device": DEVICE, "offer": "tv"}
KEYED = bearer() | {"Idempotency-Key": "one"}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with served(tmp_path) as made:
        yield made


def failing_once(monkeypatch: pytest.MonkeyPatch, name: str, error: Exception) -> None:
    """Have a step of the desk fail the first time."""
    real: Callable[..., Any] = getattr(issuing_desk, name)
    failed: list[int] = []

    def step(*args: Any, **named: Any) -> Any:
        if not failed:
            failed.append(1)
            raise error
        return real(*args, **named)

    monkeypatch.setattr(issuing_desk, name, step)


def test_a_request_that_died_half_way_is_completed_with_its_numbers(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing_once(monkeypatch, "finish_requests", LedgerAwayError("secret.example: gone"))

    first = service.ask("POST", "/v1/vouchers", BODY, KEYED)
    second = service.ask("POST", "/v1/vouchers", BODY, KEYED)

    assert first.problem == (503, 9, None, "the ledger is not available at the moment")
    assert first.headers["retry-after"] == "2"
    assert (second.status, second.json["serials"]) == (201, [1])
    assert [(entry.serial, entry.state) for entry in service.ledger.entries()] == [(1, SerialState.ISSUED)]
    assert audit_ledger(service.ledger).problems == ()


def test_what_was_voided_before_it_was_completed_is_refused(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing_once(monkeypatch, "finish_requests", HostError("gone"))
    first = service.ask("POST", "/v1/vouchers", BODY, KEYED)
    service.ledger.void(1)

    answer = service.ask("POST", "/v1/vouchers", BODY, KEYED)

    assert first.problem == (503, 9, None, "the ledger can't be used")
    assert first.headers["retry-after"] == "60"
    assert answer.problem == (409, 5, None, "serial number 1 has been voided in the meantime")


def test_a_revocation_that_died_half_way_keeps_its_number(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.ask("POST", "/v1/vouchers", BODY)
    failing_once(monkeypatch, "finish_requests", LedgerAwayError("gone"))

    statuses = [service.ask("POST", "/v1/vouchers/1/revoke", None, KEYED).status for _ in range(2)]

    assert statuses == [503, 201]
    assert [entry.serial for entry in service.ledger.entries()] == [1, 2]


def test_of_two_that_complete_a_request_the_first_answer_counts(service: Service) -> None:
    request = KeyedRequest(client="shop", key="one", digest="0" * 64, want=want(1))

    (begun,) = begin_requests(service.ledger, [request], signer="s", unpredictable=False)
    (again,) = begin_requests(service.ledger, [request], signer="s", unpredictable=False)
    answers = [KeptAnswer(status=201, media="text/plain", body=body) for body in ("first", "second")]
    kept = [finish_requests(service.ledger, [(request, begun.serials, one)]) for one in answers]
    (known,) = begin_requests(service.ledger, [request], signer="s", unpredictable=False)

    assert begun == again == Begun(serials=(1,))
    assert kept == [[answers[0]], [answers[0]]]
    assert known == Begun(kept=answers[0])
    assert forget_answers(service.ledger, "2026-06-01T12:00:00Z") == 0
    assert forget_answers(service.ledger, "2026-06-01T12:00:01Z") == 1
    (new,) = begin_requests(service.ledger, [request], signer="s", unpredictable=True)
    assert new.serials
    assert new.serials != (1,)


def test_a_defect_is_one_line_and_the_service_goes_on(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing_once(monkeypatch, "sign_voucher", ZeroDivisionError("a secret"))

    answer = service.ask("POST", "/v1/vouchers", BODY, KEYED)
    monkeypatch.setattr(api, "recent_journal", lambda *_args, **_named: 1 / 0)
    other = service.ask("GET", "/v1/journal")

    assert answer.problem == other.problem == (500, 1, None, "a defect in spkg")
    assert service.ask("POST", "/v1/vouchers", BODY, KEYED).status == 201
    assert [type(error) for error in service.defects] == [ZeroDivisionError, ZeroDivisionError]
    service.defects.clear()


def test_too_many_requests_that_wait_are_turned_away(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_waiting: object) -> None:
        raise Full

    monkeypatch.setattr(service.parts.desk._queue, "put_nowait", full)

    answer = service.ask("POST", "/v1/vouchers", BODY)

    assert answer.problem == (503, 9, None, "too many requests wait for the ledger")


def test_a_ledger_that_is_away_is_told_and_health_is_asked_once_a_second(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_ledger: object) -> None:
        raise LedgerAwayError("gone")

    real = getattr(api, "ping_ledger")  # noqa: B009 - it is not what the module offers
    monkeypatch.setattr(api, "ping_ledger", away)
    first = service.ask("GET", "/healthz")
    monkeypatch.setattr(api, "ping_ledger", real)
    second = service.ask("GET", "/healthz")
    service.time[0] += 1
    third = service.ask("GET", "/healthz")

    assert [first.status, second.status, third.status] == [503, 503, 200]
