"""A session with the ACS as a value: what the next post holds, and when it is over (TR-069 3.7.1, Table 5).

It knows no connection, no clock and no database.  Its user posts what :meth:`Session.next_post` gives, hands
over the messages of the response with :meth:`Session.received`, and the answer to each call with
:meth:`Session.answer`.  A broken session is thrown away: the next one begins with an Inform again (3.7.1.4).
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, assert_never, final

from spkg.common.hostile_xml import XML_BLANKS
from spkg.common.printable import amount, printable
from spkg.cwmp.calls import read_fault
from spkg.cwmp.envelopes import Message, MessageKind
from spkg.errors import TransferError

__all__ = [
    "MAX_RETRIES",
    "RETRY_REQUEST",
    "BrokenSessionError",
    "Over",
    "Post",
    "Received",
    "Request",
    "Session",
]

RETRY_REQUEST: Final = 8005
"""The fault of an ACS that wants the same request again, at once (A.5.2, A.5.3)."""
MAX_RETRIES: Final = 3
"""How often a request is repeated at once; after that it waits for the next session."""
MAX_IDLE: Final = 32
"""How many empty posts in a row may be answered with headers alone, so that no server holds us for ever."""
LENIENT: Final = "TransferComplete"
"""The method whose answer has another name with some servers; it has no arguments that could be missed."""
MAX_ANSWER_SHOWN: Final = 64
"""How many characters of what a server chose are shown."""


class BrokenSessionError(TransferError):
    """The ACS did not keep to 3.7; the session is at an end, and what it was for is not done."""


@dataclass(frozen=True)
class Request:
    """A request of ours, ready to be sent."""

    method: str
    octets: bytes = field(repr=False)
    """Its envelope."""
    id: str
    """Its cwmp:ID, without blanks around it."""


@dataclass(frozen=True)
class Post:
    """What to send next: no envelope, or one."""

    envelopes: tuple[bytes, ...]


@dataclass(frozen=True)
class Over:
    """The session is over, cleanly (3.7.1.4): close the connection, then do what waited for its end."""


@dataclass(frozen=True)
class Received:
    """What came with a response, in its order."""

    calls: tuple[Message, ...] = ()
    """Requests of the ACS; each wants an :meth:`Session.answer`."""
    answers: tuple[tuple[Request, Message], ...] = ()
    """Requests of ours with their response or fault, but for those that are sent again after an 8005."""


@dataclass(frozen=True)
class _Ours:
    request: Request
    repeated: int = 0


def _same(request: Request) -> Request:
    return request


@final
class Session:
    """One session.

    Args:
        inform: The Inform, which is the whole first post.
        requests: What we have to say besides, in this order.
        outstanding: The most requests of ours without an answer; a request beyond it is not pending yet.
        again: What to send in place of a request answered with 8005; an Inform raises its RetryCount.
    """

    def __init__(
        self,
        inform: Request,
        requests: Sequence[Request] = (),
        *,
        outstanding: int = 1,
        again: Callable[[Request], Request] = _same,
    ) -> None:
        if outstanding < 1:
            raise ValueError("at least one request has to be allowed")
        self._outstanding = outstanding
        self._again = again
        self._inform: _Ours | None = _Ours(inform)
        self._waiting = deque(map(_Ours, requests))
        self._unanswered: list[_Ours] = []
        self._answers: deque[bytes] = deque()
        self._asked = 0
        """How many calls of the ACS have no answer of ours yet."""
        self._held = False
        self._no_more = False
        """Whether the last envelope of the ACS said that it has no further requests."""
        self._silent = False
        """Whether the last response was empty."""
        self._idle = 0
        self._posted: Post | None = None
        self._over = False

    def add(self, request: Request) -> None:
        """Have one more request sent, behind those that wait."""
        if self._over:
            raise ValueError("the session is over")
        self._waiting.append(_Ours(request))

    def answer(self, octets: bytes) -> None:
        """Answer the next call of the ACS: once for each, in their order (3.7.1.2)."""
        if not self._asked:
            raise ValueError("every call has its answer")
        self._asked -= 1
        self._answers.append(octets)

    def next_post(self) -> Post | Over:
        """Return what to send next (Table 5), or that the session is over (3.7.1.4)."""
        if self._posted is not None:
            raise ValueError("the response to the last post is still to come")
        if self._asked:
            raise ValueError(f"{amount(self._asked, 'call')} of the ACS not answered")
        if self._is_over():
            self._over = True
            return Over()
        self._posted = Post(self._envelopes())
        return self._posted

    def received(self, messages: Sequence[Message]) -> Received:
        """Take the messages of the response to the last post; none if it was empty.

        Raises:
            BrokenSessionError: They do not fit what the ACS was sent.
        """
        if self._posted is None:
            raise ValueError("nothing has been posted")
        posted, self._posted = self._posted, None
        calls: list[Message] = []
        answers: list[tuple[Request, Message]] = []
        for message in messages:
            match message.kind:
                case MessageKind.CALL:
                    if self._inform is not None:
                        raise _broken("InformResponse", printable(message.name[:MAX_ANSWER_SHOWN]), "3.7.2.1")
                    calls.append(message)
                case MessageKind.RESPONSE | MessageKind.FAULT:
                    answers += self._settle(message)
                case MessageKind.FLOW:
                    pass
                case _:
                    assert_never(message.kind)
        if self._inform in self._unanswered:
            raise _broken("InformResponse", _what_came(messages), "3.7.2.1")
        self._check_progress(posted, messages)
        # Only the last envelope decides, and an empty response holds nothing back (3.7.1.3).
        self._held = messages[-1].hold_requests if messages else False
        self._no_more = messages[-1].no_more_requests if messages else self._no_more
        self._silent = not messages
        self._asked = len(calls)
        return Received(tuple(calls), tuple(answers))

    def _is_over(self) -> bool:
        """Say whether all four conditions of 3.7.1.4 are met."""
        has_more_to_send = self._inform is not None or bool(self._waiting)
        return (
            (self._silent or self._no_more)
            and not has_more_to_send
            and not self._unanswered
            and not self._answers
        )

    def _envelopes(self) -> tuple[bytes, ...]:
        """Return the envelope of the next post: answers before requests, so that none is held back."""
        if self._inform is not None:
            self._unanswered.append(self._inform)
            return (self._inform.request.octets,)
        if self._answers:
            return (self._answers.popleft(),)
        if self._waiting and not self._held and len(self._unanswered) < self._outstanding:
            ours = self._waiting.popleft()
            self._unanswered.append(ours)
            return (ours.request.octets,)
        return ()

    def _settle(self, message: Message) -> list[tuple[Request, Message]]:
        """Find the request that a response or fault is for, and return both unless it is sent again."""
        ours = self._asked_for(message)
        self._unanswered.remove(ours)
        fault = read_fault(message) if message.kind is MessageKind.FAULT else None
        if fault is not None and fault.code == RETRY_REQUEST and ours.repeated < MAX_RETRIES:
            once_more = replace(ours, request=self._again(ours.request), repeated=ours.repeated + 1)
            if ours is self._inform:
                self._inform = once_more
            else:
                self._waiting.appendleft(once_more)
            return []
        if ours is self._inform:
            if fault is not None:
                shown = f"fault {fault.code} '{printable(fault.text)}'"
                raise _broken("InformResponse", shown, "A.3.3.1")
            self._inform = None
        return [(ours.request, message)]

    def _asked_for(self, message: Message) -> _Ours:
        """Return the request that a response or fault is for: by its ID, or else the oldest."""
        got = _name(message)
        if not self._unanswered:
            raise _broken("no answer, because no request waits for one", got, "3.7.2.2")
        oldest = self._unanswered[0]
        stated = (message.id or "").strip(XML_BLANKS)
        ours = next((one for one in self._unanswered if one.request.id == stated), None) if stated else oldest
        if ours is None:
            wanted = f"the answer to {oldest.request.method} with the ID {oldest.request.id!r}"
            raise _broken(wanted, f"{got} with the ID '{printable(stated[:MAX_ANSWER_SHOWN])}'", "3.5")
        method = ours.request.method
        if message.kind is MessageKind.RESPONSE and message.name != method:
            others = {one.request.method for one in self._unanswered}
            if method != LENIENT or message.name in others:
                raise _broken(f"{method}Response", got, "3.5")
        return ours

    def _check_progress(self, posted: Post, messages: Sequence[Message]) -> None:
        """Raise where a server lets us wait for an answer or for the end of a hold, for ever."""
        idle = not posted.envelopes and all(message.kind is MessageKind.FLOW for message in messages)
        self._idle = self._idle + 1 if idle else 0
        if idle and not messages and self._unanswered:
            raise _broken(f"{self._unanswered[0].request.method}Response", "an empty response", "3.7.2.3")
        if self._idle > MAX_IDLE:
            got = f"{self._idle} responses in a row with headers alone"
            raise _broken("a request, an answer or an empty response", got, "3.7.2.2")


def _broken(expected: str, got: str, section: str) -> BrokenSessionError:
    return BrokenSessionError(f"expected {expected}, got {got}", section=section)


def _what_came(messages: Sequence[Message]) -> str:
    return "an empty response" if not messages else "an envelope with headers alone"


def _name(message: Message) -> str:
    if message.kind is MessageKind.FAULT:
        return "a fault"
    return f"{printable(message.name[:MAX_ANSWER_SHOWN])}Response"
