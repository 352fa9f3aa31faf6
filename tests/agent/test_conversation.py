"""A session carried over a connection: posts, answers, calls, and what is no envelope."""

from collections.abc import Callable, Sequence

import pytest

from spkg.agent.conversation import converse
from spkg.cwmp.envelopes import Message
from spkg.cwmp.session import BrokenSessionError, Request, Session
from tests.support.acs import inform_response, request, response

INFORM = Request("Inform", b"<inform/>", "1")


class Line:
    """A connection whose server has its answers ready."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = [*answers]
        self.posts: list[tuple[bytes, ...]] = []

    def post(self, envelopes: Sequence[bytes]) -> bytes:
        self.posts.append(tuple(envelopes))
        return self.answers.pop(0)


def stopped() -> float:
    return 0.0


def carry(
    line: Line,
    *requests: Request,
    most: int = 1,
    clock: Callable[[], float] = stopped,
    ending: Callable[[], bool] = lambda: False,
) -> tuple[int, list[str], list[str]]:
    """Carry a session, and return the posts, the calls, and the requests that were answered."""
    calls: list[str] = []
    taken: list[str] = []

    def answer(message: Message) -> bytes:
        calls.append(message.name)
        return b"<answer/>"

    posts = converse(
        line,
        Session(INFORM, requests),
        answer=answer,
        took=lambda request, message: taken.append(f"{request.method}:{message.kind.value}"),
        clock=clock,
        most=most,
        ending=ending,
    )
    return posts, calls, taken


def test_a_quiet_session_is_an_inform_and_an_empty_post() -> None:
    line = Line(inform_response("1"), b"")

    assert carry(line) == (2, [], ["Inform:response"])
    assert line.posts == [(b"<inform/>",), ()]


def test_an_agent_that_has_to_end_breaks_off_between_two_posts() -> None:
    line = Line(inform_response("1"), request("GetRPCMethods"), request("Reboot"), b"")

    with pytest.raises(BrokenSessionError) as caught:
        carry(line, ending=lambda: len(line.posts) == 2)

    assert str(caught.value) == "the agent ends: the session was broken after 2 posts"
    assert line.posts == [(b"<inform/>",), ()]


def test_calls_are_answered_in_the_next_posts() -> None:
    line = Line(inform_response("1"), request("GetRPCMethods"), request("Reboot"), b"")

    assert carry(line) == (4, ["GetRPCMethods", "Reboot"], ["Inform:response"])
    assert line.posts == [(b"<inform/>",), (), (b"<answer/>",), (b"<answer/>",)]


def test_our_requests_go_before_the_first_empty_post() -> None:
    told = Request("TransferComplete", b"<told/>", "2")
    line = Line(inform_response("1"), response("TransferComplete", id="2"), b"")

    assert carry(line, told) == (3, [], ["Inform:response", "TransferComplete:response"])
    assert line.posts == [(b"<inform/>",), (b"<told/>",), ()]


def test_several_envelopes_are_read_where_they_are_announced() -> None:
    line = Line(inform_response("1"), request("GetRPCMethods") + request("Reboot", id="b"), b"", b"")

    assert carry(line, most=16)[1] == ["GetRPCMethods", "Reboot"]


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"<html>login</html>", "<html>login</html>"),
        (b"500 oops", "500 oops"),
        (b"\xff\xfe<", r"'\xff\xfe<'"),
        (b"<!DOCTYPE a><a/>", "<!DOCTYPE a><a/>"),
        (request("A") + request("B", id="b"), "<soap:Envelope"),
    ],
)
def test_what_is_no_envelope_breaks_the_session_and_is_shown(body: bytes, shown: str) -> None:
    with pytest.raises(BrokenSessionError) as caught:
        carry(Line(inform_response("1"), body))

    assert str(caught.value).startswith("the ACS answered something else than envelopes: ")
    assert shown in str(caught.value)


def test_every_envelope_is_traced() -> None:
    seen: list[tuple[str, bytes]] = []

    converse(
        Line(inform_response("1"), b""),
        Session(INFORM),
        answer=lambda _message: b"",
        took=lambda _request, _message: None,
        clock=stopped,
        trace=lambda direction, octets: seen.append((direction, octets)),
    )

    assert seen == [("sent", b"<inform/>"), ("received", inform_response("1"))]


class Endless(Line):
    """A server that always asks for something more, and takes its time."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.now = 0.0
        self._seconds = seconds

    def post(self, envelopes: Sequence[bytes]) -> bytes:
        self.now += self._seconds
        self.posts.append(tuple(envelopes))
        return inform_response("1") if len(self.posts) == 1 else request("GetRPCMethods")


@pytest.mark.parametrize(("seconds", "got"), [(0.25, "10000 posts in 2500 s"), (90, "40 posts in 3600 s")])
def test_a_server_that_asks_for_ever_is_left(seconds: float, got: str) -> None:
    line = Endless(seconds)

    with pytest.raises(BrokenSessionError) as caught:
        carry(line, clock=lambda: line.now)

    assert str(caught.value) == (
        f"expected the end of the session within 10000 posts and 3600 s, got {got}, and no end"
    )
