"""SOAP::Lite as the judge: it knows no schema, and decodes RPC messages by their encoding alone."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from spkg.cwmp.calls import Call, encode_answer, encode_fault, encode_request
from spkg.cwmp.faults import FaultCode, MethodFaultError, ParameterFault
from spkg.cwmp.methods import ACS_METHODS, CPE_METHODS
from tests.judges.programs import missing, must, run
from tests.support.cwmp_kit import ANSWERED, CALLED, plain
from tests.support.sampling import few

ALL: Final = {**CPE_METHODS, **ACS_METHODS}
PROGRAM: Final = """
use SOAP::Lite; use JSON::PP;
local $/; open my $file, '<', 'message.xml'; my $message = SOAP::Deserializer->new->deserialize(<$file>);
my ($id) = $message->valueof('//Envelope/Header/ID');
sub texts { my $it = shift; return defined $it ? "$it" : undef unless ref $it;
    return [map { texts($_) } @$it] if ref $it eq 'ARRAY' || UNIVERSAL::isa($it, 'ARRAY');
    return {map { $_ => texts($it->{$_}) } keys %$it}; }
my $body = '/Envelope/Body/[1]';
my $what = $message->fault ? {fault => texts($message->faultdetail), code => $message->faultcode}
    : {name => $message->dataof($body)->name, values => texts($message->valueof($body))};
print JSON::PP->new->canonical->allow_blessed->ascii->encode({id => $id, %$what});
"""
pytestmark = pytest.mark.judge("perl")


def decoded(octets: bytes, desk: Path) -> dict[str, Any]:
    """Return what SOAP::Lite makes of a message."""
    if run("perl", "-MSOAP::Lite", "-e", "1", cwd=desk).status:
        missing("SOAP::Lite of Perl is not installed")
    (desk / "message.xml").write_bytes(octets)
    (desk / "judge.pl").write_text(PROGRAM)
    found: dict[str, Any] = json.loads(must("perl", "judge.pl", cwd=desk).stdout)
    return found


def as_perl_has_it(value: Any) -> Any:
    """Return arguments as it has them: nothing for what is empty, and the only value by itself."""
    match value:
        case Mapping():
            return {name: as_perl_has_it(one) for name, one in value.items()} or ""
        case list():
            return [as_perl_has_it(one) for one in value]
        case _:
            return value


@pytest.mark.parametrize("method", few(CALLED, every=4, part="judges"))
def test_it_decodes_every_call_of_the_kit(tmp_path: Path, method: str) -> None:
    octets = encode_request(method, CALLED[method], "<1>", ALL)

    found = decoded(octets, tmp_path)

    assert found == {"id": "<1>", "name": method, "values": as_perl_has_it(plain(CALLED[method]))}


@pytest.mark.parametrize("method", few(ANSWERED, every=4, part="judges"))
def test_it_decodes_every_answer_of_the_kit(tmp_path: Path, method: str) -> None:
    call = Call(method=method, arguments={}, id="1", version=0)

    found = decoded(encode_answer(call, ANSWERED[method], ALL), tmp_path)

    assert found == {
        "id": "1",
        "name": f"{method}Response",
        "values": as_perl_has_it(plain(ANSWERED[method])),
    }


def test_it_decodes_a_fault(tmp_path: Path) -> None:
    wrong = (ParameterFault("A.B", FaultCode.INVALID_VALUE, "too <long>"),)
    call = Call(method="SetParameterValues", arguments={}, id="1", version=0)

    found = decoded(encode_fault(call, MethodFaultError(FaultCode.INVALID_ARGUMENTS, "why", wrong)), tmp_path)

    told = {"ParameterName": "A.B", "FaultCode": "9007", "FaultString": "too <long>"}
    assert found == {
        "id": "1",
        "code": "Client",
        "fault": {"Fault": {"FaultCode": "9003", "FaultString": "why", "SetParameterValuesFault": told}},
    }
