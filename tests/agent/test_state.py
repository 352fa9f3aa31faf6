"""What the agent keeps: whole transactions, nothing where nothing changes, and no file that keeps it out."""

import os
import sqlite3
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from spkg.agent.records import Attribute, Intent, ParameterTrial, ScheduledInform, Transfer
from spkg.agent.state import FACT_BOOT, FACT_PARAMETER_KEY, AgentState
from spkg.cwmp.events import Event
from spkg.errors import NO_ROOM, HostError
from tests.support.restrictions import at_most

BOOTSTRAP = Event("0 BOOTSTRAP")
BOOT = Event("1 BOOT")
REBOOTED = Event("M Reboot", "key 1  with  spaces")
DOWNLOAD = Transfer(
    direction="Download",
    arguments={"URL": "http://192.0.2.1/p", "FileSize": 7},
    due_wall=10.5,
    due_boot=3,
    boot_id="a",
)
TRIAL = ParameterTrial(before={"M.URL": None, "M.Password": "x"}, delay=600, since_boot=5.5, boot_id="a")
INTENT = Intent(
    values={"L.A": "1", "L.B": "é\n"},
    before={"L.A": "0"},
    built_in={"D.C": "TLCO"},
    added="L.T.8.",
    deleted="L.T.7.",
    parameter_key="k",
    local=True,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "agent" / "state.db"


def fill(state: AgentState) -> Transfer:
    with state.change() as change:
        change.fact(FACT_PARAMETER_KEY, "k")
        change.add_event(REBOOTED)
        change.add_event(BOOTSTRAP)
        kept = change.put_transfer(DOWNLOAD)
        change.schedule_inform(ScheduledInform(command_key="s", due_boot=9, boot_id="a"))
        change.set_value("D.C", "TLCO")
        change.set_attribute("D.C", Attribute(notification=2, access=()))
        change.set_next_instance("L.T.", 9)
        change.tell("D.C", "TLCO")
        change.set_intent(INTENT)
        change.set_trial(TRIAL)
    return kept


def test_everything_is_found_again(path: Path) -> None:
    with AgentState(path) as state:
        kept = fill(state)

    with AgentState(path) as again:
        assert again.set_aside is None
        assert again.fact(FACT_PARAMETER_KEY) == "k"
        assert again.fact(FACT_BOOT) is None
        assert again.events() == (REBOOTED, BOOTSTRAP)
        assert again.transfers() == (kept,) == (replace(DOWNLOAD, id=1),)
        assert again.schedule() == (ScheduledInform(id=1, command_key="s", due_boot=9, boot_id="a"),)
        assert again.values() == {"D.C": "TLCO"}
        assert again.value("D.C") == "TLCO"
        assert again.attributes() == {"D.C": Attribute(notification=2, access=())}
        assert again.instances() == {"L.T.": 9}
        assert again.told() == {"D.C": "TLCO"}
        assert again.intent() == INTENT
        assert again.trial() == TRIAL


def test_the_file_is_for_its_owner_alone(path: Path) -> None:
    before = os.umask(0)
    try:
        AgentState(path).close()
    finally:
        os.umask(before)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_what_others_may_read_is_closed_to_them(path: Path) -> None:
    AgentState(path).close()
    path.chmod(0o644)

    AgentState(path).close()

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_change_of_nothing_is_not_written(path: Path) -> None:
    with AgentState(path) as state:
        fill(state)
        before = path.stat().st_mtime_ns

        with state.change() as change:
            change.fact(FACT_PARAMETER_KEY, "k")
            change.add_event(REBOOTED)
            change.put_transfer(replace(DOWNLOAD, id=1))
            change.set_value("D.C", "TLCO")
            change.set_attribute("X", Attribute())
            change.tell("Y", None)
            change.set_intent(INTENT)
            change.set_trial(TRIAL)
            change.drop_events([BOOT])
            change.drop_transfer(5)
            change.drop_scheduled(5)

        assert state.commits == 1
        assert path.stat().st_mtime_ns == before


def test_each_change_is_one_transaction(path: Path) -> None:
    with AgentState(path) as state:
        for number in range(3):
            with state.change() as change:
                change.fact("a", str(number))
                change.tell("b", str(number))

        assert state.commits == 3


def change_and_fail(state: AgentState) -> None:
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 - what is changed before it raises is the point
        with state.change() as change:
            change.fact("a", "1")
            raise ZeroDivisionError


def test_a_change_that_raises_leaves_all_as_it_was(path: Path) -> None:
    with AgentState(path) as state:
        change_and_fail(state)

        assert state.fact("a") is None
        assert state.commits == 0
        with state.change() as change:
            change.fact("b", "2")
    with AgentState(path) as again:
        assert (again.fact("a"), again.fact("b")) == (None, "2")


def test_nothing_is_seen_before_the_end_of_a_change(path: Path) -> None:
    with AgentState(path) as state:
        with state.change() as change:
            change.fact("a", "1")
            assert state.fact("a") is None
        assert state.fact("a") == "1"


def test_a_change_within_another_is_a_defect(path: Path) -> None:
    with AgentState(path) as state, state.change():
        with pytest.raises(RuntimeError, match="within another"):
            with state.change():
                pass


def test_an_event_is_kept_once_and_goes_with_its_session(path: Path) -> None:
    with AgentState(path) as state:
        for _ in range(2):
            with state.change() as change:
                change.add_event(BOOT)
                change.add_event(BOOT)
                change.add_event(REBOOTED)
        assert state.events() == (BOOT, REBOOTED)
        assert state.commits == 1

        with state.change() as change:
            change.drop_events([BOOT])
            change.add_event(BOOTSTRAP)

        assert state.events() == (REBOOTED, BOOTSTRAP)


def test_numbers_are_never_given_twice(path: Path) -> None:
    with AgentState(path) as state:
        with state.change() as change:
            first = change.put_transfer(DOWNLOAD)
            second = change.put_transfer(DOWNLOAD)
            change.schedule_inform(ScheduledInform(command_key="a"))
        with state.change() as change:
            change.drop_transfer(first.id)
            change.drop_transfer(second.id)
            change.drop_scheduled(1)
            change.forget_everything()
    with AgentState(path) as again:
        with again.change() as change:
            third = change.put_transfer(DOWNLOAD)
            scheduled = change.schedule_inform(ScheduledInform(command_key="a"))

    assert (first.id, second.id, third.id, scheduled.id) == (1, 2, 3, 2)


def test_what_is_below_a_deleted_object_is_forgotten(path: Path) -> None:
    with AgentState(path) as state:
        with state.change() as change:
            for name in ("T.1.", "T.10.", "T.2."):
                change.set_value(f"{name}A", "1")
                change.tell(f"{name}A", "1")
                change.set_attribute(f"{name}A", Attribute(notification=1))
                change.set_next_instance(f"{name}B.", 4)

        with state.change() as change:
            change.forget_below("T.1.")

        assert [*state.values()] == [*state.told()] == [*state.attributes()] == ["T.10.A", "T.2.A"]
        assert [*state.instances()] == ["T.10.B.", "T.2.B."]


def test_r20_a_factory_reset_forgets_all_but_what_is_named(path: Path) -> None:
    with AgentState(path) as state:
        fill(state)
        with state.change() as change:
            change.fact(FACT_BOOT, "a")

        with state.change() as change:
            change.forget_everything(FACT_BOOT)

        assert state.fact(FACT_BOOT) == "a"
        assert state.fact(FACT_PARAMETER_KEY) is None
        assert (state.events(), state.transfers(), state.schedule()) == ((), (), ())
        assert (state.values(), state.attributes(), state.instances(), state.told()) == ({}, {}, {}, {})
        assert (state.intent(), state.trial()) == (None, None)


def test_a_trial_begins_again_after_another_boot() -> None:
    assert TRIAL.due("a") == 605.5
    assert TRIAL.due("b") == 600


def damage_begin(path: Path) -> None:
    path.write_bytes(b"no database at all, and long enough to be looked at" * 100)


def damage_inside(path: Path) -> None:
    octets = bytearray(path.read_bytes())
    octets[4096:] = bytes(index * 7 % 251 for index in range(len(octets) - 4096))
    path.write_bytes(octets)


def of_another_program(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE other (a)")
    database.close()


def of_a_later_version(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 2")
    database.close()


def sql(*statements: str) -> Callable[[Path], None]:
    def run(path: Path) -> None:
        with sqlite3.connect(path) as database:
            for statement in statements:
                database.execute(statement)
        database.close()

    return run


def a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("elsewhere")


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    "damage",
    [
        damage_begin,
        damage_inside,
        of_another_program,
        of_a_later_version,
        sql("DROP TABLE told"),
        sql("DROP TABLE told", "CREATE TABLE told (a, b, c)", "INSERT INTO told VALUES (1, 2, 3)"),
        sql("UPDATE fact SET value = 5"),
        sql("UPDATE event SET position = 'x'"),
        sql("UPDATE transfer SET arguments = '[]'"),
        sql("UPDATE transfer SET direction = 'Sideways'"),
        sql("UPDATE transfer SET state = 4"),
        sql("UPDATE transfer SET due_wall = 'soon'"),
        sql("UPDATE transfer SET result = '{'"),
        sql("UPDATE schedule SET command_key = 1"),
        sql("UPDATE attribute SET notification = 3"),
        sql("UPDATE attribute SET access = '5'"),
        sql("UPDATE intent SET kind = 'else'"),
        sql("UPDATE intent SET value = x'00'"),
        sql("UPDATE intent SET position = 'x' WHERE position = 1"),
        sql("UPDATE trial SET delay = 'long'"),
        sql("UPDATE fact SET value = 'many' WHERE name = 'transfer-number'"),
        a_directory,
        a_link,
        a_pipe,
    ],
)
def test_p24_a_file_that_cannot_be_read_never_keeps_the_agent_from_starting(
    path: Path, damage: Callable[[Path], None]
) -> None:
    with AgentState(path) as state:
        fill(state)
    damage(path)

    for _ in range(2):
        with AgentState(path) as state:
            aside, found = state.set_aside, state.events()
        assert found == ()
        if aside is not None:
            assert aside == path.with_name("state.db.damaged")
            assert os.path.lexists(aside)
        else:
            break
    else:
        pytest.fail("the new file was moved aside, too")


def test_of_damaged_files_the_last_one_stays(path: Path) -> None:
    for text in (b"first" * 1000, b"second" * 1000):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text)
        AgentState(path).close()

    assert sorted(one.name for one in path.parent.iterdir()) == ["state.db", "state.db.damaged"]
    assert path.with_name("state.db.damaged").read_bytes() == b"second" * 1000


def test_a_directory_in_the_way_of_a_damaged_file_is_left_alone(path: Path) -> None:
    (path.with_name("state.db.damaged") / "full").mkdir(parents=True)
    path.write_bytes(b"damaged" * 1000)

    with AgentState(path) as state:
        assert state.set_aside == path.with_name("state.db.damaged-1")

    assert path.with_name("state.db.damaged-1").read_bytes() == b"damaged" * 1000


def test_a_journal_of_a_damaged_file_is_not_taken_for_that_of_the_new_one(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"damaged" * 1000)
    path.with_name("state.db-journal").write_bytes(b"junk" * 1000)

    AgentState(path).close()

    assert not path.with_name("state.db-journal").exists()


def test_a_directory_that_cannot_be_made_is_no_damage(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(HostError) as caught:
        AgentState(tmp_path / "file" / "state.db")

    assert str(caught.value) == f"{tmp_path / 'file'}: not a directory"
    assert (tmp_path / "file").exists()


def in_use(path: Path) -> str:
    return f"{path} is in use by another process: is an agent running?"


def test_a_file_that_another_process_writes_is_no_damage(path: Path) -> None:
    AgentState(path).close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")

    with pytest.raises(HostError) as caught:
        AgentState(path, patience=0)

    other.close()
    assert str(caught.value) == in_use(path)
    assert path.exists()


def test_a_second_agent_does_not_come_to_write(path: Path) -> None:
    with AgentState(path) as state:
        with state.change() as change:
            change.fact("a", "first")
        with pytest.raises(HostError) as caught:
            AgentState(path, patience=0)
    assert str(caught.value) == in_use(path)

    with AgentState(path, patience=0) as again:
        assert again.fact("a") == "first"


def test_what_is_written_stays_in_one_file(path: Path) -> None:
    """The log beside it is copied into it while there is nothing else to do, and at the end."""
    log = path.with_name("state.db-wal")
    with AgentState(path) as state:
        for number in range(200):
            with state.change() as change:
                change.fact("a", str(number))
            state.tidy()
        assert 0 < log.stat().st_size < 1 << 18
        assert not path.with_name("state.db-shm").exists()
    assert [one.name for one in path.parent.iterdir()] == ["state.db"]


def test_a_state_of_before_the_log_is_read(path: Path) -> None:
    with AgentState(path) as state:
        fill(state)
    sql("PRAGMA journal_mode = DELETE")(path)

    with AgentState(path) as again:
        assert again.events() == (REBOOTED, BOOTSTRAP)
        with again.change() as change:
            change.fact("a", "1")
        assert path.with_name("state.db-wal").exists()


def test_what_was_written_last_is_found_again_after_a_kill_and_a_torn_end_is_not(path: Path) -> None:
    copied = path.with_name("copied")
    with AgentState(path) as state:
        for value in ("1", "2", "3"):
            with state.change() as change:
                change.fact("a", value)
        copied.mkdir()
        # As they are when the process is killed.
        file, log = (path.with_name(one).read_bytes() for one in ("state.db", "state.db-wal"))

    for octets, value in (
        (log, "3"),
        (log[:-1], "2"),
        (log[:-1] + b"\xff", "2"),
        (log + b"junk" * 2000, "3"),
    ):
        (copied / "state.db").write_bytes(file)
        (copied / "state.db-wal").write_bytes(octets)
        with AgentState(copied / "state.db") as again:
            assert (again.set_aside, again.fact("a")) == (None, value)


def test_a_full_disk_changes_nothing(path: Path) -> None:
    with AgentState(path) as state:
        fill(state)
        with at_most(path.stat().st_size):
            with pytest.raises(HostError) as caught:
                with state.change() as change:
                    change.fact("large", "x" * 100_000)
        assert caught.value.reason in {NO_ROOM, "error"}
        assert state.fact("large") is None

        with state.change() as change:
            change.fact("small", "x")

    with AgentState(path) as again:
        assert (again.fact("large"), again.fact("small")) == (None, "x")


def test_in_memory_nothing_is_left(tmp_path: Path) -> None:
    with AgentState(None) as state:
        kept = fill(state)
        assert state.transfers() == (kept,)

    assert [*tmp_path.iterdir()] == []
