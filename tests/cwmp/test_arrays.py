"""Arrays of SOAP 1.1: members of any name, counts, types, nil, and values that are referred to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spkg.common.hostile_xml import XmlElement
from spkg.cwmp.arrays import BASE64, References, read_array, write_array
from spkg.cwmp.envelopes import Message, read_message
from spkg.cwmp.soap import own_text, write_envelope
from spkg.errors import NO_ROOM, FormatError, RefusedError

XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:xsd="http://www.w3.org/2001/XMLSchema"'
LONG = "#" + "a" * 200


def read(members: str, beside: str = "", *, kind: str = "", most: int = 4) -> list[str]:
    """Return the texts of the values of an array, with these elements beside the call."""
    stated = f' soapenc:arrayType="{kind}"' if kind else ""
    call = f'<cwmp:Call {XSI} xmlns:x="urn:x"><List{stated}>{members}</List></cwmp:Call>'
    envelope = read_message(
        write_envelope(f'{call}<x:beside {XSI} xmlns:x="urn:x" id="beside"/>{beside}', None)
    )
    found = read_array(array_of(envelope), References(envelope), field="List", most=most, types=BASE64)
    return [own_text(one) for one in found]


def array_of(envelope: Message) -> XmlElement:
    assert envelope.problem is None
    assert envelope.body is not None
    return References(envelope).follow(envelope.body[0], field="List")


def refusal(members: str, beside: str = "", *, kind: str = "") -> str:
    with pytest.raises(FormatError) as caught:
        read(members, beside, kind=kind)
    return str(caught.value)


@pytest.mark.parametrize(
    "name", ["item", "Item", "base64", "soapenc:base64", "xsd:base64Binary", "x:Voucher", "List", "anyType"]
)
def test_a_member_has_any_name_in_any_namespace(name: str) -> None:
    assert read(f"<{name}>a</{name}><item>b</item>") == ["a", "b"]


def test_an_array_may_have_no_members() -> None:
    assert read("") == []
    assert read("text<!-- a -->", kind="xsd:base64Binary[0]") == []


@pytest.mark.parametrize(
    "kind", ["xsd:base64Binary", "soapenc:base64", "xsd:base64", " x:base64\n", "base64Binary", "xsd:string"]
)
def test_a_type_may_be_any_of_base64(kind: str) -> None:
    assert read(f'<item xsi:type="{kind}">a</item>') == ["a"]


@pytest.mark.parametrize("kind", ["xsd:int", "x:Base64", "base64:x", "", "soapenc:Array"])
def test_another_type_is_refused(kind: str) -> None:
    problem = refusal(f'<item/><item xsi:type="{kind}">a</item>')

    assert (
        problem == f"List[1]: expected the type base64 or base64Binary or string, got {kind!r} [TR-069 3.5]"
    )


@pytest.mark.parametrize("nil", ["1", "true", " true ", "nil", "TRUE"])
def test_a_nil_member_is_refused(nil: str) -> None:
    assert refusal(f'<item>a</item><item xsi:nil="{nil}"/>') == "List[1]: must not be nil [TR-069 3.5]"


@pytest.mark.parametrize("nil", ["0", "false", " 0"])
def test_a_member_that_says_that_it_is_not_nil_is_one(nil: str) -> None:
    assert read(f'<item xsi:nil="{nil}">a</item>') == ["a"]


@pytest.mark.parametrize(
    ("kind", "count"), [("x:a[1]", "1 member"), ("x:a[3]", "3 members"), ("[0]", "0 members")]
)
def test_a_count_that_is_stated_holds(kind: str, count: str) -> None:
    problem = refusal("<item>a</item><item>b</item>", kind=kind)

    assert problem == f"List: expected {count} by its arrayType, got 2 [TR-069 3.5]"


def test_too_many_members_are_refused_before_any_is_looked_at() -> None:
    with pytest.raises(RefusedError) as caught:
        read('<item xsi:nil="1"/>' * 5, kind="x:a[2]")

    assert str(caught.value) == "List: expected at most 4 members, got 5 [TR-069 A.2.1]"
    assert caught.value.reason == NO_ROOM


def test_a_value_may_stand_beside_the_call() -> None:
    beside = '<b id="id1">b</b><x:a xmlns:x="urn:x" id="id0">a<x:b/></x:a><unused id="id2">c</unused>'

    assert read('<item href="#id0"/><item> c</item><item href="#id1"></item>', beside) == ["a", " c", "b"]


def test_the_array_may_stand_beside_the_call() -> None:
    body = (
        '<cwmp:Call><List href="#id1"/></cwmp:Call><soapenc:Array id="id1" soapenc:arrayType="a[2]">'
        '<Item>a</Item><Item href="#id2"/></soapenc:Array><b id="id2">b</b>'
    )
    envelope = read_message(write_envelope(body, None))

    found = read_array(array_of(envelope), References(envelope), field="List", most=2, types=BASE64)

    assert [own_text(one) for one in found] == ["a", "b"]


@pytest.mark.parametrize("href", ["#id1", "#", "id0", "", "##id0", "http://x/#id0", "cid:id0", LONG])
def test_an_href_refers_to_a_value_beside_the_call(href: str) -> None:
    problem = refusal(f'<item>a</item><item id="id1" href="{href}"/>', '<b id="id0">b</b>')

    assert problem == (
        f"List[1]: href must refer to a value next to the call, got {href[:128]!r} [TR-069 3.5]"
    )


def test_a_value_that_is_referred_to_refers_to_nothing() -> None:
    circle = '<b id="id0" href="#id1"/><b id="id1" href="#id0"/>'

    assert refusal('<item href="#id0"/>', circle) == (
        "List[0]: href must refer to a value, got '#id0', which has an href itself [TR-069 3.5]"
    )


def test_a_value_is_referred_to_once() -> None:
    problem = refusal('<item href="#id0"/><item href="#id0"/>', '<b id="id0">b</b>')

    assert problem == "List[1]: must not refer to the value of another member [TR-069 3.5]"


def shared(text: str, times: int) -> str | None:
    """Return why a value may not be referred to so often by what is no member of an array."""
    body = "<cwmp:Call>" + '<a href="#id0"/>' * times + f'</cwmp:Call><b id="id0">{text}</b>'
    envelope = read_message(write_envelope(body, None))
    references = References(envelope)
    assert envelope.body is not None
    try:
        for element in envelope.body:
            assert references.follow(element, field="a").text == text.partition("<")[0]
    except FormatError as exc:
        return str(exc)
    return None


def test_a_short_value_may_be_shared_by_arguments() -> None:
    assert shared("both", 2) is None
    assert shared("x" * 65535, 2) is None


@pytest.mark.parametrize(("text", "times"), [("x" * 65536, 2), ("x" * 999, 67), ("x<c/>", 2)])
def test_a_large_value_is_not_shared(text: str, times: int) -> None:
    assert shared(text, times) == "a: must not refer to the value of another member [TR-069 3.5]"


@pytest.mark.parametrize("inside", ["a", "<b/>"])
def test_a_member_has_a_value_or_an_href(inside: str) -> None:
    problem = refusal(f'<item href="#id0">{inside}</item>', '<b id="id0">b</b>')

    assert problem == "List[0]: must have a value or an href, not both [TR-069 3.5]"


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ('xsi:nil="1"', "must not be nil"),
        ('xsi:type="xsd:int"', "expected the type base64 or base64Binary or string, got 'xsd:int'"),
    ],
)
def test_a_value_that_is_referred_to_is_looked_at_like_any(said: str, problem: str) -> None:
    assert refusal('<item href="#id0"/>', f'<b {XSI} id="id0" {said}>b</b>') == (
        f"List[0]: {problem} [TR-069 3.5]"
    )


def test_two_values_have_two_ids() -> None:
    envelope = read_message(write_envelope('<cwmp:Call/><a id="1"/><b id="1"/>', None))

    assert str(envelope.problem) == "the id '1' must occur once [TR-069 3.5]"


def test_what_has_no_id_is_another_call() -> None:
    envelope = read_message(write_envelope('<cwmp:Call/><a id="1"/><b/><c/>', None))

    assert str(envelope.problem) == "expected one call in the Body, got 3 [TR-069 3.5]"


@given(st.lists(st.text("abc\n ", max_size=9), max_size=4))
def test_what_is_written_is_read(texts: list[str]) -> None:
    written = write_array("List", "soapenc:base64", [f"<base64>{text}</base64>\n" for text in texts])
    envelope = read_message(write_envelope(f"<cwmp:Call>{written}</cwmp:Call>", None))

    found = read_array(array_of(envelope), References(envelope), field="List", most=4, types=BASE64)

    assert [own_text(one) for one in found] == texts
