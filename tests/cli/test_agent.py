"""``spkg agent``: the service and its commands, as processes of their own."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.request import HTTPDigestAuthHandler, HTTPPasswordMgrWithDefaultRealm, build_opener

import pytest

from tests.support.acs import (
    Answer,
    ScriptedAcs,
    acs_fault,
    answers,
    inform_response,
    request,
    response,
    session,
)
from tests.support.agent_place import CONFIG, LONGEST, SECRETS, furnish_agent, until
from tests.support.commands import process, run


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to work in, with a device, a root and what is trusted."""
    monkeypatch.chdir(tmp_path)
    furnish_agent()
    return tmp_path


@pytest.fixture
def elsewhere(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The same directory where everybody may look into it."""
    with TemporaryDirectory(prefix="spkg-test-agent-") as name:
        shutil.copytree(here, name, dirs_exist_ok=True)
        Path(name).chmod(0o755)
        monkeypatch.chdir(name)
        yield Path(name)
        monkeypatch.chdir(here)


def configure(url: str, more: str = "") -> None:
    Path("agent.toml").write_text(CONFIG.format(url=url) + more)


def agent(*words: str) -> tuple[int, str, str]:
    if words[0] == "once":  # it forks
        ended = process("agent", *words, "--config", "agent.toml")
        return ended.returncode, ended.stdout, ended.stderr
    done = run("agent", *words, "--config", "agent.toml")
    return done.exit_code, done.stdout, done.stderr


@contextmanager
def running(acs: ScriptedAcs, more: str = "") -> Iterator["subprocess.Popen[str]"]:
    """Run the service until its first session is over."""
    configure(acs.url, more)
    service = subprocess.Popen(
        [sys.executable, "-m", "spkg", "agent", "run", "--config", "agent.toml"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        extra_groups=[1] if os.geteuid() == 0 else None,  # as from a root who logged in
    )
    try:
        until(lambda: len(acs.posts) >= 2 or service.poll() is not None, "a session")
        until(lambda: Path("state/control").exists() or service.poll() is not None, "the control socket")
        yield service
    finally:
        if service.poll() is None:
            service.send_signal(signal.SIGTERM)
        try:
            service.wait(LONGEST)
        except subprocess.TimeoutExpired:
            service.kill()
        assert service.stdout is not None
        assert service.stderr is not None
        service.stdout.close()
        service.stderr.close()


def status() -> dict[str, object]:
    found: dict[str, object] = json.loads(agent("status", "--json")[1])
    return found


def test_the_service_answers_its_commands_and_ends_cleanly() -> None:
    gone = '[[provider]]\nname = "gone"\nsocket = "nowhere"\npaths = ["LANDevice."]\n'
    with ScriptedAcs(session()) as acs, running(acs, gone) as service:
        until(lambda: status()["in_touch"], "touch")
        lines = agent("status")[1].splitlines()
        assert lines[0] == f"in touch with {acs.url}"
        assert agent("parameters", "InternetGatewayDevice.DeviceInfo.OUI")[0] == 5
        shown = json.loads(agent("parameters", "InternetGatewayDevice.DeviceInfo.", "--json")[1])
        assert {"name", "type", "value", "writable", "notification", "access"} == {*shown["parameters"][0]}
        assert agent("transfers")[1] == "no transfer is waiting\n"
        assert json.loads(agent("transfers", "--json")[1]) == {
            "schema": "spkg.agent.transfers/1",
            "transfers": [],
        }
        assert json.loads(agent("config", "--json")[1])["schema"] == "spkg.agent.config/1"
        assert json.loads(agent("log", "--json", "-n", "1")[1])["kind"] == "session"
        assert agent("inform", "--event", "X 00D09E Hello") == (0, "", "")
        until(lambda: "X 00D09E Hello" in [*acs.posts[-2].texts("EventCode")], "the event")
        assert "begins: X 00D09E Hello" in agent("log", "-n", "5")[1]
        assert agent("inform", "--event", "")[0] == 3
        assert agent("trace", "on")[0] == 0
        assert agent("set", "DeviceConfig.PersistentData=abc")[0] == 0
        assert agent("set", "DeviceInfo.UpTime=1")[0] == 5
        assert agent("set", "nothing")[0] == 2
        assert agent("forget")[0] == 5
        assert agent("request-download", "2 Web Content", "--arg", "Version=1")[0] == 5
        assert agent("support", "-o", "support.tar.gz")[0] == 0  # whatever can't be asked
        with tarfile.open("support.tar.gz") as archive:
            assert {"parameters-problem", "config", "transfers"} <= {
                Path(name).stem for name in archive.getnames()
            }
        assert agent("status", "--html", "page.html")[0] == 0
        assert agent("status", "--html", "page.html")[0] == 2

        service.send_signal(signal.SIGTERM)

        assert service.wait(LONGEST) == 0
    assert not Path("state/control").exists()
    assert agent("status")[1].splitlines()[0] == "the agent is not running"


def test_no_password_is_shown_anywhere() -> None:
    told = request(
        "SetParameterValues",
        '<ParameterList soapenc:arrayType="cwmp:ParameterValueStruct[1]"><ParameterValueStruct>'
        "<Name>InternetGatewayDevice.ManagementServer.Password</Name>"
        '<Value xsi:type="xsd:string">verraten</Value></ParameterValueStruct></ParameterList>'
        "<ParameterKey/>",
    )
    with ScriptedAcs(session(told, repeats=True)) as acs, running(acs) as service:
        agent("trace", "on")
        agent("inform")
        until(lambda: len(acs.posts) >= 6, "another session")
        assert agent("support", "-o", "support.tar.gz")[0] == 0
        shown = [agent(*words)[1] for words in (("status",), ("config",), ("log",), ("parameters",))]
        with tarfile.open("support.tar.gz") as archive:
            members = archive.getmembers()
            shown += [archive.extractfile(one).read().decode() for one in members]  # type: ignore[union-attr]
        for pid in [service.pid, *children(service.pid)]:
            shown.append(Path(f"/proc/{pid}/cmdline").read_text())
            shown.append(Path(f"/proc/{pid}/environ").read_text())

        assert {"support/status.json", "support/config.json", "support/log.ndjson"} <= {
            one.name for one in members
        }
        for secret in (*SECRETS, "verraten"):
            assert secret not in "\n".join(shown)


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(one) for one in found]


def test_a_connection_request_is_answered_before_its_session_p30() -> None:
    with ScriptedAcs(session()) as acs, running(acs):
        until(lambda: status()["connection_request_url"], "the URL")
        url = str(status()["connection_request_url"])
        passwords = HTTPPasswordMgrWithDefaultRealm()
        passwords.add_password(None, url, "acs", SECRETS[1])
        before = len(acs.posts)

        with build_opener(HTTPDigestAuthHandler(passwords)).open(url, timeout=LONGEST) as answer:
            assert (answer.status, answer.read()) == (200, b"")

        until(lambda: len(acs.posts) >= before + 2, "the session")
        assert "6 CONNECTION REQUEST" in [*acs.posts[before].texts("EventCode")]


def test_a_change_of_the_configuration_is_read_with_sighup() -> None:
    with ScriptedAcs(session()) as other, ScriptedAcs(session()) as acs, running(acs) as service:
        configure(other.url)
        service.send_signal(signal.SIGHUP)

        until(lambda: len(other.posts) >= 2, "a session with the other server")
        assert "0 BOOTSTRAP" in [*other.posts[0].texts("EventCode")]
        assert service.poll() is None


def test_a_keeper_that_is_killed_takes_the_talker_with_it() -> None:
    with ScriptedAcs(session()) as acs, running(acs) as service:
        (talker,) = children(service.pid)

        service.kill()
        service.wait(LONGEST)

        until(lambda: not Path(f"/proc/{talker}").exists() or zombie(talker), "the end of the talker")


def zombie(pid: int) -> bool:
    return ") Z" in Path(f"/proc/{pid}/stat").read_text()


def test_a_talker_that_is_killed_ends_the_service_with_a_word() -> None:
    with ScriptedAcs(session()) as acs, running(acs) as service:
        (talker,) = children(service.pid)

        os.kill(talker, signal.SIGKILL)

        _, said = service.communicate(timeout=LONGEST)
        assert service.returncode == 9
        assert said.splitlines()[-1] == "spkg: error: the process that talks to the ACS was ended by SIGKILL"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give rights up")
def test_the_talker_has_given_up_its_rights(elsewhere: Path) -> None:
    assert Path.cwd() == elsewhere
    with ScriptedAcs(session()) as acs, running(acs, 'user = "nobody"\n') as service:
        (talker,) = children(service.pid)
        facts = dict(
            line.split(":\t", 1)
            for line in Path(f"/proc/{talker}/status").read_text().splitlines()
            if ":\t" in line
        )

        opened = [one.readlink().name for one in Path(f"/proc/{talker}/fd").iterdir()]
        assert "state-keeper" not in opened
        assert facts["Uid"].split() == [facts["Uid"].split()[0]] * 4
        assert facts["Uid"].split()[0] != "0"
        assert int(facts["CapEff"], 16) == 0
        assert facts["NoNewPrivs"] == "1"
        assert facts["Groups"].split() == []
        until(lambda: status()["in_touch"], "touch")
        assert not [one for one in str(status()["unsafe"]).split(",") if "root" in one]


def test_once_has_one_session_and_says_why_there_was_none() -> None:
    with ScriptedAcs(session()) as acs:
        configure(acs.url)
        assert agent("once")[0] == 0
        assert acs.methods == ["Inform", ""]
        assert agent("once")[0] == 0
        assert acs.methods == ["Inform", ""]
        assert agent("once", "--force")[0] == 0
        assert acs.methods == ["Inform", ""] * 2
        acs.plan = lambda _post: Answer(status=403)
        code, _, said = agent("once", "--force")
        assert code == 8
        assert "403" in said.splitlines()[-1]


def test_once_reboots_after_its_session() -> None:
    with ScriptedAcs(session(request("Reboot", "<CommandKey>k</CommandKey>"))) as acs:
        configure(acs.url)

        assert agent("once")[0] == 0

        until(lambda: Path("rebooted").exists(), "the reboot")


def test_a_kick_prints_the_next_url() -> None:
    usual = session()

    def plan(post: object) -> Answer:
        name = getattr(post, "method", "")
        identity = getattr(post, "id", None)
        if name == "GetRPCMethods":
            members = "".join(f"<string>{one}</string>" for one in ("Inform", "Kicked"))
            body = f'<MethodList soapenc:arrayType="xsd:string[2]">{members}</MethodList>'
            return Answer(body=response(name, body, identity))
        if name == "Kicked":
            return Answer(body=response(name, "<NextURL>http://next/</NextURL>", identity))
        return usual(post)  # type: ignore[arg-type] # a post

    with ScriptedAcs(plan) as acs, running(acs):
        assert agent("kick", "--command", "c") == (0, "http://next/\n", "")
        shown = json.loads(agent("kick", "--command", "c", "--json")[1])
        assert shown == {"schema": "spkg.agent.kick/1", "next_url": "http://next/"}


def test_forgetting_makes_the_next_start_the_first() -> None:
    with ScriptedAcs(session()) as acs:
        configure(acs.url)
        agent("once")
        assert agent("forget") == (0, "", "")
        agent("once")

        assert [[*post.texts("EventCode")] for post in acs.posts if post.method == "Inform"] == [
            ["0 BOOTSTRAP", "1 BOOT"]
        ] * 2


def test_a_check_finds_what_is_missing() -> None:
    configure("http://127.0.0.1:9/")
    code, shown, said = agent("check")
    assert (code, said) == (0, "")
    assert "ok: device 00D09E-Gateway-123456789" in shown
    assert "warning: http://127.0.0.1:9/: without TLS" in shown

    Path("acs.password").chmod(0o644)
    Path("ca.pem").unlink()
    code, shown, said = agent("check")

    assert code == 9
    assert len(re.findall("^error: ", shown, re.MULTILINE)) == 2
    assert said == "spkg: error: 2 problems were found\n"


def test_a_check_sees_how_far_the_acs_can_be_reached() -> None:
    with ScriptedAcs(answers(Answer(status=400))) as acs:
        configure(acs.url)
        code, shown, _ = agent("check", "--connect")
        assert code == 0
        assert "ok: name: 127.0.0.1 is 127.0.0.1" in shown
        assert acs.methods == [""]

    code, shown, said = agent("check", "--connect")

    assert code == 9
    assert "connection refused" in said


@pytest.mark.parametrize(
    ("option", "code", "shown"),
    [
        ("010f687474703a2f2f6163732f63776d70", 0, "ACS URL: http://acs/cwmp\n"),
        ("03", 3, ""),
        ("zz", 3, ""),
    ],
)
def test_option_43_is_shown(option: str, code: int, shown: str) -> None:
    done = run("agent", "discover", "--option-43", option)

    assert (done.exit_code, done.stdout) == (code, shown)


def test_what_dhcp_says_is_taken_where_the_configuration_lets_it() -> None:
    with ScriptedAcs(session()) as found:
        url = found.url.encode()
        option = (bytes([1, len(url)]) + url).hex()
        with ScriptedAcs(session()) as acs, running(acs):
            assert agent("discover", "--option-43", option)[0] == 5


def test_commands_without_an_agent_say_so() -> None:
    configure("http://127.0.0.1:9/")

    for words in (("inform",), ("config",), ("parameters",), ("set", "A=1"), ("kick", "--command", "c")):
        code, shown, said = agent(*words)
        assert (code, shown) == (9, "")
        assert "no agent is running with this state" in said
        assert said.splitlines()[-1] == "spkg: hint: start it with 'spkg agent run'"


def test_a_configuration_that_is_wrong_is_located() -> None:
    Path("agent.toml").write_text("[acs]\ntimeout = 1\n")

    code, _, said = agent("check")

    assert code == 3
    assert "agent.toml:2: acs.timeout: must be at least 30 s, got 1" in said


def test_a_second_agent_is_refused() -> None:
    with ScriptedAcs(session()) as acs, running(acs):
        code, _, said = agent("once", "--force")

        assert code == 9
        assert "another agent" in said


def test_a_refused_inform_is_explained() -> None:
    with ScriptedAcs(answers(acs_fault(8001, "go away"), inform_response())) as acs:
        configure(acs.url)

        code, _, said = agent("once")

        assert code == 8
        assert "8001" in said
        assert "go away" in said


def test_a_configuration_that_is_missing_says_where_to_begin() -> None:
    done = run("agent", "status", "--config", "missing.toml")

    assert done.exit_code == 9
    assert done.stderr == (
        "spkg: error: missing.toml: no such file or directory\n"
        "spkg: hint: copy samples/agent/agent.toml there and change it, or name another file with --config\n"
    )
