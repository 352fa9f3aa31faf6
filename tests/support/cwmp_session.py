"""What an ACS says in a session, and a referee who watches the posts: both written from the text alone."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

from spkg.cwmp.envelopes import Message, read_message
from spkg.cwmp.session import Request

__all__ = ["INFORM", "Referee", "answered", "asked", "fault", "flow", "ours", "said"]


@cache
def said(body: str, identity: str | None = None, *, hold: bool = False, no_more: bool = False) -> Message:
    """Return an envelope of the ACS, read."""
    headers = "" if identity is None else f'<c:ID s:mustUnderstand="1">{identity}</c:ID>'
    headers += '<c:HoldRequests s:mustUnderstand="1">1</c:HoldRequests>' if hold else ""
    headers += "<c:NoMoreRequests>1</c:NoMoreRequests>" if no_more else ""
    header = f"<s:Header>{headers}</s:Header>" if headers else ""
    return read_message(
        '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" '
        f'xmlns:c="urn:dslforum-org:cwmp-1-0">{header}<s:Body>{body}</s:Body></s:Envelope>'.encode()
    )


def asked(
    identity: str | None, method: str = "GetRPCMethods", *, hold: bool = False, no_more: bool = False
) -> Message:
    """Return a request of the ACS."""
    return said(f"<c:{method}/>", identity, hold=hold, no_more=no_more)


def answered(request: Request, *, hold: bool = False, no_more: bool = False) -> Message:
    """Return the response to a request of ours."""
    return said(f"<c:{request.method}Response/>", request.id, hold=hold, no_more=no_more)


def fault(request: Request, code: int, *, hold: bool = False, no_more: bool = False) -> Message:
    """Return the fault in answer to a request of ours."""
    return said(
        "<s:Fault><faultcode>Server</faultcode><faultstring>CWMP fault</faultstring><detail><c:Fault>"
        f"<FaultCode>{code}</FaultCode><FaultString>no</FaultString></c:Fault></detail></s:Fault>",
        request.id,
        hold=hold,
        no_more=no_more,
    )


def flow(*, hold: bool = False, no_more: bool = False) -> Message:
    """Return an envelope with headers alone (Table 3)."""
    return said("", hold=hold, no_more=no_more)


def ours(method: str, identity: str) -> Request:
    """Return a request of ours; its octets begin with ``request``, and an answer of ours with ``answer``."""
    return Request(method, f"request {identity}".encode(), identity)


INFORM = ours("Inform", "inform")

TABLE_5 = {
    # (CPE requests pending, HoldRequests, ACS requests outstanding): what a post has to hold
    (True, False, True): {"answer", "request"},
    (True, False, False): {"request"},
    (True, True, True): {"answer"},
    (True, True, False): {"nothing"},
    (False, False, True): {"answer"},
    (False, True, True): {"answer"},
    (False, False, False): {"nothing"},
    (False, True, False): {"nothing"},
}
"""Table 5, cell by cell."""


@dataclass
class Referee:
    """Watches what is posted and what the ACS says, and knows from it alone what 3.7.1 allows next."""

    outstanding: int
    pending: deque[str] = field(default_factory=deque)
    """The IDs of requests of ours that were not sent, or are to be sent again."""
    missing: list[str] = field(default_factory=list)
    """Those that were sent and not answered."""
    asked: deque[str] = field(default_factory=deque)
    """The IDs of the ACS's requests that were not answered."""
    held: bool = False
    last_was_empty: bool = False
    no_more: bool = False
    repeated: dict[str, int] = field(default_factory=dict)
    posts: int = 0

    def state(self) -> tuple[object, ...]:
        """Return all that matters for what comes next."""
        repeats = tuple(sorted(self.repeated.items()))
        return (*self.short(), len(self.pending), len(self.missing), len(self.asked), repeats)

    def short(self) -> tuple[bool, ...]:
        """Return the state as 3.7.1 has it, without numbers."""
        return (
            self.held,
            bool(self.pending),
            bool(self.missing),
            bool(self.asked),
            self.last_was_empty,
            self.no_more,
        )

    def is_over(self) -> bool:
        """Say whether all conditions of 3.7.1.4 are met."""
        acs_has_no_further_requests = self.last_was_empty or self.no_more
        return acs_has_no_further_requests and not self.pending and not self.missing and not self.asked

    def check(self, post: Sequence[bytes]) -> None:
        """Assert that the text allows this post."""
        assert not self.is_over(), "the session is over"
        self.posts += 1
        assert len(post) <= 1, "one envelope a post"
        kind, _, identity = post[0].decode().partition(" ") if post else ("nothing", "", "")
        if self.posts == 1:
            assert (kind, identity) == ("request", INFORM.id), "an Inform begins the session (3.7)"
            self.missing.append(identity)
            return
        may_send = bool(self.pending) and len(self.missing) < self.outstanding
        if INFORM.id in self.pending:  # 3.7.1.3 is about requests after the Inform
            assert (kind, identity) == ("request", INFORM.id), "an Inform is repeated at once (A.5.3)"
        else:
            allowed = TABLE_5[may_send, self.held, bool(self.asked)]
            assert kind in allowed, f"{kind} where Table 5 has {allowed}"
        if kind == "answer":
            assert identity == self.asked.popleft(), "answers keep the order of the requests (3.7.1.2)"
        if kind == "request":
            assert identity == self.pending.popleft(), "our requests keep their order"
            self.missing.append(identity)

    def hears(
        self, messages: Sequence[Message], answers: Sequence[tuple[str, int]], calls: Sequence[str]
    ) -> None:
        """Take note of a response: the IDs that it answers, each with its fault or 0, and its requests."""
        for identity, code in answers:
            self.missing.remove(identity)
            if code == 8005 and self.repeated.get(identity, 0) < 3:
                self.repeated[identity] = self.repeated.get(identity, 0) + 1
                self.pending.appendleft(identity)
        self.asked += calls
        self.held = messages[-1].hold_requests if messages else False
        self.last_was_empty = not messages
        self.no_more = messages[-1].no_more_requests if messages else self.no_more
