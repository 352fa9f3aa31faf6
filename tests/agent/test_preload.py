"""Nothing is imported once rights have been given up: Python may be out of reach for that user."""

import subprocess
import sys
from pathlib import Path

from tests.support.kit import ROOT

LIFE = """
import sys
from pathlib import Path
from spkg.agent.preload import preload
from tests.support.acs import Answer, ScriptedAcs, request, session
from tests.support.acs_calls import download, set_values
from tests.support.agent_kit import Life

preload()
plan = session(
    set_values(("DeviceConfig.PersistentData", "\\u00e4\\x7f")),
    set_values(("DeviceConfig.Nothing", "x")),
    request("GetParameterValues", "<ParameterNames><string></string></ParameterNames>"),
    request("Strange"),
    download(url="http://b\\u00fccher.example/p"),
    download(),
)
with ScriptedAcs(plan) as acs:
    device = Life(Path.cwd(), acs)
    before = {*sys.modules}
    device.start()
    device.run(seconds=5)
    device.agent.status.refresh()
    device.agent.answers.answer("parameters", {"path": ""})
    device.agent.answers.answer("config", {})
    acs.plan = lambda _post: Answer(status=500)
    device.agent.engine.force()
    device.run(seconds=5)
    assert len(acs.posts) > 7, acs.methods
    print(*sorted({*sys.modules} - before))
"""


def test_nothing_is_imported_late(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIFE],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")
