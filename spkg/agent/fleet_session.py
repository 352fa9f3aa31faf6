"""One session of a simulated device: the pure session of ``spkg.cwmp``, carried by asyncio."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, Protocol

from spkg.agent.conversation import read_response
from spkg.agent.fleet_device import FleetDevice
from spkg.agent.fleet_figures import FleetFigures
from spkg.cwmp.calls import encode_request, read_fault
from spkg.cwmp.envelopes import Message, MessageKind
from spkg.cwmp.events import Event
from spkg.cwmp.schedule import Moment
from spkg.cwmp.session import Post, Received, Request, Session

__all__ = ["FleetPoster", "FleetSession", "ResponseReader"]

INFORM_ID: Final = "1"
"""The cwmp:ID of every Inform: it is the first request of its session."""
MAX_KNOWN_RESPONSES: Final = 256
MAX_KNOWN_RESPONSE: Final = 4096
"""The most responses that are kept, and the longest, in bytes."""


class FleetPoster(Protocol):
    """What carries a session."""

    connecting: float
    """How long connecting took in all, in seconds."""

    async def post(self, envelopes: Sequence[bytes]) -> bytes:
        """Post envelopes, or nothing, and return the body of the response."""
        ...


class ResponseReader:
    """Reads responses; what an ACS answers thousands of devices in the same words is read once."""

    def __init__(self) -> None:
        self._known: dict[bytes, list[Message]] = {b"": []}

    def read(self, body: bytes) -> list[Message]:
        """Return the messages of a response.

        Raises:
            BrokenSessionError: It is something else.
        """
        found = self._known.get(body)
        if found is None:
            found = read_response(body, 1)
            if len(body) <= MAX_KNOWN_RESPONSE:
                if len(self._known) >= MAX_KNOWN_RESPONSES:
                    self._known = {b"": []}
                self._known[body] = found
        return found


class FleetSession:
    """A session.

    Args:
        device: Whose it is.
        causes: The events of its Inform.
        figures: What is counted.
        reader: Reads responses.
        now: Gives the moment.
        when: Gives the time, in UTC.
        clock: Gives seconds of a clock that does not jump.
    """

    def __init__(
        self,
        device: FleetDevice,
        causes: tuple[Event, ...],
        *,
        figures: FleetFigures,
        reader: ResponseReader,
        now: Callable[[], Moment],
        when: Callable[[], datetime],
        clock: Callable[[], float],
    ) -> None:
        self._device = device
        self._causes = causes
        self._figures = figures
        self._reader = reader
        self._now, self._when, self._clock = now, when, clock
        self._tried = 0
        self.informed = False
        """Whether the Inform was answered."""

    async def run(self, connection: FleetPoster) -> bool:
        """Carry the session through; return whether it came to its end, and was not broken off by the device.

        Raises:
            TransferError: The ACS was not reached, or does not keep to the protocol.
        """
        device = self._device
        tells = {f"t{index}": one for index, one in enumerate(device.told_transfers(self._causes))}
        requests = [
            Request("TransferComplete", encode_request("TransferComplete", one.result or {}, name), name)
            for name, one in tells.items()
        ]
        session = Session(self._inform(), requests, again=self._again)
        while isinstance(post := session.next_post(), Post):
            if device.slow:
                await asyncio.sleep(device.profile.shares.slow_delay)
            began, connecting = self._clock(), connection.connecting
            messages = self._reader.read(await connection.post(post.envelopes))
            self._figures.counts["posts"] += 1
            received = session.received(messages)
            if not self.informed and any(one.method == "Inform" for one, _ in received.answers):
                self.informed = True
                self._figures.inform.add(self._clock() - began - (connection.connecting - connecting))
            for request, message in received.answers:
                if message.kind is MessageKind.FAULT:
                    self._figures.received_fault(read_fault(message).code)
                elif request.id in tells:
                    device.transfers.remove(tells[request.id])
            if self.informed and device.drops:
                return False
            self._answer(session, received)
        return True

    def _answer(self, session: Session, received: Received) -> None:
        for call in received.calls:
            self._figures.called(call.name)
            octets, fault = self._device.answer(call, self._now())
            if fault is not None:
                self._figures.sent[str(int(fault))] += 1
            session.answer(octets)

    def _inform(self) -> Request:
        device = self._device
        octets = encode_request(
            "Inform",
            {
                "DeviceId": device.profile.identity(device.number),
                "Event": self._causes,
                "MaxEnvelopes": 1,
                "CurrentTime": self._when(),
                "RetryCount": device.facts.attempts.retry_count + self._tried,
                "ParameterList": device.inform_values(self._now()),
            },
            INFORM_ID,
        )
        return Request("Inform", octets, INFORM_ID)

    def _again(self, request: Request) -> Request:
        """Return what to send after an 8005: an Inform says that it was tried before (Table 31)."""
        self._figures.received_fault(8005)
        if request.method != "Inform":
            return request
        self._tried += 1
        return self._inform()
