"""One session with the ACS, from the Inform to its end: posts out, calls answered, answers taken."""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from spkg.common.printable import amount, printable
from spkg.cwmp.envelopes import Message, read_message, split_envelopes
from spkg.cwmp.session import BrokenSessionError, Post, Request, Session
from spkg.errors import FormatError, RefusedError

__all__ = ["Poster", "converse", "read_response"]

FIRST_OCTETS: Final = 80
"""How much of a response that is no envelope is shown, in bytes."""
MOST_POSTS: Final = 10_000
"""The most posts of a session, so that no server keeps the device for itself for ever."""
LONGEST_SESSION: Final = 3600
"""How long a session may go on, in seconds; the exchange that goes on then is the last one."""


class Poster(Protocol):
    """What carries a session."""

    def post(self, envelopes: Sequence[bytes]) -> bytes:
        """Post envelopes, or nothing, and return the body of the response."""
        ...


def converse(
    connection: Poster,
    session: Session,
    *,
    answer: Callable[[Message], bytes],
    took: Callable[[Request, Message], None],
    clock: Callable[[], float],
    trace: Callable[[str, bytes], None] = lambda _direction, _octets: None,
    most: int = 1,
    ending: Callable[[], bool] = lambda: False,
) -> int:
    """Carry a session through to its end, and return how many posts it took.

    Args:
        connection: Carries it.
        session: What has to be said, and in which order.
        answer: Answers a call of the ACS; what it does is durable before it returns.
        took: Is given each request of ours with its response or fault.
        clock: Returns the time in seconds; it never jumps.
        trace: Is given every envelope, and ``sent`` or ``received``.
        most: The most envelopes in a response: our MaxEnvelopes.
        ending: Whether the agent can wait no longer for the end of the session: it breaks then, between two
            posts or within one, and is begun anew by the next agent.

    Raises:
        TransferError: The ACS was not reached, does not keep to the protocol, or does not come to an end.
        HostError: A file that the connection needs can't be read.
    """
    posts, begun = 0, clock()
    while isinstance(post := session.next_post(), Post):
        if posts >= MOST_POSTS or clock() - begun >= LONGEST_SESSION:
            limit = f"{MOST_POSTS} posts and {LONGEST_SESSION} s"
            got = f"{amount(posts, 'post')} in {clock() - begun:.0f} s, and no end"
            raise BrokenSessionError(f"expected the end of the session within {limit}, got {got}")
        if ending():
            raise BrokenSessionError(f"the agent ends: the session was broken after {amount(posts, 'post')}")
        posts += 1
        for octets in post.envelopes:
            trace("sent", octets)
        body = connection.post(post.envelopes)
        messages = read_response(body, most)
        for message in messages:
            trace("received", message.octets)
        received = session.received(messages)
        for request, message in received.answers:
            took(request, message)
        for call in received.calls:
            session.answer(answer(call))
    return posts


def read_response(body: bytes, most: int) -> list[Message]:
    """Return the messages of a response.

    Args:
        body: The whole response.
        most: The most envelopes that it may have.

    Raises:
        BrokenSessionError: It is something else.
    """
    try:
        return [read_message(octets) for octets in split_envelopes(body, most)]
    except (FormatError, RefusedError) as exc:
        first = printable(body[:FIRST_OCTETS].decode("utf-8", "backslashreplace"))
        problem = f"the ACS answered something else than envelopes: {exc}; it begins with '{first}'"
        raise BrokenSessionError(problem) from exc
