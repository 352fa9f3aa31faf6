"""gSOAP as the judge: a decoder in C that it makes from the schema, as strict as it can be.

Most devices and several servers are this code.  It decodes each message of ours and encodes what it
understood; that has to mean the same again.  An array with a wrong count, or a missing field, would end it.
"""

import re
import subprocess
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spkg.cwmp.calls import decode_answer, decode_call, encode_answer, encode_request
from spkg.cwmp.envelopes import read_message
from spkg.cwmp.methods import ACS_METHODS, CPE_METHODS
from spkg.cwmp.values import ParameterValue
from tests.judges.programs import missing, must, require
from tests.support.cwmp_kit import ANSWERED, CALLED, answers, arguments
from tests.support.cwmp_schema import CWMP_SCHEMA
from tests.support.kit import AT

ALL: Final = {**CPE_METHODS, **ACS_METHODS}
PROGRAM: Final = """
#include "soapH.h"
#include "ns1.nsmap"
int main(void)
{
    struct soap *soap = soap_new1(SOAP_XML_STRICT | SOAP_C_UTFSTRING);
    char tag[256];
    int type = 0;
    void *message;
    soap_set_namespaces(soap, namespaces);
    soap->recvfd = 0;
    soap->sendfd = 1;
    if (soap_begin_recv(soap) || soap_envelope_begin_in(soap) || soap_recv_header(soap)
        || soap_body_begin_in(soap) || soap_peek_element(soap) || !strcpy(tag, soap->tag)
        || !(message = soap_getelement(soap, NULL, &type))
        || soap_body_end_in(soap) || soap_envelope_end_in(soap) || soap_end_recv(soap)) {
        soap_print_fault(soap, stderr);
        return 1;
    }
    if (soap_begin_send(soap) || soap_envelope_begin_out(soap) || soap_putheader(soap)
        || soap_body_begin_out(soap) || soap_putelement(soap, message, tag, 0, type)
        || soap_body_end_out(soap) || soap_envelope_end_out(soap) || soap_end_send(soap)) {
        soap_print_fault(soap, stderr);
        return 2;
    }
    return 0;
}
"""
HEADER: Final = "struct SOAP_ENV__Header { mustUnderstand char *ns1__ID; };\n"
pytestmark = pytest.mark.judge("wsdl2h", "soapcpp2", "gcc")


@pytest.fixture(scope="module")
def gsoap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The decoder that gSOAP makes of the schema."""
    require("wsdl2h", "soapcpp2", "gcc")
    if not CWMP_SCHEMA:
        missing("SPKG_CWMP_SCHEMA names no schema of cwmp-1-0")
    desk = tmp_path_factory.mktemp("gsoap")
    schema = re.sub(r' *schemaLocation="[^"]*"', "", Path(CWMP_SCHEMA).read_text(encoding="utf-8"))
    (desk / "cwmp.xsd").write_text(schema, encoding="utf-8")
    must("wsdl2h", "-c", "-o", "cwmp.h", "cwmp.xsd", cwd=desk)
    with (desk / "cwmp.h").open("a", encoding="utf-8") as file:
        file.write(HEADER)
    must("soapcpp2", "-c", "-L", "-x", "-w", "cwmp.h", cwd=desk)
    (desk / "judge.c").write_text(PROGRAM, encoding="utf-8")
    must("gcc", "-w", "-O0", "-o", "judge", "judge.c", "soapC.c", "-lgsoap", cwd=desk)
    return desk / "judge"


def judged(gsoap: Path, octets: bytes) -> bytes:
    """Return a message as gSOAP understood it."""
    done = subprocess.run([gsoap], input=octets, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="backslashreplace")
    return done.stdout


def as_c_has_it(value: Any) -> Any:
    """Return arguments as C has them: a time as seconds of 1970, a value of any type as its text."""
    match value:
        case dict():
            return {name: as_c_has_it(one) for name, one in value.items()}
        case tuple():
            return tuple(as_c_has_it(one) for one in value)
        case ParameterValue():
            return replace(value, type="string")
        case datetime() | None:
            return AT
        case _:
            return value


def stated_times(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: AT if value is None or isinstance(value, datetime) else value for name, value in values.items()
    }


@pytest.mark.parametrize("method", CALLED)
def test_it_decodes_every_call_of_the_kit(gsoap: Path, method: str) -> None:
    octets = encode_request(method, CALLED[method], "<1>", ALL)

    call = decode_call(read_message(judged(gsoap, octets)), ALL)

    assert (call.method, call.id) == (method, "<1>")
    assert as_c_has_it(dict(call.arguments)) == as_c_has_it(CALLED[method])


@pytest.mark.parametrize("method", ANSWERED)
def test_it_decodes_every_answer_of_the_kit(gsoap: Path, method: str) -> None:
    asked = decode_call(read_message(encode_request(method, CALLED[method], None, ALL)), ALL)

    answer = decode_answer(
        read_message(judged(gsoap, encode_answer(asked, ANSWERED[method], ALL))), method, ALL
    )

    assert isinstance(answer, dict)
    assert as_c_has_it(answer) == as_c_has_it(ANSWERED[method])


@pytest.mark.parametrize("method", CALLED)
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.data())
def test_it_decodes_whatever_is_written(gsoap: Path, method: str, data: st.DataObject) -> None:
    values = stated_times(data.draw(arguments(method)))
    answered = stated_times(data.draw(answers(method)))

    octets = encode_request(method, values, "1", ALL)
    call = decode_call(read_message(judged(gsoap, octets)), ALL)
    answer = decode_answer(read_message(judged(gsoap, encode_answer(call, answered, ALL))), method, ALL)

    assert as_c_has_it(dict(call.arguments)) == as_c_has_it(values)
    assert isinstance(answer, dict)
    assert as_c_has_it(answer) == as_c_has_it(answered)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<OUI>00D09E</OUI>\n", ""),
        ("<MaxEnvelopes>1</MaxEnvelopes>\n", ""),
        ("<RetryCount>3", "<RetryCount>three"),
        ("DeviceId>", "DeviceID>"),
        ("<soap:Body>", "<soap:Body"),
    ],
)
def test_it_sees_what_is_broken(gsoap: Path, old: str, new: str) -> None:
    octets = encode_request("Inform", CALLED["Inform"], "1")
    assert old.encode() in bytes(octets)

    with pytest.raises(AssertionError, match=r"SOAP 1\.1 fault"):
        judged(gsoap, octets.replace(old.encode(), new.encode()))
