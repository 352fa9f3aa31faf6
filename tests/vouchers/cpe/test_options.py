"""The Options of a device: what a voucher makes of them, what ends them, and the store that keeps them.

TR-069 Appendix C, and Table 48.  A model written from Appendix C alone judges the store.
"""

import copy
import ctypes
import multiprocessing
import os
import pickle
import re
import sqlite3
import subprocess
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spkg.device import Device
from spkg.errors import NO_ROOM, FormatError, HostError, RefusedError, SpkgError, UsageError
from tests.support.kit import AT
from tests.support.namespaces import bind, in_memory, isolated
from tests.support.sampling import amount
from tests.support.voucher_kit import DEVICE, IPTV, QOS, policy, signed, verified
from vouchers.cpe.apply import check_vouchers, get_options, set_vouchers
from vouchers.cpe.grant import Grant, grant
from vouchers.cpe.identity import identity_of
from vouchers.cpe.option_life import Ending, Life, OptionState, next_change, unvouchered
from vouchers.cpe.store import OptionStore
from vouchers.cpe.store_tables import MAX_SEEN, MAX_STORED_OPTIONS
from vouchers.model import MAX_VOUCHERS, DeviceId, Mode, Option, Voucher
from vouchers.months import LAST, Units
from vouchers.signature.option_elements import content_of
from vouchers.signature.shape import read_voucher
from vouchers.signature.verify import Verifier

CPE: Final = Device(manufacturer="2Wire", oui="00D09E", product_class="Gateway", serial_number="123456789")
SECOND: Final = timedelta(seconds=1)
DAY: Final = timedelta(days=1)
VERIFIER: Final = Verifier(policy())
ON: Final = Option(serial="1", device=DEVICE, ident="QoS", description="", mode=Mode.WITHOUT_EXPIRATION)
"""An Option that is enabled until further notice, as most tests want it."""
OFF: Final = replace(ON, serial="2", mode=Mode.DISABLE)
TEN_DAYS: Final = replace(ON, mode=Mode.WITH_EXPIRATION, duration=10, units=Units.DAYS)
LIFE: Final = Life(
    name="QoS",
    serial="1",
    signer_key=b"key",
    content=b"content",
    mode=Mode.WITHOUT_EXPIRATION,
    start=AT,
    expires=None,
    transferable=False,
)
REPLAYED: Final = (
    "VSerialNum: voucher '1' was applied before and no longer governs 'QoS' [TR-069 C.3, Table 62]"
)
USED: Final = (
    "VSerialNum: a different voucher of this signer already had the serial number '1' [TR-069 C.3, Table 62]"
)


def granted(*options: Option, now: datetime = AT, which: str = "signer", **certificate: Any) -> Grant:
    """Return what a genuine voucher for these Options makes of them."""
    octets = signed(Voucher(options=options), which, **certificate)
    return grant(VERIFIER.verify(read_voucher(octets), AT), CPE, now)


def put(store: OptionStore, *options: Option, now: datetime = AT, which: str = "signer") -> list[bool]:
    """Apply a voucher, and return for each Option whether that is new."""
    return [new for _, new in store.apply([granted(*options, now=now, which=which)], now)]


def refused(store: OptionStore, *options: Option, now: datetime = AT, which: str = "signer") -> str:
    """Return why a voucher is refused that is granted."""
    with pytest.raises(RefusedError) as caught:
        put(store, *options, now=now, which=which)
    return str(caught.value)


def state(store: OptionStore, at: datetime = AT, name: str = "QoS") -> OptionState:
    (found,) = [one for one in store.options(at) if one.name == name]
    return found


def enabled(store: OptionStore, at: datetime = AT) -> list[str]:
    return [one.name for one in store.options(at) if one.enabled]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "options.db"


@pytest.fixture
def store(path: Path) -> Iterator[OptionStore]:
    with OptionStore(path, create=True) as opened:
        yield opened


# The life of an Option (C.2, Table 48).


@pytest.mark.parametrize(
    ("change", "at", "found"),
    [
        pytest.param({}, AT - SECOND, (False, 2, None), id="a second before it starts"),
        pytest.param({}, AT, (True, 2, None), id="when it starts"),
        pytest.param({}, AT + SECOND, (True, 2, None), id="a second later"),
        pytest.param({}, LAST, (True, 2, None), id="without expiration it has no end"),
        pytest.param({"expires": AT + DAY}, AT - SECOND, (False, 1, None), id="not yet, to expire"),
        pytest.param({"expires": AT + DAY}, AT, (True, 1, None), id="begun, to expire"),
        pytest.param({"expires": AT + DAY}, AT + DAY - SECOND, (True, 1, None), id="its last second"),
        pytest.param({"expires": AT + DAY}, AT + DAY, (False, 0, Ending.EXPIRED), id="when it expires"),
        pytest.param({"expires": AT + DAY}, LAST, (False, 0, Ending.EXPIRED), id="long expired"),
        pytest.param({"expires": LAST}, LAST - SECOND, (True, 1, None), id="before the end of time"),
        pytest.param({"expires": LAST}, LAST, (False, 0, Ending.EXPIRED), id="at the end of time"),
        pytest.param({"mode": Mode.DISABLE}, AT - SECOND, (False, 0, None), id="disabled, before"),
        pytest.param({"mode": Mode.DISABLE}, AT, (False, 0, None), id="disabled"),
        pytest.param({"ending": Ending.EXPIRED}, AT, (False, 0, Ending.EXPIRED), id="seen to be over"),
        pytest.param({"ending": Ending.PROVIDER}, AT, (False, 0, Ending.PROVIDER), id="another provider"),
        pytest.param(
            {"ending": Ending.PROVIDER, "expires": AT + DAY},
            AT + DAY,
            (False, 0, Ending.PROVIDER),
            id="what ended it first is told",
        ),
    ],
)
def test_an_option_stands_as_appendix_c_says_to_the_second(
    change: dict[str, Any], at: datetime, found: tuple[bool, int, Ending | None]
) -> None:
    mode = Mode.WITH_EXPIRATION if "expires" in change else Mode.WITHOUT_EXPIRATION
    life = replace(LIFE, **{"mode": mode, **change})

    stands = life.at(at)

    assert (stands.enabled, stands.mode, stands.ending) == found
    assert life.is_over(at) is (found[2] is not None)


def test_all_that_is_known_of_an_option_is_told() -> None:
    life = replace(
        LIFE, mode=Mode.WITH_EXPIRATION, expires=AT + DAY, transferable=True, set_up=True, serial="77"
    )

    assert life.at(AT) == OptionState(
        name="QoS",
        serial="77",
        enabled=True,
        set_up=True,
        mode=1,
        start=AT,
        expires=AT + DAY,
        transferable=True,
        ending=None,
    )


def test_an_option_that_was_never_vouchered_is_all_zero() -> None:
    found = unvouchered("QoS")

    assert (found.name, found.serial, found.voucher_sn, found.state, found.mode) == ("QoS", None, 0, 0, 0)
    assert (found.start, found.expires, found.transferable, found.ending) == (None, None, False, None)


@pytest.mark.parametrize(
    ("on", "set_up", "bits"), [(False, False, 0), (True, False, 1), (False, True, 2), (True, True, 3)]
)
def test_state_is_a_number_of_two_bits(*, on: bool, set_up: bool, bits: int) -> None:
    found = replace(unvouchered("QoS"), enabled=on, set_up=set_up)

    assert found.state == bits


@pytest.mark.parametrize(
    ("serial", "number"),
    [
        ("4001", 4001),
        ("0", 0),
        ("0004001", 4001),
        ("4294967295", 4294967295),
        ("4294967296", 0),
        ("9999999999", 0),
        ("42949672950", 0),
        ("9" * 64, 0),
        ("ACS-4001", 0),
        ("-1", 0),
        ("+1", 0),
        (" 1", 0),
        ("1_0", 0),
        ("\u0664\u0660\u0660\u0661", 0),
        ("\u00b2", 0),
        (None, 0),
    ],
)
def test_the_voucher_number_is_the_serial_where_that_is_an_unsigned_int(
    serial: str | None, number: int
) -> None:
    found = replace(unvouchered("QoS"), serial=serial)

    assert found.voucher_sn == number


@pytest.mark.parametrize(
    ("change", "at", "found"),
    [
        pytest.param({}, AT - SECOND, AT, id="it begins"),
        pytest.param({}, AT, None, id="it has begun, and does not end"),
        pytest.param({"expires": AT + DAY}, AT - SECOND, AT, id="it begins before it ends"),
        pytest.param({"expires": AT + DAY}, AT, AT + DAY, id="it ends"),
        pytest.param({"expires": AT + DAY}, AT + DAY - SECOND, AT + DAY, id="it ends in a second"),
        pytest.param({"expires": AT + DAY}, AT + DAY, None, id="it has ended"),
        pytest.param({"expires": AT + DAY, "ending": Ending.PROVIDER}, AT, None, id="it was ended"),
        pytest.param({"ending": Ending.PROVIDER}, AT - SECOND, None, id="ended before it began"),
        pytest.param({"mode": Mode.DISABLE}, AT - SECOND, None, id="it is disabled"),
    ],
)
def test_the_next_change_of_an_option_lies_behind_now(
    change: dict[str, Any], at: datetime, found: datetime | None
) -> None:
    assert replace(LIFE, **change).next_change(at) == found


def test_the_next_change_is_that_of_the_first_option_to_change() -> None:
    lives = [
        replace(LIFE, start=AT + 3 * DAY),
        replace(LIFE, expires=AT + 2 * DAY),
        replace(LIFE, mode=Mode.DISABLE),
        replace(LIFE, expires=AT + DAY, ending=Ending.PROVIDER),
    ]

    assert next_change(lives, AT) == AT + 2 * DAY
    assert next_change(lives, AT + 2 * DAY) == AT + 3 * DAY
    assert next_change(lives, AT + 3 * DAY) is None
    assert next_change([], AT) is None


# What a voucher makes of the Options of a device (C.3).


def test_a_voucher_makes_of_each_option_what_it_says() -> None:
    key = verified(signed()).signer_key

    (iptv, qos) = granted(IPTV, QOS).lives

    assert iptv == Life(
        name="IPTV",
        serial="4001",
        signer_key=key,
        content=content_of(IPTV),
        mode=Mode.WITH_EXPIRATION,
        start=datetime(2026, 5, 1, tzinfo=UTC),
        expires=datetime(2027, 5, 1, tzinfo=UTC),
        transferable=False,
        begun=True,
    )
    assert qos == Life(
        name="QoS",
        serial="4002",
        signer_key=key,
        content=content_of(QOS),
        mode=Mode.WITHOUT_EXPIRATION,
        start=AT,
        expires=None,
        transferable=True,
        begun=True,
    )


@pytest.mark.parametrize(
    ("change", "now", "start", "expires"),
    [
        pytest.param({}, AT, AT, AT + 10 * DAY, id="from when it is applied"),
        pytest.param({}, AT.replace(microsecond=999_999), AT, AT + 10 * DAY, id="to the second"),
        pytest.param({"start": AT - DAY}, AT, AT - DAY, AT + 9 * DAY, id="from a start that has passed"),
        pytest.param({"start": AT + DAY}, AT, AT + DAY, AT + 11 * DAY, id="from a start to come"),
        pytest.param(
            {"duration": 1, "units": Units.MONTHS, "start": datetime(2026, 1, 31, 8, tzinfo=UTC)},
            datetime(2026, 2, 1, tzinfo=UTC),
            datetime(2026, 1, 31, 8, tzinfo=UTC),
            datetime(2026, 2, 28, 8, tzinfo=UTC),
            id="a month that is shorter",
        ),
        pytest.param(
            {"duration": 1, "units": Units.MONTHS},
            datetime(2028, 1, 31, 8, tzinfo=UTC),
            datetime(2028, 1, 31, 8, tzinfo=UTC),
            datetime(2028, 2, 29, 8, tzinfo=UTC),
            id="a month of a leap year",
        ),
        pytest.param({"duration": (1 << 32) - 1}, AT, AT, LAST, id="days to the end of time"),
        pytest.param(
            {"duration": (LAST - AT).days},
            AT,
            AT,
            LAST.replace(hour=12, minute=0, second=0),
            id="the last day",
        ),
        pytest.param({"duration": (LAST - AT).days + 1}, AT, AT, LAST, id="a day behind the last day"),
        pytest.param(
            {"duration": (1 << 32) - 1, "units": Units.MONTHS}, AT, AT, LAST, id="months to the end of time"
        ),
        pytest.param(
            {"mode": Mode.WITHOUT_EXPIRATION}, AT, AT, None, id="a duration has no meaning without expiration"
        ),
        pytest.param({"mode": Mode.DISABLE}, AT, AT, None, id="nor with disable"),
    ],
)
def test_a_duration_counts_from_the_start_or_from_now(
    change: dict[str, Any], now: datetime, start: datetime, expires: datetime | None
) -> None:
    (life,) = granted(replace(TEN_DAYS, **change), now=now).lives

    assert (life.start, life.expires) == (start, expires)


@pytest.mark.parametrize(
    ("device", "who"),
    [
        pytest.param(replace(CPE, oui="00D09F"), "00D09F 'Gateway' '123456789'", id="OUI"),
        pytest.param(replace(CPE, product_class="gateway"), "00D09E 'gateway' '123456789'", id="class"),
        pytest.param(replace(CPE, product_class=""), "00D09E '' '123456789'", id="no class"),
        pytest.param(replace(CPE, serial_number="123456780"), "00D09E 'Gateway' '123456780'", id="serial"),
        pytest.param(replace(CPE, serial_number="0123456789"), "00D09E 'Gateway' '0123456789'", id="zero"),
    ],
)
def test_a_voucher_for_another_device_is_refused(device: Device, who: str) -> None:
    trusted = verified(signed())

    with pytest.raises(RefusedError) as caught:
        grant(trusted, device, AT)

    assert str(caught.value) == (
        f"DeviceId: the voucher is for 00D09E 'Gateway' '123456789', "
        f"but this device is {who} [TR-069 C.3, Table 62]"
    )
    assert (caught.value.STATUS, caught.value.reason) == ("refused", "refused")


@pytest.mark.parametrize("manufacturer", ["Somebody Else", "", None, "x" * 65])
def test_who_made_the_device_is_not_looked_at(manufacturer: str | None) -> None:
    found = grant(verified(signed()), replace(CPE, manufacturer=manufacturer), AT)

    assert [life.name for life in found.lives] == ["IPTV", "QoS"]


def test_an_option_that_the_device_has_not_is_refused() -> None:
    trusted = verified(signed())

    with pytest.raises(RefusedError) as caught:
        grant(trusted, replace(CPE, supported_options=("IPTV", "qos")), AT)

    assert str(caught.value) == "this device has no Option 'QoS' [TR-069 C.3, Table 62]"


def test_a_device_that_has_no_options_takes_none() -> None:
    trusted = verified(signed())

    with pytest.raises(RefusedError) as caught:
        grant(trusted, replace(CPE, supported_options=()), AT)

    assert str(caught.value) == "this device has no Option 'IPTV' [TR-069 C.3, Table 62]"


def test_options_that_the_device_has_are_granted() -> None:
    found = grant(verified(signed()), replace(CPE, supported_options=("QoS", "VPN", "IPTV")), AT)

    assert [life.name for life in found.lives] == ["IPTV", "QoS"]


def test_two_instructions_for_one_option_are_refused() -> None:
    with pytest.raises(RefusedError) as caught:
        granted(ON, replace(OFF, serial="3"))

    assert str(caught.value) == "the Option 'QoS' occurs twice in the voucher [TR-069 C.3]"


@pytest.mark.parametrize(
    ("option", "now", "end"),
    [
        pytest.param(
            replace(TEN_DAYS, start=AT - 10 * DAY), AT, "2026-06-01T12:00:00Z", id="in this very second"
        ),
        pytest.param(
            replace(TEN_DAYS, start=AT - 10 * DAY),
            AT + 500 * DAY,
            "2026-06-01T12:00:00Z",
            id="long ago",
        ),
        pytest.param(
            replace(TEN_DAYS, duration=0), AT, "2026-06-01T12:00:00Z", id="before it begins, without a start"
        ),
    ],
)
def test_an_option_that_is_over_on_arrival_is_refused(option: Option, now: datetime, end: str) -> None:
    with pytest.raises(RefusedError) as caught:
        granted(option, now=now)

    assert str(caught.value) == f"the Option 'QoS' expired at {end} [TR-069 C.2]"


def test_an_option_in_its_last_second_is_granted() -> None:
    (life,) = granted(replace(TEN_DAYS, start=AT - 10 * DAY), now=AT - SECOND).lives

    assert life.expires == AT


def test_without_network_time_nothing_is_granted() -> None:
    trusted = verified(signed(), at=None)

    with pytest.raises(RefusedError) as caught:
        grant(trusted, CPE, None)

    assert str(caught.value) == "network time is not established [TR-069 C.2]"


@pytest.mark.parametrize(
    ("device", "problem"),
    [
        (Device(), "missing oui and product-class and serial-number"),
        (replace(CPE, oui=None), "missing oui"),
        (replace(CPE, product_class=None), "missing product-class"),
        (replace(CPE, serial_number=None), "missing serial-number"),
    ],
)
def test_a_device_that_does_not_say_who_it_is_takes_no_voucher(device: Device, problem: str) -> None:
    trusted = verified(signed())

    with pytest.raises(FormatError) as caught:
        grant(trusted, device, AT)

    assert (
        str(caught.value) == f"device: {problem}: vouchers need the device's identity [TR-069 C.3, Table 63]"
    )


@pytest.mark.parametrize(
    ("device", "problem"),
    [
        (replace(CPE, serial_number=""), "SerialNumber: expected 1 to 64 characters, got 0"),
        (replace(CPE, serial_number="1" * 65), "SerialNumber: expected 1 to 64 characters, got 65"),
        (replace(CPE, product_class="x" * 65), "ProductClass: expected 0 to 64 characters, got 65"),
        (replace(CPE, oui="00d09e"), "OUI: expected six upper-case hexadecimal digits, got '00d09e'"),
    ],
)
def test_a_device_can_be_nothing_that_table_63_forbids(device: Device, problem: str) -> None:
    with pytest.raises(FormatError) as caught:
        identity_of(device)

    assert str(caught.value) == f"device: {problem} [TR-069 C.3, Table 63]"


def test_a_device_is_who_it_says() -> None:
    found = identity_of(replace(CPE, manufacturer="M" * 70))

    assert found == DeviceId(
        manufacturer="M" * 64, oui="00D09E", product_class="Gateway", serial_number="123456789"
    )


def test_nobody_but_grant_makes_a_grant() -> None:
    with pytest.raises(TypeError, match=re.escape("a Grant can only be made by grant()")):
        Grant(lives=(), seal=object())


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_grant_is_neither_copied_nor_pickled(again: Callable[[Grant], object]) -> None:
    found = granted(ON)

    with pytest.raises(TypeError, match="a Grant can't be copied or pickled"):
        again(found)


def test_a_grant_is_not_changed_into_another() -> None:
    found = granted(ON)

    with pytest.raises((TypeError, ValueError), match=r"seal|InitVar"):
        replace(found, lives=())  # type: ignore[call-arg]  # the seal is not there, nor elsewhere


# The store: what vouchers do, one after the other.


def test_a_new_voucher_takes_effect(store: OptionStore) -> None:
    done = store.apply([granted(IPTV, QOS)], AT)

    assert done == [(life, True) for life in granted(IPTV, QOS).lives]
    assert store.options(AT) == [life.at(AT) for life in granted(IPTV, QOS).lives]


def test_what_was_applied_is_there_when_the_store_is_opened_again(path: Path) -> None:
    with OptionStore(path, create=True) as first:
        put(first, replace(IPTV, transferable=True), QOS)
        first.set_up("QoS", done=True)
        before = first.lives()

    with OptionStore(path) as second:
        after = second.lives()

    assert after == before
    assert [life.set_up for life in after] == [False, True]


def test_an_option_is_disabled_by_a_later_voucher(store: OptionStore) -> None:
    put(store, ON)

    new = put(store, OFF, now=AT + DAY)

    assert new == [True]
    assert state(store, AT + DAY) == replace(
        unvouchered("QoS"), serial="2", start=AT + DAY, mode=0, enabled=False
    )


def test_an_option_is_modified_by_a_later_voucher(store: OptionStore) -> None:
    put(store, ON)

    put(store, replace(TEN_DAYS, serial="3", transferable=True))

    found = state(store)
    assert (found.serial, found.mode, found.expires, found.transferable) == ("3", 1, AT + 10 * DAY, True)


def test_an_option_that_was_disabled_is_enabled_by_another_voucher(store: OptionStore) -> None:
    put(store, ON)
    put(store, OFF)

    new = put(store, replace(ON, serial="3"))

    assert (new, enabled(store)) == ([True], ["QoS"])


def test_a_serial_that_is_lower_than_the_last_one_is_taken(store: OptionStore) -> None:
    put(store, replace(ON, serial="900"))

    new = put(store, OFF)

    assert (new, enabled(store)) == ([True], [])


def test_a_voucher_that_comes_again_while_it_governs_changes_nothing(store: OptionStore) -> None:
    put(store, TEN_DAYS)
    before = store.lives()

    new = put(store, TEN_DAYS, now=AT + 9 * DAY)

    assert new == [False]
    assert store.lives() == before
    assert state(store).expires == AT + 10 * DAY


def test_a_voucher_that_disables_may_come_again(store: OptionStore) -> None:
    put(store, ON)
    put(store, OFF)

    new = put(store, OFF, now=AT + DAY)

    assert (new, state(store).start) == ([False], AT)


def test_a_voucher_that_another_has_superseded_is_not_applied_again(store: OptionStore) -> None:
    put(store, ON)
    put(store, OFF)

    with pytest.raises(RefusedError) as caught:
        put(store, ON)

    assert str(caught.value) == REPLAYED
    assert caught.value.reason == "refused"
    assert enabled(store) == []


def test_a_voucher_that_was_superseded_is_not_applied_again_after_the_option_is_enabled_by_a_third(
    store: OptionStore,
) -> None:
    put(store, ON)
    put(store, OFF)
    put(store, replace(ON, serial="3"))

    assert refused(store, ON) == REPLAYED
    assert refused(store, OFF) == REPLAYED.replace("'1'", "'2'")


def test_a_voucher_that_has_expired_is_not_applied_again(store: OptionStore) -> None:
    put(store, TEN_DAYS)

    assert put(store, TEN_DAYS, now=AT + 10 * DAY - SECOND) == [False]
    assert refused(store, TEN_DAYS, now=AT + 10 * DAY) == REPLAYED


def test_a_voucher_that_ended_with_its_provider_is_not_applied_again(store: OptionStore) -> None:
    store.observe("ISP-1", AT)
    put(store, ON)
    store.observe("ISP-2", AT)

    assert refused(store, ON) == REPLAYED
    assert put(store, replace(ON, serial="3")) == [True]
    assert enabled(store) == ["QoS"]


def test_a_serial_that_was_used_is_refused_for_other_contents(store: OptionStore) -> None:
    put(store, ON)

    found = refused(store, replace(ON, description="more", transferable=True))

    assert found == USED
    assert not state(store).transferable


def test_a_serial_that_was_used_is_refused_for_another_option(store: OptionStore) -> None:
    put(store, ON)

    assert refused(store, replace(ON, ident="VPN")) == USED


def test_a_serial_may_stand_twice_in_one_voucher(store: OptionStore) -> None:
    both = (ON, replace(ON, ident="VPN"))

    assert put(store, *both) == [True, True]
    assert put(store, *both) == [False, False]
    assert enabled(store) == ["QoS", "VPN"]


def test_a_serial_of_a_voucher_is_no_other_vouchers_in_the_same_list(store: OptionStore) -> None:
    with pytest.raises(RefusedError) as caught:
        store.apply([granted(ON), granted(replace(ON, ident="VPN"))], AT)

    assert str(caught.value) == USED
    assert store.options(AT) == []


def test_a_voucher_that_is_in_a_list_twice_is_applied_once(store: OptionStore) -> None:
    done = store.apply([granted(ON), granted(ON)], AT)

    assert [new for _, new in done] == [True, False]


def test_vouchers_of_a_list_take_effect_in_their_order(store: OptionStore) -> None:
    done = store.apply([granted(ON), granted(OFF), granted(replace(ON, serial="3"))], AT)

    assert [(life.serial, new) for life, new in done] == [("1", True), ("2", True), ("3", True)]
    assert state(store).serial == "3"


def test_a_list_that_comes_again_as_a_whole_changes_nothing(store: OptionStore) -> None:
    vouchers = [granted(ON), granted(OFF), granted(replace(ON, serial="3", ident="VPN"))]
    store.apply(vouchers, AT)
    before = store.lives()

    done = store.apply(vouchers, AT + DAY)

    assert [(life.serial, new) for life, new in done] == [("2", False), ("2", False), ("3", False)]
    assert store.lives() == before


def test_a_list_with_something_new_in_it_is_no_list_that_comes_again(store: OptionStore) -> None:
    store.apply([granted(ON), granted(OFF)], AT)

    with pytest.raises(RefusedError) as caught:
        store.apply([granted(replace(ON, serial="3")), granted(OFF)], AT, ["first", "second"])

    assert str(caught.value) == "second: " + REPLAYED.replace("'1'", "'2'")
    assert enabled(store) == []


def test_a_list_that_comes_again_after_a_later_voucher_is_refused(store: OptionStore) -> None:
    vouchers = [granted(ON), granted(OFF)]
    store.apply(vouchers, AT)
    put(store, replace(ON, serial="3"))

    with pytest.raises(RefusedError) as caught:
        store.apply(vouchers, AT)

    assert str(caught.value) == REPLAYED


def test_a_voucher_of_which_one_option_is_superseded_is_not_applied_again(store: OptionStore) -> None:
    vpn = replace(ON, serial="9", ident="VPN")
    put(store, vpn, ON)
    put(store, OFF)
    before = store.lives()

    assert refused(store, vpn, ON) == REPLAYED
    assert store.lives() == before


def test_an_option_keeps_that_it_is_set_up_whatever_voucher_comes(store: OptionStore) -> None:
    put(store, ON)
    store.set_up("QoS", done=True)
    put(store, OFF)
    disabled = state(store).state
    put(store, replace(ON, serial="3"))
    again = state(store).state
    store.set_up("QoS", done=False)

    assert (disabled, again, state(store).state) == (2, 3, 1)


def test_what_was_never_vouchered_is_not_set_up(store: OptionStore) -> None:
    put(store, ON)

    with pytest.raises(UsageError) as caught:
        store.set_up("VPN", done=True)

    assert str(caught.value) == "the Option 'VPN' has never had a voucher"


# Signers.


def test_two_signers_may_use_the_same_serial(store: OptionStore) -> None:
    put(store, ON)

    assert put(store, replace(ON, ident="VPN"), which="p256") == [True]
    assert enabled(store) == ["QoS", "VPN"]


def test_the_same_words_of_another_signer_are_another_voucher(store: OptionStore) -> None:
    put(store, ON)

    assert put(store, ON, which="p256") == [True]
    assert refused(store, ON) == REPLAYED


def test_a_signer_with_a_renewed_certificate_is_the_same_one(store: OptionStore) -> None:
    renewed: dict[str, Any] = {"subject": "Renewed", "start": AT - DAY}
    put(store, ON)
    again = store.apply([granted(ON, **renewed)], AT)
    put(store, OFF)

    with pytest.raises(RefusedError) as caught:
        store.apply([granted(ON, **renewed)], AT)

    assert [new for _, new in again] == [False]
    assert str(caught.value) == REPLAYED


def malleated(octets: bytes) -> bytes:
    """Return a voucher signed with ECDSA whose signature is the other one that holds: (r, n - s)."""
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    found = re.search(rb"<SignatureValue>([^<]*)</SignatureValue>", octets)
    assert found is not None
    raw = b64decode(found[1])
    r, s = (int.from_bytes(part, "big") for part in (raw[:32], raw[32:]))
    other = b64encode(r.to_bytes(32, "big") + (order - s).to_bytes(32, "big"))
    return octets.replace(found[1], other)


def test_another_signature_for_the_same_words_is_no_new_voucher(store: OptionStore) -> None:
    genuine = signed(Voucher(options=(ON,)), "p256")
    twin = malleated(genuine)
    first, second = (grant(verified(octets), CPE, AT) for octets in (genuine, twin))
    store.apply([first], AT)
    again = store.apply([second], AT)
    put(store, OFF, which="p256")

    with pytest.raises(RefusedError) as caught:
        store.apply([second], AT)

    assert twin != genuine
    assert [new for _, new in again] == [False]
    assert str(caught.value) == REPLAYED


def test_a_voucher_that_is_signed_anew_is_no_new_voucher(store: OptionStore) -> None:
    one, other = (signed(Voucher(options=(ON,)), "p256") for _ in range(2))

    done = store.apply([grant(verified(octets), CPE, AT) for octets in (one, other)], AT)

    assert one != other
    assert [new for _, new in done] == [True, False]


# Lists, all of them or none (A.4.1.3).


def checked(*vouchers: bytes, device: Device = CPE, now: datetime | None = AT) -> list[Any]:
    named = [(f"voucher[{index}]", octets) for index, octets in enumerate(vouchers)]
    return list(check_vouchers(named, VERIFIER, device, now))


def test_a_list_of_vouchers_takes_effect(store: OptionStore) -> None:
    done = set_vouchers(checked(signed(), signed(Voucher(options=(replace(ON, ident="VPN"),)))), store, AT)

    assert [(one.source, [(life.name, new) for life, new in one.options]) for one in done] == [
        ("voucher[0]", [("IPTV", True), ("QoS", True)]),
        ("voucher[1]", [("VPN", True)]),
    ]
    assert enabled(store) == ["IPTV", "QoS", "VPN"]


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (b"<a/>", "voucher[1]: a: must be a Signature of XML-Signature (line 1) [TR-069 C.3]"),
        (
            signed().replace(b"<Duration>12<", b"<Duration>13<"),
            "voucher[1]: Signature.Object[0]: contents do not match the signed digest",
        ),
        (
            signed(Voucher(options=(replace(ON, device=replace(DEVICE, serial_number="7")),))),
            (
                "voucher[1]: DeviceId: the voucher is for 00D09E 'Gateway' '7', but this device is"
                " 00D09E 'Gateway' '123456789' [TR-069 C.3, Table 62]"
            ),
        ),
    ],
)
def test_one_bad_voucher_in_a_list_stops_all_and_says_which(bad: bytes, problem: str) -> None:
    good = signed()

    with pytest.raises(SpkgError) as caught:
        checked(good, bad, good)

    assert str(caught.value) == problem


def test_one_replay_in_a_list_stops_all(store: OptionStore) -> None:
    put(store, ON)
    put(store, OFF)
    before = store.lives()
    vouchers = [signed(Voucher(options=(one,))) for one in (replace(ON, serial="3", ident="VPN"), ON, IPTV)]

    with pytest.raises(RefusedError) as caught:
        set_vouchers(checked(*vouchers), store, AT)

    assert str(caught.value) == f"voucher[1]: {REPLAYED}"
    assert store.lives() == before
    assert put(store, replace(ON, serial="3", ident="VPN")) == [True]


def test_more_vouchers_than_a_list_may_have_are_refused() -> None:
    one = signed()
    most = checked(*[one] * MAX_VOUCHERS)

    with pytest.raises(RefusedError) as caught:
        checked(*[one] * (MAX_VOUCHERS + 1))

    assert len(most) == MAX_VOUCHERS == 64
    assert str(caught.value) == "expected at most 64 vouchers, got 65"
    assert caught.value.reason == NO_ROOM


def test_without_network_time_a_list_is_refused() -> None:
    with pytest.raises(RefusedError) as caught:
        checked(signed(), now=None)

    assert str(caught.value) == "network time is not established [TR-069 C.2]"


def test_a_device_that_does_not_say_who_it_is_takes_no_list() -> None:
    with pytest.raises(FormatError) as caught:
        checked(signed(), device=replace(CPE, oui=None))

    assert str(caught.value) == (
        "device: missing oui: vouchers need the device's identity [TR-069 C.3, Table 63]"
    )


def test_an_empty_list_does_nothing(store: OptionStore) -> None:
    assert set_vouchers(checked(), store, AT) == []
    assert store.options(AT) == []


# The provider (B, ProvisioningCode).


MINE: Final = ON
THEIRS: Final = replace(ON, serial="10", ident="VPN", transferable=True)
LATER: Final = replace(ON, serial="11", ident="IPTV", start=AT + 30 * DAY)


def test_a_provider_that_becomes_known_is_no_change(store: OptionStore) -> None:
    store.observe(None, AT)
    put(store, MINE)
    store.observe("ISP-1", AT)
    store.observe(None, AT)
    store.observe("ISP-1", AT)

    assert enabled(store) == ["QoS"]


def test_another_provider_ends_what_is_not_transferable_for_good(store: OptionStore) -> None:
    store.observe("ISP-1", AT)
    put(store, MINE, THEIRS, LATER)

    store.observe("ISP-2", AT + DAY)

    assert [(one.name, one.ending, one.mode) for one in store.options(AT + 60 * DAY)] == [
        ("IPTV", Ending.PROVIDER, 0),
        ("QoS", Ending.PROVIDER, 0),
        ("VPN", None, 2),
    ]
    assert enabled(store, AT + 60 * DAY) == ["VPN"]


def test_a_provider_that_was_not_observed_yet_ends_the_same_in_what_is_told_and_nothing_else(
    store: OptionStore,
) -> None:
    store.observe("ISP-1", AT)
    put(store, MINE, THEIRS)

    told = {code: store.options(AT, provisioning_code=code) for code in ("ISP-2", "ISP-1", None)}

    assert {code: [(one.name, one.ending, one.mode) for one in states] for code, states in told.items()} == {
        "ISP-2": [("QoS", Ending.PROVIDER, 0), ("VPN", None, 2)],
        "ISP-1": [("QoS", None, 2), ("VPN", None, 2)],
        None: [("QoS", None, 2), ("VPN", None, 2)],
    }
    assert enabled(store) == ["QoS", "VPN"]


def test_the_old_provider_brings_nothing_back(store: OptionStore) -> None:
    store.observe("ISP-1", AT)
    put(store, MINE, THEIRS)
    store.observe("ISP-2", AT)

    store.observe("ISP-1", AT)

    assert enabled(store) == ["VPN"]


def test_a_provider_that_is_unknown_for_a_while_is_still_remembered(store: OptionStore) -> None:
    store.observe("ISP-1", AT)
    put(store, MINE)
    store.observe(None, AT)

    store.observe("ISP-2", AT)

    assert enabled(store) == []


@pytest.mark.parametrize("codes", [("ISP-1", ""), ("", "ISP-1"), ("ISP-1", "isp-1"), ("ISP-1", "ISP-1 ")])
def test_any_change_of_the_provisioning_code_is_one(store: OptionStore, codes: tuple[str, str]) -> None:
    store.observe(codes[0], AT)
    put(store, MINE)

    store.observe(codes[1], AT)

    assert enabled(store) == []


def test_another_provider_ends_also_what_has_not_begun_yet(store: OptionStore) -> None:
    store.observe("ISP-1", AT)
    put(store, replace(ON, start=AT + DAY))
    put(store, replace(ON, ident="VPN", serial="3", start=AT + DAY, transferable=True))

    store.observe("ISP-2", AT + SECOND)

    assert state(store, AT + DAY).ending is Ending.PROVIDER
    assert enabled(store, AT + DAY) == ["VPN"]


def test_what_governs_without_limit_stays_where_a_voucher_has_ended_on_arrival(store: OptionStore) -> None:
    put(store, ON)

    with pytest.raises(RefusedError) as caught:
        granted(replace(TEN_DAYS, serial="9", start=AT - 10 * DAY))

    assert str(caught.value) == "the Option 'QoS' expired at 2026-06-01T12:00:00Z [TR-069 C.2]"
    assert state(store).serial == "1"
    assert enabled(store, LAST) == ["QoS"]
    assert put(store, replace(TEN_DAYS, serial="9", start=AT)) == [True]


def test_another_provider_is_one_also_without_a_clock(store: OptionStore) -> None:
    store.observe("ISP-1", None)
    put(store, MINE)

    store.observe("ISP-2", None)

    assert (enabled(store), store.last_time()) == ([], None)


def test_what_is_applied_after_the_change_is_the_new_providers(store: OptionStore) -> None:
    store.observe("ISP-1", AT)
    store.observe("ISP-2", AT)
    put(store, MINE)

    store.observe("ISP-2", AT)

    assert enabled(store) == ["QoS"]


def test_a_provider_that_is_new_with_the_voucher_ends_what_was_before(store: OptionStore) -> None:
    store.apply([granted(MINE, THEIRS)], AT, provisioning_code="ISP-1")

    store.apply([granted(replace(ON, serial="12", ident="Backup"))], AT, provisioning_code="ISP-2")

    assert enabled(store) == ["Backup", "VPN"]


def test_another_provider_does_not_end_what_is_disabled(store: OptionStore) -> None:
    store.observe("ISP-1", AT)
    put(store, OFF)

    store.observe("ISP-2", AT)

    assert state(store).ending is None
    assert put(store, OFF) == [False]


def test_what_has_expired_before_the_provider_changed_is_told_as_expired(store: OptionStore) -> None:
    store.observe("ISP-1", AT)
    put(store, TEN_DAYS)
    store.observe("ISP-1", AT + 10 * DAY)

    store.observe("ISP-2", AT + 11 * DAY)

    assert state(store).ending is Ending.EXPIRED


def test_what_ended_with_its_provider_does_not_expire_besides(store: OptionStore) -> None:
    store.observe("ISP-1", AT)
    put(store, TEN_DAYS)
    store.observe("ISP-2", AT)

    store.observe("ISP-2", AT + 11 * DAY)

    assert state(store, AT + 11 * DAY).ending is Ending.PROVIDER


# The clock.


def test_an_expiry_that_was_seen_stays_one_when_the_clock_jumps_back(store: OptionStore) -> None:
    put(store, TEN_DAYS, replace(ON, serial="3", ident="VPN"))

    store.observe(None, AT + 10 * DAY)

    assert state(store, AT).ending is Ending.EXPIRED
    assert enabled(store, AT) == ["VPN"]
    assert refused(store, TEN_DAYS, replace(ON, serial="3", ident="VPN")) == REPLAYED


def test_an_option_in_its_last_second_has_not_been_seen_to_expire(store: OptionStore) -> None:
    put(store, TEN_DAYS)

    store.observe(None, AT + 10 * DAY - SECOND)

    assert enabled(store, AT) == ["QoS"]


def test_an_expiry_that_nobody_saw_is_none_when_the_clock_jumps_back(store: OptionStore) -> None:
    put(store, TEN_DAYS)

    later = store.options(AT + 10 * DAY)
    store.observe("ISP-1", None)

    assert [one.ending for one in later] == [Ending.EXPIRED]
    assert enabled(store, AT) == ["QoS"]


def test_an_option_that_has_begun_goes_on_when_the_clock_is_set_back(store: OptionStore) -> None:
    put(store, ON, replace(ON, serial="3", ident="VPN", start=AT + DAY))

    at_once = store.options(AT - SECOND, real=True)
    store.observe(None, AT + DAY)
    seen = store.options(AT - SECOND, real=True)
    supposed = store.options(AT - SECOND)

    assert [one.enabled for one in at_once] == [True, False]
    assert [one.enabled for one in seen] == [True, True]
    assert [one.enabled for one in supposed] == [False, False]


def test_an_option_whose_beginning_nobody_saw_has_not_begun(store: OptionStore) -> None:
    put(store, replace(ON, start=AT + DAY))

    store.observe(None, AT + DAY - SECOND)

    assert [one.enabled for one in store.options(AT, real=True)] == [False]


def test_a_transferable_option_expires_too(store: OptionStore) -> None:
    put(store, replace(TEN_DAYS, transferable=True))

    store.observe(None, AT + 10 * DAY)

    assert enabled(store, AT) == []


def test_the_last_time_never_goes_back(store: OptionStore) -> None:
    found = [store.last_time()]
    for now in (AT, AT + DAY, AT, None, AT - 1000 * DAY, AT + DAY + SECOND):
        store.observe(None, now)
        found.append(store.last_time())

    later = AT + DAY
    assert found == [None, AT, later, later, later, later, later + SECOND]


def test_the_time_of_applying_is_not_taken_for_the_clock(store: OptionStore) -> None:
    put(store, ON, now=AT + 1000 * DAY)

    assert store.last_time() is None


def test_the_store_knows_when_an_option_changes_next(store: OptionStore) -> None:
    put(store, replace(TEN_DAYS, start=AT + DAY))

    assert store.next_change(AT) == AT + DAY
    assert store.next_change(AT + DAY) == AT + 11 * DAY
    assert store.next_change(AT + 11 * DAY) is None


# What GetOptions lists (A.4.1.4).


def test_a_device_lists_what_it_supports_in_its_order(store: OptionStore) -> None:
    put(store, QOS)

    found = get_options(store, AT, ("VPN", "QoS", "IPTV"))

    assert found == [unvouchered("VPN"), granted(QOS).lives[0].at(AT), unvouchered("IPTV")]


def test_the_next_change_is_of_the_options_that_matter(store: OptionStore) -> None:
    put(store, IPTV, TEN_DAYS)

    found = [store.next_change(AT, names) for names in (None, {"QoS"}, {"IPTV"}, {"VPN"}, set())]

    assert found == [AT + 10 * DAY, AT + 10 * DAY, datetime(2027, 5, 1, tzinfo=UTC), None, None]


def test_what_the_device_does_not_support_any_more_is_not_listed(store: OptionStore) -> None:
    put(store, IPTV, QOS)

    assert [one.name for one in get_options(store, AT, ("IPTV",))] == ["IPTV"]


def test_without_a_list_there_are_those_of_the_store(store: OptionStore) -> None:
    put(store, replace(ON, ident="b"), replace(ON, ident="a"), replace(ON, ident="B"))

    assert [one.name for one in get_options(store, AT, None)] == ["B", "a", "b"]


def test_one_option_is_told_by_its_name(store: OptionStore) -> None:
    put(store, IPTV, QOS)

    assert [one.name for one in get_options(store, AT, None, "QoS")] == ["QoS"]
    assert get_options(store, AT, ("VPN",), "VPN") == [unvouchered("VPN")]


@pytest.mark.parametrize(("supported", "name"), [(None, "VPN"), (("VPN",), "QoS"), (None, "qos")])
def test_a_name_that_is_no_options_is_wrong_usage(
    store: OptionStore, supported: tuple[str, ...] | None, name: str
) -> None:
    put(store, QOS)

    with pytest.raises(UsageError) as caught:
        get_options(store, AT, supported, name)

    assert str(caught.value) == f"unknown Option {name!r}"


# Limits.


def fill(path: Path, table: str, rows: Sequence[tuple[object, ...]]) -> None:
    """Fill a table of a store as years of use would."""
    database = sqlite3.connect(path)
    with database:
        marks = ", ".join("?" * len(rows[0]))
        database.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608 - our own words
    database.close()


def test_a_device_has_no_more_options_than_are_kept(store: OptionStore) -> None:
    others = [replace(ON, serial=f"more {number}", ident=f"Option {number}") for number in range(32)]
    for number in range(MAX_STORED_OPTIONS // 32):
        more = [replace(one, ident=f"{one.ident} of {number}", serial=f"s{number}") for one in others]
        put(store, *more[number == 0 :])
    put(store, ON)
    before = store.lives()

    with pytest.raises(RefusedError) as caught:
        put(store, replace(ON, serial="3", ident="VPN"))

    assert str(caught.value) == "the store is full: expected at most 256 Options, got 257"
    assert caught.value.reason == NO_ROOM
    assert store.lives() == before
    assert put(store, OFF) == [True]


def test_no_more_serials_are_remembered_than_there_is_room_for(path: Path, store: OptionStore) -> None:
    fill(path, "seen", [(b"key", str(number), b"content") for number in range(MAX_SEEN - 1)])
    put(store, ON)

    with pytest.raises(RefusedError) as caught:
        put(store, OFF)

    assert str(caught.value) == "the store is full: expected at most 16384 vouchers, got 16385"
    assert caught.value.reason == NO_ROOM
    assert enabled(store) == ["QoS"]
    assert put(store, ON) == [False]


def test_a_full_store_is_not_large(path: Path) -> None:
    with OptionStore(path, create=True):
        fill(path, "seen", [(bytes(32), f"{number:064}", bytes(32)) for number in range(MAX_SEEN)])

    assert path.stat().st_size < 4 << 20


# Files that are no stores.


def _other_database(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE mine (thing)")
    database.close()


def _marked(path: Path, statement: str) -> None:
    with OptionStore(path, create=True) as store:
        put(store, ON)
    database = sqlite3.connect(path, isolation_level=None)
    database.execute(statement)
    database.close()


def _truncated(path: Path, kept: int) -> None:
    with OptionStore(path, create=True) as store:
        put(store, ON)
    os.truncate(path, kept)


STRANGERS: Final[dict[str, tuple[Callable[[Path], object], str]]] = {
    "another database": (_other_database, "{} is not a store of Options that this version can read"),
    "a newer version": (
        lambda path: _marked(path, "PRAGMA user_version = 3"),
        "{} is not a store of Options that this version can read",
    ),
    "another program's": (
        lambda path: _marked(path, "PRAGMA application_id = 1"),
        "{} is not a store of Options that this version can read",
    ),
    "no mark": (
        lambda path: _marked(path, "PRAGMA application_id = 0"),
        "{} is not a store of Options that this version can read",
    ),
    "no mark and no version": (
        lambda path: sqlite3.connect(path).executescript("CREATE TABLE seen (mine)").connection.close(),
        "{} is not a store of Options that this version can read",
    ),
    "another program's, empty": (
        lambda path: sqlite3.connect(path).executescript("PRAGMA user_version = 1").connection.close(),
        "{} is not a store of Options that this version can read",
    ),
    "garbage": (lambda path: path.write_bytes(b"garbage\n" * 999), "{}: file is not a database"),
    "text": (lambda path: path.write_bytes(b"hello"), "{}: file is not a database"),
    "half": (lambda path: _truncated(path, 8192), "{}: database disk image is malformed"),
    "a header": (lambda path: _truncated(path, 100), "{}: database disk image is malformed"),
    "half a header": (lambda path: _truncated(path, 50), "{}: database disk image is malformed"),
}


@pytest.mark.parametrize("create", [False, True])
@pytest.mark.parametrize("kind", STRANGERS)
def test_a_file_that_is_no_store_is_left_alone(path: Path, kind: str, *, create: bool) -> None:
    make, problem = STRANGERS[kind]
    make(path)
    before = path.read_bytes()

    with pytest.raises(HostError) as caught:
        OptionStore(path, create=create)

    assert str(caught.value) == problem.format(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_an_empty_file_is_made_a_store_where_that_is_wanted_alone(path: Path) -> None:
    path.touch()

    with pytest.raises(HostError) as caught:
        OptionStore(path)
    untouched = path.read_bytes()
    with OptionStore(path, create=True) as store:
        new = put(store, ON)

    assert str(caught.value) == f"{path} is not a store of Options that this version can read"
    assert (untouched, new) == (b"", [True])


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("mode", "x", "'x' is not a valid Mode"),
        ("ending", "x", "'x' is not a valid Ending"),
        ("start", "x", "unsupported type for timedelta seconds component: str"),
        ("start", 99_999_999_999_999, "days=1157407407; must have magnitude <= 999999999"),
        ("start", 999_999_999_999, "date value out of range"),
        ("name", b"x", "a text or a BLOB has the wrong type"),
        ("serial", b"x", "a text or a BLOB has the wrong type"),
        ("signer", "x", "a text or a BLOB has the wrong type"),
        ("content", 5, "a text or a BLOB has the wrong type"),
    ],
)
def test_a_value_that_is_none_is_told_of_the_store(
    path: Path, store: OptionStore, column: str, value: object, problem: str
) -> None:
    put(store, ON)
    with sqlite3.connect(path) as database:
        database.execute(f"UPDATE option SET {column} = ?", (value,))  # noqa: S608 - our own words
    database.close()

    with pytest.raises(HostError) as caught:
        store.lives()

    assert str(caught.value) == f"{path}: invalid value: {problem}"


def test_a_store_is_only_made_where_that_is_wanted(path: Path) -> None:
    with pytest.raises(HostError) as caught:
        OptionStore(path)

    assert str(caught.value) == f"{path}: unable to open database file"
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("create", [False, True])
@pytest.mark.parametrize("where", ["missing/options.db", "/proc/options.db"])
def test_a_place_that_can_have_no_store_is_named(tmp_path: Path, where: str, *, create: bool) -> None:
    path = tmp_path / where

    with pytest.raises(HostError) as caught:
        OptionStore(path, create=create)

    assert str(caught.value) == f"{path}: unable to open database file"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("create", [False, True])
@pytest.mark.parametrize("special", [".", "/dev/null", "/dev/zero", "/dev/full", "pipe"])
def test_what_is_no_regular_file_is_no_store(tmp_path: Path, special: str, *, create: bool) -> None:
    os.mkfifo(tmp_path / "pipe")
    path = tmp_path / special

    with pytest.raises(HostError) as caught:
        OptionStore(path, create=create)

    assert str(caught.value) == f"{path} is not a regular file"


@pytest.mark.parametrize("name", ["a b", "a?mode=memory", "a#b", "a%41", "ä", ":memory:", "file:x"])
def test_a_store_may_have_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with OptionStore(Path(name), create=True) as store:
        put(store, ON)

    assert [found.name for found in tmp_path.iterdir()] == [name]
    with OptionStore(tmp_path / name) as again:
        assert enabled(again) == ["QoS"]


def test_a_store_is_one_file_between_calls(path: Path, store: OptionStore) -> None:
    put(store, ON)
    store.observe("ISP-1", AT)

    assert list(path.parent.iterdir()) == [path]


def test_what_is_done_is_done_for_good(store: OptionStore) -> None:
    (synchronous,) = store._database.execute("PRAGMA synchronous").fetchone()
    (journal,) = store._database.execute("PRAGMA journal_mode").fetchone()

    assert (synchronous, journal) == (3, "delete")


def test_a_store_that_somebody_has_laid_a_trap_in_runs_nothing(path: Path) -> None:
    trap = "CREATE TRIGGER trap AFTER INSERT ON seen BEGIN SELECT count(*) FROM pragma_database_list; END"
    _marked(path, trap)

    with OptionStore(path) as store:
        with pytest.raises(HostError) as caught:
            put(store, OFF)
        found = enabled(store)

    assert str(caught.value) == f'{path}: unsafe use of virtual table "pragma_database_list"'
    assert found == ["QoS"]


def test_a_store_that_is_closed_tells_nothing(path: Path) -> None:
    store = OptionStore(path, create=True)
    store.close()

    with pytest.raises(HostError) as caught:
        store.lives()

    assert str(caught.value) == f"{path}: Cannot operate on a closed database."


def _in_a_small_place(point: Path) -> None:
    """Fill a file system while a store is on it, and one that nobody may write to."""
    _mount(point, b"size=96k")
    with OptionStore(point / "options.db", create=True) as store:
        put(store, ON)
        before = store.lives()
        with (point / "filler").open("wb", buffering=0) as filler:
            try:
                while filler.write(bytes(4096)):
                    pass
            except OSError:
                pass
        with pytest.raises(HostError) as caught:
            put(store, OFF)
        assert (str(caught.value), caught.value.reason) == (
            f"{point / 'options.db'}: database or disk is full",
            NO_ROOM,
        )
        assert store.lives() == before
        (point / "filler").unlink()
        assert put(store, OFF) == [True]


def _mount(point: Path, data: bytes) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mount(b"none", os.fsencode(point), b"tmpfs", 0, data) == 0, os.strerror(ctypes.get_errno())


@pytest.mark.part("vouchers", turns=True, few=2)
def test_a_full_disk_changes_nothing(tmp_path: Path) -> None:
    isolated(_in_a_small_place, tmp_path)


READ_ONLY: Final = 1 | 32 | 4096
"""A mount of what is mounted already (bind), once more (remount), for reading alone."""


def _where_nobody_writes(place: Path) -> None:
    path = place / "options.db"
    before = path.read_bytes()
    bind(place, place)
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mount(b"none", os.fsencode(place), None, READ_ONLY, None) == 0
    with OptionStore(path, create=True) as store:
        assert enabled(store) == ["QoS"]
        with pytest.raises(HostError) as caught:
            put(store, OFF)
        assert str(caught.value) == f"{path}: attempt to write a readonly database"
    with pytest.raises(HostError) as caught:
        OptionStore(place / "other.db", create=True)
    assert str(caught.value) == f"{place / 'other.db'}: unable to open database file"
    assert path.read_bytes() == before


def test_a_store_that_nobody_may_write_is_read_and_not_changed(path: Path) -> None:
    with OptionStore(path, create=True) as store:
        put(store, ON)

    isolated(_where_nobody_writes, path.parent)


# Several processes.

HOLD: Final = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN EXCLUSIVE")
database.execute("UPDATE option SET set_up = 1")
print("held", flush=True)
sys.stdin.read()
database.execute("COMMIT")
"""


def test_a_store_that_another_process_changes_is_waited_for(path: Path, store: OptionStore) -> None:
    put(store, ON)
    arguments = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"

        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(_put_elsewhere, path, [OFF])
            early = waiting.done()
            other.stdin.close()
            new = waiting.result()

    assert (early, new) == (False, [True])
    assert (state(store).serial, state(store).set_up) == ("2", True)


@pytest.mark.part("vouchers", turns=True)
@pytest.mark.proof
def test_a_store_that_another_process_never_lets_go_is_given_up(path: Path, store: OptionStore) -> None:
    put(store, ON)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(HostError) as caught:
        put(store, OFF)
    other.execute("ROLLBACK")
    other.close()

    assert str(caught.value) == f"{path}: database is locked"
    assert enabled(store) == ["QoS"]


def _put_elsewhere(path: Path, options: Sequence[Option]) -> list[bool]:
    """Apply a voucher for each of some Options, each in a store that is opened for it."""
    found = []
    for option in options:
        with OptionStore(path) as store:
            found += put(store, option)
    return found


@pytest.mark.part("vouchers", turns=True, few=2)
def test_processes_that_apply_at_once_lose_nothing_and_apply_nothing_twice(path: Path) -> None:
    OptionStore(path, create=True).close()
    shared = [replace(ON, serial=f"s{number}", ident=f"shared {number}") for number in range(10)]
    own = [
        [replace(ON, serial=f"{who}-{number}", ident=f"{who} {number}") for number in range(10)]
        for who in ("a", "b")
    ]

    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        jobs = [pool.submit(_put_elsewhere, path, [*shared, *mine]) for mine in own]
        found = [job.result() for job in jobs]

    assert [one[10:] for one in found] == [[True] * 10] * 2
    assert [sorted(pair) for pair in zip(found[0][:10], found[1][:10], strict=True)] == [[False, True]] * 10
    with OptionStore(path) as store:
        assert len(enabled(store)) == 30


# Vouchers that begin later.

NEXT_ONE: Final = replace(
    ON, serial="3", mode=Mode.WITH_EXPIRATION, start=AT + 5 * DAY, duration=3, units=Units.DAYS
)
THIRD: Final = replace(NEXT_ONE, serial="4", start=AT + 7 * DAY)


def governing(store: OptionStore, at: datetime) -> tuple[str | None, bool]:
    (one,) = store.options(at)
    return one.serial, one.enabled


def test_what_governs_stays_until_a_later_start_comes(store: OptionStore) -> None:
    put(store, TEN_DAYS)

    assert put(store, NEXT_ONE) == [True]

    assert [governing(store, AT + days * DAY) for days in (0, 4, 5, 7, 8, 9)] == [
        *(("1", True), ("1", True), ("3", True), ("3", True), ("3", False), ("3", False)),
    ]
    assert store.next_change(AT) == AT + 5 * DAY
    assert store.next_change(AT + 5 * DAY) == AT + 8 * DAY


def test_vouchers_that_follow_each_other_are_all_kept(store: OptionStore) -> None:
    for option in (TEN_DAYS, NEXT_ONE, THIRD):
        put(store, option)

    assert [governing(store, AT + days * DAY)[0] for days in (0, 5, 7)] == ["1", "3", "4"]


def test_a_voucher_takes_the_place_of_those_that_would_begin_after_it(store: OptionStore) -> None:
    for option in (TEN_DAYS, THIRD, NEXT_ONE):
        put(store, option)

    assert [governing(store, AT + days * DAY)[0] for days in (0, 5, 7)] == ["1", "3", "3"]


def test_a_voucher_that_is_to_come_may_come_again(store: OptionStore) -> None:
    put(store, TEN_DAYS)
    put(store, NEXT_ONE)

    assert put(store, NEXT_ONE) == [False]
    assert put(store, TEN_DAYS) == [False]
    assert governing(store, AT + 6 * DAY) == ("3", True)


@pytest.mark.parametrize("change", [OFF, replace(ON, serial="9")])
def test_what_takes_effect_now_ends_what_is_to_come(store: OptionStore, change: Option) -> None:
    put(store, TEN_DAYS)
    put(store, NEXT_ONE)

    put(store, change)

    assert governing(store, AT + 6 * DAY)[0] == change.serial
    assert refused(store, NEXT_ONE) == (
        "VSerialNum: voucher '3' was applied before and no longer governs 'QoS' [TR-069 C.3, Table 62]"
    )


def test_what_is_over_does_not_stay_until_a_later_start(store: OptionStore) -> None:
    put(store, TEN_DAYS)
    store.observe(None, AT + 11 * DAY)

    put(store, replace(NEXT_ONE, start=AT + 20 * DAY), now=AT + 11 * DAY)

    assert governing(store, AT + 12 * DAY) == ("3", False)


def test_what_has_taken_over_stays_when_the_clock_is_set_back(store: OptionStore) -> None:
    put(store, TEN_DAYS)
    put(store, NEXT_ONE)
    store.set_up("QoS", done=True)

    store.observe(None, AT + 6 * DAY)

    (one,) = store.options(AT, real=True)
    assert (one.serial, one.enabled, one.set_up) == ("3", True, True)


def test_another_provider_ends_also_what_is_to_come(store: OptionStore) -> None:
    put(store, replace(TEN_DAYS, transferable=True))
    put(store, NEXT_ONE)
    store.observe("ISP-1", None)
    before = store.options(AT + 6 * DAY, provisioning_code="ISP-2")

    store.observe("ISP-2", None)

    assert governing(store, AT + 6 * DAY) == ("1", True)
    assert store.options(AT + 6 * DAY) == before


def test_a_store_of_an_earlier_version_is_brought_up_to_date(path: Path) -> None:
    with OptionStore(path, create=True) as store:
        put(store, TEN_DAYS)
    with sqlite3.connect(path) as database:
        database.executescript("DROP TABLE coming; PRAGMA user_version = 1")
    database.close()

    with OptionStore(path) as store:
        put(store, NEXT_ONE)
        assert governing(store, AT) == ("1", True)

    with OptionStore(path) as store:
        assert governing(store, AT + 6 * DAY) == ("3", True)


# A second opinion: Appendix C, told as a history that is gone through from its beginning each time.


@dataclass(frozen=True)
class Applied:
    """A voucher took effect for an Option."""

    signer: str
    option: Option
    at: datetime

    @property
    def start(self) -> datetime:
        return self.option.start or self.at

    @property
    def end(self) -> datetime | None:
        """The end, which C.3 counts from the start date, or else from now."""
        if self.option.mode is not Mode.WITH_EXPIRATION:
            return None
        assert self.option.duration is not None
        if self.option.units is Units.DAYS:
            return self.start + self.option.duration * DAY
        month = self.start.year * 12 + self.start.month - 1 + self.option.duration
        day = self.start.day
        while True:  # the same day of a later month, or the last one that it has
            try:
                return self.start.replace(year=month // 12, month=month % 12 + 1, day=day)
            except ValueError:
                day -= 1


@dataclass(frozen=True)
class Moved:
    """The device has come to another provider."""


@dataclass(frozen=True)
class Seen:
    """The network time was seen."""

    at: datetime


@dataclass(frozen=True)
class SetUp:
    """The user has set an Option up, or has not."""

    name: str
    done: bool


class History:
    """A device that remembers everything that has happened to it."""

    def __init__(self) -> None:
        self.events: list[Applied | Moved | Seen | SetUp] = []
        self.code: str | None = None

    def observe(self, code: str | None, now: datetime | None) -> None:
        if code is not None:
            if self.code not in {None, code}:
                self.events.append(Moved())
            self.code = code
        if now is not None:
            self.events.append(Seen(now))

    def apply(self, vouchers: Sequence[tuple[str, tuple[Option, ...]]], now: datetime) -> list[bool] | None:
        """Return for each Option whether that is new; None where all is refused."""
        before, found = list(self.events), list[bool]()
        repeated = self.repeated([(signer, one) for signer, group in vouchers for one in group], now)
        for signer, options in vouchers:
            used = self.used()
            for option in options:
                if option.ident in repeated or self.governs(signer, option, now):
                    found.append(False)
                elif (signer, option.serial) in used:
                    self.events = before
                    return None
                else:
                    self.events.append(Applied(signer, option, now))
                    found.append(True)
        return found

    def used(self) -> set[tuple[str, str]]:
        return {(one.signer, one.option.serial) for one in self.events if isinstance(one, Applied)}

    def governs(self, signer: str, option: Option, now: datetime) -> bool:
        """Whether a voucher governs its Option, or will."""
        line = self.taken_over(self.line(option.ident), now)
        same = [one for one in line if (one.signer, one.option) == (signer, option)]
        return any(self.ending(one, now) is None for one in same)

    def repeated(self, words: Sequence[tuple[str, Option]], now: datetime) -> set[str]:
        """Return the Options for which a list says what it has said before, and what still holds."""
        told = {(one.signer, one.option) for one in self.events if isinstance(one, Applied)}
        found = set[str]()
        for name in {option.ident for _, option in words}:
            mine = [(signer, option) for signer, option in words if option.ident == name]
            if told.issuperset(mine) and self.governs(*mine[-1], now):
                found.add(name)
        return found

    @staticmethod
    def taken_over(line: list[Applied], at: datetime) -> list[Applied]:
        """Return what is left of vouchers that follow each other, once those have begun that had to."""
        begun = [index for index, one in enumerate(line) if index and one.start <= at]
        return line[begun[-1] :] if begun else line

    def line(self, name: str) -> list[Applied]:
        """Return the voucher that governs an Option, and those that take over at their StartDate."""
        line: list[Applied] = []
        for index, event in enumerate(self.events):
            match event:
                case Applied(option=option, at=at) if option.ident == name:
                    line = self.taken_over(line, at)
                    idle = [
                        one
                        for one in line[:1]
                        if one.option.mode is Mode.DISABLE or self.ending(one, at, self.events[:index])
                    ]
                    kept = [one for one in line if one not in idle and one.start < event.start]
                    later = option.mode is not Mode.DISABLE and event.start > at
                    line = [*kept, event] if later else [event]
                case Moved():
                    line = [*line[:1], *(one for one in line[1:] if one.option.transferable)]
                case Seen(at=at):
                    line = self.taken_over(line, at)
                case _:
                    pass
        return line

    def last(self, name: str, at: datetime | None = None) -> Applied | None:
        """Return what governs an Option, now or at a time."""
        line = self.line(name)
        line = line if at is None else self.taken_over(line, at)
        return line[0] if line else None

    def ending(
        self, last: Applied, at: datetime, events: Sequence[Applied | Moved | Seen | SetUp] | None = None
    ) -> Ending | None:
        """Return what has ended a voucher since, and first."""
        known = self.events if events is None else events
        since = known[next(i for i, one in enumerate(known) if one is last) + 1 :]
        for event in since:
            gone = not last.option.transferable and last.option.mode is not Mode.DISABLE
            if isinstance(event, Moved) and gone:
                return Ending.PROVIDER
            if isinstance(event, Seen) and last.end is not None and event.at >= last.end:
                return Ending.EXPIRED
        return Ending.EXPIRED if last.end is not None and at >= last.end else None

    def begun(self, last: Applied) -> bool:
        """Whether an Option was seen to begin since it was applied."""
        since = self.events[next(i for i, one in enumerate(self.events) if one is last) + 1 :]
        seen = [one.at for one in since if isinstance(one, Seen)]
        return max([last.at, *seen]) >= last.start

    def options(self, at: datetime, *, real: bool = False) -> list[OptionState]:
        names = {one.option.ident for one in self.events if isinstance(one, Applied)}
        return [self.state(name, at, real=real) for name in sorted(names)]

    def state(self, name: str, at: datetime, *, real: bool = False) -> OptionState:
        last = self.last(name, at)
        assert last is not None
        ending = self.ending(last, at)
        on = last.option.mode is not Mode.DISABLE and ending is None
        done = [one.done for one in self.events if isinstance(one, SetUp) and one.name == name]
        return OptionState(
            name=name,
            serial=last.option.serial,
            enabled=on and (last.start <= at or (real and self.begun(last))),
            set_up=bool(done) and done[-1],
            mode=0 if not on else 2 if last.end is None else 1,
            start=last.start,
            expires=last.end,
            transferable=last.option.transferable,
            ending=ending,
        )

    def last_time(self) -> datetime | None:
        return max((one.at for one in self.events if isinstance(one, Seen)), default=None)

    def next_change(self, at: datetime) -> datetime | None:
        """Return the first time behind another at which some Option stands otherwise than just before."""
        applied = [one for one in self.events if isinstance(one, Applied)]
        times = sorted({time for one in applied for time in (one.start, one.end) if time is not None})
        changed = (time for time in times if self.options(time) != self.options(time - SECOND))
        return next((time for time in changed if time > at), None)


MOMENTS: Final = tuple(AT + days * DAY + seconds * SECOND for days in (0, 1, 2, 30) for seconds in (-1, 0, 1))
"""Some before, some at and some behind the beginnings and ends of the Options below."""
moments = st.sampled_from(MOMENTS)


@st.composite
def options(draw: st.DrawFn) -> Option:
    """Draw an Option; there are few serials, so that they meet."""
    mode = draw(st.sampled_from(Mode))
    lasting = mode is Mode.WITH_EXPIRATION
    return Option(
        serial=str(draw(st.integers(1, 4))),
        device=DEVICE,
        ident=draw(st.sampled_from(("IPTV", "QoS", "VPN"))),
        description="",
        mode=mode,
        start=None if mode is Mode.DISABLE else draw(st.sampled_from((None, AT, AT + DAY, AT - 30 * DAY))),
        duration=draw(st.integers(0, 2)) if lasting else None,
        units=draw(st.sampled_from(Units)) if lasting else None,
        transferable=mode is not Mode.DISABLE and draw(st.booleans()),
    )


vouchers = st.tuples(
    st.sampled_from(("signer", "p256")),
    st.lists(options(), min_size=1, max_size=2, unique_by=lambda one: one.ident).map(tuple),
)
steps = st.one_of(
    st.tuples(st.just("apply"), st.lists(st.integers(0, 3), min_size=1, max_size=3), moments),
    st.tuples(st.just("observe"), st.sampled_from((None, "ISP-1", "ISP-2")), st.one_of(st.none(), moments)),
    st.tuples(st.just("set up"), st.sampled_from(("IPTV", "QoS", "VPN")), st.booleans()),
    st.tuples(st.just("open again"), st.none(), st.none()),
)


class Bench:
    """A store beside a history: whatever is done to both, they have to tell the same."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.store = OptionStore(path, create=True)
        self.history = History()

    def close(self) -> None:
        self.store.close()

    def apply(self, chosen: Sequence[tuple[str, tuple[Option, ...]]], now: datetime) -> None:
        wanted: list[bool] | None
        if any(self._over(option, now) for _, group in chosen for option in group):
            wanted = None
        else:
            wanted = self.history.apply(chosen, now)
        try:
            grants = [granted(*group, now=now, which=which) for which, group in chosen]
            found = [new for _, new in self.store.apply(grants, now)]
        except RefusedError:
            assert wanted is None
        else:
            assert found == wanted

    @staticmethod
    def _over(option: Option, now: datetime) -> bool:
        end = Applied("", option, now).end
        return end is not None and end <= now

    def observe(self, code: str | None, now: datetime | None) -> None:
        self.history.observe(code, now)
        self.store.observe(code, now)

    def set_up(self, name: str, done: bool) -> None:  # noqa: FBT001 - it is a step
        if self.history.last(name) is None:
            with pytest.raises(UsageError):
                self.store.set_up(name, done=done)
        else:
            self.history.events.append(SetUp(name, done))
            self.store.set_up(name, done=done)

    def open_again(self) -> None:
        self.store.close()
        self.store = OptionStore(self._path)

    def compare(self) -> None:
        for at in MOMENTS:
            assert self.store.options(at) == self.history.options(at)
            assert self.store.options(at, real=True) == self.history.options(at, real=True)
            assert self.store.next_change(at) == self.history.next_change(at)
        assert self.store.last_time() == self.history.last_time()


@settings(max_examples=amount(1000, 30))
@given(st.lists(vouchers, min_size=4, max_size=4), st.lists(steps, min_size=4, max_size=12))
def test_the_store_tells_what_appendix_c_says_whatever_has_happened(
    tmp_path_factory: pytest.TempPathFactory,
    known: list[tuple[str, tuple[Option, ...]]],
    taken: list[tuple[str, Any, Any]],
) -> None:
    with in_memory(tmp_path_factory.mktemp("store")) as place:
        bench = Bench(place / "options.db")

        for what, first, second in taken:
            match what:
                case "apply":
                    bench.apply([known[number] for number in first], second)
                case "observe":
                    bench.observe(first, second)
                case "set up":
                    bench.set_up(first, second)
                case _:
                    bench.open_again()
            bench.compare()

        bench.close()
