"""Table 5 and 3.7.1.4 whole: every state of a session with every answer, watched by a referee (S6 to S14)."""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spkg.cwmp.envelopes import Message
from spkg.cwmp.session import BrokenSessionError, Over, Request, Session
from tests.support.cwmp_session import INFORM, TABLE_5, Referee, answered, asked, fault, flow, ours
from tests.support.sampling import amount

OURS = {one.id: one for one in [INFORM, *(ours("TransferComplete", f"tc{number}") for number in range(9))]}
FLAGS = [*product([False, True], repeat=2)]
MOST = 2
"""How many requests of each side wait at most, where all states are tried."""


@dataclass
class Match:
    """A session, and the referee who watches it."""

    session: Session
    referee: Referee

    @classmethod
    def begin(cls, requests: Sequence[Request], outstanding: int) -> "Match":
        match = cls(Session(INFORM, requests, outstanding=outstanding), Referee(outstanding))
        match.referee.pending.extend(one.id for one in requests)
        return match

    def post(self) -> bool:
        """Have the session post, and say whether it goes on."""
        post = self.session.next_post()
        if isinstance(post, Over):
            assert self.referee.is_over(), f"over, although {self.referee}"
            return False
        self.referee.check(post.envelopes)
        return True

    def hear(
        self, messages: Sequence[Message], answers: Sequence[tuple[str, int]], calls: Sequence[str]
    ) -> None:
        """Hand over a response that breaks no rule."""
        received = self.session.received(messages)

        assert [call.id for call in received.calls] == [*calls]
        self.referee.hears(messages, answers, calls)
        repeated = set(self.referee.pending)
        assert [request.id for request, _ in received.answers] == [
            identity for identity, _ in answers if identity not in repeated
        ]
        for identity in calls:
            self.session.answer(f"answer {identity}".encode())

    def state(self) -> tuple[object, ...]:
        return (self.referee.posts == 0, *self.referee.state())


def single(match: Match) -> Iterator[tuple[str, list[Message], list[tuple[str, int]], list[str]]]:
    """Give every response of at most one envelope: its name, the messages, whom it answers, what it asks."""
    referee = match.referee
    yield "nothing", [], [], []
    for hold, no_more in FLAGS:
        how = f"{'+hold' * hold}{'+no more' * no_more}"
        yield f"flow{how}", [flow(hold=hold, no_more=no_more)], [], []
        call = f"c{referee.posts}"
        yield f"call{how}", [asked(call, hold=hold, no_more=no_more)], [], [call]
        for identity in referee.missing[:1]:
            request = OURS[identity]
            yield f"answer{how}", [answered(request, hold=hold, no_more=no_more)], [(identity, 0)], []
            for code in (8005, 8000):
                messages = [fault(request, code, hold=hold, no_more=no_more)]
                yield f"{code}{how}", messages, [(identity, code)], []
        if not referee.missing:
            yield f"unasked answer{how}", [answered(OURS["tc8"], hold=hold, no_more=no_more)], [], []
            yield f"unasked 8005{how}", [fault(OURS["tc8"], 8005, hold=hold, no_more=no_more)], [], []
        else:
            yield f"answer to another{how}", [answered(ours("TransferComplete", "another"))], [], []


def breaks(match: Match, name: str, *, posted_nothing: bool) -> bool:
    """Say whether this response leaves the text so far that the session can't go on."""
    referee = match.referee
    if name.startswith(("unasked", "answer to another")):
        return True
    if INFORM.id in referee.missing:
        spent = referee.repeated.get(INFORM.id, 0) == 3
        return name.startswith(("nothing", "flow", "call", "8000")) or (name.startswith("8005") and spent)
    return name == "nothing" and posted_nothing and bool(referee.missing)


@pytest.mark.part("fuzz")
@pytest.mark.parametrize("outstanding", [1, 2])
@pytest.mark.parametrize("requests", [0, 1, pytest.param(2, marks=pytest.mark.proof)])
def test_every_state_with_every_answer(requests: int, outstanding: int) -> None:
    """Walk from state to state until there is none that was not met, and try every answer in each."""
    begin = Match.begin([*OURS.values()][1 : requests + 1], outstanding)
    met, ways, broke, ended = {begin.state()}, [begin], 0, 0
    cells = set[tuple[bool, bool, bool]]()
    while ways:
        here = ways.pop()
        referee = here.referee
        if referee.posts and INFORM.id not in [*referee.missing, *referee.pending]:
            may_send = bool(referee.pending) and len(referee.missing) < outstanding
            cells.add((may_send, referee.held, bool(referee.asked)))
        before = len(referee.asked), len(referee.pending)
        if not here.post():
            ended += 1
            continue
        posted_nothing = before == (len(referee.asked), len(referee.pending)) and referee.posts > 1
        for name, messages, answers, calls in single(here):
            there = deepcopy(here)
            if breaks(here, name, posted_nothing=posted_nothing):
                with pytest.raises(BrokenSessionError, match=r"^expected "):
                    there.session.received(messages)
                broke += 1
                continue
            there.hear(messages, answers, calls)
            if there.state() not in met and len(there.referee.asked) <= MOST:
                met.add(there.state())
                ways.append(there)

    assert broke >= 20
    assert ended >= 2
    assert len(met) >= {0: 10, 1: 50, 2: 200}[requests]
    assert cells == {cell for cell in TABLE_5 if requests or not cell[0]}, "every cell of Table 5 was met"


PART = st.tuples(st.sampled_from(["call", "answer", "8005", "8000", "flow"]), st.booleans(), st.booleans())


@settings(max_examples=amount(5000, 100))
@given(
    st.integers(1, 4),
    st.integers(0, 4),
    st.lists(st.tuples(st.lists(PART, max_size=6), st.booleans()), max_size=30),
)
def test_holds_and_pipelining_follow_the_text_s9_s10(
    outstanding: int, requests: int, responses: list[tuple[list[tuple[str, bool, bool]], bool]]
) -> None:
    """Several envelopes in a response, in any mixture; requests of ours that come while it runs."""
    match = Match.begin([*OURS.values()][1 : requests + 1], outstanding)
    match.post()
    match.hear([answered(INFORM)], [(INFORM.id, 0)], [])
    more = [*OURS.values()][requests + 1 : requests + 4]
    number = 0
    for parts, adds in responses:
        if adds and more:
            match.referee.pending.append(more[0].id)
            match.session.add(more.pop(0))
        waited = bool(match.referee.missing)
        if not match.post():
            break
        messages, answers, calls = list[Message](), list[tuple[str, int]](), list[str]()
        missing = [*match.referee.missing]
        for what, hold, no_more in parts:
            number += 1
            if what == "call":
                calls.append(f"c{number}")
                messages.append(asked(calls[-1], hold=hold, no_more=no_more))
            elif what == "flow":
                messages.append(flow(hold=hold, no_more=no_more))
            elif missing:
                request = OURS[missing.pop(0)]
                code = int(what) if what.isdigit() else 0
                answers.append((request.id, code))
                message = (
                    fault(request, code, hold=hold, no_more=no_more)
                    if code
                    else answered(request, hold=hold, no_more=no_more)
                )
                messages.append(message)
        if not messages and waited:
            break  # an ACS that owes us an answer has to send something (3.7.2.3)
        match.hear(messages, answers, calls)
    else:
        drain(match)


def drain(match: Match) -> None:
    """Let the ACS come to an end: everything is told once, then it is over."""
    for _ in range(200):
        if not match.post():
            return
        answers = [(identity, 0) for identity in match.referee.missing]
        match.hear([answered(OURS[identity]) for identity, _ in answers], answers, [])
    raise AssertionError("the session does not end")
