"""An ACS on loopback that says what a test tells it to, written from the text of TR-069 and of HTTP.

Nothing here uses the program: not its SOAP, not its HTTP, not its digest.  A plan is a function from a post
to an :class:`Answer`, or the answers themselves, one a post, after which each is answered with 204::

    with ScriptedAcs(session(request("GetRPCMethods"))) as acs:
        ...  # a device that speaks to acs.url
    assert acs.methods == ["Inform", "", "GetRPCMethodsResponse"]
"""

import asyncio
import base64
import hashlib
import re
import secrets
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.request import parse_http_list, parse_keqv_list
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

__all__ = [
    "CWMP",
    "Answer",
    "DigestLogin",
    "Plan",
    "Post",
    "ScriptedAcs",
    "acs_fault",
    "answers",
    "envelope",
    "inform_response",
    "request",
    "response",
    "session",
]

CWMP: Final = "urn:dslforum-org:cwmp-1-0"
SOAP: Final = "http://schemas.xmlsoap.org/soap/envelope/"
HEAD: Final = (
    '<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/" '
    'xmlns:soapenc="http://schemas.xmlsoap.org/soap/encoding/" '
    'xmlns:xsd="http://www.w3.org/2001/XMLSchema" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
    f'xmlns:cwmp="{CWMP}">'
)
PATIENCE: Final = 20
"""How many seconds the server and a test wait for each other."""


# What is said in SOAP, as the text has it (3.5).


def envelope(body: str, id: str | None = None, headers: str = "") -> bytes:  # noqa: A002 - the text's name
    """Return an envelope; without an ID and headers it has no Header."""
    named = "" if id is None else f'<cwmp:ID soap:mustUnderstand="1">{escape(id)}</cwmp:ID>'
    header = f"<soap:Header>{named}{headers}</soap:Header>" if named or headers else ""
    return f"{HEAD}{header}<soap:Body>{body}</soap:Body></soap:Envelope>".encode()


def request(
    method: str,
    arguments: str = "",
    id: str | None = "acs-1",  # noqa: A002
    *,
    hold: bool | None = None,
    no_more: bool | None = None,
) -> bytes:
    """Return a request; its arguments are XML."""
    flow = "".join(
        f'<cwmp:{name} soap:mustUnderstand="1">{int(value)}</cwmp:{name}>'
        for name, value in (("HoldRequests", hold), ("NoMoreRequests", no_more))
        if value is not None
    )
    return envelope(f"<cwmp:{method}>{arguments}</cwmp:{method}>", id, flow)


def response(method: str, values: str = "", id: str | None = None) -> bytes:  # noqa: A002
    """Return the answer to a method."""
    return request(f"{method}Response", values, id)


def inform_response(id: str | None = None, most: int = 1) -> bytes:  # noqa: A002
    """Return the answer to an Inform."""
    return response("Inform", f"<MaxEnvelopes>{most}</MaxEnvelopes>", id)


def acs_fault(code: int, text: str = "no", id: str | None = None) -> bytes:  # noqa: A002
    """Return a fault."""
    return envelope(
        "<soap:Fault><faultcode>Server</faultcode><faultstring>CWMP fault</faultstring><detail><cwmp:Fault>"
        f"<FaultCode>{code}</FaultCode><FaultString>{escape(text)}</FaultString>"
        "</cwmp:Fault></detail></soap:Fault>",
        id,
    )


# What came, and what is answered.


@dataclass(frozen=True, kw_only=True)
class Post:
    """A request as it came."""

    verb: str
    target: str
    headers: Mapping[str, str]
    """By names in lower case."""
    body: bytes
    connection: int
    """Which connection it came on, counted from 1."""
    number: int
    """Which request it is, counted from 0; those that were answered 401 by the login don't count."""
    at: float
    """When it was complete."""

    @property
    def envelopes(self) -> tuple[ET.Element, ...]:
        """The envelopes in it."""
        pieces = re.findall(rb"<(?:\w+:)?Envelope\b.*?</(?:\w+:)?Envelope>", self.body, re.DOTALL)
        return tuple(map(ET.fromstring, pieces))

    @property
    def methods(self) -> tuple[str, ...]:
        """The local names of what is in the bodies of its envelopes."""
        bodies = (one.find(f"{{{SOAP}}}Body") for one in self.envelopes)
        return tuple(child.tag.rpartition("}")[2] for body in bodies if body is not None for child in body)

    @property
    def method(self) -> str:
        """The local name of what its first envelope says; empty where there is none."""
        return next(iter(self.methods), "")

    @property
    def id(self) -> str | None:
        """The ID of its first envelope."""
        return self.text("ID") if self.envelopes else None

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies that it brought."""
        pairs = (one.partition("=") for one in self.headers.get("cookie", "").split(";"))
        return {name.strip(): value.strip() for name, equals, value in pairs if equals}

    def text(self, name: str) -> str | None:
        """Return the text of the first element of a local name; None where there is none."""
        return next(self.texts(name), None)

    def texts(self, name: str) -> Iterator[str]:
        """Give the texts of all elements of a local name."""
        for root in self.envelopes:
            for one in root.iter():
                if one.tag.rpartition("}")[2] == name:
                    yield one.text or ""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What is answered to a post."""

    body: bytes = b""
    status: int = 0
    """0: 200 with a body, 204 without."""
    headers: tuple[tuple[str, str], ...] = ()
    raw: bytes | None = None
    """All octets of the answer, in place of what the rest would make."""
    close: bool = False
    """Whether the connection is closed behind it, without a word."""
    pause: float = 0
    """How many seconds pass before it."""
    drip: float = 0
    """How many seconds pass between two of its octets."""
    stall: bool = False
    """Whether the connection stays open behind it, and nothing more is read."""
    chunked: bool = False
    cut: int | None = None
    """After how many octets of the whole answer the connection is closed."""
    endless: bytes = b""
    """What follows it again and again, for as long as somebody takes it."""

    def octets(self) -> bytes:
        """Return all that is sent."""
        return (self._whole() if self.raw is None else self.raw)[: self.cut]

    def _whole(self) -> bytes:
        status = self.status or (200 if self.body else 204)
        lines = [f"HTTP/1.1 {status} Whatever"]
        if self.body and not any(name.lower() == "content-type" for name, _ in self.headers):
            lines.append('Content-Type: text/xml; charset="utf-8"')
        lines += [f"{name}: {value}" for name, value in self.headers]
        body = self.body
        if self.chunked:
            lines.append("Transfer-Encoding: chunked")
            pieces = [body[at : at + 7] for at in range(0, len(body), 7)]
            body = b"".join(b"%x;x=y\r\n%b\r\n" % (len(one), one) for one in pieces) + b"0\r\n\r\n"
        elif status != 204:
            lines.append(f"Content-Length: {len(body)}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


Plan = Callable[[Post], Answer]
"""What is answered to each post."""


def answers(*all_of_them: Answer | bytes) -> Plan:
    """Answer the posts one after the other, and then with 204."""
    waiting = [one if isinstance(one, Answer) else Answer(body=one) for one in all_of_them]

    def plan(_post: Post) -> Answer:
        return waiting.pop(0) if waiting else Answer()

    return plan


def session(*requests: bytes, most: int = 1, cookie: str | None = None, repeats: bool = False) -> Plan:
    """Do what an ACS does: take the Inform, answer what is asked, and ask where there is room.

    Args:
        requests: What is asked, one a response, after a post that has no request in it.
        most: The MaxEnvelopes.
        cookie: What is set with the first answer and wanted from then on (400 otherwise).
        repeats: Whether each session is asked it again, and not only the first.
    """
    waiting = list(requests)

    def plan(post: Post) -> Answer:
        name = post.method
        if name == "Inform":
            if repeats:
                waiting[:] = requests
            given = () if cookie is None else (("Set-Cookie", cookie),)
            return Answer(body=inform_response(post.id, most), headers=given)
        if cookie is not None:
            known, _, value = cookie.partition(";")[0].partition("=")
            if post.cookies.get(known) != value:
                return Answer(status=400, body=b"Invalid session", headers=(("Content-Type", "text/plain"),))
        if name == "GetRPCMethods":
            listed = ("Inform", "GetRPCMethods", "TransferComplete")
            members = "".join(f"<string>{one}</string>" for one in listed)
            said = f'<MethodList soapenc:arrayType="xsd:string[{len(listed)}]">{members}</MethodList>'
            return Answer(body=response(name, said, post.id))
        if name and name != "Fault" and not name.endswith("Response"):
            return Answer(body=response(name, id=post.id))
        return Answer(body=waiting.pop(0) if waiting else b"")

    return plan


# Logging in by digest (RFC 2617), once more.


@dataclass(kw_only=True)
class DigestLogin:
    """What a server asks of who posts to it."""

    username: str = "00D09E-0123456789"
    password: str = "open sesame"
    realm: str = "acs"
    qop: str | None = "auth,auth-int"
    algorithm: str | None = None
    lifetime: int | None = None
    """For how many requests a nonce is good; then it is stale."""
    per_connection: bool = True
    """Whether a nonce is good on its connection alone."""
    first_only: bool = False
    """Whether only the first post of a connection has to show who it is (3.4.4)."""
    basic: bool = False
    """Whether Basic is asked for in its place."""
    nonces: dict[str, tuple[int, int]] = field(default_factory=dict)
    """The connection and the last count of each nonce."""
    let_in: set[int] = field(default_factory=set)
    """The connections that have shown it."""
    counts: list[int] = field(default_factory=list)
    """The counts of all that was right."""

    def judge(self, post: Post) -> Answer | None:
        """Return the challenge, or None for who is let in."""
        if self.first_only and post.connection in self.let_in:
            return None
        kind, _, said = post.headers.get("authorization", "").partition(" ")
        if self.basic:
            wanted = f"{self.username}:{self.password}".encode()
            if kind == "Basic" and base64.b64decode(said) == wanted:
                return None
            return _refused('Basic realm="acs"')
        if kind != "Digest":
            return self._challenge(post, stale=False)
        parts = parse_keqv_list(parse_http_list(said))
        nonce = parts.get("nonce", "")
        if not self._right(post, parts):
            return self._challenge(post, stale=False)
        connection, last = self.nonces.get(nonce, (0, 0))
        if not connection or (self.per_connection and connection != post.connection):
            return self._challenge(post, stale=False)
        count = int(parts["nc"], 16) if "nc" in parts else last + 1
        if count <= last or (self.lifetime is not None and count > self.lifetime):
            return self._challenge(post, stale=True)
        self.nonces[nonce] = (connection, count)
        self.counts.append(count)
        self.let_in.add(post.connection)
        return None

    def _right(self, post: Post, parts: Mapping[str, str]) -> bool:
        def md5(text: str) -> str:
            return hashlib.md5(text.encode()).hexdigest()

        if parts.get("username") != self.username or parts.get("uri") != post.target:
            return False
        if ("qop" in parts) != (self.qop is not None) or parts.get("qop", "auth") != "auth":
            return False
        if parts.get("algorithm") != self.algorithm:
            return False
        secret = md5(f"{self.username}:{self.realm}:{self.password}")
        if self.algorithm == "MD5-sess":
            secret = md5(f"{secret}:{parts['nonce']}:{parts['cnonce']}")
        middle = f"{parts['nonce']}:{parts['nc']}:{parts['cnonce']}:auth" if self.qop else parts["nonce"]
        return parts["response"] == md5(f"{secret}:{middle}:{md5(f'{post.verb}:{post.target}')}")

    def _challenge(self, post: Post, *, stale: bool) -> Answer:
        nonce = secrets.token_hex(8)
        self.nonces[nonce] = (post.connection, 0)
        said = f'Digest realm="{self.realm}",nonce="{nonce}"'
        said += "" if self.qop is None else f',qop="{self.qop}"'
        said += "" if self.algorithm is None else f",algorithm={self.algorithm}"
        return _refused(said + (",stale=true" if stale else ""))


def _refused(challenge: str) -> Answer:
    headers = (("WWW-Authenticate", challenge), ("Content-Type", "text/plain"))
    return Answer(status=401, body=b"Unauthorized", headers=headers)


# The server.


class ScriptedAcs:
    """A server that follows a plan, in a thread of its own.

    Args:
        plan: What it answers; or the answers, one a post.
        tls: The settings for https.
        login: What it asks of who posts to it.
        path: The path of its URL; all else is answered by the plan, too.
        host: The address that it listens on.
    """

    def __init__(
        self,
        plan: Plan | Iterable[Answer | bytes] = (),
        *,
        tls: ssl.SSLContext | None = None,
        login: DigestLogin | None = None,
        path: str = "/cwmp",
        host: str = "127.0.0.1",
    ) -> None:
        self.plan: Plan = plan if callable(plan) else answers(*plan)
        self.login = login
        self.posts: list[Post] = []
        """What came and was let in."""
        self.refused: list[Post] = []
        """What the login answered with 401."""
        self.connections = 0
        """How many connections there were."""
        self.closed: list[int] = []
        """The connections that the other side closed."""
        self.trouble: list[BaseException] = []
        """What went wrong here: a test whose server fails must fail."""
        self._tls, self._path, self._host = tls, path, host
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.port = 0

    @property
    def url(self) -> str:
        """Its URL."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http{'s' if self._tls else ''}://{host}:{self.port}{self._path}"

    @property
    def methods(self) -> list[str]:
        """What each post said first; an empty text for an empty post."""
        return [one.method for one in self.posts]

    @property
    def informs(self) -> list[Post]:
        """The posts that began sessions."""
        return [one for one in self.posts if one.method == "Inform"]

    def wait(self, done: Callable[[Self], bool], patience: float = PATIENCE) -> None:
        """Wait until something is so; it is looked at after each post and each closed connection."""
        with self._news:
            assert self._news.wait_for(lambda: done(self), patience), f"only {self.methods} came"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(PATIENCE)
        return self

    def __exit__(self, *_problem: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        assert self.trouble == []

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        self._over = asyncio.Event()
        tasks: set[asyncio.Task[None]] = set()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.connections += 1
            task = asyncio.ensure_future(self._connection(reader, writer, self.connections))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        server = await asyncio.start_server(connected, self._host, 0, ssl=self._tls, limit=1 << 22)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._over.wait()
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        try:
            while await self._exchange(reader, writer, number):
                pass
        except (OSError, asyncio.IncompleteReadError, ssl.SSLError):
            pass  # who hangs up is what tests are about
        except Exception as exc:  # noqa: BLE001 - told at the end
            self.trouble.append(exc)
        finally:
            with suppress(OSError, ssl.SSLError):
                writer.close()
            with self._news:
                self.closed.append(number)
                self._news.notify_all()

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> bool:
        """Answer one request; return whether more may come on this connection."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip("\r\n").split("\r\n")
        verb, target, _ = first.split(" ")
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
        }
        body = await _body(reader, headers)
        post = Post(
            verb=verb,
            target=target,
            headers=headers,
            body=body,
            connection=number,
            number=len(self.posts),
            at=time.monotonic(),
        )
        challenge = None if self.login is None else self.login.judge(post)
        with self._news:
            (self.posts if challenge is None else self.refused).append(post)
        answer = self.plan(post) if challenge is None else challenge
        await self._send(writer, answer)
        with self._news:
            self._news.notify_all()
        if answer.stall:
            await asyncio.sleep(3600)
        return not answer.close and answer.cut is None

    async def _send(self, writer: asyncio.StreamWriter, answer: Answer) -> None:
        await asyncio.sleep(answer.pause)
        octets = answer.octets()
        if answer.drip:
            for at in range(len(octets)):
                writer.write(octets[at : at + 1])
                await writer.drain()
                await asyncio.sleep(answer.drip)
        else:
            writer.write(octets)
            await writer.drain()
        while answer.endless:
            writer.write(answer.endless)
            await writer.drain()
            await asyncio.sleep(answer.drip)


async def _body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if "chunked" not in headers.get("transfer-encoding", ""):
        return await reader.readexactly(int(headers.get("content-length", "0")))
    body = b""
    read: Callable[[], Awaitable[bytes]] = lambda: reader.readuntil(b"\r\n")  # noqa: E731
    while size := int((await read()).partition(b";")[0], 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await read()
    return body
