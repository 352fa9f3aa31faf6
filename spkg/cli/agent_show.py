"""``spkg agent`` commands that show: status, config, parameters, transfers, log, support."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from spkg.cli.agent_options import CONFIG, load_config
from spkg.cli.app import command
from spkg.cli.console import print_document, print_line, print_lines
from spkg.cli.options import FILE, FORCE, JSON
from spkg.common.documents import Document
from spkg.errors import SpkgError

if TYPE_CHECKING:
    from spkg.agent.settings import AgentConfig

__all__ = ["config_in_force", "log_of_agent", "parameters", "status_of_agent", "support", "transfers"]

SUPPORT_QUESTIONS: Final[Mapping[str, dict[str, Any]]] = {
    "config": {},
    "parameters": {"path": ""},
    "transfers": {},
}
"""What else the running agent is asked for the archive, with its arguments."""
PAGE_ENTRIES: Final = 50
"""How many entries of the log are on the page."""


@command("status")
@CONFIG
@click.option("--html", type=FILE, metavar="FILE", help="Write a self-contained page to FILE.")
@FORCE
@JSON
def status_of_agent(config: Path, html: Path | None, force: bool, as_json: bool) -> None:
    """Show whether the agent is in touch with its ACS, and why not.

    Sessions, waiting events, transfers, a package on trial, Options, and settings that are unsafe.  The exit
    status is 0 whether it is in touch or not.

    \b
    Example:
      spkg agent status --config samples/agent/agent.toml

    See: docs/agent.md
    """
    from spkg.report.agent import agent_status_lines

    settings = load_config(config)
    status = current_status(settings)
    if html is not None:
        from spkg.cli.arguments import check_output, timestamp
        from spkg.common.atomic_output import new_file
        from spkg.report.agent_page import agent_page

        check_output(html, force=force, option="--html")
        page = agent_page(status, current_log(settings, PAGE_ENTRIES), timestamp(no_clock=False))
        with new_file(html, force=force) as file:
            file.write(page.encode())
    if as_json:
        print_document(status)
    else:
        print_lines(agent_status_lines(status))


@command("config")
@CONFIG
@JSON
def config_in_force(config: Path, as_json: bool) -> None:
    """Show the settings in force, and where each comes from.

    From the file, the ACS, or DHCP.  Passwords are only shown as set or not set.

    \b
    Example:
      spkg agent config --config samples/agent/agent.toml

    See: docs/agent.md
    """
    from spkg.agent.control import ask_agent
    from spkg.report.agent import agent_config_lines

    found = ask_agent(load_config(config).state.directory, "config")
    if as_json:
        print_document(found)
    else:
        print_lines(agent_config_lines(found["values"]))


@command("parameters")
@CONFIG
@click.argument("path", default="")
@click.option("--attributes", is_flag=True, help="Also show notification and access list.")
@JSON
def parameters(config: Path, path: str, attributes: bool, as_json: bool) -> None:
    """Show parameters as GetParameterValues answers them.

    PATH is a full name, or a partial path, which ends in a dot.  [default: all]

    \b
    Example:
      spkg agent parameters --config samples/agent/agent.toml InternetGatewayDevice.DeviceInfo.

    See: docs/agent.md
    """
    from spkg.agent.control import ask_agent
    from spkg.report.agent import parameter_lines

    found = ask_agent(load_config(config).state.directory, "parameters", path=path)
    if as_json:
        print_document(found)
    else:
        print_lines(parameter_lines(found["parameters"], attributes=attributes))


@command("transfers")
@CONFIG
@JSON
def transfers(config: Path, as_json: bool) -> None:
    """Show transfers that are queued, running, or still to be reported.

    \b
    Example:
      spkg agent transfers --config samples/agent/agent.toml

    See: docs/agent.md
    """
    from spkg.agent.control import ask_agent
    from spkg.report.agent import transfer_lines

    found = ask_agent(load_config(config).state.directory, "transfers")
    if as_json:
        print_document(found)
    else:
        print_lines(transfer_lines(found["transfers"]))


@command("log")
@CONFIG
@click.option(
    "-n",
    "count",
    type=click.IntRange(1, 10_000),
    default=100,
    show_default=True,
    help="Show N entries.",
    metavar="N",
)
@click.option("--follow", is_flag=True, help="Go on with each new entry until interrupted.")
@JSON
def log_of_agent(config: Path, count: int, follow: bool, as_json: bool) -> None:
    """Show what the agent did, the oldest first.

    Of earlier runs, and of an agent that is not running, what was kept on disk.  With --json, an object a
    line.

    \b
    Example:
      spkg agent log --config samples/agent/agent.toml -n 20

    See: docs/agent.md
    """
    from spkg.report.agent import agent_log_lines

    settings = load_config(config)

    def show(entries: list[Document]) -> None:
        if as_json:
            for entry in entries:
                print_line(entry)
        else:
            print_lines(agent_log_lines(entries))

    show(current_log(settings, count))
    if follow:
        from spkg.agent.control import follow_agent

        for entry in follow_agent(settings.state.directory):
            show([entry])


@command("support")
@CONFIG
@click.option("-o", "--output", required=True, type=FILE, metavar="FILE", help="Write the archive to FILE.")
@FORCE
def support(config: Path, output: Path, force: bool) -> None:
    """Write an archive for support: status, settings, log, traces.

    A .tar.gz of JSON documents.  Passwords are masked in all of them.

    \b
    Example:
      spkg agent support --config samples/agent/agent.toml -o support.tar.gz

    See: docs/agent.md
    """
    import json
    import tarfile
    from io import BytesIO

    from spkg.agent.control import NotRunningError, ask_agent
    from spkg.cli.arguments import check_output
    from spkg.common.atomic_output import new_file
    from spkg.install.status import root_status
    from spkg.report.status import status_document

    check_output(output, force=force)
    settings = load_config(config)
    directory = settings.state.directory
    parts: dict[str, list[Document]] = {
        "status.json": [current_status(settings)],
        "log.ndjson": current_log(settings, 10_000),
    }
    for question, given in SUPPORT_QUESTIONS.items():
        try:
            parts[f"{question}.json"] = [ask_agent(directory, question, **given)]
        except NotRunningError as exc:
            parts["not-running.json"] = [{"message": str(exc)}]
        except SpkgError as exc:  # such as a provider that can't be reached: the rest is wanted all the more
            parts[f"{question}-problem.json"] = [{"message": str(exc)}]
    try:
        parts["root.json"] = [status_document(root_status(settings.install.root), None)]
    except Exception as exc:  # noqa: BLE001 - whatever is wrong with the root, the rest is worth having
        parts["root-problem.json"] = [{"message": str(exc)}]
    with new_file(output, force=force) as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, documents in parts.items():
            octets = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in documents).encode()
            entry = tarfile.TarInfo(f"support/{name}")
            entry.size = len(octets)
            archive.addfile(entry, BytesIO(octets))


def current_status(config: "AgentConfig") -> Document:
    """Return the status of the agent, also of one that is not running."""
    from spkg.agent.control import NotRunningError, ask_agent
    from spkg.agent.resting import resting_status

    try:
        return ask_agent(config.state.directory, "status", timeout=10)
    except NotRunningError:
        return resting_status(config)


def current_log(config: "AgentConfig", count: int) -> list[Document]:
    """Return the last entries of the log, also of an agent that is not running."""
    from spkg.agent.control import NotRunningError, ask_agent
    from spkg.agent.journal import LOG_FILE, read_log

    try:
        found: list[Document] = ask_agent(config.state.directory, "log", timeout=10, count=count)["entries"]
    except NotRunningError:
        found = [*read_log(config.state.directory / LOG_FILE, config.state.log_size)][-count:]
    return found
