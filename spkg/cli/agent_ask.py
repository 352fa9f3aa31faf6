"""``spkg agent`` commands that have the running agent do something."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from spkg.cli.agent_options import CONFIG, load_config
from spkg.cli.app import command
from spkg.cli.console import print_document, print_lines, say
from spkg.cli.options import JSON
from spkg.errors import UsageError
from spkg.report.lines import Tone

__all__ = ["discover", "inform", "kick", "request_download", "set_parameters", "trace"]


@command("inform")
@CONFIG
@click.option("--event", metavar="EVENT", help="Report this event, such as 'X 00D09E RadarHit'.")
def inform(config: Path, event: str | None) -> None:
    """Have the running agent begin a session now.

    \b
    Example:
      spkg agent inform --event 'X 00D09E RadarHit'

    See: docs/agent.md
    """
    from spkg.agent.control import ask_agent

    stated: dict[str, Any] = {} if event is None else {"event": event}
    ask_agent(load_config(config).state.directory, "inform", **stated)


@command("set")
@CONFIG
@click.argument("values", nargs=-1, required=True, metavar="NAME=VALUE...")
def set_parameters(config: Path, values: tuple[str, ...]) -> None:
    """Set parameters as the subscriber, one after the other.

    Refused where the access list of a parameter does not name "Subscriber".  The ACS learns of it as of any
    other change.

    \b
    Example:
      spkg agent set InternetGatewayDevice.DeviceConfig.PersistentData=x

    See: docs/agent.md
    """
    from spkg.agent.control import ask_agent

    ask_agent(load_config(config).state.directory, "set", values=_stated(values))


@command("request-download")
@CONFIG
@click.argument("file_type", metavar="FILETYPE")
@click.option(
    "--arg", "arguments", multiple=True, metavar="NAME=VALUE", help="Such as Version=1.2.  Repeatable."
)
def request_download(config: Path, file_type: str, arguments: tuple[str, ...]) -> None:
    """Ask the ACS for a Download; refused where it has no RequestDownload.

    \b
    Example:
      spkg agent request-download '2 Web Content' --arg Version=1.2

    See: docs/agent.md
    """
    from spkg.agent.control import ask_agent

    ask_agent(
        load_config(config).state.directory,
        "request-download",
        file_type=file_type,
        arguments=_stated(arguments, "--arg: "),
    )


@command("kick")
@CONFIG
@click.option("--command", "word", required=True, metavar="C", help="The Command of Kicked.")
@click.option("--arg", default="", metavar="A", help="Its Arg.")
@click.option("--next", "next_url", default="", metavar="URL", help="Its Next: where the browser goes then.")
@click.option("--referer", default="", metavar="R", help="Its Referer.")
@JSON
def kick(config: Path, word: str, arg: str, next_url: str, referer: str, as_json: bool) -> None:
    """Report a kick (Appendix D) to the ACS, and print NextURL.

    This is what the web server of the gateway calls.  Refused where the ACS has no Kicked.

    \b
    Example:
      spkg agent kick --command activate --next http://192.168.1.1/done

    See: docs/agent.md
    """
    from spkg.agent.control import ask_agent

    found = ask_agent(
        load_config(config).state.directory,
        "kick",
        command=word,
        referer=referer,
        arg=arg,
        next=next_url,
    )
    if as_json:
        print_document(found)
    else:
        print_lines([(Tone.PLAIN, found["next_url"])])


@command("discover")
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Give it to this agent.")
@click.option(
    "--option-43", "option", required=True, metavar="HEX", help="What DHCP delivered, in hexadecimal."
)
@JSON
def discover(config: Path | None, option: str, as_json: bool) -> None:
    """Show what DHCP option 43 says about the ACS; with --config, use it.

    Used only where the configuration has dhcp = true, and no URL of its own.

    \b
    Example:
      spkg agent discover --option-43 010f687474703a2f2f6163732f63776d70

    See: docs/agent.md
    """
    from spkg.agent.discovery import read_option_43

    found = read_option_43(option)
    document = {
        "schema": "spkg.agent.discover/1",
        "url": found.url,
        "provisioning_code": found.provisioning_code,
        "periodic_inform_enable": found.periodic_inform_enable,
        "periodic_inform_interval": found.periodic_inform_interval,
    }
    if config is not None:
        from spkg.agent.control import ask_agent

        ask_agent(load_config(config).state.directory, "discover", option_43=option)
    if as_json:
        print_document(document)
        return
    names = {
        "url": "ACS URL",
        "provisioning_code": "ProvisioningCode",
        "periodic_inform_enable": "PeriodicInformEnable",
        "periodic_inform_interval": "PeriodicInformInterval",
    }
    stated = [(Tone.PLAIN, f"{names[key]}: {document[key]}") for key in names if document[key] is not None]
    print_lines(stated or [(Tone.PLAIN, "nothing about an ACS")])


@command("trace")
@CONFIG
@click.argument("switch", type=click.Choice(["on", "off"]))
def trace(config: Path, switch: str) -> None:
    """Keep every envelope in the log, or stop that.

    Passwords are masked.  A restart of the agent stops it, too.

    \b
    Example:
      spkg agent trace on

    See: docs/agent.md
    """
    from spkg.agent.control import ask_agent

    ask_agent(load_config(config).state.directory, "trace", on=switch == "on")
    say(f"spkg: tracing is {switch}")


def _stated(words: Sequence[str], where: str = "") -> dict[str, str]:
    """Return the values of words such as ``NAME=VALUE`` by their names.

    Raises:
        UsageError: A word is another one, or a name is given twice.
    """
    found: dict[str, str] = {}
    for one in words:
        name, equals, value = one.partition("=")
        if not equals or not name:
            raise UsageError(f"{where}expected NAME=VALUE, got {one!r}")
        if name in found:
            raise UsageError(f"{where}{name} is given twice")
        found[name] = value
    return found
