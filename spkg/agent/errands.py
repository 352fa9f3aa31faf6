"""Methods of the ACS that somebody at the gateway wants called, and waits for: RequestDownload, Kicked.

They may only be called where the ACS lists them (A.3.1.1): some servers die of others.
"""

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final

from spkg.cwmp.retries import may_kick
from spkg.cwmp.values import AcsFault
from spkg.errors import RefusedError, SpkgError

__all__ = ["Errand", "Errands"]

KICKED: Final = "Kicked"
ASKING: Final = "GetRPCMethods"
"""The method that says which other ones there are."""
KICKS_PER_HOUR: Final = 60
"""How often Kicked is called in an hour (D.4)."""


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


class Errands:
    """The errands that wait for a session."""

    def __init__(self) -> None:
        self._waiting: list[Errand] = []
        self._kicks: list[float] = []
        self.methods: frozenset[str] | None = None
        """What the ACS lists; None if it was not asked."""

    @property
    def wait(self) -> bool:
        """Whether there are any."""
        return bool(self._waiting)

    def add(self, errand: Errand, boot: float) -> None:
        """Let an errand wait for the next session.

        Args:
            errand: The errand.
            boot: Now, in seconds since the boot.

        Raises:
            RefusedError: There were too many kicks (D.4).
        """
        if errand.method == KICKED:
            if not may_kick(self._kicks, boot, KICKS_PER_HOUR):
                raise RefusedError(f"at most {KICKS_PER_HOUR} kicks in an hour", section="D.4")
            self._kicks = [*self._kicks[1 - KICKS_PER_HOUR :], boot]
        self._waiting.append(errand)

    def next(self) -> list[Errand]:
        """Return what to call in this session; first of all, what may be called."""
        if self._waiting and self.methods is None:
            return [Errand(ASKING, {})]
        self._refuse()
        return [*self._waiting]

    def take(self, errand: Errand, found: Mapping[str, Any] | AcsFault) -> None:
        """Take what the ACS answers to an errand."""
        if errand in self._waiting:
            self._waiting.remove(errand)
        if errand.method == ASKING:
            self.methods = frozenset(() if isinstance(found, AcsFault) else found["MethodList"])
            self._refuse()
        if isinstance(found, AcsFault):
            errand.fail(RefusedError(f"the ACS refuses {errand.method}: {found.code} {found.text}"))
        else:
            errand.finish(found)

    def unread(self, errand: Errand, error: SpkgError) -> None:
        """Let an errand fail because its answer can't be read; without the methods, all of them."""
        if errand.method == ASKING:
            self.fail(error)
        else:
            self._waiting.remove(errand)
            errand.fail(error)

    def fail(self, error: SpkgError) -> None:
        """Let all of them fail, because their session broke."""
        for errand in self._waiting:
            errand.fail(error)
        self._waiting.clear()

    def _refuse(self) -> None:
        """Refuse what the ACS does not list."""
        for errand in [one for one in self._waiting if one.method not in (self.methods or ())]:
            self._waiting.remove(errand)
            errand.fail(RefusedError(f"the ACS has no {errand.method}"))
