"""Envelopes as they come: cut, read, and bounded, whatever is sent (TR-069 3.4.1, 3.5, Table 3)."""

import time
from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spkg.cwmp.envelopes import MAX_ENVELOPE, MAX_PIPELINED, MessageKind, read_message, split_envelopes
from spkg.cwmp.soap import write_envelope
from spkg.errors import NO_ROOM, FormatError, RefusedError
from tests.support.rpc_kit import CWMP, SOAP, envelope, get_options, named

ONE: Final = envelope(get_options("IPTV"), named("1")).strip()
TWO: Final = envelope("<cwmp:Reboot><CommandKey>k</CommandKey></cwmp:Reboot>", named("2")).strip()
DECLARED: Final = b'<?xml version="1.0" encoding="UTF-8"?>\n'


# H2: several envelopes in one response.


def test_h2_envelopes_are_cut_in_their_order() -> None:
    assert split_envelopes(ONE + TWO + ONE, MAX_PIPELINED) == [ONE, TWO, ONE]


@pytest.mark.parametrize("between", [b"", b"\n", b" \r\n\t ", b"\n\n" * 1000])
@pytest.mark.parametrize("declaration", [b"", DECLARED])
def test_h2_blanks_and_declarations_may_stand_between_envelopes(between: bytes, declaration: bytes) -> None:
    octets = between + declaration + ONE + between + declaration + TWO + between

    found = split_envelopes(octets, 2)

    assert [one.strip() for one in found] == [declaration + ONE, declaration + TWO]
    assert [read_message(one).id for one in found] == ["1", "2"]


@pytest.mark.parametrize("octets", [b"", b"\n", b" \r\n\t"])
def test_an_empty_response_has_no_envelopes(octets: bytes) -> None:
    assert split_envelopes(octets) == []


@pytest.mark.parametrize(
    "trick",
    [
        "<![CDATA[</soap:Envelope><soap:Envelope>]]>",
        "<!-- </soap:Envelope><soap:Envelope> -->",
        "<?x </soap:Envelope><soap:Envelope> ?>",
        "&lt;/soap:Envelope&gt;",
        "]]&gt;<![CDATA[]]>",
    ],
)
def test_what_looks_like_an_end_and_is_none_does_not_cut(trick: str) -> None:
    odd = envelope(get_options(trick), named(trick)).strip()

    assert split_envelopes(odd + TWO + odd, 3) == [odd, TWO, odd]


@pytest.mark.parametrize(
    ("junk", "place"),
    [(b"junk", 4), (b"\n\n&#65;", 2), (b"&amp;", 0), (b"\x00", 0), (b"\xff", 0), (b"</soap:Envelope>", 1)],
)
def test_junk_between_envelopes_is_located(junk: bytes, place: int) -> None:
    with pytest.raises(FormatError) as caught:
        split_envelopes(ONE + junk + TWO, 2)

    assert str(caught.value) == (
        f"offset 0x{len(ONE) + place:04x}: malformed XML: not well-formed (invalid token) [TR-069 3.5]"
    )


def test_junk_behind_the_last_envelope_is_located() -> None:
    with pytest.raises(FormatError) as caught:
        split_envelopes(ONE + b"\njunk", 2)

    assert str(caught.value) == (
        f"offset 0x{len(ONE) + 1:04x}: malformed XML: junk after document element [TR-069 3.5]"
    )


@pytest.mark.parametrize(
    "junk", [b"<a/>", b"<![CDATA[x]]>", b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"<soap:Body>"]
)
def test_another_element_between_envelopes_is_no_envelope(junk: bytes) -> None:
    with pytest.raises(FormatError):
        [read_message(one) for one in split_envelopes(ONE + junk + TWO, 3)]


@pytest.mark.parametrize("most", [1, 2, 16])
def test_h2_more_envelopes_than_announced_are_refused(most: int) -> None:
    assert len(split_envelopes(ONE * most, most)) == most
    with pytest.raises(FormatError) as caught:
        split_envelopes(ONE * (most + 1), most)

    noun = "envelope" if most == 1 else "envelopes"
    assert str(caught.value) == (
        f"offset 0x{len(ONE) * most:04x}: expected at most {most} {noun}, got more [TR-069 3.4.1]"
    )


def test_a_response_that_is_too_large_is_refused() -> None:
    with pytest.raises(RefusedError) as caught:
        split_envelopes(b" " * (MAX_ENVELOPE + 1))

    assert (caught.value.problem, caught.value.reason) == (
        f"expected a response of at most {MAX_ENVELOPE} bytes, got more",
        NO_ROOM,
    )


@pytest.mark.parametrize(
    ("octets", "problem"),
    [
        (b"Internal Server Error", "offset 0x0000: malformed XML: syntax error"),
        (b" \n<html><br></html>", "offset 0x000e: malformed XML: mismatched tag"),
        (ONE[:-1], f"offset 0x{ONE.rindex(b'<'):04x}: malformed XML: unclosed token"),
        (ONE[:-20], "malformed XML"),
        (b"<!DOCTYPE html><html/>", "a document type declaration is not accepted"),
        (DECLARED + b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "a document type declaration"),
        (ONE.decode().encode("utf-16"), "offset 0x0000: not UTF-8: invalid start byte"),
        (ONE.decode().encode("utf-16-le"), "malformed XML: invalid character: Char 0x0 out of allowed range"),
    ],
)
def test_what_is_no_envelope_is_located(octets: bytes, problem: str) -> None:
    with pytest.raises(FormatError) as caught:
        [read_message(one) for one in split_envelopes(octets)]

    assert problem in str(caught.value)


CUTS: Final = st.lists(
    st.sampled_from([ONE, TWO, DECLARED + ONE, b'<soap:Envelope xmlns:soap="x"/>']), min_size=1, max_size=16
)


@given(CUTS, st.sampled_from([b"", b"\n", b"  "]))
def test_what_is_joined_is_cut_again(envelopes: list[bytes], between: bytes) -> None:
    found = split_envelopes(between.join(envelopes), 16)

    assert [one.strip() for one in found] == envelopes


@given(st.binary(max_size=60), st.integers(0, len(ONE)))
def test_no_octets_break_the_reader(junk: bytes, place: int) -> None:
    try:
        for one in split_envelopes(ONE[:place] + junk + ONE[place:], 16):
            read_message(one)
    except (FormatError, RefusedError):
        pass


# What an envelope is.


@pytest.mark.parametrize(
    ("body", "kind", "name"),
    [
        (get_options(), MessageKind.CALL, "GetOptions"),
        ("<cwmp:X_00D09E_Reset/>", MessageKind.CALL, "X_00D09E_Reset"),
        ("<cwmp:InformResponse/>", MessageKind.RESPONSE, "Inform"),
        ("<cwmp:AutonomousTransferCompleteResponse/>", MessageKind.RESPONSE, "AutonomousTransferComplete"),
        ("<cwmp:Response/>", MessageKind.CALL, "Response"),
        ("<x:InformResponse/>", MessageKind.CALL, "{urn:x}InformResponse"),
        ("<InformResponse/>", MessageKind.CALL, "{}InformResponse"),
        ("<soap:Fault/>", MessageKind.FAULT, ""),
        ("", MessageKind.FLOW, ""),
        ("  text <!-- none --> ", MessageKind.FLOW, ""),
    ],
)
def test_x3_a_message_is_a_call_a_response_a_fault_or_only_headers(
    body: str, kind: MessageKind, name: str
) -> None:
    message = read_message(envelope(body, named("7")))

    assert (message.kind, message.name, message.id) == (kind, name, "7")
    assert message.is_empty == (kind is MessageKind.FLOW)


@pytest.mark.parametrize("version", [0, 1, 2, 14, 999])
def test_x1_the_version_of_the_namespace_is_kept(version: int) -> None:
    octets = envelope(get_options(), named("1")).replace(b"cwmp-1-0", f"cwmp-1-{version}".encode())

    message = read_message(octets)

    assert (message.kind, message.name, message.id) == (MessageKind.CALL, "GetOptions", "1")
    assert message.version == version
    assert (
        f'xmlns:cwmp="urn:dslforum-org:cwmp-1-{version}"' in write_envelope("", "1", version=version).decode()
    )


@pytest.mark.parametrize("wrong", ["cwmp-1-", "cwmp-1-x", "cwmp-1-1000", "cwmp-2-0", "cwmp-1-0/"])
def test_x1_another_namespace_is_not_cwmp(wrong: str) -> None:
    octets = envelope(get_options(), named("1")).replace(b"cwmp-1-0", wrong.encode())

    message = read_message(octets)

    assert (message.name, message.id) == (f"{{urn:dslforum-org:{wrong}}}GetOptions", None)


def test_x12_an_empty_body_has_the_version_of_its_headers() -> None:
    octets = envelope("", "<cwmp:HoldRequests>1</cwmp:HoldRequests>").replace(b"cwmp-1-0", b"cwmp-1-2")

    message = read_message(octets)

    assert (message.is_empty, message.hold_requests, message.version) == (True, True, 2)


@pytest.mark.parametrize("kind", ["GetOptions", "InformResponse"])
def test_x9_requests_are_held_by_any_message(kind: str) -> None:
    headers = '<cwmp:HoldRequests soap:mustUnderstand="1">true</cwmp:HoldRequests>'

    message = read_message(
        envelope(f"<cwmp:{kind}/>", f"{headers}<cwmp:NoMoreRequests>1</cwmp:NoMoreRequests>")
    )

    assert (message.hold_requests, message.no_more_requests) == (True, True)


def test_x10_what_is_unknown_is_ignored_wherever_it_stands() -> None:
    octets = (
        f'<?a?><!-- b --><s:Envelope xmlns:s="{SOAP}" xmlns:c="{CWMP}" xmlns:x="urn:x" x:y="1">'
        "<x:z><s:Body/></x:z><s:Header><x:ID>2</x:ID><c:Other>3</c:Other><c:ID>1</c:ID></s:Header><x:z/>"
        "<s:Body><!-- b --><?a?><c:Reboot x:y='1'/></s:Body><x:z/></s:Envelope><?a?>"
    ).encode()

    [only] = split_envelopes(octets)
    message = read_message(only)

    assert (message.name, message.id, message.problem) == ("Reboot", "1", None)


# Bounds.


def test_what_is_too_large_says_what_it_is_as_far_as_it_can_be_read() -> None:
    message = read_message(envelope(get_options("x" * MAX_ENVELOPE), named("7")))

    assert (message.kind, message.name, message.id, message.body) == (
        MessageKind.CALL,
        "GetOptions",
        "7",
        None,
    )
    assert isinstance(message.problem, RefusedError)


def test_what_is_too_large_and_says_nothing_is_a_call_all_the_same() -> None:
    message = read_message(b"x" * (MAX_ENVELOPE + 1))

    assert (message.kind, message.name, message.id) == (MessageKind.CALL, "", None)
    assert str(message.not_supported()) == "the method  is not supported"


def test_x17_too_many_elements_are_a_problem_of_the_call() -> None:
    message = read_message(envelope(f"<cwmp:GetOptions>{'<a></a>' * 40_000}</cwmp:GetOptions>", named("7")))

    assert (message.name, message.id) == ("GetOptions", "7")
    assert str(message.problem) == "expected at most 32768 elements, got more [TR-069 3.5]"


def test_x17_a_response_with_too_many_tags_is_one_call_that_is_too_large() -> None:
    many = envelope(f"<cwmp:GetOptions>{'<a>' * 1_300_000}", named("7"))

    [only] = split_envelopes(many)

    assert only == many
    assert (read_message(only).name, read_message(only).id) == ("GetOptions", "7")
    assert str(read_message(only).problem) == "expected at most 32768 elements, got more [TR-069 3.5]"


def test_h2_several_large_envelopes_are_cut() -> None:
    large = envelope(f"<cwmp:GetOptions>{'<a></a>' * 20_000}</cwmp:GetOptions>").strip()

    assert split_envelopes(large * 3, 3) == [large] * 3


HOSTILE: Final[dict[str, Callable[[], str]]] = {
    "a million elements": lambda: "<a/>" * 1_000_000,
    "a million comments": lambda: "<!---->" * 500_000,
    "two million levels": lambda: "<a>" * 1_300_000,
    "attributes": lambda: "<a " + " ".join(f"a{number}=''" for number in range(300_000)) + "/>",
    "namespaces": lambda: "<a " + " ".join(f"xmlns:a{number}='u'" for number in range(200_000)) + "/>",
    "one long name": lambda: f"<{'a' * 4_000_000}/>",
    "references": lambda: "&#65;" * 800_000,
    "sections": lambda: "<![CDATA[x]]>" * 300_000,
    "prefixes": lambda: "<x:a/>" * 30_000,
}
"""Made when they are wanted: what a worker holds, each process that it forks pays for."""


@pytest.mark.parametrize("what", HOSTILE)
def test_whatever_is_sent_takes_seconds_at_most(what: str) -> None:
    octets = envelope(f"<cwmp:GetOptions>{HOSTILE[what]()}</cwmp:GetOptions>")
    assert len(octets) <= MAX_ENVELOPE
    begun = time.process_time()

    try:
        for one in split_envelopes(octets):
            read_message(one)
    except FormatError:
        pass

    assert time.process_time() - begun < 5
