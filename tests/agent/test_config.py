"""The agent's configuration: what each key means, and what is refused where it stands."""

from collections.abc import Callable
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from spkg.agent.config import acs_url_problem, load_agent_config
from spkg.agent.settings import (
    AgentConfig,
    BeforeBootClock,
    OtherRoot,
    ProviderKind,
    VoucherClock,
    WanAddress,
)
from spkg.errors import FormatError, HostError

LEAST = """
[device]
file = "device.toml"
[install]
trust = ["ca.pem"]
"""
PROVIDER = '[[provider]]\nname = "gateway"\nsocket = "/run/p"\npaths = ["LANDevice."]\n'
UPLOAD = '[[upload]]\ntype = "1 Vendor Configuration File"\nfile = "config"\n'
OPTIONS = "install.options: must be without"
UP_TO_IT = "which is up to the agent"
VOUCHERS = '[vouchers]\nstore = "options.db"\ntrust = ["v.pem"]\n'


@pytest.fixture
def config(tmp_path: Path) -> Callable[[str], AgentConfig]:
    def load(text: str) -> AgentConfig:
        (tmp_path / "agent.toml").write_text(text)
        return load_agent_config(tmp_path / "agent.toml")

    return load


def value(config: AgentConfig, path: str) -> Any:
    found: Any = config
    for name in path.split("."):
        found = found[int(name)] if name.isdigit() else getattr(found, name)
    return found


def with_table(table: str, line: str) -> str:
    """Return the least configuration with another line in a table."""
    if f"[{table}]\n" in LEAST:
        return LEAST.replace(f"[{table}]\n", f"[{table}]\n{line}\n")
    return f"{LEAST}[{table}]\n{line}\n"


def test_the_defaults_are_those_of_the_documentation(
    config: Callable[[str], AgentConfig], tmp_path: Path
) -> None:
    found = config(LEAST)

    assert (found.acs.timeout, found.acs.retry_limit, found.acs.outstanding) == (30, 11, 1)
    assert (found.acs.dhcp, found.acs.pipelining, found.acs.unsafe_downgrade) == (False, False, False)
    assert (found.inform.enable, found.inform.interval, found.inform.reference) == (True, 600, None)
    assert (found.listener.address, found.listener.port, found.listener.host) == ("0.0.0.0", 7547, "auto")  # noqa: S104 - compared
    assert found.install.root == Path("/")
    assert found.install.trust == (tmp_path / "ca.pem",)
    assert (found.install.back_up, found.install.back_up_boots) == (0, None)
    assert found.transfers.schemes == ("https", "http", "ftp", "tftp")
    assert found.vouchers is None
    assert found.state.directory == Path("/var/lib/spkg/agent")


@pytest.mark.parametrize(
    ("table", "line", "path", "expected"),
    [
        ("acs", 'url = "https://acs.example.net/cwmp"', "acs.url", "https://acs.example.net/cwmp"),
        ("acs", 'timeout = "1min"', "acs.timeout", 60),
        ("acs", "retry-limit = 0", "acs.retry_limit", 0),
        ("acs", 'before-boot-clock = "ignore-dates"', "acs.before_boot_clock", BeforeBootClock.IGNORE_DATES),
        ("acs", "unsafe-downgrade = true", "acs.unsafe_downgrade", True),
        ("inform", "time = 2026-01-01T03:00:00Z", "inform.reference", datetime(2026, 1, 1, 3, tzinfo=UTC)),
        (
            "inform",
            'time = "2026-01-01T05:00:00+02:00"',
            "inform.reference",
            datetime(2026, 1, 1, 3, tzinfo=UTC),
        ),
        ("connection-requests", 'listen = ""', "listener.address", None),
        ("connection-requests", 'listen = "[::1]:80"', "listener.address", "::1"),
        ("connection-requests", 'listen = "192.0.2.1:0"', "listener.port", 0),
        ("connection-requests", 'from = ["192.0.2.0/24"]', "listener.sources", (ip_network("192.0.2.0/24"),)),
        (
            "device",
            'wan = { parameter = "WANDevice.1.X" }',
            "device.wan",
            WanAddress(parameter="WANDevice.1.X", address="auto"),
        ),
        ("install", 'back-up = "10min"', "install.back_up", 600),
        ("install", "back-up-boots = 3", "install.back_up_boots", 3),
        ("install", 'roles = "match"', "install.match_roles", True),
        ("install", 'web-content = { root = "/www" }', "install.web_content", OtherRoot(root=Path("/www"))),
        ("transfers", 'schemes = ["https"]', "transfers.schemes", ("https",)),
        ("commands", 'reboot = ["/sbin/reboot", "-f"]', "reboot", ("/sbin/reboot", "-f")),
        ("back-up", 'parameters = ["ManagementServer.URL"]', "back_up_parameters", ("ManagementServer.URL",)),
        ("state", 'log-size = "1MiB"', "state.log_size", 1 << 20),
    ],
)
def test_each_key_means_what_it_says(
    config: Callable[[str], AgentConfig], table: str, line: str, path: str, expected: object
) -> None:
    assert value(config(with_table(table, line)), path) == expected


def test_providers_uploads_and_vouchers_are_read(
    config: Callable[[str], AgentConfig], tmp_path: Path
) -> None:
    found = config(LEAST + PROVIDER + UPLOAD + VOUCHERS)

    assert found.providers[0].kind is ProviderKind.SOCKET
    assert (found.providers[0].path, found.providers[0].paths) == (Path("/run/p"), ("LANDevice.",))
    assert found.transfers.uploads[0].file == tmp_path / "config"
    assert found.transfers.uploads[0].max_size == 1 << 20
    assert found.vouchers is not None
    assert found.vouchers.clock is VoucherClock.BUILD_DATE


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            with_table("acs", 'url = "ftp://x/"'),
            "acs.url: must begin with http:// or https:// and a host, got 'ftp://x/'",
        ),
        (with_table("acs", "timeout = 5"), "acs.timeout: must be at least 30 s, got 5"),
        (with_table("acs", "retry_limit = 5"), "acs.retry_limit: unknown key; did you mean 'retry-limit'?"),
        (
            with_table("acs", 'before-boot-clock = "no"'),
            "acs.before-boot-clock: must be 'refuse' or 'ignore-dates', got 'no'",
        ),
        *(
            (with_table("install", f"options = ['--no-clock', '{word}']"), f"{OPTIONS} {name}, {UP_TO_IT}")
            for word, name in {
                "--root=/elsewhere": "--root",
                "--back-up": "--back-up",
                "--dry-run": "--dry-run",
                "--help": "--help",
                "-h": "-h",
                "--json": "--json",
            }.items()
        ),
        (with_table("acs", "outstanding = 0"), "acs.outstanding: must be from 1 to 10, got 0"),
        (with_table("inform", "interval = 0"), "inform.interval: must be at least 1 s, got 0"),
        (with_table("inform", 'time = "noon"'), "inform.time: must be a time such as 2026-01-01T03:00:00Z"),
        (
            with_table("connection-requests", 'listen = "7547"'),
            "connection-requests.listen: must be an address and a port, or \"\", got '7547'",
        ),
        (
            with_table("connection-requests", 'from = ["x"]'),
            "connection-requests.from: expected networks such as 192.0.2.0/24: 'x' ",
        ),
        (
            with_table("device", 'root = "A.B"'),
            "device.root: must be the name of an object without a dot, got 'A.B'",
        ),
        (
            with_table("device", "wan = {}"),
            "device.wan.parameter: must be the path of a parameter without the root, got None",
        ),
        (with_table("install", 'roles = "some"'), 'install.roles: must be "any" or "match", got \'some\''),
        (with_table("install", "web-content = {}"), "install.web-content.root: missing; name the directory"),
        (
            with_table("transfers", 'schemes = ["gopher"]'),
            "transfers.schemes: expected https, http, ftp, tftp, got 'gopher'",
        ),
        (with_table("transfers", "max-waiting = 17"), "transfers.max-waiting: must be from 1 to 16, got 17"),
        (
            with_table("back-up", 'parameters = ["a b"]'),
            "must be parameters of the agent itself, such as ManagementServer.URL, got 'a b'",
        ),
        (
            with_table("commands", 'reboot = [""]'),
            "commands.reboot: must begin with a word, and have no NUL in any",
        ),
        (
            with_table("back-up", 'parameters = ["ManagementServer.URL", "ManagementServer.Url"]'),
            "parameters of the agent itself, such as ManagementServer.URL, got 'ManagementServer.Url'",
        ),
        (LEAST + PROVIDER + PROVIDER, "provider[1].paths: LANDevice. is owned by 'gateway' already"),
        (
            LEAST + PROVIDER.replace("LANDevice.", "LANDevice"),
            "provider[0].paths: must be partial paths, which end in a dot, got 'LANDevice'",
        ),
        (
            LEAST + PROVIDER + 'file = "f"\n',
            "provider[0].socket: needs one of socket, command, script and file",
        ),
        (
            LEAST + UPLOAD.replace("1 Vendor", "3 Vendor"),
            "upload[0].type: must be a FileType of Upload, got '3 Vendor Configuration File'",
        ),
        (LEAST + UPLOAD + 'command = ["x"]\n', "upload[0].command: needs one of command and file"),
        (LEAST + "[vouchers]\n", "vouchers.trust: missing; name files of trusted certificates"),
        ("", 'device.file: missing; name the device file, such as file = "device.toml"'),
    ],
)
def test_what_is_wrong_is_named_where_it_stands(
    config: Callable[[str], AgentConfig], text: str, problem: str
) -> None:
    with pytest.raises(FormatError) as caught:
        config(text)

    assert problem in "\n".join(str(one) for one in (caught.value, *caught.value.others))


def test_all_that_is_wrong_is_shown_at_once(config: Callable[[str], AgentConfig]) -> None:
    with pytest.raises(FormatError) as caught:
        config('[acs]\ntimeout = 1\nspeed = 2\n[state]\nlog-size = "much"\n')

    assert len(caught.value.others) >= 3


def test_a_path_that_the_system_cannot_take_is_refused(config: Callable[[str], AgentConfig]) -> None:
    with pytest.raises(FormatError) as caught:
        config('[acs]\nca-bundle = "a\\u0000b"\n[install]\ntrust = ["c\\u0000d"]\n')

    found = [str(one) for one in (caught.value, *caught.value.others) if "NUL" in str(one)]
    assert [one.partition(": ")[2] for one in found] == [
        "acs.ca-bundle: must be a path without NUL",
        "install.trust: must be a path without NUL",
    ]


@pytest.mark.parametrize(
    "url",
    ["https://acs.example.net/", "http://192.0.2.1:7547/cwmp?x=1", "https://[2001:db8::1]:443/a"],
)
def test_urls_of_an_acs_are_accepted(url: str) -> None:
    assert acs_url_problem(url) is None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "acs",
        "https://",
        "https:///x",
        "http://u:p@h/",
        "http://h:0/",
        "http://h:99999/",
        "http://h/ x",
        "http://h/é",
        "http://[::1/",
        "http://h/" + "a" * 256,
        "https://h/#part",
        "http://a..b/",
        f"http://{'a' * 80}.example/",
    ],
)
def test_what_is_no_url_of_an_acs_is_refused(url: str) -> None:
    assert acs_url_problem(url) is not None


def test_a_file_that_anybody_may_write_is_not_used_d10(config: Callable[[str], AgentConfig]) -> None:
    path = config(LEAST).source
    path.chmod(0o666)

    with pytest.raises(HostError) as caught:
        load_agent_config(path)

    assert str(caught.value) == f"{path}: anybody may write it, so it is not used [TR-069 3.1]"
    assert caught.value.hint == f"chmod o-w {path}"
