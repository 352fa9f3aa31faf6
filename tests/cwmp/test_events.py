"""The events of an Inform: which there are, what lasts, what one Inform holds (clauses E2, E8 to E16)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spkg.cwmp.events import MAX_EVENTS, Event, EventCode, first_events, merged, method_event, raised_event
from spkg.errors import FormatError

NUMBERED = [Event(code) for code in EventCode]
URL = "https://acs.example.net/cwmp"
ANY_EVENT = st.one_of(
    st.sampled_from(NUMBERED),
    st.builds(
        method_event,
        st.sampled_from(["Download", "Reboot", "ScheduleInform", "Upload"]),
        st.sampled_from("abcdefgh"),
    ),
    st.sampled_from([Event(f"X 00D09E Event{number}") for number in range(9)]),
)


def codes(events: tuple[Event, ...]) -> list[str]:
    return [event.code for event in events]


def starts(*, last_boot_id: str | None = "b1", url_told: str | None = URL) -> list[str]:
    """Return the events of a start in the boot b2."""
    return codes(first_events(boot_id="b2", last_boot_id=last_boot_id, url=URL, url_told=url_told))


def test_the_codes_are_those_of_table_35() -> None:
    assert [*EventCode] == [
        "0 BOOTSTRAP",
        "1 BOOT",
        "2 PERIODIC",
        "3 SCHEDULED",
        "4 VALUE CHANGE",
        "5 KICKED",
        "6 CONNECTION REQUEST",
        "7 TRANSFER COMPLETE",
        "8 DIAGNOSTICS COMPLETE",
    ]


def test_a_first_installation_is_bootstrap_e8() -> None:
    assert starts(last_boot_id=None, url_told=None) == ["0 BOOTSTRAP", "1 BOOT"]


def test_another_url_is_bootstrap_e8() -> None:
    assert starts(last_boot_id="b2", url_told="https://old.example.net/") == ["0 BOOTSTRAP"]


def test_a_boot_of_any_cause_is_boot_e9() -> None:
    assert starts() == ["1 BOOT"]


def test_another_start_in_the_same_boot_is_no_event() -> None:
    assert starts(last_boot_id="b2") == []


def test_an_event_of_a_method_has_its_name_and_command_key_e12() -> None:
    assert method_event("Reboot", "  key  with blanks ") == Event("M Reboot", "  key  with blanks ")


def test_command_keys_outlive_the_reboot_e16() -> None:
    lasting = [
        event.code for event in [*NUMBERED, Event("M Reboot", "k"), Event("X 00D09E A")] if event.lasts
    ]

    assert lasting == ["0 BOOTSTRAP", "1 BOOT", "M Reboot", "X 00D09E A"]


@pytest.mark.parametrize("text", ["X 00D09E MyEvent", "X 00D09E Radar hit 7", "X FFFFFF e"])
def test_a_vendor_raises_events_e13(text: str) -> None:
    assert raised_event(text) == Event(text)


def test_a_provider_raises_the_end_of_diagnostics_e13() -> None:
    assert raised_event("8 DIAGNOSTICS COMPLETE") == Event(EventCode.DIAGNOSTICS_COMPLETE)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "X",
            "X 00D09E",
            "X 00D09E ",
            "X 00d09e A",
            "X 0D09E A",
            "x 00D09E A",
            "X 00D09E A ",
            "X 00D09E A\n",
        ),
        *("X 00D09E \x1b[2J", "0 BOOTSTRAP", "2 PERIODIC", "7 TRANSFER COMPLETE", "M Reboot"),
    ],
)
def test_nobody_else_raises_the_events_of_the_agent(text: str) -> None:
    with pytest.raises(FormatError) as caught:
        raised_event(text)

    assert str(caught.value) == (
        "event: expected 'X OUI NAME' with an OUI of six upper-case hexadecimal digits, "
        f"got {text!r} [TR-069 A.3.3.1]"
    )


def test_an_event_code_has_at_most_64_characters() -> None:
    raised_event("X 00D09E " + "a" * 55)

    with pytest.raises(FormatError) as caught:
        raised_event("X 00D09E " + "a" * 56)

    assert str(caught.value) == "event: expected at most 64 characters, got 65 [TR-069 A.3.3.1]"


def test_every_cause_is_listed_once_in_the_order_of_the_table_e2() -> None:
    events = [
        Event("X 00D09E A"),
        method_event("Reboot", "b"),
        Event(EventCode.TRANSFER_COMPLETE),
        method_event("Reboot", "a"),
        Event(EventCode.BOOT),
        method_event("Reboot", "b"),
        Event("1 BOOT"),
        Event(EventCode.BOOTSTRAP),
    ]

    assert merged(events) == (
        Event("0 BOOTSTRAP"),
        Event("1 BOOT"),
        Event("7 TRANSFER COMPLETE"),
        Event("M Reboot", "b"),
        Event("M Reboot", "a"),
        Event("X 00D09E A"),
    )


def test_one_inform_has_at_most_16_events_and_the_oldest_go_first_e2() -> None:
    waiting = [method_event("Download", str(number)) for number in range(20)]

    first = merged([*waiting, Event(EventCode.VALUE_CHANGE), Event(EventCode.TRANSFER_COMPLETE)])
    second = merged([event for event in waiting if event not in first])

    assert first == (Event("4 VALUE CHANGE"), Event("7 TRANSFER COMPLETE"), *waiting[:14])
    assert second == tuple(waiting[14:])


def test_no_inform_without_a_cause_has_events() -> None:
    assert merged([]) == ()


@given(st.lists(ANY_EVENT, max_size=60))
def test_every_event_is_told_in_some_session_and_numbered_ones_in_the_first(events: list[Event]) -> None:
    waiting, told, sessions = [*events], list[Event](), 0
    while waiting:
        now = merged(waiting)
        waiting = [event for event in waiting if event not in now]
        told += now
        sessions += 1

        assert 0 < len(now) <= MAX_EVENTS
        assert [event.code[0] for event in now] == sorted(event.code[0] for event in now)

    assert sorted(map(repr, told)) == sorted(map(repr, set(events)))
    assert {event for event in events if event.code[0].isdigit()} <= set(merged(events))
    assert sessions == -(-len(set(events)) // MAX_EVENTS)
