"""The whole installer in a simulation: the processes of :mod:`spkg.install.supervisor` are calls.

A kill ends one of them and leaves what is seen, as a page cache does; the next process goes on with that.
Which process is hindered by what is a list of taps: those of the children in their order, and the parent's.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from spkg.common.child_process import ChildKilledError, Parent, Reply, Tell, unanswered
from spkg.common.documents import Document
from spkg.errors import FailedError, RefusedError, UnsafeError
from spkg.install import apply as applying
from spkg.install import confined, supervisor
from spkg.install.applied import ApplyRequest, digest_of
from spkg.install.history import installed
from spkg.install.recovery import recover_in
from spkg.install.status import RootState, root_state
from spkg.install.supervisor import apply_package
from spkg.install.tree_path import Parts
from spkg.verify.payload import Payload, open_package
from spkg.verify.signatures import TrustedPackage, verify_package
from tests.support.hindrances import Fault, Killed, nothing
from tests.support.kit import AT, policy
from tests.support.simulated_file_system import Simulation

__all__ = ["FAILED", "INSTALLED", "KILLED", "REFUSED", "UNREADABLE", "UNSAFE", "WholeInstaller"]

INSTALLED: Final = "installed"
FAILED: Final = "failed"
UNSAFE: Final = "unsafe"
REFUSED: Final = "refused"
UNREADABLE: Final = "unreadable"
"""The root can't be looked at, so that nothing was begun."""
KILLED: Final = "killed"
"""Nobody is left to say anything."""


Tap = Callable[[str, Parts], None]


class WholeInstaller:
    """Installs one package in simulated roots, as the command line does.

    Args:
        package: The file.
        patch: Replaces the boundaries of processes for as long as the test runs.
        in_place: How it is installed.
        unsafe_force: Whether also over another package that is not finished.
    """

    def __init__(
        self, package: Path, patch: pytest.MonkeyPatch, *, in_place: bool, unsafe_force: bool = False
    ) -> None:
        self._package = package
        self._request = ApplyRequest(device=None, when="then", in_place=in_place, unsafe_force=unsafe_force)
        with open_package(package) as (opened, _):
            self._trusted = verify_package(opened, policy(), at=AT)
        self._root = Simulation()
        self._taps: list[Fault] = []
        self._parent: Tap = nothing
        patch.setattr(supervisor, "run_child", self._run_child)
        patch.setattr(supervisor, "Root", self._opened)
        patch.setattr(confined, "Root", self._opened)
        patch.setattr(confined, "confine", lambda _descriptor: 0)
        patch.setattr(supervisor, "hold_stop_signals", lambda: None)

    def apply(self, root: Simulation, *children: Fault, parent: Fault | None = None) -> str:
        """Install with a parent and its children; return what the parent says at the end."""
        self._root, self._taps, self._parent = root, [*children], parent or nothing
        root.tap = self._parent

        def supervised(trusted: TrustedPackage, payload: Payload) -> object:
            return apply_package(trusted, payload, root.path, self._request, clock=lambda: 0.0)

        try:
            return self._said(supervised)
        finally:
            root.tap = nothing

    def alone(self, root: Simulation, fault: Tap = nothing) -> str:
        """Install without a parent that could say or do anything afterwards."""
        root.tap = fault

        def unsupervised(trusted: TrustedPackage, payload: Payload) -> object:
            return applying.apply(trusted, payload, root, self._request)

        try:
            return self._said(unsupervised)
        finally:
            root.tap = nothing

    def recover(self, root: Simulation, fault: Tap = nothing) -> str:
        """Recover; return what is said, or the state of the root."""
        root.tap = fault
        try:
            return self._said(lambda *_: recover_in(root), says=lambda: root_state(root)[0].value)
        finally:
            root.tap = nothing

    def record(self, root: Simulation) -> list[str]:
        """Return the digests of the packages in the record, the last one first."""
        return [one["package"] for one in installed(root)]

    @property
    def digest(self) -> str:
        return digest_of(self._trusted)

    def is_complete(self, root: Simulation) -> bool:
        """Whether a root says, before any recovery, that the package is installed and nothing left to do."""
        return root_state(root)[0] is RootState.CLEAN and self.record(root)[:1] == [self.digest]

    def _said(
        self,
        work: Callable[[TrustedPackage, Payload], object],
        *,
        says: Callable[[], str] = lambda: INSTALLED,
    ) -> str:
        try:
            with open_package(self._package) as (_, payload):
                work(self._trusted, payload)
            return says()
        except RefusedError:
            return REFUSED
        except UnsafeError:
            return UNSAFE
        except FailedError:
            return FAILED
        except OSError:
            return UNREADABLE
        except Killed:
            return KILLED

    def _run_child(
        self, work: Callable[[Parent], Document], hear: Tell, reply: Reply = unanswered
    ) -> Document:
        self._root.tap = self._taps.pop(0) if self._taps else nothing
        try:
            done: Document = json.loads(
                json.dumps(work(Parent(lambda told: hear(json.loads(json.dumps(told))), reply)))
            )
        except Killed as exc:
            raise ChildKilledError("the process that changes the root was ended by signal 9") from exc
        finally:
            self._root.tap = self._parent
        return done

    @contextmanager
    def _opened(self, _path: Path, *_: Any) -> Iterator[Simulation]:
        yield self._root
