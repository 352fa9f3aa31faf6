"""The schema of cwmp-1-0 as the judge: every envelope that we write is valid by it.

``SPKG_CWMP_SCHEMA`` names the file, and without it nothing here is judged.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Final

import pytest
from lxml import etree
from xmlschema import XMLSchema

from spkg.cwmp.soap import fault_response
from tests.support.cwmp_schema import CWMP_SCHEMA, schema_files
from tests.support.kit import AT
from tests.support.rpc_kit import envelope, get_options, named, set_vouchers
from tests.support.voucher_kit import signed
from vouchers.acs.request import set_vouchers_request
from vouchers.cpe.messages import options_response, vouchers_response
from vouchers.cpe.option_life import OptionState, unvouchered

Judge = Callable[[bytes], str | None]
"""Says what is wrong with an envelope; None where nothing is."""


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The schema, with the stand-ins beside it instead of the network."""
    if not CWMP_SCHEMA:
        pytest.skip("NOT JUDGED: SPKG_CWMP_SCHEMA names no schema of cwmp-1-0")
    return schema_files(tmp_path_factory.mktemp("schema"))


@cache
def _lxml(schema: Path) -> Judge:
    judge = etree.XMLSchema(file=str(schema))

    def says(octets: bytes) -> str | None:
        try:
            judge.assertValid(etree.fromstring(octets))
        except etree.DocumentInvalid as exc:
            return str(exc)
        return None

    return says


@cache
def _xmlschema(schema: Path) -> Judge:
    judge = XMLSchema(str(schema), allow="local")

    def says(octets: bytes) -> str | None:
        return next((str(one.reason) for one in judge.iter_errors(octets.decode())), None)

    return says


@pytest.fixture(params=[_lxml, _xmlschema], ids=["lxml", "xmlschema"])
def judge(request: pytest.FixtureRequest, schema: Path) -> Judge:
    """Each validator of XML Schema that there is."""
    made: Judge = request.param(schema)
    return made


FULL: Final = OptionState(
    name="IPTV",
    serial="4001",
    enabled=True,
    set_up=False,
    mode=1,
    start=AT,
    expires=AT.replace(year=2027),
    transferable=False,
    ending=None,
)
STATES: Final = {
    "never vouchered": unvouchered("IPTV"),
    "with an expiration": FULL,
    "without one": replace(FULL, mode=2, expires=None),
    "set up": replace(FULL, set_up=True),
    "set up and disabled": replace(FULL, set_up=True, enabled=False, mode=0),
    "disabled": replace(FULL, enabled=False, mode=0, expires=None),
    "transferable": replace(FULL, transferable=True),
    "the largest serial number": replace(FULL, serial="4294967295"),
    "a serial number that is none": replace(FULL, serial="A-1"),
    "the longest name": replace(FULL, name="\u20ac" * 64),
    "a name to escape": replace(FULL, name="<R&D>\r\n\t]]>"),
    "the first and the last day": replace(
        FULL,
        start=datetime(1, 1, 1, tzinfo=UTC),
        expires=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
    ),
}
ANSWERS: Final = {
    "vouchers": vouchers_response("1"),
    "vouchers without an ID": vouchers_response(None),
    "an empty ID": vouchers_response(""),
    "an ID to escape": vouchers_response("<R&D>\r\n\t]]> \U0001f4fa"),
    "no options": options_response([], "1"),
    "all options": options_response([*STATES.values()], "1"),
    **{f"an option {what}": options_response([state], None) for what, state in STATES.items()},
    **{f"fault {code}": fault_response(code, "why", "1") for code in range(9000, 9005)},
    "a fault without an ID": fault_response(9000, "why", None),
    "a fault that says nothing": fault_response(9000, "", "1"),
    "a fault that says much": fault_response(9002, "<&>\x00\ufffe\u202e" * 100, "1"),
}


@pytest.mark.parametrize("which", ANSWERS)
def test_every_answer_is_valid(judge: Judge, which: str) -> None:
    assert judge(ANSWERS[which]) is None


REQUESTS: Final = {
    "a voucher": set_vouchers_request([signed()], name="1"),
    "64 vouchers": set_vouchers_request([b"voucher"] * 64, name="<1>"),
    "a call of the tests": envelope(set_vouchers(b"voucher"), named("1")),
    "all options": envelope(get_options(), named("1")),
    "one option": envelope(get_options("IPTV")),
    "the longest name": envelope(get_options("\u20ac" * 64)),
    "requests held": envelope(
        get_options(), f'{named("1")}<cwmp:HoldRequests soap:mustUnderstand="1">0</cwmp:HoldRequests>'
    ),
    "headers alone": envelope("", '<cwmp:HoldRequests soap:mustUnderstand="1">1</cwmp:HoldRequests>'),
}


@pytest.mark.parametrize("which", REQUESTS)
def test_every_request_is_valid(judge: Judge, which: str) -> None:
    assert judge(REQUESTS[which]) is None


@pytest.mark.parametrize(
    ("octets", "old", "new"),
    [
        (ANSWERS["an option with an expiration"], "<Mode>1<", "<Mode>3<"),
        (ANSWERS["an option with an expiration"], "<State>1<", "<State>4<"),
        (ANSWERS["an option with an expiration"], "<VoucherSN>4001<", "<VoucherSN>4294967296<"),
        (ANSWERS["an option with an expiration"], "<VoucherSN>4001<", "<VoucherSN>A-1<"),
        (ANSWERS["an option with an expiration"], ">IPTV<", f">{'I' * 65}<"),
        (ANSWERS["an option with an expiration"], ">2027-06-01T12:00:00Z<", "><"),
        (ANSWERS["an option with an expiration"], ">2027-06-01T12:00:00Z<", ">20270601T12:00:00<"),
        (ANSWERS["an option with an expiration"], ">0</IsTransferable>", ">false</IsTransferable>"),
        (ANSWERS["an option with an expiration"], "<StartDate>2026-06-01T12:00:00Z</StartDate>", ""),
        (ANSWERS["an option with an expiration"], "<IsTransferable>0</IsTransferable>", ""),
        (ANSWERS["an option with an expiration"], "OptionName>", "cwmp:OptionName>"),
        (ANSWERS["an option with an expiration"], "OptionName>", "Name>"),
        (
            ANSWERS["an option with an expiration"],
            "<Mode>1</Mode>\n<St",
            "<Mode>1</Mode>\n<Mode>1</Mode>\n<St",
        ),
        (ANSWERS["an option with an expiration"], ' soapenc:arrayType="cwmp:OptionStruct[1]"', ""),
        (ANSWERS["all options"], "OptionList", "Options"),
        (ANSWERS["all options"], "GetOptionsResponse", "GetOptionResponse"),
        (ANSWERS["vouchers"], "Response><", "Response><Status>0</Status><"),
        (ANSWERS["vouchers"], ' soap:mustUnderstand="1"', ""),
        (ANSWERS["vouchers"], "cwmp-1-0", "cwmp-1-2"),
        (ANSWERS["fault 9000"], "<FaultCode>9000<", "<FaultCode>9014<"),
        (ANSWERS["fault 9000"], "<FaultCode>9000</FaultCode>", ""),
        (ANSWERS["fault 9000"], "cwmp:Fault", "Fault"),
        (ANSWERS["fault 9000"], "<faultcode>Client</faultcode>", ""),
        (ANSWERS["fault 9000"], "faultstring", "faultString"),
        (REQUESTS["a call of the tests"], "base64>", "string>"),
        (REQUESTS["a call of the tests"], "<VoucherList", "<a/><VoucherList"),
        (envelope(set_vouchers()), "", ""),
        (envelope(get_options("I" * 65)), "", ""),
    ],
)
def test_what_is_broken_is_seen(judge: Judge, octets: bytes, old: str, new: str) -> None:
    broken = octets.replace(old.encode(), new.encode())

    assert (broken == octets) == (old == new)
    assert judge(broken) is not None


@pytest.mark.parametrize(
    ("octets", "old", "new"),
    [
        (ANSWERS["vouchers"], ' soap:mustUnderstand="1"', ' soap:mustUnderstand="0"'),
        (REQUESTS["a call of the tests"], "<base64>", "<base64>!"),
    ],
)
def test_what_libxml2_does_not_see_the_other_judge_does(
    schema: Path, octets: bytes, old: str, new: str
) -> None:
    broken = octets.replace(old.encode(), new.encode())

    assert broken != octets
    assert _xmlschema(schema)(broken) is not None
