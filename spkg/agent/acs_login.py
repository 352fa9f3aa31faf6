"""Logging in to an ACS: digest everywhere, basic within TLS alone (TR-069 3.4.4; RFC 2617)."""

from collections.abc import Sequence
from typing import Final

from spkg.agent.contact import ContactError, ContactKind
from spkg.agent.contact_words import shown_of_acs
from spkg.download.http_login import (
    BasicProof,
    DigestProof,
    Proof,
    UnanswerableError,
    digest_proof,
    read_challenges,
)
from spkg.download.url import Location

__all__ = ["AcsLogin"]

NO_PLAIN_PASSWORD: Final = "use an https URL, or have the server ask for digest"
WRONG_LOGIN: Final = "check username and password-file, and which ones the server has for this device"
OTHER_SERVER: Final = "use this server's URL: after a redirect to another server, no credentials are sent"


class AcsLogin:
    """What shows an ACS who posts to it; other servers are shown nothing.

    Args:
        home: The ACS.
        username: The name, if there is one.
        password: The password for it.
    """

    def __init__(self, home: Location, username: str | None, password: bytes) -> None:
        self._home = home
        self._username = username
        self._password = password
        self._proof: Proof | None = None
        """What is shown, once the ACS wanted to know."""
        self.asked: str | None = None
        """The scheme that was asked for and is spoken."""

    def forget(self) -> None:
        """Forget the nonce."""
        self._proof = None

    def header(self, where: Location, target: str) -> dict[str, str]:
        """Return the header for a post that shows who posts; nothing where nobody asked."""
        if self._proof is None or where.origin != self._home.origin:
            return {}
        return {"Authorization": self._proof.header("POST", target)}

    def answer(self, where: Location, lines: Sequence[str], *, again: bool) -> None:
        """Take a challenge, for the next post.

        Args:
            where: The server that asks.
            lines: Its WWW-Authenticate headers.
            again: Whether it asks for the second time about one post.

        Raises:
            ContactError: The server did not take what it was shown, is another one, or asks for what it is
                not shown.
        """
        if where.origin != self._home.origin:
            raise _failed(where, "login failed", OTHER_SERVER)
        if self._username is None:
            raise _failed(where, "the server requires a login", "set username and password-file")
        proof = self._chosen(where, lines, self._username)
        if again and not (isinstance(proof, DigestProof) and proof.stale):
            raise _failed(where, "login failed", WRONG_LOGIN)
        self._proof = proof

    def take_next_nonce(self, line: str) -> None:
        """Use the nonce that the ACS wants to see with the next post (RFC 2617, 3.2.3).

        Args:
            line: Its Authentication-Info header.
        """
        stated = read_challenges([f"Digest {line}"])
        nonce = stated[0].parameters.get("nextnonce")
        if nonce and isinstance(self._proof, DigestProof):
            self._proof = self._proof.renewed(nonce)

    def _chosen(self, where: Location, lines: Sequence[str], username: str) -> Proof:
        """Return what the ACS wants to see.

        Raises:
            ContactError: It would show the password, or is not supported.
        """
        challenges = read_challenges(lines)
        digests = [one for one in challenges if one.scheme == "digest"]
        basic = any(one.scheme == "basic" for one in challenges)
        self.asked = "digest" if digests else "basic" if basic else None
        problem = "login failed: the server asks for neither digest nor basic"
        if digests:
            try:
                return digest_proof(digests, username, self._password)
            except UnanswerableError as exc:
                problem = f"login failed: {shown_of_acs(str(exc))}"
        if basic and where.scheme == "https":
            self.asked = "basic"
            return BasicProof(username=username, password=self._password)
        if basic and not digests:
            raise _failed(where, "the server requires the password in clear text", NO_PLAIN_PASSWORD)
        raise _failed(where, problem)


def _failed(where: Location, problem: str, hint: str | None = None) -> ContactError:
    return ContactError(f"{where}: {problem}", kind=ContactKind.LOGIN, status=401, hint=hint)
