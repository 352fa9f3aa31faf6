"""``spkg voucher serve``: its configuration, and the service as a process."""

import json
import signal
from pathlib import Path

import pytest

from tests.support.acs_files import PATIENCE
from tests.support.commands import run
from tests.support.kit import AT
from tests.support.service_kit import DEVICE, bearer, listening, request, write_files
from vouchers.acs.ledger import Ledger

BODY = json.dumps({"device": DEVICE, "offer": "tv"}).encode()


def test_without_a_ledger_nothing_is_served(tmp_path: Path) -> None:
    result = run("voucher", "serve", "--config", write_files(tmp_path))

    assert result.exit_code == 9
    assert result.stderr.endswith(
        f"spkg: error: {tmp_path}/ledger.db: the ledger does not exist\n"
        f"spkg: hint: create it with 'spkg voucher ledger init {tmp_path}/ledger.db'\n"
    )


@pytest.mark.parametrize(
    ("listen", "status", "said"),
    [
        ("8080", 2, "--listen: expected HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080, got '8080'"),
        ("192.0.2.1:80", 3, "expected a loopback address, since there is no tls-cert, got 192.0.2.1"),
    ],
)
def test_another_address_is_checked_as_that_of_the_file(
    tmp_path: Path, listen: str, status: int, said: str
) -> None:
    result = run("voucher", "serve", "--config", write_files(tmp_path), "--listen", listen)

    assert result.exit_code == status
    assert said in result.stderr


def test_a_process_answers_and_ends_with_0_and_the_next_one_knows_its_answers(tmp_path: Path) -> None:
    config = write_files(tmp_path)
    Ledger(str(tmp_path / "ledger.db"), lambda: AT).close()
    headers = bearer() | {"Idempotency-Key": "order"}
    answers = []

    for _ in range(2):
        with listening(config) as (process, port):
            answers.append(request(port, "POST", "/v1/vouchers", BODY, headers))
            process.send_signal(signal.SIGHUP)
            assert request(port, "GET", "/healthz").status == 200
            process.terminate()
            assert process.wait(PATIENCE) == 0

    first, second = answers
    assert (first.status, second.status) == (201, 201)
    assert first.body == second.body
    events = [json.loads(line)["event"] for line in config.with_suffix(".log").read_text().splitlines()]
    assert events[:2] == ["ledger", "listening"]
    assert events[-2:] == ["stopping", "stopped"]
