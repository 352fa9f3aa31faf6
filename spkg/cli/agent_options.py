"""What the ``spkg agent`` commands share."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from spkg.cli.options import FILE

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

    return load_agent_config(path)
