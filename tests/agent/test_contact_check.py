"""The way to an ACS, a step at a time, without an Inform."""

from pathlib import Path
from time import monotonic

from spkg.agent.client import AcsClient
from spkg.agent.contact import ContactKind
from spkg.agent.contact_check import check_contact
from tests.agent.kit import acs_settings
from tests.support.acs import Answer, DigestLogin, ScriptedAcs
from tests.support.fake_servers import nobody
from tests.support.real_servers import put_identity, server, web_root
from tests.support.web_tls import server_context

PASSWORD = "open sesame"
USERNAME = "00D09E-0123456789"


def steps(url: str, password: str = PASSWORD, **settings: object) -> list[tuple[str, bool, str]]:
    client = AcsClient(acs_settings(timeout=5, **settings), monotonic)
    return [(one.kind.value, one.passed, one.text) for one in check_contact(client, url, USERNAME, password)]


def test_each_step_is_told_and_nothing_is_informed(tmp_path: Path) -> None:
    (tmp_path / "web.pem").write_bytes(web_root().pem)
    tls = server_context(put_identity(tmp_path / "server.pem", server("127.0.0.1")))
    with ScriptedAcs([Answer(status=400)], tls=tls, login=DigestLogin()) as acs:
        found = steps(acs.url, ca_bundle=tmp_path / "web.pem")

    assert found == [
        ("name", True, "127.0.0.1 is 127.0.0.1"),
        ("connect", True, "connected from 127.0.0.1"),
        ("tls", True, "TLSv1.3, the certificate is trusted"),
        ("login", True, "digest, the login is accepted"),
        ("http", True, "answers as an ACS without a session (HTTP status 400)"),
    ]
    assert acs.methods == [""]


def test_an_acs_that_asks_for_nothing_answers() -> None:
    with ScriptedAcs() as acs:
        assert [text for _, _, text in steps(acs.url)][-1] == "answers"


def test_the_first_step_that_fails_is_the_last() -> None:
    port = nobody()
    with ScriptedAcs([Answer(status=404)], login=DigestLogin()) as acs:
        missing = steps(acs.url)
        wrong = steps(acs.url, "other")

    assert steps("ftp://acs.example/") == [
        ("url", False, "the URL of the ACS: expected http or https, got ftp")
    ]
    assert steps("http://acs.invalid/") == [
        ("name", False, "http://acs.invalid/: the host name can't be resolved")
    ]
    assert steps(f"http://127.0.0.1:{port}/") == [
        ("name", True, "127.0.0.1 is 127.0.0.1"),
        ("connect", False, f"http://127.0.0.1:{port}/: connection refused"),
    ]
    assert missing[-2:] == [
        ("login", True, "digest, the login is accepted"),
        ("http", False, f"{acs.url}: expected HTTP status 200 or 204, got 404 Whatever"),
    ]
    assert wrong[-1] == (ContactKind.LOGIN.value, False, f"{acs.url}: login failed")
