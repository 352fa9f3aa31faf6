"""The published description: complete, and true for whatever a client makes of it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.acs_files import PATIENCE
from tests.support.kit import AT
from tests.support.service_kit import ALL, listening, served, write_files
from vouchers.acs.ledger import Ledger
from vouchers.service.api import ENDPOINTS
from vouchers.service.openapi import openapi_document


def test_every_endpoint_is_described_with_who_may_call_it() -> None:
    paths = openapi_document(["tv"])["paths"]

    described = {
        (method.upper(), path, found.get("security") != [])
        for path, methods in paths.items()
        for method, found in methods.items()
    }

    assert described == {(one.method, one.path, one.scopes is not None) for one in ENDPOINTS}


def test_the_description_is_published_with_the_offers(tmp_path: Path) -> None:
    with served(tmp_path) as service:
        answer = service.ask("GET", "/openapi.json")

    assert answer.json == json.loads(json.dumps(openapi_document(["tv"])))


@pytest.mark.proof
@pytest.mark.part("judges")
def test_schemathesis_finds_nothing_that_the_description_does_not_say(tmp_path: Path) -> None:
    program = shutil.which("schemathesis", path=str(Path(sys.executable).parent))
    assert program is not None
    config = write_files(tmp_path)
    Ledger(str(tmp_path / "ledger.db"), lambda: AT).close()
    (tmp_path / "openapi.json").write_text(json.dumps(openapi_document(["tv"])))
    with listening(config) as (process, port):
        command = [
            *(program, "run", "openapi.json", "--url", f"http://127.0.0.1:{port}", "--no-color"),
            *("-H", f"Authorization: Bearer {ALL}", "--max-examples", "15", "--checks", "all"),
            # Texts may have more in them than the description promises; test_api.py says what is refused.
            *("--exclude-checks", "positive_data_acceptance,negative_data_rejection"),
            *("--phases", "examples,coverage,fuzzing"),
        ]
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=5 * PATIENCE, check=False
        )

        assert process.poll() is None
    assert done.returncode == 0, done.stdout
    log = config.with_suffix(".log").read_text()
    assert '"defect"' not in log
    assert '"status": 500' not in log
    assert "Traceback" not in config.with_suffix(".err").read_text()
