"""``spkg agent`` without a running agent: what is checked, and what lies on disk."""

import json
import os
import sqlite3
import tarfile
from collections.abc import Callable
from contextlib import closing
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from tests.support.agent_place import CONFIG, furnish_agent
from tests.support.commands import run

ODD = """
before-boot-clock = "ignore-dates"
unsafe-downgrade = true
dhcp = true
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a directory with all that an agent needs."""
    monkeypatch.chdir(tmp_path)
    furnish_agent()


def agent(*words: str) -> Any:
    return run("agent", *words, "--config", "agent.toml")


def configure(text: str = CONFIG, more: str = "") -> None:
    Path("agent.toml").write_text(text.format(url="http://127.0.0.1:9/cwmp?secret=1") + more)


def findings(*words: str) -> list[str]:
    shown = json.loads(agent("check", "--json", *words).stdout)
    assert shown["schema"] == "spkg.agent.check/1"
    return [f"{one['kind']}: {one['message']}" for one in shown["findings"]]


def _of_another_program(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE x (y)")


def test_a_check_names_each_thing_that_is_odd() -> None:
    text = CONFIG.replace('password-file = "acs.password"\n', ODD).replace(
        'password-file = "request.password"\n', ""
    )
    configure(
        text.replace('["touch", "rebooted"]', '["no-such-program"]').replace(
            'trust = ["ca.pem"]\n', 'trust = ["ca.pem"]\noptions = ["--unsafe-allow-unsigned"]\n'
        ),
        '[vouchers]\nstore = "o/options.db"\ntrust = ["missing.pem"]\n'
        '[[provider]]\nname = "a"\nsocket = "nowhere"\npaths = ["LANDevice."]\n'
        '[[provider]]\nname = "b"\nscript = ["no-such-provider"]\npaths = ["Time."]\n',
    )

    found = findings()

    for one in (
        "missing.pem: no such file or directory",
        "error: commands.reboot: no-such-program does not exist or is not executable",
        "warning: commands.factory-reset is not set: the device will not do it",
        "error: provider b: no-such-provider is not executable",
        "warning: connection requests are refused until the ACS sets a password for them",
        "warning: unsafe-downgrade: the ACS may change its URL from https to http",
        "warning: dhcp: any DHCP server on the link can name the ACS",
        "warning: install: --unsafe-allow-unsigned",
    ):
        assert any(one in line for line in found), (one, found)
    assert any("before-boot-clock" in line for line in found)
    assert any("provider 'a'" in line for line in found)
    assert "secret=1" not in "".join(found)


def test_a_check_asks_the_providers_and_says_what_is_wrong_with_their_answers() -> None:
    Path("parameters.json").write_text('{"InternetGatewayDevice.UserInterface.X": {"type": "string"}}')
    configure(
        more='[[provider]]\nname = "file"\nfile = "parameters.json"\npaths = ["UserInterface."]\n'
        '[[provider]]\nname = "gone"\nsocket = "nowhere"\npaths = ["LANDevice."]\n'
        '[[provider]]\nname = "odd"\npaths = ["Time."]\n'
        'command = ["sh", "-c", "read x; echo $x > asked; echo no"]\n'
    )

    found = findings()

    nowhere = Path("nowhere").absolute()
    assert f"warning: provider 'gone': can't be reached: {nowhere}: no such file or directory" in found
    assert "warning: provider 'odd': line 1: expected JSON: expecting value" in found
    assert "ok: 1 provider can be asked" in found
    assert "describe" in Path("asked").read_text()


def test_a_check_of_what_cannot_be_trusted_is_an_error() -> None:
    configure()
    Path("ca.pem").write_text("rubbish")

    assert any(line.startswith("error: install: ") for line in findings())


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("[acs]\n", '[acs]\nca-bundle = "none.pem"\n', "acs: {here}/none.pem: no such file or directory"),
        ("[acs]\n", '[acs]\nca-bundle = "device.toml"\n', "acs: {here}/device.toml has no CA certificates"),
        (
            "[acs]\n",
            '[acs]\nclient-certificate = "none.pem"\n',
            "acs: {here}/none.pem: no such file or directory",
        ),
        (
            "[acs]\n",
            '[acs]\nclient-certificate = "ca.pem"\nclient-key = "none.pem"\n',
            "acs: {here}/none.pem: no such file or directory",
        ),
        (
            "[commands]\n",
            'options = ["--crl", "none.crl"]\n[commands]\n',
            "install.options: none.crl: no such file or directory",
        ),
        (
            "[commands]\n",
            'options = ["--policy", "none.toml"]\n[commands]\n',
            "install.options: none.toml: no such file or directory",
        ),
        ("[commands]\n", 'options = ["--crll"]\n[commands]\n', "install.options: no such option '--crll'"),
    ],
)
def test_a_check_reads_the_files_that_are_named(old: str, new: str, found: str) -> None:
    configure(CONFIG.replace(old, new))

    assert any(line.startswith(f"error: {found.format(here=Path.cwd())}") for line in findings()), findings()


def test_a_page_goes_to_a_file() -> None:
    configure()

    assert agent("status", "--html", "-").stderr == "spkg: error: --html takes a file, not standard output\n"


def test_a_file_where_the_state_belongs_is_named() -> None:
    configure()
    Path("state").write_text("")
    problem = f"{Path('state').absolute()}: not a directory"

    assert f"error: {problem}" in findings()
    assert agent("check").exit_code == 9
    assert agent("status").stdout.startswith("the agent is not running\n")
    assert agent("config").stderr.endswith("hint: start it with 'spkg agent run'\n")
    done = agent("once")
    assert (done.exit_code, done.stderr) == (9, f"spkg: error: {problem}\n")


def test_a_state_directory_that_others_can_write_is_unsafe() -> None:
    configure()
    Path("state").mkdir()
    Path("state").chmod(0o777)
    problem = f"{Path('state').absolute()}: other users can change what the agent keeps: chmod 700"

    assert f"warning: {problem}" in findings()
    assert f"  unsafe: {problem}\n" in agent("status").stdout
    Path("state").chmod(0o755)
    assert f"warning: {problem}" not in findings()


def test_a_check_finds_places_that_do_not_exist() -> None:
    text = (
        CONFIG.replace('host = "127.0.0.1"', 'host = "interface:nope0"')
        .replace('file = "device.toml"', 'file = "device.toml"\nversion-file = "version"')
        .replace('root = "root"', 'root = "no-root"\nback-up-boots = 3\nweb-content = {{ root = "ca.pem" }}')
    )
    configure(
        text,
        '[[upload]]\ntype = "1 Vendor Configuration File"\nfile = "no-file"\n'
        '[[upload]]\ntype = "2 Vendor Log File"\ncommand = ["no-such-program"]\n',
    )
    here = Path.cwd()
    missing = (
        f"error: install.root: {here}/no-root does not exist or is not a directory",
        f"error: install.web-content: {here}/ca.pem does not exist or is not a directory",
        f"warning: upload '1 Vendor Configuration File': {here}/no-file does not exist",
        "error: upload '2 Vendor Log File': no-such-program does not exist or is not executable",
        f"warning: device.version-file: {here}/version does not exist",
        "warning: connection-requests.host: nope0 has no IPv4 address now",
        "warning: nothing is on trial: back-up in [install] is 0",
    )

    assert {*missing} <= {*findings()}


def test_a_check_finds_nothing_where_all_that_is_named_exists() -> None:
    for name in ("version", "configuration"):
        Path(name).touch()
    configure(
        CONFIG.replace('file = "device.toml"', 'file = "device.toml"\nversion-file = "version"')
        .replace('host = "127.0.0.1"', 'host = "interface:lo"')
        .replace('root = "root"', 'root = "root"\nvendor-configuration = {{ root = "root" }}'),
        '[[upload]]\ntype = "1 Vendor Configuration File"\nfile = "configuration"\n'
        '[[upload]]\ntype = "2 Vendor Log File"\ncommand = ["true"]\n',
    )

    assert not [one for one in findings() if "not exist" in one or "no IPv4 address" in one]


def test_a_check_says_that_parameters_are_not_on_trial_without_a_time() -> None:
    configure(more='[back-up]\nparameters = ["ManagementServer.URL"]\n')
    problem = "warning: nothing is on trial: back-up in [install] is 0"

    assert problem in findings()
    configure(
        CONFIG.replace('trust = ["ca.pem"]', 'trust = ["ca.pem"]\nback-up = 60'),
        '[back-up]\nparameters = ["ManagementServer.URL"]\n',
    )
    assert problem not in findings()


def test_a_check_without_an_acs_says_so() -> None:
    configure(CONFIG.replace('url = "{url}"\n', ""))

    assert "warning: no ACS is known: set url in [acs], or dhcp = true" in findings()
    done = agent("check", "--connect")
    assert (done.exit_code, done.stderr.splitlines()[0]) == (2, "spkg: error: --connect needs url in [acs]")


@pytest.mark.parametrize(
    ("device", "problem"),
    [
        ('[device]\noui = "00D09E"\n', "the device file must state serial-number"),
        ('[device]\noui = "00D09E"\nserial-number = "a\\u0001"\n', "the device file: SerialNumber"),
    ],
)
def test_a_device_without_an_identity_is_refused(device: str, problem: str) -> None:
    configure()
    Path("device.toml").write_text(device)

    done = agent("check")

    assert done.exit_code == 3
    assert problem in done.stderr


def test_the_log_of_an_agent_that_rests_is_on_disk() -> None:
    configure()
    Path("state").mkdir()
    Path("state/log.ndjson").write_text('{"time": null, "kind": "failure", "text": "no way"}\n' * 3)

    assert agent("log", "-n", "2").stdout == f"{'-' * 20}  failure    no way\n" * 2
    assert [json.loads(line)["text"] for line in agent("log", "--json").stdout.splitlines()] == ["no way"] * 3
    done = agent("log", "--follow")
    assert done.exit_code == 9
    assert "no agent is running with this state" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="a file that is no directory refuses everybody but root, too")
def test_an_archive_for_support_is_made_of_what_there_is() -> None:
    configure()
    Path("root").rmdir()

    assert agent("support", "-o", "support.tar.gz").exit_code == 0

    with tarfile.open("support.tar.gz") as archive:
        names = archive.getnames()
    assert "support/not-running.json" in names
    assert "support/root-problem.json" in names


def test_the_status_of_an_agent_that_rests_has_its_keys() -> None:
    configure()

    status = json.loads(agent("status", "--json").stdout)

    assert status["schema"] == "spkg.agent.status/1"
    assert (status["running"], status["in_touch"]) == (False, False)
    assert status["acs_url"] == "http://127.0.0.1:9/cwmp"


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda path: path.write_bytes(b"junk" * 5000), "file is not a database"),
        (lambda path: path.mkdir(), "is a directory"),
        (lambda path: path.symlink_to("nowhere"), "too many levels of symbolic links"),
        (_of_another_program, "not the state of an agent that this version can read"),
    ],
    ids=["junk", "a directory", "a link", "of another program"],
)
def test_who_looks_at_a_state_that_cannot_be_read_leaves_it_to_the_agent(
    damage: Callable[[Path], object], problem: str
) -> None:
    configure()
    Path("state").mkdir(mode=0o700)
    damage(Path("state/state.db"))

    for _ in range(2):
        status = json.loads(agent("status", "--json").stdout)
        assert status["reason"] == (
            "the agent is not running, and its state can't be read: "
            f"{Path('state/state.db').absolute()}: {problem}"
        )
    assert agent("status", "--html", "status.html").stdout.startswith(f"{status['reason']}\n")
    assert f"state.db: {problem}" in unescape(Path("status.html").read_text())
    assert [*Path("state").iterdir()] == [Path("state/state.db")]
    agent("once")
    assert os.path.lexists("state/state.db.damaged")


def test_a_parameter_is_set_once() -> None:
    configure()

    done = agent("set", "A=1", "A=2")

    assert (done.exit_code, done.stderr.splitlines()[0]) == (2, "spkg: error: A is given twice")
    assert agent("request-download", "2 Web Content", "--arg", "Version").exit_code == 2
