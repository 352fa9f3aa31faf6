"""Changing parameters and objects so that all of a request is done, or nothing, whenever the power fails.

Everything is checked first.  What providers have to do is kept as an intent before the first of them is
called, and its effects on the agent's own state, the ParameterKey among them, come with its end, in one
transaction.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from spkg.agent.records import SUBSCRIBER, Intent
from spkg.agent.settings import AgentConfig
from spkg.agent.state import FACT_URL_TOLD, AgentState
from spkg.agent.tree.builtin import TreeSurroundings
from spkg.agent.tree.changes import Notifications
from spkg.agent.tree.channel import ProviderError
from spkg.agent.tree.holdings import Holdings
from spkg.agent.tree.model import COUNTER, MAX_INSTANCE, parent
from spkg.agent.tree.names import ACS_URL
from spkg.agent.tree.provider import ParameterSource, RefusedByProviderError
from spkg.agent.tree.request_effects import RequestEffects
from spkg.agent.tree.requested import RequestedValues
from spkg.common.printable import amount, printable
from spkg.cwmp.faults import FaultCode, MethodFaultError
from spkg.cwmp.values import ParameterValue
from spkg.errors import FormatError, HostError, RefusedError, UsageError

__all__ = ["ParameterSetting", "answering"]

OF_ADDING: Final = {9001, 9002, 9003, 9004, 9005}
OF_DELETING: Final = {9001, 9002, 9003, 9005}
SHOWN_NAME: Final = 80


@contextmanager
def answering() -> Iterator[None]:
    """Answer a request with 9002 where a provider can't do its part."""
    try:
        yield
    except ProviderError as exc:
        raise MethodFaultError(FaultCode.INTERNAL_ERROR, str(exc)) from exc


class ParameterSetting:
    """What changes parameters and objects.

    Args:
        config: The configuration.
        holdings: The parameters.
        state: Where it is kept.
        notifications: What the ACS knows.
        around: What comes from outside.
    """

    def __init__(
        self,
        config: AgentConfig,
        holdings: Holdings,
        state: AgentState,
        notifications: Notifications,
        around: TreeSurroundings,
    ) -> None:
        self._config = config
        self._holdings = holdings
        self._state = state
        self._notifications = notifications
        self._around = around
        self._requests = RequestedValues(holdings)
        self._effects = RequestEffects(config, holdings, state, notifications, around)

    def set_values(self, values: Sequence[ParameterValue], key: str) -> int:
        """Set values for the ACS, all or none (A.3.2.1).

        Returns:
            0, or 1 if some are in force after the next reboot.

        Raises:
            MethodFaultError: They can't be set; each parameter in error is named.
        """
        self._holdings.begin()
        with answering():
            wanted = self._requests.checked(values)
            own, others, before = self._requests.split(wanted)
        if not others:
            with self._state.change() as change:
                self._effects.supersede(change, own)
                self._effects.write(change, Intent(built_in=own, parameter_key=key), {})
            return 0
        self._settle_earlier()
        intent = Intent(values=others, before=before, built_in=own, parameter_key=key)
        with self._state.change() as change:
            change.set_intent(intent)
        with answering():
            return self._perform(intent)

    def set_locally(self, name: str, value: str) -> int:
        """Set a value for the subscriber, if the ACS lets that happen (Table 19).

        Returns:
            0, or 1 if it is in force after the next reboot.

        Raises:
            UsageError: There is no such parameter.
            FormatError: The value does not fit it.
            RefusedError: It must not be changed.
            HostError: A provider can't do it.
        """
        self._holdings.begin()
        found = self._holdings.parameter(name)
        if found is None:
            raise UsageError(f"there is no parameter {printable(name[:SHOWN_NAME])}")
        if not found.writable:
            raise RefusedError(f"{name} can't be changed")
        if SUBSCRIBER not in self._notifications.access(name):
            raise RefusedError(f"{name} can only be changed by the ACS, which has said so")
        plain = name.removeprefix(self._holdings.root)
        if plain == ACS_URL and self._config.acs.lock_url and self._state.fact(FACT_URL_TOLD):
            raise RefusedError(f"{name} can only be changed by the ACS (lock-url)")
        try:
            text = found.type.read(value)
        except FormatError as exc:
            raise FormatError(exc.problem, field=name, section=exc.section) from exc
        problem = self._requests.problem(name, text)
        if problem is not None:
            raise FormatError(problem, field=name)
        own, others, before = self._requests.split({name: (found, text)})
        intent = Intent(values=others, before=before, built_in=own, local=True)
        if others:
            if not self.carry_out():
                raise HostError("earlier values still wait for a provider")
            with self._state.change() as change:
                change.set_intent(intent)
            return self._perform(intent)
        with self._state.change() as change:
            self._effects.supersede(change, own)
            self._effects.write(change, intent, {})
        return 0

    def add_object(self, path: str, key: str) -> tuple[int, int]:
        """Add an object to a table (A.3.2.6).

        Returns:
            Its instance number, and 0, or 1 if it is there after the next reboot.

        Raises:
            MethodFaultError: It can't be added.
        """
        self._holdings.begin()
        with answering():
            table = self._holdings.table(path) if path.endswith(".") else None
            source = self._holdings.source_of(path)
            if table is None or source is None or not table.can_add:
                problem = f"no object can be added to '{printable(path[:SHOWN_NAME])}'"
                raise MethodFaultError(FaultCode.INVALID_NAME, problem)
            there = self._holdings.instances(path)
        if table.most is not None and len(there) >= table.most:
            problem = f"{path} has at most {amount(table.most, 'instance')}"
            raise MethodFaultError(FaultCode.RESOURCES_EXCEEDED, problem)
        self._settle_earlier()
        number = self._next_instance(path, there)
        added = f"{path}{number}."
        intent = Intent(added=added, parameter_key=key)
        with self._state.change() as change:
            change.set_intent(intent)
            change.set_next_instance(path, min(number, MAX_INSTANCE) + 1)
        status = self._change_object(
            intent, OF_ADDING, lambda: source.add(path, number, self._holdings.begin()), Intent(deleted=added)
        )
        return number, status

    def delete_object(self, path: str, key: str) -> int:
        """Delete an object (A.3.2.7).

        Returns:
            0, or 1 if it is gone after the next reboot.

        Raises:
            MethodFaultError: It can't be deleted.
        """
        self._holdings.begin()
        table, number = parent(path), path.rstrip(".").rpartition(".")[2]
        with answering():
            source = self._holdings.source_of(path)
            found = self._holdings.table(table) if path.endswith(f".{number}.") else None
            if (
                source is None
                or found is None
                or not found.can_add
                or number not in {str(one) for one in self._holdings.instances(table)}
            ):
                problem = f"no object '{printable(path[:SHOWN_NAME])}' can be deleted"
                raise MethodFaultError(FaultCode.INVALID_NAME, problem)
        self._settle_earlier()
        intent = Intent(deleted=path, parameter_key=key)
        with self._state.change() as change:
            change.set_intent(intent)
        return self._change_object(
            intent, OF_DELETING, lambda: source.delete(path, self._holdings.begin()), None
        )

    def carry_out(self) -> bool:
        """Carry out what is left of an earlier request; return whether nothing is left now.

        A provider that refuses has everything set back; one that can't be reached is asked again later.
        """
        intent = self._state.intent()
        if intent is None:
            return True
        lost = [name for name in intent.values if self._holdings.source_of(name) is None]
        if lost:
            self._around.note(f"{', '.join(lost)}: no provider serves it any more")
        try:
            if intent.added is not None or intent.deleted is not None:
                self._repeat_object(intent)
            else:
                self._perform(intent, again=True)
        except ProviderError as exc:
            self._around.note(f"an earlier request waits, or was taken back: {exc}")
        return self._state.intent() is None

    def _perform(self, intent: Intent, *, again: bool = False) -> int:
        """Have providers set values, and finish; where one refuses, have all set back.

        Args:
            intent: What to do.
            again: Whether its request is over: then a provider that can't be reached is waited for.

        Raises:
            ProviderError: One has refused, or can't be reached.
        """
        status = 0
        begun: list[tuple[ParameterSource, dict[str, str]]] = []
        try:
            for source, values in self._holdings.by_source(intent.values):
                begun.append((source, values))
                status = max(status, source.put(values, self._holdings.begin()))
        except ProviderError as exc:
            if not again or isinstance(exc, RefusedByProviderError):
                self._take_back(intent, begun)
            raise
        read = {} if intent.local else self._effects.read_back(intent.values)
        with self._state.change() as change:
            change.set_intent(None)
            self._effects.write(change, intent, read)
        return status

    def _take_back(self, intent: Intent, begun: Sequence[tuple[ParameterSource, Mapping[str, str]]]) -> None:
        """Set back what was set; what can't be is kept as an intent of its own."""
        left: dict[str, str] = {}
        for source, values in begun:
            before = {name: intent.before[name] for name in values if name in intent.before}
            lost = sorted(values.keys() - before.keys())
            if lost:
                self._around.note(f"{', '.join(lost)} can't be set back: what it was is not known")
            try:
                if before:
                    source.put(before, self._holdings.begin())
            except RefusedByProviderError as exc:
                self._around.note(f"can't be set back: {exc}")
            except ProviderError:
                left |= before
        with self._state.change() as change:
            change.set_intent(Intent(values=left) if left else None)

    def _change_object(
        self, intent: Intent, codes: set[int], work: Callable[[], int], undo: Intent | None
    ) -> int:
        """Have a provider add or delete an object, and finish.

        Args:
            intent: What to do.
            codes: The FaultCodes that the method can be answered with.
            work: Does it.
            undo: What to do where it is not known whether it was done.
        """
        try:
            status = work()
        except ProviderError as exc:
            refused = exc.faults if isinstance(exc, RefusedByProviderError) else {}
            code = next((fault.code for fault in refused.values() if fault.code in codes), 9002)
            with self._state.change() as change:
                change.set_intent(None if refused else undo)
            if not refused and undo is not None:
                self.carry_out()
            raise MethodFaultError(FaultCode(code), str(exc)) from exc
        self._end_object(intent)
        return status

    def _end_object(self, intent: Intent) -> None:
        self._holdings.look_again()
        around = parent(parent(intent.added or intent.deleted or ""))
        told = self._state.told().items()
        # Whatever the counter of the table is called, its change comes from the ACS.
        read = self._effects.read_back(
            {name: old for name, old in told if parent(name) == around and name.endswith(COUNTER)}
        )
        with self._state.change() as change:
            change.set_intent(None)
            self._effects.write(change, intent, read)
            if intent.deleted is not None:
                change.forget_below(intent.deleted)
                self._notifications.forget_below(intent.deleted)

    def _repeat_object(self, intent: Intent) -> None:
        """Add or delete an object again, unless that is done already.

        Raises:
            ProviderError: The provider can't be reached.
        """
        path = intent.added or intent.deleted or ""
        table, number = parent(path), int(path.rstrip(".").rpartition(".")[2])
        source = self._holdings.source_of(path)
        try:
            if source is None:
                self._around.note(f"{path}: no provider serves it any more")
            elif intent.added is not None:
                source.add(table, number, self._holdings.begin())
            else:
                source.delete(path, self._holdings.begin())
        except RefusedByProviderError as exc:
            self._holdings.begin()
            if (number in self._holdings.instances(table)) is not (intent.added is not None):
                self._around.note(f"an earlier request was given up: {exc}")
                with self._state.change() as change:
                    change.set_intent(None)
                return
        self._end_object(intent)

    def _settle_earlier(self) -> None:
        """Carry out what is left of an earlier request before another one begins.

        Raises:
            MethodFaultError: It can't be.
        """
        if not self.carry_out():
            problem = "earlier values still wait for a provider that can't be reached"
            raise MethodFaultError(FaultCode.INTERNAL_ERROR, problem)

    def _next_instance(self, path: str, there: Sequence[int]) -> int:
        """Return an instance number that was never used; when all were, one that is free (A.3.2.6)."""
        number = max(self._state.instances().get(path, 1), max(there, default=0) + 1)
        if number <= MAX_INSTANCE:
            return number
        used = {*there}
        return next(one for one in range(1, MAX_INSTANCE) if one not in used)
