"""Envelopes in the log: whoever reads it learns no password."""

import pytest

from spkg.agent.masking import PASSWORD_MASK, is_secret, masked_envelope

SOAP = "http://schemas.xmlsoap.org/soap/envelope/"


def envelope(body: str) -> bytes:
    return (
        f'<s:Envelope xmlns:s="{SOAP}" xmlns:c="urn:dslforum-org:cwmp-1-0">'
        f"<s:Body>{body}</s:Body></s:Envelope>"
    ).encode()


def struct(name: str, value: str) -> str:
    return f"<ParameterValueStruct><Name>{name}</Name><Value>{value}</Value></ParameterValueStruct>"


@pytest.mark.parametrize(
    "body",
    [
        "<c:Download><Username>u</Username><Password>geheim</Password></c:Download>",
        "<c:Download><c:Password>ge<x>heim</x>geheim</c:Password></c:Download>",
        f"<c:SetParameterValues>{struct('A.ManagementServer.Password', 'geheim')}</c:SetParameterValues>",
        f"<c:SetParameterValues>{struct('A.ConnectionRequestPassword', 'geheim')}</c:SetParameterValues>",
        f"<c:SetParameterValues>{struct('A.PreSharedKey.1.PreSharedKey', 'geheim')}</c:SetParameterValues>",
        f"<c:SetParameterValues>{struct(' A.Password ', 'geheim')}</c:SetParameterValues>",
        "<c:Download><Password href='#p'/></c:Download><p id='p'>geheim</p>",
        f"<c:X>{struct('A.Password', '')}</c:X>".replace("<Value>", "<Value href='#p'>")
        + "<p id='p'>geheim</p>",
        f"<c:X>{struct('', 'geheim')}</c:X>".replace("<Name>", "<Name href='#n'>")
        + "<n id='n'>A.Password</n>",
        "<c:X><Password><item href='#p'/></Password></c:X><p id='p'><q>geheim</q></p>",
        "<c:X><item><Value><![CDATA[geheim]]></Value><Name>A.KeyPassphrase</Name></item></c:X>",
    ],
)
def test_no_password_is_shown(body: str) -> None:
    text = masked_envelope(envelope(body))

    assert "geheim" not in text
    assert "heim" not in text
    assert PASSWORD_MASK in text


def test_everything_else_is_shown() -> None:
    text = masked_envelope(envelope(f"<c:X><Username>u</Username>{struct('A.URL', 'http://acs/')}</c:X>"))

    assert "<Username>u</Username>" in text
    assert "http://acs/" in text
    assert PASSWORD_MASK not in text


def test_an_empty_password_stays_empty() -> None:
    assert PASSWORD_MASK not in masked_envelope(envelope("<c:Download><Password/></c:Download>"))


@pytest.mark.parametrize("octets", [b"", b"geheim", b"<Password>geheim</Password", b"\xff\xfegeheim"])
def test_what_cannot_be_read_is_not_shown(octets: bytes) -> None:
    text = masked_envelope(octets)

    assert "geheim" not in text
    assert text.startswith(f"[{len(octets)} bytes that are no envelope")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("InternetGatewayDevice.ManagementServer.Password", True),
        ("X_00D09E_Secret", True),
        ("InternetGatewayDevice.ManagementServer.URL", False),
        ("InternetGatewayDevice.Passwords.1.Name", False),
    ],
)
def test_secrets_are_known_by_their_names(name: str, *, expected: bool) -> None:
    assert is_secret(name) is expected


def test_an_envelope_made_of_names_costs_no_more_than_others() -> None:
    text = masked_envelope(envelope(f"<c:X>{'<Name>A.Password</Name>' * 30_000}<Value>geheim</Value></c:X>"))

    assert "geheim" not in text


def test_a_parameter_that_its_provider_calls_secret_is_not_shown() -> None:
    body = f"<c:X>{struct('A.Pin', '1234')}{struct('A.Name', 'gateway')}</c:X>"

    text = masked_envelope(envelope(body), lambda name: name == "A.Pin")

    assert "1234" not in text
    assert "gateway" in text


def test_the_query_of_a_url_is_not_shown() -> None:
    body = "<c:Download><URL>https://files.example/p.spkg?token=geheim&amp;x=geheim</URL></c:Download>"

    text = masked_envelope(envelope(body))

    assert f"<URL>https://files.example/p.spkg?{PASSWORD_MASK}</URL>" in text
    assert "geheim" not in text
