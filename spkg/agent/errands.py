"""Methods of the ACS that somebody at the gateway wants called, and waits for: RequestDownload, Kicked."""

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from spkg.errors import SpkgError

__all__ = ["Errand"]


@dataclass(eq=False)
class Errand:
    """A call, and the place where its answer is awaited."""

    method: str
    arguments: Mapping[str, Any]
    answer: Future[Mapping[str, Any]] = field(default_factory=Future)

    def finish(self, found: Mapping[str, Any]) -> None:
        """Give the answer to the one who waits."""
        if not self.answer.done():
            self.answer.set_result(found)

    def fail(self, error: SpkgError) -> None:
        """Show the one who waits why there is no answer."""
        if not self.answer.done():
            self.answer.set_exception(error)
