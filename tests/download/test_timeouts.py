"""The clocks of a download, held against a table that was written from the text of E.4.7 alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spkg.download.timeouts import Deadline, Timeouts, Watch
from spkg.format.commands import (
    Add,
    AddVersioned,
    End,
    Extract,
    ExtractVersioned,
    Format,
    InitialActivityTimeout,
    InitialTimeout,
    Move,
    MoveVersioned,
    PayloadCommand,
    Reboot,
    Record,
    RecoverableTimeout,
    Remove,
    RemoveSubTree,
    RemoveVersioned,
    TimeoutCommand,
    UnknownCommand,
    UnrecoverableTimeout,
    Version,
)
from spkg.format.installation_state import InstallationState
from spkg.format.paths import RootPath, TreePath, VersionedPath
from spkg.format.states import state_after

P = RootPath.of
V = VersionedPath.of

# Figure 9, read off the figure: for each kind of command and its Unsafe flag, the state that each state leads
# to: initial, recoverable, unrecoverable, install complete.
FIGURE_9 = {
    ("extract", 0): "iruc",
    ("extract", 1): "uuuc",
    ("extract versioned", 0): "iruc",
    ("extract versioned", 1): "uuuc",
    ("add", 0): "iruc",
    ("add", 1): "uuuc",
    ("add versioned", 0): "iruc",
    ("add versioned", 1): "uuuc",
    ("remove", 0): "rruc",
    ("remove", 1): "uuuc",
    ("remove versioned", 0): "rruc",
    ("remove versioned", 1): "uuuc",
    ("remove sub-tree", 0): "rruc",
    ("remove sub-tree", 1): "uuuc",
    ("move", 0): "iruc",
    ("move", 1): "uuuc",
    ("move versioned", 0): "iruc",
    ("move versioned", 1): "uuuc",
    ("format", 0): "uuuc",
    ("reboot", 0): "iruc",
    ("version", 0): "iruc",
    ("vendor", 0): "iruc",
    ("end", 0): "cccc",
}
LETTERS = {
    "i": InstallationState.INITIAL,
    "r": InstallationState.RECOVERABLE,
    "u": InstallationState.UNRECOVERABLE,
    "c": InstallationState.INSTALLED,
}


def command(kind: str, unsafe: int) -> Record:
    """Return a command of a kind."""
    match kind:
        case "extract" | "add" | "extract versioned" | "add versioned":
            kinds: dict[str, type[PayloadCommand]] = {
                "extract": Extract,
                "add": Add,
                "extract versioned": ExtractVersioned,
                "add versioned": AddVersioned,
            }
            path = V("/a.001") if "versioned" in kind else P("/a")
            return kinds[kind](flags=unsafe, path=path, hash=bytes(20), file_offset=0, file_length=0)
        case "remove":
            return Remove(flags=unsafe, path=P("/a"))
        case "remove versioned":
            return RemoveVersioned(flags=unsafe, path=V("/a.001"))
        case "remove sub-tree":
            return RemoveSubTree(flags=unsafe, path=TreePath.of("/a"))
        case "move":
            return Move(flags=unsafe, source_path=P("/a"), destination_path=P("/b"))
        case "move versioned":
            return MoveVersioned(flags=unsafe, source_path=V("/a.001"), destination_path=V("/b.001"))
        case "format":
            return Format()
        case "reboot":
            return Reboot()
        case "version":
            return Version(text="1")
        case "vendor":
            return UnknownCommand(number=1000, value=b"")
        case _:
            return End()


@pytest.mark.parametrize(("kind", "unsafe"), FIGURE_9)
@pytest.mark.parametrize("letter", LETTERS)
def test_every_command_leads_where_the_figure_says(kind: str, unsafe: int, letter: str) -> None:
    column = list(LETTERS).index(letter)

    assert state_after(LETTERS[letter], command(kind, unsafe)) is LETTERS[FIGURE_9[kind, unsafe][column]]


# A second reading of Tables 72 and 73: for each state, which timeouts there are and what each counts from.
TABLE_73 = {
    "i": [("Initial Timeout", "begin"), ("Initial Activity Timeout", "last octet")],
    "r": [("Recoverable Timeout", "begin")],
    "u": [("Unrecoverable Timeout", "begin")],
    "c": [],
}
SETTERS: dict[str, type[TimeoutCommand]] = {
    "Initial Timeout": InitialTimeout,
    "Initial Activity Timeout": InitialActivityTimeout,
    "Recoverable Timeout": RecoverableTimeout,
    "Unrecoverable Timeout": UnrecoverableTimeout,
}
SECONDS = st.integers(0, 50)
EVENTS = st.one_of(
    st.tuples(st.just("octets"), st.just(0)),
    st.sampled_from(sorted(FIGURE_9)),
    st.tuples(st.sampled_from(sorted(SETTERS)), SECONDS),
)


@given(st.lists(st.tuples(st.integers(0, 20), EVENTS), max_size=30), st.integers(0, 100))
def test_the_deadline_is_that_of_the_tables(events: list[tuple[int, tuple[str, int]]], begin: int) -> None:
    watch = Watch.begin(begin, Timeouts(initial=40, activity=10, recoverable=0, unrecoverable=30))
    values = {
        "Initial Timeout": 40,
        "Initial Activity Timeout": 10,
        "Recoverable Timeout": 0,
        "Unrecoverable Timeout": 30,
    }
    letter, now, since = "i", begin, {"begin": begin, "last octet": begin}

    for pause, (what, number) in events:
        now += pause
        if what == "octets":
            watch = watch.octets(now)
            since["last octet"] = now
        elif what in SETTERS:
            watch = watch.process(SETTERS[what](timeout=number))
            values[what] = number
        else:
            watch = watch.process(command(what, number))
            letter = FIGURE_9[what, number]["iruc".index(letter)]

        running = [
            (since[start] + values[title], title) for title, start in TABLE_73[letter] if values[title]
        ]
        deadline = watch.deadline
        assert watch.state is LETTERS[letter]
        if deadline is None:
            assert not running
        else:
            assert (deadline.at, deadline.title) in running
            assert deadline.at == min(running)[0]
        assert (watch.passed(now) is not None) == any(at <= now for at, _ in running)


def test_no_command_says_anything_but_ten_minutes_and_one_hold_and_in_the_initial_state_alone() -> None:
    watch = Watch.begin(100)

    assert watch.deadline == Deadline(at=160, seconds=60, title="Initial Activity Timeout")
    assert watch.octets(690).deadline == Deadline(at=700, seconds=600, title="Initial Timeout")
    assert watch.process(command("remove", 0)).deadline is None
    assert watch.process(command("format", 0)).deadline is None
    assert watch.end().deadline is None


def test_a_deadline_has_passed_when_its_time_comes() -> None:
    watch = Watch.begin(0, Timeouts(initial=5, activity=0))

    assert watch.passed(4.99) is None
    assert watch.passed(5) == watch.deadline == Deadline(at=5, seconds=5, title="Initial Timeout")
