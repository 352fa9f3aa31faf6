"""What a GenieACS 1.2.16 sent, as it was on the wire: all of it is read.

``SPKG_GENIEACS_TRANSCRIPTS`` names the folder; it is no part of the project.
"""

import os
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from spkg.cwmp.calls import decode_answer, decode_call
from spkg.cwmp.envelopes import Message, MessageKind, read_message, split_envelopes
from spkg.cwmp.values import AttributeChange, ParameterValue
from spkg.errors import FormatError
from tests.judges.programs import missing
from tests.support.cwmp_kit import GATEWAY

FOLDER: Final = os.environ.get("SPKG_GENIEACS_TRANSCRIPTS")
FOLDERS: Final = sorted(Path(FOLDER).glob("*.http")) if FOLDER else []
MANAGEMENT: Final = f"{GATEWAY}ManagementServer."


@pytest.fixture
def transcripts() -> dict[str, bytes]:
    """Return the body of each response by the name of its file."""
    if not FOLDERS:
        missing("SPKG_GENIEACS_TRANSCRIPTS names no folder of transcripts")
    return {path.stem: path.read_bytes().partition(b"\r\n\r\n")[2] for path in FOLDERS}


def only(octets: bytes) -> Message:
    [one] = split_envelopes(octets)
    return read_message(one)


def test_every_message_is_read(transcripts: dict[str, bytes]) -> None:
    read: Counter[str] = Counter()
    for name, octets in transcripts.items():
        if not name.startswith("200-") or name == "200-Fault-to-Kicked-1":
            continue
        message = only(octets)
        assert message.id
        assert message.problem is None
        if message.kind is MessageKind.CALL:
            assert decode_call(message).method == name.split("-")[1]
        else:
            assert isinstance(decode_answer(message, message.name), dict)
        read[message.name] += 1

    assert read == {
        "Download": 2,
        "FactoryReset": 1,
        "GetParameterAttributes": 1,
        "GetParameterNames": 3,
        "GetParameterValues": 2,
        "GetRPCMethods": 1,
        "Inform": 3,
        "Reboot": 1,
        "SetParameterAttributes": 1,
        "SetParameterValues": 3,
        "TransferComplete": 3,
    }


def test_an_empty_answer_has_no_envelopes(transcripts: dict[str, bytes]) -> None:
    found = {name for name, octets in transcripts.items() if split_or_none(octets) == []}

    assert found >= {name for name in transcripts if name.startswith("204-")}


def split_or_none(octets: bytes) -> list[bytes] | None:
    try:
        return split_envelopes(octets)
    except FormatError:
        return None


def test_its_requests_mean_what_they_say(transcripts: dict[str, bytes]) -> None:
    values = decode_call(only(transcripts["200-SetParameterValues-1"])).arguments
    attributes = decode_call(only(transcripts["200-SetParameterAttributes-1"])).arguments
    download = decode_call(only(transcripts["200-Download-1"])).arguments

    assert values == {
        "ParameterList": (
            ParameterValue(f"{MANAGEMENT}ConnectionRequestUsername", "string", "00D09E-Gateway-REC1"),
            ParameterValue(f"{MANAGEMENT}ConnectionRequestPassword", "string", "1i4y4ar33hh"),
            ParameterValue(f"{MANAGEMENT}PeriodicInformTime", "dateTime", "1970-01-01T07:23:52.981Z"),
        ),
        "ParameterKey": "",
    }
    assert attributes == {
        "ParameterList": (AttributeChange(f"{GATEWAY}DeviceInfo.ProvisioningCode", 2, None),)
    }
    assert (download["FileSize"], download["DelaySeconds"], download["CommandKey"]) == (
        *(25558, 0),
        "1a226c7bf7e0200",
    )


def test_its_fault_to_an_unknown_method_is_not_even_xml_with_namespaces(
    transcripts: dict[str, bytes],
) -> None:
    [octets] = split_envelopes(transcripts["200-Fault-to-Kicked-1"])

    with pytest.raises(FormatError) as caught:
        read_message(octets)

    assert "malformed XML: failed to parse QName 'soap-env:Body:" in str(caught.value)


def test_text_instead_of_envelopes_is_located(transcripts: dict[str, bytes]) -> None:
    texts = {name: octets for name, octets in transcripts.items() if "-text-" in name}
    assert len(texts) >= 8

    for octets in texts.values():
        with pytest.raises(FormatError, match="offset 0x0000: malformed XML: "):
            split_envelopes(octets)
