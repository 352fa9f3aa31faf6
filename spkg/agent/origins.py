"""Who has set one of the agent's own parameters: the ACS, unless something else is noted."""

from collections.abc import Iterable
from typing import Final

from spkg.agent.state import AgentState, StateChange

__all__ = ["FROM_ACS", "FROM_DHCP", "FROM_SUBSCRIBER", "note_origin", "origin_of"]

FROM_ACS: Final = "ACS"
FROM_DHCP: Final = "DHCP"
FROM_SUBSCRIBER: Final = "subscriber"
FACT_ORIGIN: Final = "origin "
"""The beginning of a fact's name; the parameter's name follows."""


def note_origin(change: StateChange, names: Iterable[str], origin: str) -> None:
    """Note who sets parameters, in the transaction that sets them."""
    for name in names:
        change.fact(FACT_ORIGIN + name, None if origin == FROM_ACS else origin)


def origin_of(state: AgentState, name: str) -> str:
    """Return who has set a parameter that is set."""
    return state.fact(FACT_ORIGIN + name) or FROM_ACS
