"""What is counted of a fleet: percentiles to 2 %, and several processes as one."""

import random

import pytest

from spkg.agent.contact import ContactError, ContactKind
from spkg.agent.fleet_figures import FleetFigures, Spread
from spkg.cwmp.session import BrokenSessionError


def test_percentiles_are_right_to_two_percent() -> None:
    draw = random.Random(7)
    durations = sorted(draw.lognormvariate(-3, 1.5) for _ in range(5000))
    spread = Spread()

    for one in draw.sample(durations, len(durations)):
        spread.add(one)

    for percent in (50, 90, 95, 99, 99.9):
        exact = durations[-(-len(durations) * int(percent * 10) // 1000) - 1]
        assert exact <= spread.percentile(percent) <= exact * 1.021
    found = spread.document()
    assert found["min"] == pytest.approx(durations[0], abs=1e-6)
    assert found["max"] == pytest.approx(durations[-1], abs=1e-6)
    assert found["mean"] == pytest.approx(sum(durations) / len(durations), abs=1e-6)


def test_a_spread_of_nothing_is_zero() -> None:
    assert Spread().document() == {
        "count": 0,
        "min": 0.0,
        "mean": 0.0,
        **dict.fromkeys(("p50", "p90", "p95", "p99", "p99.9", "max"), 0.0),
    }


def test_all_durations_alike_are_all_percentiles() -> None:
    spread = Spread()
    for _ in range(3):
        spread.add(0.5)

    assert {spread.percentile(one) for one in (1, 50, 100)} == {0.5}


def test_memory_does_not_grow_with_the_number_of_durations() -> None:
    spread = Spread()
    for index in range(100_000):
        spread.add(index / 1000)

    assert len(spread.packed()["counts"]) < 1000


def figures(seconds: float, kind: ContactKind) -> FleetFigures:
    found = FleetFigures()
    found.ended(seconds)
    found.connected(2, seconds)
    found.called("Reboot")
    found.called("Nonsense")
    found.sent["9005"] += 1
    found.received_fault(8005)
    found.received_fault(17)
    found.downloaded(0, 1000, seconds)
    found.downloaded(9010, 0, seconds)
    found.failed(ContactError(f"it took {seconds}", kind=kind))
    found.failed(BrokenSessionError("expected\x1b this"))
    found.dropped()
    return found


def test_two_processes_are_counted_as_one() -> None:
    first, second = figures(1.0, ContactKind.TLS), figures(3.0, ContactKind.TLS)

    first.take(second.packed())

    found = first.document()
    assert found["seconds"]["session"]["mean"] == 2.0
    assert (found["seconds"]["session"]["min"], found["seconds"]["session"]["max"]) == (1.0, 3.0)
    assert (found["sessions"], found["failed"], found["connections"], found["downloaded_bytes"]) == (
        2,
        6,
        4,
        2000,
    )
    assert found["calls"] == {"Reboot": 2, "other": 2}
    assert found["faults"] == {"sent": {"9005": 2}, "received": {"8005": 2, "other": 2}}
    assert found["transfers"] == {"0": 2, "9010": 2}
    assert found["failures"] == {
        "dropped": {"count": 2, "first": "broken off after the Inform, as the profile says"},
        "session": {"count": 2, "first": "expected\\x1b this"},
        "tls": {"count": 2, "first": "it took 1.0"},
    }


def test_an_empty_process_changes_nothing() -> None:
    found = figures(1.0, ContactKind.HTTP)
    before = found.document()

    found.take(FleetFigures().packed())

    assert found.document() == before
