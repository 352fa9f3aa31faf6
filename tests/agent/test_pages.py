"""What ``agent status`` and its relatives print, and the page."""

from html.parser import HTMLParser
from typing import Any

import pytest

from spkg.report.agent import (
    agent_config_lines,
    agent_log_lines,
    agent_status_lines,
    parameter_lines,
    transfer_lines,
)
from spkg.report.agent_page import agent_page
from tests.support.agent_statuses import FULL, STATUS

RESTING = {"running": False, "in_touch": False, "reason": "the agent is not running", "last_session": None}


def texts(lines: Any) -> list[str]:
    return [text for _, text in lines]


def test_a_quiet_agent_takes_three_lines() -> None:
    assert texts(agent_status_lines(STATUS)) == [
        "in touch with https://acs.example.net/cwmp",
        "  last session: 2026-01-31T12:00:00Z (2 PERIODIC)",
        "  next session: 2026-01-31T12:10:00Z",
    ]


def test_everything_else_is_shown_where_there_is_something() -> None:
    assert texts(agent_status_lines(FULL)) == [
        "not in touch with https://acs.example.net/cwmp: login failed",
        "  last session: without a clock (no event), login failed",
        "  next session: 2026-01-31T12:10:00Z",
        "  2 attempts failed since the last success",
        "  methods of the ACS: Inform, TransferComplete",
        "  waiting: M Reboot (k), 1 BOOT",
        "  Download d of http://f/p: waiting, due 2026-02-01T00:00:00Z",
        "  Upload (no CommandKey) of http://f/u: running",
        f"  package {'ab' * 8} is on trial: until 2026-01-31T12:20:00Z, 2 boots left",
        "  on trial: ManagementServer.URL",
        "  connection requests: http://192.0.2.1:7547/x",
        "  Option IPTV: enabled, until 2027-01-01T00:00:00Z",
        "  Option QoS: disabled",
        "  unsafe: everybody on the path can be the ACS",
    ]


def test_an_agent_that_does_not_run_is_said_to() -> None:
    found = texts(agent_status_lines(STATUS | RESTING | {"acs_url": None}))

    assert found[:2] == ["the agent is not running", "  ACS: no ACS is known"]


def test_lists_are_lines() -> None:
    parameter = {
        "name": "A.B",
        "type": "string",
        "value": "x\x1b",
        "writable": True,
        "notification": 2,
        "access": ["Subscriber"],
    }

    assert texts(parameter_lines([parameter], attributes=True))[0].split() == [
        "A.B",
        "x\\x1b",
        "string",
        "writable",
        "active",
        "Subscriber",
    ]
    assert texts(parameter_lines([parameter], attributes=False))[0].split()[-1] == "writable"
    assert texts(transfer_lines([])) == ["no transfer is waiting"]
    assert texts(agent_config_lines([{"name": "acs.timeout", "value": 30, "from": "file"}]))[0].split() == [
        "acs.timeout",
        "30",
        "file",
    ]
    assert texts(agent_log_lines([{"time": None, "kind": "failure", "text": "no way"}])) == [
        "--------------------  failure    no way"
    ]


class Page(HTMLParser):
    """Collects what a browser would load or run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [name for name, _ in attrs if name in {"href", "src", "onload", "onclick", "style"}]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("status", [STATUS, FULL, STATUS | RESTING])
def test_the_page_loads_and_runs_nothing(status: dict[str, Any]) -> None:
    text = agent_page(status, [{"time": None, "kind": "session", "text": "begins"}], None)

    page = Page(text)
    assert page.open == []
    assert page.links == []
    assert not {"script", "link", "img", "iframe", "object", "form", "svg"} & {*page.tags}
    assert "url(" not in text
    assert "@import" not in text


def test_the_page_shows_what_the_status_has() -> None:
    text = agent_page(FULL, [{"time": "2026-01-31T12:00:00Z", "kind": "reboot", "text": "reboots"}], "now")

    for word in (
        "Not in touch: login failed",
        "<th>Download</th><td>d of http://f/p",
        "ManagementServer.URL",
        "IPTV",
        "reboot: reboots",
        "everybody on the path",
        "As of now",
    ):
        assert word in text
    assert "In touch with https://acs.example.net/cwmp" in agent_page(STATUS, [], None)


def test_nothing_on_the_page_is_markup_of_somebody_else() -> None:
    bad = "<script>alert(1)</script>\"'&"
    status = FULL | {
        "reason": bad,
        "acs_url": bad,
        "unsafe": [bad],
        "device": dict.fromkeys(STATUS["device"], bad),
    }

    text = agent_page(status, [{"time": bad, "kind": bad, "text": bad}], bad)

    assert "<script" not in text
    assert Page(text).open == []
