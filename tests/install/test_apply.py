"""Applying packages: which way is taken, from whatever state a root is in, and what is remembered."""

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from spkg.cwmp.faults import transfer_fault
from spkg.device import Device
from spkg.errors import (
    NO_ROOM,
    FailedError,
    FormatError,
    RefusedError,
    UnsafeError,
    UntrustedError,
    UsageError,
)
from spkg.format.commands import (
    Add,
    End,
    Format,
    Move,
    MoveVersioned,
    Reboot,
    Record,
    Remove,
    RemoveSubTree,
    Role,
    UnknownCommand,
    Version,
)
from spkg.format.installation_state import InstallationState
from spkg.format.package import Package
from spkg.format.paths import RootPath, TreePath, VersionedPath
from spkg.format.states import state_after
from spkg.install import in_place as inplace
from spkg.install import plan as planning
from spkg.install.aftermath import aftermath
from spkg.install.applied import Applied, ApplyRequest
from spkg.install.apply import apply, preview
from spkg.install.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from spkg.install.heritage import NO_HERITAGE
from spkg.install.history import installed
from spkg.install.own_directory import working_in
from spkg.install.recovery import recover_in
from spkg.install.room import IN_PLACE_OVERHEAD
from spkg.install.root import Root
from spkg.install.status import root_state
from spkg.install.transaction import RecoveryOutcome, is_pending
from spkg.verify.payload import Payload, open_package
from spkg.verify.signatures import verify_package
from tests.support.kit import AT, CONTENTS, Draft, file, policy
from tests.support.namespaces import in_memory
from tests.support.planted_tree import OLD, plant, tree
from tests.support.sampling import PROOF

P = RootPath.of
UNSAFE: Final = 1
CUTS: Final = range(1, 300, 1 if PROOF else 3)
"""Before which changes the power is cut; all of them only in the proof."""
RECOVERY: Final = Role(role=2)
ANYHOW: Final = ApplyRequest(device=None, when="then")
IN_PLACE: Final = replace(ANYHOW, in_place=True)


class Cut(BaseException):
    """What a power cut is: nothing runs afterwards."""


def changing(*records: Record, version: str = "1") -> Draft:
    return Draft(records=(Version(text=version), *records, End()))


UPDATE: Final = changing(
    file("/bin/app"),
    file("/new/dir/f"),
    RemoveSubTree(path=TreePath.of("/www")),
    Move(source_path=P("/m"), destination_path=P("/www/m")),
    file("/last"),
)
NEW: Final = {
    "bin/app": CONTENTS,
    "keep": b"kept",
    "last": CONTENTS,
    "new/dir/f": CONTENTS,
    "www/m": b"moved",
}


def do(
    draft: Draft,
    directory: Path,
    request: ApplyRequest = ANYHOW,
    *,
    root_type: type[Root] = Root,
    how: Callable[..., Applied] = apply,
    **more: Any,
) -> Applied:
    """Apply a package that lies in a file."""
    package = directory.parent / "package.spkg"
    package.write_bytes(draft.encode())
    with open_package(package) as (opened, payload), root_type(directory) as root:
        trusted = verify_package(opened, policy(unsafe_allow_unsigned=True), at=AT)
        if how is aftermath:
            return how(trusted, root, request)
        return how(trusted, payload, root, request, **more)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Path]:
    """A directory where it costs nothing to make things last."""
    with in_memory(tmp_path) as made:
        yield made


@pytest.fixture
def place(desk: Path) -> Path:
    """A root with a few files."""
    directory = desk / "root"
    directory.mkdir()
    plant(directory)
    return directory


def test_a_package_is_installed_whole(place: Path) -> None:
    applied = do(UPDATE, place)

    assert tree(place) == NEW
    assert applied.recovered is RecoveryOutcome.NOTHING
    assert [(change["action"], change["path"]) for change in applied.changes] == [
        ("put", "/bin/app"),
        ("put", "/last"),
        ("make-directory", "/new"),
        ("make-directory", "/new/dir"),
        ("put", "/new/dir/f"),
        ("make-directory", "/www"),
        ("move", "/www/m"),
    ]
    assert sorted(path.name for path in (place / ".spkg").iterdir()) == ["installed"]


def test_what_was_installed_is_remembered_the_last_one_first(place: Path) -> None:
    do(UPDATE, place)
    do(changing(Remove(path=P("/keep")), version="2"), place, replace(ANYHOW, when="later"))

    with Root(place) as root:
        last, first = installed(root)
    assert {**last, "package": None} == {
        "package": None,
        "version": "2",
        "description": None,
        "signers": ["CN=Test Signer"],
        "time": "later",
        "changed": 1,
        "changes": [{"action": "delete", "path": "/keep", "kind": "file"}],
        "command_key": None,
        "boot_id": None,
    }
    assert (first["version"], first["time"], first["changed"], first["changes"]) == ("1", "then", 7, None)


def test_the_record_keeps_the_last_sixteen(place: Path) -> None:
    for number in range(18):
        do(changing(file("/n"), version=str(number)), place)

    with Root(place) as root:
        assert [one["version"] for one in installed(root)] == [str(number) for number in range(17, 1, -1)]


def test_a_dry_run_tells_the_same_and_changes_nothing(place: Path) -> None:
    planned = do(UPDATE, place, how=preview)

    assert tree(place) == OLD
    assert not (place / ".spkg").exists()
    assert planned.changes == do(UPDATE, place).changes


def test_the_last_package_changes_nothing_when_it_comes_again(place: Path) -> None:
    swap = changing(
        Move(source_path=P("/bin/app"), destination_path=P("/x")),
        Move(source_path=P("/keep"), destination_path=P("/bin/app")),
        Reboot(),
    )
    do(swap, place)
    once = tree(place)

    applied = do(swap, place)

    assert (applied.already, applied.changes, applied.reboot_required) == (True, (), True)
    assert do(swap, place, how=preview).already
    assert tree(place) == once
    assert not do(swap, place, replace(ANYHOW, again=True)).already
    assert tree(place) == {"m": b"moved", "www/a/b": b"b", "x": b"kept"}


def test_a_package_that_was_replaced_by_another_is_installed_anew(place: Path) -> None:
    do(changing(file("/a"), version="1"), place)
    do(changing(Remove(path=P("/a")), version="2"), place)

    assert not do(changing(file("/a"), version="1"), place).already
    assert tree(place)["a"] == CONTENTS


def test_two_installers_do_not_work_in_one_root(place: Path) -> None:
    with Root(place) as root, working_in(root), pytest.raises(RefusedError, match="another installation"):
        do(UPDATE, place)

    assert tree(place) == OLD


@pytest.mark.parametrize("kind", ["file", "link"])
def test_something_else_in_place_of_our_own_directory_is_refused(place: Path, kind: str) -> None:
    if kind == "file":
        (place / ".spkg").touch()
    else:
        (place / ".spkg").symlink_to("bin")

    with pytest.raises(RefusedError, match="the installer keeps its own files there"):
        do(UPDATE, place)
    assert tree(place) == OLD


def test_damaged_contents_change_nothing(place: Path) -> None:
    damaged = Draft(records=UPDATE.records, payload=CONTENTS[:-1] + b"?")

    for request, word in ((ANYHOW, UntrustedError), (IN_PLACE, UntrustedError)):
        with pytest.raises(word, match="do not match the signed SHA-1 digest"):
            do(damaged, place, request)
        assert tree(place) == OLD
        assert recover_root_of(place) == (RecoveryOutcome.NOTHING, "clean")


def test_damaged_contents_are_not_taken_for_what_is_installed(place: Path) -> None:
    do(UPDATE, place)
    damaged = Draft(records=UPDATE.records, payload=CONTENTS[:-1] + b"?")

    for how in (apply, preview):
        with pytest.raises(UntrustedError, match="do not match the signed SHA-1 digest"):
            do(damaged, place, how=how)


def recover_root_of(place: Path) -> tuple[RecoveryOutcome, str]:
    with Root(place) as root:
        outcome = recover_in(root).outcome
        return outcome, root_state(root)[0].value


def test_a_root_that_never_had_an_installation_is_clean_and_left_alone(place: Path) -> None:
    assert recover_root_of(place) == (RecoveryOutcome.NOTHING, "clean")
    assert not (place / ".spkg").exists()


class Stopping(Root):
    """A root in which everything stops at the change whose number is told."""

    stop_at = 0
    count = 0
    gone = False

    def _tick(self) -> None:
        cls = type(self)
        cls.count += 1
        if cls.gone or cls.count == cls.stop_at:
            cls.gone = True
            raise Cut

    def create(self, path: Any) -> Any:
        self._tick()
        return super().create(path)

    def mkdir(self, path: Any, mode: int, heritage: Any = NO_HERITAGE) -> None:
        self._tick()
        super().mkdir(path, mode, heritage)

    def rename(self, source: Any, destination: Any) -> None:
        self._tick()
        super().rename(source, destination)

    def link(self, source: Any, destination: Any) -> None:
        self._tick()
        super().link(source, destination)

    def unlink(self, path: Any) -> None:
        self._tick()
        super().unlink(path)

    def remove_tree(self, path: Any) -> None:
        self._tick()
        super().remove_tree(path)

    def sync_directory(self, path: Any) -> None:
        self._tick()
        super().sync_directory(path)

    def sync_all(self) -> None:
        self._tick()
        super().sync_all()


def cut(draft: Draft, place: Path, at: int, request: ApplyRequest) -> bool:
    """Apply, and cut the power before the change *at*; tell whether it came to that."""
    kind = type("Cutting", (Stopping,), {"stop_at": at, "count": 0, "gone": False})
    try:
        do(draft, place, request, root_type=kind)
    except Cut:
        return True
    return False


@pytest.mark.part("crash")
def test_a_root_that_was_cut_off_is_pending_until_it_is_recovered(desk: Path) -> None:
    seen: set[tuple[RecoveryOutcome, bool]] = set()
    for at in CUTS:
        place = desk / f"{at}" / "root"
        place.mkdir(parents=True)
        plant(place)
        if not cut(UPDATE, place, at, ANYHOW):
            break
        with Root(place) as root:
            state = root_state(root)[0].value
            if is_pending(root):
                assert state == "pending"
                with pytest.raises(RefusedError, match="an installation in this root was interrupted"):
                    do(UPDATE, place, how=preview)
        outcome, after = recover_root_of(place)
        assert after == "clean"
        assert (
            tree(place) == (NEW if outcome is RecoveryOutcome.DONE else OLD)
            or outcome is RecoveryOutcome.NOTHING
        )
        seen.add((outcome, tree(place) == NEW))
    else:
        pytest.fail("it never came to an end")

    assert seen == {
        (RecoveryOutcome.NOTHING, False),
        (RecoveryOutcome.DISCARDED, False),
        (RecoveryOutcome.DONE, True),
        (RecoveryOutcome.NOTHING, True),
    }


@pytest.mark.part("crash")
def test_applying_recovers_first(desk: Path) -> None:
    recovered: set[RecoveryOutcome] = set()
    for at in CUTS[::3]:
        place = desk / f"{at}" / "root"
        place.mkdir(parents=True)
        plant(place)
        if not cut(UPDATE, place, at, ANYHOW):
            break

        applied = do(changing(file("/other"), version="2"), place)

        recovered.add(applied.recovered)
        assert tree(place) in ({**OLD, "other": CONTENTS}, {**NEW, "other": CONTENTS})
    assert recovered == {RecoveryOutcome.NOTHING, RecoveryOutcome.DISCARDED, RecoveryOutcome.DONE}


@pytest.mark.part("crash")
def test_after_a_kill_it_is_known_whether_the_package_is_installed(desk: Path) -> None:
    told: set[str] = set()
    for at in CUTS[::3]:
        place = desk / f"{at}" / "root"
        place.mkdir(parents=True)
        plant(place)
        if not cut(UPDATE, place, at, ANYHOW):
            break

        try:
            applied = do(UPDATE, place, how=aftermath)
        except FailedError as exc:
            told.add(str(exc))
            assert tree(place) == OLD
        else:
            told.add(f"{len(applied.changes)} changes")
            assert tree(place) == NEW
    assert told == {"7 changes", "the process that changes the root was killed"}


# In place.

STEPS: Final = changing(
    file("/first"),
    Remove(path=P("/m")),
    file("/bin/app", flags=UNSAFE),
    file("/new/dir/f"),
    RemoveSubTree(path=TreePath.of("/www")),
    Move(source_path=P("/keep"), destination_path=P("/www/kept")),
)
STEPPED: Final = {"bin/app": CONTENTS, "first": CONTENTS, "new/dir/f": CONTENTS, "www/kept": b"kept"}


def checkpoint(place: Path) -> Checkpoint | None:
    with Root(place) as root:
        return load_checkpoint(root)


@pytest.mark.parametrize(
    ("record", "before", "after"),
    [
        (file("/a"), InstallationState.INITIAL, InstallationState.INITIAL),
        (file("/a", kind=Add), InstallationState.RECOVERABLE, InstallationState.RECOVERABLE),
        (file("/a", flags=UNSAFE), InstallationState.INITIAL, InstallationState.UNRECOVERABLE),
        (Remove(path=P("/a")), InstallationState.INITIAL, InstallationState.RECOVERABLE),
        (Remove(path=P("/a")), InstallationState.RECOVERABLE, InstallationState.RECOVERABLE),
        (Remove(path=P("/a")), InstallationState.UNRECOVERABLE, InstallationState.UNRECOVERABLE),
        (Remove(path=P("/a"), flags=UNSAFE), InstallationState.INITIAL, InstallationState.UNRECOVERABLE),
        (Remove(path=P("/a"), flags=2), InstallationState.INITIAL, InstallationState.RECOVERABLE),
        (
            Move(source_path=P("/a"), destination_path=P("/b")),
            InstallationState.INITIAL,
            InstallationState.INITIAL,
        ),
        (
            Move(source_path=P("/a"), destination_path=P("/b"), flags=UNSAFE),
            InstallationState.INITIAL,
            InstallationState.UNRECOVERABLE,
        ),
        (Format(), InstallationState.INITIAL, InstallationState.UNRECOVERABLE),
        (Reboot(), InstallationState.RECOVERABLE, InstallationState.RECOVERABLE),
        (
            UnknownCommand(number=1000, value=b"\0\0\0\1"),
            InstallationState.INITIAL,
            InstallationState.INITIAL,
        ),
    ],
)
def test_the_states_are_those_of_figure_9(
    record: Record, before: InstallationState, after: InstallationState
) -> None:
    assert state_after(before, record) is after


def test_in_place_the_tree_is_the_same(place: Path) -> None:
    applied = do(STEPS, place, IN_PLACE)

    assert tree(place) == STEPPED
    assert len(applied.changes) == 8
    assert checkpoint(place) is None
    assert sorted(path.name for path in (place / ".spkg").iterdir()) == ["installed"]


def test_in_place_wants_a_file(place: Path) -> None:
    octets = STEPS.encode()
    stream = io.BytesIO(octets)
    package = Package.read(stream)
    payload = Payload(stream, offset=package.payload_offset, length=len(CONTENTS))

    with Root(place) as root, pytest.raises(UsageError, match="--in-place needs the package in a file"):
        apply(verify_package(package, policy(), at=AT), payload, root, IN_PLACE)


@pytest.mark.part("crash")
def test_in_place_each_cut_leaves_the_truth_on_disk_and_the_same_package_goes_on(desk: Path) -> None:
    states: list[str] = []
    for at in CUTS:
        place = desk / f"{at}" / "root"
        place.mkdir(parents=True)
        plant(place)
        if not cut(STEPS, place, at, IN_PLACE):
            break
        found = checkpoint(place)
        now = tree(place)
        # Never milder than the truth: what is changed tells the least state that the root is in.
        if now.get("bin/app") != b"old":
            assert found is None or found.state is InstallationState.UNRECOVERABLE
        if "m" not in now and now != STEPPED:
            assert found is not None
            assert found.state is not InstallationState.INITIAL
        if now not in (OLD, STEPPED):
            assert found is not None
        with Root(place) as root:
            states.append(root_state(root)[0].value)
        if found is not None:
            with pytest.raises(RefusedError):
                do(changing(file("/x"), version="2"), place)
            with pytest.raises(RefusedError, match="was started in place"):
                do(STEPS, place)

        do(STEPS, place, IN_PLACE)

        assert tree(place) == STEPPED
        assert checkpoint(place) is None
    else:
        pytest.fail("it never came to an end")
    assert set(states) == {"clean", "pending", "unsafe"}


@pytest.mark.part("crash")
def test_in_place_a_move_is_not_done_twice(desk: Path) -> None:
    moving = changing(
        Move(source_path=P("/a"), destination_path=P("/b")),
        Move(source_path=P("/c"), destination_path=P("/a")),
        MoveVersioned(source_path=VersionedPath.of("/v.001"), destination_path=VersionedPath.of("/v.002")),
    )
    before = {"a": b"a", "b": b"b", "c": b"c", "v.001": b"1", "v.002": b"2", "v.xyz": b"x"}
    for at in CUTS:
        place = desk / f"{at}" / "root"
        place.mkdir(parents=True)
        plant(place, before)
        if not cut(moving, place, at, IN_PLACE):
            break

        do(moving, place, IN_PLACE)

        assert tree(place) == {"a": b"c", "b": b"a", "v.002": b"1"}
    else:
        pytest.fail("it never came to an end")


def test_in_place_two_names_of_one_file_become_one(place: Path) -> None:
    os.link(place / "m", place / "n")

    do(changing(Move(source_path=P("/m"), destination_path=P("/n"))), place, IN_PLACE)

    assert tree(place) == {**{path: OLD[path] for path in OLD if path != "m"}, "n": b"moved"}


@contextmanager
def failing_at(number: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have the command of a number fail, as where a disk is full."""
    real = planning.plan_command

    def plan_command(trusted: Any, device: Any, looked: Any, command: Any) -> Any:
        if command.index == number:
            raise OSError(28, "No space left on device", "/somewhere")
        return real(trusted, device, looked, command)

    with monkeypatch.context() as patch:
        patch.setattr(inplace, "plan_command", plan_command)
        yield


@pytest.mark.parametrize(
    ("index", "state"), [(1, InstallationState.INITIAL), (2, InstallationState.RECOVERABLE)]
)
def test_in_place_a_failure_leaves_the_root_usable_and_partial(
    place: Path, monkeypatch: pytest.MonkeyPatch, index: int, state: InstallationState
) -> None:
    with failing_at(index, monkeypatch), pytest.raises(FailedError, match="no space left on") as caught:
        do(STEPS, place, IN_PLACE)

    assert (caught.value.reason, transfer_fault(caught.value)) == (NO_ROOM, 9010)

    found = checkpoint(place)
    assert found is not None
    assert (found.command, found.state, found.failed) == (index, state, True)
    with Root(place) as root:
        assert root_state(root)[0].value == "partial"
        assert recover_in(root).outcome is RecoveryOutcome.NOTHING
    # The same one goes on, and any other one is taken as well.
    do(STEPS, place, IN_PLACE)
    assert tree(place) == STEPPED


def test_in_place_a_record_that_can_not_be_written_is_no_failure_of_a_command(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> bytes:
        raise OSError(28, "No space left on device", "/.spkg/part")

    package = changing(file("/x"), file("/y"))
    with monkeypatch.context() as patch:
        patch.setattr(inplace, "record_with", full)
        with pytest.raises(FailedError, match="no space left on") as caught:
            do(package, place, IN_PLACE)

    assert (caught.value.field, caught.value.offset) == (None, None)
    with Root(place) as root:
        assert root_state(root)[0].value == "partial"
    do(package, place, IN_PLACE)
    with Root(place) as root:
        assert root_state(root)[0].value == "clean"


def test_in_place_after_a_failure_another_package_is_taken(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with failing_at(2, monkeypatch), pytest.raises(FailedError):
        do(STEPS, place, IN_PLACE)

    do(changing(file("/other"), version="2"), place)

    assert checkpoint(place) is None
    assert "other" in tree(place)


def test_in_place_a_failure_in_the_unrecoverable_state_wants_recovery(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with failing_at(4, monkeypatch), pytest.raises(UnsafeError, match="no space left on device") as caught:
        do(STEPS, place, IN_PLACE)

    assert transfer_fault(caught.value) == 9002

    with Root(place) as root:
        assert root_state(root)[0].value == "unsafe"
    for draft in (STEPS, changing(file("/other"), version="2")):
        for request in (ANYHOW, IN_PLACE):
            with pytest.raises(RefusedError, match="accepts only a package with the role software-recovery"):
                do(draft, place, request)
    do(changing(RECOVERY, Format(), file("/rescued"), version="3"), place)
    assert tree(place) == {"rescued": CONTENTS}
    with Root(place) as root:
        assert root_state(root)[0].value == "clean"


@pytest.mark.part("crash")
def test_in_place_a_recovery_leaves_the_root_unsafe_until_it_is_through(desk: Path) -> None:
    rescue = changing(RECOVERY, file("/a"), file("/b"), version="3")
    for at in CUTS:
        place = desk / f"{at}" / "root"
        place.mkdir(parents=True)
        plant(place)
        with Root(place) as root, working_in(root):
            unsafe = Checkpoint(package="0", command=3, state=InstallationState.UNRECOVERABLE, failed=True)
            save_checkpoint(root, unsafe)
        if not cut(rescue, place, at, IN_PLACE):
            break
        with Root(place) as root:
            assert root_state(root)[0].value == "unsafe" or {"a", "b"} <= tree(place).keys()
        do(rescue, place, IN_PLACE)
        assert tree(place) == {**OLD, "a": CONTENTS, "b": CONTENTS}
    else:
        pytest.fail("it never came to an end")


@pytest.mark.parametrize(("roles", "taken"), [((), False), ((1, 2), False), ((2, 2), True)])
def test_a_recovery_has_no_other_role(place: Path, roles: tuple[int, ...], *, taken: bool) -> None:
    with Root(place) as root, working_in(root):
        save_checkpoint(
            root, Checkpoint(package="0", command=3, state=InstallationState.UNRECOVERABLE, failed=True)
        )
    rescue = changing(*(Role(role=role) for role in roles), file("/a"))

    if taken:
        do(rescue, place)
    else:
        with pytest.raises(RefusedError, match="accepts only a package with the role software-recovery"):
            do(rescue, place)

    assert ("a" in tree(place)) == taken


def test_force_takes_any_package_for_an_unsafe_root(place: Path) -> None:
    with Root(place) as root, working_in(root):
        save_checkpoint(
            root, Checkpoint(package="0", command=3, state=InstallationState.UNRECOVERABLE, failed=True)
        )

    do(UPDATE, place, replace(ANYHOW, unsafe_force=True))

    assert tree(place) == NEW
    assert checkpoint(place) is None


@pytest.mark.parametrize("octets", [b"", b"{}", b"[]", b'{"package": 1, "command": "x"}', b"\xff"])
def test_a_damaged_checkpoint_is_taken_for_the_worst(place: Path, octets: bytes) -> None:
    with Root(place) as root, working_in(root):
        pass
    (place / ".spkg/checkpoint").write_bytes(octets)

    with pytest.raises(RefusedError, match="accepts only a package with the role software-recovery"):
        do(UPDATE, place)
    assert tree(place) == OLD
    with Root(place) as root:
        assert root_state(root)[0].value == "unsafe"
    do(changing(RECOVERY, file("/rescued"), version="3"), place)
    with Root(place) as root:
        assert root_state(root)[0].value == "clean"


def test_what_was_installed_before_is_not_taken_for_what_was_killed(place: Path) -> None:
    do(UPDATE, place)

    with pytest.raises(FailedError, match="was killed"):
        do(UPDATE, place, replace(ANYHOW, again=True, when="later"), how=aftermath)


def test_force_takes_the_package_that_failed_too(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with failing_at(4, monkeypatch), pytest.raises(UnsafeError):
        do(STEPS, place, IN_PLACE)

    do(STEPS, place, replace(ANYHOW, unsafe_force=True))

    assert checkpoint(place) is None


def test_in_place_a_file_that_does_not_fit_at_its_time_is_refused_before_anything(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = os.statvfs(place)
    block = room.f_frsize
    full = os.statvfs_result((*room[:4], 1 + IN_PLACE_OVERHEAD, *room[5:]))
    monkeypatch.setattr(Root, "space", lambda _: full)

    problem = rf"command\[2\]: {block} bytes are needed, 0 are free"
    with pytest.raises(RefusedError, match=problem) as caught:
        do(changing(file("/x"), file("/y")), place, IN_PLACE)
    assert (caught.value.reason, transfer_fault(caught.value)) == (NO_ROOM, 9010)
    plant(place, {"big": bytes(block)})
    do(changing(Remove(path=P("/big")), file("/x"), file("/y")), place, IN_PLACE)
    assert {"x", "y"} <= tree(place).keys()


def test_the_roles_of_a_package_are_told_also_where_it_is_installed_already(place: Path) -> None:
    every = (Role(role=2), Role(role=1), Role(role=0xFF00D09E, arguments=b"x"))
    package = changing(*every, file("/a"))
    vendors = ApplyRequest(device=Device(roles=frozenset({1, 2, 0xFF00D09E})), when="then")
    done = [do(package, place, vendors) for _ in range(2)]

    assert [one.already for one in done] == [False, True]
    assert {one.roles for one in done} == {("software-recovery", "software-upgrade", "vendor")}


def test_what_is_not_known_is_told(place: Path) -> None:
    applied = do(changing(UnknownCommand(number=1000, value=b""), file("/a")), place)

    assert applied.skipped_unknown == ({"index": 1, "type": 1000},)
    with pytest.raises(RefusedError, match="unknown command type 1000"):
        do(
            changing(UnknownCommand(number=1000, value=b""), file("/b")),
            place,
            replace(ANYHOW, refuse_unknown=True),
        )


def test_a_payload_that_is_cut_off_changes_nothing(place: Path) -> None:
    octets = UPDATE.encode()
    stream = io.BytesIO(octets[:-1])
    package = Package.read(stream)
    payload = Payload(stream, offset=package.payload_offset, length=len(CONTENTS))

    with Root(place) as root, pytest.raises(FormatError, match="1 of 21 bytes are missing"):
        apply(verify_package(package, policy(), at=AT), payload, root, ANYHOW)

    assert tree(place) == OLD
    assert recover_root_of(place) == (RecoveryOutcome.NOTHING, "clean")


def test_the_digest_that_counts_is_that_of_the_octets_that_land(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Payload.read_range

    def read_range(payload: Payload, wanted: Any) -> Iterator[memoryview]:
        for octets in real(payload, wanted):
            yield memoryview(bytes(octets).replace(b"hello", b"HELLO"))

    monkeypatch.setattr(Payload, "read_range", read_range)

    with pytest.raises(FailedError, match="/first: contents do not match the signed SHA-1 digest"):
        do(STEPS, place, IN_PLACE)
    assert tree(place) == OLD
