"""Logging in by HTTP: Digest (RFC 7616, RFC 2617) and Basic (RFC 7617).

requests sends quoted strings unescaped, quotes what must not be quoted, and merges several challenges into
one; hence this module.  All text here is bytes decoded as Latin-1, as headers are: a realm goes back in the
bytes in which it came, whatever its encoding.
"""

import base64
import hashlib
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

__all__ = [
    "BasicProof",
    "DigestProof",
    "HttpChallenge",
    "Proof",
    "UnanswerableError",
    "digest_proof",
    "read_challenges",
]

TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
CHALLENGE_PART: Final = re.compile(
    rf"({TOKEN})(?:\s*(=)\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s,\"]*)))?", re.DOTALL
)
"""A scheme, or the name of a parameter with its value, quoted or not."""
MOST_PARTS: Final = 100
"""How many schemes and parameters are read at most."""
STRENGTH: Final = {"md5": 1, "md5-sess": 1, "sha-256": 2, "sha-256-sess": 2}
"""The algorithms that are supported; a higher number is stronger."""
HEADER_ENCODING: Final = "latin-1"


class UnanswerableError(Exception):
    """None of the challenges can be answered; the message says why."""


class Proof(Protocol):
    """What shows a server who asks."""

    def header(self, method: str, target: str) -> str:
        """Return the value of Authorization for a request."""
        ...


@dataclass(frozen=True, kw_only=True)
class BasicProof:
    """A name and a password in clear text."""

    username: str
    password: bytes

    def header(self, method: str, target: str) -> str:  # noqa: ARG002 - the same for all requests
        """Return the value of Authorization."""
        octets = self.username.encode() + b":" + self.password
        return f"Basic {base64.b64encode(octets).decode()}"


@dataclass(frozen=True, kw_only=True)
class HttpChallenge:
    """One of the ways in which a server lets somebody log in."""

    scheme: str
    """In lower case."""
    parameters: Mapping[str, str]
    """The unquoted values, by names in lower case."""


def read_challenges(lines: Iterable[str]) -> tuple[HttpChallenge, ...]:
    """Return the challenges in all WWW-Authenticate headers of an answer, in their order."""
    found: list[HttpChallenge] = []
    parameters: dict[str, str] = {}
    parts = [part for line in lines for part in CHALLENGE_PART.findall(line)[:MOST_PARTS]]
    for name, equals, quoted, plain in parts[:MOST_PARTS]:
        if equals:
            parameters.setdefault(name.lower(), re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL) or plain)
        else:
            parameters = {}
            found.append(HttpChallenge(scheme=name.lower(), parameters=parameters))
    return tuple(found)


def digest_proof(challenges: Iterable[HttpChallenge], username: str, password: bytes) -> "DigestProof":
    """Return the answer to the strongest Digest challenge that is supported, the first of equals.

    Raises:
        UnanswerableError: None is supported.
    """
    supported: list[HttpChallenge] = []
    problem = ""
    for challenge in challenges:
        said = challenge.parameters
        qualities = [one.strip().lower() for one in said.get("qop", "auth").split(",")]
        algorithm = said.get("algorithm", "MD5")
        if not {"realm", "nonce"} <= said.keys():
            problem = problem or "the server's digest challenge has no realm or no nonce"
        elif algorithm.lower() not in STRENGTH:
            problem = problem or f"expected digest algorithm SHA-256 or MD5, got {algorithm}"
        elif "auth" not in qualities:
            problem = problem or f"expected digest qop auth, got {said['qop']}"
        else:
            supported.append(challenge)
    if not supported:
        raise UnanswerableError(problem)
    best = max(supported, key=lambda one: STRENGTH[one.parameters.get("algorithm", "MD5").lower()])
    return DigestProof(best, username, password)


class DigestProof:
    """The answer to one Digest challenge; each request with it is counted.

    Args:
        challenge: The challenge, which is supported.
        username: The name.
        password: The password, which is never sent.
    """

    def __init__(self, challenge: HttpChallenge, username: str, password: bytes) -> None:
        self._said = challenge.parameters
        self._name = username.encode()
        self._password = password
        self._count = 0
        self._client_nonce = secrets.token_hex(16)
        algorithm = self._said.get("algorithm", "MD5").lower()
        self._session = algorithm.endswith("-sess")
        self._hash = algorithm.removesuffix("-sess").replace("-", "")

    @property
    def stale(self) -> bool:
        """Whether the server says that only the nonce before was too old."""
        return self._said.get("stale", "").lower() == "true"

    def renewed(self, nonce: str) -> "DigestProof":
        """Return the answer to the same challenge with another nonce, which the server wants to see next."""
        said = {name: value for name, value in self._said.items() if name != "stale"} | {"nonce": nonce}
        return DigestProof(
            HttpChallenge(scheme="digest", parameters=said), self._name.decode(), self._password
        )

    def header(self, method: str, target: str) -> str:
        """Return the value of Authorization for a request."""
        self._count += 1
        said, ours = self._said, self._client_nonce
        count = f"{self._count:08x}"
        realm = said["realm"].encode(HEADER_ENCODING)
        secret = self._digest(b":".join([self._name, realm, self._password]))
        if self._session:
            secret = self._digest(f"{secret}:{said['nonce']}:{ours}".encode(HEADER_ENCODING))
        request = self._digest(f"{method}:{target}".encode(HEADER_ENCODING))
        middle = f"{said['nonce']}:{count}:{ours}:auth" if "qop" in said else said["nonce"]
        parts = {
            "username": _quote(self._name.decode(HEADER_ENCODING)),
            "realm": _quote(said["realm"]),
            "nonce": _quote(said["nonce"]),
            "uri": _quote(target),
            "response": _quote(self._digest(f"{secret}:{middle}:{request}".encode(HEADER_ENCODING))),
        }
        if "algorithm" in said:
            parts["algorithm"] = said["algorithm"]
        if "opaque" in said:
            parts["opaque"] = _quote(said["opaque"])
        if "qop" in said:
            parts |= {"qop": "auth", "nc": count}
        if "qop" in said or self._session:
            parts["cnonce"] = _quote(ours)
        return "Digest " + ", ".join(f"{name}={value}" for name, value in parts.items())

    def _digest(self, octets: bytes) -> str:
        return hashlib.new(self._hash, octets, usedforsecurity=False).hexdigest()


def _quote(text: str) -> str:
    escaped = re.sub(r'(["\\])', r"\\\1", text)
    return f'"{escaped}"'
