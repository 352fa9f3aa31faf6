"""The HTTP/1.1 of a connection to an ACS: that of the standard library, on a line that is bounded.

What the library leaves open is closed here: a request leaves in one piece, a connection that the server has
closed is not used again, and a body that ends before it is complete is an error.
"""

import select
import ssl
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPResponse, IncompleteRead
from typing import Any

from spkg.agent.transport import AcsLine
from spkg.download.url import Location

__all__ = ["AcsHttp", "read_piece", "stated_by"]


class AcsHttp(HTTPConnection):
    """One connection to a server, which is made again where that has closed it.

    Args:
        line: How connections are made.
        location: The server.
        context: The settings for TLS; None for http.
    """

    def __init__(self, line: AcsLine, location: Location, context: ssl.SSLContext | None) -> None:
        super().__init__(location.host, location.port)
        self._line = line
        self._location = location
        self._context = context
        self._unsent: list[bytes] = []
        self._response: HTTPResponse | None = None

    def connect(self) -> None:
        """Make the connection."""
        self.sock = self._line.open(self._location, self._context)

    def send(self, data: Any) -> None:
        """Keep what is to be sent: headers and body leave together."""
        self._unsent.append(data)

    def close(self) -> None:
        """Close the connection, whatever state it is in, and the response that came last."""
        response, self._response = self._response, None
        with suppress(OSError):
            super().close()
        if response is not None:
            response.close()

    def exchange(self, target: str, headers: Mapping[str, str], octets: bytes) -> HTTPResponse:
        """Post, and return the response as far as its headers; then its body may come.

        Raises:
            OSError: The server is not reached, or does not answer.
            http.client.HTTPException: It does not speak HTTP.
            ValueError: A header can't be sent.
        """
        if self.sock is not None and _is_readable(self.sock):
            self.close()  # by the server, which has nothing to say now
        self._unsent.clear()
        try:
            self.putrequest("POST", target, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                self.putheader(name, value)
            self.endheaders(octets)
            super().send(b"".join(self._unsent))
            response = self.getresponse()
            self._response = response
        except BaseException:
            self.close()
            raise
        self._line.allowance.read_body()
        return response


def _is_readable(connection: Any) -> bool:
    """Whether there is something to read, or the end."""
    watched = select.poll()
    watched.register(connection, select.POLLIN)
    return bool(watched.poll(0))


def stated_by(response: HTTPResponse, name: str) -> str:
    """Return the values of all headers of a name, separated by commas; empty without one."""
    return ", ".join(response.headers.get_all(name, ()))


def read_piece(response: HTTPResponse, most: int) -> bytes:
    """Read on in a body; nothing is its end.

    Raises:
        OSError: It did not come.
        http.client.IncompleteRead: It ends early, or its chunks are not valid.
    """
    piece = response.read(most)
    if not piece and response.length:
        raise IncompleteRead(piece, response.length)
    return piece
