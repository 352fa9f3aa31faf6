"""How a command names a server: the URL, and what logs in there, read from where no other user sees it."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from spkg.cli.arguments import MAX_SECRET, read_secret, secret
from spkg.errors import UsageError

if TYPE_CHECKING:
    from spkg.download.url import Login

__all__ = ["login", "url_of"]


def url_of(argument: str | None, descriptor: int | None, *, name: str) -> str:
    """Return what a command names as its source: an argument, or a URL that no other user can see.

    Args:
        argument: The argument.
        descriptor: Where the URL is read instead.
        name: What the argument is called.
    """
    if descriptor is None:
        if argument is None:
            raise click.MissingParameter(param_hint=f"'{name}'", param_type="argument")
        return argument
    if argument is not None:
        raise UsageError(f"{name} and --url-fd are mutually exclusive")
    from spkg.download.url import is_url

    url = _read_word("--url", descriptor)
    if not is_url(url):
        raise UsageError(f"--url-fd {descriptor}: expected a URL")
    return url


def _read_word(option: str, descriptor: int) -> str:
    """Return the first line of a descriptor, as text."""
    octets = read_secret(option, descriptor)
    if len(octets) >= MAX_SECRET:
        raise UsageError(f"{option}-fd {descriptor}: expected a line of less than {MAX_SECRET} bytes")
    try:
        return octets.decode()
    except UnicodeDecodeError as exc:
        raise UsageError(f"{option}-fd {descriptor}: not UTF-8: {exc.reason}") from exc


def login(
    *,
    username: str | None,
    username_fd: int | None,
    password_env: str | None,
    password_file: Path | None,
    password_fd: int | None,
    unsafe_basic: bool,
    ca_bundle: Path | None,
    client_cert: Path | None,
    client_key: Path | None,
    client_key_password_env: str | None,
    client_key_password_file: Path | None,
    header_file: Path | None,
    proxy: str | None,
    no_clock: bool,
    source: str,
) -> "Login":
    """Return the login for a file server."""
    from spkg.download.request_headers import load_headers
    from spkg.download.url import Location, Login

    # Credentials in a URL are the first thing to complain about.
    location = None if source == "-" else Location.parse(source)
    if username_fd is not None:
        if username is not None:
            raise UsageError("--username and --username-fd are mutually exclusive")
        if location is None and username_fd == 0:
            raise UsageError("standard input can't be both the package and the name")
        username = _read_word("--username", username_fd)
    passwords = (password_env, password_file, password_fd)
    if username is None and any(one is not None for one in passwords):
        raise UsageError("a password needs --username")
    if location is None and password_fd == 0:
        raise UsageError("standard input can't be both the package and the password")
    password = secret("--password", *passwords)
    if location is not None:
        if username is not None and password is None:
            raise UsageError("--username needs --password-env, --password-file or --password-fd")
        if password is not None and not {*b"\r\n\0"}.isdisjoint(password):
            raise UsageError("the password must not contain line breaks or NUL")
        if username is not None and not username.isprintable():
            raise UsageError("--username must not contain control characters")
    found = Login(
        username=username,
        password=password or b"",
        unsafe_basic=unsafe_basic,
        ca_bundle=ca_bundle,
        no_clock=no_clock,
        client_cert=client_cert,
        client_key=client_key,
        client_key_password=secret(
            "--client-key-password", client_key_password_env, client_key_password_file
        ),
        headers=() if header_file is None else load_headers(header_file),
        proxy=proxy,
    )
    if location is not None:
        found.check_use(location)
    return found
