"""``spkg agent`` commands that are the agent: run, once, check, forget."""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from spkg.cli.agent_findings import contact_of, findings_of
from spkg.cli.agent_options import CONFIG, can_begin_with, load_config
from spkg.cli.app import DocumentedError, command
from spkg.cli.arguments import this_boot, timestamp
from spkg.cli.console import print_document, print_lines, say
from spkg.cli.options import JSON
from spkg.errors import HostError, RefusedError, SpkgError
from spkg.report.lines import Tone

if TYPE_CHECKING:
    from spkg.agent.assembly import Agent
    from spkg.agent.clock import Outside
    from spkg.agent.keeper_client import KeeperClient
    from spkg.agent.option_watch import Options
    from spkg.agent.rights import Rights
    from spkg.agent.settings import AgentConfig
    from spkg.common.documents import Document
    from spkg.device import Device

__all__ = ["check", "forget", "once", "run"]

Drop = Callable[[], "Rights"]
"""Gives rights up."""

OPTION_DESK: Final = ("vouchers.cpe.desk", "open_desk")
"""Who answers SetVouchers and GetOptions: named, since packages know nothing of vouchers."""
PASSED_ON: Final = ("LANG", "LC_ALL", "PATH", "TMPDIR", "TZ")
"""The variables of the environment that the programs of the device find."""
BEGIN_ANEW: Final = 75
"""How the talking process says that the state was reset, and everything is to be read again."""


@command("run")
@CONFIG
def run(config: Path) -> None:
    """Keep the gateway in touch with its ACS, as a service.

    Works in the foreground.  SIGTERM ends it between two sessions; one that goes on for 30 seconds more is
    broken off, and begun anew at the next start.  With SIGHUP it reads its configuration again, if it can.

    \b
    Example:
      spkg agent run --config samples/agent/agent.toml

    See: docs/agent.md
    """
    settings = load_config(config)

    def talk(keeper: "KeeperClient", passwords: Mapping[str, str], drop: "Drop") -> int:
        from spkg.agent.listener import Listener
        from spkg.agent.loop import AgentLoop
        from spkg.agent.notify import ServiceManager

        outside = _outside()
        loop = AgentLoop(
            keeper=keeper,
            directory=settings.state.directory,
            service=ServiceManager(os.environ, os.getppid()),  # its main process is the keeper
            outside=outside,
        )
        agent = _assembled(
            settings,
            keeper,
            passwords,
            drop,
            outside,
            show=loop.show,
            call=loop.call,
            look=loop.look,
            alive=loop.alive,
            ending=loop.ending,
        )
        listener = Listener(
            settings.listener,
            path=agent.requests.path,
            credentials=agent.credentials,
            accepted=lambda: loop.call(agent.engine.connection_request),
            note=lambda text: agent.journal.note("listener", text),
            clock=lambda: outside.boot().seconds,
            token=outside.token,
        )
        try:
            again = loop.run(agent, listener)
        finally:
            agent.close()
        return BEGIN_ANEW if again else 0

    ended = _serve(settings, talk, may_reload=lambda: can_begin_with(config))
    if ended.reload or ended.status == BEGIN_ANEW:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - this program, again
    if ended.status:
        raise SystemExit(ended.status)


@command("once")
@CONFIG
@click.option("--force", is_flag=True, help="Begin a session even if nothing is due.")
@click.option(
    "--wait",
    type=click.IntRange(0, 86_400),
    default=0,
    metavar="SECONDS",
    help="Wait so long for something to be due.  [default: 0]",
)
def once(config: Path, force: bool, wait: int) -> None:
    """Do what is due, once: a session, then transfers.

    What transfers bring is reported by the next call.  The exit status is 8 if no session came through.

    \b
    Example:
      spkg agent once --config samples/agent/agent.toml --force

    See: docs/agent.md
    """
    settings = load_config(config)

    def talk(keeper: "KeeperClient", passwords: Mapping[str, str], drop: "Drop") -> int:
        from time import sleep

        from spkg.agent.once import Handed, run_once

        outside, handed = _outside(), Handed()
        agent = _assembled(
            settings,
            keeper,
            passwords,
            drop,
            outside,
            show=lambda entry: say(f"{entry['kind']}: {entry['text']}"),
            call=handed.call,
        )
        try:
            run_once(agent.engine, outside, handed=handed, force=force, wait=wait, sleep=sleep)
        finally:
            agent.close()
        return 0

    ended = _serve(settings, talk)
    if ended.status not in {0, BEGIN_ANEW}:
        raise SystemExit(ended.status)


@command("check")
@CONFIG
@click.option("--connect", is_flag=True, help="Also see whether the ACS can be reached; no Inform is sent.")
@JSON
def check(config: Path, connect: bool, as_json: bool) -> None:
    """Check the configuration, and what it names.

    The exit status is 0 with warnings, 3 for the file, and 9 for what can't be used or reached.

    \b
    Example:
      spkg agent check --config samples/agent/agent.toml

    See: docs/agent.md
    """
    settings = load_config(config)
    clock_set = _outside().wall() is not None
    findings = [*findings_of(settings, clock_set=clock_set, environment=_environment())]
    if connect:
        findings += contact_of(settings)
    problems = [text for kind, text in findings if kind == "error"]
    if as_json:
        print_document(
            {
                "schema": "spkg.agent.check/1",
                "findings": [{"kind": kind, "message": text} for kind, text in findings],
            }
        )
    else:
        tones = {"ok": Tone.GOOD, "warning": Tone.PLAIN, "error": Tone.BAD}
        print_lines([(tones[kind], f"{kind}: {text}") for kind, text in findings])
    if problems:
        error = HostError(problems[0] if len(problems) == 1 else f"{len(problems)} problems were found")
        raise DocumentedError(error) if as_json else error


@command("forget")
@CONFIG
def forget(config: Path) -> None:
    """Forget what the ACS has set, as a factory reset of the agent does.

    The next start is as after the first installation.  Refused while the agent is running.

    \b
    Example:
      spkg agent forget --config samples/agent/agent.toml

    See: docs/agent.md
    """
    from spkg.agent.control import NotRunningError, ask_agent
    from spkg.agent.state import STATE_FILE, AgentState

    settings = load_config(config)
    directory = settings.state.directory
    try:
        ask_agent(directory, "status", timeout=10)
    except NotRunningError:
        pass
    else:
        raise RefusedError("the agent is running", hint="stop it first")
    if (directory / STATE_FILE).exists():
        with AgentState(directory / STATE_FILE) as state, state.change() as change:
            change.forget_everything()


def _serve(
    config: "AgentConfig", talk: "Callable[..., int]", *, may_reload: "Callable[[], bool]" = lambda: True
) -> Any:
    """Run the two processes of the agent."""
    from time import monotonic, sleep

    from spkg.agent import service
    from spkg.agent.preload import preload
    from spkg.cli.app import EXIT_DEFECT, exit_status, host_error
    from spkg.common.libraries import missing_library

    def prepared(keeper: "KeeperClient", passwords: Mapping[str, str], drop: "Drop") -> int:
        preload()  # here, since the keeper has no use for it
        return talk(keeper, passwords, drop)

    def died(error: BaseException) -> int:
        """Report what ended the talking process."""
        if isinstance(error, OSError) and not isinstance(error, SpkgError):
            error = host_error(error)
        error = missing_library(error) or error
        if not isinstance(error, SpkgError):
            import traceback

            for line in "".join(traceback.format_exception(error)).splitlines():
                say(line)  # nobody can have a service fail once more with --debug
            say(f"spkg: error: a defect in spkg: {type(error).__name__}: {error}")
            return EXIT_DEFECT
        say(f"spkg: error: {error}")
        if error.hint:
            say(f"spkg: hint: {error.hint}")
        return exit_status(error)

    return service.serve(
        config,
        prepared,
        program=(sys.executable, "-m", "spkg"),
        environment=_environment(),
        clock=monotonic,
        timestamp=lambda: timestamp(no_clock=False),
        sleep=sleep,
        died=died,
        may_reload=may_reload,
    )


def _environment() -> dict[str, str]:
    """Return what the programs of the device find in their environment."""
    return {name: os.environ[name] for name in PASSED_ON if name in os.environ}


def _assembled(
    config: "AgentConfig",
    keeper: "KeeperClient",
    passwords: Mapping[str, str],
    drop: "Drop",
    outside: "Outside",
    *,
    show: "Callable[[Document], object]",
    call: "Callable[[Callable[[], object]], None]",
    look: "Callable[[], object]" = lambda: None,
    alive: "Callable[[], object]" = lambda: None,
    ending: "Callable[[], bool]" = lambda: False,
) -> "Agent":
    """Read all files while that is allowed, give the rights up, and put the agent together."""
    from spkg.agent.assembly import assemble
    from spkg.agent.clients import clients_of
    from spkg.device import load_device

    device = load_device(config.device.file)
    options = _options(config, device)
    client = clients_of(config.acs, lambda: outside.boot().seconds, lambda: outside.wall() is not None)
    return assemble(
        config,
        device,
        keeper=keeper,
        client=client,
        secrets=passwords,
        options=options,
        outside=outside,
        rights=drop(),
        show=show,
        call=call,
        look=look,
        alive=alive,
        ending=ending,
    )


def _options(
    config: "AgentConfig", device: "Device"
) -> "Callable[[Callable[[str], object]], Options] | None":
    """Return what opens the Options of the device; None without vouchers."""
    settings = config.vouchers
    if settings is None:
        return None
    from importlib import import_module

    module, name = OPTION_DESK
    opened: Callable[..., Options] = getattr(import_module(module), name)
    notes: list[Callable[[str], object]] = []
    desk = opened(settings.store, settings.trust, device, lambda text: [note(text) for note in notes])

    def with_notes(note: "Callable[[str], object]") -> "Options":
        notes.append(note)
        return desk

    return with_notes


def _outside() -> "Outside":
    """Return the clocks and the chance."""
    from random import SystemRandom
    from secrets import token_urlsafe
    from time import time

    from spkg.agent.clock import Outside, is_synchronized

    return Outside(
        clock=time,
        boot=this_boot,
        draw=SystemRandom().random,
        token=lambda: token_urlsafe(18),
        synchronized=is_synchronized,
    )
