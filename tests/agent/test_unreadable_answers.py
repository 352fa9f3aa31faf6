"""Answers of an ACS that are envelopes, and no answers to what they are for: none of them ends the agent."""

from pathlib import Path
from typing import Any

import pytest

from spkg.agent.errands import Errand
from spkg.errors import FormatError, UsageError
from tests.support.acs import Answer, Plan, Post, ScriptedAcs, response, session
from tests.support.agent_kit import Life, life

METHODS = '<MethodList soapenc:arrayType="xsd:string[1]"><string>Kicked</string></MethodList>'


def answering(**bodies: str) -> Plan:
    """Return a server that answers some methods with these contents."""
    usual = session()

    def plan(post: Post) -> Answer:
        body = bodies.get(post.method)
        return usual(post) if body is None else Answer(body=response(post.method, body, post.id))

    return plan


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("<MaxEnvelopes>many</MaxEnvelopes>", "MaxEnvelopes: expected an integer, got 'many'"),
        ("<MaxEnvelopes>1</MaxEnvelopes>" * 2, "MaxEnvelopes: must occur once [TR-069 A.2.2]"),
        ('<MaxEnvelopes xsi:nil="1"/>', "MaxEnvelopes: must not be nil [TR-069 3.5]"),
    ],
)
def test_an_inform_response_that_can_not_be_read_breaks_its_session(
    body: str, problem: str, tmp_path: Path
) -> None:
    with ScriptedAcs(answering(Inform=body)) as acs, life(tmp_path, acs) as device:
        device.run(seconds=4)
        assert device.log[-1] == f"failure: session: the answer of the ACS to Inform: {problem}"
        assert acs.methods == ["Inform"]
        acs.plan = session()
        device.run(seconds=10)

        assert device.events() == device.events(0)  # nothing was lost
        assert acs.posts[1].text("RetryCount") == "1"
        assert acs.methods == ["Inform", "Inform", ""]


def kicked(device: Life) -> Errand:
    """Have a kick reported, and return its errand."""
    device.run(seconds=5)
    errand = device.agent.answers.answer("kick", {"command": "c"})
    assert isinstance(errand, Errand)
    device.run(seconds=6)
    return errand


@pytest.mark.parametrize(
    ("bodies", "problem"),
    [
        (
            {"GetRPCMethods": METHODS.replace("[1]", "[2]")},
            "GetRPCMethods: MethodList: expected 2 members by its arrayType, got 1 [TR-069 3.5]",
        ),
        ({"GetRPCMethods": ""}, "GetRPCMethods: MethodList: missing [TR-069 A.2.2]"),
        (
            {"GetRPCMethods": METHODS, "Kicked": f"<NextURL>{'x' * 1025}</NextURL>"},
            "Kicked: NextURL: expected at most 1024 characters, got 1025 [TR-069 A.2.1]",
        ),
    ],
)
def test_an_errand_whose_answer_can_not_be_read_fails_alone(
    bodies: dict[str, str], problem: str, tmp_path: Path
) -> None:
    with ScriptedAcs(answering(**bodies)) as acs, life(tmp_path, acs) as device:
        errand = kicked(device)

        with pytest.raises(FormatError) as caught:
            errand.answer.result(0)
        assert str(caught.value) == f"the answer of the ACS to {problem}"
        assert f"failure: the answer of the ACS to {problem}" in device.log
        last = device.agent.engine.last
        assert last is not None
        assert last.reason is None
        before = len(device.informs())
        device.run(seconds=60)
        assert len(device.informs()) == before  # and it is not tried again and again


@pytest.mark.parametrize(
    ("question", "given", "problem"),
    [
        ("kick", {"command": "c" * 33}, "Kicked: Command: expected at most 32 characters, got 33"),
        ("kick", {"referer": "r" * 65}, "Kicked: Referer: expected at most 64 characters, got 65"),
        ("kick", {"arg": "a" * 257}, "Kicked: Arg: expected at most 256 characters, got 257"),
        ("kick", {"next": "n" * 1025}, "Kicked: Next: expected at most 1024 characters, got 1025"),
        ("kick", {"command": 1}, "command: expected a text"),
        (
            "request-download",
            {"file_type": "2 Web Content", "arguments": [1]},
            "arguments: expected texts by name",
        ),
        (
            "request-download",
            {"file_type": "2 Web Content", "arguments": {"Version": "v" * 257}},
            "Version: expected at most 256 characters, got 257",
        ),
        (
            "request-download",
            {"file_type": "1 Firmware Upgrade Image", "arguments": {"Version": "1"}},
            "1 Firmware Upgrade Image has no arguments",
        ),
    ],
)
def test_what_the_acs_can_not_be_asked_is_refused_before_a_session(
    question: str, given: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    with ScriptedAcs(answering(GetRPCMethods=METHODS)) as acs, life(tmp_path, acs) as device:
        device.run(seconds=5)

        with pytest.raises(UsageError) as caught:
            device.agent.answers.answer(question, given)

        assert str(caught.value) == problem
        device.run(seconds=60)
        assert acs.methods == ["Inform", ""]
