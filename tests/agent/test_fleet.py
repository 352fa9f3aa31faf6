"""Simulated devices against servers that follow a plan, keep to nothing, or serve files."""

import os
import re
import resource
import signal
import socket
import ssl
import time
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from spkg.agent.fleet import FleetOrder
from spkg.agent.fleet_figures import FleetFigures
from spkg.agent.fleet_jobs import allow_connections, run_fleet
from spkg.agent.fleet_profile import FleetShares
from spkg.download.tls import TlsContexts
from spkg.download.url import Location, Login
from spkg.errors import FailedError, HostError, UntrustedError
from tests.agent.fleet_kit import downloading, outside, profile, run_devices
from tests.support.acs import (
    Answer,
    DigestLogin,
    Plan,
    Post,
    ScriptedAcs,
    acs_fault,
    answers,
    inform_response,
    request,
    session,
)
from tests.support.cwmp_schema import assert_valid
from tests.support.fake_servers import Script, serving
from tests.support.real_servers import HOST, put_identity, server, web_root
from tests.support.web_tls import server_context

GET = request(
    "GetParameterValues",
    "<ParameterNames><string>InternetGatewayDevice.DeviceInfo.SerialNumber</string></ParameterNames>",
)
FILE = b"package" * 30_000


def failed(plan: Plan | tuple[Answer | bytes, ...], **stated: Any) -> tuple[str, str]:
    """Have one session fail, and return the kind of its failure and the words for it."""
    with ScriptedAcs(plan) as acs:
        figures = run_devices(acs.url, profile(**stated))
        words = figures.document()["failures"]
    assert figures.counts["failed"] == 1
    ((kind, failure),) = words.items()
    return kind, failure["first"].replace(acs.url, "URL")


def test_a_session_goes_as_the_specification_says() -> None:
    with ScriptedAcs(session(GET, cookie="session=abc; Path=/")) as acs:
        figures = run_devices(acs.url, profile())

    assert acs.methods == ["Inform", "", "GetParameterValuesResponse"]
    assert acs.connections == 1
    first, empty, answer = acs.posts
    assert list(first.texts("EventCode")) == ["0 BOOTSTRAP", "1 BOOT"]
    assert (first.text("SerialNumber"), first.text("RetryCount")) == ("SIM00000001", "0")
    assert (first.headers["soapaction"], "soapaction" in empty.headers) == ('""', False)
    assert empty.headers["content-length"] == "0"
    assert answer.text("Value") == "SIM00000001"
    for post in (first, answer):
        assert_valid(post.body)
    assert figures.counts["sessions"] == 1
    assert figures.calls == {"GetParameterValues": 1}
    assert figures.inform.count == figures.session.count == figures.connect.count == 1


def test_devices_inform_again_and_again() -> None:
    with ScriptedAcs(session(repeats=True)) as acs:
        run_devices(acs.url, profile(interval=1.5), most_sessions=2)

    assert [list(one.texts("EventCode")) for one in acs.informs] == [
        ["0 BOOTSTRAP", "1 BOOT"],
        ["2 PERIODIC"],
    ]
    assert acs.informs[1].at - acs.informs[0].at >= 1
    assert acs.connections == 2


def test_two_hundred_devices_are_two_hundred_devices() -> None:
    with ScriptedAcs(session(GET, repeats=True)) as acs:
        figures = run_devices(acs.url, profile(), 200, most_at_once=20)

    serials = {one.text("SerialNumber") for one in acs.informs}
    assert len(serials) == len(acs.informs) == 200
    assert (figures.counts["sessions"], figures.counts["failed"], figures.counts["connections"]) == (
        200,
        0,
        200,
    )
    assert figures.session.count == 200


def test_no_more_sessions_are_begun_than_ordered() -> None:
    with ScriptedAcs(session(repeats=True)) as acs:
        figures = run_devices(acs.url, profile(), 20, most_sessions=5)

    assert (figures.counts["sessions"], len(acs.informs)) == (5, 5)


def test_no_more_connections_are_open_than_allowed() -> None:
    open_now, most = set[int](), 0

    def plan(post: Post) -> Answer:
        nonlocal most
        open_now.add(post.connection)
        most = max(most, len(open_now))
        if post.method == "Inform":
            return Answer(body=inform_response(post.id), pause=0.02)
        open_now.discard(post.connection)
        return Answer()

    with ScriptedAcs(plan) as acs:
        figures = run_devices(acs.url, profile(), 12, most_at_once=3)

    assert figures.counts["sessions"] == 12
    assert most == 3


def test_devices_are_switched_on_over_one_interval() -> None:
    with ScriptedAcs(session(repeats=True)) as acs:
        begin = time.monotonic()
        run_devices(acs.url, profile(at_once=False, interval=2.0), 20)

    spread = sorted(one.at - begin for one in acs.informs)
    assert spread[-1] - spread[0] > 1.5
    assert {one.text("EventCode") for one in acs.informs} == {"0 BOOTSTRAP"}


def test_slow_devices_wait_before_each_post() -> None:
    with ScriptedAcs(session()) as acs:
        figures = run_devices(acs.url, profile(shares=FleetShares(slow=1, slow_delay=0.2)))

    assert acs.posts[1].at - acs.posts[0].at >= 0.2
    assert figures.session.percentile(50) >= 0.4
    assert figures.inform.percentile(50) < 0.2


def test_devices_that_drop_do_so_in_every_second_session() -> None:
    with ScriptedAcs(session(repeats=True)) as acs:
        figures = run_devices(acs.url, profile(shares=FleetShares(drop=1), interval=1.2), most_sessions=2)

    assert acs.methods == ["Inform", "", "Inform"]
    assert figures.failures == {"dropped": 1}


def test_faults_of_both_sides_are_counted_by_their_code() -> None:
    with ScriptedAcs(session(GET, request("Nonsense"))) as acs:
        figures = run_devices(acs.url, profile(shares=FleetShares(fault=1)))

    assert figures.sent == {"9002": 1, "9000": 1}
    assert figures.calls == {"GetParameterValues": 1, "other": 1}


def test_an_8005_has_the_inform_sent_again_with_a_higher_count() -> None:
    with ScriptedAcs(answers(acs_fault(8005), inform_response())) as acs:
        figures = run_devices(acs.url, profile())

    assert [one.text("RetryCount") for one in acs.informs] == ["0", "1"]
    assert figures.received == {"8005": 1}
    assert figures.counts["sessions"] == 1


@pytest.mark.parametrize("lifetime", [None, 1])
def test_digest_is_answered_on_the_same_connection(lifetime: int | None) -> None:
    login = DigestLogin(username="00D09E-SIM00000001", password="open sesame", lifetime=lifetime)
    with ScriptedAcs(session(GET), login=login) as acs:
        figures = run_devices(acs.url, profile(password="open sesame"))

    assert (figures.counts["sessions"], acs.connections) == (1, 1)
    assert login.counts == ([1, 2, 3] if lifetime is None else [1, 1, 1])


def test_a_wrong_password_is_a_failed_login() -> None:
    with ScriptedAcs(session(), login=DigestLogin()) as acs:
        wrong = run_devices(acs.url, profile(password="wrong"))
        none = run_devices(acs.url, profile())

    assert wrong.failures == none.failures == {"login": 1}
    assert wrong.examples["login"] == f"{acs.url}: login failed"
    assert acs.posts == []


def test_basic_is_not_spoken_without_tls() -> None:
    with ScriptedAcs(session(), login=DigestLogin(basic=True)) as acs:
        figures = run_devices(acs.url, profile(password="open sesame"))

    assert figures.failures == {"login": 1}
    assert all("authorization" not in one.headers for one in acs.refused)


@pytest.fixture
def secure(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    """The settings of a server, and the file of whom to trust."""
    (tmp_path / "web.pem").write_bytes(web_root().pem)
    return server_context(put_identity(tmp_path / "server.pem", server(HOST))), tmp_path / "web.pem"


def test_https_is_spoken_with_whom_the_profile_trusts(secure: tuple[ssl.SSLContext, Path]) -> None:
    tls, bundle = secure
    with ScriptedAcs(session(GET), tls=tls, login=DigestLogin(basic=True, username="u")) as acs:
        context = TlsContexts(Login(ca_bundle=bundle)).unknown
        good = run_devices(acs.url, profile(username="u", password="open sesame"), context=context)
        bad = run_devices(acs.url, profile(), context=ssl.create_default_context())

    assert good.counts["sessions"] == 1
    assert bad.failures == {"tls": 1}
    assert "the server's certificate is not trusted" in bad.examples["tls"]


def test_redirects_are_followed_for_the_session(secure: tuple[ssl.SSLContext, Path]) -> None:
    with ScriptedAcs(session(GET)) as there:
        moved = Answer(status=307, headers=(("Location", there.url),), body=b"moved")
        with ScriptedAcs(answers(moved)) as acs:
            figures = run_devices(acs.url, profile())

    assert (figures.counts["sessions"], figures.counts["connections"]) == (1, 2)
    assert (acs.methods, there.methods) == (["Inform"], ["Inform", "", "GetParameterValuesResponse"])

    tls, bundle = secure
    with ScriptedAcs(answers(moved), tls=tls) as acs:
        figures = run_devices(acs.url, profile(), context=TlsContexts(Login(ca_bundle=bundle)).unknown)
    assert figures.examples["redirect"].endswith("a redirect from https to http is not allowed")


@pytest.mark.parametrize("location", ["", "ftp://a/", "http://[", "http://u:p@a/"])
def test_a_redirect_to_nowhere_is_not_followed(location: str) -> None:
    assert failed((Answer(status=302, headers=(("Location", location),)),)) == (
        "redirect",
        "URL: invalid redirect",
    )


def test_redirects_in_a_circle_end() -> None:
    def plan(post: Post) -> Answer:
        return Answer(status=301, headers=(("Location", "/cwmp"),))

    assert failed(plan) == ("redirect", "URL: more than 5 redirects")


def test_a_connection_that_the_server_closed_is_made_again() -> None:
    with ScriptedAcs(
        answers(Answer(body=inform_response(), headers=(("Connection", "close"),), close=True))
    ) as acs:
        stated = run_devices(acs.url, profile())
    with ScriptedAcs(answers(Answer(body=inform_response(), close=True))) as acs:
        silent = run_devices(acs.url, profile(shares=FleetShares(slow=1, slow_delay=0.1)))

    for figures in (stated, silent):
        assert (figures.counts["sessions"], figures.counts["connections"]) == (1, 2)


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: %d\r\n\r\n%s",
    ],
)
def test_responses_of_other_forms_are_read(raw: bytes) -> None:
    octets = inform_response()
    with ScriptedAcs(answers(Answer(raw=raw % (len(octets), octets)))) as acs:
        figures = run_devices(acs.url, profile())

    assert (figures.counts["sessions"], acs.connections) == (1, 1)


@pytest.mark.parametrize(
    "given",
    [
        (Answer(body=inform_response(), chunked=True),),
        (Answer(raw=b"HTTP/1.1 200 OK\r\n\r\n" + inform_response(), close=True),),
        (Answer(body=inform_response(), drip=0.0005),),
        (Answer(status=500, body=acs_fault(8005)), inform_response()),
    ],
)
def test_bodies_are_read_however_they_end(given: tuple[Answer | bytes, ...]) -> None:
    with ScriptedAcs(answers(*given)) as acs:
        figures = run_devices(acs.url, profile())

    assert figures.counts["sessions"] == 1


def test_a_large_response_is_read_in_pieces() -> None:
    large = inform_response() + b" " * (3 << 20)
    with ScriptedAcs(answers(large)) as acs:
        figures = run_devices(acs.url, profile())

    assert figures.counts["sessions"] == 1


def test_a_post_that_found_the_connection_closed_is_sent_again() -> None:
    with ScriptedAcs(answers(inform_response(), Answer(cut=0))) as acs:
        figures = run_devices(acs.url, profile())

    assert acs.methods == ["Inform", "", ""]
    assert (figures.counts["sessions"], figures.counts["connections"]) == (1, 2)


def test_cookies_go_back_until_the_server_takes_them_away() -> None:
    given = ("a=1; Path=/other", "b=2", "c=", "=d", "e", f"f={'x' * 5000}")
    taken = ("a=; Max-Age=0", "b=3; HttpOnly")
    with ScriptedAcs(
        answers(
            Answer(body=inform_response(), headers=tuple(("Set-Cookie", one) for one in given)),
            Answer(body=GET, headers=tuple(("Set-Cookie", one) for one in taken)),
        )
    ) as acs:
        run_devices(acs.url, profile())

    assert [one.cookies for one in acs.posts] == [{}, {"a": "1", "b": "2"}, {"b": "3"}]


def test_a_server_to_which_each_nonce_is_stale_is_given_up() -> None:
    stale = Answer(status=401, headers=(("WWW-Authenticate", 'Digest realm="r", nonce="n", stale=true'),))
    with ScriptedAcs([stale] * 9) as acs:
        figures = run_devices(acs.url, profile(password="p"))

    assert len(acs.posts) == 3
    assert figures.examples == {"login": f"{acs.url}: login failed: the server calls each new nonce stale"}


def test_the_next_nonce_of_the_server_is_used() -> None:
    challenge = Answer(status=401, headers=(("WWW-Authenticate", 'Digest realm="r", nonce="n1"'),))
    good = Answer(body=inform_response(), headers=(("Authentication-Info", 'nextnonce="n2"'),))
    with ScriptedAcs([challenge, good]) as acs:
        run_devices(acs.url, profile(password="p"))

    assert ['nonce="n1"' in one.headers.get("authorization", "") for one in acs.posts] == [False, True, False]
    assert 'nonce="n2"' in acs.posts[2].headers["authorization"]


def test_a_reboot_is_done_and_reported() -> None:
    reboot = request("Reboot", "<CommandKey>again</CommandKey>")
    with ScriptedAcs(session(reboot)) as acs:
        run_devices(acs.url, profile(), most_sessions=2)

    events = [*zip(acs.informs[1].texts("EventCode"), acs.informs[1].texts("CommandKey"), strict=True)]
    assert events == [("1 BOOT", ""), ("M Reboot", "again")]


def test_a_session_that_breaks_after_a_reboot_was_asked_for_keeps_its_events() -> None:
    reboot = request("Reboot", "<CommandKey>again</CommandKey>")
    broken = Answer(status=500, body=b"no")
    with ScriptedAcs(answers(inform_response(), reboot, broken, inform_response())) as acs:
        run_devices(acs.url, profile(), most_sessions=2)

    assert [*acs.informs[1].texts("EventCode")] == ["0 BOOTSTRAP", "1 BOOT", "M Reboot"]


@pytest.mark.parametrize(("code", "times"), [(8005, 2), (8002, 1)])
def test_a_transfer_complete_that_is_refused_is_sent_again(code: int, times: int) -> None:
    refused = [acs_fault(code)]

    def plan(post: Post) -> Answer:
        if post.method == "TransferComplete" and refused:
            return Answer(body=refused.pop())
        return asking(post)

    with serving(Script(octets=FILE)) as url:
        asking = downloading(f"{url}/a")
        figures, told = transfers(plan)

    assert len(told) == times
    assert figures.received == {str(code): 1}


def test_a_file_server_within_tls_may_ask_for_basic(secure: tuple[ssl.SSLContext, Path]) -> None:
    tls, bundle = secure
    script = Script(octets=FILE, answers=[(401, {"WWW-Authenticate": "Basic realm=x"}, b"")])
    with (
        serving(script, tls) as plain,
        ScriptedAcs(downloading(f"{plain.replace('http:', 'https:')}/a", user="u")) as acs,
    ):
        context = TlsContexts(Login(ca_bundle=bundle)).unknown
        figures = run_devices(acs.url, profile(), most_sessions=2, context=context)

    assert figures.transfers == {"0": 1}
    assert script.asked[1].headers["authorization"] == "Basic dTpw"


def test_a_server_that_speaks_no_tls_is_said_to_speak_none() -> None:
    with ScriptedAcs() as acs:
        url = acs.url.replace("http:", "https:")
        figures = run_devices(url, profile(timeout=2.0), context=ssl.create_default_context())

    assert figures.failures.keys() <= {"tls", "connect"}
    assert figures.counts["failed"] == 1


def test_a_server_that_never_shakes_hands_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/"
        figures = run_devices(url, profile(timeout=0.3), context=ssl.create_default_context())

    assert figures.examples == {"connect": f"{url}: the connection timed out"}


def test_open_files_are_allowed_within_the_limit_of_the_system() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        allow_connections(100)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (256, hard)
        allow_connections(300)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (364, hard)
        with pytest.raises(HostError, match=f"need {hard + 64} open files, and {hard} are allowed"):
            allow_connections(hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_process_that_is_killed_fails_the_run() -> None:
    orders = [
        FleetOrder(
            acs=Location.parse("http://127.0.0.1:1/"),
            profile=profile(),
            numbers=range(index, index + 1),
            most_at_once=1,
            duration=60.0,
        )
        for index in range(2)
    ]
    before = children()

    def kill(_done: int, _failed: int) -> None:
        for one in sorted(children() - before)[:1]:
            os.kill(one, signal.SIGKILL)

    with pytest.raises(FailedError, match=r"a process of the fleet was ended by signal 9 \(SIGKILL\)"):
        run_fleet(orders, outside(), kill, period=0.2)


def children() -> set[int]:
    """Return the processes that this one has begun."""
    lists = [one.read_text() for one in Path("/proc/self/task").glob("*/children")]
    return {int(one) for text in lists for one in text.split()}


@pytest.mark.parametrize("number", [1, 2])
def test_several_processes_report_progress_together(number: int) -> None:
    told: list[tuple[int, int]] = []
    orders = [
        FleetOrder(
            acs=Location.parse("http://127.0.0.1:1/"),
            profile=profile(),
            numbers=range(index, index + 3),
            most_at_once=3,
            duration=1.0,
        )
        for index in range(number)
    ]

    found = run_fleet(orders, outside(), lambda done, failed: told.append((done, failed)), period=0.2)

    assert told[-1] == (0, 3 * number)
    assert len(found.workers) == number
    assert found.figures.failures == {"connect": 3 * number}


HOSTILE = [
    (Answer(raw=b"hello\r\n\r\n"), "protocol", "URL: not valid HTTP: expected HTTP/1.1, got 'hello'"),
    (
        Answer(raw=b"HTTP/2 200 OK\r\n\r\n"),
        "protocol",
        "URL: not valid HTTP: expected HTTP/1.1, got 'HTTP/2 200 OK'",
    ),
    (
        Answer(raw=b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n"),
        "protocol",
        "URL: not valid HTTP: expected a header, got 'nonsense'",
    ),
    (
        Answer(raw=b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 101 + b"\r\n"),
        "protocol",
        "URL: not valid HTTP: more than 100 headers",
    ),
    (
        Answer(raw=b"HTTP/1.1 100 Go\r\n\r\n" * 101),
        "protocol",
        "URL: not valid HTTP: too many responses of status 1xx",
    ),
    (
        Answer(raw=b"HTTP/1.1 200 OK\r\nA: ", endless=b"b" * 4096),
        "protocol",
        "URL: the headers are longer than 65536 bytes",
    ),
    (
        Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"),
        "protocol",
        "URL: not valid HTTP: expected a number as Content-Length, got '-1'",
    ),
    (
        Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"),
        "protocol",
        "URL: not valid HTTP: expected a number as Content-Length, got '2'",
    ),
    (
        Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 4194305\r\n\r\n"),
        "protocol",
        "URL: the response is longer than 4194304 bytes",
    ),
    (
        Answer(raw=b"HTTP/1.1 200 OK\r\n\r\n", endless=b" " * 65536),
        "protocol",
        "URL: the response is longer than 4194304 bytes",
    ),
    (
        Answer(
            raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            endless=b"10000\r\n" + b" " * 65536 + b"\r\n",
        ),
        "protocol",
        "URL: the response is longer than 4194304 bytes",
    ),
    (
        Answer(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"),
        "protocol",
        "URL: not valid HTTP: expected the Transfer-Encoding chunked, got 'gzip'",
    ),
    (
        Answer(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"),
        "protocol",
        "URL: not valid HTTP: a chunk without a length",
    ),
    (
        Answer(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc"),
        "protocol",
        "URL: not valid HTTP: a chunk without an end",
    ),
    (
        Answer(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", endless=b"A: b\r\n"),
        "protocol",
        "URL: not valid HTTP: too many trailers",
    ),
    (
        Answer(body=inform_response(), headers=(("Content-Encoding", "gzip"),)),
        "protocol",
        "URL: expected a body without encoding, got gzip",
    ),
    (
        Answer(body=inform_response(), headers=tuple(("Set-Cookie", f"c{index}=1") for index in range(65))),
        "protocol",
        "URL: the server set more than 64 cookies",
    ),
    (Answer(body=inform_response(), cut=200), "connect", "URL: the response ended early"),
    (Answer(cut=0), "connect", "URL: the server closed the connection without a response"),
    (Answer(body=b"<html>", status=200), "http", "URL: expected SOAP, got a web page"),
    (Answer(status=503, body=b"later"), "http", "URL: expected HTTP status 200 or 204, got 503 later"),
    (Answer(status=404, body=b"<html>x"), "http", "URL: expected HTTP status 200 or 204, got 404"),
    (Answer(body=b""), "session", "expected InformResponse, got an empty response [TR-069 3.7.2.1]"),
]


@pytest.mark.parametrize(("answer", "kind", "words"), HOSTILE, ids=[words for _, _, words in HOSTILE])
def test_a_hostile_server_makes_a_failure_and_nothing_else(answer: Answer, kind: str, words: str) -> None:
    assert failed((answer,)) == (kind, words)


@pytest.mark.parametrize("body", [b"<x/>", b"\x00\xff", b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"])
def test_what_is_no_envelope_is_said_to_be_none(body: bytes) -> None:
    kind, words = failed((body,))

    assert kind == "session"
    assert words.startswith("the ACS answered something else than envelopes: ")


@pytest.mark.parametrize(
    "answer",
    [
        Answer(stall=True, raw=b""),
        Answer(stall=True, raw=b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<"),
        Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", endless=b"x", drip=0.05),
    ],
)
def test_a_server_that_stalls_or_drips_is_given_up_in_time(answer: Answer) -> None:
    begin = time.monotonic()

    assert failed((answer,), timeout=0.5) == ("timeout", "URL: no complete response in time")

    assert time.monotonic() - begin < 20


def test_what_can_not_be_reached_is_a_failure_to_connect() -> None:
    figures = run_devices("http://127.0.0.1:1/", profile())

    assert figures.examples == {"connect": "http://127.0.0.1:1/: connection refused"}


def test_retries_are_counted_and_retry_after_is_heeded() -> None:
    busy = Answer(status=503, headers=(("Retry-After", "60"),))
    with ScriptedAcs(answers(busy)) as acs:
        figures = run_devices(acs.url, profile(interval=1.0), most_sessions=None, duration=2.0)

    assert len(acs.posts) == 1
    assert (figures.counts["failed"], figures.counts["unfinished"]) == (1, 0)


def test_what_runs_at_the_end_is_unfinished() -> None:
    with ScriptedAcs(answers(Answer(stall=True, raw=b""))) as acs:
        figures = run_devices(acs.url, profile(timeout=1.0), most_sessions=None, duration=0.8)
        acs.wait(lambda acs: bool(acs.posts))

    assert figures.counts["unfinished"] + figures.counts["failed"] == 1


# Downloads.


def transfers(plan: Plan, count: int = 1, **stated: Any) -> tuple[FleetFigures, list[Post]]:
    verify = stated.pop("verify", None)
    with ScriptedAcs(plan) as acs:
        figures = run_devices(acs.url, profile(**stated), count, most_sessions=2 * count, verify=verify)
    return figures, [one for one in acs.posts if one.method == "TransferComplete"]


def refuse_all(file: BinaryIO) -> None:
    raise UntrustedError(f"{len(file.read())} bytes of nobody")


@pytest.mark.parametrize(("kind", "restarts"), [("1 Firmware Upgrade Image", True), ("2 Web Content", False)])
def test_a_download_is_fetched_and_reported(kind: str, *, restarts: bool) -> None:
    with serving(Script(octets=FILE)) as url, ScriptedAcs(downloading(f"{url}/a", len(FILE), kind)) as acs:
        figures = run_devices(acs.url, profile(), most_sessions=2)

    told = [one for one in acs.posts if one.method == "TransferComplete"]
    assert [one.text("FaultCode") for one in told] == ["0"]
    assert_valid(told[0].body)
    assert figures.transfers == {"0": 1}
    assert figures.counts["downloaded_bytes"] == len(FILE)
    assert ("1 BOOT" in acs.informs[1].texts("EventCode")) is restarts


def test_sessions_go_on_beside_a_download() -> None:
    slow = profile(interval=1.2, shares=FleetShares(slow=1, slow_delay=0.4))
    with (
        serving(Script(octets=b"x" * 50, drip=0.05)) as url,
        ScriptedAcs(downloading(f"{url}/a")) as acs,
    ):
        figures = run_devices(acs.url, slow, most_sessions=3)

    events = [{*one.texts("EventCode")} for one in acs.informs]
    assert events[1] == {"2 PERIODIC"}
    assert "M Download" in events[2]
    assert figures.counts["sessions"] == 3
    assert figures.transfers["0"] >= 1


def test_each_device_fetches_its_file_and_one_is_verified() -> None:
    seen: list[bytes] = []
    script = Script(octets=FILE)
    with serving(script) as url:
        figures, told = transfers(
            downloading(f"{url}/a"), 5, verify=lambda file: seen.append(sha256(file.read()).digest())
        )

    assert seen == [sha256(FILE).digest()]
    assert len(told) == 5
    assert figures.transfers == {"0": 5}
    assert 5 <= len(script.asked) <= 9  # those that came before the first was verified fetched it twice


def test_a_package_that_is_not_trusted_is_told() -> None:
    with serving(Script(octets=FILE)) as url:
        figures, told = transfers(downloading(f"{url}/a"), verify=refuse_all)

    assert figures.transfers == {"9010": 1}
    assert [(one.text("FaultCode"), one.text("FaultString")) for one in told] == [
        ("9010", f"{len(FILE)} bytes of nobody")
    ]


def test_a_defect_ends_the_fleet() -> None:
    def defective(_file: BinaryIO) -> None:
        raise ZeroDivisionError("simulated")

    with serving(Script(octets=FILE)) as url, pytest.raises(ZeroDivisionError, match="simulated"):
        transfers(downloading(f"{url}/a"), verify=defective)


@pytest.mark.parametrize(
    ("script", "size", "code", "words"),
    [
        (Script(octets=FILE), 5, "9010", "URL/a: expected 5 bytes, got 210000"),
        (Script(octets=FILE, cuts=[1000]), 0, "9010", "URL/a: the response ended early"),
        (Script(octets=b"x" * 300_000), 0, "9010", "URL/a: the response is longer than 250000 bytes"),
        (
            Script(octets=b"x" * 300_000, length=False),
            0,
            "9010",
            "URL/a: the response is longer than 250000 bytes",
        ),
        (
            Script(octets=b"", answers=[(404, {}, b"")]),
            0,
            "9010",
            "URL/a: expected HTTP status 200, got 404",
        ),
        (
            Script(octets=b"", answers=[(401, {"WWW-Authenticate": "Bearer"}, b"")]),
            0,
            "9012",
            "URL/a: login failed: the server asks for neither digest nor basic",
        ),
        (
            Script(octets=b"", answers=[(401, {"WWW-Authenticate": "Basic realm=x"}, b"")]),
            0,
            "9012",
            "URL/a: login failed: the server requires the password in clear text",
        ),
        (
            Script(octets=b"", answers=[(302, {"Location": "ftp://x/"}, b"")]),
            0,
            "9010",
            "URL/a: invalid redirect",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value else None,
)
def test_a_download_that_fails_is_told_with_its_fault(
    script: Script, size: int, code: str, words: str
) -> None:
    with serving(script) as url:
        figures, told = transfers(downloading(f"{url}/a", size, user="u"), max_size=250_000)
        found = [(one.text("FaultCode"), (one.text("FaultString") or "").replace(url, "URL")) for one in told]

    assert found == [(code, words)]
    assert figures.transfers == {code: 1}
    assert figures.counts["downloaded_bytes"] == 0


def test_a_file_server_that_wants_digest_gets_it() -> None:
    challenge = {"WWW-Authenticate": 'Digest realm="files", nonce="n", qop="auth"'}
    script = Script(octets=FILE, answers=[(302, {"Location": "/b"}, b""), (401, challenge, b"")])
    with serving(script) as url:
        figures, _ = transfers(downloading(f"{url}/a", user="u"))

    assert figures.transfers == {"0": 1}
    assert [one.path for one in script.asked] == ["/a", "/b", "/b"]
    assert re.match(r'Digest username="u".* uri="/b"', script.asked[2].headers["authorization"])
