"""The ACS of a story that is disturbed: it asks until it was answered, and remembers what it was told."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from tests.support.acs import Answer, Post, inform_response, response
from tests.support.acs_calls import set_values

__all__ = ["CHANGE", "NEW_VALUES", "OLD_VALUES", "STORY_VALUES", "StoryServer"]

DATA: Final = "DeviceConfig.PersistentData"
INTERVAL: Final = "ManagementServer.PeriodicInformInterval"
KEY: Final = "ManagementServer.ParameterKey"
STORY_VALUES: Final = (DATA, INTERVAL, KEY)
"""The parameters of a story that change, and the ParameterKey."""
OLD_VALUES: Final = ("", "600", "")
NEW_VALUES: Final = ("kept", "1000", "pk")
CHANGE: Final = set_values((DATA, "kept"), (INTERVAL, "1000"), key="pk")
"""The SetParameterValues that makes the ones of the others."""


@dataclass
class StoryServer:
    """An ACS that asks for each thing until it was answered."""

    asks: Mapping[str, bytes]
    """The requests, by their methods."""
    before_told: Callable[[], object] = lambda: None
    """Called before a TransferComplete is answered."""
    asked: str = ""
    answered: set[str] = field(default_factory=set)
    told: list[str] = field(default_factory=list)
    """The CommandKeys of the TransferCompletes that were answered."""
    faults: list[str] = field(default_factory=list)
    """Their FaultCodes."""
    informed: list[list[tuple[str, str]]] = field(default_factory=list)
    """The events of each Inform."""
    strange: list[str] = field(default_factory=list)
    """The CommandKeys that were told in a session whose Inform had no event for them."""

    def plan(self, post: Post) -> Answer:
        name = post.method
        if name == "Inform":
            self.informed.append([*zip(post.texts("EventCode"), post.texts("CommandKey"), strict=True)])
            self.asked = ""
            return Answer(body=inform_response(post.id))
        if name == "TransferComplete":
            self.before_told()
            key = post.text("CommandKey") or ""
            if not {("7 TRANSFER COMPLETE", ""), ("M Download", key)} <= {*self.informed[-1]}:
                self.strange.append(key)
            self.told.append(key)
            self.faults.append(post.text("FaultCode") or "")
            return Answer(body=response(name, id=post.id))
        if name == f"{self.asked}Response":
            self.answered.add(self.asked)
        self.asked = next((one for one in self.asks if one not in self.answered), "")
        return Answer(body=self.asks.get(self.asked, b""))
