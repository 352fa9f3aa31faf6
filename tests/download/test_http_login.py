"""Digest and Basic: what challenges say, and the very octets that answer them."""

import hashlib
import re
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spkg.download.http_login import (
    BasicProof,
    DigestProof,
    HttpChallenge,
    UnanswerableError,
    digest_proof,
    read_challenges,
)

NONCE = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
RFC_7616 = (
    'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=%s, '
    f'nonce="{NONCE}", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
)
RFC_2617 = (
    'Digest realm="testrealm@host.com", qop="auth,auth-int", '
    'nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41"'
)


def proof(challenge: str, name: str = "cpe", password: bytes = b"secret") -> DigestProof:
    return digest_proof(read_challenges([challenge]), name, password)


def answer(challenge: str, name: str = "cpe", password: bytes = b"secret") -> str:
    return proof(challenge, name, password).header("GET", "/p")


def hashed(algorithm: str, *parts: bytes) -> bytes:
    return hashlib.new(algorithm, b":".join(parts)).hexdigest().encode()


@pytest.mark.parametrize(
    ("challenge", "password", "client_nonce", "response"),
    [
        (RFC_7616 % "MD5", b"Circle of Life", "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
         "8ca523f5e9506fed4657c9700eebdbec"),
        (RFC_7616 % "SHA-256", b"Circle of Life", "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
         "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        (RFC_2617, b"Circle Of Life", "0a4f113b", "6629fae49393a05397450978507c4ef1"),
    ],
)  # fmt: skip
def test_the_examples_of_the_standards_are_answered_as_they_say(
    challenge: str, password: bytes, client_nonce: str, response: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "token_hex", lambda _size: client_nonce)

    header = proof(challenge, "Mufasa", password).header("GET", "/dir/index.html")

    assert f'response="{response}"' in header


def test_strings_are_quoted_and_the_rest_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "token_hex", lambda _size: "c0")
    challenge = (
        r'Digest realm="the \"file\" server, \\ 1", nonce="n\\\"", algorithm="md5", qop="auth", opaque="\""'
    )

    header = proof(challenge, 'ISP\\a"b').header("GET", "/p?q=1")

    realm, nonce = rb'the "file" server, \ 1', rb"n\""
    who = hashed("md5", rb'ISP\a"b', realm, b"secret")
    response = hashed("md5", who, nonce, b"00000001", b"c0", b"auth", hashed("md5", b"GET", b"/p?q=1"))
    assert header == (
        r'Digest username="ISP\\a\"b", realm="the \"file\" server, \\ 1", nonce="n\\\"", uri="/p?q=1", '
        rf'response="{response.decode()}", algorithm=md5, opaque="\"", qop=auth, nc=00000001, cnonce="c0"'
    )


@pytest.mark.parametrize("realm", ["Fürmware".encode(), "Fürmware".encode("latin-1"), b"\xff\xfe \x80"])
def test_a_realm_is_hashed_and_sent_back_in_the_octets_in_which_it_came(realm: bytes) -> None:
    header = answer(f'Digest realm="{realm.decode("latin-1")}", nonce="n"', "böb€", b"p\xfcw")

    who = hashed("md5", "böb€".encode(), realm, b"p\xfcw")
    response = hashed("md5", who, b"n", hashed("md5", b"GET", b"/p"))
    assert header.encode("latin-1") == (
        b'Digest username="' + "böb€".encode() + b'", realm="' + realm + b'", nonce="n", uri="/p", response="'
        + response + b'"'
    )  # fmt: skip


@pytest.mark.parametrize(("algorithm", "name"), [("MD5-sess", "md5"), ("SHA-256-sess", "sha256")])
@pytest.mark.parametrize("qop", [", qop=auth", ""])
def test_a_session_is_hashed_with_both_nonces(algorithm: str, name: str, qop: str) -> None:
    one = proof(f'Digest realm="r", nonce="n", algorithm={algorithm}{qop}')

    for count in (b"00000001", b"00000002"):
        sent = dict(re.findall(r'(\w+)="?([^",]*)"?', one.header("GET", "/p")))
        ours = sent["cnonce"].encode()
        who = hashed(name, hashed(name, b"cpe", b"r", b"secret"), b"n", ours)
        middle = [b"n", count, ours, b"auth"] if qop else [b"n"]
        assert sent["response"].encode() == hashed(name, who, *middle, hashed(name, b"GET", b"/p"))
        assert sent["algorithm"] == algorithm
        assert sent.get("nc") == (count.decode() if qop else None)


CHALLENGES = {
    "two in one header": (
        ['Basic realm="a, b", Digest realm="r",nonce="n"'],
        [("basic", {"realm": "a, b"}), ("digest", {"realm": "r", "nonce": "n"})],
    ),
    "two in two headers": (
        ['Digest realm="1", nonce="a"', 'Digest realm="2", nonce="b"'],
        [("digest", {"realm": "1", "nonce": "a"}), ("digest", {"realm": "2", "nonce": "b"})],
    ),
    "names without values": (["Negotiate", "NTLM"], [("negotiate", {}), ("ntlm", {})]),
    "a token": (["Negotiate dG9rZW4=", "Basic"], [("negotiate", {"dg9rzw4": ""}), ("basic", {})]),
    "blanks": (["  DIGEST\tREALM = r ,, nonce= n "], [("digest", {"realm": "r", "nonce": "n"})]),
    "a value twice": (['Digest nonce="1", nonce="2"'], [("digest", {"nonce": "1"})]),
    "an empty value": (['Digest opaque="", stale='], [("digest", {"opaque": "", "stale": ""})]),
    "an open quote": (['Digest nonce="n'], [("digest", {"nonce": ""}), ("n", {})]),
    "nothing": ([""], []),
}


@pytest.mark.parametrize(("lines", "expected"), CHALLENGES.values(), ids=CHALLENGES)
def test_challenges_are_told_apart(lines: list[str], expected: list[tuple[str, dict[str, str]]]) -> None:
    assert [(one.scheme, dict(one.parameters)) for one in read_challenges(lines)] == expected


def test_few_challenges_are_read_of_many() -> None:
    assert len(read_challenges(["Digest " * 5000] * 5)) == 100


@pytest.mark.parametrize(
    ("algorithms", "best"),
    [
        (["MD5", "SHA-256"], "SHA-256"),
        (["SHA-256", "MD5"], "SHA-256"),
        (["SHA-512-256", "MD5-sess", "MD5"], "MD5-sess"),
        (["MD5", "sha-256-SESS"], "sha-256-SESS"),
    ],
)
def test_the_strongest_that_is_supported_is_answered(algorithms: list[str], best: str) -> None:
    lines = [f'Digest realm="{one}", nonce="{one}", algorithm={one}, qop="auth"' for one in algorithms]

    header = digest_proof(read_challenges(lines), "cpe", b"secret").header("GET", "/p")

    assert f'realm="{best}", nonce="{best}"' in header
    assert f"algorithm={best}," in header


@pytest.mark.parametrize(
    ("challenge", "problem"),
    [
        ('Digest realm="r", nonce="n", qop="auth-int"', "expected digest qop auth, got auth-int"),
        (
            'Digest realm="r", nonce="n", algorithm=SHA-512-256',
            "expected digest algorithm SHA-256 or MD5, got SHA-512-256",
        ),
        ('Digest realm="r"', "the server's digest challenge has no realm or no nonce"),
        ('Digest nonce="n"', "the server's digest challenge has no realm or no nonce"),
    ],
)
def test_what_is_not_supported_is_named(challenge: str, problem: str) -> None:
    with pytest.raises(UnanswerableError) as caught:
        answer(challenge)

    assert str(caught.value) == problem


def test_basic_is_name_and_password_in_octets() -> None:
    assert BasicProof(username="ö", password=b"\xff:").header("GET", "/") == "Basic w7Y6/zo="


@given(st.lists(st.text(st.characters(max_codepoint=255)), max_size=3))
def test_whatever_a_header_says_it_is_read(lines: list[str]) -> None:
    for challenge in read_challenges(lines):
        assert challenge.scheme == challenge.scheme.lower()


LATIN = st.text(st.characters(max_codepoint=255, blacklist_categories=["Cc"]))


@given(LATIN, LATIN, LATIN)
def test_what_is_quoted_is_read_as_it_was(name: str, realm: str, nonce: str) -> None:
    said = {"realm": realm, "nonce": nonce, "qop": "auth"}
    one = digest_proof([HttpChallenge(scheme="digest", parameters=said)], name, b"")

    (read,) = read_challenges([one.header("GET", "/p")])

    assert (read.parameters["realm"], read.parameters["nonce"]) == (realm, nonce)
    assert read.parameters["username"].encode("latin-1") == name.encode()
