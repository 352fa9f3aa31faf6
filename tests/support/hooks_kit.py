"""Devices with hooks and handlers, as small scripts that write down what they find."""

import json
import time
from pathlib import Path
from time import monotonic
from typing import Any, Final

__all__ = ["LONG", "NOTES", "is_gone", "noted", "on_device", "write_device"]

LONG: Final = 20
"""Seconds that no hook of a test takes, unless its limit is not applied."""
NOTES: Final = "notes"
"""Where the scripts write."""


def write_device(limit: str = "60", handlers: str = "", **hooks: str | None) -> None:
    """Write ``device.toml``, in which each hook runs a script of the shell.

    A script finds the directory for its notes as ``$1``.

    Args:
        limit: The time that hooks have.
        handlers: A script that gets all files below ``/images``; none if empty.
        hooks: A script for each hook.
    """
    lines = ["[install]", f"hook-timeout = {limit}"]
    place = str(Path(NOTES).absolute())
    Path(NOTES).mkdir(exist_ok=True)
    for name, script in hooks.items():
        if script is not None:
            lines.append(f"{name.replace('_', '-')} = {json.dumps(['/bin/sh', '-c', script, name, place])}")
    if handlers:
        command = json.dumps(["/bin/sh", "-c", handlers, "handler", place])
        lines += ["[[install.handler]]", 'path = "/images/*"', f"command = {command}"]
    Path("device.toml").write_text("\n".join(lines) + "\n")


def on_device(*args: str) -> tuple[str, ...]:
    """Return the arguments of the program for an installation on that device."""
    return (*args, "--device", "device.toml")


def noted(name: str) -> Any:
    """Return what a script has written down, or None if it has not."""
    path = Path(NOTES) / name
    return path.read_text() if path.exists() else None


def is_gone(number: int) -> bool:
    """Whether a process ends soon."""
    deadline = monotonic() + 5
    while monotonic() < deadline:
        try:
            if (Path("/proc") / str(number) / "stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False
