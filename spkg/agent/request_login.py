"""Who may ask for a session: digest authentication as a server has it (RFC 2617; TR-069 3.2.2).

Nothing here knows a socket.  All that a header says is compared as bytes, in constant time.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hmac import compare_digest
from typing import Final

from spkg.download.http_login import HEADER_ENCODING, read_challenges

__all__ = ["RateLimit", "RequestLogin", "Verdict", "path_of"]

REALM: Final = "spkg"
NONCE_LIFE: Final = 60
"""How long a nonce is good, in seconds."""
MOST_NONCES: Final = 256
"""How many nonces are remembered."""
MOST_SOURCES: Final = 256
"""How many sources a limit remembers."""

Credentials = Callable[[], tuple[str, str] | None]
"""Gives ConnectionRequestUsername and -Password; None while there is no password."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a request's login is worth."""

    let_in: bool
    reason: str = ""
    """Why it is not let in; empty where it said nothing, as every first request does."""
    stale: bool = False
    """Whether only the nonce was not good."""


class RequestLogin:
    """Makes challenges, and judges what is answered; each nonce lets one request in.

    Args:
        credentials: Who is let in.
        clock: Gives seconds of a clock that does not jump.
        token: Gives a text that nobody can guess.
    """

    def __init__(
        self, credentials: Credentials, clock: Callable[[], float], token: Callable[[], str]
    ) -> None:
        self._credentials = credentials
        self._clock = clock
        self._token = token
        self._nonces: OrderedDict[str, float] = OrderedDict()
        """When each nonce ends, the oldest first."""

    def challenge(self, *, stale: bool = False) -> str:
        """Return the value of WWW-Authenticate."""
        nonce = self._token()
        self._forget()
        self._nonces[nonce] = self._clock() + NONCE_LIFE
        end = ", stale=true" if stale else ""
        return f'Digest realm="{REALM}", qop="auth", nonce="{nonce}", algorithm=MD5{end}'

    def judge(self, answer: str | None, verb: str, target: str) -> Verdict:
        """Return what a value of Authorization is worth for a request; the nonce in it is used up."""
        if answer is None:
            return Verdict(let_in=False)
        credentials = self._credentials()
        if credentials is None:
            return Verdict(let_in=False, reason="no ConnectionRequestPassword is set")
        name, password = (one.encode() for one in credentials)
        found = read_challenges([answer])
        if len(found) != 1 or found[0].scheme != "digest":
            scheme = found[0].scheme if found else "nothing"
            return Verdict(let_in=False, reason=f"expected digest authentication, got {scheme}")
        said = found[0].parameters
        missing = [one for one in ("username", "realm", "nonce", "uri", "response") if one not in said]
        if missing:
            return Verdict(let_in=False, reason=f"the digest has no {missing[0]}")
        if said.get("algorithm", "MD5").upper() != "MD5":
            return Verdict(let_in=False, reason=f"expected digest algorithm MD5, got {said['algorithm']}")
        if "qop" in said and (said["qop"].lower() != "auth" or not {"nc", "cnonce"} <= said.keys()):
            return Verdict(
                let_in=False, reason=f"expected digest qop auth with nc and cnonce, got {said['qop']}"
            )
        if said["realm"] != REALM:
            return Verdict(let_in=False, reason=f"expected realm {REALM}, got {said['realm']}")
        if path_of(said["uri"]) != path_of(target):
            return Verdict(let_in=False, reason="the digest is for another path")
        secret = _md5(b":".join([name, REALM.encode(), password]))
        request = _md5(f"{verb}:{said['uri']}".encode(HEADER_ENCODING))
        quality = f"{said['nc']}:{said['cnonce']}:{said['qop']}:" if "qop" in said else ""
        wanted = _md5(f"{secret}:{said['nonce']}:{quality}{request}".encode(HEADER_ENCODING))
        known = compare_digest(said["username"].encode(HEADER_ENCODING), name)
        right = compare_digest(said["response"].lower().encode(HEADER_ENCODING), wanted.encode())
        if not known:
            return Verdict(let_in=False, reason="unknown user name")
        if not right:
            return Verdict(let_in=False, reason="wrong password")
        self._forget()
        if self._nonces.pop(said["nonce"], None) is None:
            return Verdict(let_in=False, reason="the nonce is too old, or was used before", stale=True)
        return Verdict(let_in=True)

    def _forget(self) -> None:
        """Forget nonces that are too old, or too many."""
        now = self._clock()
        while self._nonces and (len(self._nonces) >= MOST_NONCES or next(iter(self._nonces.values())) <= now):
            self._nonces.popitem(last=False)


class RateLimit:
    """At most so many a minute, of each source by itself.

    Args:
        most: How many.
        clock: Gives seconds of a clock that does not jump.
    """

    SECONDS: Final = 60

    def __init__(self, most: int, clock: Callable[[], float]) -> None:
        self._most = most
        self._clock = clock
        self._times: OrderedDict[str, list[float]] = OrderedDict()

    def take(self, source: str = "") -> bool:
        """Count one more; return whether it is within the limit."""
        now = self._clock()
        times = [one for one in self._times.pop(source, []) if now - one < self.SECONDS]
        within = len(times) < self._most
        self._times[source] = [*times, now] if within else times
        if len(self._times) > MOST_SOURCES:
            self._times.popitem(last=False)
        return within

    def wait(self, source: str = "") -> float:
        """Return in how many seconds one more will be within the limit."""
        times = self._times.get(source, [])
        return 0 if len(times) < self._most else max(0, times[0] + self.SECONDS - self._clock())


def path_of(target: str) -> str:
    """Return the path of a request's target, which may be a whole URL, without its query."""
    if target.lower().startswith("http://"):
        target = "/" + target[len("http://") :].partition("/")[2]
    return target.partition("?")[0]


def _md5(octets: bytes) -> str:
    return hashlib.md5(octets, usedforsecurity=False).hexdigest()
