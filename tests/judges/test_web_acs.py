"""PHP's SOAP as a whole ACS, behind Apache's digest: what they read of a session, and what we read."""

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from spkg.agent.client import AcsClient
from spkg.cwmp.calls import decode_call, encode_answer, encode_fault, encode_request
from spkg.cwmp.envelopes import read_message, split_envelopes
from spkg.cwmp.events import Event
from spkg.cwmp.faults import FaultCode, MethodFaultError, ParameterFault
from spkg.cwmp.session import Over, Request, Session
from spkg.cwmp.values import DeviceId, FaultStruct, ParameterInfo, ParameterValue
from tests.agent.kit import acs_settings
from tests.judges.programs import missing, must, require
from tests.support.web_acs import NONCE_LIFE, PASSWORD, USERNAME, Apache, PhpAcs, apache_digest, php_acs

TIME: Final = datetime(2026, 5, 1, 12, tzinfo=UTC)
CODE: Final = "InternetGatewayDevice.DeviceInfo.ProvisioningCode"
INTERVAL: Final = "InternetGatewayDevice.ManagementServer.PeriodicInformInterval"
PARAMETERS: Final = (
    ParameterValue(CODE, "string", "A\tB"),
    ParameterValue(INTERVAL, "unsignedInt", "600"),
)
pytestmark = [pytest.mark.judge("php", "apache2"), pytest.mark.part("judges")]


@pytest.fixture
def acs(tmp_path: Path) -> Iterator[PhpAcs]:
    require("php")
    if "soap" not in must("php", "-m", cwd=tmp_path).text.split():
        missing("the extension soap of PHP is not installed")
    desk = tmp_path / "php"
    desk.mkdir()
    with php_acs(desk) as running:
        yield running


@pytest.fixture
def apache(tmp_path: Path, acs: PhpAcs) -> Iterator[Apache]:
    work = tmp_path / "apache"
    work.mkdir()
    tmp_path.chmod(0o755)
    with apache_digest(work, acs.port) as running:
        yield running


def inform(*events: Event) -> Request:
    values = {
        "DeviceId": DeviceId(
            manufacturer="Ärger & Söhne <1>",
            oui="00D09E",
            product_class="Gateway",
            serial_number="0123456789",
        ),
        "Event": events,
        "MaxEnvelopes": 1,
        "CurrentTime": TIME,
        "RetryCount": 0,
        "ParameterList": (
            ParameterValue(CODE, "string", "A\tB"),
            ParameterValue(INTERVAL, "unsignedInt", "600"),
        ),
    }
    return Request("Inform", encode_request("Inform", values, "i-1"), "i-1")


TOLD: Final = {
    "CommandKey": "a  b ",
    "FaultStruct": FaultStruct(9010, "installed, but <rolled back>"),
    "StartTime": TIME,
    "CompleteTime": TIME,
}
COMPLETE: Final = Request("TransferComplete", encode_request("TransferComplete", TOLD, "t-1"), "t-1")


def answer(octets: bytes, asked: list[Any]) -> bytes:
    """Answer a call as a device that has two parameters."""
    try:
        call = decode_call(read_message(octets))
    except MethodFaultError as exc:
        return encode_fault(read_message(octets), exc)
    asked.append((call.method, dict(call.arguments)))
    values: dict[str, Any] = {}
    match call.method:
        case "GetParameterNames":
            values = {"ParameterList": (ParameterInfo(CODE, writable=True),)}
        case "GetParameterValues":
            values = {"ParameterList": (ParameterValue(CODE, "string", "ABCD"),)}
        case "SetParameterValues":
            if any(one.name not in {CODE, INTERVAL} for one in call.arguments["ParameterList"]):
                unknown = (ParameterFault("X", FaultCode.INVALID_NAME, "no such parameter"),)
                return encode_fault(call, MethodFaultError(FaultCode.INVALID_ARGUMENTS, "wrong", unknown))
            values = {"Status": 0}
    return encode_answer(call, values)


def hold_session(url: str, *requests: Request, pause: float = 0) -> tuple[list[Any], int]:
    """Hold one session; return what was asked, and how many connections it took."""
    asked: list[Any] = []
    session = Session(inform(Event("1 BOOT"), Event("M Reboot", "k 1")), requests)
    client = AcsClient(acs_settings(), time.monotonic)
    with client.open(url, USERNAME, PASSWORD) as connection:
        while not isinstance(post := session.next_post(), Over):
            came = connection.post(post.envelopes)
            received = session.received([read_message(one) for one in split_envelopes(came)])
            for call in received.calls:
                session.answer(answer(call.octets, asked))
            time.sleep(pause)
        return asked, connection.connections


PLAN: Final[Sequence[tuple[str, Sequence[tuple[str, Any]]]]] = (
    ("GetParameterNames", [("ParameterPath", ""), ("NextLevel", True)]),
    ("GetParameterValues", [("ParameterNames", [CODE, INTERVAL])]),
    (
        "SetParameterValues",
        [
            (
                "ParameterList",
                {
                    "struct": "ParameterValueStruct",
                    "members": [
                        {"Name": CODE, "Value": "ABCD"},
                        {"Name": INTERVAL, "Value": {"type": "unsignedint", "value": 900}},
                    ],
                },
            ),
            ("ParameterKey", "k-1"),
        ],
    ),
    (
        "SetParameterValues",
        [
            ("ParameterList", {"struct": "ParameterValueStruct", "members": [{"Name": "X", "Value": "1"}]}),
            ("ParameterKey", "k-2"),
        ],
    ),
    ("Frobnicate", [("X", 1)]),
)


def test_a_whole_session_with_php_behind_apaches_digest(acs: PhpAcs, apache: Apache) -> None:
    acs.plan(*PLAN)

    asked, connections = hold_session(apache.url, COMPLETE)

    said = acs.said
    assert [method for method, _ in said] == [
        "Inform",
        "TransferComplete",
        "GetParameterNamesResponse",
        "GetParameterValuesResponse",
        "SetParameterValuesResponse",
        "Fault",
        "Fault",
    ]
    device, events, most, moment, retries, parameters = said[0][1]
    assert device["Manufacturer"] == "Ärger & Söhne <1>"
    assert [(one["EventCode"], one["CommandKey"]) for one in events] == [("1 BOOT", ""), ("M Reboot", "k 1")]
    assert (int(most), moment, int(retries)) == (1, "2026-05-01T12:00:00Z", 0)
    assert [one["Value"] for one in parameters] == ["A\tB", 600]
    key, fault, *_ = said[1][1]
    assert key == "a  b "
    assert (int(fault["FaultCode"]), fault["FaultString"]) == (9010, "installed, but <rolled back>")
    assert said[3][1][0]["Value"] == "ABCD"
    assert int(said[4][1]) == 0
    code, string, detail = said[5][1]
    assert (code, string) == ("Client", "CWMP fault")
    assert int(detail["Fault"]["FaultCode"]) == 9003
    assert int(detail["Fault"]["SetParameterValuesFault"]["FaultCode"]) == 9005
    assert int(said[6][1][2]["Fault"]["FaultCode"]) == 9000
    assert asked[0] == ("GetParameterNames", {"ParameterPath": "", "NextLevel": True})
    assert asked[1] == ("GetParameterValues", {"ParameterNames": (CODE, INTERVAL)})
    assert [(one.name, one.value) for one in asked[2][1]["ParameterList"]] == [
        (CODE, "ABCD"),
        (INTERVAL, "900"),
    ]
    assert connections == 1
    logins = apache.logins
    assert [status for status, *_ in logins] == [401, *[200] * 7, 204]
    assert [number for _, number, *_ in logins] == [*range(9)]
    counts = [login.partition("nc=")[2][:8] for _, _, _, login in logins]
    assert counts == ["", *(f"{number:08x}" for number in range(1, 9))]


@pytest.mark.proof
def test_a_nonce_that_became_stale_is_renewed_on_the_same_connection(acs: PhpAcs, apache: Apache) -> None:
    acs.plan(*PLAN[:2])

    asked, connections = hold_session(apache.url, pause=NONCE_LIFE * 0.7)

    assert (len(asked), connections) == (2, 1)
    stale = [challenge for status, _, challenge, _ in apache.logins if status == 401]
    assert len(stale) >= 2
    assert all("stale=true" in challenge for challenge in stale[1:])
    assert sum(status in {200, 204} for status, *_ in apache.logins) == 4


def test_php_that_closes_each_connection_is_followed_by_its_cookie(acs: PhpAcs) -> None:
    acs.plan(*PLAN[:2])

    asked, connections = hold_session(acs.url, COMPLETE)

    assert len(asked) == 2
    assert connections == 5
