"""The directories of the process that talks to servers: what it gets, and what it must not change."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from spkg.agent.config import load_agent_config
from spkg.agent.rights import (
    can_change,
    directory_problems,
    give_up_rights,
    prepare_directories,
    talker_of,
)
from spkg.agent.settings import AgentConfig
from spkg.common.child_process import fork
from spkg.errors import HostError

TALKER = (65534, 65534)
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give directories away")
CONFIG = """
[acs]
url = "http://127.0.0.1:9/"
[device]
file = "device.toml"
[install]
trust = ["trust/ca.pem"]
[state]
directory = "{state}"
user = "{user}"
[vouchers]
store = "{store}"
trust = ["trust/ca.pem"]
"""


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A directory that everybody may look into, and root alone may change."""
    with TemporaryDirectory(prefix="spkg-test-rights-") as name:
        Path(name).chmod(0o755)
        monkeypatch.chdir(name)
        Path("trust").mkdir()
        Path("trust/ca.pem").touch()
        Path("device.toml").touch()
        yield
        monkeypatch.chdir("/")


def config(
    state: str = "var/agent", store: str = "var/options/options.db", user: str = "nobody"
) -> AgentConfig:
    Path("agent.toml").write_text(CONFIG.format(state=state, store=store, user=user))
    return load_agent_config(Path("agent.toml"))


def owners(*paths: str) -> list[int]:
    return [Path(path).stat().st_uid for path in paths]


@NEEDS_ROOT
def test_who_talks_gets_directories_of_its_own() -> None:
    settings = config()

    for _ in range(2):
        keeper = prepare_directories(settings, talker_of(settings))

    assert keeper.name == "agent-keeper"
    assert owners("var", "var/agent", "var/options", "var/agent-keeper") == [0, 65534, 65534, 0]
    assert [Path(one).stat().st_mode & 0o777 for one in ("var/agent", "var/agent-keeper")] == [0o700, 0o700]


@NEEDS_ROOT
@pytest.mark.parametrize(
    ("given", "shared"),
    [
        ({"store": "trust/options.db"}, "trust"),
        ({"state": "trust"}, "trust"),
    ],
)
def test_a_directory_that_others_use_is_not_given_away(given: dict[str, str], shared: str) -> None:
    with pytest.raises(HostError) as caught:
        prepare_directories(config(**given), TALKER)

    assert str(caught.value) == (
        f"{Path(shared).absolute()}: expected a directory of its own for the user who talks to servers, "
        "got one in use"
    )
    assert owners(shared) == [0]


@NEEDS_ROOT
def test_a_store_beside_the_state_is_in_a_directory_of_who_talks() -> None:
    settings = config(store="var/options.db")
    Path("var").mkdir(mode=0o755)
    for name in ("options.db", "options.db-journal"):
        Path("var", name).touch(mode=0o600)

    for _ in range(2):
        keeper = prepare_directories(settings, TALKER)

    assert keeper == Path("var-keeper").absolute()
    assert owners("var", "var/options.db", "var/options.db-journal", "var-keeper") == [65534] * 3 + [0]
    assert not Path("var/agent").exists(), "what lies within its own directories is made without rights"


def test_who_gives_nothing_away_makes_nothing_outside() -> None:
    assert prepare_directories(config(store="var/options.db"), None) == Path("var/agent-keeper").absolute()


@NEEDS_ROOT
@pytest.mark.parametrize("other", ["a directory", "a file", "a link", "a file with two names"])
def test_a_store_beside_what_others_use_is_not_given_away(other: str) -> None:
    Path("var").mkdir()
    store = Path("var/options.db")
    match other:
        case "a directory":
            store.mkdir()
        case "a file":
            Path("var/hosts").touch()
        case "a link":
            store.symlink_to("../device.toml")
        case _:
            store.hardlink_to("device.toml")

    with pytest.raises(HostError, match="expected a directory of its own"):
        prepare_directories(config(store="var/options.db"), TALKER)

    assert owners("var", "device.toml") == [0, 0]


@NEEDS_ROOT
def test_a_link_that_who_talks_has_made_is_not_followed_with_rights() -> None:
    settings = config(store="var/agent/a/etc/options.db")
    prepare_directories(settings, TALKER)
    Path("victim/etc").mkdir(parents=True)
    Path("var/agent/a").symlink_to(Path("victim").absolute())
    os.lchown("var/agent/a", *TALKER)

    prepare_directories(settings, TALKER)

    assert owners("victim", "victim/etc") == [0, 0]


@NEEDS_ROOT
def test_what_lies_within_its_own_directories_is_made_without_rights() -> None:
    settings = config(store="var/agent/options/options.db")
    prepare_directories(settings, TALKER)
    child = fork()
    if child == 0:  # pragma: no cover - another process
        try:
            give_up_rights(settings, TALKER)
        finally:
            os._exit(0)
    os.waitpid(child, 0)

    assert owners("var/agent/options") == [65534]


@NEEDS_ROOT
@pytest.mark.parametrize("reached", ["var", "trust", "trust/ca.pem", "device.toml"])
def test_what_who_talks_could_replace_is_not_relied_on(reached: str) -> None:
    Path("var").mkdir()
    os.chown(reached, *TALKER)

    because = f"can change it, because {re.escape(str(Path(reached).absolute()))} is writable"

    with pytest.raises(HostError, match=because):
        prepare_directories(config(), TALKER)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({}, None),
        ({"state": "device.toml"}, r"{here}/device\.toml: not a directory"),
        (
            {"state": "device.toml/state"},
            r"{here}/device\.toml: not a directory",
        ),
        ({"state": "/proc/spkg/state"}, r"/proc: (can't be written|no space left on device)"),
        pytest.param(
            {"state": "trust"}, "{here}/trust: expected a directory of its own .*", marks=NEEDS_ROOT
        ),
        pytest.param({"user": "nobody-here"}, ".*there is no user 'nobody-here'.*", marks=NEEDS_ROOT),
    ],
)
def test_what_keeps_an_agent_from_starting_is_found_before(
    given: dict[str, str], problem: str | None
) -> None:
    settings = config(**given)
    before = sorted(Path().rglob("*"))

    found = [*directory_problems(settings)]

    assert sorted(Path().rglob("*")) == before
    if problem is None:
        assert found == []
    else:
        assert len(found) == 1
        assert re.fullmatch(problem.format(here=re.escape(str(Path.cwd()))), found[0])
        with pytest.raises(HostError):
            prepare_directories(settings, talker_of(settings))


@NEEDS_ROOT
def test_what_who_talks_could_replace_is_found_before() -> None:
    settings = config()
    Path("device.toml").chmod(0o666)

    (found,) = directory_problems(settings)

    assert "device.toml: the user who talks to servers can change it" in found


def test_every_part_of_the_way_counts() -> None:
    Path("shared").mkdir()
    Path("shared").chmod(0o777)
    Path("real").mkdir()
    Path("shared/link").symlink_to("../real")
    Path("to").symlink_to("shared/link")
    Path("sticky").mkdir()
    Path("sticky").chmod(0o1777)
    group = Path("group")
    group.mkdir()
    group.chmod(0o775)
    nobody = (os.getuid() + 1, os.getgid() + 1)

    def found(path: str, talker: tuple[int, int] = nobody) -> str | None:
        one = can_change(Path(path), talker)
        return None if one is None else one.name

    assert found("to/file") == "shared"
    assert found(str(Path("real/missing/file").absolute())) is None
    assert found("sticky/file") is None
    assert found("group/file") is None
    assert found("group/file", (nobody[0], os.getgid())) == "group"
    assert found("device.toml/file") is None
    assert found("real/../shared/x") == "shared"


def test_a_circle_of_links_is_an_error() -> None:
    Path("a").symlink_to("b")
    Path("b").symlink_to("a")

    with pytest.raises(OSError, match="symbolic links"):
        can_change(Path("a"), (os.getuid() + 1, 1))
