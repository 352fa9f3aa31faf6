"""Reboot and FactoryReset: answered at once, carried out after the session, and not forgotten in between.

A reboot is due in one boot alone: in the next one it is done, and its CommandKey is told then.  A factory
reset is due until its command was started, however many boots that takes.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from spkg.agent.keeper_client import KeeperGoneError
from spkg.agent.state import FACT_REBOOT, FACT_RESET, AgentState
from spkg.agent.transfers import TransferQueue
from spkg.cwmp.events import method_event
from spkg.cwmp.faults import FaultCode, MethodFaultError
from spkg.cwmp.schedule import Moment
from spkg.errors import HostError

__all__ = ["RestartKeeper", "Restarts"]

FACT_REBOOT_KEYS: Final = "reboot-keys"
"""The CommandKeys of the Reboots that are due, as a JSON array."""
RESET_DUE: Final = "due"
"""The fact of a factory reset whose command was not started yet; then it is the id of the boot."""
MAX_REBOOT_KEYS: Final = 64
"""The most CommandKeys of Reboots that are kept: each becomes an event of the next boot."""
TRY_AGAIN: Final = 60
"""After how many seconds a command that failed is started again."""


class RestartKeeper(Protocol):
    """Who restarts the device; :class:`KeeperClient` describes each method."""

    def reboot(self) -> None:
        """Start the command that reboots."""
        ...

    def reset(self) -> None:
        """Run the command that resets the device."""
        ...

    def failures(self) -> tuple[tuple[str, int | None], ...]:
        """Return the programs that have failed since."""
        ...


class Restarts:
    """The restarts that were asked for, by the ACS or by a package; used from one thread.

    Args:
        state: Where they are kept.
        keeper: Who carries them out.
        queue: The transfers: none runs while the device restarts.
        boot_id: The id of this boot.
        clock: Returns the present moment.
        has_reset_command: Whether something follows the reset of the agent's own state.
        reset_providers: Returns what the providers of parameters serve to factory settings.
        note: Called with what people should know.
    """

    def __init__(
        self,
        state: AgentState,
        keeper: RestartKeeper,
        queue: TransferQueue,
        *,
        boot_id: str,
        clock: Callable[[], Moment],
        has_reset_command: bool,
        reset_providers: Callable[[], object] = lambda: None,
        note: Callable[[str], object] = lambda _text: None,
    ) -> None:
        self._state = state
        self._keeper = keeper
        self._queue = queue
        self._boot_id = boot_id
        self._clock = clock
        self._has_reset_command = has_reset_command
        self._reset_providers = reset_providers
        self._note = note
        self._not_before = 0.0
        """When a command may be started, in seconds since the boot."""
        self.rebooting = False
        """Whether the device reboots: no session begins any more, and the agent waits to be ended."""
        self.was_reset = False
        """Whether the state was reset: the agent has to begin anew."""

    def reboot(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Note a Reboot, durably, and return its answer (A.3.2.9).

        Raises:
            MethodFaultError: So many wait already that the state would grow for ever.
        """
        keys = dict.fromkeys([*self._keys(), arguments["CommandKey"]])
        if len(keys) > MAX_REBOOT_KEYS:
            problem = f"the device is about to reboot, and at most {MAX_REBOOT_KEYS} CommandKeys are kept"
            raise MethodFaultError(FaultCode.INTERNAL_ERROR, problem)
        with self._state.change() as change:
            change.fact(FACT_REBOOT, self._boot_id)
            change.fact(FACT_REBOOT_KEYS, json.dumps([*keys]))
        return {}

    def factory_reset(self, _arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Note a FactoryReset, durably, and return its answer (A.4.1.6)."""
        with self._state.change() as change:
            change.fact(FACT_RESET, RESET_DUE)
        return {}

    @property
    def is_due(self) -> bool:
        """Whether the device is to be restarted as soon as no session runs."""
        return self._reset_due or self._reboot_due

    @property
    def again_at(self) -> float | None:
        """When a command that failed is started again, in seconds since the boot; None if none has."""
        return self._not_before if self.is_due and self._not_before > self._clock().boot else None

    def at_start(self) -> None:
        """Turn what is done by this boot into events; before anything else asks what is due."""
        done, reset = self._state.fact(FACT_REBOOT), self._state.fact(FACT_RESET)
        with self._state.change() as change:
            if done is not None and done != self._boot_id:
                for key in self._keys():
                    change.add_event(method_event("Reboot", key))
                change.fact(FACT_REBOOT, None)
                change.fact(FACT_REBOOT_KEYS, None)
            if reset not in {None, RESET_DUE, self._boot_id}:
                change.fact(FACT_RESET, None)

    def work(self) -> bool:
        """Carry out what is due, no session being open; return whether anything was done."""
        self._see_failures()
        if not self.is_due or self.rebooting or self._clock().boot < self._not_before:
            return False
        self._queue.stop()
        if self._queue.is_running:
            return self._queue.work()  # its commit is awaited
        try:
            if self._reset_due:
                self._reset()
            else:
                self._note("the device reboots")
                self._keeper.reboot()
                self.rebooting = True
        except KeeperGoneError:
            raise
        except HostError as exc:
            self._failed(str(exc))
        return True

    def _reset(self) -> None:
        """Reset the agent's own state, then the device, in an order that a power cut may interrupt."""
        self._note("the device is reset to its factory state")
        if self._state.fact(FACT_RESET) == RESET_DUE:
            self._reset_providers()  # may be repeated
            with self._state.change() as change:
                change.forget_everything()
                change.fact(FACT_RESET, self._boot_id)
        self.was_reset = True
        if self._has_reset_command:
            self._keeper.reset()
        with self._state.change() as change:
            change.fact(FACT_RESET, None)

    @property
    def _reset_due(self) -> bool:
        return self._state.fact(FACT_RESET) is not None

    @property
    def _reboot_due(self) -> bool:
        return self._state.fact(FACT_REBOOT) == self._boot_id or self._queue.reboot_due

    def _see_failures(self) -> None:
        for name, status in self._keeper.failures():
            if name == "reboot":
                self.rebooting = False
                self._failed(f"the command that reboots ended with status {status}")

    def _failed(self, problem: str) -> None:
        """Let the agent go on, and try again later: it is of more use in touch than waiting for nothing."""
        self._not_before = self._clock().boot + TRY_AGAIN
        self._note(f"{problem}; it is tried again in {TRY_AGAIN} s")
        self._queue.resume()

    def _keys(self) -> list[str]:
        known = self._state.fact(FACT_REBOOT_KEYS)
        return [] if known is None else [str(key) for key in json.loads(known)]
