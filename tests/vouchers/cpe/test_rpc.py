"""SetVouchers and GetOptions as SOAP: what is asked, answered and refused (TR-069 3.5, A.2, A.4.1, A.5)."""

import os
import re
import sqlite3
import unicodedata
from base64 import b64encode, encodebytes
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from ctypes import CDLL
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spkg.common.digests import Digest
from spkg.cwmp.envelopes import MAX_ENVELOPE, MessageKind, read_message
from spkg.cwmp.faults import method_fault
from spkg.cwmp.soap import fault_response
from spkg.device import Device
from spkg.errors import (
    NO_ROOM,
    FormatError,
    HostError,
    RefusedError,
)
from tests.support.kit import AT, authority
from tests.support.namespaces import isolated
from tests.support.restrictions import at_most
from tests.support.rpc_kit import (
    AFTER,
    BEFORE,
    CWMP,
    ENCODING,
    HERE,
    IPTV_ON,
    IPTV_OVER,
    QOS_ON,
    SOAP,
    answered,
    ask,
    done,
    envelope,
    fault,
    genuine,
    get_options,
    listed,
    named,
    only,
    option,
    set_vouchers,
)
from tests.support.voucher_forge import OPTION, figure, forge
from tests.support.voucher_kit import DEVICE, IPTV, QOS, policy, signed
from vouchers.acs.request import set_vouchers_request
from vouchers.cpe.apply import check_vouchers
from vouchers.cpe.messages import options_response, vouchers_response
from vouchers.cpe.rpc import answer_rpc
from vouchers.cpe.store import OptionStore
from vouchers.cpe.store_tables import MAX_STORED_OPTIONS
from vouchers.model import Mode, Option, Voucher
from vouchers.signature.shape import MAX_VOUCHER
from vouchers.signature.verify import Verifier

DAY: Final = timedelta(days=1)


# What it gets.


@pytest.fixture
def store(tmp_path: Path) -> Iterator[OptionStore]:
    with OptionStore(tmp_path / "options.db", create=True) as opened:
        yield opened


def parsed(octets: bytes | None) -> ET.Element:
    """Read an answer with another parser than the library's."""
    assert octets is not None
    root = ET.fromstring(octets)  # noqa: S314 - it is ours
    assert root.tag == f"{{{SOAP}}}Envelope"
    return root


def code_of(octets: bytes | None) -> int | None:
    """Return the FaultCode of an answer; None where it is no fault."""
    found = parsed(octets).find(f".//{{{CWMP}}}Fault/FaultCode")
    return None if found is None else int(found.text or "")


def string_of(octets: bytes | None) -> str:
    """Return the FaultString of an answer."""
    found = parsed(octets).find(f".//{{{CWMP}}}Fault/FaultString")
    assert found is not None
    return found.text or ""


def id_of(octets: bytes | None) -> str | None:
    """Return the cwmp:ID of an answer, as another parser reads it; None where it has none."""
    found = parsed(octets).find(f"{{{SOAP}}}Header/{{{CWMP}}}ID")
    return None if found is None else found.text or ""


# The two methods.


def test_set_vouchers_is_answered_with_nothing_and_takes_effect(store: OptionStore) -> None:
    before = ask(store, envelope(get_options(), named("1")))
    answer = ask(store, envelope(set_vouchers(genuine()), named("2")))
    after = ask(store, envelope(get_options(), named("3")))

    assert before == listed(*BEFORE, name="1")
    assert answer == done("2")
    assert after == listed(*AFTER, name="3")


def test_all_vouchers_of_a_list_take_effect_in_its_order(store: OptionStore) -> None:
    first, second = replace(QOS, serial="1"), replace(QOS, serial="2", mode=Mode.DISABLE, transferable=False)

    answer = ask(store, envelope(set_vouchers(only(first), only(IPTV), only(second))))

    assert answer == done()
    assert ask(store, envelope(get_options("QoS"))) == listed(option("QoS", 2, 0, 0, "2026-06-01T12:00:00Z"))
    assert ask(store, envelope(get_options("IPTV"))) == listed(IPTV_ON)


def test_a_voucher_that_still_governs_is_set_again_with_success(store: OptionStore) -> None:
    request = envelope(set_vouchers(genuine()), named("again"))
    ask(store, request)
    lives = store.lives()

    answer = ask(store, request, now=AT + DAY)

    assert answer == done("again")
    assert store.lives() == lives


def test_one_voucher_may_stand_twice_in_a_list(store: OptionStore) -> None:
    answer = ask(store, envelope(set_vouchers(genuine(), genuine())))

    assert answer == done()
    assert ask(store, envelope(get_options())) == listed(*AFTER)


def test_a_voucher_that_governs_no_more_is_a_replay(store: OptionStore) -> None:
    ask(store, envelope(set_vouchers(only(QOS))))
    ask(store, envelope(set_vouchers(only(replace(QOS, serial="4003")))))
    lives = store.lives()

    answer = ask(store, envelope(set_vouchers(only(QOS)), named("replay")))

    assert answer == fault(
        9001,
        "VoucherList[0]: VSerialNum: voucher '4002' was applied before and no longer governs 'QoS' "
        "[TR-069 C.3, Table 62]",
        "replay",
    )
    assert store.lives() == lives


def test_a_list_that_has_taken_effect_is_set_again_with_success(store: OptionStore) -> None:
    first, second = only(replace(QOS, serial="1")), only(replace(QOS, serial="2"))
    request = envelope(set_vouchers(first, only(IPTV), second), named("1"))
    ask(store, request)
    lives = store.lives()

    answer = ask(store, request)

    assert answer == done("1")
    assert store.lives() == lives


def test_of_a_list_with_something_new_the_last_word_counts_or_none(store: OptionStore) -> None:
    governing, new = only(replace(QOS, serial="1")), only(replace(QOS, serial="2", description="new"))
    ask(store, envelope(set_vouchers(governing)))
    lives = store.lives()

    answer = ask(store, envelope(set_vouchers(new, governing), named("1")))

    assert (code_of(answer), id_of(answer)) == (9001, "1")
    assert store.lives() == lives


def test_a_serial_number_with_other_words_is_a_replay_beside_a_repetition(store: OptionStore) -> None:
    first, second = replace(QOS, serial="1"), replace(QOS, serial="2")
    other = replace(first, description="other")
    ask(store, envelope(set_vouchers(only(first), only(second))))
    lives = store.lives()

    answer = ask(store, envelope(set_vouchers(only(other), only(second)), named("1")))

    assert (code_of(answer), id_of(answer)) == (9001, "1")
    assert store.lives() == lives


def test_a_replay_is_named_by_its_place_in_the_list(store: OptionStore) -> None:
    for serial in ("1", "2"):
        ask(store, envelope(set_vouchers(only(replace(QOS, serial=serial)))))
    lives = store.lives()

    answer = ask(store, envelope(set_vouchers(only(IPTV), only(replace(QOS, serial="1")))))

    assert answer == fault(
        9001,
        "VoucherList[1]: VSerialNum: voucher '1' was applied before and no longer governs 'QoS' "
        "[TR-069 C.3, Table 62]",
    )
    assert store.lives() == lives


def test_a_voucher_whose_option_has_ended_is_not_set_again(store: OptionStore) -> None:
    ask(store, envelope(set_vouchers(only(IPTV))))
    after = datetime(2027, 5, 1, tzinfo=UTC)

    answer = ask(store, envelope(set_vouchers(only(IPTV))), now=after)

    assert answer == fault(
        9001, "VoucherList[0]: the Option 'IPTV' expired at 2027-05-01T00:00:00Z [TR-069 C.2]"
    )
    assert ask(store, envelope(get_options("IPTV")), now=after) == listed(IPTV_OVER)


# GetOptions.


@pytest.mark.parametrize(("name", "wanted"), [("IPTV", IPTV_ON), ("QoS", QOS_ON), ("VoIP", option("VoIP"))])
def test_one_option_is_asked_for_by_its_name(store: OptionStore, name: str, wanted: str) -> None:
    ask(store, envelope(set_vouchers(genuine())))

    answer = ask(store, envelope(get_options(name), named("7")))

    assert answer == listed(wanted, name="7")


@pytest.mark.parametrize("name", ["iptv", " IPTV", "IPTV ", "Q", "TV", "*", "'", "\u00e9"])
def test_an_option_that_there_is_not_is_a_wrong_argument(store: OptionStore, name: str) -> None:
    ask(store, envelope(set_vouchers(genuine())))

    answer = ask(store, envelope(get_options(name), named("7")))

    assert answer == fault(9003, f"unknown Option {name!r}", "7")


@pytest.mark.parametrize("empty", ["", "<!-- none -->", "<?none?>", "<![CDATA[]]>"])
def test_an_empty_name_asks_for_all_in_the_order_of_the_device(store: OptionStore, empty: str) -> None:
    answer = ask(store, envelope(get_options(empty)))

    assert answer == listed(*BEFORE)


def test_an_empty_element_asks_for_all_options(store: OptionStore) -> None:
    answer = ask(store, envelope("<cwmp:GetOptions><OptionName/></cwmp:GetOptions>"))

    assert answer == listed(*BEFORE)


def test_a_name_has_at_most_64_characters(store: OptionStore) -> None:
    longest = "\u20ac" * 64
    device = replace(HERE, supported_options=(longest,))

    taken = ask(store, envelope(get_options(longest)), device=device)
    refused = ask(store, envelope(get_options(f"{longest}\u20ac")), device=device)

    assert taken == listed(option(longest))
    assert refused == fault(9003, "OptionName: expected at most 64 characters, got 65 [TR-069 A.4.1.4]")


def test_a_device_that_supports_nothing_lists_nothing(store: OptionStore) -> None:
    answer = ask(store, envelope(get_options()), device=replace(HERE, supported_options=()))

    assert answer == listed()


def test_a_device_that_does_not_say_what_it_supports_lists_what_it_was_given(store: OptionStore) -> None:
    device = replace(HERE, supported_options=None)
    ask(store, envelope(set_vouchers(genuine())), device=device)

    everything = ask(store, envelope(get_options()), device=device)
    unknown = ask(store, envelope(get_options("VoIP")), device=device)

    assert everything == listed(IPTV_ON, QOS_ON)
    assert unknown == fault(9003, "unknown Option 'VoIP'")


def test_an_option_that_is_supported_no_more_is_not_listed(store: OptionStore) -> None:
    ask(store, envelope(set_vouchers(genuine())))
    device = replace(HERE, supported_options=("QoS",))

    everything = ask(store, envelope(get_options()), device=device)
    unknown = ask(store, envelope(get_options("IPTV")), device=device)

    assert everything == listed(QOS_ON)
    assert unknown == fault(9003, "unknown Option 'IPTV'")


def test_names_are_escaped(store: OptionStore) -> None:
    device = replace(HERE, supported_options=("R&D <\u00e9>",))

    answer = ask(store, envelope(get_options("R&amp;D &lt;&#xe9;>")), device=device)

    assert answer == listed(option("R&amp;D &lt;\u00e9&gt;"))


def test_an_option_of_the_future_is_enabled_when_its_day_has_come(store: OptionStore) -> None:
    start, end = "2026-07-01T00:00:00Z", "2026-08-01T00:00:00Z"
    ask(
        store, envelope(set_vouchers(only(replace(IPTV, start=datetime(2026, 7, 1, tzinfo=UTC), duration=1))))
    )

    states = [
        ask(store, envelope(get_options("IPTV")), now=datetime.fromisoformat(time))
        for time in ("2026-06-30T23:59:59Z", start, "2026-07-31T23:59:59Z", end)
    ]

    assert states == [
        listed(option("IPTV", 4001, 0, 1, start, expires=end)),
        listed(option("IPTV", 4001, 1, 1, start, expires=end)),
        listed(option("IPTV", 4001, 1, 1, start, expires=end)),
        listed(option("IPTV", 4001, 0, 0, start, expires=end)),
    ]


@pytest.mark.parametrize(
    ("granted", "state"),
    [(QOS, 3), (replace(QOS, mode=Mode.DISABLE, transferable=False), 2), (replace(QOS, start=AT + DAY), 2)],
)
def test_what_the_user_has_set_up_is_bit_1_of_the_state(
    store: OptionStore, granted: Option, state: int
) -> None:
    ask(store, envelope(set_vouchers(only(granted))))
    store.set_up("QoS", done=True)

    found = parsed(ask(store, envelope(get_options("QoS")))).find(".//State")

    assert found is not None
    assert found.text == str(state)


@pytest.mark.parametrize(
    ("serial", "number"),
    [
        ("0", 0),
        ("007", 7),
        ("4294967295", 4294967295),
        ("4294967296", 0),
        ("99999999999", 0),
        ("-1", 0),
        ("SN-1", 0),
        ("\u0661\u0662", 0),
    ],
)
def test_a_serial_number_that_is_no_unsigned_int_is_told_as_0(
    store: OptionStore, serial: str, number: int
) -> None:
    ask(store, envelope(set_vouchers(only(replace(QOS, serial=serial)))))

    found = parsed(ask(store, envelope(get_options("QoS")))).find(".//VoucherSN")

    assert found is not None
    assert found.text == str(number)


# How an envelope may be written.

WRITTEN: Final = {
    "the prefixes of other toolkits": (
        f'<SOAP-ENV:Envelope xmlns:SOAP-ENV="{SOAP}"><SOAP-ENV:Header><c:ID xmlns:c="{CWMP}" '
        f'SOAP-ENV:mustUnderstand="1">1</c:ID></SOAP-ENV:Header><SOAP-ENV:Body><ns1:GetOptions '
        f'xmlns:ns1="{CWMP}"><OptionName>IPTV</OptionName></ns1:GetOptions></SOAP-ENV:Body></SOAP-ENV:Envelope>'
    ),
    "default namespaces": (
        f'<Envelope xmlns="{SOAP}" xmlns:s="{SOAP}"><Header><ID xmlns="{CWMP}" s:mustUnderstand="1">1</ID>'
        f'</Header><Body><GetOptions xmlns="{CWMP}"><OptionName xmlns="">IPTV</OptionName></GetOptions>'
        "</Body></Envelope>"
    ),
    "a declaration, single quotes and line breaks": (
        f"<?xml version='1.0' encoding='utf-8' standalone='yes'?>\r\n<soap:Envelope xmlns:soap='{SOAP}'\r\n"
        f"\txmlns:cwmp='{CWMP}'\r\n>\r\n<soap:Header>\r\n<cwmp:ID soap:mustUnderstand='1' >1</cwmp:ID >\r\n"
        "</soap:Header>\r\n<soap:Body>\r\n<cwmp:GetOptions\t>\r\n<OptionName>IPTV</OptionName>\r\n"
        "</cwmp:GetOptions>\r\n</soap:Body>\r\n</soap:Envelope>\r\n"
    ),
    "a byte order mark": "\ufeff" + envelope(get_options("IPTV"), named("1")).decode(),
    "references to characters": envelope(get_options("&#x49;PT&#86;"), named("&#49;")).decode(),
    "a CDATA section": envelope(get_options("<![CDATA[IP]]>T<![CDATA[V]]>"), named("<![CDATA[1]]>")).decode(),
    "no encoding style": envelope(get_options("IPTV"), named("1"))
    .decode()
    .replace(f' soap:encodingStyle="{ENCODING}"', ""),
    "an encoding style of the call": envelope(
        get_options("IPTV").replace(">", f' soap:encodingStyle="{ENCODING}">', 1), named("1")
    ).decode(),
    "types of arguments": envelope(
        '<cwmp:GetOptions xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        'xmlns:xsd="http://www.w3.org/2001/XMLSchema"><OptionName xsi:type="xsd:string">IPTV</OptionName>'
        "</cwmp:GetOptions>",
        named("1"),
    ).decode(),
    "comments and processing instructions everywhere": (
        f'<!-- a --><?b?><soap:Envelope xmlns:soap="{SOAP}" xmlns:cwmp="{CWMP}"><!-- a --><?b?><soap:Header>'
        '<!-- a --><?b?><cwmp:ID soap:mustUnderstand="1"><!-- a --><?b?>1<!-- a --></cwmp:ID><?b?>'
        "</soap:Header><?b?><soap:Body><!-- a --><cwmp:GetOptions><?b?><OptionName>I<!-- a -->P<?b?>TV"
        "</OptionName><!-- a --></cwmp:GetOptions><?b?></soap:Body><!-- a --></soap:Envelope><!-- a --><?b?>"
    ),
    "unknown elements everywhere": (
        f'<soap:Envelope xmlns:soap="{SOAP}" xmlns:cwmp="{CWMP}" xmlns:x="urn:x"><x:a><OptionName/></x:a>'
        '<soap:Header><x:a/><cwmp:ID soap:mustUnderstand="1">1</cwmp:ID><x:a>2</x:a></soap:Header><x:a/>'
        "<soap:Body><cwmp:GetOptions><x:a><OptionName>QoS</OptionName></x:a><OptionName>IPTV</OptionName>"
        "<x:OptionName>QoS</x:OptionName></cwmp:GetOptions></soap:Body><x:a><soap:Body/></x:a></soap:Envelope>"
    ),
    "unknown attributes everywhere": (
        f'<soap:Envelope xmlns:soap="{SOAP}" xmlns:cwmp="{CWMP}" xmlns:x="urn:x" x:a="1">'
        '<soap:Header x:a="1"><cwmp:ID x:a="1" b="2" soap:mustUnderstand="1">1</cwmp:ID></soap:Header>'
        '<soap:Body x:a="1" xml:lang="en"><cwmp:GetOptions x:a="1" b="2"><OptionName x:a="1" b="2" '
        'xml:space="preserve">IPTV</OptionName></cwmp:GetOptions></soap:Body></soap:Envelope>'
    ),
    "text beside elements": (
        f'<soap:Envelope xmlns:soap="{SOAP}" xmlns:cwmp="{CWMP}">a<soap:Header>b<cwmp:ID '
        'soap:mustUnderstand="1">1</cwmp:ID>c</soap:Header>d<soap:Body>e<cwmp:GetOptions>f<OptionName>IPTV'
        "</OptionName>g</cwmp:GetOptions>h</soap:Body>i</soap:Envelope>"
    ),
}


@pytest.mark.parametrize("how", WRITTEN)
def test_an_envelope_is_the_same_however_it_is_written(store: OptionStore, how: str) -> None:
    answer = ask(store, WRITTEN[how].encode())

    assert answer == listed(option("IPTV"), name="1")


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "soapenc:base64[1]",
        "xsd:base64Binary[1]",
        "soapenc:base64[]",
        "soapenc:base64[1] ",
        "soapenc:base64[][1]",
        "soapenc:base64[01]",
        "soapenc:base64",
        "[1]",
    ],
)
def test_an_array_type_may_be_written_in_any_way_or_missing(store: OptionStore, kind: str) -> None:
    answer = ask(store, envelope(set_vouchers(genuine(), kind=kind)))

    assert answer == done()


def test_an_array_type_in_the_namespace_of_the_example_is_an_unknown_attribute(store: OptionStore) -> None:
    call = set_vouchers(genuine()).replace('soapenc:arrayType="soapenc:base64[1]"', 'soap:arrayType="a:b[2]"')

    answer = ask(store, envelope(call))

    assert answer == done()


@pytest.mark.parametrize("count", [2, 3, 64, 999999999])
def test_an_array_holds_as_many_members_as_its_type_says(store: OptionStore, count: int) -> None:
    answer = ask(store, envelope(set_vouchers(genuine(), kind=f"soapenc:base64[{count}]")))

    assert answer == fault(
        9003, f"VoucherList: expected {count} members by its arrayType, got 1 [TR-069 3.5]"
    )
    assert store.lives() == []


def test_an_array_that_says_it_is_shorter_is_wrong_too(store: OptionStore) -> None:
    answer = ask(store, envelope(set_vouchers(genuine(), genuine(), kind="soapenc:base64[1]")))

    assert answer == fault(9003, "VoucherList: expected 1 member by its arrayType, got 2 [TR-069 3.5]")
    assert store.lives() == []


def test_what_is_unknown_in_a_list_of_vouchers_is_ignored(store: OptionStore) -> None:
    call = set_vouchers(genuine()).replace("<base64>", 'text<!-- a --><?b?><base64 x:a="1" b="2">', 1)

    answer = ask(store, envelope(call))

    assert answer == done()
    assert ask(store, envelope(get_options())) == listed(*AFTER)


# Wrong arguments.


@pytest.mark.parametrize(
    ("arguments", "got"),
    [
        ("", "none"),
        ("IPTV", "none"),
        ("<Name>IPTV</Name>", "Name"),
        ("<optionName>IPTV</optionName>", "optionName"),
        ("<x:OptionName>IPTV</x:OptionName>", "none"),
        ("<OptionName>IPTV</OptionName><OptionName>IPTV</OptionName>", "OptionName, OptionName"),
        ("<OptionName>IPTV</OptionName><Name>IPTV</Name>", "OptionName, Name"),
        ("<Name>IPTV</Name><OptionName>IPTV</OptionName>", "Name, OptionName"),
        ("<VoucherList></VoucherList>", "VoucherList"),
        ("<a><OptionName>IPTV</OptionName></a>", "a"),
        (f"<{'a' * 200}/>", "a" * 128),
    ],
)
def test_get_options_has_its_one_argument_and_no_other(store: OptionStore, arguments: str, got: str) -> None:
    answer = ask(store, envelope(f"<cwmp:GetOptions>{arguments}</cwmp:GetOptions>", named("1")))

    assert answer == fault(9003, f"expected the one argument OptionName, got {got} [TR-069 A.2.2]", "1")


@pytest.mark.parametrize(
    ("arguments", "got"),
    [
        ("", "none"),
        ("<base64>{}</base64>", "base64"),
        ("<VoucherLists><base64>{}</base64></VoucherLists>", "VoucherLists"),
        ("<x:VoucherList><base64>{}</base64></x:VoucherList>", "none"),
        ("<VoucherList><base64>{}</base64></VoucherList>" * 2, "VoucherList, VoucherList"),
        (
            "<VoucherList><base64>{}</base64></VoucherList><OptionName></OptionName>",
            "VoucherList, OptionName",
        ),
        (
            "<OptionName></OptionName><VoucherList><base64>{}</base64></VoucherList>",
            "OptionName, VoucherList",
        ),
    ],
)
def test_set_vouchers_has_its_one_argument_and_no_other(store: OptionStore, arguments: str, got: str) -> None:
    body = arguments.replace("{}", b64encode(genuine()).decode())

    answer = ask(store, envelope(f"<cwmp:SetVouchers>{body}</cwmp:SetVouchers>", named("1")))

    assert answer == fault(9003, f"expected the one argument VoucherList, got {got} [TR-069 A.2.2]", "1")
    assert store.lives() == []


@pytest.mark.parametrize("members", ["", "text", "<!-- none -->"])
def test_a_list_of_no_vouchers_is_none(store: OptionStore, members: str) -> None:
    answer = ask(store, envelope(set_vouchers(kind="").replace("></V", f">{members}</V")))

    assert answer == fault(9003, "VoucherList: must have at least one voucher [TR-069 A.4.1.3]")
    assert store.lives() == []


def test_a_member_may_be_named_as_soap_names_its_type(store: OptionStore) -> None:
    call = set_vouchers(only(QOS), only(IPTV)).replace("<base64>", "<soapenc:base64>", 1)
    call = call.replace("</base64>", "</soapenc:base64>", 1)

    answer = ask(store, envelope(call))

    assert answer == done()
    assert ask(store, envelope(get_options())) == listed(*AFTER)


def test_elements_in_a_value_are_ignored(store: OptionStore) -> None:
    text = b64encode(genuine()).decode()
    inside = "<x:a>no<x:b/></x:a>"

    answer = ask(store, envelope(set_vouchers(f"{inside}{text[:9]}{inside}{text[9:]}{inside}"), named("1")))
    told = ask(store, envelope(get_options(f"I{inside}PT{inside}V"), named(f"{inside}12{inside}34")))

    assert answer == done("1")
    assert told == listed(IPTV_ON, name="1234")


def test_arguments_may_be_of_the_namespace_of_the_call(store: OptionStore) -> None:
    call = f'<GetOptions xmlns="{CWMP}"><OptionName>IPTV</OptionName></GetOptions>'

    answer = ask(store, envelope(call))

    assert answer == listed(option("IPTV"))


def test_base64_may_be_broken_into_lines(store: OptionStore) -> None:
    lines = encodebytes(genuine()).decode()
    text = f"\r\n\t {lines[:100]}<!-- a -->{lines[100:]}"

    answer = ask(store, envelope(set_vouchers(text)))

    assert answer == done()


@pytest.mark.parametrize(
    "wrong", ["!", "=", "\u00a0", "\u00e9", "-_", "AAAAA", "====", "{}=", "{}A", "{}AAAA=AAA"]
)
def test_what_is_no_base64_is_a_wrong_argument(store: OptionStore, wrong: str) -> None:
    text = wrong.replace("{}", b64encode(genuine()).decode())

    answer = ask(store, envelope(set_vouchers(genuine(), text), named("1")))

    assert answer == fault(9003, "VoucherList[1]: must be base64 [TR-069 A.4.1.3]", "1")
    assert store.lives() == []


@pytest.mark.parametrize(
    ("octets", "problem"),
    [
        (b"", "offset 0x0000: malformed XML: document is empty"),
        (b"voucher", "offset 0x0000: malformed XML: start tag expected, '&lt;' not found"),
        (b"<a/>", "a: must be a Signature of XML-Signature (line 1)"),
        (b"\xff", "offset 0x0000: not UTF-8: invalid start byte"),
        (b"<!DOCTYPE a><a/>", "offset 0x0000: a document type declaration is not accepted"),
    ],
)
def test_what_is_no_voucher_is_a_wrong_argument(store: OptionStore, octets: bytes, problem: str) -> None:
    answer = ask(store, envelope(set_vouchers(genuine(), octets), named("1")))

    assert answer == fault(9003, f"VoucherList[1]: {problem} [TR-069 C.3]", "1")
    assert store.lives() == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            b"<OptionIdent>IPTV",
            b"<OptionIdent>IP<!-- a -->TV",
            ".OptionIdent: contains a comment or processing instruction",
        ),
        (
            b"<OptionIdent>IPTV",
            b"<OptionIdent>IP<?b?>TV",
            ".OptionIdent: contains a comment or processing instruction",
        ),
        (b"<Option>\n", b"<Option><!-- a -->\n", ": contains a comment or processing instruction"),
    ],
)
def test_a_comment_is_ignored_in_the_envelope_and_never_in_a_voucher(
    store: OptionStore, old: bytes, new: bytes, problem: str
) -> None:
    before, _, after = genuine().partition(old)

    answer = ask(store, envelope(f"<!-- a --><?b?>{set_vouchers(before + new + after)}"))

    line = before.count(b"\n") + 1
    assert answer == fault(
        9003, f"VoucherList[0]: Signature.Object[0].Option{problem} (line {line}) [TR-069 C.3]"
    )
    assert store.lives() == []


def test_a_comment_may_stand_beside_a_voucher(store: OptionStore) -> None:
    assert ask(store, envelope(set_vouchers(b"<!-- a -->" + genuine()))) == done()


def test_nothing_else_stands_beside_a_voucher(store: OptionStore) -> None:
    answer = ask(store, envelope(set_vouchers(b"<?b?>" + genuine())))

    assert answer == fault(9003, "VoucherList[0]: a processing instruction outside the root [TR-069 C.3]")
    assert store.lives() == []


# Vouchers that are not for here, not by those, not now.


def test_a_voucher_of_nobody_who_is_believed_is_denied(store: OptionStore) -> None:
    elsewhere = authority("Other Root", with_key="second").certificate

    answer = ask(
        store,
        envelope(set_vouchers(genuine()), named("1")),
        verifier=Verifier(policy(anchors=(elsewhere,))),
    )

    assert answer == fault(
        9001, "VoucherList[0]: CN=Test Root: self-signed certificate in certificate chain", "1"
    )
    assert store.lives() == []


def test_a_signer_whose_certificate_has_expired_is_denied(store: OptionStore) -> None:
    expired = signed(end=AT - DAY)

    answer = ask(store, envelope(set_vouchers(expired)))

    assert answer == fault(
        9001,
        "VoucherList[0]: CN=Voucher Signer: certificate has expired: "
        "valid until 2026-05-31T12:00:00Z, checked at 2026-06-01T12:00:00Z",
    )
    assert ask(store, envelope(set_vouchers(expired)), now=AT - 2 * DAY) == done()


def test_contents_that_are_not_the_signed_ones_are_denied(store: OptionStore) -> None:
    forged = genuine().replace(b"<OptionDesc>Television", b"<OptionDesc>television")

    answer = ask(store, envelope(set_vouchers(forged)))

    assert answer == fault(
        9001, "VoucherList[0]: Signature.Object[0]: contents do not match the signed digest"
    )
    assert store.lives() == []


def test_a_digest_that_is_not_accepted_is_denied(store: OptionStore) -> None:
    answer = ask(store, envelope(set_vouchers(signed(digest=Digest.SHA1))))

    assert answer == fault(9001, "VoucherList[0]: a signature with sha1 is not accepted")
    assert store.lives() == []


@pytest.mark.parametrize(
    ("device", "who"),
    [
        (replace(HERE, oui="00D09F"), "00D09F 'Gateway' '123456789'"),
        (replace(HERE, product_class="gateway"), "00D09E 'gateway' '123456789'"),
        (replace(HERE, serial_number="123456780"), "00D09E 'Gateway' '123456780'"),
    ],
)
def test_a_voucher_for_another_device_is_denied(store: OptionStore, device: Device, who: str) -> None:
    answer = ask(store, envelope(set_vouchers(genuine()), named("1")), device=device)

    assert answer == fault(
        9001,
        "VoucherList[0]: DeviceId: the voucher is for 00D09E 'Gateway' '123456789', "
        f"but this device is {who} [TR-069 C.3, Table 62]",
        "1",
    )
    assert store.lives() == []


def test_a_voucher_for_an_option_that_is_not_supported_is_denied(store: OptionStore) -> None:
    answer = ask(
        store, envelope(set_vouchers(genuine())), device=replace(HERE, supported_options=("IPTV", "VoIP"))
    )

    assert answer == fault(9001, "VoucherList[0]: this device has no Option 'QoS' [TR-069 C.3, Table 62]")
    assert store.lives() == []


def test_a_voucher_that_is_over_is_denied(store: OptionStore) -> None:
    answer = ask(store, envelope(set_vouchers(genuine())), now=datetime(2027, 5, 1, tzinfo=UTC))

    assert answer == fault(
        9001, "VoucherList[0]: the Option 'IPTV' expired at 2027-05-01T00:00:00Z [TR-069 C.2]"
    )
    assert store.lives() == []


SPOILT: Final[dict[str, tuple[Callable[[], bytes | str], int]]] = {
    "another device": (lambda: signed(_for_another()), 9001),
    "a replay": (lambda: only(replace(QOS, serial="1")), 9001),
    "no signature that holds": (lambda: genuine().replace(b">4001<", b">4009<"), 9001),
    "no voucher": (lambda: b"<a/>", 9003),
    "not base64": (lambda: "!", 9003),
    "too large a voucher": (lambda: b"<" * (MAX_VOUCHER + 1), 9004),
}
"""What spoils a list, and the FaultCode."""


def _for_another() -> Voucher:
    other = replace(DEVICE, serial_number="2")
    return Voucher(options=(replace(IPTV, device=other),))


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("how", SPOILT)
def test_all_vouchers_of_a_list_take_effect_or_none(store: OptionStore, how: str, place: int) -> None:
    ask(store, envelope(set_vouchers(only(replace(QOS, serial="1")))))
    ask(store, envelope(set_vouchers(only(replace(QOS, serial="2")))))
    lives = store.lives()
    make, code = SPOILT[how]
    vouchers: list[bytes | str] = [only(IPTV)]
    vouchers.insert(place, make())

    answer = ask(store, envelope(set_vouchers(*vouchers), named("1")))

    assert (code_of(answer), id_of(answer)) == (code, "1")
    assert store.lives() == lives
    assert ask(store, envelope(set_vouchers(only(IPTV)))) == done()  # it does not count as seen


# Without a clock.


def test_nothing_is_granted_before_there_is_network_time(store: OptionStore) -> None:
    answer = ask(store, envelope(set_vouchers(genuine()), named("1")), now=None)

    assert answer == fault(9001, "network time is not established [TR-069 C.2]", "1")
    assert store.lives() == []


def test_without_network_time_options_stand_as_they_did_when_it_was_last_known(store: OptionStore) -> None:
    ask(store, envelope(set_vouchers(only(replace(QOS, start=AT + DAY)))))
    early = ask(store, envelope(get_options("QoS")), now=None)
    ask(store, envelope(get_options()), now=AT + 2 * DAY)

    late = ask(store, envelope(get_options("QoS")), now=None)

    assert early == listed(option("QoS", 4002, 0, 2, "2026-06-02T12:00:00Z", transferable=1))
    assert late == listed(option("QoS", 4002, 1, 2, "2026-06-02T12:00:00Z", transferable=1))


def test_where_no_time_was_ever_known_what_has_a_start_has_not_begun(store: OptionStore) -> None:
    ask(store, envelope(set_vouchers(genuine())), supposed=True)

    answer = ask(store, envelope(get_options()), now=None)

    assert store.last_time() is None
    assert answer == listed(
        QOS_ON,
        option("IPTV", 4001, 0, 1, "2026-05-01T00:00:00Z", expires="2027-05-01T00:00:00Z"),
        option("VoIP"),
    )


def test_the_time_that_was_last_known_counts_also_for_what_was_granted_at_a_supposed_one(
    store: OptionStore,
) -> None:
    ask(store, envelope(get_options()), now=AT + 2 * DAY)
    ask(store, envelope(set_vouchers(only(replace(QOS, start=AT + DAY)))), supposed=True)

    answer = ask(store, envelope(get_options("QoS")), now=None)

    assert answer == listed(option("QoS", 4002, 1, 2, "2026-06-02T12:00:00Z", transferable=1))


def test_an_expiry_that_was_seen_stays_one(store: OptionStore) -> None:
    ask(store, envelope(set_vouchers(genuine())))
    ask(store, envelope(get_options()), now=datetime(2027, 5, 1, tzinfo=UTC))

    answer = ask(store, envelope(get_options()), now=AT)

    assert answer == listed(QOS_ON, IPTV_OVER, option("VoIP"))


def test_a_beginning_that_was_seen_stays_one(store: OptionStore) -> None:
    ask(store, envelope(set_vouchers(only(replace(QOS, start=AT + DAY)))))
    ask(store, envelope(get_options()), now=AT + 2 * DAY)

    back = ask(store, envelope(get_options("QoS")), now=AT)
    supposed = ask(store, envelope(get_options("QoS")), now=AT, supposed=True)

    assert back == listed(option("QoS", 4002, 1, 2, "2026-06-02T12:00:00Z", transferable=1))
    assert supposed == listed(option("QoS", 4002, 0, 2, "2026-06-02T12:00:00Z", transferable=1))


def test_of_a_time_that_is_only_supposed_nothing_is_remembered(store: OptionStore) -> None:
    ask(store, envelope(set_vouchers(genuine())))

    then = ask(store, envelope(get_options()), now=datetime(2027, 5, 1, tzinfo=UTC), supposed=True)
    now = ask(store, envelope(get_options()))

    assert then == listed(QOS_ON, IPTV_OVER, option("VoIP"))
    assert now == listed(*AFTER)
    assert store.last_time() == AT


# Another provider.

PROVIDER: Final = replace(HERE, provisioning_code="ISP-2")


def test_a_new_provider_ends_what_is_not_transferable_before_it_is_told(store: OptionStore) -> None:
    ask(store, envelope(set_vouchers(genuine())))

    changed = ask(store, envelope(get_options()), device=PROVIDER)
    back = ask(store, envelope(get_options()))

    assert changed == listed(QOS_ON, IPTV_OVER, option("VoIP"))
    assert back == changed


def test_a_new_provider_is_one_also_where_the_request_is_refused(store: OptionStore) -> None:
    ask(store, envelope(set_vouchers(genuine())))

    refused = ask(store, envelope(set_vouchers(b"<a/>")), device=PROVIDER)

    assert code_of(refused) == 9003
    assert ask(store, envelope(get_options())) == listed(QOS_ON, IPTV_OVER, option("VoIP"))


@pytest.mark.parametrize("header", ["", '<x:a soap:mustUnderstand="1"/>'])
def test_a_new_provider_is_one_also_where_nothing_is_called(store: OptionStore, header: str) -> None:
    ask(store, envelope(set_vouchers(genuine())))

    ask(store, envelope("", header), device=PROVIDER)

    assert ask(store, envelope(get_options())) == listed(QOS_ON, IPTV_OVER, option("VoIP"))


def test_what_another_provider_ended_its_old_voucher_does_not_bring_back(store: OptionStore) -> None:
    ask(store, envelope(set_vouchers(only(IPTV))))

    answer = ask(store, envelope(set_vouchers(only(IPTV))), device=PROVIDER)

    assert answer == fault(
        9001,
        "VoucherList[0]: VSerialNum: voucher '4001' was applied before and no longer governs 'IPTV' "
        "[TR-069 C.3, Table 62]",
    )
    assert ask(store, envelope(get_options("IPTV")), device=PROVIDER) == listed(IPTV_OVER)


@pytest.mark.parametrize("code", [None, "ISP-1"])
def test_a_provider_that_is_the_same_or_not_known_ends_nothing(store: OptionStore, code: str | None) -> None:
    ask(store, envelope(set_vouchers(genuine())))

    answer = ask(store, envelope(get_options()), device=replace(HERE, provisioning_code=code))

    assert answer == listed(*AFTER)


# The header.

NAMES: Final = {
    "1234": "1234",
    "": "",
    "  two spaces  ": "  two spaces  ",
    "R&amp;D &lt;b&gt; \"'": "R&amp;D &lt;b&gt; \"'",
    "]]&gt;": "]]&gt;",
    "<![CDATA[<x>&amp;]]>": "&lt;x&gt;&amp;amp;",
    "a&#13;&#10;&#9;b": "a&#xD;\n\tb",
    "line\nbreak": "line\nbreak",
    "12<!-- a -->34<?b?>56": "123456",
    "\u00e9 \u65e5\u672c \U0001f4fa": "\u00e9 \u65e5\u672c \U0001f4fa",
    "\u202e\u00a0\u0085\u2028": "\u202e\u00a0\u0085\u2028",
    "7" * 100_000: "7" * 100_000,
}
"""An ID as it comes, and as it is written again."""


@pytest.mark.parametrize("given", NAMES, ids=range(len(NAMES)))
def test_an_answer_and_a_fault_repeat_the_id_of_the_request(store: OptionStore, given: str) -> None:
    wanted = NAMES[given]

    answer = ask(store, envelope(get_options("VoIP"), named(given)))
    refused = ask(store, envelope("<cwmp:Upload/>", named(given)))

    assert answer == listed(option("VoIP"), name=wanted)
    assert refused == fault(9000, f"the method {{{CWMP}}}Upload is not supported", wanted)
    assert id_of(answer) == id_of(envelope("", named(given)))


@pytest.mark.parametrize("header", [None, "", "<x:ID>1</x:ID>", "<ID>1</ID>"])
def test_an_answer_has_no_id_where_the_request_has_none(store: OptionStore, header: str | None) -> None:
    answer = ask(store, envelope(get_options("VoIP"), header))

    assert answer == listed(option("VoIP"))


@pytest.mark.parametrize("attributes", ["", ' soap:mustUnderstand="0"', ' soap:mustUnderstand="true"'])
def test_an_id_is_repeated_as_one_to_understand_however_it_was_marked(
    store: OptionStore, attributes: str
) -> None:
    answer = ask(store, envelope(get_options("VoIP"), f"<cwmp:ID{attributes}>1</cwmp:ID>"))

    assert answer == listed(option("VoIP"), name="1")


NEXT: Final = "http://schemas.xmlsoap.org/soap/actor/next"


@pytest.mark.parametrize(
    "attributes",
    [
        "",
        'soap:mustUnderstand="0"',
        'soap:mustUnderstand="false"',
        'soap:mustUnderstand=""',
        'mustUnderstand="1"',
        'x:mustUnderstand="1"',
        f'soap:actor="{NEXT}"',
        'soap:mustUnderstand="1" soap:actor="http://example.com/somebody-else"',
    ],
)
def test_an_unknown_header_that_need_not_be_understood_here_is_ignored(
    store: OptionStore, attributes: str
) -> None:
    answer = ask(store, envelope(get_options("VoIP"), f"<x:Price {attributes}>5</x:Price>{named('1')}"))

    assert answer == listed(option("VoIP"), name="1")


@pytest.mark.parametrize(
    "attributes",
    [
        'soap:mustUnderstand="1"',
        'soap:mustUnderstand="true"',
        'soap:mustUnderstand="yes"',
        'soap:mustUnderstand="1" soap:actor=""',
        f'soap:mustUnderstand="1" soap:actor="{NEXT}"',
        'soap:mustUnderstand="1" actor="http://example.com/somebody-else"',
    ],
)
def test_an_unknown_header_that_must_be_understood_fails_the_request(
    store: OptionStore, attributes: str
) -> None:
    answer = ask(store, envelope(set_vouchers(genuine()), f"{named('1')}<x:Price {attributes}>5</x:Price>"))

    assert answer == fault(9003, "the header {urn:x}Price is not understood [TR-069 3.5]", "1")
    assert store.lives() == []


@pytest.mark.parametrize("body", ["", get_options(), get_options() * 2, "<cwmp:GetOptions/>"])
def test_the_first_header_that_is_not_understood_is_named(store: OptionStore, body: str) -> None:
    first, second = (f'<x:{name} soap:mustUnderstand="1"/>' for name in ("A", "B"))

    answer = ask(store, envelope(body, f"{first}{second}"))

    problem = (
        "expected one call in the Body, got 2"
        if body.count("<cwmp:") == 2
        else "the header {urn:x}A is not understood"
    )
    assert answer == fault(9003, f"{problem} [TR-069 3.5]")


def test_a_header_that_is_not_understood_is_named_within_bounds(store: OptionStore) -> None:
    name = "\u65e5" * 1000

    answer = ask(store, envelope("", f'<x:{name} soap:mustUnderstand="1"/>'))

    tag = f"{{urn:x}}{name}"
    assert answer == fault(9003, f"the header {tag[:128]} is not understood [TR-069 3.5]")


def test_an_unknown_method_comes_before_a_header_that_is_not_understood(store: OptionStore) -> None:
    octets = envelope(get_options(), named("1")).replace(b"cwmp-1-0", b"cwmp-2-0")  # as is its ID

    answer = ask(store, octets)

    assert answer == fault(9000, "the method {urn:dslforum-org:cwmp-2-0}GetOptions is not supported")


@pytest.mark.parametrize("version", [b"cwmp-1-1", b"cwmp-1-2", b"cwmp-1-15"])
def test_a_later_namespace_is_answered_as_it_asked(store: OptionStore, version: bytes) -> None:
    told, failed, done_so = (
        ask(store, envelope(call, named("1")).replace(b"cwmp-1-0", version))
        for call in (get_options("VoIP"), get_options("TV"), set_vouchers(genuine()))
    )

    assert told == listed(option("VoIP"), name="1").replace(b"cwmp-1-0", version)
    assert failed == fault(9003, "unknown Option 'TV'", "1").replace(b"cwmp-1-0", version)
    assert done_so == done("1").replace(b"cwmp-1-0", version)


def test_what_must_be_understood_deeper_in_a_header_is_part_of_it(store: OptionStore) -> None:
    header = '<x:Price><x:Tax soap:mustUnderstand="1"/></x:Price>'

    answer = ask(store, envelope(get_options("VoIP"), header))

    assert answer == listed(option("VoIP"))


FLAGS: Final = {
    None: False,
    "0": False,
    "false": False,
    "1": True,
    "true": True,
    " 1\r\n": True,
    "0<!---->": False,
}


@pytest.mark.parametrize("no_more", FLAGS)
@pytest.mark.parametrize("hold", FLAGS)
def test_hold_requests_and_no_more_requests_are_booleans(hold: str | None, no_more: str | None) -> None:
    headers = "" if hold is None else f'<cwmp:HoldRequests soap:mustUnderstand="1">{hold}</cwmp:HoldRequests>'
    headers += "" if no_more is None else f"<cwmp:NoMoreRequests>{no_more}</cwmp:NoMoreRequests>"

    request = read_message(envelope("", headers))

    assert (request.kind, request.problem) == (MessageKind.FLOW, None)
    assert (request.hold_requests, request.no_more_requests) == (FLAGS[hold], FLAGS[no_more])


@pytest.mark.parametrize("value", ["", "2", "-1", "yes", "True", "TRUE", "01", "1 0", "\u00a01"])
@pytest.mark.parametrize("name", ["HoldRequests", "NoMoreRequests"])
def test_hold_requests_and_no_more_requests_are_nothing_else(
    store: OptionStore, name: str, value: str
) -> None:
    header = f"{named('1')}<cwmp:{name}>{value}</cwmp:{name}>"

    answer = ask(store, envelope(set_vouchers(genuine()), header))
    alone = read_message(envelope("", header))

    assert answer == fault(9003, f"{name}: must be 0 or 1 [TR-069 3.5]", "1")
    assert store.lives() == []
    assert (alone.hold_requests, alone.no_more_requests) == (False, False)


def test_all_headers_of_the_specification_are_understood(store: OptionStore) -> None:
    headers = named("1") + "".join(
        f'<cwmp:{name} soap:mustUnderstand="1">1</cwmp:{name}>' for name in ("HoldRequests", "NoMoreRequests")
    )

    answer = ask(store, envelope(set_vouchers(genuine()), headers))

    assert answer == done("1")


@pytest.mark.parametrize("name", ["ID", "HoldRequests", "NoMoreRequests"])
def test_a_header_of_the_specification_is_there_once(store: OptionStore, name: str) -> None:
    twice = f"<cwmp:{name}>1</cwmp:{name}>" * 2

    answer = ask(store, envelope(set_vouchers(genuine()), twice))

    said = "1" if name == "ID" else None
    assert answer == fault(9003, f"the header {name} must occur once [TR-069 3.5]", said)
    assert store.lives() == []


def test_a_request_makes_one_call(store: OptionStore) -> None:
    answer = ask(store, envelope(set_vouchers(genuine()) * 2, named("1")))

    assert answer == fault(9003, "expected one call in the Body, got 2 [TR-069 3.5]", "1")
    assert store.lives() == []


@pytest.mark.parametrize("body", ["", "\n  \n", "text", "<!-- none --><?none?>"])
@pytest.mark.parametrize(
    "header", [None, "", named("1"), '<cwmp:HoldRequests soap:mustUnderstand="1">1</cwmp:HoldRequests>']
)
def test_an_envelope_of_headers_alone_gets_no_answer(
    store: OptionStore, header: str | None, body: str
) -> None:
    answer = ask(store, envelope(body, header))

    assert answer is None


# What is not ours.


@pytest.mark.parametrize(
    ("call", "name"),
    [
        ("<cwmp:Upload><CommandKey></CommandKey></cwmp:Upload>", f"{{{CWMP}}}Upload"),
        ("<cwmp:GetRPCMethods></cwmp:GetRPCMethods>", f"{{{CWMP}}}GetRPCMethods"),
        ("<cwmp:X_00D09E_Reset/>", f"{{{CWMP}}}X_00D09E_Reset"),
        ("<cwmp:getOptions><OptionName/></cwmp:getOptions>", f"{{{CWMP}}}getOptions"),
        ("<cwmp:GetOptionsResponse/>", f"{{{CWMP}}}GetOptionsResponse"),
        ("<GetOptions><OptionName/></GetOptions>", "GetOptions"),
        ("<x:GetOptions><OptionName/></x:GetOptions>", "{urn:x}GetOptions"),
        (
            '<c:GetOptions xmlns:c="urn:dslforum-org:cwmp-2-0"><OptionName/></c:GetOptions>',
            "{urn:dslforum-org:cwmp-2-0}GetOptions",
        ),
        ('<c:SetVouchers xmlns:c="urn:dslforum-org:cwmp-1-"/>', "{urn:dslforum-org:cwmp-1-}SetVouchers"),
        ("<soap:Fault/>", f"{{{SOAP}}}Fault"),
        (f"<x:{'a' * 1000}/>", f"{{urn:x}}{'a' * 121}"),
    ],
)
def test_a_method_that_is_none_of_ours_is_not_supported(store: OptionStore, call: str, name: str) -> None:
    answer = ask(store, envelope(call, named("1")))

    assert answer == fault(9000, f"the method {name} is not supported", "1")


TEXT: Final = envelope(get_options()).decode()
BOMB: Final = (
    '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;">]>'
)
ILL_FORMED: Final = {
    "nothing": (b"", "offset 0x0000: malformed XML: document is empty"),
    "blanks": (b" \r\n", "offset 0x0003: malformed XML: start tag expected, '<' not found"),
    "no XML": (b"GetOptions", "offset 0x0000: malformed XML: start tag expected, '<' not found"),
    "another root": (b"<a/>", "a: must be an Envelope of SOAP 1.1 (line 1)"),
    "an envelope of no namespace": (
        b"<Envelope><Body/></Envelope>",
        "Envelope: must be an Envelope of SOAP 1.1 (line 1)",
    ),
    "SOAP 1.2": (
        TEXT.replace(SOAP, "http://www.w3.org/2003/05/soap-envelope").encode(),
        "Envelope: must be an Envelope of SOAP 1.1 (line 1)",
    ),
    "no Body": (
        f'<Envelope xmlns="{SOAP}"><Header/></Envelope>'.encode(),
        "Envelope: expected one Body, got 0 (line 1)",
    ),
    "a Body of another namespace": (
        f'<s:Envelope xmlns:s="{SOAP}"><Body/></s:Envelope>'.encode(),
        "Envelope: expected one Body, got 0 (line 1)",
    ),
    "two Bodies": (
        f'<Envelope xmlns="{SOAP}"><Body/><Body/></Envelope>'.encode(),
        "Envelope: expected one Body, got 2 (line 1)",
    ),
    "not UTF-8": (
        envelope(get_options("\u00e9")).decode().encode("latin-1"),
        f"offset 0x{TEXT.index('</OptionName>'):04x}: not UTF-8: invalid continuation byte",
    ),
    "another encoding": (
        f'<?xml version="1.0" encoding="iso-8859-1"?>{TEXT}'.encode(),
        "expected XML 1.0 in UTF-8, got XML 1.0 in iso-8859-1",
    ),
    "UTF-16": (TEXT.encode("utf-16"), "offset 0x0000: not UTF-8: invalid start byte"),
    "another XML": (
        f'<?xml version="1.1"?>{TEXT}'.encode(),
        "expected XML 1.0 in UTF-8, got XML 1.1 in UTF-8",
    ),
    "a document type": (
        f"<!DOCTYPE a>{TEXT}".encode(),
        "offset 0x0000: a document type declaration is not accepted",
    ),
    "a document type elsewhere": (
        f'<?xml version="1.0"?><!DOCTYPE a SYSTEM "file:///etc/passwd">{TEXT}'.encode(),
        "offset 0x0015: a document type declaration is not accepted",
    ),
    "a document type in UTF-16": (
        f'<?xml version="1.0"?>{BOMB}{TEXT}'.encode("utf-16-le"),
        "a document type declaration is not accepted",
    ),
    "entities that grow": (
        f"{BOMB}{envelope(get_options('&c;')).decode()}".encode(),
        "offset 0x0000: a document type declaration is not accepted",
    ),
    "an entity that there is not": (
        envelope(get_options("&a;")),
        (
            f"offset 0x{envelope(get_options('&a;')).index(b'&a;') + 3:04x}:"
            " malformed XML: entity 'a' not defined"
        ),
    ),
    "a prefix that is not declared": (
        envelope("<y:a/>"),
        f"offset 0x{TEXT.index('<cwmp:Get') + 4:04x}: malformed XML: namespace prefix y on a is not defined",
    ),
    "an element that does not end": (
        TEXT.removesuffix("</soap:Envelope>\n").encode(),
        (
            f"offset 0x{TEXT.index('</soap:Env'):04x}:"
            " malformed XML: premature end of data in tag Envelope line 1"
        ),
    ),
    "too many namespaces": (
        envelope("".join(f'<x:a xmlns:y="urn:{number}"/>' for number in range(509))),
        "more than 512 namespace declarations",
    ),
    "too many levels": (
        envelope("<x:a>" * 63 + "</x:a>" * 63),
        "more than 64 levels of elements",
    ),
}


@pytest.mark.parametrize("what", ILL_FORMED)
def test_what_is_no_envelope_is_malformed(store: OptionStore, what: str) -> None:
    octets, problem = ILL_FORMED[what]

    with pytest.raises(FormatError) as caught:
        ask(store, octets)

    assert str(caught.value) == f"{problem} [TR-069 3.5]"


def test_an_envelope_has_at_most_64_levels(store: OptionStore) -> None:
    answer = ask(store, envelope("<x:a>" * 62 + "</x:a>" * 62))
    with pytest.raises(FormatError) as caught:
        ask(store, envelope("<x:a>" * 1000 + "</x:a>" * 1000))

    assert code_of(answer) == 9000
    assert "excessive depth in document: 256" in str(caught.value)


def test_an_envelope_may_be_as_large_as_the_limit_and_have_as_many_elements(store: OptionStore) -> None:
    larger = read_message(envelope(get_options("VoIP")).ljust(MAX_ENVELOPE + 1)).problem
    large = ask(store, envelope(get_options("VoIP")).ljust(MAX_ENVELOPE))
    many = ask(
        store, envelope("<x:a>" + "<x:b/>" * 32765 + "</x:a>")
    )  # with Envelope, Body and a it is 32768

    assert isinstance(larger, RefusedError)
    assert (larger.problem, method_fault(larger)) == (
        f"expected an envelope of at most {MAX_ENVELOPE} bytes, got more",
        9004,
    )
    assert large == listed(option("VoIP"))
    assert many == fault(9000, "the method {urn:x}a is not supported")


@pytest.mark.parametrize("more", [1, 40_000, 100_000])
def test_an_envelope_with_too_many_elements_is_answered(tmp_path: Path, more: int) -> None:
    call = set_vouchers().replace("><", f">{'<b/>' * (32764 + more)}<", 1)

    answer = answer_rpc(envelope(call, named("1")), tmp_path / "options.db", Verifier(policy()), HERE, AT)

    assert answer == fault(9004, "expected at most 32768 elements, got more [TR-069 3.5]", "1")
    assert not (tmp_path / "options.db").exists()


@pytest.mark.parametrize("fact", ["oui", "product_class", "serial_number"])
@pytest.mark.parametrize("body", ["", get_options()])
def test_a_device_that_does_not_say_who_it_is_answers_nothing(
    store: OptionStore, body: str, fact: str
) -> None:
    nobody = {
        "oui": replace(HERE, oui=None),
        "product_class": replace(HERE, product_class=None),
        "serial_number": replace(HERE, serial_number=None),
    }

    with pytest.raises(FormatError) as caught:
        ask(store, envelope(body), device=nobody[fact])

    assert str(caught.value) == (
        f"device: missing {fact.replace('_', '-')}: vouchers need the device's identity"
        " [TR-069 C.3, Table 63]"
    )


# More than there is room for.


def test_a_list_has_at_most_64_vouchers(store: OptionStore) -> None:
    refused = ask(store, envelope(set_vouchers(*[genuine()] * 65), named("65")))
    before = store.lives()
    taken = ask(store, envelope(set_vouchers(*[genuine()] * 64), named("64")))

    assert refused == fault(9004, "VoucherList: expected at most 64 members, got 65 [TR-069 A.2.1]", "65")
    assert before == []
    assert taken == done("64")


def test_a_list_that_is_too_long_is_not_looked_into(store: OptionStore) -> None:
    answer = ask(store, envelope(set_vouchers(*["!"] * 4096), named("1")))

    assert answer == fault(9004, "VoucherList: expected at most 64 members, got 4096 [TR-069 A.2.1]", "1")


def test_whoever_sets_vouchers_sets_at_most_64() -> None:
    vouchers = [("voucher", genuine())] * 65

    with pytest.raises(RefusedError) as caught:
        check_vouchers(vouchers, Verifier(policy()), HERE, AT)

    assert str(caught.value) == "expected at most 64 vouchers, got 65"
    assert caught.value.reason == NO_ROOM


def test_whoever_sets_vouchers_says_who_it_is() -> None:
    with pytest.raises(FormatError) as caught:
        check_vouchers([], Verifier(policy()), replace(HERE, oui=None), AT)

    assert str(caught.value) == (
        "device: missing oui: vouchers need the device's identity [TR-069 C.3, Table 63]"
    )


def test_a_voucher_has_at_most_256_kib(store: OptionStore) -> None:
    largest = genuine().ljust(256 * 1024)

    refused = ask(store, envelope(set_vouchers(largest + b" "), named("1")))
    before = store.lives()
    taken = ask(store, envelope(set_vouchers(largest), named("2")))

    assert refused == fault(
        9004, "VoucherList[0]: expected a voucher of at most 262144 bytes, got 262145", "1"
    )
    assert before == []
    assert taken == done("2")


def test_a_device_has_at_most_256_options(store: OptionStore) -> None:
    idents = [f"Option {number}" for number in range(MAX_STORED_OPTIONS + 64)]
    options = [replace(QOS, ident=ident, serial=ident) for ident in idents]
    vouchers = [signed(Voucher(options=tuple(options[at : at + 64]))) for at in range(0, len(options), 64)]
    anything = replace(HERE, supported_options=None)

    refused = ask(store, envelope(set_vouchers(*vouchers), named("1")), device=anything)
    before = store.lives()
    taken = ask(store, envelope(set_vouchers(*vouchers[:4]), named("2")), device=anything)

    assert refused == fault(
        9004, "VoucherList[4]: the store is full: expected at most 256 Options, got 320", "1"
    )
    assert before == []
    assert taken == done("2")
    assert [life.name for life in store.lives()] == sorted(idents[:256])


# A store that fails.


@pytest.mark.parametrize("call", [get_options(), set_vouchers(genuine())])
def test_a_store_that_is_broken_is_an_internal_error(store: OptionStore, tmp_path: Path, call: str) -> None:
    with closing(sqlite3.connect(tmp_path / "options.db")) as other:
        other.execute("DROP TABLE option")

    answer = ask(store, envelope(call, named("1")))

    assert answer == fault(9002, f"{tmp_path}/options.db: no such table: option", "1")


def test_a_store_that_can_not_be_written_is_an_internal_error(store: OptionStore, tmp_path: Path) -> None:
    store._database.execute("PRAGMA query_only = ON")

    answer = ask(store, envelope(set_vouchers(genuine()), named("1")))

    assert answer == fault(9002, f"{tmp_path}/options.db: attempt to write a readonly database", "1")


@pytest.mark.parametrize("call", [get_options(), set_vouchers(genuine())])
def test_a_store_that_says_what_means_nothing_is_an_internal_error(
    store: OptionStore, tmp_path: Path, call: str
) -> None:
    ask(store, envelope(set_vouchers(genuine())))
    store._database.execute("UPDATE option SET mode = 'On'")

    answer = ask(store, envelope(call, named("1")))

    assert answer == fault(9002, f"{tmp_path}/options.db: invalid value: 'On' is not a valid Mode", "1")


def test_a_store_that_is_broken_where_nothing_is_called_is_no_answer(
    store: OptionStore, tmp_path: Path
) -> None:
    store.close()

    with pytest.raises(HostError) as caught:
        ask(store, envelope("", named("1")))

    assert str(caught.value) == f"{tmp_path}/options.db: Cannot operate on a closed database."


def test_a_medium_that_is_full_is_no_room(store: OptionStore, tmp_path: Path) -> None:
    ask(store, envelope(get_options()))
    store._database.execute("PRAGMA max_page_count = 1")
    options = [replace(QOS, ident=f"{number:060}", serial=f"{number:060}") for number in range(64)]
    large = signed(Voucher(options=tuple(options)))

    answer = ask(
        store, envelope(set_vouchers(large), named("1")), device=replace(HERE, supported_options=None)
    )

    assert answer == fault(9004, f"{tmp_path}/options.db: database or disk is full", "1")
    assert store.lives() == []


# GetOptions changes nothing, and knows 9000 to 9003 (A.4.1.4).


QOS_ON_NEXT_DAY: Final = option("QoS", 4002, 1, 2, "2026-06-02T12:00:00Z", transferable=1)


def answer_from(path: Path, octets: bytes, device: Device = HERE) -> tuple[bytes | None, list[str]]:
    """Return the answer of a device whose store is at *path*, and what its user is told."""
    notes: list[str] = []
    return answer_rpc(octets, path, Verifier(policy()), device, AT + DAY, note=notes.append), notes


def test_options_are_told_where_nothing_can_be_written(store: OptionStore, tmp_path: Path) -> None:
    path = tmp_path / "options.db"
    ask(store, envelope(set_vouchers(genuine())))
    ask(store, envelope(get_options("IPTV")))

    with at_most(0):
        answer, notes = answer_from(path, envelope(get_options(), named("1")), PROVIDER)
        granted, _ = answer_from(path, envelope(set_vouchers(genuine()), named("2")), PROVIDER)

    assert answer == listed(QOS_ON, IPTV_OVER, option("VoIP"), name="1")
    assert notes == [f"the time and the provisioning code are not stored: {path}: disk I/O error"]
    assert granted == fault(9002, f"{path}: disk I/O error", "2")
    assert ask(store, envelope(get_options())) == listed(*AFTER)


def _on_a_full_disk(place: Path) -> None:
    """Ask where there is no room: without a store, and with one."""
    libc = CDLL(None, use_errno=True)
    assert libc.mount(b"none", os.fsencode(place), b"tmpfs", 0, b"size=128k") == 0
    path, empty = place / "options.db", place / "empty.db"
    answer_from(path, envelope(set_vouchers(genuine())))
    with (place / "filler").open("wb", buffering=0) as filler, suppress(OSError):
        while filler.write(bytes(4096)):
            pass
    full = "database or disk is full"

    assert answer_from(path, envelope(get_options()), PROVIDER) == (
        listed(QOS_ON_NEXT_DAY, IPTV_OVER, option("VoIP")),
        [f"the time and the provisioning code are not stored: {path}: {full}"],
    )
    assert answer_from(empty, envelope(get_options())) == (listed(*BEFORE), [f"{empty}: {full}"])
    denied = f"{empty}: {full}"
    assert answer_from(empty, envelope(set_vouchers(genuine()))) == (fault(9004, denied), [denied])


def test_options_are_told_on_a_full_disk(tmp_path: Path) -> None:
    isolated(_on_a_full_disk, tmp_path)


def test_options_of_a_store_that_can_not_be_read_are_not_told(tmp_path: Path) -> None:
    path = tmp_path / "options.db"
    path.write_bytes(b"no store")

    answer, _ = answer_from(path, envelope(get_options(), named("1")))

    assert answer == fault(9002, f"{path}: file is not a database", "1")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RefusedError("x", reason=NO_ROOM), 9003),
        (HostError("x", reason=NO_ROOM), 9002),
        (HostError("x"), 9002),
        (RefusedError("x"), 9001),
    ],
)
def test_get_options_knows_no_9004(error: RefusedError | HostError, code: int) -> None:
    assert method_fault(error, "GetOptions") == code


LARGE: Final = f"expected an envelope of at most {MAX_ENVELOPE} bytes, got more [TR-069 A.2.1]"


@pytest.mark.parametrize(
    ("request_of", "code", "name"),
    [
        (lambda: envelope(get_options("x" * MAX_ENVELOPE), named("1")), 9003, "1"),
        (lambda: envelope(get_options("x" * MAX_ENVELOPE)), 9003, None),
        (lambda: envelope(get_options(), f"{named('2')}<x:a>{'y' * MAX_ENVELOPE}</x:a>"), 9003, "2"),
        (lambda: envelope(set_vouchers("z" * MAX_ENVELOPE), named("a &amp; b")), 9004, "a &amp; b"),
        (lambda: envelope("<x:GetOptions/>" + " " * MAX_ENVELOPE), 9004, None),
        (lambda: envelope("<x:a><cwmp:GetOptions/></x:a>" + " " * MAX_ENVELOPE), 9004, None),
        (lambda: envelope(f"{set_vouchers()}{get_options()}" + " " * MAX_ENVELOPE), 9004, None),
        (lambda: envelope("", "<x:b><x:c/></x:b>" * 20_000 + named("3")) + b" " * MAX_ENVELOPE, 9004, None),
        (lambda: b"<!DOCTYPE a>" + envelope(get_options()) + b" " * MAX_ENVELOPE, 9004, None),
        (lambda: b"no XML" + envelope(get_options()) + b" " * MAX_ENVELOPE, 9004, None),
        (lambda: b"<a>" * MAX_ENVELOPE, 9004, None),
        (lambda: b" " * (MAX_ENVELOPE + 1), 9004, None),
    ],
)
def test_an_envelope_that_is_too_large_is_answered_as_its_method_wants(
    request_of: Callable[[], bytes], code: int, name: str | None, tmp_path: Path
) -> None:
    answer, notes = answer_from(tmp_path / "options.db", request_of())

    assert answer == fault(code, LARGE, name)
    assert notes == []


def test_options_of_one_voucher_for_different_devices_are_denied(store: OptionStore) -> None:
    mixed = forge(figure(OPTION, OPTION.replace(">4001<", ">4002<").replace("123456789", "123456780")))

    answer = ask(store, envelope(set_vouchers(mixed), named("1")))

    assert answer == fault(
        9001, "VoucherList[0]: DeviceId: all Options must be for the same device [TR-069 C.3, Table 62]", "1"
    )
    assert store.lives() == []


# Faults.


def test_a_fault_is_written_as_the_example_of_3_5() -> None:
    assert fault_response(9000, "Upload method not supported", "1234") == (
        b'<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/" '
        b'xmlns:soapenc="http://schemas.xmlsoap.org/soap/encoding/" xmlns:cwmp="urn:dslforum-org:cwmp-1-0" '
        b'soap:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/">\n'
        b'<soap:Header>\n<cwmp:ID soap:mustUnderstand="1">1234</cwmp:ID>\n</soap:Header>\n'
        b"<soap:Body>\n<soap:Fault>\n<faultcode>Client</faultcode>\n<faultstring>CWMP fault</faultstring>\n"
        b"<detail>\n<cwmp:Fault>\n<FaultCode>9000</FaultCode>\n"
        b"<FaultString>Upload method not supported</FaultString>\n</cwmp:Fault>\n</detail>\n</soap:Fault>\n"
        b"</soap:Body>\n</soap:Envelope>\n"
    )


@pytest.mark.parametrize(
    ("code", "source"),
    [(9000, "Client"), (9001, "Client"), (9002, "Server"), (9003, "Client"), (9004, "Server")],
)
def test_a_fault_is_that_of_who_has_caused_it(code: int, source: str) -> None:
    found = parsed(fault_response(code, "a", None)).find(".//faultcode")

    assert found is not None
    assert found.text == source


def test_what_a_voucher_says_is_escaped_and_cut_off_in_a_fault(store: OptionStore) -> None:
    device = replace(DEVICE, product_class="\u202e<&>" * 16, serial_number="\u0085\u2028" * 32)
    voucher = signed(Voucher(options=(replace(QOS, device=device),)))

    said = string_of(ask(store, envelope(set_vouchers(voucher))))

    assert len(said) == 256
    assert said.startswith(
        r"VoucherList[0]: DeviceId: the voucher is for 00D09E '\u202e<&>\u202e<&>\u202e<&>"
    )


@given(st.sampled_from([9000, 9001, 9002, 9003, 9004]), st.text(max_size=400), st.none() | st.just("<&>"))
def test_whatever_a_fault_says_is_short_and_shows(code: int, problem: str, name: str | None) -> None:
    octets = fault_response(code, problem, name)

    said = string_of(octets)
    assert len(said) <= 256
    assert not [one for one in said if unicodedata.category(one)[0] == "C"]
    assert (code_of(octets), id_of(octets)) == (code, name)
    assert problem[:256] == said or not problem[:256].isascii() or not problem[:256].isprintable()


def allowed(char: str) -> bool:
    """Whether XML 1.0 has a character."""
    return char in "\t\n\r" or " " <= char <= "\ud7ff" or "\ue000" <= char <= "\ufffd" or char > "\uffff"


XML_TEXT: Final = st.text(st.characters(exclude_categories=["Cs"]).filter(allowed), max_size=60)


@given(XML_TEXT)
def test_every_id_comes_back(name: str) -> None:
    written = escape(name, {"\r": "&#13;"})

    request = read_message(envelope("<cwmp:Upload/>", named(written)))

    assert request.id == name
    assert id_of(vouchers_response(request.id)) == name
    assert id_of(options_response([], request.id)) == name
    assert id_of(fault_response(9002, "", request.id)) == name


# What a server writes.


def test_a_request_is_written_as_the_examples_of_3_5() -> None:
    octets = set_vouchers_request([b"one", b"two"], name="R&D")

    assert octets == answered(
        '<cwmp:SetVouchers>\n<VoucherList soapenc:arrayType="soapenc:base64[2]">\n'
        "<base64>b25l</base64>\n<base64>dHdv</base64>\n</VoucherList>\n</cwmp:SetVouchers>\n",
        "R&amp;D",
    )


def test_a_request_of_ours_is_understood_by_us(store: OptionStore) -> None:
    answer = ask(store, set_vouchers_request([only(IPTV), only(QOS)], name="<1>"))

    assert answer == done("&lt;1&gt;")
    assert ask(store, envelope(get_options())) == listed(*AFTER)


@pytest.mark.parametrize(
    ("count", "name", "problem"),
    [
        (0, "1", "expected 1 to 64 vouchers, got 0"),
        (65, "1", "expected 1 to 64 vouchers, got 65"),
        (1, "\x00", "the cwmp:ID must not have characters that XML 1.0 excludes"),
        (1, "\ud800", "the cwmp:ID must not have characters that XML 1.0 excludes"),
    ],
)
def test_a_request_that_no_device_takes_is_not_written(count: int, name: str, problem: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(problem)}$"):
        set_vouchers_request([b"<a/>"] * count, name=name)


# Whatever comes.


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OptionStore]:
    """A store for many examples, of which no one changes what the next one finds."""
    with OptionStore(tmp_path_factory.mktemp("rpc") / "options.db", create=True) as opened:
        ask(opened, envelope(set_vouchers(genuine())))
        yield opened


GENUINE: Final = (
    envelope(get_options("IPTV"), named("1")),
    envelope(get_options(), f"{named('1')}<cwmp:HoldRequests>1</cwmp:HoldRequests>"),
    envelope(set_vouchers("@@", "@@"), named("1")),
)
"""Requests; at each ``@@`` stands a voucher."""
PIECES: Final = st.sampled_from(
    [
        *(
            b"<!-- a -->",
            b"<?b?>",
            b"<![CDATA[",
            b"]]>",
            b"<!DOCTYPE a>",
            b"&amp;",
            b"&a;",
            b"&#0;",
            b"&#55;",
        ),
        *(b"<a>", b"</a>", b"<x:a/>", b'<x:a soap:mustUnderstand="1"/>', b' x:a="1"', b' xmlns="urn:a"'),
        *(b"\x00", b"\xff", b"\xc3\xa9", b"\xef\xbf\xbf", b"soap:", b"cwmp:", b"[9]", b"2", b"@@"),
        *(b"<soap:Body>", b"</soap:Body>", b"<OptionName>", b"</base64>", b"<base64>@@</base64>"),
    ]
)
EDITS: Final = st.lists(
    st.tuples(st.integers(0, 1 << 10), st.integers(0, 12), PIECES | st.binary(max_size=3)),
    min_size=1,
    max_size=3,
)
"""Where something is cut out, how much of it, and what stands there instead."""


def edited(octets: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    for position, count, piece in edits:
        at = position % (len(octets) + 1)
        octets = octets[:at] + piece + octets[at + count :]
    return octets


@given(st.sampled_from(GENUINE), EDITS)
def test_whatever_comes_is_answered_in_xml_or_malformed(
    shared: OptionStore, octets: bytes, edits: list[tuple[int, int, bytes]]
) -> None:
    request = edited(octets, edits).replace(b"@@", b64encode(genuine()))
    lives = shared.lives()

    try:
        answer = ask(shared, request)
    except FormatError:
        answer = None

    assert answer is None or code_of(answer) in {None, 9000, 9001, 9003, 9004}
    assert shared.lives() == lives


@given(EDITS)
def test_a_voucher_that_was_touched_is_refused_or_still_the_same(
    shared: OptionStore, edits: list[tuple[int, int, bytes]]
) -> None:
    lives = shared.lives()

    answer = ask(shared, envelope(set_vouchers(edited(genuine(), edits)), named("1")))

    assert (code_of(answer), id_of(answer)) in {(None, "1"), (9001, "1"), (9003, "1")}
    assert shared.lives() == lives
