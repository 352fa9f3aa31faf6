"""Sessions with ACSs that are odd: the client and the session together, problem by problem."""

from time import monotonic
from typing import Any, Final

import pytest

from spkg.agent.client import AcsClient
from spkg.agent.contact import ContactError
from spkg.cwmp.calls import encode_answer, encode_fault
from spkg.cwmp.envelopes import read_message, split_envelopes
from spkg.cwmp.faults import FaultCode, MethodFaultError
from spkg.cwmp.session import BrokenSessionError, Over, Request, Session
from tests.agent.kit import acs_settings
from tests.support import acs as say
from tests.support.acs import DigestLogin, Plan, ScriptedAcs
from tests.support.acs_problems import (
    PROBLEMS,
    acs_that_kills_a_worker,
    busy,
    other_prefixes,
    strict_order,
    tied_to_a_connection,
)

LOGGED_IN: Final = ("00D09E-0123456789", "open sesame")
REBOOT: Final = say.request("Reboot", "<CommandKey>a  b </CommandKey>", "acs-7")


def ours(method: str, name: str) -> Request:
    return Request(method, say.request(method, id=name), name)


def hold(url: str, *requests: Request) -> list[Any]:
    """Hold one session; every call but Reboot is answered with a fault.  Return what the ACS called."""
    called: list[Any] = []
    session = Session(ours("Inform", "i-1"), requests)
    with AcsClient(acs_settings(timeout=5), monotonic).open(url, *LOGGED_IN) as connection:
        while not isinstance(post := session.next_post(), Over):
            came = connection.post(post.envelopes)
            messages = [read_message(one) for one in split_envelopes(came)]
            for call in session.received(messages).calls:
                called.append(call)
                unknown = MethodFaultError(FaultCode.METHOD_NOT_SUPPORTED, "not here")
                reboot = call.name == "Reboot"
                session.answer(encode_answer(call, {}) if reboot else encode_fault(call, unknown))
    return called


def held(plan: Plan, *requests: Request) -> ScriptedAcs:
    """Hold one session with an ACS that wants a digest, too."""
    with ScriptedAcs(plan, login=DigestLogin()) as acs:
        hold(acs.url, *requests)
    return acs


COMPLETE: Final = (ours("TransferComplete", "t-1"), ours("TransferComplete", "t-2"))


def test_requests_of_ours_go_before_the_first_empty_post() -> None:  # P5
    acs = held(strict_order(REBOOT), *COMPLETE)

    assert acs.methods == ["Inform", "TransferComplete", "TransferComplete", "", "RebootResponse"]


def test_all_that_is_asked_is_of_one_session_and_one_connection() -> None:  # P6, P7
    acs = held(tied_to_a_connection(REBOOT, say.request("GetRPCMethods"), REBOOT), *COMPLETE)

    assert len(acs.informs) == 1
    assert {one.connection for one in acs.posts} == {1}
    assert acs.methods[-3:] == ["RebootResponse", "Fault", "RebootResponse"]


def test_other_prefixes_are_understood() -> None:  # P40
    assert held(other_prefixes(REBOOT)).methods == ["Inform", "", "RebootResponse"]


def test_an_inform_answered_with_nothing_is_a_broken_session() -> None:  # P46
    with ScriptedAcs(PROBLEMS[46][1]()) as acs, pytest.raises(BrokenSessionError):
        hold(acs.url)

    assert acs.methods == ["Inform"]


def test_a_server_that_always_fails_is_posted_to_once() -> None:  # P9: when to come again is not for here
    with ScriptedAcs(PROBLEMS[9][1]()) as acs, pytest.raises(ContactError) as caught:
        hold(acs.url)

    assert caught.value.status == 500
    assert acs.methods == ["Inform"]


def test_a_server_without_time_says_when_to_come_again() -> None:
    with ScriptedAcs(busy(60)) as acs, pytest.raises(ContactError) as caught:
        hold(acs.url)

    assert caught.value.retry_after == 60


def test_a_command_key_keeps_its_blanks() -> None:  # P38
    with ScriptedAcs(PROBLEMS[38][1]()) as acs:
        (call,) = hold(acs.url)

    assert call.body.findtext("CommandKey") == "a  b "


def test_a_worker_that_dies_of_a_request_is_a_closed_connection() -> None:
    with ScriptedAcs(acs_that_kills_a_worker()) as acs, pytest.raises(ContactError) as caught:
        hold(acs.url, ours("RequestDownload", "r-1"))

    assert caught.value.problem.endswith("the server closed the connection without a response")


@pytest.mark.parametrize("number", sorted({*PROBLEMS} - {9, 46}), ids=lambda number: f"P{number}")
def test_a_session_with_an_odd_acs_comes_to_its_end(number: int) -> None:
    _, plan = PROBLEMS[number]
    with ScriptedAcs(plan(), login=DigestLogin()) as acs:
        hold(acs.url, COMPLETE[0])
        hold(acs.url)

    assert len(acs.informs) == 2
    assert acs.posts[-1].method != "Inform"
