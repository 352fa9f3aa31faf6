"""Names of parameters and objects: what is described with ``{i}``, and what is there (TR-069 B.2).

A description is read once; an inventory is what it means for the instances that exist at the moment.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from spkg.cwmp.types import CwmpType, read_type
from spkg.errors import FormatError

__all__ = [
    "COUNTER",
    "MAX_DESCRIBED",
    "MAX_EXPANDED",
    "MAX_INSTANCE",
    "MAX_PARAMETER_NAME",
    "DescribedParameter",
    "DescribedTable",
    "Inventory",
    "ParameterDescription",
    "inventory",
    "parent",
    "read_description",
]

MAX_PARAMETER_NAME: Final = 256
"""The longest name, in characters (Table 11)."""
MAX_DESCRIBED: Final = 10_000
"""The most parameters that a provider describes."""
MAX_EXPANDED: Final = 100_000
"""The most parameters that there are, with all instances."""
MAX_INSTANCE: Final = (1 << 32) - 1
"""The largest instance number (Table 24)."""
INSTANCE: Final = "{i}"
COUNTER: Final = "NumberOfEntries"
"""How the parameter ends that counts the instances of the table next to it (B.2.3)."""
NODE: Final = re.compile(r"(?!X_)[A-Za-z_][A-Za-z0-9_-]*|X_[A-Z0-9][A-Z0-9_-]*_[!-\-/-~]+", re.ASCII)
"""A node of a name; one of a vendor is ``X_``, the OUI or domain, ``_`` and its own name (B.2.2)."""
NUMBER_NODE: Final = re.compile(r"[1-9][0-9]{0,9}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class DescribedParameter:
    """A parameter, of all instances of the objects that it is in."""

    path: str
    """Its full name, with ``{i}`` for each instance number."""
    type: CwmpType
    writable: bool = False
    notifies: bool = True
    """Whether its changes can be told: not for what varies all the time (9009, Table 19)."""
    secret: bool = False
    """Whether it is read as an empty string."""
    default: str | None = None
    """Its value in a new object, for people."""


@dataclass(frozen=True, kw_only=True)
class DescribedTable:
    """An object with instances."""

    path: str
    """Its partial path, with ``{i}`` for the instances of tables around it."""
    can_add: bool = False
    """Whether AddObject and DeleteObject work."""
    most: int | None = None
    """How many instances there can be."""


@dataclass(frozen=True, kw_only=True)
class ParameterDescription:
    """All that a provider, or the agent itself, serves."""

    parameters: tuple[DescribedParameter, ...] = ()
    tables: tuple[DescribedTable, ...] = ()

    @cached_property
    def single(self) -> Mapping[str, DescribedParameter]:
        """The parameters that are in no instance of a table, by their names: they are always there."""
        return {one.path: one for one in self.parameters if INSTANCE not in one.path}

    @cached_property
    def _secrets(self) -> frozenset[str]:
        return frozenset(_any_instance(one.path) for one in self.parameters if one.secret)

    def holds_secret(self, name: str) -> bool:
        """Whether a parameter, of whichever instance, is never read."""
        return _any_instance(name) in self._secrets

    @cached_property
    def table_paths(self) -> frozenset[str]:
        """The paths of all tables, with ``{i}``, those included that are only in names of parameters."""
        named = {one.path for one in self.tables}
        for one in self.parameters:
            nodes = one.path.split(".")
            named |= {".".join(nodes[:index]) + "." for index, node in enumerate(nodes) if node == INSTANCE}
        return frozenset(named)


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """The parameters and objects that are there."""

    parameters: Mapping[str, DescribedParameter] = field(default_factory=dict)
    """By their names."""
    objects: Mapping[str, bool] = field(default_factory=dict)
    """By their partial paths: whether instances can be added or deleted there (Table 16)."""
    tables: Mapping[str, DescribedTable] = field(default_factory=dict)
    """The objects with instances, by their partial paths."""
    instances: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """The instances of each."""
    counters: Mapping[str, str] = field(default_factory=dict)
    """The parameters that count the instances of a table, and that table."""


def _any_instance(name: str) -> str:
    return ".".join(INSTANCE if node.isdecimal() else node for node in name.split("."))


def parent(path: str) -> str:
    """Return the partial path of the object that a parameter or an object is in."""
    return path.rstrip(".").rpartition(".")[0] + "."


def read_description(document: Mapping[str, Any], owned: Sequence[str]) -> ParameterDescription:
    """Return what a provider describes.

    Args:
        document: Its answer.
        owned: The partial paths that it may serve.

    Raises:
        FormatError: It describes something else, or what it does not own.
    """
    parameters = _entries(document, "parameters", MAX_DESCRIBED)
    tables = _entries(document, "tables", MAX_DESCRIBED)
    found = ParameterDescription(
        parameters=tuple(_parameter(one, owned) for one in parameters),
        tables=tuple(_table(one, owned) for one in tables),
    )
    paths = [*(one.path for one in found.parameters), *(one.path for one in found.tables)]
    seen: set[str] = set()
    for path in paths:
        if path in seen:
            raise FormatError(f"{path} is described twice")
        seen.add(path)
    return found


def inventory(description: ParameterDescription, instances: Mapping[str, Sequence[int]]) -> Inventory:
    """Return what is there.

    Args:
        description: What is described.
        instances: The instance numbers of each table that has any, by its partial path.

    Raises:
        FormatError: There are too many parameters.
    """
    tables = {one.path: one for one in description.tables}
    places: dict[str, list[str]] = {"": [""]}
    objects: dict[str, bool] = {}
    there: dict[str, DescribedTable] = {}
    parameters: dict[str, DescribedParameter] = {}

    def expand(pattern: str) -> list[str]:
        """Return the objects that a pattern stands for, once and for all."""
        if pattern in places:
            return places[pattern]
        above, node = (
            parent(pattern) if pattern.count(".") > 1 else "",
            pattern.rstrip(".").rpartition(".")[2],
        )
        around = expand(above)
        if node == INSTANCE:
            found = [f"{one}{number}." for one in around for number in instances.get(one, ())]
            can = above in tables and tables[above].can_add
        else:
            found = [f"{one}{node}." for one in around]
            can = pattern in tables and tables[pattern].can_add
        objects.update(dict.fromkeys(found, can))
        if pattern in tables or pattern in implied:
            there.update(dict.fromkeys(found, tables.get(pattern) or DescribedTable(path=pattern)))
        places[pattern] = found
        return found

    implied = description.table_paths
    for pattern in sorted(implied):
        expand(pattern)
    for one in description.parameters:
        above, name = parent(one.path), one.path.rpartition(".")[2]
        for place in expand(above):
            parameters[f"{place}{name}"] = one
        if len(parameters) > MAX_EXPANDED:
            raise FormatError(f"expected at most {MAX_EXPANDED} parameters, got more")
    numbers: dict[str, list[int]] = {path: [] for path in there}
    for place in objects:
        above, _, node = place[:-1].rpartition(".")
        if node.isdecimal():
            numbers.setdefault(f"{above}.", []).append(int(node))
    return Inventory(
        parameters=parameters,
        objects=objects,
        tables={path: there.get(path) or DescribedTable(path=path) for path in numbers},
        instances={path: tuple(sorted(found)) for path, found in numbers.items()},
        counters={
            counter: path
            for path in numbers
            if (counter := f"{path.removesuffix('.')}{COUNTER}") in parameters
        },
    )


def _entries(document: Mapping[str, Any], key: str, most: int) -> Iterator[Mapping[str, Any]]:
    entries = document.get(key, [])
    if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
        raise FormatError(f"{key} must be an array of objects")
    if len(entries) > most:
        raise FormatError(f"expected at most {most} {key}, got {len(entries)}")
    yield from entries


def _parameter(entry: Mapping[str, Any], owned: Sequence[str]) -> DescribedParameter:
    path = _path(entry, owned)
    if path.endswith((".", INSTANCE)) or NUMBER_NODE.fullmatch(path.rpartition(".")[2]):
        raise FormatError(f"the name of a parameter must end in a name, got {path}")
    text = entry.get("type")
    if not isinstance(text, str):
        raise FormatError(f"{path} must have a type, such as string(64)")
    notify = entry.get("notify")
    if notify not in {None, "no"}:
        raise FormatError(f'notify of {path} must be "no", or absent')
    default = entry.get("default")
    if default is not None and not isinstance(default, str):
        raise FormatError(f"default of {path} must be a string")
    try:
        kind = read_type(text)
    except FormatError as exc:
        raise FormatError(f"the type of {path}: {exc.problem}") from exc
    return DescribedParameter(
        path=path,
        type=kind,
        writable=_switch(entry, "writable", path),
        notifies=notify is None,
        secret=_switch(entry, "secret", path),
        default=default,
    )


def _table(entry: Mapping[str, Any], owned: Sequence[str]) -> DescribedTable:
    path = _path(entry, owned)
    if not path.endswith(".") or path.endswith(f"{INSTANCE}."):
        raise FormatError(f"the path of a table must end in a name and a dot, got {path}")
    most = entry.get("max")
    if most is not None and (type(most) is not int or not 0 <= most <= MAX_EXPANDED):
        raise FormatError(f"max of {path} must be a number from 0 to {MAX_EXPANDED}")
    return DescribedTable(path=path, can_add=_switch(entry, "add", path), most=most)


def _path(entry: Mapping[str, Any], owned: Sequence[str]) -> str:
    path = entry.get("path")
    if not isinstance(path, str) or not _is_path(path):
        raise FormatError(f"expected the full name of a parameter or table, got {path!r:.80}")
    # What is owned may state instances that the description leaves open, and the other way round.
    if not any(_fits(path, one) for one in owned):
        raise FormatError(f"{path} is not below {' or '.join(owned)}")
    return path


def _is_path(path: str) -> bool:
    nodes = path.removesuffix(".").split(".")
    named = False
    for node in nodes:
        if NODE.fullmatch(node):
            named = True
        elif named and (node == INSTANCE or NUMBER_NODE.fullmatch(node)):
            named = False
        else:
            return False
    return len(path) <= MAX_PARAMETER_NAME


def _fits(path: str, owned: str) -> bool:
    ours, theirs = path.split("."), owned.removesuffix(".").split(".")
    return len(ours) > len(theirs) and ours[: len(theirs)] == theirs


def _switch(entry: Mapping[str, Any], key: str, path: str) -> bool:
    value = entry.get(key, False)
    if not isinstance(value, bool):
        raise FormatError(f"{key} of {path} must be true or false")
    return value
