"""An ACS that does next to nothing, as fast as Python can: what a load generator is measured against.

Each connection is a session of three posts: the Inform, an empty post that is answered with one
GetParameterValues, and its answer, which is answered with 204.  Run as a program it prints its port, serves
until its standard input ends, and then prints how many posts came, and the seconds of CPU that it took.
"""

import asyncio
import json
import resource
import sys
from typing import Final

__all__ = ["NullAcs"]

HEAD: Final = (
    b'<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/" '
    b'xmlns:cwmp="urn:dslforum-org:cwmp-1-0"><soap:Header><cwmp:ID soap:mustUnderstand="1">%s</cwmp:ID>'
    b"</soap:Header><soap:Body>%s</soap:Body></soap:Envelope>"
)
INFORM_RESPONSE: Final = HEAD % (
    b"1",
    b"<cwmp:InformResponse><MaxEnvelopes>1</MaxEnvelopes></cwmp:InformResponse>",
)
NAME: Final = b"<string>InternetGatewayDevice.DeviceInfo.SoftwareVersion</string>"
QUESTION: Final = HEAD % (
    b"acs",
    b"<cwmp:GetParameterValues><ParameterNames>" + NAME + b"</ParameterNames></cwmp:GetParameterValues>",
)
WITH_BODY: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nSet-Cookie: session=1\r\nContent-Length: %d\r\n\r\n%s"
)
ANSWERS: Final = tuple(WITH_BODY % (len(body), body) for body in (INFORM_RESPONSE, QUESTION))
NOTHING: Final = b"HTTP/1.1 204 No Content\r\n\r\n"
LENGTH: Final = b"Content-Length: "


class NullAcs(asyncio.Protocol):
    """A connection to it."""

    posts = 0
    """How many posts came on all connections."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin a session."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._seen = b""
        self._turn = 0

    def data_received(self, data: bytes) -> None:
        """Answer each whole post."""
        self._seen += data
        while (end := self._seen.find(b"\r\n\r\n")) >= 0:
            at = self._seen.index(LENGTH, 0, end) + len(LENGTH)
            whole = end + 4 + int(self._seen[at : self._seen.index(b"\r\n", at)])
            if len(self._seen) < whole:
                return
            self._seen = self._seen[whole:]
            self._transport.write(ANSWERS[self._turn] if self._turn < len(ANSWERS) else NOTHING)
            self._turn += 1
            NullAcs.posts += 1


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(NullAcs, "127.0.0.1", 0, backlog=4096)
    over = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), over.set)
    print(server.sockets[0].getsockname()[1], flush=True)
    await over.wait()
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"posts": NullAcs.posts, "cpu": used.ru_utime + used.ru_stime}), flush=True)


if __name__ == "__main__":
    asyncio.run(_serve())
