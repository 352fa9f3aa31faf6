"""A session and an ACS that keeps 3.7.2, whatever it chooses: it ends, and nothing stays unsaid."""

from collections import deque
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spkg.cwmp.envelopes import Message
from spkg.cwmp.session import Over, Request, Session
from tests.support.cwmp_session import INFORM, answered, asked, flow, ours


@dataclass
class PoliteAcs:
    """An ACS after 3.7.2: random in all that the text leaves to it."""

    random: Random
    max_envelopes: int
    to_ask: int
    uses_no_more: bool
    due: deque[Request] = field(default_factory=deque)
    """Requests of the device that it has not answered."""
    asked: list[str] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    """The IDs of the answers that came, in their order."""
    flows: int = 0

    def respond(self, post: tuple[bytes, ...], known: dict[str, Request]) -> list[Message]:
        """Return the response to a post."""
        for octets in post:
            kind, _, identity = octets.decode().partition(" ")
            if kind == "request":
                self.due.append(known[identity])
            else:
                self.heard.append(identity)
        if not self.due and not self.to_ask:
            # 3.7.2.3 allows an empty response now; headers alone do as well, a few times.
            self.flows += 1
            return [flow(no_more=self.uses_no_more)] if self.flows < 5 and self.random.random() < 0.5 else []
        messages: list[Message] = []
        for _ in range(self.random.randint(1, self.max_envelopes)):
            welcome = bool(self.due) and self.due[0] is INFORM
            if self.due and (welcome or not self.to_ask or self.random.random() < 0.5):
                request = self.due.popleft()
                messages.append(answered(request, hold=self._holds(), no_more=self._says_no_more()))
            elif self.to_ask:
                self.to_ask -= 1
                self.asked.append(f"c{len(self.asked)}")
                messages.append(asked(self.asked[-1], hold=self._holds(), no_more=self._says_no_more()))
        return messages

    def _holds(self) -> bool:
        """Hold requests now and then, but allow them before the end (3.7.2.2)."""
        return bool(self.to_ask) and self.random.random() < 0.4

    def _says_no_more(self) -> bool:
        return self.uses_no_more and not self.to_ask


@given(
    st.randoms(use_true_random=False),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.integers(0, 6), st.integers(0, 6)),
    st.sampled_from(["no more", ""]),
)
def test_a_session_with_an_acs_that_keeps_the_rules_ends_with_everything_said(
    random: Random, limits: tuple[int, int], numbers: tuple[int, int], header: str
) -> None:
    (outstanding, max_envelopes), (requests, calls) = limits, numbers
    mine = [ours("TransferComplete", f"tc{number}") for number in range(requests)]
    known = {request.id: request for request in [INFORM, *mine]}
    acs = PoliteAcs(random, max_envelopes, calls, uses_no_more=bool(header))
    session = Session(INFORM, mine, outstanding=outstanding)
    done: list[str] = []

    for _ in range(200):
        post = session.next_post()
        if isinstance(post, Over):
            break
        received = session.received(acs.respond(post.envelopes, known))
        done += [request.id for request, _ in received.answers]
        for call in received.calls:
            session.answer(f"answer {call.id}".encode())
    else:
        pytest.fail("the session does not end")

    assert done == ["inform", *(request.id for request in mine)]
    assert acs.heard == acs.asked == [f"c{number}" for number in range(calls)]
    assert not acs.due
