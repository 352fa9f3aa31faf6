"""PHP's SoapClient as the judge: many a server is written with it, and it knows no schema of cwmp-1-0."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from tests.judges.programs import missing, must
from tests.support.rpc_kit import CWMP, ask, genuine, only
from tests.support.voucher_kit import IPTV, QOS
from vouchers.cpe.store import OptionStore

CLIENT: Final = """<?php
class Desk extends SoapClient {
    function __doRequest($request, $location, $action, $version, $oneWay = false): ?string {
        file_put_contents("request", $request);
        return file_exists("answer") ? file_get_contents("answer") : null;
    }
}
[, $namespace, $method, $name] = $argv;
$settings = ["location" => "http://device.invalid/", "uri" => $namespace, "exceptions" => false];
$client = new Desk(null, $settings);
$voucher = fn($file) => new SoapVar(file_get_contents($file), XSD_BASE64BINARY);
$argument = $method == "GetOptions" ? new SoapParam("", "OptionName")
    : new SoapParam(array_map($voucher, array_slice($argv, 4)), "VoucherList");
$header = new SoapHeader($namespace, "ID", $name, true);
$result = $client->__soapCall($method, [$argument], null, [$header], $headers);
echo json_encode(is_soap_fault($result) ? $result->detail ?? null : [$headers["ID"], $result]);
"""
pytestmark = pytest.mark.judge("php")


class Server:
    """A server in PHP that speaks with one device, through files."""

    def __init__(self, store: OptionStore, desk: Path) -> None:
        if "soap" not in must("php", "-m", cwd=desk).text.split():
            missing("the extension soap of PHP is not installed")
        (desk / "client.php").write_text(CLIENT)
        self._store, self._desk = store, desk

    def call(self, method: str, *vouchers: bytes) -> Any:
        """Return what a method answers, as PHP reads it: with its ID, or the detail of a fault."""
        names = [f"voucher{number}" for number in range(len(vouchers))]
        for name, octets in zip(names, vouchers, strict=True):
            (self._desk / name).write_bytes(octets)
        command = ("php", "client.php", CWMP, method, "<1>", *names)
        (self._desk / "answer").unlink(missing_ok=True)
        must(*command, cwd=self._desk)
        answer = ask(self._store, (self._desk / "request").read_bytes())
        assert answer is not None
        (self._desk / "answer").write_bytes(answer)
        return json.loads(must(*command, cwd=self._desk).stdout)


def test_a_server_in_php_sets_vouchers_sees_the_options_and_reads_faults(tmp_path: Path) -> None:
    with OptionStore(tmp_path / "options.db", create=True) as store:
        server = Server(store, tmp_path)

        answer = server.call("SetVouchers", only(IPTV), only(QOS))
        request = (tmp_path / "request").read_text()
        (name, options) = server.call("GetOptions")
        fault = server.call("SetVouchers", genuine(), b"<a/>")

    assert answer == ["<1>", None]
    assert request.count('<item xsi:type="xsd:base64Binary">') == 2
    assert name == "<1>"
    assert [(one["OptionName"], one["VoucherSN"], one["State"]) for one in options] == [
        ("QoS", "4002", "1"),
        ("IPTV", "4001", "1"),
        ("VoIP", "0", "0"),
    ]
    assert fault["Fault"].keys() == {"FaultCode", "FaultString"}
    assert fault["Fault"]["FaultCode"] == "9003"
    assert fault["Fault"]["FaultString"].startswith("VoucherList[1]: a: ")
