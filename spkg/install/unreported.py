"""An installation that was made and could not be reported: noted in the root, so that ``status`` shows it."""

import json
from contextlib import suppress
from typing import Final

from spkg.common.findings import Finding
from spkg.install.history import installed_packages
from spkg.install.leftovers import vacant
from spkg.install.own_files import read_own, write_whole
from spkg.install.root import Root
from spkg.install.root_tree import OWN
from spkg.install.tree_path import Parts

__all__ = ["forget_unreported", "note_unreported", "unreported_warnings"]

UNREPORTED: Final[Parts] = (*OWN, b"unreported")
MAX_NOTE: Final = 4096


def note_unreported(root: Root, problem: str) -> None:
    """Note that the last installation could not be reported, and why.

    Raises:
        FailedError: The record of installed packages can't be read.
        OSError: It can't be noted.
    """
    forget_unreported(root)
    note = {"package": _last(root), "problem": problem[: MAX_NOTE // 16]}
    write_whole(root, vacant(root, UNREPORTED), json.dumps(note).encode())
    root.sync_directory(OWN)


def forget_unreported(root: Root) -> None:
    """Remove the note, if there is one: another installation is reported now."""
    with suppress(OSError):
        if root.status(UNREPORTED) is not None:
            root.sweep(UNREPORTED)
            root.sync_directory(OWN)


def unreported_warnings(root: Root) -> tuple[Finding, ...]:
    """Return the warning about an installation that was not reported; none if it was.

    Raises:
        FailedError: The record of installed packages can't be read.
        OSError: The note can't be read.
    """
    try:
        note = json.loads(read_own(root, UNREPORTED, MAX_NOTE))
    except FileNotFoundError:
        return ()
    except (ValueError, RecursionError):
        note = None
    told = "the last package is installed, but its result could not be reported"
    if isinstance(note, dict) and isinstance(note.get("problem"), str):
        if note.get("package") != _last(root):
            return ()  # a power cut brought it back, or no later note could be written
        told += f" ({note['problem']})"
    return (Finding(code="not-reported", message=told),)


def _last(root: Root) -> str | None:
    """Return the digest of the package that was installed last; None if the record has none."""
    return next((one.package for one in installed_packages(root)), None)
