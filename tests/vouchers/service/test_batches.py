"""A list of devices in, vouchers out: streamed, completed when it is sent again, ended by a line."""

import asyncio
import json
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from spkg.errors import HostError
from tests.support.service_kit import Service, bearer, served
from tests.support.voucher_kit import verified
from vouchers.acs.bulk import BulkOrder
from vouchers.acs.ledger import Ledger
from vouchers.acs.ledger_audit import audit_ledger
from vouchers.acs.ledger_entry import SerialState
from vouchers.service.batches import BatchRun, stream_lines

TARGET = "/v1/batches?batch=may&offer=tv"
HEAD = b"oui,product_class,serial_number\n"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with served(tmp_path, more='max-list = "1MiB"\nbatches-at-once = 1\n') as made:
        yield made


def csv(count: int) -> bytes:
    return HEAD + b"".join(b"00D09E,G,%06d\n" % number for number in range(count))


def test_a_list_becomes_vouchers_then_the_result(service: Service) -> None:
    answer = service.ask("POST", TARGET, HEAD + b"00D09E,G,1\nodd,G,2\n00D09E,G,3\n")

    rejected, first, second, result = answer.lines
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert rejected == {"line": 3, "reason": "OUI: expected six upper-case hexadecimal digits, got 'odd'"}
    assert [first["serials"], second["serials"]] == [[1], [2]]
    assert verified(b64decode(second["voucher"])).voucher.device.serial_number == "3"
    assert result == {
        "event": "result",
        "batch": "may",
        "status": "malformed",
        "exit": 3,
        "message": "lines of the list got no voucher: 1",
        "issued": 2,
        "confirmed": 2,
        "rejected": 1,
        "warnings": [],
    }


def test_doubtful_numbers_are_told_in_the_result(service: Service) -> None:
    answer = service.ask("POST", TARGET, HEAD + b"00D09E,G,1001\n00D09E,G,1002\n00D09E,G,7\n00D09E,G,8.0\n")

    assert len(answer.lines) == 5
    assert [(one["code"], one["message"].partition(":")[0]) for one in answer.lines[-1]["warnings"]] == [
        ("lost-zeros", "line 4"),
        ("doubtful-number", "line 5"),
    ]


def test_json_lines_are_a_list_too_and_the_result_is_done(service: Service) -> None:
    device = {"oui": "00D09E", "product_class": "G", "serial_number": "1"}

    answer = service.ask("POST", TARGET, json.dumps(device).encode())

    assert answer.lines[-1] == {
        "event": "result",
        "batch": "may",
        "status": "done",
        "exit": 0,
        "issued": 1,
        "confirmed": 1,
        "rejected": 0,
        "warnings": [],
    }


def test_the_same_list_sent_again_gives_the_same_vouchers(service: Service) -> None:
    first = service.ask("POST", TARGET, csv(450))

    again = service.ask("POST", TARGET, csv(450))

    assert again.body == first.body
    assert len(first.lines) == 451
    assert audit_ledger(service.ledger).problems == ()
    assert {entry.actor for entry in service.ledger.journal()} == {"shop"}


def test_the_vouchers_of_a_list_count_as_issued_when_they_are_sent(service: Service) -> None:
    states: list[set[SerialState]] = []

    def seen(line: bytes) -> bytes:
        serials = {serial for one in line.splitlines() for serial in json.loads(one).get("serials", [])}
        states.append({one.state for one in service.ledger.entries() if one.serial in serials})
        return line

    run = BatchRun(
        order=BulkOrder(templates=service.parts.settings.offers["tv"], batch="may"),
        ledger=service.ledger,
        signer=service.parts.signer,
        stopping=lambda: False,
        issued=lambda _: None,
    )
    [*map(seen, run.lines(BytesIO(csv(300))))]

    assert states == [{SerialState.ISSUED}, {SerialState.ISSUED}, set()]


def test_a_batch_of_the_command_line_is_completed_by_the_service(service: Service) -> None:
    service.ask("POST", TARGET, csv(10))

    answer = service.ask("POST", TARGET, csv(20))

    assert [line["serials"] for line in answer.lines[:-1]] == [[number] for number in range(1, 21)]


def test_other_options_in_a_batch_are_refused_before_anything_is_sent(service: Service) -> None:
    service.ask("POST", TARGET, csv(1))
    offers = service.parts.settings.offers
    offers["tv"] = tuple(replace(option, duration=6) for option in offers["tv"])

    answer = service.ask("POST", TARGET, csv(1))

    assert answer.problem == (409, 5, None, "the batch may was begun with other Options")


def test_a_service_that_stops_ends_a_batch_with_a_line_that_says_so(service: Service) -> None:
    service.stopping[0] = True

    answer = service.ask("POST", TARGET, csv(450))
    service.stopping[0] = False
    again = service.ask("POST", TARGET, csv(450))

    assert len(answer.lines) == 201
    assert answer.lines[-1] == {
        "event": "result",
        "batch": "may",
        "status": "stopped",
        "exit": 143,
        "message": "the service is stopping",
        "hint": "send the list again with the same batch to complete it",
        "issued": 200,
        "confirmed": 200,
        "rejected": 0,
        "warnings": [],
    }
    assert again.lines[:200] == answer.lines[:200]
    assert again.lines[-1]["issued"] == 450


def test_a_list_that_is_none_ends_with_the_reason(service: Service) -> None:
    answer = service.ask("POST", TARGET, b"what is this\n")

    assert answer.lines == [
        {
            "event": "result",
            "batch": "may",
            "status": "malformed",
            "exit": 3,
            "message": "not a list of devices: the first line must name oui, product_class and "
            "serial_number, or id",
            "section": None,
            "hint": "send the list again with the same batch to complete it",
            "issued": 0,
            "confirmed": 0,
            "rejected": 0,
            "warnings": [],
        }
    ]


@pytest.mark.parametrize(
    ("query", "field", "detail"),
    [
        ("offer=tv", "batch", "expected a name of 1 to 128 printable characters"),
        (f"offer=tv&batch={'x' * 129}", "batch", "expected a name of 1 to 128 printable characters"),
        ("batch=b", "offer", "expected one of the offers: tv"),
        ("batch=b&offer=radio", "offer", "expected one of the offers: tv"),
    ],
)
def test_a_batch_wants_a_name_and_an_offer(service: Service, query: str, field: str, detail: str) -> None:
    assert service.ask("POST", f"/v1/batches?{query}", csv(1)).problem == (422, 3, field, detail)


def test_a_list_that_is_too_long_reserves_nothing(service: Service) -> None:
    answer = service.ask("POST", TARGET, csv(100_000))

    assert answer.problem == (413, 3, None, "expected a body of at most 1048576 bytes, got more")
    assert list(service.ledger.entries()) == []
    assert service.ask("POST", TARGET, csv(1)).status == 200


def test_a_list_that_is_sent_too_slowly_is_refused(service: Service) -> None:
    service.time[0] = -1e9
    timer = service.parts.timer
    assert timer() < 0

    class Late:
        def __call__(self) -> float:
            service.time[0] += 100
            return service.time[0]

    object.__setattr__(service.parts, "timer", Late())
    answer = service.ask("POST", TARGET, csv(1))

    assert answer.problem == (408, 3, None, "the request was not sent in time")


def test_too_many_batches_wait(service: Service) -> None:
    service.parts.running.add("another")

    answer = service.ask("POST", TARGET, csv(1))

    assert answer.problem == (503, 9, None, "too many batches are being issued")
    assert answer.headers["retry-after"] == "2"


def test_a_ledger_that_goes_away_ends_a_batch_with_a_line(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserve = Ledger.reserve
    calls = []

    def once(self: Ledger, *args: object, **named: object) -> object:
        calls.append(1)
        if len(calls) > 1:
            raise HostError("gone")
        return reserve(self, *args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Ledger, "reserve", once)

    answer = service.ask("POST", TARGET, csv(300))

    assert answer.lines[-1] == {
        "event": "result",
        "batch": "may",
        "status": "error",
        "exit": 9,
        "message": "the ledger can't be used",
        "section": None,
        "hint": "send the list again with the same batch to complete it",
        "issued": 200,
        "confirmed": 200,
        "rejected": 0,
        "warnings": [],
    }


def test_a_reader_that_goes_away_ends_the_thread_that_makes_lines() -> None:
    made: list[int] = []
    ended: list[BaseException | None] = []

    def lines() -> Iterator[bytes]:
        for number in range(1000):
            made.append(number)
            yield b"line"

    async def read() -> None:
        pieces = stream_lines(lines(), ended.append)
        assert await anext(pieces) == b"line"
        await pieces.aclose()

    asyncio.run(read())

    assert len(made) < 20
    assert ended == [None]


def test_a_client_that_is_gone_before_the_first_line_leaves_room_for_another(service: Service) -> None:
    path, _, query = TARGET.partition("?")
    head = [(name.lower().encode(), value.encode()) for name, value in bearer().items()]
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "state": {},
        "query_string": query.encode(),
        "headers": head,
        "server": ("127.0.0.1", 80),
    }
    heard = [{"type": "http.request", "body": csv(1)}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        return heard.pop(0)

    async def send(_: Any) -> None:
        pass

    asyncio.run(service.app(scope, receive, send))

    assert heard == []
    assert service.parts.running == set()
    assert service.ask("POST", TARGET, csv(1)).status == 200


def test_a_defect_while_lines_are_made_is_told() -> None:
    ended: list[BaseException | None] = []

    def lines() -> Iterator[bytes]:
        yield b"line"
        raise ZeroDivisionError

    async def read() -> list[bytes]:
        return [piece async for piece in stream_lines(lines(), ended.append)]

    with pytest.raises(ZeroDivisionError):
        asyncio.run(read())
    assert [type(error) for error in ended] == [ZeroDivisionError]


def test_a_batch_wants_the_scope_issue(service: Service) -> None:
    assert service.ask("POST", TARGET, csv(1), bearer("wrong")).status == 401


def test_nothing_is_no_list(service: Service) -> None:
    assert service.ask("POST", TARGET, b"").problem == (
        422,
        3,
        None,
        "expected a list of devices, got nothing",
    )
