"""SetVouchers and GetOptions as the SOAP toolkits of servers write them, not as the examples of 3.5 do."""

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.rpc_kit import AFTER, IPTV_ON, ask, done, envelope, fault, get_options, listed, only
from tests.support.voucher_kit import IPTV, QOS
from vouchers.cpe.store import OptionStore

PHP: Final = """<?xml version="1.0" encoding="UTF-8"?>
<SOAP-ENV:Envelope xmlns:SOAP-ENV="http://schemas.xmlsoap.org/soap/envelope/" xmlns:ns1="urn:dslforum-org:cwmp-1-0" xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:SOAP-ENC="http://schemas.xmlsoap.org/soap/encoding/" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" SOAP-ENV:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><SOAP-ENV:Header><ns1:ID SOAP-ENV:mustUnderstand="1">1</ns1:ID></SOAP-ENV:Header><SOAP-ENV:Body><ns1:SetVouchers><VoucherList SOAP-ENC:arrayType="xsd:base64Binary[2]" xsi:type="SOAP-ENC:Array"><item xsi:type="xsd:base64Binary">@A</item><item xsi:type="xsd:base64Binary">@B</item></VoucherList></ns1:SetVouchers></SOAP-ENV:Body></SOAP-ENV:Envelope>
"""  # noqa: E501 - as PHP 8.2 writes it
GSOAP: Final = """<?xml version="1.0" encoding="UTF-8"?>
<SOAP-ENV:Envelope xmlns:SOAP-ENV="http://schemas.xmlsoap.org/soap/envelope/"
 xmlns:SOAP-ENC="http://schemas.xmlsoap.org/soap/encoding/" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
 xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:cwmp="urn:dslforum-org:cwmp-1-0">
 <SOAP-ENV:Header><cwmp:ID SOAP-ENV:mustUnderstand="1">1</cwmp:ID></SOAP-ENV:Header>
 <SOAP-ENV:Body SOAP-ENV:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/">
  <cwmp:SetVouchers>
   <VoucherList xsi:type="SOAP-ENC:Array" SOAP-ENC:arrayType="SOAP-ENC:base64[2]">
    <item xsi:type="SOAP-ENC:base64">@A</item>
    <item href="#_1"/>
   </VoucherList>
  </cwmp:SetVouchers>
  <id id="_1" xsi:type="SOAP-ENC:base64">@B</id>
 </SOAP-ENV:Body>
</SOAP-ENV:Envelope>
"""
DOT_NET: Final = """<?xml version="1.0" encoding="utf-8"?>
<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"
 xmlns:soapenc="http://schemas.xmlsoap.org/soap/encoding/" xmlns:tns="urn:dslforum-org:cwmp-1-0"
 xmlns:types="urn:dslforum-org:cwmp-1-0/encodedTypes" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
 xmlns:xsd="http://www.w3.org/2001/XMLSchema">
  <soap:Header><h:ID soap:mustUnderstand="1" xmlns:h="urn:dslforum-org:cwmp-1-0">1</h:ID></soap:Header>
  <soap:Body soap:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/">
    <tns:SetVouchers>
      <VoucherList href="#id1" />
    </tns:SetVouchers>
    <soapenc:Array id="id1" soapenc:arrayType="xsd:base64Binary[2]">
      <Item>@A</Item>
      <Item>@B</Item>
    </soapenc:Array>
  </soap:Body>
</soap:Envelope>
"""
AXIS: Final = """<?xml version="1.0" encoding="UTF-8"?>
<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"
 xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
 <soapenv:Header><ns1:ID soapenv:actor="" soapenv:mustUnderstand="1"
  xmlns:ns1="urn:dslforum-org:cwmp-1-0">1</ns1:ID></soapenv:Header>
 <soapenv:Body>
  <ns2:SetVouchers soapenv:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"
   xmlns:ns2="urn:dslforum-org:cwmp-1-0">
   <VoucherList soapenc:arrayType="soapenc:base64[2]" xsi:type="soapenc:Array"
    xmlns:soapenc="http://schemas.xmlsoap.org/soap/encoding/">
    <VoucherList href="#id0"/>
    <VoucherList href="#id1"/>
   </VoucherList>
  </ns2:SetVouchers>
  <multiRef id="id1" soapenc:root="0" soapenv:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"
   xsi:type="soapenc:base64" xmlns:soapenc="http://schemas.xmlsoap.org/soap/encoding/">@B</multiRef>
  <multiRef id="id0" soapenc:root="0" soapenv:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"
   xsi:type="soapenc:base64" xmlns:soapenc="http://schemas.xmlsoap.org/soap/encoding/">@A</multiRef>
 </soapenv:Body>
</soapenv:Envelope>
"""
WRITTEN: Final = {"PHP": PHP, "gSOAP": GSOAP, ".NET": DOT_NET, "Axis": AXIS}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[OptionStore]:
    with OptionStore(tmp_path / "options.db", create=True) as opened:
        yield opened


def filled(text: str) -> bytes:
    """Return a request with a voucher at each place that wants one."""
    first, second = (b64encode(only(option)).decode() for option in (IPTV, QOS))
    return text.replace("@A", first).replace("@B", second).encode()


@pytest.mark.parametrize("toolkit", WRITTEN)
def test_vouchers_are_set_whatever_wrote_the_request(store: OptionStore, toolkit: str) -> None:
    answer = ask(store, filled(WRITTEN[toolkit]))

    assert answer == done("1")
    assert ask(store, envelope(get_options())) == listed(*AFTER)


@pytest.mark.parametrize("toolkit", WRITTEN)
def test_a_voucher_that_is_wrong_is_named_by_its_place_whatever_wrote_it(
    store: OptionStore, toolkit: str
) -> None:
    answer = ask(store, filled(WRITTEN[toolkit].replace("@B", "!")))

    assert answer == fault(9003, "VoucherList[1]: must be base64 [TR-069 A.4.1.3]", "1")
    assert store.lives() == []


REFUSED: Final = {
    "a list with nothing in it": (
        PHP.replace('<item xsi:type="xsd:base64Binary">@B</item>', '<item xsi:nil="true"/>'),
        "VoucherList[1]: must not be nil",
    ),
    "a number": (
        PHP.replace('<item xsi:type="xsd:base64Binary">@B', '<item xsi:type="xsd:int">@B'),
        "VoucherList[1]: expected the type base64 or base64Binary or string, got 'xsd:int'",
    ),
    "another count": (PHP.replace("[2]", "[3]"), "VoucherList: expected 3 members by its arrayType, got 2"),
    "a value that there is not": (
        GSOAP.replace('id="_1"', 'id="_2"'),
        "VoucherList[1]: href must refer to a value next to the call, got '#_1'",
    ),
    "one value twice": (
        AXIS.replace('"#id1"', '"#id0"'),
        "VoucherList[1]: must not refer to the value of another member",
    ),
    "a list that there is not": (
        DOT_NET.replace('id="id1"', 'id="id3"'),
        "VoucherList: href must refer to a value next to the call, got '#id1'",
    ),
    "a list that refers to itself": (
        DOT_NET.replace('<soapenc:Array id="id1"', '<soapenc:Array href="#id1" id="id1"'),
        "VoucherList: href must refer to a value, got '#id1', which has an href itself",
    ),
    "one id twice": (AXIS.replace('"id1"', '"id0"'), "the id 'id0' must occur once"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_can_not_be_read_is_refused_with_its_place(store: OptionStore, what: str) -> None:
    text, problem = REFUSED[what]

    answer = ask(store, filled(text))

    assert answer == fault(9003, f"{problem} [TR-069 3.5]", "1")
    assert store.lives() == []


def test_a_member_that_is_its_own_list_is_no_voucher(store: OptionStore) -> None:
    answer = ask(store, filled(DOT_NET.replace("<Item>@B</Item>", '<Item href="#id1"/>')))

    assert answer == fault(
        9003, "VoucherList[1]: must not refer to the value of another member [TR-069 3.5]", "1"
    )
    assert store.lives() == []


def test_a_name_may_stand_beside_the_call(store: OptionStore) -> None:
    ask(store, filled(PHP))

    answer = ask(
        store,
        envelope(get_options().replace("<OptionName>", '<OptionName href="#a">') + '<x:a id="a">IPTV</x:a>'),
    )

    assert answer == listed(IPTV_ON)
