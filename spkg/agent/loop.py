"""The service: one loop for what comes from outside, one thread that decides, until it is told to end."""

import asyncio
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from spkg.agent.address_news import AddressNews
from spkg.agent.answers import AgentAnswers
from spkg.agent.assembly import Agent
from spkg.agent.clock import Outside
from spkg.agent.control import ControlServer
from spkg.agent.errands import Errand
from spkg.agent.journal import LogEntry
from spkg.agent.keeper_client import KeeperClient, KeeperGoneError
from spkg.agent.notify import ServiceManager
from spkg.common.documents import Document
from spkg.errors import HostError, SpkgError

__all__ = ["AgentLoop", "Listening"]

LONGEST_SLEEP: Final = 3600.0
"""The longest time between two looks at what is due, in seconds: clocks are set meanwhile."""
PAUSE: Final = 60.0
"""How long to wait after something that could not be done, in seconds."""
ERRAND_TIMEOUT: Final = 300.0
"""How long an errand to the ACS may take, in seconds."""
STOP_PATIENCE: Final = 30.0
"""How long a session may go on that the agent is in when it is told to end, in seconds; and then one post."""
SETTLING: Final = 1.0
"""How long to wait when an address or a parameter has changed, in seconds: such changes come in bursts."""
_Found = TypeVar("_Found")


class Listening(Protocol):
    """What takes connection requests."""

    @property
    def port(self) -> int | None:
        """The port that it listens on; None where it does not listen."""

    async def start(self, sockets: Sequence[socket.socket] = ()) -> None:
        """Begin to listen."""

    async def close(self) -> None:
        """End listening."""


class AgentLoop:
    """Runs an agent.

    Args:
        keeper: Has the rights.
        directory: The state directory.
        service: The service manager.
        outside: The clocks.
    """

    def __init__(
        self, *, keeper: KeeperClient, directory: Path, service: ServiceManager, outside: Outside
    ) -> None:
        self._keeper = keeper
        self._service = service
        self._outside = outside
        self._control = ControlServer(directory, self._answer, self._follow)
        self._followers: list[Callable[[LogEntry], None]] = []
        self._decides = ThreadPoolExecutor(1, thread_name_prefix="decides")
        self._woken: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = False
        self._stop_by: float | None = None
        """When a session has to be broken off, in seconds since the boot."""
        self._settles = False
        """Whether an address or a parameter has just changed."""
        self._agent: Agent | None = None

    def poke(self) -> None:
        """Have the agent look at what is due; from any thread."""
        loop, woken = self._loop, self._woken
        if loop is not None and woken is not None:
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(woken.set)

    def look(self) -> None:
        """Have the agent see before long what has changed; from any thread."""
        if (loop := self._loop) is not None:  # or it looks anyway, as soon as it runs
            with suppress(RuntimeError):  # it has ended meanwhile
                loop.call_soon_threadsafe(self._look_soon)

    def call(self, work: Callable[[], object]) -> None:
        """Have something done in the thread that decides, then look at what is due; from any thread."""
        with suppress(RuntimeError):  # it has ended meanwhile
            self._decides.submit(work).add_done_callback(lambda _done: self.poke())

    def ending(self) -> bool:
        """Whether the agent was told to end so long ago that no session is waited for; from any thread."""
        return self._stop_by is not None and self._outside.boot().seconds >= self._stop_by

    def alive(self) -> None:
        """Show the service manager that a session goes on; from any thread."""
        self._service.tell("WATCHDOG=1")

    def show(self, entry: LogEntry) -> None:
        """Pass an entry of the log on to those who follow it."""
        for follower in [*self._followers]:
            follower(entry)

    def run(self, agent: Agent, listener: Listening) -> bool:
        """Run until SIGTERM or SIGINT, or until the keeper is gone.

        Args:
            agent: What runs.
            listener: Takes connection requests.

        Returns:
            Whether the state was reset, so that everything has to begin anew.

        Raises:
            HostError: The control socket or the listener can't be opened.
        """
        return asyncio.run(self._run(agent, listener))

    async def _run(self, agent: Agent, listener: Listening) -> bool:
        self._agent = agent
        loop = self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_reader(self._keeper.fileno(), self._hear)
        news = AddressNews()
        if (heard := news.fileno()) is not None:
            loop.add_reader(heard, self._hear_of_addresses, news)
        try:
            await self._in_turn(agent.engine.start)
            await listener.start(self._service.sockets())
            agent.requests.port = listener.port
            await self._control.start()
            self._service.tell("READY=1", self._line())
            return await self._work(agent)
        finally:
            self._service.tell("STOPPING=1")
            loop.remove_reader(self._keeper.fileno())
            if heard is not None:
                loop.remove_reader(heard)
            news.close()
            await self._control.close()
            await listener.close()
            self._decides.shutdown(wait=True)

    async def _work(self, agent: Agent) -> bool:
        assert self._woken is not None
        while not self._stopping and not agent.engine.must_begin_anew:
            self._woken.clear()
            try:
                wake = await self._in_turn(agent.engine.step)
                await self._in_turn(agent.status.refresh)
            except KeeperGoneError:
                raise
            except SpkgError as exc:  # such as a full disk: in touch later is better than not running
                agent.journal.note("failure", str(exc), lasting=True)
                wake = self._outside.boot().seconds + PAUSE
            self._service.tell("WATCHDOG=1", self._line())
            sleep = LONGEST_SLEEP if wake is None else wake - self._outside.boot().seconds
            limits = [LONGEST_SLEEP, sleep]
            if self._service.watchdog_interval is not None:
                limits.append(self._service.watchdog_interval)
            if (longest := min(limits)) > 0 and not self._stopping:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), longest)
        return agent.engine.must_begin_anew

    async def _in_turn(self, work: Callable[[], _Found]) -> _Found:
        return await asyncio.get_running_loop().run_in_executor(self._decides, work)

    async def _answer(self, name: str, arguments: Mapping[str, Any]) -> Document:
        assert self._agent is not None  # it listens only then
        answers = self._agent.answers
        if name in AgentAnswers.AT_ONCE:
            found = answers.answer(name, arguments)
        else:
            found = await self._in_turn(lambda: answers.answer(name, arguments))
            self.poke()
        if not isinstance(found, Errand):
            return found
        try:
            got = await asyncio.wait_for(asyncio.wrap_future(found.answer), ERRAND_TIMEOUT)
        except TimeoutError as exc:
            raise HostError(f"the ACS did not answer {found.method} within {ERRAND_TIMEOUT:g} s") from exc
        return {"schema": "spkg.agent.kick/1", "next_url": got.get("NextURL")}

    def _follow(self, send: Callable[[Document], None]) -> Callable[[], None]:
        self._followers.append(send)
        return lambda: self._followers.remove(send)

    def _hear(self) -> None:
        """See what the keeper says: the end of a transfer, or nothing ever again."""
        if not self._keeper.heard():
            self._stop()
        self.poke()

    def _hear_of_addresses(self, news: AddressNews) -> None:
        """See soon whether the ACS has to hear of a new address (3.2.2)."""
        if news.take():
            self._look_soon()

    def _look_soon(self) -> None:
        if not self._settles:
            self._settles = True
            asyncio.get_running_loop().call_later(SETTLING, self._settle)

    def _settle(self) -> None:
        self._settles = False
        self.poke()

    def _stop(self) -> None:
        """End between two sessions; one that goes on for long is broken off."""
        self._stopping = True
        if self._stop_by is None:
            self._stop_by = self._outside.boot().seconds + STOP_PATIENCE
        self.poke()

    def _line(self) -> str:
        return "STATUS=" if self._agent is None else f"STATUS={self._agent.status.line}"
