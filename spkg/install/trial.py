"""An installation on trial: since when, for how long, and how many boots may pass before it is confirmed.

The file ``.spkg/trial`` is written by the transaction that installs the package and removed by the one that
confirms it or rolls it back, so it exists exactly as long as the trial.
"""

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, fields, replace
from typing import Any, Final, Self

from spkg.common.boots import Boot
from spkg.common.findings import Finding
from spkg.common.frozen import dataclass
from spkg.install.history import installed
from spkg.install.kept import drop_kept, kept_problem, refill_reserve, release_reserve
from spkg.install.leftovers import vacant
from spkg.install.own_directory import FULL, failing
from spkg.install.own_files import read_own, values_of, write_whole
from spkg.install.root import Root
from spkg.install.root_tree import OWN
from spkg.install.transaction import is_pending
from spkg.install.transaction_places import KEPT_TXN, TRIAL
from spkg.install.tree_path import Parts, shown

__all__ = [
    "BackUp",
    "Trial",
    "count_boot",
    "end_hook_trial",
    "end_trial",
    "load_trial",
    "trial_warnings",
]

TRIAL_DRAFT: Final[Parts] = (*OWN, b"trial.new")
MAX_TRIAL: Final = 1 << 18
"""The longest note, in bytes: a Version may have 64 KiB."""
NUMBER: Final = (int, float)
UNKNOWN: Final = "unknown"
"""The package of a damaged trial without a record."""


@dataclass(frozen=True, kw_only=True)
class BackUp:
    """How long an installation is on trial."""

    delay: float
    """After how many seconds without a confirmation it is rolled back."""
    boots: int | None = None
    """How many boots may pass unconfirmed; None for any number."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """An installation on trial."""

    package: str
    """SHA-256 of the signed bytes, in hex."""
    version: str | None = None
    command_key: str | None = None
    delay: float | None = None
    """After how many seconds it is rolled back; None for never."""
    boots: int | None = None
    """How many boots may pass unconfirmed; None for any number."""
    boot: str | None = None
    """The boot in which it was installed."""
    since: float = 0
    """When in that boot, in seconds."""
    counted: int = 0
    """How many boots have passed since."""
    last_boot: str | None = None
    """The last one of them."""
    until_hook: bool = False
    """Whether it only lasts until the hooks that run after an installation have ended."""

    def left(self, boot: Boot) -> float | None:
        """Return how many seconds are left until it is rolled back; None if it has no limit.

        In the boot of the installation they count from then, in any later one from its beginning.
        """
        if self.delay is None:
            return None
        end = self.delay + (self.since if boot.identity == self.boot else 0)
        return end - boot.seconds  # exact near the end: who sleeps for so long has come to it

    @property
    def boots_left(self) -> int | None:
        """How many more boots may pass; None for any number."""
        return None if self.boots is None else max(0, self.boots - self.counted)

    @property
    def is_spent(self) -> bool:
        """Whether more boots than allowed have passed."""
        return self.boots is not None and self.counted > self.boots

    def counting(self, boot: Boot) -> Self:
        """Return the trial with this boot counted, if boots count and it is a new one."""
        if self.boots is None or boot.identity in {self.boot, self.last_boot}:
            return self
        return replace(self, counted=self.counted + 1, last_boot=boot.identity)

    def encode(self) -> bytes:
        """Return the contents of its file."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        """Return the trial that a file describes.

        Raises:
            ValueError: It is damaged.
        """
        document = values_of(octets)
        if not isinstance(document, dict) or not _is_sound(document):
            raise ValueError("a value is missing or has the wrong type")
        return cls(**{field.name: document[field.name] for field in fields(cls)})


def _is_sound(document: Mapping[str, Any]) -> bool:
    kinds: Mapping[str, tuple[type, ...]] = {
        "package": (str,),
        "version": (str, type(None)),
        "command_key": (str, type(None)),
        "delay": (*NUMBER, type(None)),
        "boots": (int, type(None)),
        "boot": (str, type(None)),
        "since": NUMBER,
        "counted": (int,),
        "last_boot": (str, type(None)),
        "until_hook": (bool,),
    }
    numbers = ("delay", "boots", "since", "counted")
    return all(
        name in document
        and isinstance(document[name], types)
        and (name not in numbers or _is_number(document[name]))
        for name, types in kinds.items()
    )


def _is_number(value: float | None) -> bool:
    """Whether a number is one that could have been written, if there is one."""
    return value is None or (not isinstance(value, bool) and value >= 0 and math.isfinite(value))


def load_trial(root: Root) -> Trial | None:
    """Return the trial in a root, or None.

    One whose file is damaged has no limit any more: it can be confirmed and rolled back.  Its package is the
    last one in the record, since no other can be installed during a trial.

    Raises:
        FailedError: The record can't be read.
        OSError: It can't be read.
    """
    try:
        return Trial.decode(read_own(root, TRIAL, MAX_TRIAL))
    except FileNotFoundError:
        return None
    except ValueError:
        for last in installed(root)[:1]:
            return Trial(package=last["package"], version=last["version"])
        return Trial(package=UNKNOWN)


def trial_warnings(root: Root) -> tuple[Finding, ...]:
    """Return what is damaged of a trial, so that it can't end as intended.

    Raises:
        OSError: It can't be read.
    """
    if root.status(TRIAL) is None:
        return ()
    found: list[Finding] = []
    try:
        Trial.decode(read_own(root, TRIAL, MAX_TRIAL))
    except ValueError as exc:
        problem = (
            f"the note of the trial is damaged ({exc}), so that nothing rolls back by itself: "
            "run 'spkg confirm' or 'spkg rollback'"
        )
        found.append(Finding(code="damaged-trial", message=problem, path=shown(TRIAL)))
    # An installation that was interrupted may yet have to rename what is kept.
    damage = None if is_pending(root) else kept_problem(root)
    if damage is not None:
        problem = f"{damage}, so that nothing can be rolled back: run 'spkg confirm'"
        found.append(Finding(code="damaged-kept", message=problem, path=shown(KEPT_TXN)))
    return (*found,)


def count_boot(root: Root, trial: Trial, boot: Boot) -> Trial:
    """Count a boot durably, if it is not yet, and return the trial as it is then.

    On a full file system this uses the room that is reserved for going back.

    Raises:
        OSError: It can't be counted.
    """
    counted = trial.counting(boot)
    if counted != trial:
        try:
            _save(root, counted)
        except OSError as exc:
            if exc.errno not in FULL:
                raise
            release_reserve(root)
            _save(root, counted)
            with suppress(OSError):
                refill_reserve(root)
    return counted


def end_trial(root: Root) -> None:
    """End a trial durably, if there is one, and remove what is kept: nothing goes back any more.

    Raises:
        OSError: It can't be ended.
    """
    if root.status(TRIAL) is not None:
        root.unlink(TRIAL)
        root.sync_directory(OWN)
    drop_kept(root)


def end_hook_trial(root: Root) -> None:
    """End a trial that was to last until hooks have ended, if the process that ran them is gone.

    Raises:
        FailedError: It can't be ended.
    """
    with failing():
        trial = load_trial(root)
        if trial is not None and trial.until_hook:
            end_trial(root)


def _save(root: Root, trial: Trial) -> None:
    draft = vacant(root, TRIAL_DRAFT)
    write_whole(root, draft, trial.encode())
    root.rename(draft, TRIAL)
    root.sync_directory(OWN)
