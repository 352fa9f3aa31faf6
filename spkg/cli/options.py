"""Options that several commands share, and the types of their values."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

import click

from spkg.common.key_places import key_scheme
from spkg.errors import UsageError

Handler = TypeVar("Handler", bound=Callable[..., Any])

__all__ = [
    "CERTIFICATE",
    "EXPLAIN",
    "FILE",
    "FORCE",
    "JOBS",
    "JSON",
    "KEY",
    "NO_PROGRESS",
    "ROOT",
    "SIGNING_TIME",
    "SIGN_DIGEST",
    "STRICT",
    "TRANSFER",
    "TRANSFER_OPTIONS",
    "TRUST",
    "UNFIT",
    "VERIFY_VOUCHER",
    "VERIFY_WRITTEN",
    "Delay",
    "File",
    "KeyPlace",
    "Rate",
    "Time",
    "at_most_characters",
    "no_stream",
    "options",
    "timeout_options",
    "trust_options",
]


class Time(click.ParamType[datetime]):
    """A point in time: ISO 8601, in UTC if no zone is given."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the time with its zone."""
        try:
            time = datetime.fromisoformat(value)
            return time.astimezone(UTC) if time.tzinfo is not None else time.replace(tzinfo=UTC)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is not a time such as 2026-11-21T12:00:00Z", param, ctx)


class Rate(click.ParamType[float]):
    """A data rate in bytes per second, as 40kB/s and 1MiB/s, or in bits, as 2Mbit/s."""

    name = "RATE"
    UNITS: ClassVar[Mapping[str, float]] = {"B": 1, "bit": 1 / 8}
    PREFIXES: ClassVar[Mapping[str, int]] = {
        "": 1,
        "k": 10**3,
        "M": 10**6,
        "G": 10**9,
        "Ki": 1 << 10,
        "Mi": 1 << 20,
        "Gi": 1 << 30,
    }

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the bytes per second."""
        found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?) ?([kMG]|[KMG]i)?(B|bit)/s", value, re.ASCII)
        number, prefix, unit = (0, "", "B") if found is None else found.groups(default="")
        rate = float(number) * self.PREFIXES[prefix] * self.UNITS[unit]
        if not rate:
            self.fail(f"{value!r} is not a rate such as 40kB/s, 1MiB/s or 2Mbit/s", param, ctx)
        return rate


class Delay(click.ParamType[int]):
    """A time span: a number of seconds, or as 30s, 10min, 1h."""

    name = "DELAY"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the seconds."""
        from spkg.common.toml_document import read_duration

        seconds = read_duration(str(value))
        if seconds is None:
            self.fail(f"{value!r} is not a number of seconds or a time such as 30s, 10min or 1h", param, ctx)
        return seconds


class File(click.Path):
    """A path.  Whether the file exists shows when it is opened, with our own message and status."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, readable=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path; ``./-`` names a file called ``-``, which a Path would lose."""
        if not value:
            self.fail("a path can't be empty", param, ctx)
        path = super().convert(value, param, ctx)
        return path.absolute() if path == Path("-") and value != "-" else path


class KeyPlace(File):
    """Where a key is: a file, the URI of a key in a token, or a program that signs."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path, or the text that stands for another place."""
        if isinstance(value, str) and key_scheme(value):
            return value
        return super().convert(value, param, ctx)


FILE: Final = File()
MAX_DESCRIPTOR: Final = (1 << 31) - 1
"""The highest number that a file descriptor can have."""


def options(*options: Callable[[Handler], Handler]) -> Callable[[Handler], Handler]:
    """Return a decorator that adds several options to a command."""

    def add(function: Handler) -> Handler:
        for option in reversed(options):
            function = option(function)
        return function

    return add


def at_most_characters(most: int) -> Callable[[click.Context, click.Parameter, str | None], str | None]:
    """Return a callback that refuses a longer value."""

    def check(_: click.Context, param: click.Parameter, value: str | None) -> str | None:
        if value is not None and len(value) > most:
            raise UsageError(f"{param.opts[0]} must have at most {most} characters, got {len(value)}")
        return value

    return check


JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
EXPLAIN = click.option("--explain", is_flag=True, help="Show each rule, the values compared, and what to do.")
STRICT = click.option("--strict", is_flag=True, help="Refuse what would be warned of.")
FORCE = click.option("--force", is_flag=True, help="Overwrite an existing output.")
NO_PROGRESS = click.option("--no-progress", is_flag=True, help="Show no progress bar, even on a terminal.")
JOBS = click.option(
    "--jobs", type=click.IntRange(1, 256), metavar="N", help="Use N cores.  [default: all cores]"
)


def no_stream(_context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """Refuse ``-``, which means standard input or output for other options."""
    if str(value) == "-":
        raise UsageError(f"{parameter.opts[0]} needs a file, not standard input or output")
    return value


def trust_options(digests: str, purposes: str, *, unsigned: bool) -> Callable[[Handler], Handler]:
    """Return the options that state a policy.

    Args:
        digests: The default of ``--digests``.
        purposes: The purposes that ``--eku`` replaces.
        unsigned: Whether there is an option to accept unsigned packages.
    """
    help_text = "Accept a package without any signature."
    more = [click.option("--unsafe-allow-unsigned", is_flag=True, help=help_text)] if unsigned else []
    return options(
        click.option(
            "--trust",
            "trust",
            type=FILE,
            multiple=True,
            metavar="PEM",
            help="Trust the certificates in PEM, a file or directory: roots, intermediates, or the signer's "
            "own.  Repeatable.",
        ),
        click.option(
            "--policy",
            type=FILE,
            callback=no_stream,
            metavar="FILE",
            help="Trust as the policy file FILE states (TOML); the other options override it.",
        ),
        click.option(
            "--signer",
            "signers",
            multiple=True,
            metavar="NAME",
            help="Accept only this signer: a common name, or a subject as RFC 4514 or openssl writes it.  "
            "Repeatable.",
        ),
        click.option(
            "--required-signers",
            type=click.IntRange(1),
            metavar="N",
            help="Require N signers with different keys.  [default: 1]",
        ),
        click.option(
            "--at",
            type=Time(),
            help="Check certificate dates at TIME, ISO 8601, UTC if it has no zone.  [default: now]",
        ),
        click.option(
            "--no-clock",
            is_flag=True,
            help="Skip all date checks, including those of revocation lists, and report that.",
        ),
        click.option(
            "--crl",
            "crls",
            type=FILE,
            multiple=True,
            metavar="PEM",
            help="Read revocation lists; each certificate below the anchor needs a current one.  Repeatable.",
        ),
        click.option(
            "--digests",
            metavar="LIST",
            help="Accept these digests.  'sha256' alone refuses everything that relies on SHA-1.  "
            f"[default: {digests}]",
        ),
        click.option(
            "--eku",
            "purposes",
            multiple=True,
            metavar="OID",
            help=f"Require this extended key usage instead of {purposes}.  Repeatable.",
        ),
        *more,
    )


TRUST = trust_options("sha1,sha256", "codeSigning", unsigned=True)
KEY = options(
    click.option(
        "--key",
        type=KeyPlace(),
        metavar="KEY",
        help="Sign with this key: a PEM or PKCS #12 file, pkcs11:… (RFC 7512), or exec:COMMAND.",
    ),
    click.option("--cert", type=FILE, metavar="FILE", help="Use this signer's certificate."),
    click.option("--chain", type=FILE, metavar="FILE", help="Also embed the certificates in FILE."),
    click.option(
        "--key-password-env", metavar="NAME", help="Read the key's passphrase from environment variable NAME."
    ),
    click.option(
        "--key-password-file",
        type=FILE,
        metavar="FILE",
        help="Read the key's passphrase from the first line of FILE.",
    ),
)
SIGN_DIGEST = click.option(
    "--digest",
    type=click.Choice(["sha1", "sha256"]),
    default="sha1",
    show_default=True,
    help="Use this digest.  E.5 demands sha1; sha256 is for a second signature.",
)
CERTIFICATE = options(
    click.option("--cert", type=FILE, required=True, metavar="FILE", help="The signer's certificate."),
    click.option("--chain", type=FILE, metavar="FILE", help="Also embed the certificates in FILE."),
)
UNFIT = options(
    click.option(
        "--at",
        type=Time(),
        help="Check the signer's certificate at TIME.  [default: now]",
    ),
    click.option(
        "--unsafe-unfit-certificate",
        is_flag=True,
        help="Sign even if verifiers will refuse the certificate.",
    ),
)


def verify_option(what: str, before: str) -> Callable[[Handler], Handler]:
    """Return the option for verifying an output as a device would; *before* says when that is."""
    return click.option(
        "--trust",
        "trust",
        type=FILE,
        multiple=True,
        metavar="PEM",
        help=f"Verify the finished {what} as a device that trusts PEM, before {before}.  Repeatable.",
    )


VERIFY_WRITTEN = verify_option("package", "it gets its name")
VERIFY_VOUCHER = verify_option("voucher", "it is written")
SIGNING_TIME = click.option(
    "--signing-time",
    type=Time(),
    help="State TIME in the signature.  Without it, the same inputs give the same bytes.",
)


TRANSFER_OPTIONS = options(
    click.option(
        "--url-fd",
        type=click.IntRange(0, MAX_DESCRIPTOR),
        metavar="N",
        help="Read the URL, instead of an argument, from the first line of file descriptor N.",
    ),
    click.option("--username", metavar="NAME", help="Log in to the server as NAME."),
    click.option(
        "--username-fd",
        type=click.IntRange(0, MAX_DESCRIPTOR),
        metavar="N",
        help="Read the name from the first line of file descriptor N.",
    ),
    click.option(
        "--password-env", metavar="VARIABLE", help="Read the password from this environment variable."
    ),
    click.option(
        "--password-file", type=FILE, metavar="FILE", help="Read the password from the first line of FILE."
    ),
    click.option(
        "--password-fd",
        type=click.IntRange(0, MAX_DESCRIPTOR),
        metavar="N",
        help="Read the password from the first line of file descriptor N.",
    ),
    click.option(
        "--unsafe-basic",
        is_flag=True,
        help="Allow basic authentication over http, exposing the password.",
    ),
    click.option(
        "--ca-bundle", type=FILE, metavar="PEM", help="Trust only these authorities for the server."
    ),
    click.option(
        "--client-cert", type=FILE, metavar="PEM", help="Show the certificate in PEM to the server (TLS)."
    ),
    click.option(
        "--client-key",
        type=FILE,
        metavar="PEM",
        help="Read its key from PEM; default: the file of the certificate.",
    ),
    click.option(
        "--client-key-password-env",
        metavar="VARIABLE",
        help="Read that key's passphrase from this environment variable.",
    ),
    click.option(
        "--client-key-password-file",
        type=FILE,
        metavar="FILE",
        help="Read that key's passphrase from the first line of FILE.",
    ),
    click.option(
        "--header-file",
        type=FILE,
        metavar="FILE",
        help="Send the headers in FILE, a 'Name: value' a line, to the server of the URL alone.",
    ),
    click.option("--proxy", metavar="URL", help="Use this HTTP proxy; the environment's are ignored."),
    click.option(
        "--size",
        type=click.IntRange(0),
        default=0,
        metavar="BYTES",
        help="Expect this size, the FileSize of the Download; 0 means unknown.",
    ),
)


def timeout_options(initial: int) -> Callable[[Handler], Handler]:
    """Return the options that limit a download, the first one with its default in seconds."""
    return options(
        click.option(
            "--timeout",
            type=click.IntRange(0),
            default=initial,
            show_default=True,
            metavar="SECONDS",
            help="Stop the download after this time, until the package sets its timeouts; 0 means never.",
        ),
        click.option(
            "--idle-timeout",
            type=click.IntRange(0),
            default=60,
            show_default=True,
            metavar="SECONDS",
            help="Stop it after this time without data, until the package sets its timeouts; 0 means never.",
        ),
    )


ROOT = click.option("--root", required=True, type=FILE, metavar="DIR", help="Use DIR as the device's root.")


TRANSFER: Final = (
    "username",
    "username_fd",
    "password_env",
    "password_file",
    "password_fd",
    "unsafe_basic",
    "ca_bundle",
    "client_cert",
    "client_key",
    "client_key_password_env",
    "client_key_password_file",
    "header_file",
    "proxy",
)
"""The options of :data:`TRANSFER_OPTIONS` that concern the server."""
