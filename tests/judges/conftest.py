"""What lies on the desk of every judge."""

from pathlib import Path

import pytest

from tests.judges import case
from tests.judges.desk import Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path)
    desk.put("signed", case.SIGNED)
    desk.put("root.pem", case.root().pem)
    desk.put_identity("signer", case.signer())
    desk.put_identity("second", case.second())
    return desk


@pytest.fixture(params=case.OURS)
def ours(request: pytest.FixtureRequest) -> bytes:
    """Each of the blocks that we write."""
    name: str = request.param
    return case.OURS[name]()
