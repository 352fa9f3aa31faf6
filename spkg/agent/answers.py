"""What the running agent answers at its control socket: everything that its commands show or ask for."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from spkg.agent.discovery import DhcpSettings, read_option_43
from spkg.agent.engine import Engine
from spkg.agent.errands import Errand
from spkg.agent.journal import Journal
from spkg.agent.state import AgentState
from spkg.agent.status import StatusDesk, transfer_documents
from spkg.agent.transfer_rules import download_request
from spkg.agent.tree.tree import Tree
from spkg.common.documents import Document
from spkg.cwmp.calls import encode_request
from spkg.cwmp.events import raised_event
from spkg.errors import UsageError

__all__ = ["AgentAnswers"]

MOST_ENTRIES: Final = 10_000


class AgentAnswers:
    """Answers questions; each is asked in the thread that decides, but for what only reads a snapshot.

    Args:
        engine: What decides.
        tree: The parameters.
        state: What outlives a power cut.
        status: Shows how the agent is.
        journal: The log.
        discover: Takes over what DHCP says.
    """

    AT_ONCE: Final = frozenset({"status", "log", "trace"})
    """The questions that are answered at once, also during a session."""

    def __init__(
        self,
        *,
        engine: Engine,
        tree: Tree,
        state: AgentState,
        status: StatusDesk,
        journal: Journal,
        discover: Callable[[DhcpSettings], None],
    ) -> None:
        self._discover = discover
        self._engine = engine
        self._tree = tree
        self._state = state
        self._status = status
        self._journal = journal

    def answer(self, name: str, arguments: Mapping[str, Any]) -> Document | Errand:
        """Return the answer to a question, or the errand whose end is the answer.

        Raises:
            SpkgError: It is refused.
        """
        found = QUESTIONS.get(name)
        if found is None:
            raise UsageError(f"unknown question {name!r:.40}")
        return found(self, arguments)

    def status(self, _arguments: Mapping[str, Any]) -> Document:
        """``agent status``."""
        return self._status.snapshot

    def log(self, arguments: Mapping[str, Any]) -> Document:
        """``agent log``."""
        return {"entries": self._journal.last(min(int(arguments.get("count", 100)), MOST_ENTRIES))}

    def trace(self, arguments: Mapping[str, Any]) -> Document:
        """``agent trace``."""
        self._journal.traces = bool(arguments.get("on"))
        self._journal.note("trace", f"tracing is {'on' if self._journal.traces else 'off'}", lasting=True)
        return {}

    def config(self, _arguments: Mapping[str, Any]) -> Document:
        """``agent config``."""
        return {"schema": "spkg.agent.config/1", "values": self._status.settings()}

    def parameters(self, arguments: Mapping[str, Any]) -> Document:
        """``agent parameters``."""
        path = _text(arguments, "path")
        if path and not path.startswith(self._tree.root):
            path = f"{self._tree.root}{path}"  # as for 'set'
        values = self._tree.get_values((path,))
        names = {one.name: one.writable for one in self._tree.get_names(path, next_level=False)}
        attributes = {one.name: one for one in self._tree.get_attributes((path,))}
        return {
            "schema": "spkg.agent.parameters/1",
            "parameters": [
                {
                    "name": one.name,
                    "type": one.type,
                    "value": one.value,
                    "writable": names.get(one.name, False),
                    "notification": attributes[one.name].notification,
                    "access": list(attributes[one.name].access),
                }
                for one in values
            ],
        }

    def set(self, arguments: Mapping[str, Any]) -> Document:
        """``agent set``."""
        values = arguments.get("values")
        if not isinstance(values, dict) or not all(isinstance(one, str) for one in values.values()):
            raise UsageError("values: expected texts by name")
        for name, value in values.items():
            self._tree.set_locally(name, value)
        return {}

    def transfers(self, _arguments: Mapping[str, Any]) -> Document:
        """``agent transfers``."""
        return {
            "schema": "spkg.agent.transfers/1",
            "transfers": transfer_documents(self._state.transfers()),
        }

    def inform(self, arguments: Mapping[str, Any]) -> Document:
        """``agent inform``."""
        if "event" in arguments:
            self._engine.raise_event(raised_event(_text(arguments, "event")))
        self._engine.force()
        return {}

    def request_download(self, arguments: Mapping[str, Any]) -> Errand:
        """``agent request-download`` (A.4.2.2)."""
        stated = arguments.get("arguments", {})
        if not isinstance(stated, dict) or not all(isinstance(one, str) for one in stated.values()):
            raise UsageError("arguments: expected texts by name")
        return self._run("RequestDownload", download_request(_text(arguments, "file_type"), stated))

    def kick(self, arguments: Mapping[str, Any]) -> Errand:
        """``agent kick`` (A.4.2.1)."""
        words = {name: _text(arguments, name.lower()) for name in ("Command", "Referer", "Arg", "Next")}
        return self._run("Kicked", words)

    def discover(self, arguments: Mapping[str, Any]) -> Document:
        """``agent discover``."""
        self._discover(read_option_43(_text(arguments, "option_43")))
        return {}

    def _run(self, method: str, arguments: Mapping[str, Any]) -> Errand:
        """Have a method of the ACS called, if it can be called with these arguments.

        Raises:
            UsageError: It can't.
            RefusedError: It must not be called now.
        """
        try:
            encode_request(method, arguments, None)
        except ValueError as exc:
            raise UsageError(f"{method}: {exc}") from exc
        errand = Errand(method, arguments)
        self._engine.run_errand(errand)
        return errand


QUESTIONS: Final[Mapping[str, Callable[[AgentAnswers, Mapping[str, Any]], Document | Errand]]] = {
    "status": AgentAnswers.status,
    "log": AgentAnswers.log,
    "trace": AgentAnswers.trace,
    "config": AgentAnswers.config,
    "parameters": AgentAnswers.parameters,
    "set": AgentAnswers.set,
    "transfers": AgentAnswers.transfers,
    "inform": AgentAnswers.inform,
    "request-download": AgentAnswers.request_download,
    "kick": AgentAnswers.kick,
    "discover": AgentAnswers.discover,
}
"""What answers each question."""


def _text(arguments: Mapping[str, Any], name: str) -> str:
    value = arguments.get(name, "")
    if not isinstance(value, str):
        raise UsageError(f"{name}: expected a text")
    return value
