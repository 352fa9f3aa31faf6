"""Looking at the providers of a configuration: can each be reached, and what is wrong with its answers?"""

from collections.abc import Callable, Mapping
from socket import socket
from typing import Final

from spkg.agent.keeper_programs import KeeperPrograms
from spkg.agent.settings import AgentConfig
from spkg.agent.state import AgentState
from spkg.agent.tree.builtin import TreeSurroundings
from spkg.agent.tree.sources import open_sources
from spkg.agent.tree.tree import Tree
from spkg.device import Device

__all__ = ["provider_problems"]

ENDING_TIME: Final = 1.0
"""How long providers that were started here may take to end, in seconds."""
ENDING_TICK: Final = 0.01


def provider_problems(
    config: AgentConfig,
    device: Device,
    *,
    environment: Mapping[str, str],
    clock: Callable[[], float],
    sleep: Callable[[float], object],
) -> tuple[str, ...]:
    """Return what is wrong with the providers; none of them is asked to change anything.

    Args:
        config: The configuration.
        device: The device file.
        environment: What the programs that are providers find in their environment.
        clock: Returns the time in seconds; it never jumps.
        sleep: Waits so many seconds.
    """
    programs = KeeperPrograms(environment)
    commands = {one.name: one.command for one in config.providers}

    def start(name: str) -> socket:
        return programs.start_provider(name, commands[name])

    around = TreeSurroundings(
        boot_id="", boot_clock=clock, address=str, connection_request_url=str, note=lambda _text: None
    )
    with AgentState(None) as state:
        sources = open_sources(config, start, lambda _notice: None, clock)
        tree = Tree(config, device, state, around, sources=sources, clock=clock)
        try:
            return tree.problems()
        finally:
            tree.close()
            programs.end_providers()
            until = clock() + ENDING_TIME
            while [*programs.ended()] or (programs.are_running and clock() < until):
                sleep(ENDING_TICK)
