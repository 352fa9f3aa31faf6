"""Option 43 of DHCP: what it says of the ACS (3.1, Table 2)."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spkg.agent.discovery import DhcpSettings, read_option_43
from spkg.errors import FormatError

INTERVAL = "offset 0x0002: option 43.PeriodicInformInterval: must be a number of seconds from 1 to 4294967295"
URL = b"https://acs.example.net/cwmp"


def option(*parts: tuple[int, bytes]) -> str:
    return b"".join(bytes([code, len(value)]) + value for code, value in parts).hex()


def test_url_and_provisioning_code_are_read_and_others_skipped() -> None:  # D2, P43
    text = option((1, URL), (2, b"TLCO.GRP2"), (9, b"x"), (240, b""), (9, b"y"))

    assert read_option_43(text) == DhcpSettings(
        url="https://acs.example.net/cwmp", provisioning_code="TLCO.GRP2", skipped=(9, 240)
    )


@pytest.mark.parametrize(
    ("value", "enable"),
    [(b"0", False), (b"1", True), (b"true", True), (b"FALSE", False), (b"\0", False), (b"\1", True)],
)
def test_periodic_informs_are_switched(value: bytes, enable: bool) -> None:  # noqa: FBT001 # D4
    assert read_option_43(option((3, value))).periodic_inform_enable is enable


@pytest.mark.parametrize(
    ("value", "interval"),
    [(b"600", 600), (b"86400\0", 86400), (b"\0\0\2\x58", 600), (b"\2\x58", 600), (b"4294967295", 2**32 - 1)],
)
def test_an_interval_is_text_or_a_number(value: bytes, interval: int) -> None:  # D4
    assert read_option_43(option((4, value))).periodic_inform_interval == interval


@pytest.mark.parametrize("form", ["01:02", "0x0102", "01 02", "01-02", "0102\n", "01.02"])
def test_digits_are_read_as_clients_print_them(form: str) -> None:
    text = form.replace("02", "02" + "6161")

    with pytest.raises(FormatError, match="must begin with http:// or https://"):
        read_option_43(text)


def test_padding_is_skipped_and_the_end_heeded() -> None:
    assert read_option_43("0000" + option((2, b"A")) + "ff" + "0199") == DhcpSettings(provisioning_code="A")
    assert read_option_43("") == DhcpSettings()
    assert read_option_43(option((1, URL + b"\0"))).url == URL.decode()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1", "option 43: expected pairs of hexadecimal digits"),
        ("zz", "option 43: expected pairs of hexadecimal digits"),
        ("00" * 4097, "option 43: expected at most 4096 bytes"),
        (" " * 99999, "option 43: expected at most 4096 bytes"),
        ("01", "offset 0x0001: option 43.URL.length: the input ends 1 bytes too early"),
        ("010561", "offset 0x0003: option 43.URL: the input ends 4 bytes too early"),
        (
            option((1, b"\xff")),
            "offset 0x0002: option 43.URL: must be printable ASCII",
        ),
        (
            option((9, b""), (1, b"ftp://x/")),
            "offset 0x0004: option 43.URL: must begin with http:// or https:// and a host, got 'ftp://x/'",
        ),
        (
            option((2, b"A"), (2, b"B")),
            "offset 0x0003: option 43.ProvisioningCode: stated twice",
        ),
        (
            option((2, b"A" * 65)),
            "offset 0x0002: option 43.ProvisioningCode: must have at most 64 printable ASCII characters",
        ),
        (
            option((3, b"yes")),
            "offset 0x0002: option 43.PeriodicInformEnable: must be 0, 1, false or true",
        ),
        *(
            (
                option((4, value)),
                INTERVAL,
            )
            for value in (b"0", b"", b"\0\0", b"4294967296", b"9" * 200, b"hourly")
        ),
    ],
)
def test_what_is_wrong_is_located(text: str, words: str) -> None:
    with pytest.raises(FormatError) as caught:
        read_option_43(text)

    assert str(caught.value) == f"{words} [TR-069 3.1]"


@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(octets: bytes) -> None:
    with suppress(FormatError):
        read_option_43(octets.hex())
