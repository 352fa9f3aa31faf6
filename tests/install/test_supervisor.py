"""What a Python program that installs a package gets: a confined child, its aftermath, a recovery command."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep
from typing import Any, NoReturn

import pytest

import spkg
from spkg.errors import FailedError, RefusedError, UnsafeError
from spkg.format.commands import End, Remove, Version
from spkg.format.installation_state import InstallationState
from spkg.format.paths import RootPath
from spkg.install.checkpoint import Checkpoint, save_checkpoint
from spkg.install.own_directory import working_in
from spkg.install.root import Root
from spkg.verify.payload import Payload
from spkg.verify.signatures import TrustedPackage
from tests.support.kit import AT, CONTENTS, Draft, file, policy
from tests.support.planted_tree import plant, tree

LARGE = bytes(8 << 20)
LOOKS = 5
"""How often a stalling clock goes on."""
STALLED = 60
"""Seconds after which an installation that nothing interrupts would go on."""
PACKAGE = Draft(records=(Version(text="2"), file("/bin/app"), Remove(path=RootPath.of("/keep")), End()))
OLD = {"bin/app": b"old", "keep": b"kept"}
NEW = {"bin/app": CONTENTS}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    plant(tmp_path / "root", OLD)
    return tmp_path


@contextmanager
def opened(draft: Draft, place: Path) -> Iterator[tuple[TrustedPackage, Payload]]:
    (place / "p.spkg").write_bytes(draft.encode())
    with spkg.open_source(str(place / "p.spkg"), clock=monotonic) as (package, payload):
        yield spkg.verify_package(package, policy(), at=AT), payload


def install(draft: Draft, place: Path, device: spkg.Device | None = None, **settings: Any) -> spkg.Applied:
    request = spkg.ApplyRequest(device=device, when="then")
    with opened(draft, place) as (trusted, payload):
        return spkg.apply_package(
            trusted, payload, place / "root", request, **{"clock": monotonic, **settings}
        )


def recovering(place: Path) -> spkg.Device:
    """Return a device whose recovery command shows that it ran, and what it found in its environment."""
    return spkg.Device(recovery_command=("sh", "-c", f"env > {place}/recovered"))


def unsafe(*_: object, **__: object) -> NoReturn:
    raise UnsafeError("it can neither be made nor taken back")


def test_a_program_gets_a_confined_child_and_a_result(place: Path) -> None:
    heard: list[object] = []

    done = install(PACKAGE, place, hear=heard.append, clock=lambda: 0.0)

    assert tree(place / "root") == NEW
    assert done.confined is not None
    assert [change["path"] for change in done.changes] == ["/bin/app", "/keep"]
    assert heard == [spkg.Advance(octets=len(CONTENTS), standing=None)]
    assert spkg.root_status(place / "root").installed[0].version == "2"


def test_a_program_can_look_first(place: Path) -> None:
    with opened(PACKAGE, place) as (trusted, payload):
        found = spkg.preview_package(trusted, payload, place / "root", spkg.ApplyRequest(device=None))

    assert tree(place / "root") == OLD
    assert (found.confined, len(found.changes)) == (None, 2)


def test_a_refusal_comes_out_of_the_child_whole(place: Path) -> None:
    with pytest.raises(RefusedError) as caught:
        install(replace(PACKAGE, records=(file("/keep/below"), End())), place)

    assert tree(place / "root") == OLD
    assert "/keep" in str(caught.value)


def test_the_recovery_command_runs_with_a_path_and_nothing_else(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    monkeypatch.setattr("spkg.install.apply.apply", unsafe)

    with pytest.raises(UnsafeError):
        install(PACKAGE, place, recovering(place))

    found = dict(line.split("=", 1) for line in (place / "recovered").read_text().splitlines())
    assert "PATH" in found
    assert "SECRET" not in found


@pytest.mark.parametrize("broken", ["hear", "settled"])
@pytest.mark.parametrize("kind", [BrokenPipeError, KeyboardInterrupt])
def test_the_recovery_command_runs_whatever_the_caller_raises(
    broken: str, kind: type[BaseException], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaking(*_: object) -> NoReturn:
        raise kind("nobody listens")

    monkeypatch.setattr("spkg.install.apply.apply", unsafe)

    with pytest.raises(UnsafeError) as caught:
        install(PACKAGE, place, recovering(place), **{broken: breaking})

    assert (place / "recovered").exists()
    assert caught.value.__notes__[0] == f"meanwhile: {kind('nobody listens')!r}"


def killed(*_: object, **__: object) -> NoReturn:
    os._exit(9)


def test_the_recovery_command_runs_also_if_the_recovering_child_is_killed(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unrecoverable = Checkpoint(package="ab" * 32, command=3, state=InstallationState.UNRECOVERABLE)
    with Root(place / "root") as opened, working_in(opened):
        save_checkpoint(opened, unrecoverable)
    monkeypatch.setattr("spkg.install.apply.apply", killed)
    monkeypatch.setattr("spkg.install.aftermath.aftermath", killed)

    with pytest.raises(UnsafeError, match="twice"):
        install(PACKAGE, place, recovering(place))

    assert (place / "recovered").exists()


def test_where_nobody_can_recover_it_is_unknown_what_is_left(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object, **__: object) -> NoReturn:
        raise OSError(5, "Input/output error", "/.spkg")

    monkeypatch.setattr("spkg.install.apply.apply", killed)
    monkeypatch.setattr("spkg.install.aftermath.aftermath", gone)

    with pytest.raises(UnsafeError) as caught:
        install(PACKAGE, place, recovering(place))

    assert str(caught.value) == "it is unknown what is left to do: /.spkg: input/output error"
    assert caught.value.hint == "run 'spkg recover' to try again"
    assert (place / "recovered").exists()


def test_everything_is_let_go_before_the_recovery_command(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spkg.install.apply.apply", unsafe)
    before: list[bool] = []

    with pytest.raises(UnsafeError):
        install(
            PACKAGE, place, recovering(place), settled=lambda: before.append((place / "recovered").exists())
        )

    assert before == [False]
    assert (place / "recovered").exists()


def test_a_killed_child_is_settled_also_if_the_caller_raises(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaking(event: object) -> None:
        if isinstance(event, spkg.Note):
            raise BrokenPipeError

    settled: list[None] = []
    monkeypatch.setattr("spkg.install.apply.apply", killed)

    with pytest.raises(FailedError, match="was ended by status 9"):
        install(PACKAGE, place, hear=breaking, settled=lambda: settled.append(None))

    assert tree(place / "root") == OLD
    assert spkg.root_status(place / "root").state is spkg.RootState.CLEAN


def test_an_interrupted_program_leaves_the_root_clean(place: Path) -> None:
    large = Draft(records=(file("/bin/app", LARGE), End()), payload=LARGE)

    def interrupt(_event: object) -> NoReturn:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        install(large, place, hear=interrupt, clock=Stalling())

    assert tree(place / "root") == OLD
    assert spkg.root_status(place / "root").state is spkg.RootState.CLEAN


class Stalling:
    """A clock on which each look is a second later, so that every piece is reported; then nothing goes on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        if self.now > LOOKS:
            sleep(STALLED)
        return self.now
