"""When the agent looks at the Options: also where their store could not be used for a while."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from spkg.agent.option_watch import LOOK_AGAIN, OptionWatch
from spkg.errors import HostError

NOW = datetime(2026, 12, 1, tzinfo=UTC)
END = NOW + timedelta(hours=1)


@dataclass
class Store:
    """Options of which one ends in an hour; its disk can be full."""

    full: bool = False
    now: datetime | None = NOW
    code: str = "ISP-1"
    observed: list[tuple[datetime | None, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def watch(self) -> OptionWatch:
        return OptionWatch(self, time=lambda: self.now, code=lambda: self.code, note=self.notes.append)

    def observe(self, now: datetime | None, provisioning_code: str) -> None:
        if self.full:
            raise HostError("disk full")
        self.observed.append((now, provisioning_code))

    def next_change(self, _now: datetime, _code: str) -> datetime | None:
        return END

    def answer(self, _octets: bytes, _now: datetime | None, _code: str) -> bytes | None:
        return None

    def take(self, _octets: bytes, _now: datetime | None, _code: str) -> tuple[int, str] | None:
        return None

    def options(self, _now: datetime | None, _code: str) -> Sequence[Any]:
        return ()

    def enabled(self, _now: datetime | None, _code: str) -> str:
        return ""


def test_the_end_of_an_option_is_waited_for_o2() -> None:
    store = Store()

    assert store.watch().look() == END.timestamp()
    assert store.observed == [(NOW, "ISP-1")]


def test_a_store_that_fails_is_looked_at_again_in_a_minute_o2() -> None:
    store = Store(full=True)
    watch = store.watch()

    again = watch.look()
    store.full = False

    assert again == NOW.timestamp() + LOOK_AGAIN
    assert not watch.is_stale, "or a disk that stays full would be asked with each step"
    assert watch.look() == END.timestamp()
    assert store.notes == ["Options: disk full"]


def test_without_a_clock_a_provider_that_could_not_be_stored_is_not_forgotten_o2() -> None:
    store = Store(full=True, now=None)
    watch = store.watch()

    watch.look()
    store.full = False

    assert watch.again_at(100.0) == 100.0 + LOOK_AGAIN
    assert watch.is_stale
    watch.look()
    assert (store.observed, watch.is_stale) == ([(None, "ISP-1")], False)
