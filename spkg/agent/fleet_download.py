"""Downloads of simulated devices: each device fetches its file, and what comes is verified, never applied.

Devices of one model get the same file.  It is verified once, by the first of them; what the others get is
compared with it by its SHA-256 digest.
"""

import asyncio
import hashlib
import ssl
from collections.abc import Callable
from io import BytesIO
from typing import BinaryIO, Final

from spkg.agent.contact import ContactError, ContactKind
from spkg.agent.fleet_http import redirect_target
from spkg.agent.fleet_wire import FleetNetwork, HttpWire, ResponseHead
from spkg.cwmp.faults import FaultCode, transfer_fault
from spkg.cwmp.values import FaultStruct
from spkg.download.http_login import BasicProof, Proof, UnanswerableError, digest_proof, read_challenges
from spkg.download.url import Location
from spkg.errors import SpkgError

__all__ = ["FleetDownloads"]

MAX_VERDICTS: Final = 1024
"""The most files whose verdict is kept."""
MAX_DOWNLOAD_REDIRECTS: Final = 5
LOGIN_REQUIRED: Final = 401
MOVED_GET: Final = frozenset({301, 302, 303, 307, 308})
COMPLETE: Final = 200
GOOD: Final = FaultStruct(0, "")
LONGEST_FAULT: Final = 256

FleetVerifier = Callable[[BinaryIO], None]
"""Raises an error for a package that is not to be trusted; it is called in a thread."""


class FleetDownloads:
    """Fetches and verifies files.

    Args:
        network: The addresses of servers, and all connections.
        context: The settings for TLS.
        timeout: How long connecting and each piece of a response may take, in seconds.
        clock: Gives seconds of a clock that does not jump.
        most: The largest file, in bytes.
        verify: Verifies a package; None if everything that arrives whole is good.
    """

    def __init__(
        self,
        *,
        network: FleetNetwork,
        context: ssl.SSLContext | None,
        timeout: float,
        clock: Callable[[], float],
        most: int,
        verify: FleetVerifier | None,
    ) -> None:
        self._network = network
        self._context = context
        self._timeout = timeout
        self._clock = clock
        self._most = most
        self._verify = verify
        self._verdicts: dict[bytes, FaultStruct] = {}
        self._keeping = asyncio.Lock()
        """Held by the one download whose file is kept in memory, to be verified."""

    async def run(self, url: str, username: str, password: str, size: int) -> tuple[FaultStruct, int]:
        """Fetch a file, and return what TransferComplete says, and how many bytes came."""
        try:
            location = Location.parse(url)
            if self._verify is None:
                return GOOD, (await self._fetch(location, username, password, size))[1]
            if not self._keeping.locked():
                return await self._keep(location, username, password, size)
            digest, count, _ = await self._fetch(location, username, password, size)
            verdict = self._verdicts.get(digest)
            if verdict is None:
                verdict, _ = await self._keep(location, username, password, size)
        except SpkgError as exc:
            return FaultStruct(_code(exc), str(exc)[:LONGEST_FAULT]), 0
        return verdict, count

    async def _keep(
        self, location: Location, username: str, password: str, size: int
    ) -> tuple[FaultStruct, int]:
        """Fetch a file into memory and verify it, unless one like it was verified before."""
        async with self._keeping:
            digest, count, octets = await self._fetch(location, username, password, size, keep=True)
            if digest not in self._verdicts:
                if len(self._verdicts) >= MAX_VERDICTS:
                    self._verdicts.clear()
                self._verdicts[digest] = await asyncio.to_thread(self._judge, octets)
            return self._verdicts[digest], count

    def _judge(self, octets: bytes) -> FaultStruct:
        assert self._verify is not None  # else nothing is kept
        try:
            self._verify(BytesIO(octets))
        except SpkgError as exc:
            return FaultStruct(transfer_fault(exc), str(exc)[:LONGEST_FAULT])
        return GOOD

    async def _fetch(
        self, location: Location, username: str, password: str, size: int, *, keep: bool = False
    ) -> tuple[bytes, int, bytes]:
        """Fetch a file; return its digest, its size, and its bytes if they are kept.

        Raises:
            ContactError: It did not arrive.
        """
        proof: Proof | None = None
        home, redirects = location, 0
        while True:
            wire = HttpWire(
                location,
                self._context if location.scheme == "https" else None,
                self._timeout,
                self._clock,
            )
            try:
                await wire.open(self._network)
                head = await wire.begin(_request(location, proof))
                if head.status == COMPLETE:
                    return await self._read(wire, head, size, keep=keep)
            finally:
                wire.close()
            if head.status in MOVED_GET and redirects < MAX_DOWNLOAD_REDIRECTS:
                redirects += 1
                location, proof = redirect_target(location, head), None
            elif (
                head.status == LOGIN_REQUIRED
                and proof is None
                and location.origin == home.origin
                and username
            ):
                proof = _proof(location, head, username, password)
            else:
                kind = ContactKind.LOGIN if head.status == LOGIN_REQUIRED else ContactKind.HTTP
                problem = f"{location}: expected HTTP status 200, got {head.status}"
                raise ContactError(problem, kind=kind, status=head.status)

    async def _read(
        self, wire: HttpWire, head: ResponseHead, size: int, *, keep: bool
    ) -> tuple[bytes, int, bytes]:
        digest, count, kept = hashlib.sha256(), 0, bytearray()
        async for piece in wire.body(head, self._most):
            digest.update(piece)
            count += len(piece)
            if keep:
                kept += piece
        if size and count != size:
            problem = f"{wire.where}: expected {size} bytes, got {count}"
            raise ContactError(problem, kind=ContactKind.PROTOCOL)
        return digest.digest(), count, bytes(kept)


def _request(location: Location, proof: Proof | None) -> bytes:
    shown = "" if proof is None else f"Authorization: {proof.header('GET', location.target)}\r\n"
    return (
        f"GET {location.target} HTTP/1.1\r\nHost: {location.authority}\r\nUser-Agent: spkg-fleet\r\n"
        f"Accept-Encoding: identity\r\nConnection: close\r\n{shown}\r\n"
    ).encode("latin-1")


def _proof(location: Location, head: ResponseHead, username: str, password: str) -> Proof:
    challenges = read_challenges(head.all("www-authenticate"))
    digests = [one for one in challenges if one.scheme == "digest"]
    if not digests and any(one.scheme == "basic" for one in challenges):
        if location.scheme == "https":
            return BasicProof(username=username, password=password.encode())
        problem = f"{location}: login failed: the server requires the password in clear text"
        raise ContactError(problem, kind=ContactKind.LOGIN, status=LOGIN_REQUIRED)
    try:
        return digest_proof(digests, username, password.encode())
    except UnanswerableError as exc:
        problem = str(exc) or "the server asks for neither digest nor basic"
        raise ContactError(
            f"{location}: login failed: {problem}", kind=ContactKind.LOGIN, status=401
        ) from exc


def _code(error: SpkgError) -> FaultCode:
    login = isinstance(error, ContactError) and error.kind is ContactKind.LOGIN
    return FaultCode.AUTHENTICATION_FAILURE if login else FaultCode.DOWNLOAD_FAILURE
