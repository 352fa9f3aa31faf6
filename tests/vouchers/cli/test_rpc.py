"""``spkg voucher rpc``: an envelope in, an envelope out, and what it ends with (TR-069 3.5, A.4.1)."""

import resource
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner

from spkg.common.digests import Digest
from tests.support.commands import PATIENCE, PROGRAM, main
from tests.support.kit import AT, authority, root
from tests.support.rpc_kit import (
    AFTER,
    CWMP,
    IPTV_ON,
    IPTV_OVER,
    QOS_ON,
    done,
    envelope,
    fault,
    genuine,
    get_options,
    listed,
    named,
    option,
    set_vouchers,
)
from tests.support.voucher_kit import signed
from vouchers.cpe.store import OptionStore

DEVICE: Final = """
[device]
manufacturer = "2Wire"
oui = "00D09E"
product-class = "Gateway"
serial-number = "123456789"
provisioning-code = "ISP-1"

[options]
supported = ["QoS", "IPTV", "VoIP"]
"""
HERE: Final = ("--store", "options.db", "--device", "device.toml", "--trust", "ca.pem")
TIME: Final = ("--at", AT.isoformat())
GET: Final = envelope(get_options(), named("1"))
SET: Final = envelope(set_vouchers(genuine()), named("1"))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in, with the device and the root it trusts."""
    monkeypatch.chdir(tmp_path)
    Path("ca.pem").write_bytes(root().pem)
    Path("device.toml").write_text(DEVICE)
    return tmp_path


def rpc(request: bytes, *args: str) -> tuple[int, bytes, str]:
    """Run the command in this process; return its exit status, standard output and standard error."""
    Path("request").write_bytes(request)
    with Path("request").open("rb") as file:
        ended = CliRunner().invoke(main, ["voucher", "rpc", *args], input=file, prog_name="spkg")
    return ended.exit_code, ended.stdout_bytes, ended.stderr


def process(*args: str, **settings: Any) -> tuple[int, bytes, str]:
    """Run the command as a process."""
    settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **settings}
    ended = subprocess.run([*PROGRAM, "voucher", "rpc", *args], timeout=PATIENCE, check=False, **settings)
    return ended.returncode, ended.stdout, ended.stderr.decode()


def last_time() -> datetime | None:
    with OptionStore(Path("options.db")) as store:
        return store.last_time()


def test_set_vouchers_makes_the_store_and_get_options_tells_of_it() -> None:
    before = Path("options.db").exists()
    answer = rpc(SET, *HERE, *TIME)
    after = rpc(GET, *HERE, *TIME)

    assert not before
    assert answer == (0, done("1"), "")
    assert after == (0, listed(*AFTER, name="1"), "")


def test_get_options_makes_the_store_too() -> None:
    answer = rpc(GET, *HERE, *TIME)

    assert answer == (0, listed(*map(option, ("QoS", "IPTV", "VoIP")), name="1"), "")
    assert Path("options.db").exists()


def test_a_process_answers_as_the_command_does() -> None:
    name = "\u00e9 \u65e5\u672c \U0001f4fa <&amp;>".replace("<", "&lt;").replace(">", "&gt;")

    answer = process(*HERE, *TIME, input=envelope(set_vouchers(genuine()), named(name)))

    assert answer == (0, done(name), "")


@pytest.mark.parametrize("encoding", ["latin-1", "koi8-r", "ascii"])
def test_an_answer_is_utf_8_whatever_the_terminal_is(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", encoding)

    answer = process(*HERE, *TIME, input=envelope(get_options("VoIP"), named("\u00e9\u65e5")))

    assert answer == (0, listed(option("VoIP"), name="\u00e9\u65e5"), "")


FAULTS: Final[dict[str, tuple[Callable[[], bytes], bytes]]] = {
    "an unknown method": (
        lambda: envelope("<cwmp:Upload/>", named("1")),
        fault(9000, f"the method {{{CWMP}}}Upload is not supported", "1"),
    ),
    "another device": (
        lambda: SET,
        fault(
            9001,
            "VoucherList[0]: DeviceId: the voucher is for 00D09E 'Gateway' '123456789', "
            "but this device is 00D09E 'Gateway' '2' [TR-069 C.3, Table 62]",
            "1",
        ),
    ),
    "an option that there is not": (
        lambda: envelope(get_options("TV"), named("1")),
        fault(9003, "unknown Option 'TV'", "1"),
    ),
    "too many vouchers": (
        lambda: envelope(set_vouchers(*[b"<a/>"] * 65), named("1")),
        fault(9004, "VoucherList: expected at most 64 members, got 65 [TR-069 A.2.1]", "1"),
    ),
    "two calls": (
        lambda: envelope(get_options() * 2, named("1")),
        fault(9003, "expected one call in the Body, got 2 [TR-069 3.5]", "1"),
    ),
    "a header": (
        lambda: envelope("", f'{named("1")}<x:a soap:mustUnderstand="1"/>'),
        fault(9003, "the header {urn:x}a is not understood [TR-069 3.5]", "1"),
    ),
}


@pytest.mark.parametrize("why", FAULTS)
def test_a_fault_is_an_answer_too(why: str) -> None:
    request, wanted = FAULTS[why]
    Path("device.toml").write_text(DEVICE.replace('"123456789"', '"2"'))

    answer = rpc(request(), *HERE, *TIME)

    assert answer == (0, wanted, "")


def test_a_voucher_of_nobody_who_is_trusted_is_a_fault() -> None:
    Path("ca.pem").write_bytes(authority("Other Root", with_key="second").pem)

    status, answer, errors = rpc(SET, *HERE, *TIME)

    assert (status, errors) == (0, "")
    assert b"<FaultCode>9001</FaultCode>" in answer
    assert rpc(GET, *HERE, *TIME)[1] == listed(*map(option, ("QoS", "IPTV", "VoIP")), name="1")


def test_digests_that_are_accepted_are_named() -> None:
    request = envelope(set_vouchers(signed(digest=Digest.SHA1)))

    refused = rpc(request, *HERE, *TIME)
    taken = rpc(request, *HERE, *TIME, "--digests", "sha1,sha256")

    assert refused == (0, fault(9001, "VoucherList[0]: a signature with sha1 is not accepted"), "")
    assert taken == (0, done(), "")


HEADERS: Final = envelope("", '<cwmp:HoldRequests soap:mustUnderstand="1">1</cwmp:HoldRequests>')


def test_headers_alone_get_no_answer() -> None:
    answer = rpc(HEADERS, *HERE, *TIME)

    assert answer == (0, b"", "")


def test_a_new_provider_is_seen_where_there_are_headers_alone() -> None:
    rpc(SET, *HERE, *TIME)
    Path("device.toml").write_text(DEVICE.replace("ISP-1", "ISP-2"))

    rpc(HEADERS, *HERE, *TIME)

    Path("device.toml").write_text(DEVICE)
    assert rpc(GET, *HERE, *TIME) == (0, listed(QOS_ON, IPTV_OVER, option("VoIP"), name="1"), "")


NONE: Final[dict[str, tuple[bytes, str]]] = {
    "nothing": (b"", "offset 0x0000: malformed XML: document is empty"),
    "no XML": (b"GetOptions\n", "offset 0x0000: malformed XML: start tag expected, '<' not found"),
    "not UTF-8": (b"<a>\xe9</a>", "offset 0x0003: not UTF-8: invalid continuation byte"),
    "a document type": (
        b'<!DOCTYPE a [<!ENTITY a "a"><!ENTITY b "&a;&a;&a;&a;">]>' + envelope(get_options("&b;")),
        "offset 0x0000: a document type declaration is not accepted",
    ),
    "another root": (b"<a>\n</a>", "a: must be an Envelope of SOAP 1.1 (line 1)"),
}


@pytest.mark.parametrize("what", NONE)
def test_what_is_no_envelope_gets_no_answer_and_ends_with_3(what: str) -> None:
    request, problem = NONE[what]

    answer = rpc(request, *HERE, *TIME)

    assert answer == (3, b"", f"spkg: error: {problem} [TR-069 3.5]\n")
    assert not Path("options.db").exists()


def test_what_is_too_deep_ends_with_3() -> None:
    status, answer, errors = rpc(envelope("<x:a>" * 1000 + "</x:a>" * 1000), *HERE, *TIME)

    assert (status, answer) == (3, b"")
    assert "excessive depth in document: 256" in errors


def test_an_input_that_does_not_end_is_read_no_further_than_the_limit() -> None:
    with Path("/dev/zero").open("rb") as endless:
        answer = process(*HERE, *TIME, stdin=endless)

    assert answer[0] == 0
    assert b"<FaultCode>9004</FaultCode>" in answer[1]
    assert answer[2] == ""


# The device.


def test_a_device_that_does_not_say_who_it_is_is_named() -> None:
    Path("device.toml").write_text('[device]\noui = "00D09E"\n')

    answer = rpc(GET, *HERE, *TIME)

    assert answer[:2] == (3, b"")
    assert answer[2] == (
        "spkg: error: device.toml: device: missing product-class and serial-number: "
        "vouchers need the device's identity [TR-069 C.3, Table 63]\n"
    )
    assert not Path("options.db").exists()


def test_a_device_file_that_is_none_ends_with_3() -> None:
    Path("device.toml").write_text("[device]\ncolour = 1\n")

    status, answer, errors = rpc(GET, *HERE, *TIME)

    assert (status, answer) == (3, b"")
    assert errors.startswith("spkg: error: device.toml:2: ")
    assert not Path("options.db").exists()


@pytest.mark.parametrize("name", ["device.toml", "ca.pem"])
def test_a_file_that_is_not_there_ends_with_9(name: str) -> None:
    Path(name).unlink()

    answer = rpc(GET, *HERE, *TIME)

    assert answer == (9, b"", f"spkg: error: {name}: no such file or directory\n")
    assert not Path("options.db").exists()


def test_a_new_provisioning_code_in_the_device_file_ends_what_is_not_transferable() -> None:
    rpc(SET, *HERE, *TIME)
    Path("device.toml").write_text(DEVICE.replace("ISP-1", "ISP-2"))

    changed = rpc(GET, *HERE, *TIME)
    Path("device.toml").write_text(DEVICE)
    back = rpc(GET, *HERE, *TIME)

    assert changed == (0, listed(QOS_ON, IPTV_OVER, option("VoIP"), name="1"), "")
    assert back == changed


# The time.


def test_a_time_that_is_named_is_not_remembered() -> None:
    rpc(SET, *HERE, *TIME)

    later = rpc(GET, *HERE, "--at", "2027-05-01T00:00:00Z")
    now = rpc(GET, *HERE, *TIME)

    assert later == (0, listed(QOS_ON, IPTV_OVER, option("VoIP"), name="1"), "")
    assert now == (0, listed(QOS_ON, IPTV_ON, option("VoIP"), name="1"), "")
    assert last_time() is None


def test_the_time_of_the_clock_is_remembered() -> None:
    before = datetime.now(UTC)
    status, _, errors = rpc(GET, *HERE)
    after = datetime.now(UTC)

    known = last_time()
    assert (status, errors) == (0, "")
    assert known is not None
    assert before - timedelta(seconds=1) < known <= after


def test_without_a_clock_nothing_is_granted_and_what_is_known_is_told() -> None:
    refused = rpc(SET, *HERE, "--no-clock")
    told = rpc(GET, *HERE, "--no-clock")

    assert refused == (
        0,
        fault(9001, "network time is not established [TR-069 C.2]", "1"),
        "",
    )
    assert told == (0, listed(*map(option, ("QoS", "IPTV", "VoIP")), name="1"), "")
    assert last_time() is None


# Wrong usage.


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        ((*HERE, *TIME, "--no-clock"), "--at and --no-clock are mutually exclusive"),
        ((*HERE[:4], *TIME), "nothing is trusted without --trust"),
        ((*HERE[2:], *TIME), "missing option '--store'"),
        ((*HERE[:2], *HERE[4:], *TIME), "missing option '--device'"),
        ((*HERE, "request"), "got unexpected extra argument (request)"),
    ],
)
def test_wrong_usage_ends_with_2(args: tuple[str, ...], problem: str) -> None:
    status, answer, errors = rpc(GET, *args)

    assert (status, answer) == (2, b"")
    assert errors.splitlines()[0] == f"spkg: error: {problem}"
    assert not Path("options.db").exists()


# Where the store can't be used.


def _missing() -> None:
    """Have it in a directory that there is not."""


def _directory() -> None:
    Path("no").mkdir()
    Path("no/options.db").mkdir()


def _other() -> None:
    Path("no").mkdir()
    Path("no/options.db").write_bytes(b"no database, but as long as the header of one " * 20)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (_missing, "no/options.db: unable to open database file"),
        (_directory, "no/options.db is not a regular file"),
        (_other, "no/options.db: file is not a database"),
    ],
)
@pytest.mark.parametrize("request_", [GET, SET], ids=["GetOptions", "SetVouchers"])
def test_a_store_that_can_not_be_opened_is_a_fault_and_said(
    make: Callable[[], None], problem: str, request_: bytes
) -> None:
    make()

    answer = rpc(request_, "--store", "no/options.db", *HERE[2:], *TIME)

    assert answer == (0, fault(9002, problem, "1"), f"spkg: hint: {problem}\n")


def test_a_store_that_can_not_be_opened_where_nothing_is_called_ends_with_9() -> None:
    answer = rpc(HEADERS, "--store", "no/options.db", *HERE[2:], *TIME)

    assert answer == (9, b"", "spkg: error: no/options.db: unable to open database file\n")


def test_a_store_that_can_be_opened_and_not_written_is_a_fault_of_what_changes_it() -> None:
    rpc(envelope("<cwmp:Upload/>"), *HERE, *TIME)
    Path("device.toml").write_text(DEVICE.replace("ISP-1", "ISP-2"))  # which is to be remembered

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    failed = process(*HERE, *TIME, input=SET, preexec_fn=limit)
    answered = process(*HERE, *TIME, input=GET, preexec_fn=limit)

    problem = "options.db: disk I/O error"
    assert failed == (0, fault(9002, problem, "1"), "")
    assert answered == (
        0,
        listed(*map(option, ("QoS", "IPTV", "VoIP")), name="1"),
        f"spkg: hint: the time and the provisioning code are not stored: {problem}\n",
    )
    assert rpc(GET, *HERE, *TIME)[1] == listed(*map(option, ("QoS", "IPTV", "VoIP")), name="1")


# Where nobody speaks or listens.


def test_a_standard_input_that_is_closed_ends_with_9() -> None:
    ended = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *PROGRAM, "voucher", "rpc", *HERE, *TIME],
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )

    assert (ended.returncode, ended.stdout) == (9, b"")
    assert ended.stderr == b"spkg: error: standard input is closed\n"
    assert not Path("options.db").exists()


def test_a_standard_input_that_is_empty_ends_with_3() -> None:
    answer = process(*HERE, *TIME, stdin=subprocess.DEVNULL)

    assert answer == (
        3,
        b"",
        "spkg: error: offset 0x0000: malformed XML: document is empty [TR-069 3.5]\n",
    )


def test_an_answer_that_can_not_be_told_ends_with_9_and_the_server_may_ask_again() -> None:
    with Path("/dev/full").open("wb") as full:
        lost = process(*HERE, *TIME, input=SET, stdout=full)

    again = rpc(SET, *HERE, *TIME)

    assert (lost[0], lost[2]) == (9, "spkg: error: standard output: no space left on device\n")
    assert again == (0, done("1"), "")
    assert rpc(GET, *HERE, *TIME)[1] == listed(*AFTER, name="1")
