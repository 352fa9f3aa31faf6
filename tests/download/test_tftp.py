"""TFTP: with servers as they should be, and with crooked ones."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

import pytest

from spkg.download import tftp
from spkg.download.tftp import BLOCK, TftpTransport
from spkg.download.url import Location
from spkg.download.worker import BrokenError, OpenTransfer
from spkg.errors import TransferError
from tests.support.trivial_server import TrivialServer, trivial

OCTETS = bytes(range(256)) * 40
NAME = "%C3%A4%20b.spkg"


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have packets be sent again soon."""
    monkeypatch.setattr(tftp, "ASK_AGAIN", 0.2)
    monkeypatch.setattr(tftp, "LONGEST_WAIT", 0.4)


def asking(url: str, patience: float = 5) -> TftpTransport:
    return TftpTransport(Location.parse(f"{url}/{NAME}"), patience)


@contextmanager
def answered(url: str, patience: float = 5) -> Iterator[OpenTransfer]:
    answer = asking(url, patience).open(500, "anything")
    try:
        yield answer
    finally:
        answer.close()


def everything(url: str) -> bytes:
    with answered(url) as answer:
        return b"".join(iter(lambda: answer.read(1000), b""))


SIZES = [0, 1, 511, 512, 513, BLOCK - 1, BLOCK, BLOCK + 1, 20 * BLOCK, 20 * BLOCK + 7]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("options", [True, False], ids=["options", "no options"])
def test_a_file_comes_whole(size: int, options: bool) -> None:  # noqa: FBT001 - a parameter of pytest
    server = TrivialServer(octets=(OCTETS * 3)[:size], options=options)
    with trivial(server) as url, answered(url) as answer:
        assert (answer.offset, answer.validator) == (0, None)
        assert answer.total == (size if options and size else None)
        assert b"".join(iter(lambda: answer.read(1000), b"")) == server.octets
        assert answer.read(1) == b""

    assert server.asked == [["ä b.spkg".encode(), b"octet", b"blksize", b"1428", b"tsize", b"0"]]
    assert server.told == []


CROOKED = {
    "capitals": TrivialServer(octets=OCTETS, capitals=True),
    "smaller blocks": TrivialServer(octets=OCTETS, block=8),
    "each block twice": TrivialServer(octets=OCTETS, repeats=2),
    "each block four times, and one for each answer": TrivialServer(
        octets=OCTETS, repeats=4, apprentice=True
    ),
    "the one before behind each": TrivialServer(octets=OCTETS, reorders=True),
    "lost options": TrivialServer(octets=OCTETS, loses={1}),
    "lost blocks": TrivialServer(octets=OCTETS, loses={2, 4, 5, 9}),
    "lost answers": TrivialServer(octets=OCTETS, deaf={1, 3, 4, 7}),
    "both": TrivialServer(octets=OCTETS, loses={3, 5}, deaf={2, 6}, repeats=2, reorders=True),
    "a server that waits": TrivialServer(octets=OCTETS, waits=True, loses={3}),
    "strangers": TrivialServer(octets=OCTETS, strangers=True),
}


@pytest.mark.parametrize("server", CROOKED.values(), ids=CROOKED)
def test_whatever_a_server_does_the_file_is_right(server: TrivialServer) -> None:
    with trivial(server) as url:
        assert everything(url) == OCTETS

    assert len(server.asked) == 1


def test_repeated_blocks_are_not_answered_each() -> None:
    server = TrivialServer(octets=OCTETS, repeats=2, apprentice=True)
    with trivial(server) as url:
        assert everything(url) == OCTETS

    assert server.sent <= 3 * (len(OCTETS) // BLOCK + 2)  # an apprentice's master would count 2, 4, 8...


@pytest.mark.parametrize("wraps_to", [0, 1])
def test_numbers_of_blocks_begin_again_at_0_or_at_1(wraps_to: int) -> None:
    octets = bytes(range(256)) * 2100
    assert len(octets) // 8 > 0xFFFF + 1000
    with trivial(TrivialServer(octets=octets, block=8, wraps_to=wraps_to)) as url:
        assert everything(url) == octets


@pytest.mark.parametrize("code", [0, 4, 8])
def test_a_server_that_refuses_options_is_asked_without(code: int) -> None:
    server = TrivialServer(octets=OCTETS, errors=[(code, b"no options")])
    with trivial(server) as url:
        one = asking(url)
        for _ in range(2):
            answer = one.open(0, None)
            assert answer.read(1000) == OCTETS[:512]
            answer.close()

    assert [len(words) for words in server.asked] == [6, 2, 2]


@pytest.mark.parametrize(
    "server",
    [
        TrivialServer(octets=OCTETS, block=BLOCK + 1),
        TrivialServer(octets=OCTETS, block=7),
        TrivialServer(octets=OCTETS, more=b"windowsize\x0016\0"),
        TrivialServer(octets=OCTETS, more=b"odd\0"),
    ],
    ids=["larger blocks", "tiny blocks", "another option", "an odd one"],
)
def test_options_that_were_not_asked_for_are_refused(server: TrivialServer) -> None:
    with trivial(server) as url:
        assert everything(url) == OCTETS

    assert [len(words) for words in server.asked] == [6, 2]
    assert server.told == [(8, b"options that were not requested")]


@pytest.mark.parametrize("length", [b"0", b"", b"much", b"9" * 20])
def test_a_length_that_is_none_is_not_known(length: bytes) -> None:
    with trivial(TrivialServer(octets=OCTETS, length=length)) as url, answered(url) as answer:
        assert answer.total is None


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        ((1, b"File not found"), "File not found"),
        ((2, b""), "the server refused with error 2"),
        ((6, b"\x1b[2J" + b"x" * 500), "\\x1b[2J" + "x" * 73),
    ],
)
def test_what_a_server_refuses_is_reported_and_bounded(error: tuple[int, bytes], problem: str) -> None:
    server = TrivialServer(errors=[error])
    with trivial(server) as url, pytest.raises(TransferError) as caught:
        asking(url).open(0, None)

    assert (caught.value.problem, caught.value.reason) == (f"{url}/{NAME}: {problem}", "access")
    assert len(server.asked) == 1


def test_an_error_of_its_own_may_have_nothing_to_do_with_options() -> None:
    server = TrivialServer(errors=[(0, b"disk failure")] * 2)
    with trivial(server) as url, pytest.raises(TransferError, match="disk failure"):
        asking(url).open(0, None)

    assert [len(words) for words in server.asked] == [6, 2]


@pytest.mark.parametrize("malformed", [b"", b"\0", b"\0\3\0", b"\0\7\0\1", b"\0\3\0\2late", b"\0\4\0\1"])
def test_what_is_no_answer_is_dropped(malformed: bytes) -> None:
    with trivial(TrivialServer(octets=OCTETS, malformed=malformed)) as url:
        assert everything(url) == OCTETS


def test_a_block_that_is_too_long_is_a_broken_transfer() -> None:
    server = TrivialServer(octets=OCTETS, malformed=b"\0\3\0\1" + bytes(513))
    with trivial(server) as url, pytest.raises(BrokenError, match="expected a block of at most 512 bytes"):
        asking(url).open(0, None)


def test_a_server_that_stops_is_a_broken_connection_and_is_told() -> None:
    server = TrivialServer(octets=OCTETS, silent_after=2)
    with trivial(server) as url, answered(url, patience=1) as answer:
        assert answer.read(9999) == OCTETS[:BLOCK]
        assert answer.read(9999) == OCTETS[BLOCK : 2 * BLOCK]
        with pytest.raises(BrokenError, match="no answer in time") as caught:
            answer.read(1)

    assert caught.value.reason == "contact"


def test_a_server_is_told_that_nothing_more_is_wanted() -> None:
    server = TrivialServer(octets=OCTETS)
    with trivial(server) as url, answered(url) as answer:
        assert answer.read(10) == OCTETS[:10]

    assert server.told == [(0, b"not wanted any more")]


def test_packets_without_an_end_are_no_transfer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tftp, "STRAY_PACKETS", 20)
    monkeypatch.setattr(tftp, "ASK_AGAIN", 30)
    begun = monotonic()
    server = TrivialServer(octets=OCTETS, options=False, silent_after=1, repeats=50)
    with trivial(server) as url, answered(url, patience=30) as answer:
        answer.read(9999)
        with pytest.raises(BrokenError, match="no answer in time"):
            answer.read(1)

    assert monotonic() - begun < 20


def test_nobody_there_is_a_broken_connection() -> None:
    with pytest.raises(BrokenError, match="no answer in time"):
        asking("tftp://127.0.0.1:9", patience=0.3).open(0, None)


def test_a_name_that_nobody_has_is_a_broken_connection() -> None:
    with pytest.raises(BrokenError) as caught:
        asking("tftp://nowhere.invalid").open(0, None)

    assert caught.value.reason == "contact"


def test_a_server_has_an_address_of_ipv6() -> None:
    with trivial(TrivialServer(octets=OCTETS), "::1") as url:
        assert everything(url) == OCTETS
