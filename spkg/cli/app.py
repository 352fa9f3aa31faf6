"""How a command runs and ends: the table from errors to exit statuses, and the place that catches them."""

import atexit
import dataclasses
import gc
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from importlib import import_module
from typing import Any, Final, NoReturn

import click

from spkg import __version__
from spkg.cli.console import (
    ClosedOutput,
    OutputError,
    prepare_streams,
    print_document,
    say,
    writing,
)
from spkg.common.documents import Document
from spkg.common.frozen import dataclass
from spkg.common.libraries import missing_library
from spkg.common.stop_signals import STOP_SIGNALS, ignore
from spkg.errors import (
    FailedError,
    FormatError,
    HostError,
    RefusedError,
    SpkgError,
    TransferError,
    UnsafeError,
    UntrustedError,
    UsageError,
    os_problem,
)
from spkg.report.lines import error_document, error_fields

__all__ = [
    "EXIT_DEFECT",
    "EXIT_DIFFERENT",
    "EXIT_FOR",
    "CliCommand",
    "DocumentedError",
    "FailureReporter",
    "ListedCommand",
    "Stopped",
    "application",
    "command",
    "exit_status",
    "failure_fields",
    "host_error",
    "print_error",
    "stop_words",
    "usage_problem",
]

CONTEXT_SETTINGS: Final[dict[str, Any]] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
LINE_BREAK: Final = re.compile(r"\s*\n\s*")
EXIT_DEFECT: Final = 1
EXIT_DIFFERENT: Final = 10
EXIT_FOR: Final[dict[type[SpkgError], int]] = {
    UsageError: 2,
    FormatError: 3,
    UntrustedError: 4,
    RefusedError: 5,
    FailedError: 6,
    UnsafeError: 7,
    TransferError: 8,
    HostError: 9,
}
"""The exit status of each class of errors; never renumbered."""
OWN_FILES: Final = "/.spkg"
"""How the paths of the installer's own files begin: they are private."""
WORDS: Final = {"SIGHUP": "the terminal was closed", "SIGINT": "interrupted", "SIGTERM": "terminated"}

FailureReporter = Callable[[SpkgError | None, int, str], None]
"""Prints a failure as JSON: the error if it is one of ours, the exit status, and the message."""


class Stopped(BaseException):
    """A signal arrived.  Nothing that cleans up catches this, and neither does click."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
        self.told = False
        """Whether a result has already been printed."""


class DocumentedError(Exception):
    """A failure whose JSON document has been printed already."""

    def __init__(self, error: SpkgError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True, kw_only=True)
class ListedCommand:
    """A command in the list of commands."""

    where: str
    """Its module and its name there, as ``spkg.cli.build:build``; empty for a group."""
    help: str
    """One line."""


@dataclasses.dataclass
class _Call:
    """What is known about the command that is running."""

    report: FailureReporter | None = None
    """Prints a failure as JSON; None without ``--json``."""
    on_stop: FailureReporter | None = None
    """Prints that a signal ended it; None unless its last line always says how it ended."""
    debug: bool = False


class CliCommand(click.Command):
    """A command that knows how to report its own failure as JSON.

    Args:
        last_line: Returns what prints a failure as the last of several lines; None to print one document.
    """

    def __init__(
        self,
        *args: Any,
        last_line: Callable[[Mapping[str, Any]], FailureReporter | None] = lambda _: None,
        **settings: Any,
    ) -> None:
        super().__init__(*args, **settings)
        self._last_line = last_line

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Parse the options; errors in them are reported like all errors of the command."""
        given = [*args]
        try:
            with writing():  # help is printed while options are parsed
                context = super().make_context(info_name, args, parent, **extra)
        except (click.UsageError, SpkgError):
            if parent is not None:
                self._note(parent.find_object(_Call), self._stated(given))
            raise
        self._note(context.find_object(_Call), context.params)
        return context

    def _note(self, call: _Call | None, options: Mapping[str, Any]) -> None:
        if call is not None and options.get("as_json"):
            call.on_stop = self._last_line(options)
            call.report = call.on_stop or print_error

    def _stated(self, args: Sequence[str]) -> Mapping[str, Any]:
        """Return the options that were given, even if not all can be parsed; a value is not an option."""
        known = {name: one for one in self.params if isinstance(one, click.Option) for name in one.opts}
        stated: dict[str, Any] = {}
        words = iter(args)
        for word in words:
            if word == "--":
                break
            name, equals, value = word.partition("=")
            option = known.get(name)
            if option is not None and option.name is not None:
                stated[option.name] = True if option.is_flag else value if equals else next(words, "")
        return stated


class Group(CliCommand, click.Group):
    """A command with subcommands, each imported when it is called."""

    command_class = CliCommand

    def __init__(
        self, *args: Any, listed: Mapping[str, ListedCommand], words: str = "", **settings: Any
    ) -> None:
        super().__init__(*args, **settings)
        self._listed = listed
        self._words = words

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the subcommands, in the order of the list."""
        names = [name.removeprefix(self._words) for name in self._listed if name.startswith(self._words)]
        return [*dict.fromkeys(name for name in names if " " not in name), *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        name = f"{self._words}{cmd_name}"
        if " " in cmd_name or name not in self._listed:
            return super().get_command(ctx, cmd_name)
        listed = self._listed[name]
        if not listed.where:
            return Group(
                cmd_name, listed=self._listed, words=f"{name} ", help=listed.help, no_args_is_help=False
            )
        module, _, attribute = listed.where.partition(":")
        found: click.Command = getattr(import_module(module), attribute)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the subcommand that is called, or suggest one that is spelled like it."""
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            similar = get_close_matches(name, self.list_commands(ctx), n=1)
            ctx.fail(f"No such command {name!r}." + (f" Did you mean {similar[0]!r}?" if similar else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Print the list with one line for each command, without importing any."""
        own = {name: found.get_short_help_str(80) for name, found in sorted(self.commands.items())}
        rows = [
            (name, own[name] if name in own else self._listed[f"{self._words}{name}"].help)
            for name in self.list_commands(ctx)
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


GARBAGE: Final = 50_000
"""After how many new objects Python looks for garbage: at its own 700 a start takes a fifteenth longer."""


class _Application(Group):
    """The top-level command, which turns every outcome into an exit status."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> NoReturn:
        """Run a command, and exit."""
        given, call = list(sys.argv[1:] if args is None else args), _Call()
        extra |= {"standalone_mode": False, "obj": call}
        if args is None and not sys.warnoptions:
            warnings.simplefilter("ignore")  # those of libraries are of no use to the user
        ends = args is None
        if ends:
            gc.set_threshold(GARBAGE)
            end = _end_at_once()
        status = _guard(lambda: super(_Application, self).main(given, *rest, **extra), call, ends=ends)
        if ends:
            end(status)
        sys.exit(status)


def _end_at_once() -> Callable[[int], object]:
    """Return what lets the process end with a status without freeing each object first.

    That would take a tenth of the time of a short command, and without Python's handlers a signal could
    change the exit status.  Python still waits for threads, and calls what libraries have registered to be
    called at the end.
    """
    statuses: list[int] = []

    def last() -> None:
        if not statuses:
            return  # an exception that Python has to show
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # who prints results has flushed them, and heard of an error
                if stream is not None:
                    stream.flush()
        os._exit(statuses[0])

    atexit.register(last)  # what is registered first is called last
    return statuses.append


def application(listed: Mapping[str, ListedCommand], help_text: str) -> click.Group:
    """Return the program that has these commands; a space separates a subcommand from its group."""

    @click.command(
        "spkg",
        cls=_Application,
        listed=listed,
        help=help_text,
        no_args_is_help=False,
        context_settings=CONTEXT_SETTINGS,
    )
    @click.version_option(version=__version__, prog_name="spkg", message="%(prog)s %(version)s")
    @click.option("--debug", is_flag=True, help="Show the traceback of a defect in spkg.")
    @click.pass_obj
    def main(call: _Call, debug: bool) -> None:
        call.debug = debug

    assert isinstance(main, click.Group)
    return main


def command(
    name: str, *, kind: type[CliCommand] = CliCommand, **settings: Any
) -> Callable[[Callable[..., Any]], CliCommand]:
    """Return a decorator that makes a function a command; its docstring is the help."""
    # Not only inherited: a command keeps the help option of the first context that it makes.
    stated = CONTEXT_SETTINGS | settings.pop("context_settings", {})
    return click.command(name, cls=kind, context_settings=stated, **settings)


def _guard(run: Callable[[], Any], call: _Call, *, ends: bool) -> int:
    """Run a command, report what went wrong, and return the exit status."""
    try:
        with _signals_raise(ends=ends):
            prepare_streams()
            result = run()
        return result if isinstance(result, int) else 0
    except DocumentedError as exc:
        return _fail(exc.error, None)
    except SpkgError as exc:
        return _fail(exc, call.report)
    except click.ClickException as exc:
        usage = exc.ctx.get_usage() if isinstance(exc, click.UsageError) and exc.ctx is not None else ""
        hint = " ".join(usage.split()) or None
        return _fail(UsageError(usage_problem(exc), hint=hint), call.report)
    except ClosedOutput:
        return EXIT_FOR[HostError]
    except OutputError as exc:
        return _fail(HostError(str(exc)), None)
    except OSError as exc:
        return _fail(host_error(exc), call.report)
    except (KeyboardInterrupt, click.Abort):
        return _stopped(signal.SIGINT, call)
    except Stopped as exc:
        return _stopped(exc.number, _Call() if exc.told else call)
    except Exception as exc:
        missing = missing_library(exc)
        if missing is not None:
            return _fail(missing, call.report)
        if call.debug:
            raise
        message = f"a defect in spkg: {type(exc).__name__}: {exc}"
        say(f"spkg: error: {message}")
        say("spkg: hint: please report it with the output of 'spkg --debug …' for the same command")
        if call.report is not None:
            with suppress(OutputError, ClosedOutput):
                call.report(None, EXIT_DEFECT, message)
        return EXIT_DEFECT


def usage_problem(error: click.ClickException) -> str:
    """Return the message of an error of click in the form of our own."""
    message = LINE_BREAK.sub(" ", error.format_message())
    return message[:1].lower() + message[1:].rstrip(".")


def stop_words(number: int) -> tuple[str, int]:
    """Return the message for a signal, and the exit status."""
    return WORDS[signal.Signals(number).name], 128 + number


def _stopped(number: int, call: _Call) -> int:
    word, status = stop_words(number)
    say(f"spkg: error: {word}")
    if call.on_stop is not None:
        with suppress(OutputError, ClosedOutput):
            call.on_stop(None, status, word)
    return status


def _fail(error: SpkgError, report: FailureReporter | None) -> int:
    status = exit_status(error)
    if report is not None:
        try:
            report(error, status, str(error))
        except OutputError as exc:
            return _fail(HostError(str(exc)), None)
        except ClosedOutput:
            return status
    found = (error, *error.others)
    for one in found:
        say(f"spkg: error: {one}")
    if error.unlisted:
        say(f"spkg: error: and {error.unlisted} more")
    for advice in dict.fromkeys(one.hint for one in found if one.hint):
        say(f"spkg: hint: {advice}")
    return status


def print_error(error: SpkgError | None, status: int, message: str) -> None:
    """Print the document of a command that failed."""
    reason = SpkgError.REASON if error is None else error.reason
    print_document(error_document({**failure_fields(error, status, message), "reason": reason}))


def failure_fields(error: SpkgError | None, status: int, message: str) -> Document:
    """Return the fields that every document has for a failure."""
    return error_fields(error, status, SpkgError.STATUS if error is None else error.STATUS, message)


def exit_status(error: SpkgError) -> int:
    """Return the exit status of an error: that of its nearest class in the table."""
    return next(EXIT_FOR[kind] for kind in type(error).__mro__ if kind in EXIT_FOR)


def host_error(error: OSError) -> HostError:
    """Return the error for a file that can't be read or written."""
    name = "" if error.filename is None else os.fsdecode(error.filename)
    hint = "run spkg as root, or as the owner of the root" if name.startswith(OWN_FILES) else None
    return HostError(os_problem(error), hint=hint if isinstance(error, PermissionError) else None)


@contextmanager
def _signals_raise(*, ends: bool) -> Iterator[None]:
    """Make signals raise; if the process *ends* afterwards, they are ignored from then on."""

    def stop(number: int, _frame: object) -> NoReturn:
        for one in before:
            signal.signal(one, ignore)  # a second one must not stop the clean-up
        raise Stopped(number)

    # A program started in the background may have to ignore interrupts: it keeps ignoring them.
    before = {
        one: signal.getsignal(one) for one in STOP_SIGNALS if signal.getsignal(one) is not signal.SIG_IGN
    }
    for one in before:
        signal.signal(one, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, ignore if ends else handler)
