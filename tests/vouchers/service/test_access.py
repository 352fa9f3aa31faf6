"""Who may use the service, and how often; what the log says of it."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from spkg.errors import FormatError, HostError, SpkgError
from tests.support.service_kit import ALL, DEVICE, READER, Service, bearer, served
from vouchers.service.tokens import AccessFile, Scope, load_clients

BODY = {"device": DEVICE, "offer": "tv"}
SUM = "0" * 64


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with served(tmp_path, more="") as made:
        yield made


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": ALL},
        {"Authorization": f"Basic {ALL}"},
        {"Authorization": f"Bearer {ALL}x"},
        {"Authorization": f"Bearer {sha256(ALL.encode()).hexdigest()}"},
        {"Authorization": "Bearer \xff"},
    ],
)
def test_without_a_valid_token_there_is_401(service: Service, headers: dict[str, str]) -> None:
    answer = service.ask("GET", "/v1/vouchers", headers=headers)

    assert answer.problem == (401, 4, None, "expected a valid token: Authorization: Bearer TOKEN")
    assert answer.headers["www-authenticate"] == 'Bearer realm="spkg"'


@pytest.mark.parametrize(
    ("method", "path", "missing"),
    [
        ("POST", "/v1/vouchers", "issue"),
        ("POST", "/v1/batches", "issue"),
        ("POST", "/v1/vouchers/1/void", "void"),
        ("POST", "/v1/vouchers/1/revoke", "issue and void"),
    ],
)
def test_without_the_scope_there_is_403(service: Service, method: str, path: str, missing: str) -> None:
    answer = service.ask(method, path, BODY, bearer(READER))

    assert answer.problem == (403, 5, None, f"the scope {missing} is missing")
    assert "insufficient_scope" in answer.headers["www-authenticate"]


@pytest.mark.parametrize("path", ["/metrics", "/openapi.json", "/v1/journal", "/v1/offers"])
def test_what_is_read_wants_the_scope_read_alone(service: Service, path: str) -> None:
    assert service.ask("GET", path, headers=bearer(READER)).status == 200
    assert service.ask("GET", path, headers={}).status == 401


def test_another_path_or_method_is_told_apart(service: Service) -> None:
    assert service.ask("GET", "/v2").problem == (404, 5, None, "there is nothing at this path")
    answer = service.ask("DELETE", "/v1/vouchers")
    assert answer.problem == (405, 2, None, "expected one of POST, GET, HEAD")
    assert answer.headers["allow"] == "POST, GET, HEAD"
    assert service.ask("HEAD", "/healthz").status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://test"},
        {"Origin": "http://other"},
        {"Origin": "null"},
    ],
)
def test_a_page_of_another_site_can_not_post(service: Service, headers: dict[str, str]) -> None:
    answer = service.ask("POST", "/v1/vouchers", BODY, bearer() | headers)

    assert answer.problem == (403, 5, None, "a page of another site must not use this service")


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://proxy"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://test"},
    ],
)
def test_a_page_of_its_own_can_post(service: Service, headers: dict[str, str]) -> None:
    answer = service.ask("POST", "/v1/vouchers", BODY, bearer() | headers)

    assert answer.status == 201


def test_every_answer_is_neither_kept_nor_guessed_at(service: Service) -> None:
    for path in ("/", "/healthz", "/v2"):
        headers = service.ask("GET", path).headers
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"


def test_more_requests_than_allowed_are_429_and_others_go_on(tmp_path: Path) -> None:
    with served(tmp_path, rate=2) as service:
        statuses = [service.ask("GET", "/v1/offers").status for _ in range(3)]
        answer = service.ask("GET", "/v1/offers")
        other = service.ask("GET", "/v1/offers", headers=bearer(READER)).status
        service.time[0] += 0.5
        later = service.ask("GET", "/v1/offers").status

    assert statuses == [200, 200, 429]
    assert answer.problem[:2] == (429, 5)
    assert answer.headers["retry-after"] == "1"
    assert other == later == 200


def test_a_client_certificate_counts_where_there_is_no_token(service: Service) -> None:
    path = service.place / "tokens.toml"
    certificate = b"any octets, which TLS has verified"
    path.write_text(
        path.read_text()
        + f'[[certificate]]\nname = "acs"\nsha256 = "{sha256(certificate).hexdigest()}"\nscopes = ["read"]\n'
    )
    service.app.refresh()

    assert service.ask("GET", "/v1/offers", headers={}, certificate=certificate).status == 200
    assert service.ask("GET", "/v1/offers", headers={}, certificate=b"another").status == 401
    assert service.ask("GET", "/v1/offers", headers=bearer("wrong"), certificate=certificate).status == 401


def test_tokens_are_read_again_and_a_wrong_file_changes_nothing(service: Service) -> None:
    path = service.place / "tokens.toml"
    whole = path.read_text()

    path.write_text("what is this")
    service.app.refresh()
    assert service.ask("GET", "/v1/offers").status == 200
    path.write_text(whole.replace("shop", "store").replace(sha256(ALL.encode()).hexdigest(), SUM))
    service.app.refresh()
    assert service.ask("GET", "/v1/offers").status == 401
    service.app.refresh()

    assert [line["event"] for line in service.noted() if line["level"] == "error"] == ["tokens"]


def test_the_log_has_no_secrets(service: Service) -> None:
    service.ask("POST", "/v1/vouchers", BODY, bearer() | {"Idempotency-Key": "key-of-the-client"})
    service.ask("GET", "/v1/offers", headers=bearer("a-wrong-token"))

    noted = service.noted()

    text = (service.place / "log").read_text()
    for secret in (ALL, "key-of-the-client", "a-wrong-token"):
        assert secret not in text
    assert [(line["path"], line["status"], line["client"]) for line in noted] == [
        ("/v1/vouchers", 201, "shop"),
        ("/v1/offers", 401, ""),
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "t.toml: expected at least one [[token]] or [[certificate]]"),
        ("[[token]]\n", "t.toml:1: token[0].name: expected 1 to 128 printable characters"),
        ('[[token]]\nname="a"\n', "t.toml:1: token[0].sha256: expected the SHA-256 in hex, 64 digits"),
        (
            f'[[token]]\nname="a"\nsha256="{SUM}"\nscopes=["all"]\n',
            't.toml:4: token[0].scopes: expected some of "issue", "read", "void"',
        ),
        (
            f'[[token]]\nname="a"\nsha256="{SUM}"\nscopes=["read"]\n' * 2,
            "t.toml:6: token[1].name: occurs twice",
        ),
        (
            f'[[token]]\nname="a"\nsha256="{SUM}"\nscopes=["read"]\n[[certificate]]\nname="b"\nsha256="{SUM}"\nscopes=["read"]\n',
            "t.toml:7: certificate[0].sha256: occurs twice",
        ),
        ("[[token]]\ntoken='x'\n", "t.toml:2: token[0].token: unknown key"),
    ],
)
def test_a_file_of_tokens_is_read_strictly(tmp_path: Path, text: str, problem: str) -> None:
    (path := tmp_path / "t.toml").write_text(text)

    with pytest.raises(FormatError) as caught:
        load_clients(path)

    assert str(caught.value) == problem


def test_a_file_that_anybody_may_write_is_not_used(tmp_path: Path) -> None:
    (path := tmp_path / "t.toml").write_text(f'[[token]]\nname="a"\nsha256="{SUM}"\nscopes=["read"]\n')
    path.chmod(0o666)

    with pytest.raises(HostError, match="anybody may write it"):
        load_clients(path)
    path.chmod(0o600)
    file = AccessFile(path)
    assert file.clients.tokens[0][1].scopes == {Scope.READ}
    path.unlink()
    assert file.refresh() == f"{path}: no such file or directory"
    assert file.refresh() is None  # it was told
    path.mkdir()
    assert file.refresh() == f"{path}: is a directory"
    path.rmdir()
    with pytest.raises((SpkgError, OSError)):
        AccessFile(path)
