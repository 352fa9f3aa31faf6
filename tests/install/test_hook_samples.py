"""The sample hooks: a boot loader that is written through a handler, and a service that is restarted."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import pytest

from spkg.device import load_device
from spkg.format.commands import End
from tests.support.commands import PATIENCE, run
from tests.support.installation import APPLY, OLD, events, furnish_root, tree
from tests.support.kit import CONTENTS, ROOT, Draft, file

SAMPLES: Final = ROOT / "samples/hooks"
WRITE: Final = SAMPLES / "write-boot-loader"
IMAGE: Final = os.urandom(1 << 12) * 50
SLOT: Final = 1 << 18
PACKAGE: Final = Draft(
    records=(file("/images/boot.img", IMAGE), file("/bin/app", IMAGE[:21]), End()), payload=IMAGE
)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a package, what trusts it, a root, and two slots of which A is active."""
    monkeypatch.chdir(tmp_path)
    furnish_root()
    Path("p.spkg").write_bytes(PACKAGE.encode())
    for slot in "ab":
        Path(slot).write_bytes(slot.encode() * SLOT)
    Path("active").write_text("a\n")
    return tmp_path


def write_device(*slots: str) -> None:
    command = [str(WRITE), *(str(Path(slot).absolute()) for slot in slots), str(Path("active").absolute())]
    words = ", ".join(f'"{word}"' for word in command)
    Path("device.toml").write_text(f'[[install.handler]]\npath = "/images/*"\ncommand = [{words}]\n')


def apply(*args: str) -> tuple[int, dict[str, Any]]:
    done = run("apply", "p.spkg", *APPLY, "--device", "device.toml", "--json", *args)
    return done.exit_code, events(done.stdout)[-1]


def test_the_sample_device_has_them_all() -> None:
    device = load_device(SAMPLES / "device.toml")

    named = {Path(one[0]).name for one in (device.after, device.failed, device.handlers[0].command)}
    assert named == {path.name for path in SAMPLES.iterdir()} - {"device.toml"}
    assert all(os.access(SAMPLES / name, os.X_OK) for name in named)
    assert device.handler_for("/images/boot.img") is device.handlers[0]


@pytest.mark.parametrize("script", ["write-boot-loader", "restart-and-check", "restart-old"])
def test_each_script_is_one_for_any_shell(script: str) -> None:
    for shell in filter(None, map(shutil.which, ("dash", "bash"))):
        subprocess.run([shell, "-n", SAMPLES / script], check=True, timeout=PATIENCE)


def test_the_slot_that_is_not_in_use_gets_the_boot_loader() -> None:
    write_device("a", "b")

    assert apply()[0] == 0

    assert Path("a").read_bytes() == b"a" * SLOT
    assert Path("b").read_bytes() == IMAGE + b"b" * (SLOT - len(IMAGE))
    assert Path("active").read_text() == "b\n"
    assert tree() == {**OLD, "root/bin/app": IMAGE[:21]}
    assert apply("--again")[0] == 0
    assert Path("a").read_bytes()[: len(IMAGE)] == IMAGE
    assert Path("active").read_text() == "a\n"


def test_a_boot_loader_that_does_not_fit_changes_nothing() -> None:
    write_device("a", "b")
    Path("b").write_bytes(b"small")

    status, result = apply()

    assert (status, tree()) == (6, OLD)
    assert result["message"].endswith(
        f"ended with status 1: /images/boot.img has {len(IMAGE)} bytes, slot b holds 5"
    )
    assert (Path("b").read_bytes(), Path("active").read_text()) == (b"small", "a\n")


def test_a_slot_that_does_not_keep_what_is_written_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("bin").mkdir()
    Path("bin/dd").write_text("#!/bin/sh\ncat > /dev/null\n")
    Path("bin/dd").chmod(0o755)
    monkeypatch.setenv("PATH", f"{Path('bin').absolute()}:{os.environ['PATH']}")
    write_device("a", "b")

    status, result = apply()

    assert (status, tree(), Path("active").read_text()) == (6, OLD, "a\n")
    assert "slot b does not hold what was written" in result["message"]


@contextmanager
def loop_device(path: Path) -> Iterator[str]:
    """Make a block device of a file."""
    made = subprocess.run(
        ["losetup", "--find", "--show", path], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    if made.returncode:
        pytest.skip(f"there is no loop device here: {made.stderr.strip()}")
    device = made.stdout.strip()
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=True, timeout=PATIENCE)


@pytest.mark.judge("losetup")
def test_an_image_gets_onto_a_block_device() -> None:
    with loop_device(Path("b").absolute()) as device:
        write_device("a", device)

        assert apply()[0] == 0

        with Path(device).open("rb") as found:
            assert sha256(found.read(len(IMAGE))).digest() == sha256(IMAGE).digest()
    assert Path("b").read_bytes()[: len(IMAGE)] == IMAGE
    assert Path("active").read_text() == "b\n"


# The service.


@pytest.mark.parametrize(
    ("restart", "check", "status", "told"),
    [
        ("touch restarted", "[ -e root/bin/app ]", 0, ""),
        ("exit 3", "true", 6, "it can't be restarted: exit 3"),
        ("touch restarted", "false", 6, "it does not work: false"),
    ],
)
def test_a_service_is_restarted_and_asked(restart: str, check: str, status: int, told: str) -> None:
    Path("p.spkg").write_bytes(Draft(records=(file("/bin/app"), End())).encode())
    words = ", ".join(f'"{word}"' for word in (SAMPLES / "restart-and-check", "0", restart, check))
    again = f'["{SAMPLES / "restart-old"}", "ls root > old"]'
    Path("device.toml").write_text(f"[install]\nafter = [{words}]\nfailed = {again}\n")

    found, result = apply()

    assert found == status
    assert (result.get("message") or "").endswith(told)
    assert tree() == ({**OLD, "root/bin/app": CONTENTS} if status == 0 else OLD)
    assert Path("old").exists() == (status == 6)
    if status:
        assert Path("old").read_text() == "old\n"
        assert result["hooks"][-1]["output"] == "the update ended as failed: starting the service as it was\n"


def test_a_service_has_some_time_to_come_up() -> None:
    Path("p.spkg").write_bytes(Draft(records=(file("/bin/app"), End())).encode())
    check = "[ -e up ] || { touch up; false; }"
    words = ", ".join(f'"{word}"' for word in (SAMPLES / "restart-and-check", "5", "true", check))
    Path("device.toml").write_text(f"[install]\nafter = [{words}]\n")

    assert apply()[0] == 0
