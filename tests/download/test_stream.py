"""Octets that may be late: pipes, deadlines, and how the two processes of a download talk."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from time import monotonic

import pytest

from spkg.common.child_process import DefectError
from spkg.common.digests import Digest
from spkg.download import stream
from spkg.download import worker as downloader
from spkg.download.client import Download, download
from spkg.download.source import open_source
from spkg.download.stream import Arrival, Pipe, StreamedPayload, open_arrival
from spkg.download.timeouts import Timeouts
from spkg.download.url import Location, Login
from spkg.download.worker import BrokenError, Downloader
from spkg.download.worker_protocol import HEAD, FrameKind, pack, send_all
from spkg.errors import FormatError, TransferError, UsageError
from spkg.format.commands import End, InitialTimeout, RecoverableTimeout, Remove
from spkg.format.installation_state import InstallationState
from spkg.format.package import Command
from spkg.format.paths import RootPath
from spkg.format.ranges import Range
from spkg.report.apply import standing_document, standing_text
from spkg.verify.contents import check_payload, compare_payload
from spkg.verify.hasher import Hasher
from spkg.verify.payload import StartedOverError
from spkg.verify.signatures import verify_package
from spkg.verify.single_pass import distribute
from tests.support.kit import AT, Draft, file, policy

OCTETS = Draft().encode()
FRONT = len(Draft().front)


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def piped(octets: bytes, clock: Callable[[], float], *, shut: bool = True, size: int = 0) -> Iterator[Pipe]:
    """Give a pipe with octets in it."""
    reading, writing = os.pipe()
    try:
        os.write(writing, octets)
        if shut:
            os.close(writing)
        yield Pipe(reading, clock, size=size)
    finally:
        os.close(reading)
        if not shut:
            os.close(writing)


def test_a_package_from_a_pipe_is_a_package() -> None:
    with piped(OCTETS, Clock()) as pipe, open_arrival(pipe) as (package, payload):
        assert pipe.position == FRONT == package.payload_offset
        report = check_payload(verify_package(package, policy(), at=AT), payload)

    assert [one.problem for one in report.files] == [""]
    assert pipe.watch.state is InstallationState.INSTALLED
    assert pipe.may_repeat(range(9)) is False


@pytest.mark.parametrize("cut", [0, 1, 23, 24, FRONT - 1, FRONT, len(OCTETS) - 1])
def test_a_pipe_that_ends_too_early_is_a_failed_transfer(cut: int) -> None:
    with piped(OCTETS[:cut], Clock()) as pipe, pytest.raises(TransferError) as caught:
        with open_arrival(pipe) as (package, payload):
            check_payload(verify_package(package, policy(), at=AT), payload)

    of = "" if cut < FRONT else f" of {len(OCTETS)}"
    assert caught.value.problem == f"the transfer ended after {cut}{of} bytes"
    assert (caught.value.reason, caught.value.offset) == ("incomplete", cut)


def test_a_pipe_that_goes_on_is_one_too() -> None:
    with piped(OCTETS + b"!", Clock()) as pipe, open_arrival(pipe) as (package, payload):
        with pytest.raises(TransferError, match="more data follows after the") as caught:
            check_payload(verify_package(package, policy(), at=AT), payload)

    assert (caught.value.reason, caught.value.section) == ("size", "E.3")


def test_a_size_that_was_told_is_held_against_the_header() -> None:
    with piped(OCTETS, Clock(), size=len(OCTETS) + 1) as pipe, open_arrival(pipe) as (package, payload):
        with pytest.raises(TransferError) as caught:
            check_payload(verify_package(package, policy(), at=AT), payload)

    assert str(caught.value) == (
        f"the package has {len(OCTETS) + 1} bytes, its header states {len(OCTETS)} [TR-069 E.3]"
    )


def test_malformed_is_malformed_also_on_its_way() -> None:
    with piped(b"GARBAGE!" * 9, Clock()) as pipe, pytest.raises(FormatError, match="not a signed package"):
        with open_arrival(pipe):
            pass


def test_the_deadline_holds_while_octets_are_waited_for() -> None:
    clock = Clock()
    with piped(OCTETS[:10], clock, shut=False) as pipe:
        assert pipe.read(10) == OCTETS[:10]
        clock.now += 60
        with pytest.raises(TransferError) as caught:
            pipe.read(1)

    assert str(caught.value) == "offset 0x000a: the Initial Activity Timeout of 60 s has passed"
    assert caught.value.hint == "set other limits with --timeout and --idle-timeout"
    assert caught.value.reason == "timeout"


def test_a_deadline_that_a_command_set_is_that_of_the_specification() -> None:
    clock = Clock()
    with piped(OCTETS[:FRONT], clock, shut=False) as pipe, open_arrival(pipe) as (_, payload):
        payload.expect()
        payload.process(Command(index=0, offset=0, length=0, record=InitialTimeout(timeout=5)))
        clock.now += 5
        with pytest.raises(TransferError) as caught:
            pipe.read(1)

    problem = f"offset 0x{FRONT:04x}: the Initial Timeout of 5 s has passed [TR-069 E.4.7]"
    assert (str(caught.value), caught.value.hint) == (problem, None)


SLOW = Draft(
    records=(
        file("/a", b"aaaa"),
        InitialTimeout(timeout=1),
        RecoverableTimeout(timeout=2),
        Remove(path=RootPath.of("/b")),
    ),
    payload=b"aaaa" + b"rest",
)
"""A package whose last commands bring a deadline that is over, and whose payload goes on behind its file."""


@pytest.mark.parametrize("end", [(), (End(),)], ids=["no End", "End"])
@pytest.mark.parametrize("rest", [b"", b"rest"], ids=["nothing", "more"])
@pytest.mark.parametrize("in_time", [False, True], ids=["late", "at once"])
def test_no_deadline_holds_once_the_list_is_through(
    end: tuple[End, ...],
    rest: bytes,
    in_time: bool,  # noqa: FBT001 - a parameter of pytest
) -> None:
    clock = Clock()
    draft = Draft(records=(*SLOW.records, *end), payload=b"aaaa" + rest)
    octets = draft.encode()
    reading, writing = os.pipe()
    os.write(writing, octets if in_time else octets[: len(draft.front) + 4])
    with FileIO(reading), open_arrival(Pipe(reading, clock)) as (package, payload):
        trusted = verify_package(package, policy(), at=AT)

        def later(done: int) -> None:
            """Let the deadlines pass with the last octet of the file."""
            clock.now += 50
            if not in_time:
                os.write(writing, rest)
            os.close(writing)
            assert done == 4

        compare_payload(trusted.package, payload, installing=True, progress=later)

        assert payload.standing(clock.now).deadline is None


def test_a_package_that_is_whole_is_not_waited_for_although_its_pipe_stays_open() -> None:
    clock = Clock()
    draft = Draft(records=SLOW.records, payload=b"aaaa")
    with piped(draft.encode(), clock, shut=False) as pipe, open_arrival(pipe) as (package, payload):

        def wanted() -> bool:
            clock.now += stream.END_AWAITED
            return True

        pipe.wanted = wanted
        report = compare_payload(package, payload, installing=True)

    assert [one.problem for one in report.files] == [""]


def test_what_follows_a_whole_package_is_seen_however_late_one_looks() -> None:
    clock = Clock()
    draft = Draft(records=SLOW.records, payload=b"aaaa")

    def later(_octets: int) -> None:
        clock.now += 5000

    with piped(draft.encode() + b"!", clock, shut=False) as pipe, open_arrival(pipe) as (package, payload):
        with pytest.raises(TransferError, match="more data follows after the") as caught:
            compare_payload(package, payload, installing=True, progress=later)

    assert caught.value.reason == "size"


def test_the_deadline_holds_although_octets_are_there() -> None:
    clock = Clock()
    with piped(OCTETS, clock) as pipe:
        for _ in range(12):
            pipe.read(1)
            clock.now += 50
        with pytest.raises(TransferError, match="the Initial Timeout of 600 s has passed"):
            pipe.read(1)


def test_it_really_waits_no_longer() -> None:
    from time import monotonic  # noqa: PLC0415

    with piped(b"", monotonic, shut=False) as pipe:
        pipe.watch = type(pipe.watch).begin(monotonic(), Timeouts(initial=0.05))
        begin = monotonic()
        with pytest.raises(TransferError):
            pipe.read(1)
        assert 0.05 <= monotonic() - begin < 5


def test_a_command_that_was_processed_moves_the_deadline() -> None:
    clock = Clock()
    records = InitialTimeout(timeout=5), Remove(path=RootPath.of("/a")), RecoverableTimeout(timeout=9)
    with piped(OCTETS, clock) as pipe, open_arrival(pipe) as (_, payload):
        told = []
        for number, record in enumerate(records):
            payload.process(Command(index=number, offset=0, length=0, record=record))
            told.append((payload.command, pipe.watch.state, pipe.watch.deadline))

    assert told[0][2] is not None
    assert (told[0][0], told[0][2].at) == (0, 1005)
    assert told[1] == (1, InstallationState.RECOVERABLE, None)
    assert told[2][2] is not None
    assert told[2][2].at == 1009


# The two ends of a download, the server being a script.


@dataclass
class Answer:
    """An answer of a server: its pieces, and how it ends."""

    offset: int = 0
    total: int | None = None
    validator: str | None = "v"
    pieces: list[bytes] = field(default_factory=list)
    problem: Exception | None = None
    closed: bool = False

    def read(self, size: int) -> bytes:
        if not self.pieces:
            if self.problem is not None:
                raise self.problem
            return b""
        piece = self.pieces.pop(0)
        if len(piece) > size:
            self.pieces.insert(0, piece[size:])
        return piece[:size]

    def close(self) -> None:
        self.closed = True


class Server:
    """A transport that gives one answer after the other."""

    def __init__(self, *answers: Answer | Exception) -> None:
        self.answers = list(answers)
        self.given = list(answers)
        self.asked: list[tuple[int, str | None]] = []

    def open(self, offset: int, validator: str | None) -> Answer:
        assert self.answers, "nothing is left to answer"
        self.asked.append((offset, validator))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@contextmanager
def talking(server: Server) -> Iterator[Download]:
    """Have a downloader fetch from a server, in a thread."""
    ours, theirs = socket.socketpair()

    def run() -> None:
        with theirs, suppress(OSError):
            Downloader(theirs, lambda: server).run()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        with ours:
            yield Download(ours, Clock(), Timeouts())
    finally:
        thread.join(5)
        assert not thread.is_alive()


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloader, "FIRST_PAUSE", 0.001)


def whole(**more: object) -> Answer:
    answer = Answer(total=len(OCTETS), pieces=[OCTETS])
    for name, value in more.items():
        setattr(answer, name, value)
    return answer


def test_nothing_of_the_payload_comes_before_it_is_wanted() -> None:
    answer = whole()
    with talking(Server(answer)) as arrival, open_arrival(arrival) as (package, payload):
        assert answer.pieces == [OCTETS[FRONT:]]
        check_payload(verify_package(package, policy(), at=AT), payload)

    assert answer.pieces == []
    assert arrival.total == len(OCTETS)


def test_notes_come_between_octets() -> None:
    notes: list[str] = []
    server = Server(BrokenError("busy"), whole())
    with talking(server) as arrival:
        arrival.note = notes.append
        assert arrival.read(8) == OCTETS[:8]

    assert [note.partition(": trying again in ")[0] for note in notes] == ["busy"]
    assert server.asked == [(0, None), (0, None)]


def test_a_server_without_one_octet_is_asked_three_times() -> None:
    server = Server(*[BrokenError("refused", reason="contact")] * 3)
    with talking(server) as arrival, pytest.raises(TransferError) as caught:
        arrival.read(8)

    assert (str(caught.value), caught.value.reason) == ("refused", "contact")
    assert len(server.asked) == downloader.CONTACTS


def test_a_final_answer_is_told_as_it_is() -> None:
    final = TransferError("no", reason="login", hint="who?")
    with talking(Server(final)) as arrival, pytest.raises(TransferError) as caught:
        arrival.read(8)

    assert (caught.value.problem, caught.value.hint) == ("no", "who?")
    assert (caught.value.reason, caught.value.offset) == ("login", None)


BIG = bytes(range(256)) * (1 << 14)
LARGE = Draft(records=(file("/a", BIG[:100]), file("/b", BIG[-100:], at=len(BIG) - 100), End()), payload=BIG)


def large(start: int = 0, **more: object) -> Answer:
    octets = LARGE.encode()[start:]
    pieces = [octets[place : place + 100_000] for place in range(0, len(octets), 100_000)]
    answer = Answer(offset=start, total=len(LARGE.encode()), pieces=pieces)
    for name, value in more.items():
        setattr(answer, name, value)
    return answer


def test_octets_that_nobody_wants_are_left_out_by_a_new_request() -> None:
    start = len(LARGE.front) + len(BIG) - 100
    server = Server(large(), large(start))
    with talking(server) as arrival, open_arrival(arrival) as (package, payload):
        check_payload(verify_package(package, policy(), at=AT), payload)

    assert server.asked == [(0, None), (start, "v")]
    assert isinstance(server.given[0], Answer)
    assert server.given[0].closed


def test_or_read_where_the_server_can_not_do_that() -> None:
    server = Server(large(validator=None))
    with talking(server) as arrival, open_arrival(arrival) as (package, payload):
        check_payload(verify_package(package, policy(), at=AT), payload)

    assert server.asked == [(0, None)]


def test_a_server_that_promised_to_and_begins_anew_is_read_again() -> None:
    start = len(LARGE.front) + len(BIG) - 100
    server = Server(large(), large())
    with talking(server) as arrival, open_arrival(arrival) as (package, payload):
        check_payload(verify_package(package, policy(), at=AT), payload)

    assert server.asked == [(0, None), (start, "v")]  # and not the same again and again


def test_another_size_the_second_time_may_be_no_more_than_a_page_in_between() -> None:
    server = Server(
        whole(pieces=[OCTETS[: FRONT + 3]]),
        Answer(offset=0, total=512, pieces=[b"<html>"]),
        TransferError("closed", reason="login"),
        Answer(offset=FRONT + 3, total=len(OCTETS), pieces=[OCTETS[FRONT + 3 :]]),
    )
    with talking(server) as arrival, open_arrival(arrival) as (package, payload):
        check_payload(verify_package(package, policy(), at=AT), payload)

    assert [offset for offset, _ in server.asked] == [0, *[FRONT + 3] * 3]


def test_a_file_of_another_size_again_and_again_is_one() -> None:
    page = [Answer(offset=0, total=512) for _ in range(downloader.MISFITS)]
    server = Server(whole(pieces=[OCTETS[: FRONT + 3]]), *page)
    with talking(server) as arrival, open_arrival(arrival) as (package, payload):
        with pytest.raises(TransferError, match="expected 1302 bytes, the server now has 512") as caught:
            check_payload(verify_package(package, policy(), at=AT), payload)

    assert caught.value.reason == "size"
    assert server.answers == []


@pytest.mark.parametrize("problem", [BrokenError("reset"), TransferError("closed", reason="login")])
def test_who_leaves_ends_also_what_waits(problem: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloader, "FIRST_PAUSE", 60)
    told = threading.Event()
    server = Server(whole(pieces=[OCTETS[:9]], problem=problem))
    with talking(server) as arrival:
        arrival.note = lambda _text: told.set()
        assert arrival.read(9) == OCTETS[:9]
        arrival.wanted = lambda: not told.is_set()
        with pytest.raises(TransferError, match="the process that requested the package is gone"):
            arrival.read(1)

    assert told.is_set()


def test_a_frame_that_is_too_long_is_not_taken() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        arrival = Download(ours, Clock())
        theirs.sendall(HEAD.pack(FrameKind.NOTE, 1, 1 << 30))
        problem = f"the download process sent a frame of {1 << 30} bytes, the limit is {1 << 20}"
        with pytest.raises(TransferError, match=problem):
            arrival.read(9)


def test_where_there_can_be_no_process_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    before = len(list(Path("/proc/self/fd").iterdir()))
    monkeypatch.setattr(os, "fork", none)
    with pytest.raises(BlockingIOError):
        with download(Location.parse("http://127.0.0.1/p"), Login(), Clock(), Timeouts()):
            pass

    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_how_it_stands_is_told_to_programs_and_people() -> None:
    clock = Clock()
    with piped(OCTETS, clock) as pipe, open_arrival(pipe) as (_, payload):
        payload.process(Command(index=3, offset=0, length=0, record=InitialTimeout(timeout=5)))
        clock.now += 2
        limited = standing_document(payload.standing(clock.now))
        payload.process(Command(index=4, offset=0, length=0, record=Remove(path=RootPath.of("/a"))))
        free = standing_document(payload.standing(clock.now))

    deadline = {"timeout": "Initial Timeout", "seconds": 5, "left": 3.0}
    assert limited == {"state": "initial", "command": 3, "deadline": deadline}
    assert free == {"state": "recoverable", "command": 4, "deadline": None}
    assert standing_text(limited, 1) == "initial, 2 s left"
    assert standing_text(limited, 9) == "initial, 0 s left"
    assert standing_text(free, 1) == "recoverable"


def test_a_supervisor_hears_of_breaks() -> None:
    notes: list[str] = []
    server = Server(
        whole(pieces=[OCTETS[: FRONT + 3]], problem=BrokenError("reset")),
        Answer(offset=FRONT + 3, total=len(OCTETS), pieces=[OCTETS[FRONT + 3 :]]),
    )
    with talking(server) as arrival, open_arrival(arrival) as (package, payload):
        payload.supervise(note=notes.append, wanted=lambda: True)
        check_payload(verify_package(package, policy(), at=AT), payload)

    assert [note.partition(": trying again in ")[0] for note in notes] == ["reset"]


def test_a_transfer_that_no_supervisor_wants_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "WANTED_INTERVAL", 1)
    with piped(OCTETS[:FRONT], Clock(), shut=False) as pipe, open_arrival(pipe) as (package, payload):
        payload.supervise(note=print, wanted=lambda: False)
        with pytest.raises(TransferError, match="the process that requested the package is gone") as caught:
            check_payload(verify_package(package, policy(), at=AT), payload)

    assert caught.value.offset == FRONT


def test_what_breaks_behind_the_last_octet_is_the_end() -> None:
    server = Server(Answer(pieces=[OCTETS], problem=BrokenError("no last chunk")))
    with talking(server) as arrival, open_arrival(arrival) as (package, payload):
        check_payload(verify_package(package, policy(), at=AT), payload)

    assert len(server.asked) == 1


def test_nobody_is_waited_for_by_nobody() -> None:
    clock = Clock()
    with piped(OCTETS[:9], clock, shut=False) as pipe:
        pipe.read(9)
        pipe.wanted = lambda: False
        with pytest.raises(TransferError, match="the process that requested the package is gone"):
            pipe.read(1)


def test_the_end_twice_at_the_same_place_is_one_where_nobody_tells_the_size() -> None:
    short = OCTETS[: FRONT + 3]
    server = Server(
        Answer(pieces=[short]), Answer(offset=FRONT + 3), Answer(offset=FRONT + 3), Answer(offset=FRONT + 3)
    )
    with talking(server) as arrival, open_arrival(arrival) as (package, payload):
        problem = f"the transfer ended after {FRONT + 3} of {len(OCTETS)} bytes"
        with pytest.raises(TransferError, match=problem):
            check_payload(verify_package(package, policy(), at=AT), payload)

    assert len(server.asked) == 2


def test_the_end_is_looked_for_once_more_where_the_server_begins_anew_there() -> None:
    first = Answer(pieces=[OCTETS], validator=None, problem=BrokenError("reset"))
    again = Answer(pieces=[OCTETS], validator=None)
    with talking(Server(first, again)) as arrival, open_arrival(arrival) as (package, payload):
        check_payload(verify_package(package, policy(), at=AT), payload)


def test_what_the_process_that_downloads_could_not_foresee_is_a_defect() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        arrival = Download(ours, Clock())
        send_all(theirs, pack(FrameKind.FAILED, 0, {"defect": "KeyError: 1", "traceback": "Traceback…"}))
        with pytest.raises(DefectError, match="KeyError: 1") as caught:
            arrival.read(1)

    assert caught.value.__notes__ == ["Traceback…"]


@pytest.mark.parametrize("octets", [b"", b"\x02\0\0", b"\x02\0\0\0\x01\0\0\0\x09half"])
def test_a_process_that_is_gone_is_told(octets: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        arrival = Download(ours, Clock())
        theirs.sendall(octets)
        theirs.close()
        with pytest.raises(TransferError, match="the download process ended unexpectedly"):
            arrival.read(9)


def test_a_frame_of_an_order_that_does_not_hold_is_dropped() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        arrival = Download(ours, Clock())
        arrival.expect(10)
        assert arrival.seek(5 << 20) is False  # the server has not said that it could
        arrival._resumable = True
        assert arrival.seek(5 << 20)
        for number, octets in ((1, b"stale"), (2, b"fresh")):
            begins = {"offset": 5 << 20, "total": None, "resumable": True}
            send_all(theirs, pack(FrameKind.BEGIN, number, begins))
            send_all(theirs, HEAD.pack(FrameKind.OCTETS, number, 5), octets)
            send_all(theirs, pack(FrameKind.END, 1, {}))

        assert arrival.read(5) == b"fresh"


def test_pieces_are_sent_whole_however_little_a_socket_takes() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        thread = threading.Thread(target=send_all, args=[ours, b"a" * 10, b"", b"b" * 300_000])
        thread.start()
        octets = theirs.recv(300_010, socket.MSG_WAITALL)
        thread.join()

    assert octets == b"a" * 10 + b"b" * 300_000


@pytest.mark.parametrize("url", ["http://127.0.0.1/p", "ftp://127.0.0.1/p", "tftp://127.0.0.1/p"])
def test_the_process_ends_with_the_block(url: str) -> None:
    def children() -> set[str]:
        return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())

    before = children()  # other tests may have some that stay

    with download(Location.parse(url), Login(), Clock(), Timeouts()) as arrival:
        assert len(children() - before) == 1

    assert children() == before
    assert arrival.fileno() == -1


# Reading once more, without anything being on its way.


class Fickle(Arrival):
    """Octets that begin anew now and then."""

    def __init__(self, octets: bytes, breaks: list[int]) -> None:
        super().__init__(Clock(), Timeouts())
        self.octets = octets
        self.breaks = breaks

    def fileno(self) -> int:
        return 0

    def _wait(self) -> bool:
        """It is all there."""
        return True

    def _receive(self, view: memoryview) -> int:
        if self.breaks and self.position >= self.breaks[0]:
            self.breaks.pop(0)
            self.position = 0
            raise StartedOverError
        end = min(self.position + len(view), self.breaks[0] if self.breaks else len(self.octets))
        piece = self.octets[self.position : end]
        view[: len(piece)] = piece
        return len(piece)


class Witness(Hasher):
    """A hasher that writes down what happens to it."""

    def __init__(self, wanted: Range) -> None:
        super().__init__(wanted, [Digest.SHA1])
        self.happened: list[str] = []

    def begin(self) -> None:
        super().begin()
        self.happened.append("begin")

    def rewind(self) -> bool:
        self.happened.append("rewind")
        return super().rewind()

    def finish(self) -> None:
        self.happened.append("finish")


def test_consumers_that_are_not_through_begin_anew() -> None:
    octets = bytes(range(100))
    witnesses = [
        Witness(Range(0, 30)),
        Witness(Range(20, 60)),
        Witness(Range(50, 10)),
        Witness(Range(90, 10)),
    ]
    payload = StreamedPayload(Fickle(octets, [55]), offset=0, length=100)

    done: list[int] = []
    distribute(payload, witnesses, done.append)

    assert [one.happened for one in witnesses] == [
        ["begin", "finish"],
        ["begin", "rewind", "begin", "finish"],
        ["begin", "rewind", "begin", "finish"],
        ["begin", "finish"],
    ]
    assert [one.digests[Digest.SHA1] for one in witnesses] == [
        Digest.SHA1.of(octets[one.range.start : one.range.end]) for one in witnesses
    ]
    assert sum(done) == 90  # nobody wanted those from 80 to 90
    assert min(done) == -35


def test_a_program_reads_a_package_from_a_descriptor_that_it_gives() -> None:
    reading, writing = os.pipe()
    os.write(writing, OCTETS)
    os.close(writing)

    with open_source("-", clock=monotonic, stream=reading) as (opened, payload):
        check_payload(verify_package(opened, policy(), at=AT), payload)
    os.close(reading)

    with pytest.raises(UsageError, match="no stream is given"), open_source("-", clock=monotonic):
        pass
    with pytest.raises(UsageError, match="a path can't be empty"), open_source("", clock=monotonic):
        pass
