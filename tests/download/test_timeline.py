"""How a download would run: phases, deadlines, and where it would end."""

from typing import Any

import pytest

from spkg.download.timeline import Timeline, draw_timeline
from spkg.download.timeouts import Timeouts
from spkg.format.commands import (
    End,
    Extract,
    InitialActivityTimeout,
    InitialTimeout,
    Record,
    RecoverableTimeout,
    Remove,
    UnrecoverableTimeout,
)
from spkg.format.installation_state import InstallationState
from spkg.format.package import Package
from spkg.format.paths import RootPath
from spkg.report.timeline import timeline_document, timeline_lines, timeline_warnings
from tests.support.kit import Draft, file, read

REMOVE = Remove(path=RootPath.of("/old"))


def package(*records: Record, octets: int = 0) -> Package:
    """Return a package whose front matter is what it is, and whose payload has some octets."""
    return read(Draft(records=records, payload=bytes(octets)).encode())


def drawn(one: Package, rate: float = 1000, **timeouts: Any) -> Timeline:
    return draw_timeline(one, rate, Timeouts(**timeouts))


def told(found: Timeline) -> list[tuple[str, float, float, str | None]]:
    return [
        (
            phase.state.value,
            round(phase.begins, 3),
            round(phase.ends, 3),
            None if phase.deadline is None else f"{phase.deadline.title} {phase.deadline.seconds:g}",
        )
        for phase in found.phases
    ]


STEPS = (
    InitialTimeout(timeout=100),
    RecoverableTimeout(timeout=20),
    UnrecoverableTimeout(timeout=50),
    file("/a", bytes(10_000)),
    REMOVE,
    file("/b", bytes(5000), at=10_000, kind=Extract, flags=1),
    End(),
)


def test_each_state_has_its_span_and_its_deadline() -> None:
    one = package(*STEPS, octets=20_000)
    front = one.payload_offset / 1000

    found = drawn(one)

    assert told(found) == [
        ("initial", 0, round(front, 3), "Initial Timeout 600"),
        ("initial", round(front, 3), round(front + 10, 3), "Initial Timeout 100"),
        ("recoverable", round(front + 10, 3), round(front + 15, 3), "Recoverable Timeout 20"),
        ("unrecoverable", round(front + 15, 3), round(front + 15, 3), "Unrecoverable Timeout 50"),
    ]
    assert found.passed is None
    assert found.ends == pytest.approx(front + 15)
    assert found.seconds == pytest.approx(front + 20)
    assert [phase.command.index if phase.command else None for phase in found.phases] == [None, 0, 4, 5]


@pytest.mark.parametrize(
    ("records", "timeouts", "title", "seconds"),
    [
        (STEPS, {"initial": 1}, "Initial Timeout", 1),
        ((InitialTimeout(timeout=5), *STEPS[1:]), {}, "Initial Timeout", 5),
        ((RecoverableTimeout(timeout=4), REMOVE, *STEPS[3:]), {}, "Recoverable Timeout", 4),
        ((*STEPS[:5], file("/b", bytes(9999), at=10_000), End()), {}, "Recoverable Timeout", 20),
    ],
)
def test_it_ends_with_the_first_deadline_that_passes(
    records: tuple[Record, ...], timeouts: dict[str, float], title: str, seconds: float
) -> None:
    found = drawn(package(*records, octets=20_000), **timeouts)

    assert found.passed is not None
    assert (found.passed.title, found.ends) == (title, seconds)
    assert found.arrived == seconds * 1000


def test_a_deadline_that_is_over_when_its_state_is_entered_ends_it_at_once() -> None:
    records = RecoverableTimeout(timeout=2), file("/a", bytes(5000)), REMOVE, file("/b", b"b", at=5000)
    one = package(*records, octets=5001)
    when = (one.payload_offset + 5000) / 1000

    found = drawn(one)

    assert found.passed is not None
    assert found.phases[-1].state is InstallationState.RECOVERABLE
    assert found.ends == pytest.approx(when)


LATE = (file("/a", bytes(10_000)), RecoverableTimeout(timeout=2), REMOVE)


@pytest.mark.parametrize("end", [(), (End(),)], ids=["no End", "End"])
@pytest.mark.parametrize("more", [0, 5000])
def test_a_deadline_that_is_over_ends_nothing_where_no_command_waits_for_octets(
    end: tuple[Record, ...], more: int
) -> None:
    one = package(*LATE, *end, octets=10_000 + more)

    found = drawn(one)

    assert found.passed is None
    assert told(found)[-1][-1] == "Recoverable Timeout 2"
    lines = [text for _, text in timeline_lines(found)]
    assert lines[3].endswith("Recoverable Timeout 2 s      passed, but no data is awaited")
    assert lines[-1].startswith("installed after ")


def test_a_state_that_is_only_passed_through_ends_nothing() -> None:
    through = RecoverableTimeout(timeout=2), REMOVE, Remove(path=RootPath.of("/b"), flags=1)

    found = drawn(package(LATE[0], *through, file("/b", b"b", at=10_000), octets=10_001))

    assert found.passed is None
    assert [phase.state.value for phase in found.phases] == ["initial", "recoverable", "unrecoverable"]


def test_octets_that_come_too_seldom_are_no_activity() -> None:
    found = drawn(package(InitialActivityTimeout(timeout=0), End()), rate=0.5, activity=1, initial=0)

    assert found.passed is not None
    assert found.passed.title == "Initial Activity Timeout"


def test_not_even_the_first_octet_comes_in_time() -> None:
    found = drawn(package(End()), rate=0.01, activity=60, initial=0)

    assert found.passed is not None
    assert (found.ends, found.arrived) == (60, 0)


def test_a_package_without_an_end_is_installed_when_all_of_it_is_there() -> None:
    one = package(file("/a", bytes(10)), octets=2000)

    found = drawn(one)

    assert found.ends == pytest.approx((one.payload_offset + 2000) / 1000)


def test_it_is_told_as_json() -> None:
    one = package(*STEPS, octets=20_000)
    document = timeline_document(drawn(one, rate=2000.0))

    keys = ["schema", "verified", "rate", "octets", "seconds", "finishes", "end", "spans", "warnings"]
    assert list(document) == keys
    assert (document["schema"], document["verified"], document["finishes"]) == (
        "spkg.timeline/1",
        False,
        True,
    )
    assert document["end"] == {
        "seconds": round((one.payload_offset + 15_000) / 2000, 3),
        "octets": one.payload_offset + 15_000,
        "timeout": None,
    }
    assert document["spans"][2] == {
        "state": "recoverable",
        "from": round((one.payload_offset + 10_000) / 2000, 3),
        "to": round((one.payload_offset + 15_000) / 2000, 3),
        "octets": one.payload_offset + 10_000,
        "command": 4,
        "deadline": {"timeout": "Recoverable Timeout", "seconds": 20},
    }


def test_it_is_drawn() -> None:
    one = package(*STEPS, octets=20_000)

    lines = [text for _, text in timeline_lines(drawn(one, rate=200.0))]

    assert lines[0].endswith("at 200 bytes/s take 1 min 47 s (not verified)")
    assert lines[1].split() == ["state", "from", "to", "begins", "with", "deadline"]
    assert lines[2].split()[:2] == ["initial", "0"]
    assert lines[4].endswith("Recoverable Timeout 20 s     expires")
    assert lines[5:] == [
        "initial       =                                                          !",
        "initial        =====    !",
        "recoverable     !   =",
        "              0 s                                              10 min 00 s",
        "the Recoverable Timeout expires after 57 s, with 53% of the package",
    ]


def test_a_state_that_is_left_at_once_is_told() -> None:
    at_once = drawn(package(InitialTimeout(timeout=9), REMOVE, file("/a"), octets=100))
    later = drawn(package(InitialTimeout(timeout=9), file("/a"), REMOVE, octets=100))

    told = "command[1] Remove File leaves the initial state at once, so the initial timeouts never apply"
    assert timeline_document(at_once)["warnings"] == [
        {"code": "initial-timeouts", "message": told, "path": None}
    ]
    assert list(timeline_warnings(later)) == timeline_document(later)["warnings"] == []
