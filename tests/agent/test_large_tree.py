"""Ten thousand parameters: names and values of all of them cost little besides the provider."""

# ruff: noqa: ARG002 - a provider that does the same whatever it is asked

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from spkg.agent.tree.model import ParameterDescription, read_description
from spkg.agent.tree.provider import ProviderFault, ProviderPatience, ValuesRead
from spkg.agent.tree.tree import Tree
from spkg.cwmp.faults import FaultCode, MethodFaultError
from spkg.cwmp.values import AttributeChange
from spkg.device import load_device
from tests.agent.tree_kit import IGD, bench

HOSTS: Final = f"{IGD}LANDevice.Host."
KINDS: Final = {
    "Name": ("string(64)", "printer"),
    "Count": ("unsignedInt", "4711"),
    "Active": ("boolean", "1"),
    "Since": ("dateTime", "2026-01-01T03:00:00Z"),
    "Level": ("int[-5:5]", "-3"),
    "State": ("string{Up|Down}", "Up"),
    "Key": ("base64", "YWJj"),
    "Address": ("string(15)", "192.168.1.64"),
}
ROWS: Final = 1250
TRACED: Final = sys.gettrace() is not None or "coverage" in sys.modules
BOUND: Final = 0.1 * (5 if TRACED else 1)
"""The seconds of CPU that each may take; more where each line is counted."""


class Large:
    """A provider of 10 000 parameters that is in this process, and says how long it has taken itself."""

    name = "large"
    owned: tuple[str, ...] = (f"{IGD}LANDevice.",)

    def __init__(self) -> None:
        self.spent = 0.0
        self._description = read_description(
            {
                "parameters": [
                    {"path": f"{HOSTS}{{i}}.{name}", "type": kind, "writable": True}
                    for name, (kind, _) in KINDS.items()
                ],
                "tables": [{"path": HOSTS}],
            },
            self.owned,
        )

    def describe(self, deadline: ProviderPatience) -> ParameterDescription:
        return self._description

    def instances(self, path: str, deadline: ProviderPatience) -> Mapping[str, tuple[int, ...]]:
        return {HOSTS: tuple(range(1, ROWS + 1))}

    def get(self, names: Sequence[str], deadline: ProviderPatience) -> ValuesRead:
        began = time.process_time()
        found = {name: KINDS[name.rpartition(".")[2]][1] for name in names}
        self.spent = time.process_time() - began
        return ValuesRead(found, {})

    def check(self, values: Mapping[str, str], deadline: ProviderPatience) -> Mapping[str, ProviderFault]:
        return {}

    def put(self, values: Mapping[str, str], deadline: ProviderPatience) -> int:
        return 0

    def add(self, table: str, instance: int, deadline: ProviderPatience) -> int:
        return 0

    def delete(self, path: str, deadline: ProviderPatience) -> int:
        return 0

    def lock(self, deadline: ProviderPatience) -> None: ...

    def unlock(self, deadline: ProviderPatience) -> None: ...

    def reset(self, deadline: ProviderPatience) -> None: ...

    def close(self) -> None: ...


def least(work: Callable[[], object], large: Large) -> float:
    """Return the least that some work has taken besides the provider, in seconds of CPU."""

    def once() -> float:
        large.spent = 0.0
        began = time.process_time()
        work()
        return time.process_time() - began - large.spent

    return min(once() for _ in range(5))


@contextmanager
def large_tree(directory: Path) -> Iterator[tuple[Tree, Large]]:
    """Yield a tree with one large provider."""
    with bench(directory) as found:
        large = Large()
        device = load_device(found.config.device.file)
        yield (
            Tree(found.config, device, found.state, found.around(), sources=[large], clock=time.monotonic),
            large,
        )


def test_one_request_cannot_name_the_whole_tree_a_thousand_times(tmp_path: Path) -> None:
    with large_tree(tmp_path) as (tree, _):
        began = time.process_time()
        values = tree.get_values([HOSTS] * 10_000)
        with pytest.raises(MethodFaultError) as caught:
            tree.set_attributes([AttributeChange(HOSTS, number % 3, None) for number in range(4000)])

        assert len(values) == 10_000
        assert (caught.value.code, caught.value.text) == (
            FaultCode.RESOURCES_EXCEEDED,
            "expected changes of at most 200000 parameters, got 40000000",
        )
        assert time.process_time() - began < 20 * BOUND


def test_names_and_values_of_10_000_parameters_take_a_tenth_of_a_second(tmp_path: Path) -> None:
    with large_tree(tmp_path) as (tree, large):
        names = tree.get_names(HOSTS, next_level=False)
        values = tree.get_values([HOSTS])
        assert len(values) == 10_000
        assert len(names) == 10_000 + ROWS + 1

        assert least(lambda: tree.get_names("", next_level=False), large) < BOUND
        assert least(lambda: tree.get_values([""]), large) < BOUND

        tree.set_attributes([AttributeChange(HOSTS, 1, None)])
        assert tree.changes() == ()
        assert least(tree.changes, large) < 2 * BOUND
