"""What a request changes in the agent's own state: values, ParameterKey, events, and what the ACS knows."""

from collections.abc import Mapping

from spkg.agent.origins import FROM_ACS, FROM_SUBSCRIBER, note_origin
from spkg.agent.records import Intent
from spkg.agent.settings import AgentConfig
from spkg.agent.state import FACT_PARAMETER_KEY, AgentState, StateChange
from spkg.agent.tree.builtin import TreeSurroundings
from spkg.agent.tree.changes import Notifications
from spkg.agent.tree.holdings import Holdings
from spkg.agent.tree.names import ACS_URL, PARAMETER_KEY
from spkg.agent.trial import put_on_trial
from spkg.cwmp.events import Event, EventCode

__all__ = ["RequestEffects"]


class RequestEffects:
    """What writes the effects of a request, in the transaction that ends it.

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

    def write(self, change: StateChange, intent: Intent, read: Mapping[str, str]) -> None:
        """Write what a request changes in the agent's own state, in the transaction that ends it."""
        url = self._holdings.own.setting(ACS_URL)
        if intent.built_in.get(ACS_URL, url) != url:
            change.add_event(Event(EventCode.BOOTSTRAP))
        if not intent.local:
            put_on_trial(
                self._state,
                change,
                [name for name in intent.built_in if name in self._config.back_up_parameters],
                delay=self._config.install.back_up,
                now=self._around.boot_clock(),
                boot_id=self._around.boot_id,
            )
        for name, value in intent.built_in.items():
            change.set_value(name, value)
        note_origin(change, intent.built_in, FROM_SUBSCRIBER if intent.local else FROM_ACS)
        root = self._holdings.root
        known = {f"{root}{name}": value for name, value in intent.built_in.items()} | dict(read)
        if intent.parameter_key is not None:
            change.fact(FACT_PARAMETER_KEY, intent.parameter_key)
            known[f"{root}{PARAMETER_KEY}"] = intent.parameter_key
        if not intent.local:
            self._notifications.known_to_acs(change, known)

    def supersede(self, change: StateChange, own: Mapping[str, str]) -> None:
        """Take out of a waiting request what a newer one sets."""
        waiting = self._state.intent()
        if waiting is not None:
            rest = {name: value for name, value in waiting.built_in.items() if name not in own}
            change.set_intent(Intent(**{**vars(waiting), "built_in": rest, "parameter_key": None}))

    def read_back(self, values: Mapping[str, str]) -> dict[str, str]:
        """Return what providers made of values that the ACS is told changes of."""
        followed = {name: value for name, value in values.items() if self._notifications.is_followed(name)}
        if not followed:
            return {}
        self._holdings.begin()
        return {**followed, **self._holdings.readable(followed)[1]}
