"""Vouchers that come by Download, for an ACS without SetVouchers (Table 27, C.2)."""

import os
from base64 import b64encode
from pathlib import Path
from time import monotonic
from typing import Any, Final

import pytest

from spkg.agent.fetch_work import MAX_FETCHED
from spkg.agent.keeper_settings import KeeperSettings
from spkg.download.small_file import fetch_small
from spkg.download.url import Location, Login
from spkg.errors import LOGIN, TransferError
from tests.support.acs import Answer, DigestLogin, ScriptedAcs, session
from tests.support.acs_calls import download
from tests.support.agent_kit import APPLIED
from tests.support.keeper_kit import START, keeper_config, keeping, over
from tests.support.voucher_gateway import FETCHED, FaultTold, fetch_told, gateway, told
from tests.support.voucher_kit import QOS, signed
from vouchers.model import Voucher

TYPE: Final = "X 00D09E Voucher"
FILE: Final = b"<a/>" * 1000


def test_a_voucher_takes_effect_and_its_end_is_told(tmp_path: Path) -> None:
    with ScriptedAcs(session(download("v1", kind=TYPE))) as acs, gateway(tmp_path, acs) as device:
        found = fetch_told(device, signed(Voucher(options=(QOS,))))

        assert found == FaultTold(key="v1", code="0", text="")
        assert device.enabled() == "QoS"
        assert device.events() == [("7 TRANSFER COMPLETE", ""), ("M Download", "v1")]
        assert device.keeper.names() == ["fetch", "fetched"]  # no package, no confirmation, no reboot
        assert device.agent.state.transfers() == ()


def test_a_voucher_may_be_in_base64(tmp_path: Path) -> None:
    with ScriptedAcs(session(download("v1", kind=TYPE))) as acs, gateway(tmp_path, acs) as device:
        assert fetch_told(device, b64encode(signed(Voucher(options=(QOS,))))).code == "0"
        assert device.enabled() == "QoS"


@pytest.mark.parametrize(
    ("file", "code", "text"),
    [
        (b"<html/>", "9010", "the voucher: html: must be a Signature of XML-Signature"),
        (b"2WIRE_SP", "9010", "expected a voucher, got a package"),
        (b"?", "9010", "not a voucher: neither XML nor base64"),
        (b"<" + b" " * 262_144, "9010", "expected a voucher of at most 262144 bytes, got 262145"),
    ],
)
def test_what_is_refused_has_the_words_of_set_vouchers(
    tmp_path: Path, file: bytes, code: str, text: str
) -> None:
    with ScriptedAcs(session(download("v1", kind=TYPE))) as acs, gateway(tmp_path, acs) as device:
        found = fetch_told(device, file)

        assert (found.key, found.code) == ("v1", code)
        assert text in (found.text or "")
        assert device.enabled() == ""


def test_without_network_time_a_voucher_is_refused(tmp_path: Path) -> None:
    with ScriptedAcs(session(download("v1", kind=TYPE))) as acs, gateway(tmp_path, acs) as device:
        device.world.wall = 0.0
        found = fetch_told(device, signed(Voucher(options=(QOS,))))

        assert found.code in {"9001", "9002"}
        assert device.enabled() == ""


def test_a_download_that_fails_is_told_with_its_words(tmp_path: Path) -> None:
    with ScriptedAcs(session(download("v1", kind=TYPE))) as acs, gateway(tmp_path, acs) as device:
        device.run(seconds=5)
        fault = {"code": 9012, "string": "login failed"}
        device.keeper.end(
            device.world.boot_id, {**FETCHED, "exit": 1, "fault": fault, "already_installed": True}
        )
        device.run(seconds=5)

        assert told(device) == FaultTold(key="v1", code="9012", text="login failed")


def test_a_voucher_whose_end_nobody_saw_is_taken_at_the_next_start(tmp_path: Path) -> None:
    with ScriptedAcs(session(download("v1", kind=TYPE))) as acs, gateway(tmp_path, acs) as device:
        device.run(seconds=5)
        device.keeper.file = signed(Voucher(options=(QOS,)))
        device.keeper.end(device.world.boot_id, FETCHED)
        device.restart(boot=True)
        device.run(seconds=5)

        assert told(device) == FaultTold(key="v1", code="0", text="")
        assert device.enabled() == "QoS"


def test_a_voucher_does_not_wait_for_a_package_on_trial(tmp_path: Path) -> None:
    calls = session(download("d1"), download("v1", kind=TYPE))
    with ScriptedAcs(calls) as acs, gateway(tmp_path, acs) as device:
        device.run(seconds=5)
        device.keeper.end(device.world.boot_id, {**APPLIED, "reboot_required": False})
        found = fetch_told(device, signed(Voucher(options=(QOS,))))

        assert found == FaultTold(key="v1", code="0", text="")


def test_a_device_without_options_refuses_vouchers_at_once(tmp_path: Path) -> None:
    calls = session(download("v1", kind=TYPE))
    with ScriptedAcs(calls) as acs, gateway(tmp_path, acs, options=None) as device:
        device.run(seconds=5)

        fault = acs.posts[2]
        assert (fault.text("FaultCode"), device.keeper.names()) == ("9001", [])
        assert "this device takes no vouchers" in fault.body.decode()


def test_the_file_of_another_vendor_is_a_package(tmp_path: Path) -> None:
    with ScriptedAcs(session(download("v1", kind="X 00E0FC Voucher"))) as acs:
        with gateway(tmp_path, acs) as device:
            device.run(seconds=5)
            assert device.keeper.names() == ["apply"]


# The keeper, and the process that fetches.


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def settings(**changes: Any) -> KeeperSettings:
    return keeper_config(**changes)


@pytest.mark.usefixtures("here")
def test_the_keeper_has_a_file_fetched_and_passes_it_on() -> None:
    with ScriptedAcs([Answer(body=FILE)], login=None) as server, keeping(settings()) as keeper:
        keeper.start_fetch(token="t", url=server.url, username="", password="")
        news = over(keeper)
        octets = keeper.fetched()

    assert octets == FILE
    assert news.token == "t"
    assert news.result is not None
    assert (news.result["exit"], news.result["start_time"]) == (0, START)
    assert [one.verb for one in server.posts] == ["GET"]


@pytest.mark.usefixtures("here")
def test_a_file_that_cannot_be_fetched_is_told() -> None:
    with ScriptedAcs([Answer(status=404)]) as server, keeping(settings()) as keeper:
        keeper.start_fetch(token="t", url=server.url, username="", password="")
        news = over(keeper)

    assert news.result is not None
    assert news.result["fault"] == {"code": 9010, "string": f"{server.url}: 404 Whatever"}
    assert news.result["exit"] == 1


@pytest.mark.usefixtures("here")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_who_fetches_has_no_rights() -> None:
    with ScriptedAcs([Answer(body=FILE)]) as server, keeping(settings(user=(65534, 65534))) as keeper:
        keeper.start_fetch(token="t", url=server.url, username="", password="")
        over(keeper)
        assert keeper.fetched() == FILE
    assert Path("keeper/fetched").stat().st_uid == 0  # it was opened before


def fetched(
    server: ScriptedAcs, *, most: int = MAX_FETCHED, limit: float = 60, login: Login | None = None
) -> bytes:
    waits: list[float] = []
    return fetch_small(
        Location.parse(server.url),
        login or Login(),
        most=most,
        patience=5,
        limit=limit,
        clock=monotonic,
        sleep=waits.append,
    )


def test_a_small_file_is_asked_for_again_where_that_may_help() -> None:
    cut = Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n<a/>", close=True)
    with ScriptedAcs([Answer(status=503), cut, Answer(body=FILE)]) as server:
        assert fetched(server) == FILE
    assert len(server.posts) == 3


def test_a_small_file_that_never_comes_is_given_up() -> None:
    with ScriptedAcs(lambda _post: Answer(status=503)) as server, pytest.raises(TransferError) as caught:
        fetched(server)

    assert str(caught.value) == f"{server.url}: 503 Whatever"
    assert len(server.posts) == 3


def test_a_small_file_has_an_end_in_length_and_time() -> None:
    with ScriptedAcs([Answer(body=FILE), Answer(body=FILE)]) as server:
        with pytest.raises(TransferError) as long:
            fetched(server, most=100)
        with pytest.raises(TransferError) as slow:
            fetched(server, limit=0)

    assert str(long.value) == f"{server.url}: expected at most 100 bytes, got more"
    assert str(slow.value) == f"{server.url}: it takes too long"


def test_a_small_file_is_fetched_with_a_login() -> None:
    who = DigestLogin()
    with ScriptedAcs([Answer(body=FILE)], login=who) as server:
        with pytest.raises(TransferError) as caught:
            fetched(server)

    assert caught.value.reason == LOGIN
