"""PHP's SOAP as the judge of the methods: it calls as a server in PHP does, and decodes what is answered.

It knows no schema: members of arrays are ``item``, structures are of its own types, and there is no cwmp:ID
unless somebody adds one.
"""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from spkg.cwmp.calls import decode_call, encode_answer, encode_fault, encode_request
from spkg.cwmp.envelopes import read_message
from spkg.cwmp.faults import FaultCode, MethodFaultError, ParameterFault
from spkg.cwmp.methods import ACS_METHODS, CPE_METHODS
from spkg.cwmp.soap import CWMP
from spkg.cwmp.values import ParameterValue
from tests.judges.programs import missing, must
from tests.support.cwmp_kit import ANSWERED, CALLED, plain
from tests.support.sampling import few

CLIENT: Final = """<?php
class Desk extends SoapClient {
    function __doRequest($request, $location, $action, $version, $oneWay = false): ?string {
        file_put_contents("request", $request);
        return file_exists("answer") ? file_get_contents("answer") : null;
    }
}
[, $namespace, $method] = $argv;
$settings = ["location" => "http://device.invalid/", "uri" => $namespace, "exceptions" => false];
function encoded($value) {  // a list of objects becomes an array of structures, as PHP writes them
    if (is_array($value) && array_is_list($value)) return array_map("encoded", $value);
    return is_array($value) ? (object) array_map("encoded", $value) : $value;
}
$arguments = [];
foreach (json_decode(file_get_contents("arguments"), true) as $name => $value)
    $arguments[] = new SoapParam(encoded($value), $name);
$result = (new Desk(null, $settings))->__soapCall($method, $arguments);
$failed = is_soap_fault($result);
echo json_encode($failed ? [$result->faultcode, $result->detail ?? $result->faultstring] : $result);
"""
SERVER: Final = """<?php
class Server { function __call($name, $arguments) { global $got; $got = [$name, $arguments]; } }
ob_start();
$server = new SoapServer(null, ["uri" => $argv[1], "soap_version" => SOAP_1_1]);
$server->setObject(new Server);
$server->handle(file_get_contents("request"));
ob_end_clean();
echo json_encode($got);
"""
THEIRS: Final = [method for method in CPE_METHODS if method in CALLED]
pytestmark = pytest.mark.judge("php")


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    if "soap" not in must("php", "-m", cwd=tmp_path).text.split():
        missing("the extension soap of PHP is not installed")
    (tmp_path / "client.php").write_text(CLIENT)
    (tmp_path / "server.php").write_text(SERVER)
    return tmp_path


def called(desk: Path, method: str, arguments: dict[str, Any]) -> bytes:
    """Return the request that PHP writes."""
    (desk / "arguments").write_text(json.dumps(arguments))
    must("php", "client.php", CWMP, method, cwd=desk)
    return (desk / "request").read_bytes()


def understood(desk: Path, method: str, answer: bytes) -> Any:
    """Return what PHP makes of an answer, with all that it takes for numbers as text."""
    (desk / "answer").write_bytes(answer)
    (desk / "arguments").write_text("{}")
    return texts(json.loads(must("php", "client.php", CWMP, method, cwd=desk).stdout))


def texts(value: Any) -> Any:
    match value:
        case dict():
            return {name: texts(one) for name, one in value.items()}
        case list():
            return [texts(one) for one in value]
        case bool() | int():
            return f"{value:d}"
        case _:
            return value


@pytest.mark.parametrize("method", THEIRS)
def test_its_calls_are_read(desk: Path, method: str) -> None:
    values = CALLED[method]
    if method == "SetParameterValues":  # what is text for PHP is stated to be text
        told = tuple(ParameterValue(one.name, "string", one.value) for one in values["ParameterList"])
        values = {**values, "ParameterList": told}

    call = decode_call(read_message(called(desk, method, plain(values))))

    assert (call.method, call.arguments, call.id) == (method, values, None)


@pytest.mark.parametrize("method", few(THEIRS, every=3, part="judges"))
def test_it_understands_our_answers(desk: Path, method: str) -> None:
    call = decode_call(read_message(called(desk, method, plain(CALLED[method]))))

    found = understood(desk, method, encode_answer(call, ANSWERED[method]))

    wanted = plain(ANSWERED[method])
    assert found == (wanted if len(wanted) > 1 else next(iter(wanted.values()), None))


@pytest.mark.parametrize("method", ACS_METHODS)
def test_it_understands_our_calls(desk: Path, method: str) -> None:
    octets = encode_request(method, CALLED[method], None)
    (desk / "request").write_bytes(octets)

    name, arguments = json.loads(must("php", "server.php", CWMP, cwd=desk).stdout)

    assert (name, texts(arguments)) == (method, [*plain(CALLED[method]).values()])


def test_it_understands_our_faults(desk: Path) -> None:
    wrong = tuple(ParameterFault(f"A.{name}", FaultCode.INVALID_VALUE, "too <long>") for name in "BC")
    call = decode_call(read_message(called(desk, "SetParameterValues", plain(CALLED["SetParameterValues"]))))

    found = understood(
        desk, call.method, encode_fault(call, MethodFaultError(FaultCode.INVALID_ARGUMENTS, "why", wrong))
    )

    assert found == [
        "Client",
        {
            "Fault": {
                "FaultCode": "9003",
                "FaultString": "why",
                "SetParameterValuesFault": [
                    {"ParameterName": f"A.{name}", "FaultCode": "9007", "FaultString": "too <long>"}
                    for name in "BC"
                ],
            }
        },
    ]
