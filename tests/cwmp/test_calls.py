"""Calls as servers write them, and what is wrong with them: a fault with its place (TR-069 3.5, A.2)."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import pytest

from spkg.cwmp.calls import (
    MAX_ENVELOPE_WRITTEN,
    Call,
    decode_answer,
    decode_call,
    encode_answer,
    encode_fault,
    encode_request,
    read_fault,
)
from spkg.cwmp.envelopes import MAX_ENVELOPE, read_message
from spkg.cwmp.events import Event
from spkg.cwmp.faults import CLIENT, FaultCode, MethodFaultError, ParameterFault
from spkg.cwmp.methods import ACS_METHODS, CPE_METHODS
from spkg.cwmp.values import (
    AcsFault,
    AttributeChange,
    FaultStruct,
    ParameterInfo,
    ParameterValue,
    QueuedTransfer,
    SinceBoot,
)
from spkg.errors import FormatError, HostError, RefusedError, SpkgError
from tests.support.cwmp_kit import DEVICE_ID
from tests.support.cwmp_schema import assert_valid
from tests.support.rpc_kit import envelope, named

XSI: Final = (
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:xsd="http://www.w3.org/2001/XMLSchema"'
)


def call(body: str) -> Mapping[str, Any]:
    """Return the arguments of a call that a server made."""
    return decode_call(read_message(envelope(body, named("7")))).arguments


def refusal(body: str) -> tuple[int, str]:
    with pytest.raises(MethodFaultError) as caught:
        call(body)
    return caught.value.code, caught.value.text


def asked(method: str) -> Call:
    return Call(method=method, arguments={}, id="7", version=0)


def values(*members: str, kind: str = "") -> str:
    """Return a SetParameterValues with these members."""
    stated = f' soapenc:arrayType="{kind}"' if kind else ""
    return (
        f"<cwmp:SetParameterValues {XSI}><ParameterList{stated}>{''.join(members)}</ParameterList>"
        "<ParameterKey>k</ParameterKey></cwmp:SetParameterValues>"
    )


def value(
    name: str, text: str, kind: str = 'xsi:type="xsd:string"', member: str = "ParameterValueStruct"
) -> str:
    return f"<{member}><Name>{name}</Name><Value {kind}>{text}</Value></{member}>"


# What servers write.


@pytest.mark.parametrize(
    "member", ["ParameterValueStruct", "item", "Item", "x:a", "cwmp:ParameterValueStruct"]
)
def test_x2_members_of_arrays_have_any_name(member: str) -> None:
    found = call(values(value("A.B", "1", member=member), value("A.C", "2", member=member)))

    assert found == {
        "ParameterList": (ParameterValue("A.B", "string", "1"), ParameterValue("A.C", "string", "2")),
        "ParameterKey": "k",
    }


@pytest.mark.parametrize(
    "namespace", ["", ' xmlns="urn:dslforum-org:cwmp-1-0"', ' xmlns="urn:dslforum-org:cwmp-1-2"']
)
def test_x1_arguments_may_be_in_the_namespace_of_cwmp_or_in_none(namespace: str) -> None:
    body = (
        f"<cwmp:SetParameterAttributes><ParameterList{namespace}><SetParameterAttributesStruct><Name>A.</Name>"
        "<NotificationChange>true</NotificationChange><Notification>2</Notification>"
        "<AccessListChange>1</AccessListChange><AccessList><string>Subscriber</string></AccessList>"
        "</SetParameterAttributesStruct></ParameterList></cwmp:SetParameterAttributes>"
    )

    assert call(body) == {"ParameterList": (AttributeChange("A.", 2, ("Subscriber",)),)}


@pytest.mark.parametrize(
    ("stated", "kind"),
    [
        ('xsi:type="xsd:unsignedInt"', "unsignedInt"),
        ("xsi:type=' xsd:int\n'", "int"),
        ('xsi:type="boolean"', "boolean"),
        ('xsi:type="xsd:base64Binary"', "base64"),
        ('xsi:type="soapenc:base64"', "base64"),
        ('xsi:type="xsd:json"', "json"),
        ("", "string"),
        (f'xsi:type="xsd:{"a" * 99}"', "a" * 64),
    ],
)
def test_x4_a_value_has_the_type_that_it_states(stated: str, kind: str) -> None:
    assert call(values(value("A.B", " 1 ", stated)))["ParameterList"] == (ParameterValue("A.B", kind, " 1 "),)


@pytest.mark.parametrize(
    "member",
    [
        value("A.B", "<![CDATA[a<]]>&amp;b<!-- c -->"),
        value("A.B", "a&lt;<x:y>no</x:y>&amp;b"),
        "<a><x:y/><Value><x:y/>a&lt;&amp;b</Value><Name>A<x:y/>.B</Name><x:y/></a>",
        '<a><cwmp:Name>A.B</cwmp:Name><c:Value xmlns:c="urn:dslforum-org:cwmp-1-4">a&lt;&amp;b</c:Value></a>',
    ],
)
def test_x10_a_member_is_read_however_it_is_written(member: str) -> None:
    assert call(values(member))["ParameterList"] == (ParameterValue("A.B", "string", "a<&b"),)


def test_x10_unknown_elements_are_ignored_between_arguments() -> None:
    body = "<cwmp:Reboot><Other>1</Other><CommandKey>k<x:a/></CommandKey><x:CommandKey/></cwmp:Reboot>"

    assert call(body) == {"CommandKey": "k"}


def test_values_may_stand_beside_the_call() -> None:
    body = (
        f'<cwmp:SetParameterValues {XSI}><ParameterList href="#a"/><ParameterKey href="#k"/>'
        '</cwmp:SetParameterValues><b id="a" soapenc:arrayType="x[2]"><i href="#s"/>'
        '<i><Name href="#n"/><Value href="#k"/></i></b><s id="s"><Value xsi:type="xsd:int" href="#v"/>'
        '<Name>A</Name></s><c id="n">B</c><c id="k">k</c><c id="v" xsi:type="xsd:int">5</c>'
    )
    body = body.replace('<b id="a"', f'<b {XSI} id="a"').replace('<c id="v"', f'<c {XSI} id="v"')
    body = body.replace('<s id="s">', f'<s {XSI} id="s">')

    assert call(body) == {
        "ParameterList": (ParameterValue("A", "int", "5"), ParameterValue("B", "string", "k")),
        "ParameterKey": "k",
    }


def test_one_large_value_is_not_had_many_times() -> None:
    members = "".join(f'<i><Name>A.{number}</Name><Value href="#v"/></i>' for number in range(100))

    code, problem = refusal(f'{values(members)}<v id="v">{"x" * 100_000}</v>')

    assert (code, problem) == (
        9003,
        "ParameterList[1].Value: must not refer to the value of another member [TR-069 3.5]",
    )


def test_nil_is_no_text() -> None:
    body = NAMES.format("1").replace("<ParameterPath", f'<ParameterPath {XSI} xsi:nil="1"')

    assert call(body) == {"ParameterPath": "", "NextLevel": True}


@pytest.mark.parametrize(
    ("notification", "access", "change"),
    [
        ("<NotificationChange>0</NotificationChange><Notification/>", "", AttributeChange("A", None, None)),
        (
            "<NotificationChange>1</NotificationChange><Notification>0</Notification>",
            "<AccessListChange>false</AccessListChange><AccessList><string>any</string></AccessList>",
            AttributeChange("A", 0, None),
        ),
        ("", "<AccessListChange>1</AccessListChange><AccessList/>", AttributeChange("A", None, ())),
        (
            "<NotificationChange>0</NotificationChange><Notification>nonsense</Notification>",
            "<AccessListChange>1</AccessListChange><AccessList><a>X</a><a/></AccessList>",
            AttributeChange("A", None, ("X", "")),
        ),
    ],
)
def test_r9_what_does_not_change_is_not_looked_at(
    notification: str, access: str, change: AttributeChange
) -> None:
    body = (
        f"<cwmp:SetParameterAttributes><ParameterList><a><Name>A</Name>{notification}{access}</a>"
        "</ParameterList></cwmp:SetParameterAttributes>"
    )

    assert call(body) == {"ParameterList": (change,)}


def test_r6_a_list_may_be_empty() -> None:
    none = '<ParameterNames soapenc:arrayType="xsd:string[0]"/>'
    body = f"<cwmp:GetParameterValues>{none}</cwmp:GetParameterValues>"

    assert call(body) == {"ParameterNames": ()}


def test_r4_a_name_that_is_too_long_is_left_to_the_tree() -> None:
    long = "A" * 300

    assert call(values(value(long, "1")))["ParameterList"] == (ParameterValue(long, "string", "1"),)


# What is wrong with a call.

REBOOT: Final = "<cwmp:Reboot>{}</cwmp:Reboot>"
SCHEDULE: Final = "<cwmp:ScheduleInform><DelaySeconds>{}</DelaySeconds><CommandKey/></cwmp:ScheduleInform>"
NAMES: Final = "<cwmp:GetParameterNames><ParameterPath/><NextLevel>{}</NextLevel></cwmp:GetParameterNames>"
CHANGE: Final = (
    f"<cwmp:SetParameterAttributes {XSI}><ParameterList><a/><a><Name>A</Name>{{}}</a></ParameterList>"
    "</cwmp:SetParameterAttributes>"
).replace("<a/>", "<a><Name/></a>")
WRONG: Final = {
    "a missing argument": (REBOOT.format(""), "CommandKey: missing [TR-069 A.2.2]"),
    "an argument of another namespace": (
        REBOOT.format("<x:CommandKey/>"),
        "CommandKey: missing [TR-069 A.2.2]",
    ),
    "an argument twice": (
        REBOOT.format("<CommandKey>a</CommandKey><cwmp:CommandKey>a</cwmp:CommandKey>"),
        "CommandKey: must occur once [TR-069 A.2.2]",
    ),
    "a long argument": (
        REBOOT.format(f"<CommandKey>{'k' * 33}</CommandKey>"),
        "CommandKey: expected at most 32 characters, got 33 [TR-069 A.2.1]",
    ),
    "an argument that refers to nothing": (
        REBOOT.format('<CommandKey href="#a"/>'),
        "CommandKey: href must refer to a value next to the call, got '#a' [TR-069 3.5]",
    ),
    "no number": (SCHEDULE.format("soon"), "DelaySeconds: expected an integer, got 'soon'"),
    "no delay": (SCHEDULE.format("0"), "DelaySeconds: expected 1 to 4294967295, got '0'"),
    "a number that is too large": (
        SCHEDULE.format("4294967296"),
        "DelaySeconds: expected 1 to 4294967295, got '4294967296'",
    ),
    "no boolean": (NAMES.format("maybe"), "NextLevel: expected a boolean, 0 or 1, got 'maybe'"),
    "nil for a boolean": (
        NAMES.format("").replace("<NextLevel>", f'<NextLevel {XSI} xsi:nil="true">'),
        "NextLevel: must not be nil [TR-069 3.5]",
    ),
    "a member without a value": (
        values(value("A", "1"), "<a><Name>B</Name></a>"),
        "ParameterList[1].Value: missing [TR-069 A.2.2]",
    ),
    "a member with two names": (
        values("<a><Name>B</Name><Name>B</Name><Value/></a>"),
        "ParameterList[0].Name: must occur once [TR-069 A.2.2]",
    ),
    "a value that is nil": (
        values(value("A", "1"), value("B", "", 'xsi:nil="1"')),
        "ParameterList[1].Value: must not be nil [TR-069 3.5]",
    ),
    "a member that is nil": (
        values(value("A", "1"), '<a xsi:nil="1"/>'),
        "ParameterList[1]: must not be nil [TR-069 3.5]",
    ),
    "another count": (
        values(value("A", "1"), kind="cwmp:ParameterValueStruct[2]"),
        "ParameterList: expected 2 members by its arrayType, got 1 [TR-069 3.5]",
    ),
    "a change without its value": (
        CHANGE.format("<NotificationChange>1</NotificationChange>"),
        "ParameterList[1].Notification: missing [TR-069 A.3.2.4, Table 19]",
    ),
    "a change that is out of range": (
        CHANGE.format("<NotificationChange>1</NotificationChange><Notification>3</Notification>"),
        "ParameterList[1].Notification: expected 0 to 2, got '3'",
    ),
    "an entity that is too long": (
        CHANGE.format(
            f"<AccessListChange>1</AccessListChange><AccessList><a/><a>{'e' * 65}</a></AccessList>"
        ),
        "ParameterList[1].AccessList[1]: expected at most 64 characters, got 65 [TR-069 A.2.1]",
    ),
    "a header that is not understood": (
        "<cwmp:FactoryReset/><cwmp:FactoryReset/>",
        "expected one call in the Body, got 2 [TR-069 3.5]",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_x13_x14_what_is_wrong_with_a_call_is_9003_with_its_place(what: str) -> None:
    body, problem = WRONG[what]

    assert refusal(body) == (9003, problem)


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ("<cwmp:X_00D09E_Reset/>", "{urn:dslforum-org:cwmp-1-0}X_00D09E_Reset"),
        ("<cwmp:Inform/>", "{urn:dslforum-org:cwmp-1-0}Inform"),
        ("<cwmp:reboot/>", "{urn:dslforum-org:cwmp-1-0}reboot"),
        ("<Reboot/>", "Reboot"),
        ("<x:Reboot/>", "{urn:x}Reboot"),
        ("<x:Reboot/><x:Reboot/>", "{urn:x}Reboot"),
        ("<cwmp:RebootResponse/>", "{urn:dslforum-org:cwmp-1-0}RebootResponse"),
    ],
)
def test_x11_an_unknown_method_is_9000(body: str, name: str) -> None:
    assert refusal(body) == (9000, f"the method {name} is not supported")


def test_x11_an_envelope_of_headers_is_no_call() -> None:
    assert refusal("") == (9000, "the method  is not supported")


@pytest.mark.parametrize(
    ("method", "code"), [("SetParameterValues", 9004), ("GetParameterNames", 9003), ("GetRPCMethods", 9001)]
)
def test_x17_what_is_too_large_is_9004_or_what_the_method_knows(method: str, code: int) -> None:
    assert refusal(f"<cwmp:{method}>{'x' * MAX_ENVELOPE}</cwmp:{method}>") == (
        code,
        f"expected an envelope of at most {MAX_ENVELOPE} bytes, got more [TR-069 A.2.1]",
    )


@pytest.mark.parametrize("count", [10_000, 40_000])
def test_x17_an_array_is_as_large_as_an_envelope_may_be(count: int) -> None:
    body = values(*(value(f"A.{number}", "1") for number in range(count)))

    if count == 10_000:
        assert len(call(body)["ParameterList"]) == count
    else:
        assert refusal(body) == (9004, "expected at most 32768 elements, got more [TR-069 3.5]")


def test_vouchers_are_read_elsewhere() -> None:
    message = read_message(envelope("<cwmp:SetVouchers><nonsense/></cwmp:SetVouchers>", named("7")))

    assert decode_call(message) == Call(method="SetVouchers", arguments={}, id="7", version=0)


# What is written.


def test_x2_x4_an_answer_is_written_as_the_example_is() -> None:
    octets = encode_answer(
        asked("GetParameterValues"), {"ParameterList": (ParameterValue("A.B", "unsignedInt", "5"),)}
    )

    assert octets.decode().partition("<soap:Body>\n")[2] == (
        "<cwmp:GetParameterValuesResponse>\n"
        '<ParameterList soapenc:arrayType="cwmp:ParameterValueStruct[1]">\n'
        '<ParameterValueStruct>\n<Name>A.B</Name>\n<Value xsi:type="xsd:unsignedInt">5</Value>\n'
        "</ParameterValueStruct>\n</ParameterList>\n</cwmp:GetParameterValuesResponse>\n"
        "</soap:Body>\n</soap:Envelope>\n"
    )


def test_x15_a_boolean_is_written_as_1_or_0() -> None:
    infos = (ParameterInfo("A.", writable=True), ParameterInfo("A.B", writable=False))

    octets = encode_answer(asked("GetParameterNames"), {"ParameterList": infos})

    assert b"<Name>A.</Name>\n<Writable>1</Writable>" in bytes(octets)
    assert b"<Name>A.B</Name>\n<Writable>0</Writable>" in bytes(octets)


def test_x16_times_are_written_without_a_clock() -> None:
    times = {"StartTime": SinceBoot(183845), "CompleteTime": None}

    octets = encode_answer(asked("Download"), {"Status": 1, **times})

    assert_valid(octets)
    assert b"<StartTime>0001-01-03T03:04:05</StartTime>\n<CompleteTime>0001-01-01T00:00:00Z<" in bytes(octets)
    assert decode_answer(read_message(octets), "Download", CPE_METHODS) == {
        "Status": 1,
        "StartTime": None,
        "CompleteTime": None,
    }


@pytest.mark.parametrize(
    ("text", "written", "replaced"),
    [
        ("a\x00b\x02", "a\ufffdb\ufffd", 2),
        ("\ud800\ufffe<\x0b", "\ufffd\ufffd&lt;\ufffd", 3),
        ("\t\n\r", "\t\n&#xD;", 0),
        ("\U0001f4fa\x7f\x85", "\U0001f4fa\x7f\x85", 0),
        ("]]>\"'", "]]&gt;\"'", 0),
    ],
)
def test_characters_that_xml_has_not_are_replaced_and_counted(text: str, written: str, replaced: int) -> None:
    octets = encode_answer(
        asked("GetParameterValues"), {"ParameterList": (ParameterValue("A", "string", text),)}
    )

    assert f">{written}</Value>".encode() in bytes(octets)
    assert octets.replaced == replaced
    assert_valid(octets)
    read_message(octets)


@pytest.mark.parametrize(
    ("method", "values", "problem"),
    [
        ("Reboot", {"Status": 0}, "expected the arguments none, got Status"),
        ("SetParameterValues", {}, "expected the arguments Status, got none"),
        ("SetParameterValues", {"Status": 2}, "Status: expected 0 to 1, got '2'"),
        (
            "AddObject",
            {"InstanceNumber": 0, "Status": 0},
            "InstanceNumber: expected 1 to 4294967295, got '0'",
        ),
        (
            "GetParameterNames",
            {"ParameterList": (ParameterInfo("A" * 257, writable=True),)},
            "ParameterList: expected at most 256 characters, got 257",
        ),
        (
            "GetParameterValues",
            {"ParameterList": (ParameterValue("A", "json", "{}"),)},
            "ParameterList: A: expected a type of Table 6, got 'json'",
        ),
        (
            "GetQueuedTransfers",
            {"TransferList": (QueuedTransfer("k", 1),) * 17},
            "TransferList: expected at most 16 members, got 17",
        ),
        (
            "Download",
            {"Status": 0, "StartTime": datetime(2026, 1, 1), "CompleteTime": None},  # noqa: DTZ001 - that is it
            "StartTime: the time has no zone",
        ),
    ],
)
def test_x13_nothing_is_answered_that_the_table_does_not_have(
    method: str, values: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValueError, match=r"^") as caught:
        encode_answer(asked(method), values)

    assert str(caught.value) == problem


def test_e2_an_inform_has_at_most_16_events() -> None:
    inform = {
        "DeviceId": DEVICE_ID,
        "Event": (Event("1 BOOT"),) * 17,
        "MaxEnvelopes": 1,
        "CurrentTime": datetime(2026, 11, 29, tzinfo=UTC),
        "RetryCount": 0,
        "ParameterList": (),
    }

    with pytest.raises(ValueError, match="Event: expected at most 16 members, got 17"):
        encode_request("Inform", inform, "1")


@pytest.mark.parametrize(("method", "code"), [("GetParameterValues", 9004), ("GetParameterNames", 9003)])
def test_an_answer_that_is_too_large_is_a_fault(method: str, code: int) -> None:
    large = {
        "GetParameterValues": (ParameterValue("A", "string", "x" * MAX_ENVELOPE_WRITTEN),),
        "GetParameterNames": (ParameterInfo("A" * 256, writable=True),) * 60_000,
    }

    with pytest.raises(MethodFaultError) as caught:
        encode_answer(asked(method), {"ParameterList": large[method]})

    assert caught.value.code == code
    assert "expected an envelope of at most 16777216 bytes, got " in caught.value.text


def test_a_request_that_is_too_large_is_refused() -> None:
    complete = {
        "CommandKey": "k",
        "FaultStruct": FaultStruct(0, ""),
        "StartTime": None,
        "CompleteTime": None,
    }

    with pytest.raises(RefusedError):
        encode_request("TransferComplete", complete, "i" * MAX_ENVELOPE_WRITTEN)


# Faults.


def test_x5_x7_a_fault_is_written_as_the_example_is() -> None:
    octets = encode_fault(asked("Upload"), MethodFaultError(FaultCode.METHOD_NOT_SUPPORTED, "no <upload>"))

    assert_valid(octets)
    assert octets.decode().partition("<soap:Header>\n")[2] == (
        '<cwmp:ID soap:mustUnderstand="1">7</cwmp:ID>\n</soap:Header>\n<soap:Body>\n<soap:Fault>\n'
        "<faultcode>Client</faultcode>\n<faultstring>CWMP fault</faultstring>\n<detail>\n<cwmp:Fault>\n"
        "<FaultCode>9000</FaultCode>\n<FaultString>no &lt;upload&gt;</FaultString>\n</cwmp:Fault>\n"
        "</detail>\n</soap:Fault>\n</soap:Body>\n</soap:Envelope>\n"
    )


WRONG_ONES: Final = (
    ParameterFault("A.B", FaultCode.NOT_WRITABLE, "not writable"),
    ParameterFault("A.C\x00", FaultCode.RESOURCES_EXCEEDED, "x" * 300),
)


def test_x6_each_parameter_in_error_is_told_and_never_by_9004() -> None:
    error = MethodFaultError(FaultCode.NOT_WRITABLE, "2 parameters are wrong", WRONG_ONES)

    octets = encode_fault(asked("SetParameterValues"), error)

    assert_valid(octets)
    assert octets.decode().partition("<cwmp:Fault>\n")[2].partition("</cwmp:Fault>")[0] == (
        "<FaultCode>9003</FaultCode>\n<FaultString>2 parameters are wrong</FaultString>\n"
        "<SetParameterValuesFault>\n<ParameterName>A.B</ParameterName>\n<FaultCode>9008</FaultCode>\n"
        "<FaultString>not writable</FaultString>\n</SetParameterValuesFault>\n"
        "<SetParameterValuesFault>\n<ParameterName>A.C\\x00</ParameterName>\n<FaultCode>9002</FaultCode>\n"
        f"<FaultString>{'x' * 256}</FaultString>\n</SetParameterValuesFault>\n"
    )


def test_x6_no_other_method_tells_of_parameters() -> None:
    error = MethodFaultError(FaultCode.INVALID_NAME, "no such parameter", WRONG_ONES)

    octets = encode_fault(asked("GetParameterValues"), error)

    assert_valid(octets)
    assert b"<FaultCode>9005</FaultCode>" in bytes(octets)
    assert b"SetParameterValuesFault" not in octets


@pytest.mark.parametrize("method", CPE_METHODS)
@pytest.mark.parametrize("code", FaultCode)
def test_r21_a_method_is_answered_only_with_faults_that_it_knows(method: str, code: FaultCode) -> None:
    octets = encode_fault(asked(method), MethodFaultError(code, "why"))

    told = read_fault(read_message(octets)).code
    known = CPE_METHODS[method].faults
    assert_valid(octets)
    assert told in known | {9000}
    assert told == code if code in known | {9000} else (told in CLIENT) == (code in CLIENT or code == 9004)


def test_r21_any_error_has_a_fault() -> None:
    errors: list[tuple[SpkgError, bytes]] = [
        (HostError("disk"), b"<faultcode>Server</faultcode>"),
        (FormatError("wrong", field="A"), b"<FaultString>A: wrong</FaultString>"),
    ]

    for error, told in errors:
        assert told in encode_fault(read_message(envelope("<cwmp:Reboot/>", named("7"))), error)


# What servers answer.


def told(code: str, text: str) -> str:
    return f"<FaultCode>{code}</FaultCode><FaultString>{text}</FaultString>"


def server_fault(source: str, text: str, detail: str) -> str:
    return (
        f"<soap:Fault><faultcode>{source}</faultcode><faultstring>{text}</faultstring>"
        f"<detail>{detail}</detail></soap:Fault>"
    )


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (
            server_fault("Server", "CWMP fault", f"<cwmp:Fault>{told('8005', 'Retry request')}</cwmp:Fault>"),
            AcsFault(8005, "Retry request"),
        ),
        (
            server_fault("s:Server", "", "<x><cwmp:FaultCode> 8800\n</cwmp:FaultCode></x>"),
            AcsFault(8800, ""),
        ),
        (server_fault("soap:Client", "Bad request", "<x/>"), AcsFault(8003, "Bad request")),
        (server_fault("soap:Server", "no memory", f"<x/>{told('none', '')}"), AcsFault(8002, "no memory")),
        (f"<soap:Fault><faultstring>{'x' * 999}</faultstring></soap:Fault>", AcsFault(8002, "x" * 256)),
        ("<soap:Fault/>", AcsFault(8002, "")),
    ],
)
def test_x5_a_fault_of_a_server_is_read_whatever_wrote_it(body: str, fault: AcsFault) -> None:
    assert decode_answer(read_message(envelope(body)), "Inform") == fault


def test_what_an_answer_leaves_out_is_assumed_where_it_can_be() -> None:
    inform = decode_answer(read_message(envelope("<cwmp:InformResponse/>")), "Inform")
    kicked = decode_answer(read_message(envelope("<cwmp:KickedResponse/>")), "Kicked")

    assert inform == {"MaxEnvelopes": 1}
    assert kicked == {"NextURL": ""}


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (
            "<cwmp:TransferCompleteResponse/>",
            "expected InformResponse, got TransferCompleteResponse [TR-069 3.5]",
        ),
        ("<cwmp:Inform/>", "expected InformResponse, got Inform [TR-069 3.5]"),
        ("", "expected InformResponse, got no answer [TR-069 3.5]"),
        (f"<x:{'a' * 99}/>", f"expected InformResponse, got {{urn:x}}{'a' * 57} [TR-069 3.5]"),
        (
            "<cwmp:InformResponse><MaxEnvelopes>-1</MaxEnvelopes></cwmp:InformResponse>",
            "MaxEnvelopes: expected 0 to 4294967295, got '-1'",
        ),
    ],
)
def test_x3_what_is_no_answer_is_an_error_of_the_server(body: str, problem: str) -> None:
    with pytest.raises(FormatError) as caught:
        decode_answer(read_message(envelope(body)), "Inform")

    assert str(caught.value) == problem


def test_an_answer_with_a_problem_is_one() -> None:
    with pytest.raises(SpkgError, match="NoMoreRequests: must be 0 or 1"):
        decode_answer(
            read_message(envelope("<cwmp:InformResponse/>", "<cwmp:NoMoreRequests/>")), "Inform", ACS_METHODS
        )


def test_x18_unknown_methods_in_a_list_are_kept_for_whoever_asks() -> None:
    names = ("Inform", "GetRPCMethods", "X_ACME_COM_Any", "A" * 70)
    members = "".join(f"<string>{name}</string>" for name in names)
    body = f"<cwmp:GetRPCMethodsResponse><MethodList>{members}</MethodList></cwmp:GetRPCMethodsResponse>"

    assert decode_answer(read_message(envelope(body)), "GetRPCMethods") == {"MethodList": names}


def test_e1_a_device_has_an_identity_that_the_table_allows() -> None:
    octets = encode_request(
        "Inform",
        {
            "DeviceId": DEVICE_ID,
            "Event": (),
            "MaxEnvelopes": 1,
            "CurrentTime": None,
            "RetryCount": 0,
            "ParameterList": (),
        },
        "1",
    ).replace(b"00D09E", b"00d09e")

    with pytest.raises(MethodFaultError) as caught:
        decode_call(read_message(octets), ACS_METHODS)

    assert str(caught.value) == (
        "DeviceId: OUI: expected six upper-case hexadecimal digits, got '00d09e' [TR-069 Table 34]"
    )
