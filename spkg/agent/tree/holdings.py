"""All parameters, of the agent and of providers: found by their names, and read.

Providers are asked only for paths that touch what they own, and all of them together within one deadline.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from spkg.agent.tree.builtin import BuiltIns
from spkg.agent.tree.channel import ProviderError
from spkg.agent.tree.model import (
    COUNTER,
    DescribedParameter,
    DescribedTable,
    Inventory,
    ParameterDescription,
    inventory,
)
from spkg.agent.tree.provider import ParameterSource, ProviderFault, ProviderPatience, ValuesRead
from spkg.errors import FormatError

__all__ = ["PROVIDER_PATIENCE", "Holdings"]

MAX_TROUBLES: Final = 8
"""How many different problems of a provider are noted in a row."""
PROVIDER_PATIENCE: Final = 5.0
"""How long all providers together may take for a request, in seconds."""


@dataclass
class _Cached:
    """What was made of the last description and instances of a provider."""

    description: ParameterDescription = field(default_factory=ParameterDescription)
    instances: Mapping[str, Sequence[int]] = field(default_factory=dict)
    inventory: Inventory = field(default_factory=Inventory)


class Holdings:
    """The parameters of the agent and of its providers.

    Args:
        own: Those of the agent.
        sources: The providers.
        clock: Returns the time in seconds; it never jumps.
        note: Takes what is worth a line in the log.
    """

    def __init__(
        self,
        own: BuiltIns,
        sources: Sequence[ParameterSource],
        clock: Callable[[], float],
        note: Callable[[str], None],
    ) -> None:
        self.own = own
        self.sources = tuple(sources)
        self.root = f"{own.root}."
        self._clock = clock
        self._note = note
        self._own = inventory(own.description(), {})
        self._cached: dict[str, _Cached] = {}
        self._described: dict[str, ParameterDescription] = {}
        """What each provider described last."""
        self._troubles: dict[str, set[str]] = {}
        """What was noted of each provider since it has answered last."""
        self._fresh: dict[str, Inventory] = {}
        """What was seen of each provider since the present request began."""
        self.deadline = ProviderPatience(clock, PROVIDER_PATIENCE)

    def begin(self) -> ProviderPatience:
        """Begin to answer another request: patience begins anew."""
        self.deadline = ProviderPatience(self._clock, PROVIDER_PATIENCE)
        self._fresh.clear()
        return self.deadline

    def look_again(self) -> None:
        """Forget what was seen, because objects were added or deleted."""
        self._fresh.clear()

    def source_of(self, name: str) -> ParameterSource | None:
        """Return the provider of a parameter or object; None if it is the agent's own, or unknown."""
        if name in self._own.parameters:
            return None
        return next((source for source in self.sources if name.startswith(source.owned)), None)

    def by_source(self, values: Mapping[str, str]) -> list[tuple[ParameterSource, dict[str, str]]]:
        """Return values by their providers, in the order of the configuration."""
        found: dict[str, dict[str, str]] = {}
        for name, value in values.items():
            source = self.source_of(name)
            if source is not None:
                found.setdefault(source.name, {})[name] = value
        return [(source, found[source.name]) for source in self.sources if source.name in found]

    def parameter(self, name: str) -> DescribedParameter | None:
        """Return a parameter by its full name; None if it does not exist.

        Raises:
            ProviderError: Its provider can't say.
        """
        if name in self._own.parameters:
            return self._own.parameters[name]
        source = self.source_of(name)
        if source is None:
            return None
        single = self._description(source).single.get(name)
        return single or self._inventory(source).parameters.get(name)

    def is_secret(self, name: str) -> bool:
        """Whether a parameter holds a secret; one that its provider has not described yet may hold one."""
        if name in self._own.parameters:
            return self._own.parameters[name].secret
        source = self.source_of(name)
        if source is None:
            return False
        described = self._described.get(source.name)
        return described is None or described.holds_secret(name)

    def table(self, path: str) -> DescribedTable | None:
        """Return a table by its partial path; None if it does not exist.

        Raises:
            ProviderError: Its provider can't say.
        """
        source = self.source_of(path)
        return None if source is None else self._inventory(source).tables.get(path)

    def instances(self, path: str) -> tuple[int, ...]:
        """Return the instance numbers in a table, in all that is served.

        Raises:
            ProviderError: A provider can't say.
        """
        return tuple(sorted({one for found in self._touching(path) for one in found.instances.get(path, ())}))

    def below(self, path: str) -> dict[str, DescribedParameter] | None:
        """Return the parameters below a partial path, in order; None if there is no such path.

        Raises:
            ProviderError: A provider can't say.
        """
        found: dict[str, DescribedParameter] = {}
        exists = not path
        for held in self._touching(path):
            exists = exists or path in held.objects
            if path in {"", self.root}:
                found |= held.parameters
            else:
                found |= {name: one for name, one in held.parameters.items() if name.startswith(path)}
        return {name: found[name] for name in sorted(found)} if exists else None

    def objects(self, path: str) -> dict[str, bool]:
        """Return the objects at and below a partial path: whether instances can be added or deleted there.

        Raises:
            ProviderError: A provider can't say.
        """
        found: dict[str, bool] = {}
        for held in self._touching(path):
            for name, can in held.objects.items():
                if name.startswith(path):
                    found[name] = can or found.get(name, False)
        return found

    def read(self, parameters: Mapping[str, DescribedParameter]) -> ValuesRead:
        """Return the values of parameters, each in the form of its type.

        Raises:
            ProviderError: A provider can't say anything.
        """
        values: dict[str, str] = {}
        faults: dict[str, ProviderFault] = {}
        asked: dict[str, list[str]] = {}
        homes: dict[int, list[str]] = {}
        """Where the names go that have one description: there are few of these, and many names."""
        for name, one in parameters.items():
            home = homes.get(id(one))
            if home is not None:
                home.append(name)
            elif one.secret:
                values[name] = ""
            elif one.path.endswith(COUNTER) and (counted := self._counted(name)) is not None:
                values[name] = counted
            elif name in self._own.parameters:
                values[name] = self.own.rows[name.removeprefix(self.root)].read()
            elif (source := self.source_of(name)) is not None:
                home = asked.setdefault(source.name, [])
                home.append(name)
                if not one.path.endswith(COUNTER):
                    homes[id(one)] = home
        for source in self.sources:
            if source.name in asked:
                found = source.get(asked[source.name], self.deadline)
                values |= found.values
                faults |= found.faults
        return self._typed(parameters, values, faults)

    def _typed(
        self,
        parameters: Mapping[str, DescribedParameter],
        values: Mapping[str, str],
        faults: dict[str, ProviderFault],
    ) -> ValuesRead:
        """Return values in the form of their types; a value that does not fit is a fault, and never cut."""
        typed: dict[str, str] = {}
        for name, one in parameters.items():
            value = values.get(name)
            if value is None:
                continue
            try:
                typed[name] = one.type.read(value)
            except FormatError as exc:
                faults[name] = ProviderFault(9002, f"its value does not fit its type: {exc.problem}")
        return ValuesRead(typed, faults)

    def _counted(self, name: str) -> str | None:
        """Return the value of a parameter that counts the instances next to it; None for any other."""
        path = f"{name.removesuffix(COUNTER)}."
        if name in self._own.parameters:
            return str(len(self.instances(path)))
        source = self.source_of(name)
        held = None if source is None else self._inventory(source)
        return None if held is None or name not in held.counters else str(len(held.instances[path]))

    def _touching(self, path: str) -> Iterator[Inventory]:
        """Give what is there of everybody who owns something at, above or below a path."""
        yield self._own
        for source in self.sources:
            if any(path.startswith(owned) or owned.startswith(path) for owned in source.owned):
                yield self._inventory(source)

    def _description(self, source: ParameterSource) -> ParameterDescription:
        found = self._described[source.name] = source.describe(self.deadline)
        return found

    def _inventory(self, source: ParameterSource) -> Inventory:
        """Return what is there of a provider: one picture a request, made anew where something differs."""
        if source.name in self._fresh:
            return self._fresh[source.name]
        description = self._description(source)
        instances = source.instances("", self.deadline) if description.table_paths else {}
        cached = self._cached.setdefault(source.name, _Cached())
        if description is not cached.description or instances != cached.instances:
            try:
                found = inventory(description, instances)
            except FormatError as exc:
                raise ProviderError(f"provider {source.name!r}: {exc}") from exc
            clash = next((name for name in found.parameters if name in self._own.parameters), None)
            if clash is not None:
                raise ProviderError(f"provider {source.name!r}: {clash} is the agent's own")
            self._cached[source.name] = cached = _Cached(description, instances, found)
        self._fresh[source.name] = cached.inventory
        return cached.inventory

    def note_trouble(self, provider: str, text: str) -> None:
        """Note what is wrong with a provider, once until it has answered: it is asked all the time."""
        noted = self._troubles.setdefault(provider, set())
        if text not in noted and len(noted) < MAX_TROUBLES:
            noted.add(text)
            self._note(text)

    def forget_troubles(self, provider: str) -> None:
        """Let what is wrong with a provider be noted anew: it has answered."""
        self._troubles.pop(provider, None)

    def readable(self, names: Iterable[str]) -> tuple[dict[str, DescribedParameter], dict[str, str]]:
        """Return those of these parameters that can be read now, and their values.

        A provider that can't say anything costs its own parameters, and a line in the log.
        """
        groups: dict[str, list[str]] = {}
        for name in names:
            source = self.source_of(name)
            groups.setdefault("" if source is None else source.name, []).append(name)
        found: dict[str, DescribedParameter] = {}
        values: dict[str, str] = {}
        for provider, group in groups.items():
            try:
                parameters = {name: one for name in group if (one := self.parameter(name)) is not None}
                values |= self.read(parameters).values
                found |= parameters
                self.forget_troubles(provider)
            except ProviderError as exc:
                self.note_trouble(provider, str(exc))
        return found, values
