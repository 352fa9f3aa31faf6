"""The directory that packages are installed in: a root, and what trusts the package."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any, Final

from spkg.format.commands import End, Reboot, Remove, Version
from spkg.format.installation_state import InstallationState
from spkg.format.paths import RootPath
from spkg.install.checkpoint import Checkpoint, save_checkpoint
from spkg.install.own_directory import working_in
from spkg.install.root import Root
from tests.support.commands import PATIENCE, PROGRAM
from tests.support.kit import file, root
from tests.support.package_files import TRUST

__all__ = [
    "APPLY",
    "OLD",
    "RECORDS",
    "events",
    "furnish_root",
    "mark_unsafe",
    "started",
    "tree",
    "wait_for",
    "wait_for_octets",
]

APPLY: Final = ("--root", "root", *TRUST)
RECORDS: Final = (Version(text="6.3"), file("/bin/app"), Remove(path=RootPath.of("/old")), Reboot(), End())
OLD: Final = {"root/old": b"old"}


def furnish_root() -> None:
    """Put a root into this directory, and what trusts a package."""
    Path("ca.pem").write_bytes(root().pem)
    Path("root").mkdir()
    Path("root/old").write_text("old")


def tree() -> dict[str, bytes]:
    """Return the files of the root, the installer's own aside."""
    found = Path("root").rglob("*")
    return {str(path): path.read_bytes() for path in found if path.is_file() and ".spkg" not in path.parts}


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def mark_unsafe() -> None:
    with Root(Path("root")) as opened, working_in(opened):
        save_checkpoint(
            opened,
            Checkpoint(package="ab" * 32, command=3, state=InstallationState.UNRECOVERABLE, failed=True),
        )


def started(*args: str, **settings: Any) -> subprocess.Popen[bytes]:
    """Start the program in a session of its own."""
    return subprocess.Popen(
        [*PROGRAM, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, **settings
    )


def wait_for(path: str) -> None:
    """Wait until something is there."""
    deadline = time.monotonic() + PATIENCE
    while not list(Path().glob(path)):
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.02)


def wait_for_octets(path: str) -> None:
    """Wait until there is a file with something in it, not only its name."""
    deadline = time.monotonic() + PATIENCE
    while not any(file.stat().st_size for file in Path().glob(path)):
        assert time.monotonic() < deadline, f"{path} never had contents"
        time.sleep(0.02)
