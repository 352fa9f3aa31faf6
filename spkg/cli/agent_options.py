"""What the ``spkg agent`` commands share."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from spkg.cli.console import warn
from spkg.cli.options import FILE
from spkg.errors import HostError, SpkgError, os_problem

if TYPE_CHECKING:
    from spkg.agent.settings import AgentConfig

__all__ = ["CONFIG", "can_begin_with", "load_config"]

DEFAULT_CONFIG: Final = "/etc/spkg/agent.toml"
CONFIG = click.option(
    "--config",
    type=FILE,
    default=DEFAULT_CONFIG,
    show_default=True,
    metavar="FILE",
    help="Use this configuration.",
)


def load_config(path: Path) -> "AgentConfig":
    """Return the configuration in a file."""
    from spkg.agent.config import load_agent_config

    try:
        return load_agent_config(path)
    except FileNotFoundError as exc:
        hint = "copy samples/agent/agent.toml there and change it, or name another file with --config"
        raise HostError(os_problem(exc), hint=hint) from exc


def can_begin_with(config: Path) -> bool:
    """Whether an agent can begin with this configuration; where it can't, say why."""
    from spkg.agent.service import passwords_of
    from spkg.device import load_device

    try:
        settings = load_config(config)
        load_device(settings.device.file)
        passwords_of(settings)
    except (SpkgError, OSError) as exc:
        why = os_problem(exc) if isinstance(exc, OSError) and not isinstance(exc, SpkgError) else str(exc)
        warn(f"the configuration is not read again, and what was read before counts: {why}")
        return False
    return True
