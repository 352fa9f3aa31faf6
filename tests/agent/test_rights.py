"""Who talks, and what that process may change; where connection requests are taken."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from spkg.agent.addresses import RequestAddress
from spkg.agent.clients import clients_of
from spkg.agent.config import load_agent_config
from spkg.agent.rights import Rights, give_up_rights, prepare_directories, talker_of
from spkg.agent.settings import AgentConfig, BeforeBootClock
from spkg.errors import HostError

CONFIG = """
[device]
file = "device.toml"
[install]
trust = ["ca.pem"]
[vouchers]
store = "options/options.db"
trust = ["ca.pem"]
[[provider]]
name = "file"
file = "parameters/values.json"
paths = ["LANDevice."]
[state]
directory = "state"
"""


@pytest.fixture
def config(tmp_path: Path) -> AgentConfig:
    (tmp_path / "agent.toml").write_text(CONFIG)
    (tmp_path / "parameters").mkdir()
    return load_agent_config(tmp_path / "agent.toml")


def test_the_directories_are_for_their_owners_alone(config: AgentConfig, tmp_path: Path) -> None:
    keeper = prepare_directories(config, None)

    assert keeper == tmp_path / "state-keeper"
    for name in ("state", "options", "state-keeper"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o700


def test_a_link_in_the_place_of_the_directory_of_transfers_is_refused(
    config: AgentConfig, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "state-keeper").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(HostError):
        prepare_directories(config, None)


def test_a_directory_that_cannot_be_made_is_named(config: AgentConfig, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")

    with pytest.raises(HostError, match="state: not a directory"):
        prepare_directories(config, None)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can choose who talks")
def test_the_talker_is_the_stated_user_or_the_owner_of_the_state(config: AgentConfig, tmp_path: Path) -> None:
    assert talker_of(config) is None
    stated = replace(config, state=replace(config.state, user="nobody"))
    assert talker_of(stated) is not None
    prepare_directories(config, None)
    assert talker_of(config) is None
    os.chown(tmp_path / "state", 4242, 4343)
    assert talker_of(config) == (4242, 4343)
    prepare_directories(config, (4242, 4343))
    assert (tmp_path / "options").stat().st_uid == 4242
    with pytest.raises(HostError, match="there is no user 'nobody-at-all'"):
        talker_of(replace(config, state=replace(config.state, user="nobody-at-all")))


@pytest.mark.judge("Landlock 2")
def test_only_its_own_directories_can_be_changed(config: AgentConfig, tmp_path: Path) -> None:
    prepare_directories(config, None)
    child = os.fork()
    if child == 0:
        rights = give_up_rights(config, None)
        denied = 0
        for name in ("state", "options", "parameters", "state-keeper", "."):
            try:
                (tmp_path / name / "file").write_text("changed")
            except OSError:
                denied += 1
        os._exit(10 * rights.confined + denied)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 12
    assert (tmp_path / "state" / "file").exists()
    assert Rights(confined=True, is_root=False).confined


def test_a_directory_that_is_gone_is_named(config: AgentConfig) -> None:
    with pytest.raises(HostError, match="no such file or directory"):
        give_up_rights(config, None)


def address(config: AgentConfig, host: str, own: str = "192.0.2.7") -> RequestAddress:
    return RequestAddress(replace(config.listener, host=host), "/secret", lambda: own)


@pytest.mark.parametrize(
    ("host", "own", "expected"),
    [
        ("auto", "192.0.2.7", "http://192.0.2.7:7547/secret"),
        ("auto", "2001:db8::7", "http://[2001:db8::7]:7547/secret"),
        ("auto", "", ""),
        ("gw.example.net", "", "http://gw.example.net:7547/secret"),
        ("interface:lo", "", "http://127.0.0.1:7547/secret"),
        ("interface:none-at-all", "", ""),
        ("interface:" + "x" * 20, "", ""),
        ("interface:", "", ""),
    ],
)
def test_the_url_names_an_address_that_there_is_p34(
    config: AgentConfig, host: str, own: str, expected: str
) -> None:
    assert address(config, host, own).url() == expected


def test_where_nothing_listens_there_is_no_url(config: AgentConfig) -> None:
    found = address(config, "auto")
    found.port = None
    assert found.url() == ""
    closed = RequestAddress(replace(config.listener, address=None), "/secret", lambda: "192.0.2.7")
    any_port = RequestAddress(replace(config.listener, port=0), "/secret", lambda: "192.0.2.7")
    assert any_port.url() == ""  # nobody listens yet
    assert closed.url() == ""


def test_without_a_clock_dates_are_only_ignored_where_that_is_stated(config: AgentConfig) -> None:
    has_clock = [False]
    usual = clients_of(config.acs, lambda: 0.0, lambda: has_clock[0])
    ignoring = clients_of(
        replace(config.acs, before_boot_clock=BeforeBootClock.IGNORE_DATES), lambda: 0.0, lambda: has_clock[0]
    )

    first = ignoring()
    has_clock[0] = True

    assert usual() is usual()
    assert ignoring() is not first
