"""The parameters of a device as the ACS sees them: each method of A.3.2 on them is one of the Tree's.

To be used from one thread.  Faults are raised as MethodFaultErrors; a provider that does not answer is 9002
within five seconds.
"""

from collections.abc import Callable, Sequence
from typing import Final

from spkg.agent.settings import AgentConfig
from spkg.agent.state import (
    FACT_URL_TOLD,
    AgentState,
    StateChange,
)
from spkg.agent.tree.builtin import BuiltIns, TreeSurroundings
from spkg.agent.tree.changes import Notifications, parameter_value
from spkg.agent.tree.channel import ProviderError
from spkg.agent.tree.holdings import Holdings
from spkg.agent.tree.model import DescribedParameter
from spkg.agent.tree.names import ACS_URL
from spkg.agent.tree.provider import ParameterSource, ProviderPatience
from spkg.agent.tree.setting import ParameterSetting, answering
from spkg.common.printable import printable
from spkg.cwmp.faults import FaultCode, MethodFaultError
from spkg.cwmp.values import AttributeChange, ParameterAttributes, ParameterInfo, ParameterValue
from spkg.device import Device
from spkg.errors import RefusedError

__all__ = ["Tree"]

MAX_CHANGED: Final = 200_000
"""How many parameters the partial paths of one request may stand for, each as often as it is named."""
SHOWN_PATH: Final = 80


class Tree:
    """All parameters.

    Args:
        config: The configuration.
        device: The device file.
        state: Where it is kept what the ACS sets.
        around: What comes from outside.
        sources: The providers (:func:`spkg.agent.tree.sources.open_sources`).
        clock: Returns the time in seconds; it never jumps.
    """

    def __init__(
        self,
        config: AgentConfig,
        device: Device,
        state: AgentState,
        around: TreeSurroundings,
        *,
        sources: Sequence[ParameterSource],
        clock: Callable[[], float],
    ) -> None:
        self._state = state
        self._around = around
        self._clock = clock
        self._own = BuiltIns(config, device, state, around)
        self._holdings = Holdings(self._own, sources, clock, around.note)
        self._notifications = Notifications(self._holdings, state)
        self._setting = ParameterSetting(config, self._holdings, state, self._notifications, around)
        self._locked = False
        self._changes: tuple[ParameterValue, ...] | None = None
        """The changes that the present session tells; None outside a session."""
        self._informed: tuple[ParameterValue, ...] = ()

    @property
    def root(self) -> str:
        """The partial path of the root object."""
        return self._holdings.root

    def close(self) -> None:
        """End the connections to providers."""
        for source in self._holdings.sources:
            source.close()

    def setting(self, name: str) -> str:
        """Return what is in force for one of the agent's own parameters, passwords too.

        Args:
            name: Its name without the root, such as ``ManagementServer.URL``.
        """
        return self._own.setting(name)

    def is_secret(self, name: str) -> bool:
        """Whether a parameter holds a secret: it must not be in the log."""
        return self._holdings.is_secret(name)

    def own_settings(self) -> tuple[str, ...]:
        """Return the names of the agent's own parameters that can be set, without the root."""
        return tuple(name for name, row in self._own.rows.items() if row.writable)

    def needs_bootstrap(self) -> bool:
        """Whether the ACS at the present URL has never had a whole session with this device (Table 35)."""
        return self._state.fact(FACT_URL_TOLD) != self.setting(ACS_URL)

    def get_values(self, paths: Sequence[str]) -> tuple[ParameterValue, ...]:
        """Return the values of parameters, and of all below partial paths (A.3.2.2).

        Raises:
            MethodFaultError: There is no such path, or a parameter can't be read.
        """
        self._holdings.begin()
        with answering():
            parameters = self._find(paths)
            found = self._holdings.read(parameters)
        for name, fault in found.faults.items():
            if name in paths:
                code = FaultCode(fault.code if fault.code in {9001, 9002, 9004, 9005} else 9002)
                raise MethodFaultError(code, f"{name}: {fault.text}")
            if fault.code != FaultCode.INVALID_NAME:  # what vanished since is not worth a line
                self._around.note(f"{name} can't be read: {fault.text}")
        return tuple(parameter_value(name, parameters[name], value) for name, value in found.values.items())

    def get_names(self, path: str, *, next_level: bool) -> tuple[ParameterInfo, ...]:
        """Return the names of parameters and objects (A.3.2.3).

        Raises:
            MethodFaultError: There is no such path.
        """
        self._holdings.begin()
        with answering():
            parameters = self._find([path])
            if _is_name(path):
                if next_level:
                    problem = "NextLevel needs a partial path, which ends in a dot"
                    raise MethodFaultError(FaultCode.INVALID_ARGUMENTS, problem)
                return tuple(ParameterInfo(name, one.writable) for name, one in parameters.items())
            objects = self._holdings.objects(path)
        found = objects | {name: one.writable for name, one in parameters.items()}
        if next_level:
            found = {
                name: can for name, can in found.items() if name != path and "." not in name[len(path) : -1]
            }
        return tuple(ParameterInfo(name, found[name]) for name in sorted(found))

    def set_values(self, values: Sequence[ParameterValue], key: str) -> int:
        """Set values and the ParameterKey, all or none; see :meth:`ParameterSetting.set_values`."""
        return self._setting.set_values(values, key)

    def add_object(self, path: str, key: str) -> tuple[int, int]:
        """Add an object; see :meth:`ParameterSetting.add_object`."""
        return self._setting.add_object(path, key)

    def delete_object(self, path: str, key: str) -> int:
        """Delete an object; see :meth:`ParameterSetting.delete_object`."""
        return self._setting.delete_object(path, key)

    def set_locally(self, name: str, value: str) -> int:
        """Set a value for the subscriber; see :meth:`ParameterSetting.set_locally`.

        Args:
            name: Its name, with or without the root.
            value: The value.
        """
        if self._locked:
            problem = "a session with the ACS is on, and keeps the parameters as they are"
            raise RefusedError(problem, hint="try again in a moment")
        return self._setting.set_locally(name if name.startswith(self.root) else f"{self.root}{name}", value)

    def get_attributes(self, paths: Sequence[str]) -> tuple[ParameterAttributes, ...]:
        """Return the attributes of parameters, and of all below partial paths (A.3.2.5).

        Raises:
            MethodFaultError: There is no such path.
        """
        self._holdings.begin()
        with answering():
            return self._notifications.attributes(self._find(paths))

    def set_attributes(self, changes: Sequence[AttributeChange]) -> None:
        """Change attributes, all or none (A.3.2.4).

        Parameters whose changes can't be notified are left out of a partial path.

        Raises:
            MethodFaultError: There is no such path, a notification makes no sense, or partial paths stand
                for too many parameters altogether.
        """
        self._holdings.begin()
        with answering():
            found = {path: self._find([path]) for path in dict.fromkeys(one.name for one in changes)}
            total = sum(len(found[one.name]) for one in changes)
            if total > MAX_CHANGED:
                problem = f"expected changes of at most {MAX_CHANGED} parameters, got {total}"
                raise MethodFaultError(FaultCode.RESOURCES_EXCEEDED, problem)
            self._notifications.set_attributes([(one, found[one.name]) for one in changes])

    def lock(self) -> None:
        """Begin a session: nobody else changes parameters until its end, as far as providers can do that.

        What the session tells of changes is what differs now; later ones make another session (3.2.1).
        """
        self._locked = True
        self.carry_out_intent()
        self._each("lock", lambda source, deadline: source.lock(deadline))
        self._changes = None
        self._changes = self.changes()
        self._informed = self._notifications.informed()

    def unlock(self) -> None:
        """End a session, however it ended."""
        if not self._locked:
            return
        self._locked = False
        self._changes = None
        self._informed = ()
        self._notifications.forget_told()
        self._each("unlock", lambda source, deadline: source.unlock(deadline))

    def changes(self) -> tuple[ParameterValue, ...]:
        """Return what the ACS is to be told: what is marked or forced, and differs from what it knows.

        In a session these are the changes from before its begin.
        """
        if self._changes is not None:
            return self._changes
        self._holdings.begin()
        return self._notifications.changes()

    def active_change(self) -> bool:
        """Whether one of the changes makes a session of its own."""
        return self._notifications.has_active(self.changes())

    def inform_values(self) -> tuple[ParameterValue, ...]:
        """Return the parameters of an Inform: those of Table 33, and the changes."""
        if self._changes is None:
            self._holdings.begin()
        informed = self._informed or self._notifications.informed()
        found = {one.name: one for one in (*informed, *self.changes())}
        return tuple(found.values())

    def told(self, values: Sequence[ParameterValue]) -> None:
        """Take what an answered Inform has told; nothing is kept before :meth:`keep_told`."""
        self._notifications.told(values)

    def keep_told(self, change: StateChange) -> None:
        """Keep what was told, in the transaction that ends the session cleanly."""
        self._notifications.keep_told(change)

    def carry_out_intent(self) -> bool:
        """Carry out what a request has left when the power failed; return whether nothing is left now."""
        return self._setting.carry_out()

    def reset_providers(self) -> None:
        """Return what providers serve to factory settings (A.4.1.6); the agent's own state is not touched."""
        self._each("reset", lambda source, deadline: source.reset(deadline))

    def problems(self) -> tuple[str, ...]:
        """Return what is wrong with the providers."""
        found: list[str] = []
        for source in self._holdings.sources:
            self._holdings.begin()
            try:
                self._holdings.below(source.owned[0])
            except ProviderError as exc:
                found.append(str(exc))
        return tuple(found)

    def _find(self, paths: Sequence[str]) -> dict[str, DescribedParameter]:
        """Return the parameters that paths stand for, each once.

        Raises:
            MethodFaultError: There is no such path.
            ProviderError: A provider can't say.
        """
        found: dict[str, DescribedParameter] = {}
        for path in dict.fromkeys(paths):  # the same one a thousand times costs nothing
            if _is_name(path):
                one = self._holdings.parameter(path)
                below = None if one is None else {path: one}
            else:
                below = self._holdings.below(path)
            if below is None:
                problem = f"there is no parameter or object '{printable(path[:SHOWN_PATH])}'"
                raise MethodFaultError(FaultCode.INVALID_NAME, problem)
            found |= below
        return found

    def _each(self, what: str, work: Callable[[ParameterSource, ProviderPatience], None]) -> None:
        """Have each provider do something that the others do not depend on."""
        for source in self._holdings.sources:
            try:
                work(source, self._holdings.begin())
                self._holdings.forget_troubles(source.name)
            except ProviderError as exc:
                self._holdings.note_trouble(source.name, f"{what}: {exc}")


def _is_name(path: str) -> bool:
    return bool(path) and not path.endswith(".")
