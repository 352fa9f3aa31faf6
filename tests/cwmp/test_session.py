"""A session, clause by clause (S1 to S21, E4, E11, E14, E17, E18) and problem by problem of real servers."""

from collections.abc import Sequence

import pytest

from spkg.cwmp.envelopes import Message
from spkg.cwmp.session import BrokenSessionError, Over, Post, Received, Request, Session
from tests.support.cwmp_session import INFORM, answered, asked, fault, flow, ours, said

COMPLETE = ours("TransferComplete", "tc1")
ANOTHER = ours("TransferComplete", "tc2")
METHODS = ours("GetRPCMethods", "methods")
WELCOME = answered(INFORM)


def begun(*requests: Request, welcome: Sequence[Message] = (WELCOME,), outstanding: int = 1) -> Session:
    """Return a session whose Inform was answered."""
    session = Session(INFORM, requests, outstanding=outstanding)
    session.next_post()
    session.received(welcome)
    return session


def posts(session: Session, *responses: Sequence[Message]) -> list[str]:
    """Return what is posted for these responses, in turn; each call is answered with its ID."""
    found: list[str] = []
    for response in (*responses, None):
        post = session.next_post()
        if isinstance(post, Over):
            found.append("over")
            break
        found.append(" ".join(octets.decode() for octets in post.envelopes) or "nothing")
        if response is not None:
            for call in session.received(response).calls:
                session.answer(f"answer {call.id}".encode())
    return found


def broken(session: Session, *messages: Message) -> str:
    with pytest.raises(BrokenSessionError) as caught:
        session.received(messages)
    return str(caught.value)


def test_a_session_begins_with_the_inform_alone_s1_s2() -> None:
    session = Session(INFORM, [COMPLETE], outstanding=9)

    assert session.next_post() == Post((INFORM.octets,))


def test_requests_are_answered_in_their_order_over_envelopes_and_posts_s6() -> None:
    session = begun(welcome=[WELCOME, asked("a"), asked("b")])
    session.answer(b"answer a")
    session.answer(b"answer b")

    assert posts(session, [asked("c"), asked("d")], [], [], []) == [
        "answer a",
        "answer b",
        "answer c",
        "answer d",
        "over",
    ]


def test_no_answer_waits_for_the_answer_to_a_request_of_ours_s7() -> None:
    session = begun(COMPLETE)

    # The ACS asks first, twice, and answers TransferComplete only after that.
    assert posts(session, [asked("a")], [asked("b")], [answered(COMPLETE)], []) == [
        "request tc1",
        "answer a",
        "answer b",
        "nothing",
        "over",
    ]


def test_our_requests_stand_among_our_answers_s8() -> None:
    session = begun(COMPLETE, welcome=[WELCOME, asked("a")])
    session.answer(b"answer a")

    assert posts(session, [flow()], [answered(COMPLETE), asked("b")], []) == [
        "answer a",
        "request tc1",
        "answer b",
        "over",
    ]


def test_our_requests_go_before_the_first_empty_post_s8() -> None:
    session = begun(COMPLETE, ANOTHER)

    assert posts(session, [answered(COMPLETE)], [answered(ANOTHER)], [])[:3] == [
        "request tc1",
        "request tc2",
        "nothing",
    ]


def test_a_hold_keeps_every_request_back_until_it_ends_s9() -> None:
    session = begun(COMPLETE, welcome=[answered(INFORM, hold=True)])

    assert posts(session, [asked("a", hold=True)], [flow(hold=True)], [flow()], [answered(COMPLETE)], []) == [
        "nothing",
        "answer a",
        "nothing",
        "request tc1",
        "nothing",
        "over",
    ]


def test_the_last_envelope_of_a_response_decides_about_a_hold_s10() -> None:
    released = begun(COMPLETE, welcome=[answered(INFORM, hold=True), flow(hold=True), flow()])
    held = begun(COMPLETE, welcome=[WELCOME, flow(), flow(hold=True)])

    assert posts(released) == ["request tc1"]
    assert posts(held) == ["nothing"]


def test_an_empty_response_ends_a_hold_s10() -> None:
    session = begun(COMPLETE, welcome=[answered(INFORM, hold=True)])

    assert posts(session, [], [answered(COMPLETE)], []) == ["nothing", "request tc1", "nothing", "over"]


def test_a_post_is_not_empty_while_somebody_waits_s11() -> None:
    session = begun(COMPLETE, welcome=[answered(INFORM, hold=True), asked("a", hold=True)])
    session.answer(b"answer a")

    assert posts(session, [flow()])[:2] == ["answer a", "request tc1"]


def test_a_post_is_empty_where_nobody_has_anything_s12() -> None:
    assert posts(begun()) == ["nothing"]


def test_a_session_ends_after_an_empty_response_s13() -> None:
    assert posts(begun(), []) == ["nothing", "over"]


def test_a_session_goes_on_while_one_condition_is_missing_s14() -> None:
    assert posts(begun(), [asked("a")], [flow()], []) == ["nothing", "answer a", "nothing", "over"]


def test_a_response_that_never_comes_is_no_answer_s15() -> None:
    session = Session(INFORM)
    session.next_post()

    with pytest.raises(ValueError, match="the response to the last post is still to come"):
        session.next_post()


def test_a_reboot_waits_until_the_session_is_over_s16() -> None:
    session = begun()

    assert posts(session, [asked("r", "Reboot")], [asked("a")], []) == [
        "nothing",
        "answer r",
        "answer a",
        "over",
    ]


def test_a_session_that_broke_is_begun_again_from_the_start_s17() -> None:
    first = begun(COMPLETE)
    first.next_post()
    broken(first, answered(METHODS))

    assert posts(Session(INFORM, [COMPLETE]), [WELCOME], [answered(COMPLETE)], []) == [
        "request inform",
        "request tc1",
        "nothing",
        "over",
    ]


def test_nothing_is_posted_once_nobody_has_anything_to_say_s18_s19() -> None:
    session = begun(COMPLETE)
    posts(session, [answered(COMPLETE)], [])

    assert session.next_post() == Over()
    assert session.next_post() == Over()


def test_no_more_requests_ends_a_session_without_an_empty_response_s20() -> None:
    assert posts(begun(welcome=[answered(INFORM, no_more=True)])) == ["over"]


def test_no_more_requests_with_a_request_ends_it_after_the_answer_s20() -> None:
    session = begun()

    assert posts(session, [asked("a", no_more=True)], [flow(no_more=True)]) == ["nothing", "answer a", "over"]


def test_no_more_requests_does_not_cut_off_ours_s20() -> None:
    session = begun(COMPLETE, welcome=[answered(INFORM, no_more=True, hold=True)])

    assert posts(session, [flow(no_more=True)], [answered(COMPLETE, no_more=True)]) == [
        "nothing",
        "request tc1",
        "over",
    ]


def test_a_later_envelope_takes_no_more_requests_back_s20() -> None:
    session = begun(welcome=[answered(INFORM, no_more=True), flow()])

    assert posts(session, [asked("a")], []) == ["nothing", "answer a", "over"]


def test_so_many_of_our_requests_are_unanswered_at_most_s21() -> None:
    session = begun(COMPLETE, ANOTHER, METHODS, outstanding=2)

    assert posts(session, [flow()], [flow()], [answered(COMPLETE)], [answered(ANOTHER)]) == [
        "request tc1",
        "request tc2",
        "nothing",
        "request methods",
        "nothing",
    ]


@pytest.mark.parametrize("outstanding", [0, -1])
def test_at_least_one_request_may_be_unanswered_s21(outstanding: int) -> None:
    with pytest.raises(ValueError, match="at least one request has to be allowed"):
        Session(INFORM, outstanding=outstanding)


def test_a_request_may_come_while_the_session_runs() -> None:
    session = begun()
    session.next_post()
    session.add(METHODS)
    session.received([])

    assert posts(session, [answered(METHODS)], []) == ["request methods", "nothing", "over"]


def test_each_completed_transfer_is_told_in_the_session_e11() -> None:
    session = begun(COMPLETE, ANOTHER)
    session.next_post()

    assert session.received([answered(COMPLETE)]) == Received((), ((COMPLETE, answered(COMPLETE)),))
    assert posts(session, [answered(ANOTHER)], []) == ["request tc2", "nothing", "over"]


def test_kicked_is_called_in_the_session_of_its_event_e14() -> None:
    kicked = ours("Kicked", "kicked")
    session = begun(kicked)

    assert posts(session, [answered(kicked)], []) == ["request kicked", "nothing", "over"]


def test_a_request_that_failed_is_no_reason_to_break_off_e17() -> None:
    session = begun(COMPLETE, ANOTHER)
    session.next_post()
    refusal = fault(COMPLETE, 8002)

    assert session.received([refusal]).answers == ((COMPLETE, refusal),)
    assert posts(session, [answered(ANOTHER)], []) == ["request tc2", "nothing", "over"]


def test_a_retry_request_is_obeyed_at_once_e18() -> None:
    session = begun(COMPLETE, ANOTHER)
    session.next_post()

    assert session.received([fault(COMPLETE, 8005)]) == Received()
    assert posts(session, [answered(COMPLETE)], [answered(ANOTHER)]) == [
        "request tc1",
        "request tc2",
        "nothing",
    ]


def test_a_retry_request_is_obeyed_three_times_e18() -> None:
    session = begun(COMPLETE)
    again = [fault(COMPLETE, 8005)]

    assert posts(session, again, again, again) == ["request tc1"] * 4
    assert session.received(again).answers == ((COMPLETE, again[0]),)
    assert posts(session, []) == ["nothing", "over"]


def test_a_retry_request_does_not_break_a_hold_e18() -> None:
    session = begun(COMPLETE)

    assert posts(session, [fault(COMPLETE, 8005, hold=True)], [flow()])[:3] == [
        "request tc1",
        "nothing",
        "request tc1",
    ]


def test_an_inform_is_repeated_with_another_retry_count_e4_e18() -> None:
    count = iter(range(1, 9))
    session = Session(INFORM, again=lambda _: ours("Inform", f"inform{next(count)}"))
    again = ours("Inform", "inform1")

    assert posts(session, [fault(INFORM, 8005, hold=True)], [answered(again)]) == [
        "request inform",
        "request inform1",
        "nothing",
    ]


def test_an_inform_is_repeated_three_times_e18() -> None:
    session = Session(INFORM)
    again = [fault(INFORM, 8005)]

    assert posts(session, again, again, again) == ["request inform"] * 4
    assert broken(session, *again) == "expected InformResponse, got fault 8005 'no' [TR-069 A.3.3.1]"


@pytest.mark.parametrize(
    ("messages", "got"),
    [
        ([], "an empty response [TR-069 3.7.2.1]"),
        ([flow()], "an envelope with headers alone [TR-069 3.7.2.1]"),
        ([asked("a")], "GetRPCMethods [TR-069 3.7.2.1]"),
        ([asked("a"), WELCOME], "GetRPCMethods [TR-069 3.7.2.1]"),
        ([fault(INFORM, 8001)], "fault 8001 'no' [TR-069 A.3.3.1]"),
        ([said("<s:Fault/>", "inform")], "fault 8002 '' [TR-069 A.3.3.1]"),
        ([answered(ours("TransferComplete", "inform"))], "TransferCompleteResponse [TR-069 3.5]"),
    ],
    ids=["p46-empty", "flow", "call", "call-first", "fault", "fault-without-code", "other"],
)
def test_an_inform_without_its_response_breaks_the_session(messages: list[Message], got: str) -> None:
    session = Session(INFORM)
    session.next_post()

    assert broken(session, *messages) == f"expected InformResponse, got {got}"


def test_an_answer_without_an_id_is_ours() -> None:
    session = begun(COMPLETE)

    assert posts(session, [said("<c:TransferCompleteResponse/>")], []) == ["request tc1", "nothing", "over"]


@pytest.mark.parametrize("identity", ["", " ", "\n tc1\t"])
def test_blanks_around_an_id_do_not_matter(identity: str) -> None:
    session = begun(COMPLETE)

    assert posts(session, [said("<c:TransferCompleteResponse/>", identity)], [])[-1] == "over"


def test_an_answer_with_another_id_breaks_the_session() -> None:
    session = begun(COMPLETE)
    session.next_post()

    assert broken(session, said("<c:TransferCompleteResponse/>", "x\u202ey")) == (
        "expected the answer to TransferComplete with the ID 'tc1', "
        r"got TransferCompleteResponse with the ID 'x\u202ey' [TR-069 3.5]"
    )


def test_an_answer_that_nobody_asked_for_breaks_the_session() -> None:
    session = begun()
    session.next_post()

    assert broken(session, fault(COMPLETE, 8005)) == (
        "expected no answer, because no request waits for one, got a fault [TR-069 3.7.2.2]"
    )


def test_transfer_complete_is_answered_with_another_name_p28() -> None:
    session = begun(COMPLETE)
    other = said("<c:AutonomousTransferCompleteResponse/>", "tc1")
    session.next_post()

    assert session.received([other]).answers == ((COMPLETE, other),)


def test_the_answer_to_another_request_is_not_that_to_transfer_complete() -> None:
    session = begun(COMPLETE, METHODS, outstanding=2)
    session.next_post()
    session.received([flow()])
    session.next_post()

    assert broken(session, said("<c:GetRPCMethodsResponse/>")) == (
        "expected TransferCompleteResponse, got GetRPCMethodsResponse [TR-069 3.5]"
    )


def test_another_request_is_not_answered_with_another_name() -> None:
    session = begun(METHODS)
    session.next_post()

    assert broken(session, said("<c:InformResponse/>", "methods")) == (
        "expected GetRPCMethodsResponse, got InformResponse [TR-069 3.5]"
    )


def test_answers_out_of_order_are_told_apart_by_their_id() -> None:
    session = begun(COMPLETE, METHODS, outstanding=2)
    session.next_post()
    session.received([flow()])
    session.next_post()

    assert session.received([answered(METHODS), answered(COMPLETE)]).answers == (
        (METHODS, answered(METHODS)),
        (COMPLETE, answered(COMPLETE)),
    )


def test_an_answer_that_stays_out_breaks_the_session() -> None:
    session = begun(COMPLETE)

    assert posts(session, [])[1] == "nothing"  # the conditions of 3.7.1.4 are not met, so it goes on
    assert broken(session) == "expected TransferCompleteResponse, got an empty response [TR-069 3.7.2.3]"


def test_a_server_that_only_sends_headers_does_not_hold_us_for_ever() -> None:
    session = begun(COMPLETE, welcome=[answered(INFORM, hold=True)])

    assert posts(session, *[[flow(hold=True)]] * 32) == ["nothing"] * 33
    assert broken(session, flow(hold=True)) == (
        "expected a request, an answer or an empty response, "
        "got 33 responses in a row with headers alone [TR-069 3.7.2.2]"
    )


def test_a_server_may_ask_for_as_long_as_it_likes() -> None:
    session = begun()

    assert posts(session, *[[asked("a")], [flow()]] * 99)[1::2] == ["answer a"] * 99


def test_a_server_asks_for_the_rest_of_its_life_only_while_it_is_answered() -> None:
    session = begun(welcome=[WELCOME, asked("a"), asked("b")])
    session.answer(b"answer a")

    with pytest.raises(ValueError, match="1 call of the ACS not answered"):
        session.next_post()


def test_a_call_has_one_answer() -> None:
    with pytest.raises(ValueError, match="every call has its answer"):
        begun().answer(b"answer")


def test_a_response_belongs_to_a_post() -> None:
    with pytest.raises(ValueError, match="nothing has been posted"):
        Session(INFORM).received([WELCOME])


def test_nothing_is_added_to_a_session_that_is_over() -> None:
    session = begun()
    posts(session, [])

    with pytest.raises(ValueError, match="the session is over"):
        session.add(COMPLETE)
