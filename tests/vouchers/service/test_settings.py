"""The configuration of the service: read strictly, and safe by default."""

from pathlib import Path

import pytest

from spkg.errors import FormatError, HostError
from tests.support.service_kit import write_files
from vouchers.service.settings import listen_address, load_service_settings


def changed(place: Path, old: str, new: str) -> Path:
    config = write_files(place)
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))
    return config


def problem(config: Path) -> str:
    with pytest.raises(FormatError) as caught:
        load_service_settings(config)
    return str(caught.value)


def test_paths_are_relative_to_the_file_and_limits_have_defaults(tmp_path: Path) -> None:
    found = load_service_settings(write_files(tmp_path))

    assert (found.host, found.port) == ("127.0.0.1", 0)
    assert found.ledger == str(tmp_path / "ledger.db")
    assert found.tokens_file == tmp_path / "tokens.toml"
    assert (found.max_body, found.max_list, found.keep_answers) == (1 << 20, 1 << 30, 86_400)
    assert [option.ident for option in found.offers["tv"]] == ["IPTV"]


def test_a_url_and_a_key_that_is_no_file_stay_as_they_are(tmp_path: Path) -> None:
    config = changed(tmp_path, '"ledger.db"', '"postgresql://db/vouchers"')
    text = config.read_text()
    config.write_text(text.replace(text.split('key = "')[1].split('"')[0], "pkcs11:token=acs"))

    found = load_service_settings(config)

    assert (found.ledger, found.key) == ("postgresql://db/vouchers", "pkcs11:token=acs")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "[::]", "acs.example"])  # noqa: S104 - refused
def test_plain_http_is_for_loopback_alone_unless_the_file_says_so(tmp_path: Path, host: str) -> None:
    config = changed(tmp_path, "127.0.0.1:0", f"{host}:80")

    plain = host.strip("[]")
    assert problem(config) == (
        f"{config}: service.listen: expected a loopback address, since there is no tls-cert, got {plain}"
    )
    config.write_text(config.read_text().replace("[service]", "[service]\nunsafe-plain-http = true"))
    assert load_service_settings(config).host == plain
    config.write_text(
        config.read_text().replace("unsafe-plain-http = true", 'tls-cert = "c.pem"\ntls-key = "c.key"')
    )
    assert load_service_settings(config).tls is not None


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("rate-limit = 100000", "rate-limit = 0", "service.rate-limit: must be from 1 to 1000000, got 0"),
        (
            "rate-limit = 100000",
            "rate-limits = 1",
            "service.rate-limits: unknown key; did you mean 'rate-limit'?",
        ),
        (
            "rate-limit = 100000",
            'max-body = "17MiB"',
            "service.max-body: must be from 0 to 16777216, got 17825792",
        ),
        ("rate-limit = 100000", "max-body = 0", "service.max-body: must be from 1 to 16777216, got 0"),
        ("rate-limit = 100000", "client-timeout = 0", "service.client-timeout: must be more than 0"),
        ("rate-limit = 100000", 'digest = "md5"', "service.digest: expected sha256 or sha1, got 'md5'"),
        ("rate-limit = 100000", 'tls-cert = "c"', "service.tls-key: tls-cert and tls-key go together"),
        ("rate-limit = 100000", 'tls-client-ca = "c"', "service.tls-cert: tls-cert and tls-key go together"),
        ('tokens-file = "tokens.toml"\n', "", "service.tokens-file: required"),
        ('ledger = "ledger.db"\n', "", "service.ledger: required"),
        (
            "127.0.0.1:0",
            "8080",
            "service.listen: expected HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080, got '8080'",
        ),
        ('tv = "tv.toml"', "tv = 1", "offers.tv: must be a string in quotes"),
    ],
)
def test_what_is_wrong_is_located(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = problem(changed(tmp_path, old, new))

    assert text.startswith("service.toml:")
    assert text.endswith(f": {said}")


def test_a_key_has_to_be_named(tmp_path: Path) -> None:
    config = write_files(tmp_path)
    config.write_text(
        "\n".join(line for line in config.read_text().splitlines() if not line.startswith("key = "))
    )

    assert problem(config).endswith("service.key: required")


def test_a_wrong_offer_is_located_in_its_own_file(tmp_path: Path) -> None:
    config = write_files(tmp_path)
    (tmp_path / "tv.toml").write_text('[[option]]\nident = "x"\n')

    assert problem(config) == f"{tmp_path}/tv.toml:1: option[0].mode: ident and mode are required"


def test_a_configuration_that_anybody_may_write_is_not_used(tmp_path: Path) -> None:
    config = write_files(tmp_path)
    config.chmod(0o666)

    with pytest.raises(HostError, match="anybody may write it"):
        load_service_settings(config)


@pytest.mark.parametrize(
    ("text", "found"),
    [("127.0.0.1:80", ("127.0.0.1", 80)), ("[::1]:0", ("::1", 0)), ("localhost:65535", ("localhost", 65535))],
)
def test_an_address_has_a_host_and_a_port(text: str, found: tuple[str, int]) -> None:
    assert listen_address(text) == found


@pytest.mark.parametrize(
    "text", ["80", ":80", "::1:80", "[::1]80", "[]:80", "host:", "host:x", "host:65536", "host:²"]
)
def test_anything_else_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="expected HOST:PORT"):
        listen_address(text)
