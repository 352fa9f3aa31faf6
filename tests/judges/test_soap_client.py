"""zeep as the judge: a server whose SOAP is a library's writes our requests, and reads our answers.

It knows of cwmp-1-0 what the WSDL below says, and nothing else.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import pytest
import requests
from lxml import etree

from spkg.device import Device
from tests.support.kit import AT
from tests.support.rpc_kit import HERE, ask, genuine, only
from tests.support.voucher_kit import IPTV, QOS
from vouchers.acs.request import set_vouchers_request
from vouchers.cpe.store import OptionStore
from vouchers.model import Mode

SOAP: Final = "http://schemas.xmlsoap.org/soap/envelope/"
CWMP: Final = "urn:dslforum-org:cwmp-1-0"
SCHEMA: Final = f"""
<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="{CWMP}" xmlns:tns="{CWMP}">
  <xs:element name="ID"><xs:complexType><xs:simpleContent><xs:extension base="xs:string">
    <xs:anyAttribute namespace="##other" processContents="skip"/>
  </xs:extension></xs:simpleContent></xs:complexType></xs:element>
  <xs:element name="SetVouchers"><xs:complexType><xs:sequence>
    <xs:element name="VoucherList"><xs:complexType>
      <xs:sequence><xs:element name="base64" type="xs:base64Binary" maxOccurs="unbounded"/></xs:sequence>
      <xs:anyAttribute namespace="##other" processContents="skip"/>
    </xs:complexType></xs:element>
  </xs:sequence></xs:complexType></xs:element>
  <xs:element name="SetVouchersResponse"><xs:complexType/></xs:element>
  <xs:element name="GetOptions"><xs:complexType><xs:sequence>
    <xs:element name="OptionName" type="xs:string"/>
  </xs:sequence></xs:complexType></xs:element>
  <xs:element name="GetOptionsResponse"><xs:complexType><xs:sequence>
    <xs:element name="OptionList"><xs:complexType>
      <xs:sequence>
        <xs:element name="OptionStruct" type="tns:OptionStruct" minOccurs="0" maxOccurs="unbounded"/>
      </xs:sequence>
      <xs:anyAttribute namespace="##other" processContents="skip"/>
    </xs:complexType></xs:element>
  </xs:sequence></xs:complexType></xs:element>
  <xs:complexType name="OptionStruct"><xs:sequence>
    <xs:element name="OptionName" type="xs:string"/>
    <xs:element name="VoucherSN" type="xs:unsignedInt"/>
    <xs:element name="State" type="xs:unsignedInt"/>
    <xs:element name="Mode" type="xs:int"/>
    <xs:element name="StartDate" type="xs:dateTime"/>
    <xs:element name="ExpirationDate" type="xs:dateTime" minOccurs="0"/>
    <xs:element name="IsTransferable" type="xs:boolean"/>
  </xs:sequence></xs:complexType>
  <xs:element name="FactoryReset"><xs:complexType/></xs:element>
  <xs:element name="FactoryResetResponse"><xs:complexType/></xs:element>
</xs:schema>
"""
METHODS: Final = ("SetVouchers", "GetOptions", "FactoryReset")


def _wsdl() -> str:
    body = '<s:header message="tns:ID" part="ID" use="literal"/><s:body use="literal"/>'
    messages = "".join(
        f'<message name="{name}"><part name="all" element="tns:{name}"/></message>'
        for method in METHODS
        for name in (method, f"{method}Response")
    )
    operations = "".join(
        f'<operation name="{method}"><input message="tns:{method}"/>'
        f'<output message="tns:{method}Response"/></operation>'
        for method in METHODS
    )
    bound = "".join(
        f'<operation name="{method}"><s:operation soapAction=""/><input>{body}</input>'
        f"<output>{body}</output></operation>"
        for method in METHODS
    )
    return (
        f'<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:s="http://schemas.xmlsoap.org/wsdl/soap/"'
        f' xmlns:tns="{CWMP}" targetNamespace="{CWMP}"><types>{SCHEMA}</types>'
        f'<message name="ID"><part name="ID" element="tns:ID"/></message>{messages}'
        f'<portType name="Device">{operations}</portType><binding name="Device" type="tns:Device">'
        f'<s:binding transport="http://schemas.xmlsoap.org/soap/http" style="document"/>{bound}</binding>'
        '<service name="Device"><port name="Device" binding="tns:Device">'
        '<s:address location="http://device.invalid/"/></port></service></definitions>'
    )


class Server:
    """A server that speaks with one device, through no network."""

    def __init__(self, store: OptionStore, wsdl: Path) -> None:
        self._zeep: Any = import_module("zeep")
        self.store = store
        self.device: Device = HERE
        self.now = AT
        self.name = "1234"
        transport = self._zeep.Transport()
        transport.post = self._carry
        wsdl.write_text(_wsdl(), encoding="utf-8")
        self.client: Any = self._zeep.Client(str(wsdl), transport=transport)

    def call(self, method: str, **arguments: Any) -> Any:
        """Return what a method answers, having looked at its ID."""
        header = etree.Element(f"{{{CWMP}}}ID", {f"{{{SOAP}}}mustUnderstand": "1"})
        header.text = self.name
        answer = self.client.service[method](**arguments, _soapheaders=[header])
        assert answer.header.ID["_value_1"] == self.name
        return answer.body

    def refused(self, method: str, **arguments: Any) -> tuple[str, str, str, str]:
        """Return what a fault says: faultcode, faultstring, FaultCode and FaultString."""
        with pytest.raises(self._zeep.exceptions.Fault) as caught:
            self.call(method, **arguments)
        said = caught.value.detail.find(f"{{{CWMP}}}Fault")
        return (
            caught.value.code,
            caught.value.message,
            said.find("FaultCode").text,
            said.find("FaultString").text,
        )

    def options(self, name: str = "") -> list[dict[str, Any]]:
        """Return what GetOptions answers."""
        found = self.call("GetOptions", OptionName=name).OptionList.OptionStruct
        return [{field: one[field] for field in one} for one in found]

    def _carry(self, _address: str, message: bytes, _headers: object) -> requests.Response:
        response = requests.Response()
        response.status_code = 200
        octets = ask(self.store, message, device=self.device, now=self.now)
        assert octets is not None
        response._content = octets
        return response


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with OptionStore(tmp_path / "options.db", create=True) as store:
        yield Server(store, tmp_path / "cpe.wsdl")


def option(name: str, **facts: Any) -> dict[str, Any]:
    """Return an OptionStruct as zeep reads it."""
    return {
        "OptionName": name,
        "VoucherSN": 0,
        "State": 0,
        "Mode": 0,
        "StartDate": datetime(1, 1, 1, tzinfo=UTC),
        "ExpirationDate": None,
        "IsTransferable": False,
        **facts,
    }


IPTV_ON: Final = option(
    "IPTV",
    VoucherSN=4001,
    State=1,
    Mode=1,
    StartDate=datetime(2026, 5, 1, tzinfo=UTC),
    ExpirationDate=datetime(2027, 5, 1, tzinfo=UTC),
)
OTHER: Final = (
    "VoucherList[0]: DeviceId: the voucher is for 00D09E 'Gateway' '123456789', "
    "but this device is 00D09E 'Gateway' '2' [TR-069 C.3, Table 62]"
)
QOS_ON: Final = option("QoS", VoucherSN=4002, State=1, Mode=2, StartDate=AT, IsTransferable=True)


def test_a_server_sets_vouchers_and_sees_the_options(server: Server) -> None:
    before = server.options()
    server.call("SetVouchers", VoucherList={"base64": [genuine()]})
    after = server.options()

    assert before == [option("QoS"), option("IPTV"), option("VoIP")]
    assert after == [QOS_ON, IPTV_ON, option("VoIP")]


def test_a_server_sets_several_vouchers_and_asks_for_one_option(server: Server) -> None:
    disabled = only(replace(QOS, serial="9", mode=Mode.DISABLE, transferable=False))
    server.call("SetVouchers", VoucherList={"base64": [only(IPTV), disabled]})
    server.store.set_up("QoS", done=True)

    assert server.options("IPTV") == [IPTV_ON]
    assert server.options("QoS") == [option("QoS", VoucherSN=9, State=2, StartDate=AT)]


def test_a_server_that_lost_an_answer_repeats_itself(server: Server) -> None:
    for _ in range(2):
        server.call("SetVouchers", VoucherList={"base64": [genuine()]})
        server.now += timedelta(days=1)

    assert server.options() == [QOS_ON, IPTV_ON, option("VoIP")]


@pytest.mark.parametrize("name", ["<R&D> \"'", " \t\n ", "]]>", "\u65e5\u672c \U0001f4fa", "7" * 1000])
def test_a_server_knows_its_request_again(server: Server, name: str) -> None:
    server.name = name

    assert server.options("VoIP") == [option("VoIP")]


def test_names_arrive_as_they_are(server: Server) -> None:
    name = "<R&D> \"'\u20ac"
    server.device = replace(HERE, supported_options=(name,))

    assert server.options(name) == [option(name)]


def test_a_server_reads_faults(server: Server) -> None:
    unknown = server.refused("FactoryReset")
    wrong = server.refused("GetOptions", OptionName="<TV>")
    many = server.refused("SetVouchers", VoucherList={"base64": [b"<a/>"] * 65})
    server.device = replace(HERE, serial_number="2")
    denied = server.refused("SetVouchers", VoucherList={"base64": [genuine()]})
    server.store.close()
    broken = server.refused("GetOptions", OptionName="")

    assert unknown == ("Client", "CWMP fault", "9000", f"the method {{{CWMP}}}FactoryReset is not supported")
    assert wrong == ("Client", "CWMP fault", "9003", "unknown Option '<TV>'")
    assert many == (
        "Server",
        "CWMP fault",
        "9004",
        "VoucherList: expected at most 64 members, got 65 [TR-069 A.2.1]",
    )
    assert denied == ("Client", "CWMP fault", "9001", OTHER)
    assert broken[:3] == ("Server", "CWMP fault", "9002")


def test_a_request_of_ours_is_one_for_others(server: Server) -> None:
    octets = set_vouchers_request([genuine(), b"second"], name="<1>")

    root = etree.fromstring(octets)
    header, body = root
    types = server.client.wsdl.types
    name = types.get_element(f"{{{CWMP}}}ID").parse(header[0], types)
    call = types.get_element(f"{{{CWMP}}}SetVouchers").parse(body[0], types)
    assert (header.tag, body.tag) == (f"{{{SOAP}}}Header", f"{{{SOAP}}}Body")
    assert name["_value_1"] == "<1>"
    assert call.VoucherList.base64 == [genuine(), b"second"]
