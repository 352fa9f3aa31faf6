"""What the ``spkg agent`` commands share."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from spkg.cli.options import FILE
from spkg.errors import HostError, os_problem

if TYPE_CHECKING:
    from spkg.agent.settings import AgentConfig

__all__ = ["CONFIG", "load_config"]

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
