"""The Options of a running gateway: vouchers taken, ends awaited, EnabledOptions shown (C.2, Table 61)."""

from dataclasses import replace
from pathlib import Path

import pytest

from spkg.errors import HostError
from tests.support.kit import AT, root
from tests.support.rpc_kit import HERE, envelope, genuine, get_options, set_vouchers
from vouchers.cpe.desk import OptionDesk, open_desk

CODE = "ISP-1"


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def desk(tmp_path: Path, notes: list[str]) -> OptionDesk:
    (tmp_path / "ca.pem").write_bytes(root().pem)
    return open_desk(tmp_path / "options.db", [tmp_path / "ca.pem"], HERE, notes.append)


def taken(desk: OptionDesk) -> bytes:
    return desk.answer(envelope(set_vouchers(genuine())), AT, CODE) or b""


def test_before_the_first_voucher_nothing_is_enabled_and_nothing_is_made(desk: OptionDesk) -> None:
    assert desk.enabled(AT, CODE) == ""
    assert [one.name for one in desk.options(AT, CODE)] == ["QoS", "IPTV", "VoIP"]
    assert desk.next_change(AT, CODE) is None
    desk.observe(AT, CODE)
    assert not desk.store.exists()


def test_a_voucher_enables_its_options_p5(desk: OptionDesk) -> None:
    assert b"SetVouchersResponse" in taken(desk)

    assert desk.enabled(AT, CODE) == "QoS,IPTV"
    assert b"<State>1</State>" in (desk.answer(envelope(get_options()), AT, CODE) or b"")


def test_an_option_ends_by_itself_o2(desk: OptionDesk) -> None:
    taken(desk)

    due = desk.next_change(AT, CODE)

    assert due is not None
    assert desk.enabled(due, CODE) == "QoS"
    desk.observe(due, CODE)
    assert desk.next_change(due, CODE) is None
    assert desk.enabled(AT, CODE) == "QoS"  # a clock that is set back does not bring it back


def test_another_provider_ends_what_is_not_transferable_o2(desk: OptionDesk) -> None:
    taken(desk)

    desk.observe(AT, "ISP-2")

    assert desk.enabled(AT, "ISP-2") == "QoS"
    assert desk.enabled(AT, CODE) == "QoS"


def test_without_network_time_no_voucher_is_taken_o1(desk: OptionDesk) -> None:
    answer = desk.answer(envelope(set_vouchers(genuine())), None, CODE) or b""

    assert b"<FaultCode>9001</FaultCode>" in answer
    assert desk.enabled(None, CODE) == ""


def test_without_network_time_the_last_one_counts_o1(desk: OptionDesk) -> None:
    taken(desk)
    desk.observe(AT, CODE)

    assert desk.enabled(None, CODE) == "QoS,IPTV"


def test_a_voucher_of_a_stranger_is_refused(desk: OptionDesk) -> None:
    other = replace(desk, device=replace(HERE, serial_number="another"))

    assert b"<FaultCode>9001</FaultCode>" in taken(other)


def test_a_store_that_is_damaged_is_said(desk: OptionDesk, notes: list[str]) -> None:
    desk.store.write_bytes(b"rubbish" * 1000)

    assert b"<FaultCode>9002</FaultCode>" in taken(desk)
    assert any("options.db" in note for note in notes)
    with pytest.raises(HostError):
        desk.enabled(AT, CODE)
