"""Looking at the way to an ACS a step at a time, without an Inform: name, TCP, TLS, login, HTTP."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass

from spkg.agent.acs_response import acs_location
from spkg.agent.client import AcsClient
from spkg.agent.contact import ContactError, ContactKind

__all__ = ["ContactStep", "check_contact"]


@dataclass(frozen=True, kw_only=True)
class ContactStep:
    """One step of the way."""

    kind: ContactKind
    passed: bool
    text: str
    """What was found, or what is wrong."""
    hint: str | None = None


def check_contact(client: AcsClient, url: str, username: str | None, password: str) -> Iterator[ContactStep]:
    """Give the steps of the way to an ACS, up to the first that fails.

    An empty post is sent, which begins no session (TR-069 3.7.1.1), and a challenge is answered.  A status of
    400 to it is what an ACS says that is not in a session.

    Raises:
        HostError: A file of the settings is not valid.
        OSError: It can't be read.
    """
    try:
        location = acs_location(url)
    except ContactError as exc:
        yield ContactStep(kind=exc.kind, passed=False, text=exc.problem)
        return
    try:
        found = socket.getaddrinfo(location.host, location.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        text = f"{location}: the host name can't be resolved"
        yield ContactStep(kind=ContactKind.NAME, passed=False, text=text)
        return
    addresses = ", ".join(dict.fromkeys(str(one[4][0]) for one in found))
    yield ContactStep(kind=ContactKind.NAME, passed=True, text=f"{location.host} is {addresses}")
    problem: ContactError | None = None
    with client.open(url, username, password) as connection:
        try:
            connection.post([])
        except ContactError as exc:
            problem = exc
        if connection.local_address is not None:
            text = f"connected from {connection.local_address}"
            yield ContactStep(kind=ContactKind.CONNECT, passed=True, text=text)
        if connection.tls is not None:
            text = f"{connection.tls}, the certificate is trusted"
            yield ContactStep(kind=ContactKind.TLS, passed=True, text=text)
        asked = connection.asked
        if asked is not None and (problem is None or problem.kind is not ContactKind.LOGIN):
            yield ContactStep(kind=ContactKind.LOGIN, passed=True, text=f"{asked}, the login is accepted")
    in_no_session = problem is not None and problem.kind is ContactKind.HTTP and problem.status == 400
    if problem is None or in_no_session:
        text = "answers" if problem is None else "answers as an ACS without a session (HTTP status 400)"
        yield ContactStep(kind=ContactKind.HTTP, passed=True, text=text)
    else:
        yield ContactStep(kind=problem.kind, passed=False, text=problem.problem, hint=problem.hint)
