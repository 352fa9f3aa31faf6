"""Settings of the whole suite: the time hypothesis may take, and judges that are not there."""

import os
import shutil
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "default", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("proof", parent=settings.get_profile("default"), max_examples=5000)
settings.load_profile(os.environ.get("SPKG_PROFILE", "default"))

PLACES: Final = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
"""Where programs are looked for: servers are not on everybody's path."""
REQUIRED: Final = os.environ.get("SPKG_REQUIRE_JUDGES") == "1"
"""In CI every judge has to be there: a check that nobody ran is no check."""


@pytest.fixture(autouse=True)
def _judge(request: pytest.FixtureRequest) -> None:
    """Leave out what needs a program that is not here, and remember to say so."""
    for marker in request.node.iter_markers("judge"):
        for program in marker.args:
            if shutil.which(program, path=PLACES) is None:
                if REQUIRED:
                    pytest.fail(f"{program} is not installed, and SPKG_REQUIRE_JUDGES=1 wants it")
                pytest.skip(f"NOT JUDGED: {program} is not installed")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly which judges were missing."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = sorted({str(report.longrepr[2]) for report in skipped if isinstance(report.longrepr, tuple)})
    for reason in reasons:
        if "NOT JUDGED" in reason:
            terminalreporter.write_line(reason.removeprefix("Skipped: "), red=True, bold=True)
