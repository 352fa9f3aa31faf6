"""The command line: options in, exit statuses out, and no decision of its own (README, "Commands").

The one table from errors to exit statuses is here, and the one place that catches them.
"""

import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from io import BufferedReader, FileIO, TextIOWrapper
from pathlib import Path
from time import CLOCK_BOOTTIME, clock_gettime, monotonic
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn, TypeVar

import click
from click.core import ParameterSource

import spkg
from spkg.common.printable import amount, printable
from spkg.errors import (
    FailedError,
    FormatError,
    RefusedError,
    SpkgError,
    SurroundingsError,
    TransferError,
    UnsafeError,
    UntrustedError,
    UsageError,
    os_problem,
)

if TYPE_CHECKING:
    from spkg.common.child_process import Document, Tell
    from spkg.device import Device
    from spkg.download.stream import ArrivingPayload
    from spkg.download.timeouts import Timeouts
    from spkg.format.package import Package
    from spkg.install.apply import Request
    from spkg.install.root import Root
    from spkg.report.lines import Line
    from spkg.trust.keys import Identity
    from spkg.trust.policy import Policy
    from spkg.verify.payload import Payload, Progress
    from spkg.verify.signatures import TrustedPackage
    from vouchers.acs.issuer import Issued
    from vouchers.acs.ledger import Ledger
    from vouchers.acs.templates import Template
    from vouchers.cpe.store import OptionStore
    from vouchers.model import DeviceId
    from vouchers.signature.sign import VoucherSigner
    from vouchers.signature.verify import TrustedVoucher, Verifier

__all__ = ["EXIT_FOR", "main"]

EXIT_DEFECT: Final = 1
EXIT_DIFFERENT: Final = 10
STOPPED: Final = {
    signal.SIGHUP: ("the terminal is gone", 129),
    signal.SIGINT: ("interrupted", 130),
    signal.SIGTERM: ("terminated", 143),
}
"""What is told of a signal, and the exit status."""
EXIT_FOR: Final[dict[type[SpkgError], int]] = {
    UsageError: 2,
    FormatError: 3,
    UntrustedError: 4,
    RefusedError: 5,
    FailedError: 6,
    UnsafeError: 7,
    TransferError: 8,
    SurroundingsError: 9,
}
"""The exit status of each class of errors; never renumbered."""
NOW_AND_THEN: Final = 0.1
"""How many seconds lie between two words of a child about its progress."""
WISHES: Final = ("in_place", "unsafe_streaming", "refuse_unknown", "again", "unsafe_force")
TRANSFER: Final = ("username", "password_env", "password_file", "unsafe_basic", "ca_bundle", "size")
LONG_WORK: Final = 32 << 20
"""How many octets make work long enough to draw its progress."""

Handler = TypeVar("Handler", bound=Callable[..., Any])
ErrorTeller = Callable[[SpkgError | None, int, str], None]
"""Prints a failure: the error, where it is ours, the exit status, and what is told."""


class Stopped(BaseException):
    """A signal arrived; this passes through everything that cleans up, and through click."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
        self.told = False
        """Whether a result was printed already."""


class ClosedOutput(BaseException):
    """Nobody reads our standard output any more."""


class DocumentedError(Exception):
    """A failure whose JSON document has been printed already."""

    def __init__(self, error: SpkgError) -> None:
        super().__init__(str(error))
        self.error = error


class Command(click.Command):
    """A command whose help, which click prints by itself while it parses, fails as all output does."""

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Parse the options."""
        with _telling():
            return super().make_context(*args, **extra)


class Group(Command, click.Group):
    """Commands below a command."""

    command_class = Command


class Cli(Group):
    """The root of all commands, which turns every way to end into an exit status."""

    group_class = Group

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> NoReturn:
        """Run a command, and exit."""
        given = list(sys.argv[1:] if args is None else args)
        extra["standalone_mode"] = False
        if args is None and not sys.warnoptions:
            warnings.simplefilter("ignore")  # those of libraries tell the user of a program nothing
        sys.exit(_guard(lambda: super(Cli, self).main(given, *rest, **extra), given, ends=args is None))


def _guard(run: Callable[[], Any], args: Sequence[str], *, ends: bool) -> int:
    """Run a command and return its exit status, having told what went wrong."""
    tell = _teller(args)
    try:
        with _signals_raise(ends=ends):
            _prepare_streams()
            result = run()
        return result if isinstance(result, int) else 0
    except DocumentedError as exc:
        return _fail(exc.error, None)
    except SpkgError as exc:
        return _fail(exc, tell)
    except click.ClickException as exc:
        usage = exc.ctx.get_usage() if isinstance(exc, click.UsageError) and exc.ctx is not None else ""
        hint = " ".join(usage.split()) or None
        message = exc.format_message()
        return _fail(UsageError(message[:1].lower() + message[1:].rstrip("."), hint=hint), tell)
    except ClosedOutput:
        return EXIT_FOR[SurroundingsError]
    except OSError as exc:
        return _fail(surroundings(exc), tell)
    except (KeyboardInterrupt, click.Abort):
        return _stopped(signal.SIGINT, tell)
    except Stopped as exc:
        return _stopped(signal.Signals(exc.number), None if exc.told else tell)
    except Exception as exc:
        if "--debug" in args:
            raise
        message = f"a defect in spkg: {type(exc).__name__}: {exc}"
        _say(f"spkg: error: {message}")
        _say("spkg: hint: please report it, with what 'spkg --debug …' prints for the same command")
        if tell is not None:
            with suppress(OutputError, ClosedOutput):
                tell(None, EXIT_DEFECT, message)
        return EXIT_DEFECT


def _teller(args: Sequence[str]) -> ErrorTeller | None:
    """Return what prints a failure as JSON, where that is wanted; of some commands it is the last line."""
    if "--json" not in args:
        return None
    called = [word for word in args if not word.startswith("-")][:2]
    if called[:1] == ["apply"]:
        return _print_result
    if called == ["voucher", "issue"] and any(word.startswith("--out-dir") for word in args):
        return _print_issue_result
    return _print_error


def _stopped(number: signal.Signals, tell: ErrorTeller | None) -> int:
    word, status = STOPPED[number]
    _say(f"spkg: error: {word}")
    if tell is not None and tell is not _print_error:
        with suppress(OutputError, ClosedOutput):
            tell(None, status, word)
    return status


def _prepare_streams() -> None:
    """Make sure that results can be told, also on a terminal that lacks a character."""
    if sys.stdout is None:
        raise SurroundingsError("standard output is closed")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _fail(error: SpkgError, tell: ErrorTeller | None) -> int:
    status = exit_status(error)
    if tell is not None and not isinstance(error, OutputError):
        try:
            tell(error, status, str(error))
        except OutputError as exc:
            return _fail(exc, None)
        except ClosedOutput:
            return status
    _say(f"spkg: error: {error}")
    if error.hint:
        _say(f"spkg: hint: {error.hint}")
    return status


def _print_error(error: SpkgError | None, status: int, message: str) -> None:
    from spkg.report.lines import error_document

    _print_document(error_document(_error_fields(error, status, message)))


def _print_result(error: SpkgError | None, status: int, message: str) -> None:
    from spkg.report.apply import failure_document

    fields, now = _error_fields(error, status, message), _timestamp(no_clock=False)
    known = SpkgError(message) if error is None else error
    _print_line(failure_document(known, fields, start=now, end=now, command_key=None))


def _print_issue_result(error: SpkgError | None, status: int, message: str) -> None:
    from vouchers.report import ISSUE

    _print_line({"schema": ISSUE, "event": "result", **_error_fields(error, status, message)})


def _error_fields(error: SpkgError | None, status: int, message: str) -> "Document":
    from spkg.report.lines import error_fields

    return error_fields(error, status, SpkgError.STATUS if error is None else error.STATUS, message)


def exit_status(error: SpkgError) -> int:
    """Return the exit status of an error: that of its nearest class in the table."""
    return next(EXIT_FOR[kind] for kind in type(error).__mro__ if kind in EXIT_FOR)


def surroundings(error: OSError) -> SurroundingsError:
    """Return the error of a file that can't be read or written."""
    return SurroundingsError(os_problem(error))


def _ignore(_number: int, _frame: object) -> None:
    """Do nothing; Python complains of a signal that arrives while it learns to ignore it."""


@contextmanager
def _signals_raise(*, ends: bool) -> Iterator[None]:
    """Have signals raise; a process that *ends* then has no use for what they meant before."""

    def stop(number: int, _frame: object) -> NoReturn:
        for one in before:
            signal.signal(one, _ignore)  # a second one must not stop the cleaning up
        raise Stopped(number)

    # Whoever starts a program in the background may have it ignore an interrupt: it stays so.
    before = {one: signal.getsignal(one) for one in STOPPED if signal.getsignal(one) is not signal.SIG_IGN}
    for one in before:
        signal.signal(one, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, _ignore if ends else handler)


# What is printed: results on stdout, all else on stderr, and nothing from an input unescaped.


class OutputError(SurroundingsError):
    """Standard output can't be written, so nothing can be told there of this either."""


def _print(text: str) -> None:
    """Write a line to standard output, now: what can't be written has to be known before the end."""
    with _telling():
        click.echo(text)


def _print_octets(octets: bytes) -> None:
    """Write octets to standard output as they are, whatever the terminal's encoding."""
    with _telling():
        sys.stdout.flush()
        sys.stdout.buffer.write(octets)
        sys.stdout.buffer.flush()


@contextmanager
def _telling() -> Iterator[None]:
    """Tell apart what can't be printed from what else can't be written."""
    try:
        yield
    except BrokenPipeError as exc:
        sys.stdout = None  # Python would flush it when it ends, and complain.
        raise ClosedOutput from exc
    except OSError as exc:
        sys.stdout = None
        raise OutputError(f"standard output: {surroundings(exc)}") from exc


def _say(text: str) -> None:
    shown = printable(text)
    if _colours(sys.stderr):
        for word, colour in (("spkg: error:", "red"), ("spkg: hint:", "cyan")):
            if shown.startswith(word):
                shown = click.style(word, fg=colour, bold=True) + shown[len(word) :]
    try:
        click.echo(shown, err=True)
    except OSError:
        sys.stderr = None  # nobody can be told; Python would try once more, and end with a status of its own


def _print_lines(lines: "Iterable[Line]") -> None:
    styles: dict[str, dict[str, Any]] = {
        "heading": {"bold": True},
        "good": {"fg": "green"},
        "bad": {"fg": "yellow"},
    }
    colours = _colours(sys.stdout)
    for tone, text in lines:
        shown = printable(text)
        style = styles.get(tone.value)
        _print(click.style(shown, **style) if colours and style else shown)


def _print_document(document: Mapping[str, Any]) -> None:
    import json

    _print(json.dumps(document, indent=2))


def _colours(stream: Any) -> bool:
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return stream is not None and stream.isatty() and not plain


@contextmanager
def _progress(
    label: str, total: int, *, wanted: bool, slow: bool = False
) -> "Iterator[Callable[..., object] | None]":
    """Draw the progress of long work, on a terminal alone; what comes over a network may always be *slow*."""
    if not wanted or (total < LONG_WORK and not slow) or sys.stderr is None or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar
    from rich.text import Text

    from spkg.report.apply import standing_text

    standing, told = dict[str, Any](), monotonic()

    class Standing(ProgressColumn):
        """The state of a download, and the time that is left, also while nothing comes."""

        def render(self, _task: Task) -> Text:
            return Text(standing_text(standing, monotonic() - told) if standing else "")

    def advance(octets: int, **now: Any) -> None:
        nonlocal told
        standing.update(now)
        told = monotonic()
        bar.advance(task, octets)

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TimeRemainingColumn(),
        Standing(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total)
        yield advance


# Options that several commands share.


class Time(click.ParamType[datetime]):
    """A point in time: ISO 8601, in UTC where no zone is given."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the time with its zone."""
        try:
            time = datetime.fromisoformat(value)
            return time.astimezone(UTC) if time.tzinfo is not None else time.replace(tzinfo=UTC)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no time, as 2026-11-21T12:00:00Z is", param, ctx)


class Rate(click.ParamType[float]):
    """How much comes in a second: octets, as 40kB/s and 1MiB/s, or bits, as 2Mbit/s."""

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
        """Return the octets a second."""
        found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?) ?([kMG]|[KMG]i)?(B|bit)/s", value, re.ASCII)
        number, prefix, unit = (0, "", "B") if found is None else found.groups(default="")
        rate = float(number) * self.PREFIXES[prefix] * self.UNITS[unit]
        if not rate:
            self.fail(f"{value!r} is no rate, as 40kB/s, 1MiB/s and 2Mbit/s are", param, ctx)
        return rate


class File(click.Path):
    """A path.  Whether a file is there is found out by opening it, with our own words and status."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, readable=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path; a file called ``-`` is asked for as ``./-``, and a Path would lose that."""
        if not value:
            self.fail("a path can't be empty", param, ctx)
        path = super().convert(value, param, ctx)
        return path.absolute() if path == Path("-") and value != "-" else path


FILE: Final = File()


def _options(*options: Callable[[Handler], Handler]) -> Callable[[Handler], Handler]:
    def add(function: Handler) -> Handler:
        for option in reversed(options):
            function = option(function)
        return function

    return add


_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
_FORCE = click.option("--force", is_flag=True, help="Overwrite an output that exists.")
_NO_PROGRESS = click.option("--no-progress", is_flag=True, help="Draw no progress, even on a terminal.")
_JOBS = click.option(
    "--jobs", type=click.IntRange(1, 256), metavar="N", help="Use N cores.  [default: those there are]"
)


def _trust_options(digests: str, purposes: str, *, unsigned: bool) -> Callable[[Handler], Handler]:
    """Return the options that state a policy.

    Args:
        digests: Those accepted without a word.
        purposes: Those that ``--eku`` takes the place of.
        unsigned: Whether there is one for what nobody signed.
    """
    help_text = "Accept a package that carries no signature at all."
    more = [click.option("--unsafe-allow-unsigned", is_flag=True, help=help_text)] if unsigned else []
    return _options(
        click.option(
            "--trust",
            "trust",
            type=FILE,
            multiple=True,
            metavar="PEM",
            help="Trust the certificates in PEM: roots, intermediates, or the signer's own.  Repeatable.",
        ),
        click.option(
            "--signer",
            "signers",
            multiple=True,
            metavar="NAME",
            help="Accept this signer alone: an RFC 4514 subject, or a common name.  Repeatable.",
        ),
        click.option(
            "--required-signers",
            type=click.IntRange(1),
            default=1,
            metavar="N",
            help="Want N signers with different keys.",
        ),
        click.option(
            "--at",
            type=Time(),
            help="Hold dates against TIME, ISO 8601, UTC where it has no zone.  [default: now]",
        ),
        click.option(
            "--no-clock",
            is_flag=True,
            help="Check no dates, not those of revocation lists either, and say so.",
        ),
        click.option(
            "--crl",
            "crls",
            type=FILE,
            multiple=True,
            metavar="PEM",
            help="Want every certificate not revoked by a current list.  Repeatable.",
        ),
        click.option(
            "--digests",
            default=digests,
            show_default=True,
            metavar="LIST",
            help="Accept these digests.  'sha256' alone refuses all that hangs on SHA-1.",
        ),
        click.option(
            "--eku",
            "purposes",
            multiple=True,
            metavar="OID",
            help=f"Want this extended key usage, in place of {purposes}.  Repeatable.",
        ),
        *more,
    )


_TRUST = _trust_options("sha1,sha256", "codeSigning", unsigned=True)
_VOUCHER_TRUST = _trust_options("sha256", "codeSigning, emailProtection and documentSigning", unsigned=False)
_KEY = _options(
    click.option("--key", type=FILE, metavar="FILE", help="The signer's key: PEM or PKCS #12."),
    click.option("--cert", type=FILE, metavar="FILE", help="The signer's certificate."),
    click.option("--chain", type=FILE, metavar="FILE", help="More certificates to embed."),
    click.option("--key-password-env", metavar="NAME", help="Take the key's passphrase from this variable."),
    click.option(
        "--key-password-file", type=FILE, metavar="FILE", help="Take it from the first line of a file."
    ),
)
_SIGNING_TIME = click.option(
    "--signing-time",
    type=Time(),
    help="State TIME in the signature.  Without it the same inputs give the same octets.",
)


def _policy(
    *,
    trust: Sequence[Path],
    signers: Sequence[str],
    required_signers: int,
    crls: Sequence[Path],
    digests: str,
    purposes: Sequence[str],
    unsafe_allow_unsigned: bool = False,
    default: frozenset[str] | None = None,
) -> "Policy":
    """Return the policy that the trust options state; *default* are the purposes of vouchers."""
    from cryptography.x509 import ObjectIdentifier

    from spkg.common.digests import Digest
    from spkg.trust.keys import load_certificates, load_revocation_lists
    from spkg.trust.policy import PACKAGE_PURPOSES, Policy

    if not trust and not unsafe_allow_unsigned:
        hint = "name the certificates you trust with --trust; 'spkg keygen' makes some to try things with"
        raise UsageError("nothing is trusted without --trust", hint=hint)
    for purpose in purposes:
        try:
            ObjectIdentifier(purpose)
        except ValueError as exc:
            raise UsageError(f"--eku takes an OID, not {purpose!r}") from exc
    try:
        accepted = frozenset(Digest(name.strip()) for name in digests.split(","))
    except ValueError as exc:
        raise UsageError(f"--digests takes sha1, sha256 or both, not {digests!r}") from exc
    try:
        return Policy(
            anchors=tuple(certificate for path in trust for certificate in load_certificates(path)),
            signers=frozenset(signers) or None,
            required_signers=required_signers,
            crls=tuple(crl for path in crls for crl in load_revocation_lists(path)),
            digests=accepted,
            purposes=frozenset(purposes) or default or PACKAGE_PURPOSES,
            purposes_required=bool(purposes),
            unsafe_allow_unsigned=unsafe_allow_unsigned,
        )
    except ValueError as exc:
        raise UsageError(str(exc)) from exc


def _at(at: datetime | None, *, no_clock: bool) -> datetime | None:
    """Return the time that dates are held against; None without a clock."""
    if at is not None and no_clock:
        raise UsageError("--at and --no-clock exclude each other")
    return None if no_clock else at or datetime.now(UTC)


def _identity(**key: Any) -> "Identity":
    """Return who signs packages."""
    from spkg.trust.keys import load_identity

    return load_identity(*_key_inputs(**key))


def _key_inputs(
    *,
    key: Path | None,
    cert: Path | None,
    chain: Path | None,
    key_password_env: str | None,
    key_password_file: Path | None,
) -> tuple[Path, Path | None, Path | None, bytes | None]:
    """Return the files of a key, and its passphrase."""
    if key is None:
        raise UsageError("--key names the key to sign with, and --cert its certificate")
    return key, cert, chain, _secret("--key-password", key_password_env, key_password_file)


def _secret(option: str, variable: str | None, path: Path | None) -> bytes | None:
    """Return what an environment variable or the first line of a file has; None where nobody names one."""
    if variable is not None and path is not None:
        raise UsageError(f"{option}-env and {option}-file exclude each other")
    if variable is not None:
        if variable not in os.environ:
            raise UsageError(f"the environment has no variable {variable}")
        return os.environb[os.fsencode(variable)]
    if path is not None:
        with path.open("rb") as file:
            return file.readline(4096).rstrip(b"\r\n")
    return None


def _source(name: Path) -> Path | BufferedReader:
    """Return where a package is read from: a file, or standard input for ``-``."""
    if str(name) != "-":
        return name
    if sys.stdin is None:
        raise SurroundingsError("standard input is closed")
    return BufferedReader(FileIO(sys.stdin.fileno(), closefd=False))


def _check_output(output: Path, *, force: bool) -> None:
    """Refuse, before any work, an output that is there or that can't be one."""
    from spkg.common.atomic_output import refuse_existing

    if str(output) == "-":
        raise UsageError("a package can't be written to standard output")
    refuse_existing(output, force=force)


def _spare_inputs(output: Path, inputs: "Iterable[tuple[str, Any]]", *, what: str = "output") -> None:
    """Refuse an output that is one of the files it is made with, also with --force."""
    for name, file in inputs:
        with suppress(OSError):
            if isinstance(file, Path) and file.samefile(output):
                raise UsageError(f"{output} is {name}, and can't be the {what}")


def _key_files(key: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    return ((f"--{name.replace('_', '-')}", file) for name, file in key.items())


def _cores() -> int:
    return len(os.sched_getaffinity(0))


@contextmanager
def _about(name: Path) -> Iterator[None]:
    """Say which of several packages an error is about."""
    try:
        yield
    except FormatError as exc:
        exc.source = exc.source or str(name)
        raise


def _given(names: Iterable[str]) -> list[str]:
    """Return which of these options were given, as they are written."""
    context = click.get_current_context()
    given = {name for name in names if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    return [option.opts[0] for option in context.command.params if option.name in given]


@click.group(
    cls=Cli,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(version=spkg.__version__, prog_name="spkg", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of a defect in this program.")
def main(debug: bool) -> None:
    """Signed packages and vouchers of TR-069: make, verify, install, apply them."""


@main.command()
@click.argument("directory", metavar="DIR", type=FILE)
@click.option("--name", default="spkg test signer", show_default=True, help="The signer's common name.")
@_FORCE
def keygen(directory: Path, name: str, force: bool) -> None:
    """Make a root and a signer in DIR, to try things with.

    The root's key is thrown away at once; ca.pem, signer.pem and signer.key stay.
    """
    from cryptography.hazmat.primitives import serialization

    from spkg.common.atomic_output import new_files, refuse_existing
    from spkg.trust.keygen import make_keys

    names = ("ca.pem", "signer.pem", "signer.key")
    for file in names:
        refuse_existing(directory / file, force=force)
    try:
        keys = make_keys(name, datetime.now(UTC).replace(microsecond=0))
    except ValueError as exc:
        raise UsageError("--name takes 1 to 64 characters that UTF-8 can write") from exc
    encoding = serialization.Encoding.PEM
    contents = (
        keys.root.public_bytes(encoding),
        keys.signer.public_bytes(encoding),
        keys.key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
    new_files(
        directory,
        [
            (file, octets, mode)
            for file, octets, mode in zip(names, contents, (None, None, 0o600), strict=True)
        ],
        force=force,
    )
    _print(f"{printable(str(directory))}: {', '.join(names)}")


@main.command()
@click.argument("manifest", type=FILE)
@click.option("-o", "output", required=True, type=FILE, metavar="PKG", help="The package to write.")
@_KEY
@_SIGNING_TIME
@click.option("--unsigned", is_flag=True, help="Build a package without a signature.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Take VALUE for a key of [package] or [timeouts], as package.version=6.4.  Repeatable.",
)
@_JOBS
@_FORCE
@_NO_PROGRESS
@_JSON
def build(
    manifest: Path,
    output: Path,
    unsigned: bool,
    overrides: tuple[str, ...],
    jobs: int | None,
    force: bool,
    no_progress: bool,
    as_json: bool,
    signing_time: datetime | None,
    **key: Any,
) -> None:
    """Build a package from MANIFEST, and sign it.

    The same inputs give the same octets, always.
    """
    from spkg.build import builder as building
    from spkg.build.manifest import load_manifest
    from spkg.common.atomic_output import new_file
    from spkg.report.build import build_document, build_lines
    from spkg.trust.chain import doubts

    if unsigned == bool(_given([*key, "signing_time"])) or (not unsigned and key["key"] is None):
        raise UsageError("either --key and --cert, or --unsigned")
    _check_output(output, force=force)
    pairs = [entry.partition("=") for entry in overrides]
    if not all(name and equals for name, equals, _ in pairs):
        raise UsageError("--set takes KEY=VALUE, as package.version=6.4")
    plan = building.plan_build(load_manifest(manifest, {name: value for name, _, value in pairs}))
    _spare_inputs(output, [("the manifest", manifest), *_key_files(key)])
    packing = building.packs(plan, output)
    if packing is not None:
        raise UsageError(f"{packing} would put {output}, the output, into the package")
    identity = None if unsigned else _identity(**key)
    doubted = [] if identity is None else doubts(identity.certificate, datetime.now(UTC))
    for warning in (*building.warnings(plan), *doubted):
        _say(f"spkg: hint: {warning}")
    total = building.sources_size(plan)
    with (
        _progress("building", total, wanted=not no_progress) as progress,
        new_file(output, force=force) as file,
    ):
        report = building.build(
            plan, file, identity, signing_time=signing_time, jobs=jobs or _cores(), progress=progress
        )
    if as_json:
        _print_document(build_document(plan, report, str(output)))
    else:
        _print_lines(build_lines(plan, report, str(output)))


@main.command()
@click.argument("package", metavar="PKG", type=FILE)
@_KEY
@_SIGNING_TIME
@click.option(
    "--digest",
    type=click.Choice(["sha1", "sha256"]),
    default="sha1",
    show_default=True,
    help="The digest of the signature; sha256 departs from E.5, as a second one beside SHA-1.",
)
@click.option("-o", "output", type=FILE, metavar="OUT", help="Write OUT and leave PKG as it is.")
@_FORCE
@_NO_PROGRESS
def sign(
    package: Path,
    digest: str,
    output: Path | None,
    force: bool,
    no_progress: bool,
    signing_time: datetime | None,
    **key: Any,
) -> None:
    """Add a signature to PKG; all others stay octet for octet.

    The payload is compared with the commands on the way: a signature vouches for it.
    """
    from spkg.build.sign import sign_package
    from spkg.common.atomic_output import new_file
    from spkg.common.digests import Digest
    from spkg.trust.certificates import subject_of
    from spkg.trust.chain import doubts
    from spkg.verify.payload import open_package

    if output is None and str(package) == "-":
        raise UsageError("a package from standard input wants -o OUT")
    if output is not None:
        _check_output(output, force=force)
        _spare_inputs(output, _key_files(key))
    identity = _identity(**key)
    for doubt in doubts(identity.certificate, datetime.now(UTC)):
        _say(f"spkg: hint: {doubt}")
    with open_package(_source(package)) as (opened, payload):
        if output is None and payload.descriptor is None:
            raise UsageError(f"{package} is no regular file: signing it wants -o OUT")
        # In place a link stays a link.
        target = output or (Path(os.path.realpath(package)) if package.is_symlink() else package)
        replaces = os.fstat(payload.descriptor) if output is None and payload.descriptor is not None else None
        with (
            _progress("signing", payload.length, wanted=not no_progress) as progress,
            new_file(target, force=force, replaces=replaces) as file,
        ):
            sign_package(
                opened,
                payload,
                file,
                identity,
                digest=Digest(digest),
                signing_time=signing_time,
                progress=progress,
            )
    signatures = amount(len(opened.block.signers) + 1, "signature")
    who = subject_of(identity.certificate)
    _print(printable(f"{output or package}: signed by {who} with {digest}, {signatures}"))
    if digest == "sha256" and not opened.block.signers:
        _say("spkg: hint: E.5 wants SHA-1: readers of 2004 take no signature of this package")


@main.command()
@click.argument("package", metavar="PKG", type=FILE)
@_JSON
def inspect(package: Path, as_json: bool) -> None:
    """Show everything PKG says: header, commands, signers, certificates, payload.

    Nothing is verified.  What is malformed is marked, and the exit status is 3.
    """
    from spkg.report.inspect import inspection_document, inspection_lines
    from spkg.verify.payload import survey_package

    surveyed = survey_package(_source(package))
    if as_json:
        _print_document(inspection_document(surveyed))
    else:
        _print_lines(inspection_lines(surveyed))
    if surveyed.problems:
        raise DocumentedError(surveyed.problems[0])


@main.command()
@click.argument("package", metavar="PKG", type=FILE)
@_TRUST
@_JOBS
@_NO_PROGRESS
@_JSON
def verify(
    package: Path,
    at: datetime | None,
    no_clock: bool,
    jobs: int | None,
    no_progress: bool,
    as_json: bool,
    **trust: Any,
) -> None:
    """Check the signatures of PKG, then every file's digest.

    Exit status 0 says that all of it is what trusted signers signed; 4 that it is not.
    """
    from spkg.report.lines import error_fields
    from spkg.report.verify import verification_document, verification_lines
    from spkg.verify import signatures as verification
    from spkg.verify.payload import PayloadReport, check_payload, open_package

    trusted: verification.TrustedPackage | None = None
    report: PayloadReport | None = None
    error: SpkgError | None = None
    try:
        policy, time = _policy(**trust), _at(at, no_clock=no_clock)
        with open_package(_source(package)) as (opened, payload):
            trusted = verification.verify(opened, policy, at=time)
            with _progress("verifying", payload.length, wanted=not no_progress) as progress:
                report = check_payload(
                    trusted,
                    payload,
                    jobs=jobs or _cores(),
                    sha256=as_json,
                    progress=progress,
                )
    except SpkgError as exc:
        error = exc
    except OSError as exc:
        error = surroundings(exc)
    if as_json:
        document = verification_document(trusted, report, error)
        if error is not None:
            document |= error_fields(error, exit_status(error), error.STATUS, str(error))
        _print_document(document)
    else:
        _print_lines(verification_lines(trusted, report, error))
    if error is not None:
        raise DocumentedError(error) from error


@main.command()
@click.argument("package", metavar="PKG", type=FILE)
@click.argument("directory", metavar="DIR", type=FILE)
@_TRUST
@click.option("--unsafe-skip-signatures", is_flag=True, help="Extract whoever signed it.")
@click.option("--manifest", is_flag=True, help="Write DIR/manifest.toml, too, and the files to DIR/rootfs.")
@_NO_PROGRESS
@_JSON
def extract(
    package: Path,
    directory: Path,
    at: datetime | None,
    no_clock: bool,
    unsafe_skip_signatures: bool,
    manifest: bool,
    no_progress: bool,
    as_json: bool,
    **trust: Any,
) -> None:
    """Extract the files of PKG into DIR, which is empty or not there yet.

    This installs nothing: each file goes under its path, all of them or none.
    """
    from spkg.build import extract as extraction
    from spkg.report.extract import extraction_document, extraction_hints, extraction_lines
    from spkg.verify import signatures as verification
    from spkg.verify.payload import open_package

    asked = _given([*trust, "at", "no_clock"])
    if unsafe_skip_signatures and asked:
        raise UsageError(f"{asked[0]} and --unsafe-skip-signatures exclude each other")
    policy = None if unsafe_skip_signatures else _policy(**trust)
    time = _at(at, no_clock=no_clock)
    with open_package(_source(package)) as (opened, payload):
        trusted = None if policy is None else verification.verify(opened, policy, at=time)
        with _progress("extracting", payload.length, wanted=not no_progress) as progress:
            if trusted is None:
                done = extraction.unsafe_extract(
                    opened, payload, directory, manifest=manifest, progress=progress
                )
            else:
                done = extraction.extract(trusted, payload, directory, manifest=manifest, progress=progress)
    for hint in extraction_hints(done, trusted):
        _say(f"spkg: hint: {hint}")
    if as_json:
        _print_document(extraction_document(done, str(directory), trusted))
    else:
        _print_lines(extraction_lines(done, str(directory)))


@main.command()
@click.argument("before", metavar="A", type=FILE)
@click.argument("after", metavar="B", type=FILE)
@_JSON
def diff(before: Path, after: Path, as_json: bool) -> int:
    """Show what B changes against A.

    The exit status is 0 where they are the same octet for octet, and 10 where not.  Nothing is verified.
    """
    from spkg.build.compare import compare
    from spkg.report.diff import difference_document, difference_lines
    from spkg.verify.payload import open_package

    if str(before) == str(after) == "-":
        raise UsageError("only one of the packages can come from standard input")
    with ExitStack() as stack:
        pair = []
        for name in (before, after):
            with _about(name):
                pair.append(stack.enter_context(open_package(_source(name))))
        found = compare(*pair)
    if as_json:
        _print_document(difference_document(found))
    else:
        _print_lines(difference_lines(found))
    return 0 if found.equal else EXIT_DIFFERENT


# Packages on their way here.

_TRANSFER = _options(
    click.option("--username", metavar="NAME", help="Log in to the server as NAME."),
    click.option("--password-env", metavar="VARIABLE", help="Its password is in this environment variable."),
    click.option(
        "--password-file", type=FILE, metavar="FILE", help="Its password is the first line of FILE."
    ),
    click.option(
        "--unsafe-basic", is_flag=True, help="Show the password to everybody, where http asks for that."
    ),
    click.option(
        "--ca-bundle", type=FILE, metavar="PEM", help="Trust these authorities for the server, no others."
    ),
    click.option(
        "--size",
        type=click.IntRange(0),
        default=0,
        metavar="OCTETS",
        help="The FileSize that was told; 0 means unknown.",
    ),
)


def _timeouts(timeout: int, idle_timeout: int) -> "Timeouts":
    from spkg.download.timeouts import Timeouts

    return Timeouts(initial=timeout, activity=idle_timeout)


def _timeout_options(initial: int) -> Callable[[Handler], Handler]:
    return _options(
        click.option(
            "--timeout",
            type=click.IntRange(0),
            default=initial,
            show_default=True,
            metavar="SECONDS",
            help="End the download after so long, until the package sets its timeouts; 0 is infinite.",
        ),
        click.option(
            "--idle-timeout",
            type=click.IntRange(0),
            default=60,
            show_default=True,
            metavar="SECONDS",
            help="End it after so long without an octet, as above.",
        ),
    )


@contextmanager
def _arriving(
    source: str,
    timeouts: "Timeouts",
    *,
    username: str | None,
    password_env: str | None,
    password_file: Path | None,
    unsafe_basic: bool,
    ca_bundle: Path | None,
    size: int,
) -> "Iterator[tuple[Package, ArrivingPayload]]":
    """Begin to read a package from a URL, or from standard input."""
    from spkg.download.stream import Pipe, open_arrival

    if (password_env or password_file) and username is None:
        raise UsageError("a password wants --username")
    password = _secret("--password", password_env, password_file)
    if source == "-":
        if sys.stdin is None:
            raise SurroundingsError("standard input is closed")
        with open_arrival(Pipe(sys.stdin.fileno(), monotonic, timeouts, size=size)) as opened:
            yield opened
        return
    from spkg.download.client import download
    from spkg.download.url import Location, Login

    location = Location.parse(source)
    if username is not None and password is None:
        raise UsageError("--username wants --password-env or --password-file")
    if password is not None and not {*b"\r\n\0"}.isdisjoint(password):
        raise UsageError("a password has no line breaks")
    if username is not None and not username.isprintable():
        raise UsageError("a name has no control characters")
    login = Login(
        username=username,
        password=password or b"",
        unsafe_basic=unsafe_basic,
        ca_bundle=ca_bundle,
    )
    with download(location, login, monotonic, timeouts, size=size) as arrival:
        arrival.note = lambda text: _say(f"spkg: hint: {text}")
        with open_arrival(arrival) as opened:
            yield opened


def _local(source: str) -> Path | None:
    """Return the file that a source is; None where its package is on its way."""
    from spkg.download.url import file_of, is_url

    if source == "-":
        return None
    found = file_of(source) if is_url(source) else source
    if found is None:
        return None
    file: Path = FILE.convert(found, None, None)
    return file


def _opening(
    source: str, timeouts: "Timeouts", transfer: Mapping[str, Any]
) -> "AbstractContextManager[tuple[Package, Payload]]":
    """Open a package, wherever it is; what is a file here has no need of clocks (E.4.7)."""
    from spkg.verify.payload import open_package

    file = _local(source)
    return _arriving(source, timeouts, **transfer) if file is None else open_package(file)


@main.command()
@click.argument("url", metavar="URL")
@click.option("-o", "--output", required=True, type=FILE, metavar="FILE", help="Where the package goes.")
@_FORCE
@_TRUST
@_timeout_options(3600)
@_TRANSFER
@_NO_PROGRESS
@_JSON
def fetch(
    url: str,
    output: Path,
    force: bool,
    at: datetime | None,
    no_clock: bool,
    timeout: int,
    idle_timeout: int,
    no_progress: bool,
    as_json: bool,
    **rest: Any,
) -> None:
    """Download the package at URL and verify it, without applying it.

    A package that nobody vouches for is given up before its payload comes; one with a file that is not what
    was signed, at that file.  FILE appears once all of it is right.
    """
    from spkg.common.atomic_output import new_file
    from spkg.download.fetch import fetch as fetch_package
    from spkg.download.url import is_url
    from spkg.report.fetch import fetched_document, fetched_lines
    from spkg.report.lines import NO_DATES
    from spkg.verify import signatures as verification

    if not is_url(url):
        raise UsageError(f"{url!r} is no URL", hint="'spkg verify' verifies a file")
    transfer = {name: rest.pop(name) for name in TRANSFER}
    _check_output(output, force=force)
    policy, time = _policy(**rest), _at(at, no_clock=no_clock)
    with _opening(url, _timeouts(timeout, idle_timeout), transfer) as (opened, payload):
        trusted = verification.verify(opened, policy, at=time)
        with (
            _progress("fetching", payload.length, wanted=not no_progress, slow=True) as progress,
            new_file(output, force=force) as file,
        ):
            report = fetch_package(trusted, payload, file, progress)
    if as_json:
        _print_document(fetched_document(trusted, report, output))
    else:
        _print_lines(fetched_lines(trusted, report, output))
    if not trusted.dates_checked:
        _say(f"spkg: hint: {NO_DATES}")


@main.command()
@click.argument("package", metavar="PKG", type=FILE)
@click.option(
    "--rate", required=True, type=Rate(), metavar="RATE", help="Octets or bits a second: 40kB/s, 2Mbit/s."
)
@_timeout_options(600)
@_JSON
def timeline(package: Path, rate: float, timeout: int, idle_timeout: int, as_json: bool) -> None:
    """Show how states and deadlines would run over a download of PKG at RATE.

    That is what the timeouts of a package are chosen by (E.4.7).  Nothing is verified, and commands are taken
    to need no time.
    """
    from spkg.download.timeline import draw_timeline
    from spkg.report.timeline import timeline_document, timeline_hints, timeline_lines
    from spkg.verify.payload import open_package

    with open_package(_source(package)) as (opened, _):
        found = draw_timeline(opened, rate, _timeouts(timeout, idle_timeout))
    if as_json:
        _print_document(timeline_document(found))
    else:
        _print_lines(timeline_lines(found))
    for hint in timeline_hints(found):
        _say(f"spkg: hint: {hint}")


# The installer.  A child process does the changing; this one tells, and outlives it.

_ROOT = click.option(
    "--root", required=True, type=FILE, metavar="DIR", help="The root of the device's files."
)


@main.command()
@click.argument("source", metavar="SOURCE")
@_ROOT
@_TRUST
@click.option("--device", "device_file", type=FILE, metavar="FILE", help="What is known of the device.")
@click.option("--software-version", metavar="VERSION", help="The device's version, in place of the file's.")
@click.option("--provisioning-code", metavar="CODE", help="The device's, in place of the file's.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@click.option(
    "--in-place",
    is_flag=True,
    help="Let each command take effect by itself, where there is no room for both.",
)
@click.option(
    "--unsafe-streaming",
    is_flag=True,
    help="With --in-place: begin before all of the package is here.",
)
@click.option("--refuse-unknown", is_flag=True, help="Refuse a package with commands of unknown type.")
@click.option("--again", is_flag=True, help="Apply it once more where it is the last one installed.")
@click.option("--unsafe-force", is_flag=True, help="Take any package where the root waits for recovery.")
@click.option("--report", type=FILE, metavar="FILE", help="Write the result there, too, as JSON.")
@click.option("--command-key", metavar="KEY", help="The CommandKey of the download, for the result.")
@_timeout_options(600)
@_TRANSFER
@_NO_PROGRESS
@click.option(
    "--json", "as_json", is_flag=True, help="Print a JSON object a line; the last one is the result."
)
def apply(
    source: str,
    root: Path,
    at: datetime | None,
    no_clock: bool,
    device_file: Path | None,
    software_version: str | None,
    provisioning_code: str | None,
    dry_run: bool,
    report: Path | None,
    command_key: str | None,
    timeout: int,
    idle_timeout: int,
    no_progress: bool,
    as_json: bool,
    **rest: Any,
) -> None:
    """Install the package SOURCE in a root: all of it or nothing.

    SOURCE is a file, a URL (http, https, ftp, ftps, tftp, file), or - for standard input.  What a crash left
    before is finished or undone first; a download that was cut off goes on with what is staged.
    """
    from spkg.install.apply import Request
    from spkg.report.apply import applied_hints, applied_lines, failure_document, result_document
    from spkg.report.lines import NO_DATES, error_fields
    from spkg.verify import signatures as verification

    wishes = {name: rest.pop(name) for name in WISHES}
    transfer = {name: rest.pop(name) for name in TRANSFER}
    start = _timestamp(no_clock=no_clock)
    device: Device | None = None
    trusted: TrustedPackage | None = None
    applied: Document | None = None
    error: SpkgError | None = None
    stopped: Stopped | None = None
    status = 0
    try:
        package = _local(source)
        if report is not None:
            anchors = [("--trust", file) for file in rest["trust"]]
            lists = [("--crl", file) for file in rest["crls"]]
            others = [("--ca-bundle", transfer["ca_bundle"]), ("--password-file", transfer["password_file"])]
            inputs = [("SOURCE", package), ("--device", device_file), *anchors, *lists, *others]
            wanted, report = report, None  # until it is known to harm nothing
            _spare_inputs(wanted, inputs, what="report")
            report = wanted
        policy, time = _policy(**rest), _at(at, no_clock=no_clock)
        device = _device(device_file, software_version, provisioning_code)
        request = Request(device=device, when=start, **wishes)
        timeouts = _timeouts(timeout, idle_timeout)
        with _opening(source, timeouts, transfer) as (opened, payload):
            trusted = verification.verify(opened, policy, at=time)
            if dry_run:
                applied = _preview(trusted, payload, root, request)
            else:
                # In place each file is written by itself, also where several share the payload.
                sizes = sum(file.range.length for file in opened.files)
                total = sizes if request.in_place else payload.length
                arriving = payload.arriving
                with _progress("installing", total, wanted=not no_progress, slow=arriving) as progress:
                    tell = _events(total, progress, as_json=as_json)
                    applied = _apply(trusted, payload, root, request, tell)
    except SpkgError as exc:
        error = exc
    except OSError as exc:
        error = surroundings(exc)
    except Stopped as exc:
        stopped = exc
        word, status = STOPPED[signal.Signals(exc.number)]
        error = SpkgError(word)
    end = _timestamp(no_clock=no_clock)
    if error is not None:
        status = status or exit_status(error)
        fields = error_fields(error, status, error.STATUS, str(error))
        document = failure_document(error, fields, start=start, end=end, command_key=command_key)
    else:
        assert applied is not None  # or there would be an error
        document = result_document(applied, planned=dry_run, start=start, end=end, command_key=command_key)
    if isinstance(error, UnsafeError) and not isinstance(error, KilledTwiceError) and not dry_run:
        # Before anything is told: whoever listens may be gone, and take us along.
        _hold_signals()
        _run_recovery(() if device is None else device.recovery_command)
    if report is not None:
        _write_report(report, document)
    try:
        if as_json:
            _print_line(document)
        elif applied is not None:
            _print_lines(applied_lines(applied, str(root), planned=dry_run))
    except (ClosedOutput, OutputError):
        if dry_run and error is None:
            raise
        if error is None:
            _say("spkg: hint: it is done, and the result can't be written")
    if stopped is not None:
        stopped.told = True
        raise stopped
    if applied is not None:
        for hint in applied_hints(applied):
            _say(f"spkg: hint: {hint}")
        if trusted is not None and not trusted.dates_checked:
            _say(f"spkg: hint: {NO_DATES}")
    if error is not None:
        raise DocumentedError(error) from error


class KilledTwiceError(UnsafeError):
    """Nobody could recover: it can be tried again, and wants no other procedure yet."""


def _apply(
    trusted: "TrustedPackage", payload: "Payload", root: Path, request: "Request", tell: "Tell"
) -> "Document":
    """Install in a child process, and recover in another one where that is killed."""
    from spkg.common.child_process import ChildKilledError, run_child
    from spkg.download.stream import ArrivingPayload
    from spkg.install import apply as applying
    from spkg.install.root import Root

    parent, committed = os.getpid(), False

    def committing() -> None:
        nonlocal committed
        committed = True
        _hold_signals()

    def work(told: "Tell") -> "Document":
        done, finish = _tell_now_and_then(payload, told)
        if isinstance(payload, ArrivingPayload):
            # Without its parent it goes on only where there is no way back.
            payload.arrival.wanted = lambda: committed or os.getppid() == parent
        with _confined(root) as (opened, confined):
            applied = applying.apply(trusted, payload, opened, request, committing=committing, progress=done)
        finish()
        return {**applying.document_of(applied), "confined": confined}

    def settle(_told: "Tell") -> "Document":
        with _confined(root) as (opened, confined):
            applied = applying.aftermath(trusted, opened, request, arriving=payload.arriving)
        return {**applying.document_of(applied), "confined": confined}

    try:
        done = run_child(work, tell)
    except ChildKilledError as exc:
        _say(f"spkg: hint: {exc}: recovering")
        try:
            return run_child(settle, tell)
        except ChildKilledError as again:
            hint = "'spkg recover' tries again"
            with Root(root) as opened:
                if applying.is_half_done(opened):
                    raise KilledTwiceError(f"{again}, twice", hint=hint) from again
                found = applying.installed_by(trusted, opened, request)
            if found is not None:
                return {**applying.document_of(found), "confined": None}
            raise FailedError(f"{again}, twice", hint=hint) from again
    _hold_signals()  # it is done, whatever comes now
    return done


def _tell_now_and_then(payload: "Payload", told: "Tell") -> "tuple[Progress, Callable[[], None]]":
    """Return what hears of octets and tells of them a few times a second, and what tells of the last ones."""
    from spkg.download.stream import ArrivingPayload
    from spkg.report.apply import standing_document

    waiting, last = 0, monotonic()

    def tell() -> None:
        nonlocal waiting, last
        now = monotonic()
        standing = standing_document(payload, now) if isinstance(payload, ArrivingPayload) else {}
        told({"octets": waiting, "standing": standing})
        waiting, last = 0, now

    def done(octets: int) -> None:
        nonlocal waiting
        waiting += octets
        if monotonic() - last >= NOW_AND_THEN:
            tell()

    if isinstance(payload, ArrivingPayload):
        payload.arrival.note = lambda text: told({"note": text})
    return done, tell


def _preview(trusted: "TrustedPackage", payload: "Payload", root: Path, request: "Request") -> "Document":
    from spkg.install import apply as applying
    from spkg.install.root import Root

    with Root(root) as opened:
        return {**applying.document_of(applying.preview(trusted, payload, opened, request)), "confined": None}


@contextmanager
def _confined(root: Path) -> "Iterator[tuple[Root, bool]]":
    """Open a root, and confine this process to it."""
    from spkg.common.landlock import confine
    from spkg.install.root import Root

    with Root(root) as opened:
        yield opened, confine(opened.fileno()) > 0


def _hold_signals() -> None:
    """Let no signal stop what can't be stopped half-way."""
    for one in STOPPED:
        signal.signal(one, _ignore)


def _events(total: int, progress: "Callable[..., object] | None", *, as_json: bool) -> "Tell":
    """Return what hears of the octets done: they move a bar, or become a line for each hundredth."""
    from spkg.report.apply import progress_document

    done, told = 0, 0

    def tell(document: "Document") -> None:
        nonlocal done, told
        if "note" in document:
            _say(f"spkg: hint: {document['note']}")
            return
        done += document["octets"]
        if progress is not None:
            progress(document["octets"], **document["standing"])
        if as_json and (abs(done - told) >= total / 100 or done == total):
            told = done
            with suppress(ClosedOutput, OutputError):  # nobody listens any more: that stops no installation
                _print_line(progress_document(done, total, document["standing"]))

    return tell


def _device(
    file: Path | None, software_version: str | None, provisioning_code: str | None
) -> "Device | None":
    """Return what is known of the device; None where that is nothing."""
    from dataclasses import replace

    from spkg.device import Device, load_device

    if file is None and software_version is None and provisioning_code is None:
        return None
    device = Device() if file is None else load_device(file)
    return replace(
        device,
        software_version=software_version or device.software_version,
        provisioning_code=provisioning_code or device.provisioning_code,
    )


def _timestamp(*, no_clock: bool) -> str:
    """Return the time as TransferComplete has it: that since boot where there is no clock (A.2.1)."""
    if not no_clock:
        return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    minutes, seconds = divmod(int(clock_gettime(CLOCK_BOOTTIME)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"0000-00-{days:02}T{hours:02}:{minutes:02}:{seconds:02}"


def _print_line(document: "Mapping[str, Any]") -> None:
    import json

    _print(json.dumps(document))


def _write_report(path: Path, document: "Mapping[str, Any]") -> None:
    """Write the result; that it can't be written takes nothing back."""
    import json

    from spkg.common.atomic_output import new_file, write_all

    try:
        with new_file(path, force=True) as file:
            write_all(file, json.dumps(document, indent=2).encode() + b"\n")
    except (OSError, SpkgError) as exc:
        problem = surroundings(exc) if isinstance(exc, OSError) else exc
        _say(f"spkg: hint: the report can't be written: {problem}")


def _run_recovery(command: tuple[str, ...]) -> None:
    """Run the device's procedure for a root that is not safe; its words go where ours go."""
    if not command:
        return
    _say(f"spkg: hint: running {command[0]}")
    try:
        os.fstat(2)
        outputs: list[Any] = [(os.POSIX_SPAWN_DUP2, 2, 1)]
    except OSError:  # nobody listens
        outputs = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0), (os.POSIX_SPAWN_DUP2, 1, 2)]
    meanings = [signal.SIGPIPE, signal.SIGXFSZ, *STOPPED]  # which are others for this program
    try:
        child = os.posix_spawnp(command[0], command, os.environ, file_actions=outputs, setsigdef=meanings)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    except (OSError, ValueError) as exc:
        problem = os_problem(exc) if isinstance(exc, OSError) else str(exc)
        _say(f"spkg: hint: the recovery command can't be run: {problem}")
        return
    _say(f"spkg: hint: {command[0]} ended with status {status}")


@main.command()
@_ROOT
@click.option("--discard-staged", is_flag=True, help="Free the room of a download that was cut off, too.")
@_JSON
def recover(root: Path, discard_staged: bool, as_json: bool) -> None:
    """Finish or undo what a crash left of an installation.

    Afterwards the root is as it was before, or as the package wants it.  Doing it again changes nothing.
    What a download has staged stays beside it: the same package goes on with it.
    """
    from spkg.common.child_process import run_child
    from spkg.install import apply as applying
    from spkg.report.apply import recovery_document, recovery_lines

    def work(_tell: "Tell") -> "Document":
        with _confined(root) as (opened, _):
            outcome = applying.recover_root(opened, discard=discard_staged)
            state, stopped = applying.standing(opened)
            failed = stopped is not None and stopped.failed
            return {"outcome": outcome.value, "state": state, "failed": failed}

    done = run_child(work, lambda _: None)
    failed = done.pop("failed")
    if as_json:
        _print_document(recovery_document(**done))
    else:
        _print_lines(recovery_lines(root=str(root), **done))
    if done["state"] in {"partial", "pending"}:
        _say("spkg: hint: the same package continues with --in-place")
    if done["state"] == "unsafe":
        problem = f"{root} is unsafe: an installation in place failed or was cut off there"
        recovery = "apply a package whose role is software-recovery"
        hint = recovery if failed else f"apply the same package with --in-place, or {recovery[6:]}"
        raise DocumentedError(UnsafeError(problem, hint=hint))


@main.command()
@_ROOT
@_JSON
def status(root: Path, as_json: bool) -> None:
    """Show how a root stands, and what was installed there, the last one first.

    It is clean, pending (cut off: 'spkg recover', or the same package in place), partial (in place, failed
    but usable) or unsafe (in place, needs recovery).
    """
    from spkg.install.apply import staging, standing
    from spkg.install.history import installed
    from spkg.install.root import Root
    from spkg.report.apply import status_document, status_lines

    with Root(root) as opened:
        state, stopped = standing(opened)
        staged = staging(opened)
        packages = installed(opened)
    if as_json:
        _print_document(status_document(state, stopped, staged, packages))
    else:
        _print_lines(status_lines(state, stopped, staged, packages, str(root)))


# Vouchers (Appendix C): a server issues them, a device applies them.


def _no_stream(_context: click.Context, parameter: click.Parameter, value: Path) -> Path:
    """Refuse what means standard input or output elsewhere."""
    if str(value) == "-":
        raise UsageError(f"{parameter.opts[0]} wants a file")
    return value


_STORE = click.option(
    "--store",
    required=True,
    type=FILE,
    callback=_no_stream,
    metavar="DB",
    help="The file that keeps the device's Options.",
)
_LEDGER = click.option(
    "--ledger",
    required=True,
    metavar="URL",
    help="Where serial numbers are kept: a file of SQLite, or postgresql://host/name.",
)


def _verifier(**trust: Any) -> "Verifier":
    from spkg.trust.policy import VOUCHER_PURPOSES
    from vouchers.signature.verify import Verifier

    return Verifier(_policy(**trust, default=VOUCHER_PURPOSES))


def _voucher(name: Path) -> bytes:
    """Return the XML of a voucher, which may be in base64; ``-`` is standard input."""
    from vouchers.signature.shape import MAX_FILE, unwrap

    with _about(name):
        return unwrap(_input(name, MAX_FILE))


def _input(name: Path, most: int) -> bytes:
    """Return what a file or standard input holds, and an octet too many where it holds more than *most*."""
    source = _source(name)
    with source.open("rb") if isinstance(source, Path) else source as file:
        return file.read(most + 1)


@main.group(no_args_is_help=False)
def voucher() -> None:
    """Issue, verify and apply vouchers, which enable Options (TR-069, Appendix C)."""


@voucher.command()
@click.option("--device", "device_file", type=FILE, metavar="FILE", help="The device that it is for.")
@click.option(
    "--devices",
    type=FILE,
    metavar="LIST",
    help="Many devices: CSV, or JSON with an object a line, also as GenieACS exports them.",
)
@click.option("--options", "options_file", required=True, type=FILE, metavar="FILE", help="The Options.")
@_KEY
@click.option(
    "--digest",
    type=click.Choice(["sha256", "sha1"]),
    default="sha256",
    show_default=True,
    help="The digest of the signature; sha1 is the form of 2004.",
)
@click.option(
    "--ledger", metavar="URL", help="Take serial numbers from a file of SQLite, or postgresql://host/name."
)
@click.option(
    "--serial", type=click.IntRange(1, 0xFFFFFFFF), metavar="N", help="Count on from N over the Options."
)
@click.option(
    "--batch", metavar="NAME", help="Issue nothing twice under this name: a run again completes it."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["xml", "base64", "soap", "ndjson"]),
    help="What is written of each voucher.  [default: xml for one device, ndjson for many]",
)
@click.option("-o", "output", type=FILE, metavar="OUT", help="The voucher to write; - is standard output.")
@click.option("--out-dir", type=FILE, metavar="DIR", help="A new directory for the vouchers of many devices.")
@_JOBS
@_FORCE
@_NO_PROGRESS
@click.option(
    "--json", "as_json", is_flag=True, help="Print a JSON object a line; the last one is the result."
)
def issue(
    device_file: Path | None,
    devices: Path | None,
    options_file: Path,
    digest: str,
    ledger: str | None,
    serial: int | None,
    batch: str | None,
    form: str | None,
    output: Path | None,
    out_dir: Path | None,
    jobs: int | None,
    force: bool,
    no_progress: bool,
    as_json: bool,
    **key: Any,
) -> None:
    """Issue a voucher to one device, or one to each of many.

    Serial numbers come from a ledger, each once and for ever; the same batch run again writes the same
    vouchers, and completes what was cut off.
    """
    from spkg.common.digests import Digest
    from spkg.trust.chain import doubts
    from spkg.trust.keys import load_signatory
    from spkg.trust.policy import VOUCHER_PURPOSES
    from vouchers.acs.ledger import MAX_BATCH
    from vouchers.acs.templates import load_options
    from vouchers.cpe.identity import identity_of
    from vouchers.signature.sign import VoucherSigner

    if (device_file is None) == (devices is None):
        raise UsageError("either --device, or --devices")
    if (output is None) == (out_dir is None):
        raise UsageError("either -o, or --out-dir")
    if devices is not None and out_dir is None:
        raise UsageError("the vouchers of many devices want --out-dir")
    if as_json and str(output) == "-":
        raise UsageError("-o - and --json exclude each other")
    if (ledger is None) == (serial is None) or (serial is not None and (batch or out_dir)):
        raise UsageError("either --ledger, or --serial for one voucher without --batch")
    if batch is not None and not (0 < len(batch) <= MAX_BATCH and batch.isprintable()):
        raise UsageError(f"--batch takes from 1 to {MAX_BATCH} printable characters")
    if output is not None and str(output) != "-":
        _check_output(output, force=force)
        inputs = [("--device", device_file), ("--options", options_file), ("--ledger", Path(ledger or ""))]
        _spare_inputs(output, [*inputs, *_key_files(key)])
    templates = load_options(options_file)
    signatory = load_signatory(*_key_inputs(**key))
    for doubt in doubts(signatory.certificate, datetime.now(UTC), VOUCHER_PURPOSES):
        _say(f"spkg: hint: {doubt}")
    for template in templates:
        if template.is_over(_now()):
            _say(f"spkg: hint: the Option {template.ident!r} is over already: no device takes this voucher")
    signer = VoucherSigner(signatory, Digest(digest))
    device = None if device_file is None else identity_of(_this_device(device_file))
    if out_dir is None:
        assert device is not None  # or there would be --devices
        with _prepared(device, templates, signer, ledger, serial, batch) as issued:
            _write_issued(issued, form or "xml", output, force=force, as_json=as_json)
        return
    assert ledger is not None  # or there would be --serial
    wanted = (templates, signer, ledger, batch, form, jobs)
    _issue_many(device or devices, out_dir, wanted, no_progress=no_progress, as_json=as_json)


def _this_device(file: Path) -> "Device":
    """Return a device that says who it is."""
    from spkg.device import load_device
    from vouchers.cpe.identity import identity_of

    with _about(file):
        device = load_device(file)
        identity_of(device)
    return device


def _open_ledger(url: str, stack: ExitStack) -> "Ledger":
    """Open a ledger, and say so where it is a new one: a number must not be given twice."""
    from vouchers.acs.ledger import Ledger

    opened = stack.enter_context(Ledger(url, _now))
    if opened.created:
        _say("spkg: hint: the ledger is new, and begins to count: one key wants one ledger")
    return opened


@contextmanager
def _prepared(
    device: "DeviceId",
    templates: "tuple[Template, ...]",
    signer: "VoucherSigner",
    url: str | None,
    serial: int | None,
    batch: str | None,
) -> "Iterator[Issued]":
    """Sign a voucher for one device, which counts as issued when the block ends well."""
    from vouchers.acs.issuer import VoucherIssuer, sign_voucher
    from vouchers.acs.ledger import MAX_SERIAL, Want

    if url is not None:
        with ExitStack() as stack:
            issuer = VoucherIssuer(_open_ledger(url, stack), signer)
            issued = issuer.prepare(device, templates, batch=batch)
            yield issued
            issuer.confirm(issued)
        return
    assert serial is not None  # or there would be a ledger
    serials = range(serial, serial + len(templates))
    if serials[-1] > MAX_SERIAL:
        raise UsageError(f"--serial {serial}: {len(templates)} Options count beyond {MAX_SERIAL}")
    yield sign_voucher(Want(device=device, templates=templates), serials, signer)


def _write_issued(issued: "Issued", form: str, output: Path | None, *, force: bool, as_json: bool) -> None:
    """Write a voucher to a file, or to standard output, where nothing else is told then."""
    from spkg.common.atomic_output import new_file, write_all
    from vouchers.acs.bulk import Form
    from vouchers.report import issued_document, issued_lines

    octets = Form(form).write(issued)
    if output is None or str(output) == "-":
        _print_octets(octets)
        return
    with new_file(output, force=force) as file:
        write_all(file, octets)
    if as_json:
        _print_line(issued_document(issued, str(output)))
    else:
        _print_lines(issued_lines(issued, str(output)))


def _issue_many(
    source: "DeviceId | Path | None",
    directory: Path,
    wanted: "tuple[tuple[Template, ...], VoucherSigner, str, str | None, str | None, int | None]",
    *,
    no_progress: bool,
    as_json: bool,
) -> None:
    """Issue a voucher to each of many devices."""
    from secrets import token_hex

    from spkg.common.atomic_output import bulk_directory
    from spkg.report.apply import progress_document
    from spkg.report.lines import error_fields
    from vouchers.acs.bulk import Form, Order, issue_many
    from vouchers.acs.device_list import Listed, read_devices
    from vouchers.report import ISSUE, bulk_document, bulk_lines

    templates, signer, url, batch, form, jobs = wanted
    if batch is None:
        batch = f"{_now():%Y%m%dT%H%M%SZ}-{token_hex(4)}"
        _say(f"spkg: hint: --batch {batch} completes this if it is cut off")
    order = Order(templates=templates, batch=batch, form=Form(form or "ndjson"), jobs=jobs or _cores())
    error: SpkgError | None = None
    document: Document = {"schema": ISSUE, "event": "result", "batch": batch}
    try:
        with ExitStack() as outer:
            with ExitStack() as stack:
                total = source.stat().st_size if isinstance(source, Path) else 0
                part = stack.enter_context(bulk_directory(directory))
                ledger = _open_ledger(url, outer)
                drawn: list[Callable[..., object] | None] = []
                done = told = 0

                def advance(octets: int) -> None:
                    nonlocal done, told
                    done += octets
                    if not drawn:  # drawing needs a thread, before which all processes have to be there
                        bar = _progress("issuing", total, wanted=not no_progress, slow=True)
                        drawn.append(stack.enter_context(bar))
                    if drawn[0] is not None:
                        drawn[0](octets)
                    if as_json and done - told >= total / 100:
                        told = done
                        _print_line({**progress_document(done, total, {}), "schema": ISSUE})

                if isinstance(source, Path):
                    devices = read_devices(source)
                else:
                    devices = iter([Listed(line=1, device=source)])
                report = issue_many(order, devices, part, signer, ledger, progress=advance)
            ledger.confirm_batch(batch, report.run)
        document |= bulk_document(report, str(directory))
        if report.rejected:
            lines = amount(report.rejected, "line")
            error = FormatError(
                f"{lines} of the list got no voucher", hint=f"{directory}/rejected.csv says why"
            )
    except SpkgError as exc:
        error = exc
    except OSError as exc:
        error = surroundings(exc)
    if error is not None:
        document |= error_fields(error, exit_status(error), error.STATUS, str(error))
    if as_json:
        _print_line(document)
    elif error is None or "issued" in document:
        _print_lines(bulk_lines(report, str(directory), batch))
    if error is not None:
        raise DocumentedError(error) from error


def _now() -> datetime:
    return datetime.now(UTC)


@voucher.command(name="inspect")
@click.argument("file", type=FILE)
@_JSON
def inspect_voucher(file: Path, as_json: bool) -> None:
    """Show everything that a voucher says, XML or base64.

    Nothing is verified.  What is malformed is marked, and the exit status is 3.
    """
    from vouchers.report import inspection, inspection_document, inspection_lines
    from vouchers.signature.shape import read_voucher

    octets = _voucher(file)
    with _about(file):
        document = read_voucher(octets)
    found = inspection(document)
    if as_json:
        _print_document(inspection_document(document, found))
    else:
        _print_lines(inspection_lines(document, found))
    for _, problem in found:
        if problem is not None:
            problem.source = str(file)
            raise DocumentedError(problem)


@voucher.command(name="verify")
@click.argument("file", type=FILE)
@_VOUCHER_TRUST
@click.option(
    "--device", "device_file", type=FILE, metavar="FILE", help="Also want it to be for this device, now."
)
@_JSON
def verify_voucher(
    file: Path, at: datetime | None, no_clock: bool, device_file: Path | None, as_json: bool, **trust: Any
) -> None:
    """Check the signature of a voucher, XML or base64.

    Exit status 0 says that an accepted signer vouches for all of it.
    """
    from spkg.report.lines import error_fields
    from vouchers.cpe.grant import grant
    from vouchers.report import verification_document, verification_lines
    from vouchers.signature.shape import read_voucher

    trusted: TrustedVoucher | None = None
    error: SpkgError | None = None
    try:
        verifier, time = _verifier(**trust), _at(at, no_clock=no_clock)
        device = None if device_file is None else _this_device(device_file)
        octets = _voucher(file)
        with _about(file):
            trusted = verifier.verify(read_voucher(octets), time)
            if device is not None:
                grant(trusted, device, time)
    except SpkgError as exc:
        error = exc
    except OSError as exc:
        error = surroundings(exc)
    if as_json:
        document = verification_document(trusted, error)
        if error is not None:
            document |= error_fields(error, exit_status(error), error.STATUS, str(error))
        _print_document(document)
    elif trusted is not None:
        _print_lines(verification_lines(trusted, error))
    if error is not None:
        raise DocumentedError(error) from error


@voucher.command(name="apply")
@click.argument("files", metavar="FILE...", type=FILE, nargs=-1, required=True)
@_VOUCHER_TRUST
@click.option("--device", "device_file", required=True, type=FILE, metavar="FILE", help="This device.")
@_STORE
@_JSON
def apply_vouchers(
    files: tuple[Path, ...],
    at: datetime | None,
    no_clock: bool,
    device_file: Path,
    store: Path,
    as_json: bool,
    **trust: Any,
) -> None:
    """Apply vouchers as SetVouchers does: all, or none.

    Each FILE, XML or base64, is verified first, and has to be for this device, now, and not seen before.
    A voucher that governs its Options already changes nothing, and is no failure.
    """
    from vouchers.cpe.apply import check_vouchers, set_vouchers
    from vouchers.cpe.store import OptionStore
    from vouchers.report import applied_document, applied_lines

    verifier, time = _verifier(**trust), _at(at, no_clock=no_clock)
    device, real = _this_device(device_file), time if at is None else None
    if [str(file) for file in files].count("-") > 1:
        raise UsageError("only one of the vouchers can come from standard input")
    if store.is_file() and store.stat().st_size:
        with OptionStore(store) as known:  # a new provider is one also where the vouchers are refused
            known.observe(device.provisioning_code, real)
    octets = [(str(file), _voucher(file)) for file in files]
    checked = check_vouchers(octets, verifier, device, time)
    assert time is not None  # or nothing would be granted
    with OptionStore(store, create=True) as opened:
        opened.observe(device.provisioning_code, real)
        done = set_vouchers(checked, opened, time, device.provisioning_code, real=at is None)
    if as_json:
        _print_document(applied_document(done))
    else:
        _print_lines(applied_lines(done, time))


def _observe(store: "OptionStore", device: "Device | None", now: datetime) -> None:
    """Have a store remember what is seen now; one that can't be written is read all the same."""
    try:
        store.observe(None if device is None else device.provisioning_code, now)
    except SurroundingsError as exc:
        _say(f"spkg: hint: what is seen now is not remembered: {exc}")


@voucher.command()
@_STORE
@click.option("--device", "device_file", type=FILE, metavar="FILE", help="This device, and what it supports.")
@click.option("--name", default="", metavar="NAME", help="This Option alone.")
@click.option("--at", type=Time(), help="Tell how they stand at TIME, and remember nothing.  [default: now]")
@_JSON
def options(store: Path, device_file: Path | None, name: str, at: datetime | None, as_json: bool) -> None:
    """Show how Options stand, as GetOptions does."""
    from spkg.device import load_device
    from vouchers.cpe.apply import get_options
    from vouchers.cpe.store import OptionStore
    from vouchers.report import options_document, options_lines

    device = None if device_file is None else load_device(device_file)
    time = at or _now()
    with OptionStore(store) as opened:
        if at is None:
            _observe(opened, device, time)
        supported = None if device is None else device.supported_options
        code = None if device is None or at is not None else device.provisioning_code
        found = get_options(opened, time, supported, name, real=at is None, provisioning_code=code)
        due = opened.next_change(time, {option.name for option in found}, real=at is None)
    if as_json:
        _print_document(options_document(found, time, due))
    else:
        _print_lines(options_lines(found, time, due))


@voucher.command()
@click.argument("name")
@_STORE
@click.option("--undo", is_flag=True, help="The user has not.")
def setup(name: str, store: Path, undo: bool) -> None:
    """Note that the user has set up the Option NAME.

    It becomes bit 1 of its State.
    """
    from vouchers.cpe.store import OptionStore

    with OptionStore(store) as opened:
        opened.set_up(name, done=not undo)
    _print(printable(f"{name}: {'not set up' if undo else 'set up'}"))


@voucher.command()
@_STORE
@click.option("--device", "device_file", required=True, type=FILE, metavar="FILE", help="This device.")
@_VOUCHER_TRUST
def rpc(store: Path, device_file: Path, at: datetime | None, no_clock: bool, **trust: Any) -> None:
    """Answer a request SetVouchers or GetOptions.

    The envelope comes from standard input, and the answer goes to standard output.  A fault is an answer,
    too, and the exit status 0; what is no envelope at all is 3.
    """
    from spkg.cwmp.faults import method_fault
    from spkg.cwmp.soap import MAX_ENVELOPE, fault_response, read_envelope
    from vouchers.cpe.rpc import answer
    from vouchers.cpe.store import OptionStore

    verifier, time = _verifier(**trust), _at(at, no_clock=no_clock)
    device = _this_device(device_file)
    octets = _input(Path("-"), MAX_ENVELOPE)
    try:
        request = read_envelope(octets)
    except RefusedError as exc:
        _print_octets(fault_response(method_fault(exc), str(exc), None))
        return
    try:
        with OptionStore(store, create=True) as opened:
            response = answer(request, opened, verifier, device, time, supposed=at is not None)
    except SurroundingsError as exc:
        if request.is_empty:
            raise
        _say(f"spkg: hint: {exc}")
        response = fault_response(method_fault(exc), str(exc), request.id)
    if response is not None:
        _print_octets(response)


@voucher.group(no_args_is_help=False)
def ledger() -> None:
    """Look into a ledger of serial numbers."""


@ledger.command(name="list")
@_LEDGER
@click.option("--batch", metavar="NAME", help="Those of one batch.")
@click.option("--state", type=click.Choice(["reserved", "issued", "void"]), help="Those in this state.")
@click.option("--serial-number", metavar="NUMBER", help="Those of the device with this serial number.")
@_JSON
def list_ledger(
    ledger: str, batch: str | None, state: str | None, serial_number: str | None, as_json: bool
) -> None:
    """Show vouchers by their serial numbers."""
    import json

    from vouchers.acs.ledger import Ledger
    from vouchers.report import entry_document, entry_line

    with Ledger(ledger, _now, create=False) as opened:
        entries = opened.entries(batch=batch, state=state, serial_number=serial_number)
        if not as_json:
            _print_lines(map(entry_line, entries))
            return
        # One document, however many there are.
        _print('{"schema": "spkg.voucher.ledger.list/1", "entries": [')
        last: str | None = None
        for entry in entries:
            if last is not None:
                _print(f"{last},")
            last = json.dumps(entry_document(entry))
        _print(f"{last or ''}]}}")


@ledger.command(name="export")
@_LEDGER
@_JSON
def export_ledger(ledger: str, as_json: bool) -> None:
    """Print all of it: CSV, or a JSON object a line."""
    import csv
    import io
    import json

    from vouchers.acs.ledger import Entry, Ledger
    from vouchers.report import entry_document

    def row(cells: Iterable[object]) -> str:
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow(cells)
        return line.getvalue()

    with Ledger(ledger, _now, create=False) as opened:
        if not as_json:
            _print(row(Entry.__dataclass_fields__))
        for entry in opened.entries():
            document = entry_document(entry)
            _print(json.dumps(document) if as_json else printable(row(document.values())))


@ledger.command(name="void")
@click.argument("serial", type=click.IntRange(1, 0xFFFFFFFF))
@_LEDGER
@_JSON
def void_serial(serial: int, ledger: str, as_json: bool) -> None:
    """Make SERIAL void: its batch never issues it again.

    A voucher that a device has already is not taken back by this: issue one that disables the Option.
    """
    from vouchers.acs.ledger import Ledger

    with Ledger(ledger, _now, create=False) as opened:
        opened.void(serial)
    if as_json:
        _print_document({"schema": "spkg.voucher.ledger.void/1", "serial": serial, "state": "void"})
    else:
        _print(f"{serial}: void")


if __name__ == "__main__":
    main()
