"""Every method of Table 4, both ways: what is written is read again, and valid (TR-069 3.5, A.2 to A.4)."""

from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spkg.cwmp.calls import decode_answer, decode_call, encode_answer, encode_request, listed_methods
from spkg.cwmp.envelopes import read_message
from spkg.cwmp.methods import ACS_METHODS, CPE_METHODS
from tests.support.cwmp_kit import ANSWERS, ARGUMENTS, XML_TEXT, answers, arguments
from tests.support.cwmp_schema import assert_valid

ALL: Final = {**CPE_METHODS, **ACS_METHODS}
READ_HERE: Final = [name for name, method in ALL.items() if not method.elsewhere]
IDS: Final = st.none() | st.text(XML_TEXT, max_size=20)


@pytest.mark.parametrize("method", READ_HERE)
@given(st.data(), IDS)
def test_x13_every_call_is_read_as_it_is_written(method: str, data: st.DataObject, name: str | None) -> None:
    values = data.draw(arguments(method))

    octets = encode_request(method, values, name, ALL)
    call = decode_call(read_message(octets), ALL)

    assert_valid(octets)
    assert (call.method, call.arguments, call.id, call.version) == (method, values, name, 0)
    assert [*call.arguments] == [*ARGUMENTS[method]]  # in their order
    assert octets.replaced == 0


@pytest.mark.parametrize("method", READ_HERE)
@given(st.data(), IDS, st.integers(0, 20))
def test_x7_every_answer_is_read_as_it_is_written(
    method: str, data: st.DataObject, name: str | None, version: int
) -> None:
    values = data.draw(answers(method))
    asked = encode_request(method, data.draw(arguments(method)), name, ALL)
    call = decode_call(read_message(asked.replace(b"cwmp-1-0", f"cwmp-1-{version}".encode())), ALL)

    octets = encode_answer(call, values, ALL)
    message = read_message(octets)

    assert_valid(octets)
    assert decode_answer(message, method, ALL) == values
    assert (message.id, message.version) == (name, version)
    assert octets == encode_answer(read_message(octets), values, ALL)  # a message does as well


def test_r1_the_methods_are_those_of_table_4() -> None:
    assert {name: method.required for name, method in CPE_METHODS.items()} == {
        "GetRPCMethods": True,
        "SetParameterValues": True,
        "GetParameterValues": True,
        "GetParameterNames": True,
        "SetParameterAttributes": True,
        "GetParameterAttributes": True,
        "AddObject": True,
        "DeleteObject": True,
        "Reboot": True,
        "Download": True,
        "Upload": False,
        "FactoryReset": False,
        "GetQueuedTransfers": False,
        "ScheduleInform": False,
        "SetVouchers": False,
        "GetOptions": False,
    }
    assert {name: method.required for name, method in ACS_METHODS.items()} == {
        "GetRPCMethods": True,
        "Inform": True,
        "TransferComplete": True,
        "RequestDownload": False,
        "Kicked": False,
    }


def test_x13_the_kit_knows_the_arguments_of_every_method() -> None:
    stated: dict[str, Any] = {name: [one.name for one in ALL[name].arguments] for name in READ_HERE}
    answered: dict[str, Any] = {name: [one.name for one in ALL[name].answer] for name in READ_HERE}

    assert stated == {name: [*values] for name, values in ARGUMENTS.items()}
    assert answered == {name: [*values] for name, values in ANSWERS.items()}


R21: Final = {
    "GetRPCMethods": {9001, 9002},
    "SetParameterValues": {9001, 9002, 9003, 9004, 9005, 9006, 9007, 9008},
    "GetParameterValues": {9001, 9002, 9003, 9004, 9005},
    "GetParameterNames": {9001, 9002, 9003, 9005},
    "SetParameterAttributes": {9001, 9002, 9003, 9004, 9005, 9009},
    "GetParameterAttributes": {9001, 9002, 9003, 9004, 9005},
    "AddObject": {9001, 9002, 9003, 9004, 9005},
    "DeleteObject": {9001, 9002, 9003, 9005},
    "Reboot": {9001, 9002, 9003},
    "Download": {9000, 9001, 9002, 9003, 9010, 9012, 9013},
    "Upload": {9000, 9001, 9002, 9003, 9011, 9012, 9013},
    "FactoryReset": {9000, 9001, 9002, 9003},
    "GetQueuedTransfers": {9000, 9001, 9002},
    "ScheduleInform": {9000, 9001, 9002, 9003},
    "SetVouchers": {9000, 9001, 9002, 9003, 9004},
    "GetOptions": {9000, 9001, 9002, 9003},
}
"""What A.3 and A.4 say below each method."""


def test_r21_every_method_knows_its_faults() -> None:
    assert {name: {*method.faults} for name, method in CPE_METHODS.items()} == R21
    assert {name for name, method in ACS_METHODS.items() if method.faults} == {"GetRPCMethods"}


def test_r1_get_rpc_methods_lists_the_table() -> None:
    assert listed_methods() == (*CPE_METHODS,)
    assert listed_methods(
        without={"Upload"}, vendor=["X_00D09E_Reset", "X_ACME-COM_Go", "X_ACME_COM_Go"]
    ) == (
        *(name for name in CPE_METHODS if name != "Upload"),
        *("X_00D09E_Reset", "X_ACME-COM_Go", "X_ACME_COM_Go"),
    )
    assert listed_methods(methods=ACS_METHODS, without=["Kicked", "RequestDownload"]) == (
        *("GetRPCMethods", "Inform", "TransferComplete"),
    )


@pytest.mark.parametrize("missing", [{"SetVouchers"}, {"GetOptions"}, {"SetVouchers", "GetOptions"}])
def test_r19_vouchers_have_both_methods_or_none(missing: set[str]) -> None:
    listed = listed_methods(without=missing)

    assert {*CPE_METHODS} - {*listed} == {"SetVouchers", "GetOptions"}


@pytest.mark.parametrize("name", [name for name, method in CPE_METHODS.items() if method.required])
def test_r1_a_required_method_is_not_left_out(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} is required \(Table 4\)"):
        listed_methods(without=[name])


@pytest.mark.parametrize(
    "name",
    [
        "Reset",
        "X_Reset",
        "X_00D09_Reset",
        "X_00d09e_Reset",
        "X_00D09E_",
        "X_00D09E_A B",
        "X_ACME_Go" + "o" * 64,
    ],
)
def test_x18_a_vendor_method_names_its_vendor(name: str) -> None:
    with pytest.raises(ValueError, match="expected a method such as X_00D09E_Name, got"):
        listed_methods(vendor=[name])
