"""The process that changes a root: what it can't do, and how what it says arrives."""

import os
import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NoReturn

import pytest

from spkg.common import child_process
from spkg.common.child_process import ChildKilledError, DefectError, Parent, run_child
from spkg.common.documents import Document
from spkg.common.landlock import confine
from spkg.common.stop_signals import hold_stop_signals
from spkg.errors import NO_ROOM, FailedError, FormatError, RefusedError, UntrustedError
from spkg.install.root import Root
from spkg.verify.contents import DamagedPayloadError, PayloadReport


def ignore(_: Document) -> None:
    """Hear nothing."""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "root/inner").mkdir(parents=True)
    (tmp_path / "root/file").write_text("inside")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").write_text("outside")
    return tmp_path


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def tried(attempt: Callable[[], object]) -> str:
    """Return how it went."""
    try:
        attempt()
    except OSError as exc:
        return type(exc).__name__
    return "done"


def confined(place: Path, **attempts: Callable[[], object]) -> dict[str, str]:
    """Try things in a process that is confined to the root."""

    def work(_: Any) -> Document:
        with Root(place / "root") as root:
            confine(root.fileno())
            return {name: tried(attempt) for name, attempt in attempts.items()}

    return run_child(work, ignore)


needs_landlock: Final = pytest.mark.judge("Landlock")


@needs_landlock
def test_what_is_below_the_root_can_be_changed(place: Path) -> None:
    root = place / "root"

    told = confined(
        place,
        create=lambda: (root / "new").write_text("x"),
        make=(root / "made").mkdir,
        move=lambda: (root / "new").rename(root / "made/moved"),
        link=lambda: os.link(root / "file", root / "made/linked"),
        remove=(root / "inner").rmdir,
    )

    assert set(told.values()) == {"done"}
    assert names(root / "made") == ["linked", "moved"]


@needs_landlock
def test_nothing_else_can_be_changed_nor_read(place: Path) -> None:
    root, outside = place / "root", place / "outside"
    before = os.open(outside, os.O_RDONLY)
    try:
        told = confined(
            place,
            create=lambda: (outside / "new").write_text("x"),
            through=lambda: os.open("new", os.O_CREAT | os.O_WRONLY, dir_fd=before),
            overwrite=lambda: (outside / "file").write_text("x"),
            truncate=lambda: os.truncate(outside / "file", 0),
            make=(outside / "made").mkdir,
            move_in=lambda: (outside / "file").rename(root / "taken"),
            move_out=lambda: (root / "file").rename(outside / "given"),
            link_in=lambda: os.link(outside / "file", root / "linked"),
            remove=(outside / "file").unlink,
            symlink=lambda: (outside / "link").symlink_to("x"),
            read=(outside / "file").read_text,
            listed=lambda: names(outside),
            secrets=lambda: Path("/etc/passwd").read_text(),
        )
    finally:
        os.close(before)

    assert set(told.values()) <= {"PermissionError", "OSError"}
    assert names(outside) == ["file"]
    assert (outside / "file").read_text() == "outside"
    assert (root / "file").read_text() == "inside"


@needs_landlock
def test_a_directory_that_is_moved_out_of_the_root_can_not_be_changed_any_more(place: Path) -> None:
    ready, done = os.pipe(), os.pipe()

    def work(_: Any) -> Document:
        with Root(place / "root") as root:
            confine(root.fileno())
            held = os.open(place / "root/inner", os.O_RDONLY)
            os.write(ready[1], b"x")
            os.read(done[0], 1)
            return {"made": tried(lambda: os.mkdir("made", dir_fd=held))}

    def mover() -> int:
        child = os.fork()
        if child == 0:
            os.read(ready[0], 1)
            (place / "root/inner").rename(place / "outside/inner")
            os.write(done[1], b"x")
            os._exit(0)
        return child

    child = mover()
    told = run_child(work, ignore)
    os.waitpid(child, 0)

    assert told == {"made": "PermissionError"}
    assert names(place / "outside/inner") == []
    for descriptor in (*ready, *done):
        os.close(descriptor)


@pytest.mark.judge("Landlock 4")
def test_there_is_no_network(place: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()

        told = confined(
            place,
            connect=lambda: socket.create_connection(address, timeout=5),
            bind=lambda: socket.create_server(("127.0.0.1", 0)),
        )

    assert told == {"connect": "PermissionError", "bind": "PermissionError"}


def test_this_process_stays_as_free_as_it_was(place: Path) -> None:
    confined(place)

    (place / "outside/new").write_text("x")
    assert (place / "outside/file").read_text() == "outside"


def test_where_the_kernel_has_none_nothing_is_confined_and_that_is_said(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spkg.common.landlock._call", lambda *_: -1)

    with Root(place / "root") as root:
        assert confine(root.fileno()) == 0


# What goes between the two.


def test_what_is_told_arrives_in_order_and_then_the_answer() -> None:
    heard: list[Document] = []

    def work(tell: Callable[[Document], None]) -> Document:
        for number in range(1000):
            tell({"number": number})
        return {"answer": "ä\n\udcff"}

    assert run_child(work, heard.append) == {"answer": "ä\n\udcff"}
    assert heard == [{"number": number} for number in range(1000)]


def test_what_is_asked_is_replied_to() -> None:
    def work(parent: Parent) -> Document:
        parent({"number": 0})
        return {"replies": [parent.ask({"number": number})["more"] for number in range(3)]}

    def reply(question: Document) -> Document:
        heard.append(question)
        return {"more": "ä" * question["number"] * 40_000}

    heard: list[Document] = []

    assert run_child(work, heard.append, reply) == {"replies": ["", "ä" * 40_000, "ä" * 80_000]}
    assert heard == [{"number": 0}, {"number": 0}, {"number": 1}, {"number": 2}]


def test_where_nobody_has_an_answer_the_reply_is_empty() -> None:
    assert run_child(lambda parent: parent.ask({}), ignore) == {}


def test_a_reply_that_can_not_be_given_ends_the_work(tmp_path: Path) -> None:
    def work(parent: Parent) -> Document:
        try:
            parent.ask({})
        except FailedError as exc:
            (tmp_path / "ended").write_text(str(exc))
            raise
        raise AssertionError

    def reply(_question: Document) -> NoReturn:
        raise KeyboardInterrupt

    def held(parent: Parent) -> Document:
        hold_stop_signals()
        return work(parent)

    with pytest.raises(KeyboardInterrupt):
        run_child(held, ignore, reply)

    assert (tmp_path / "ended").read_text() == "the process that asked for this is gone"


def test_a_child_that_is_killed_while_it_asks_is_told() -> None:
    def work(parent: Parent) -> Document:
        return parent.ask({"child": os.getpid()})

    def reply(question: Document) -> Document:
        os.kill(question["child"], signal.SIGKILL)
        return {}

    with pytest.raises(ChildKilledError, match="SIGKILL"):
        run_child(work, ignore, reply)


def test_an_error_arrives_with_all_that_it_says() -> None:
    def work(_: Any) -> Document:
        raise RefusedError("no", offset=3, field="f", section="E.4", hint="h", reason=NO_ROOM)

    with pytest.raises(RefusedError) as caught:
        run_child(work, ignore)

    error = caught.value
    assert (str(error), error.hint, error.reason) == ("offset 0x0003: f: no [TR-069 E.4]", "h", NO_ROOM)


def test_an_error_of_a_kind_of_its_own_arrives_as_the_one_that_it_is_of() -> None:
    def damaged(_: Any) -> Document:
        raise DamagedPayloadError("contents", PayloadReport(files=(), uncovered=()))

    with pytest.raises(UntrustedError, match="contents"):
        run_child(damaged, ignore)


def test_an_error_of_the_system_arrives_with_its_file() -> None:
    def work(_: Any) -> Document:
        Path("/nowhere/at/all").read_text()
        return {}

    with pytest.raises(FileNotFoundError) as caught:
        run_child(work, ignore)

    assert caught.value.filename == "/nowhere/at/all"


def test_a_defect_arrives_with_its_traceback() -> None:
    def work(_: Any) -> Document:
        raise ZeroDivisionError("here")

    with pytest.raises(DefectError, match=r"(?s)ZeroDivisionError: here.*Traceback"):
        run_child(work, ignore)


def test_a_child_that_is_killed_is_told_from_one_that_fails() -> None:
    def work(_: Any) -> Document:
        os.kill(os.getpid(), signal.SIGKILL)
        return {}

    with pytest.raises(ChildKilledError, match=r"was ended by signal 9 \(SIGKILL\)$"):
        run_child(work, ignore)


def test_nothing_of_the_caller_runs_in_the_child() -> None:
    before = os.getpid()
    seen: list[int] = []

    def work(_: Any) -> Document:
        raise FormatError("x")

    def called() -> None:
        try:
            run_child(work, ignore)
        finally:
            seen.append(os.getpid())

    with pytest.raises(FormatError):
        called()

    assert seen == [before]


class Interrupt(BaseException):
    """What a signal raises."""


def test_a_signal_is_passed_on_and_raised_when_the_child_has_ended(tmp_path: Path) -> None:
    def interrupt(*_: object) -> None:
        raise Interrupt

    def work(tell: Callable[[Document], None]) -> Document:
        try:
            tell({})
            signal.pause()
        except Interrupt:
            (tmp_path / "cleaned").touch()
            raise
        return {}

    def hear(_: Document) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        with pytest.raises(Interrupt):
            run_child(work, hear)
    finally:
        signal.signal(signal.SIGTERM, before)

    assert (tmp_path / "cleaned").exists()


def test_an_answer_that_comes_all_the_same_is_returned() -> None:
    def interrupt(*_: object) -> None:
        raise Interrupt

    def work(tell: Callable[[Document], None]) -> Document:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        tell({})
        return {"answer": 1}

    def hear(_: Document) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        assert run_child(work, hear) == {"answer": 1}
    finally:
        signal.signal(signal.SIGTERM, before)


def test_the_death_of_a_child_is_seen_while_that_of_another_thread_lives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = child_process.fork

    def slowly() -> int:
        child = real()
        if child:
            time.sleep(0.3)  # in which the other thread wants a child
        return child

    monkeypatch.setattr(child_process, "fork", slowly)
    reading, writing = os.pipe()
    begun, begins = os.pipe()

    def die(_parent: object) -> NoReturn:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    def live(_parent: object) -> dict[str, object]:
        os.close(writing)
        os.write(begins, b"x")
        os.read(reading, 1)
        return {}

    with ThreadPoolExecutor(2) as pool:
        dying = pool.submit(run_child, die, lambda _: None)
        time.sleep(0.05)
        living = pool.submit(run_child, live, lambda _: None)
        try:
            with pytest.raises(ChildKilledError):
                dying.result(timeout=10)
            os.read(begun, 1)
            assert not living.done()
        finally:
            os.close(writing)
        assert living.result(timeout=10) == {}
    for descriptor in (reading, begun, begins):
        os.close(descriptor)


def test_where_there_can_be_no_child_all_is_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> int:
        raise OSError(11, "resource temporarily unavailable")

    monkeypatch.setattr(child_process, "fork", refused)
    before, opened = signal.pthread_sigmask(signal.SIG_BLOCK, ()), len([*Path("/proc/self/fd").iterdir()])

    with pytest.raises(OSError, match="temporarily unavailable"):
        run_child(lambda _: {}, ignore)

    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
    assert len([*Path("/proc/self/fd").iterdir()]) == opened


def test_a_line_that_was_cut_off_is_no_answer() -> None:
    answers: list[Document] = []

    child_process._listen([b'{"done": {"cut', b'{"done": {}}\n'], ignore, answers)

    assert answers == [{"done": {}}]
