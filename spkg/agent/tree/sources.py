"""Opening the providers of a configuration."""

from collections.abc import Callable
from socket import socket
from typing import assert_never

from spkg.agent.settings import AgentConfig, ProviderKind, ProviderSettings
from spkg.agent.tree.channel import LineChannel, ProviderChannel, ScriptChannel, socket_connector
from spkg.agent.tree.files import FileProvider
from spkg.agent.tree.provider import ParameterSource, Provider, ProviderNotice, read_notice

__all__ = ["open_sources"]


def open_sources(
    config: AgentConfig,
    start: Callable[[str], socket],
    notice: Callable[[ProviderNotice], None],
    clock: Callable[[], float],
) -> tuple[ParameterSource, ...]:
    """Return the providers; none of them is reached before it is needed.

    Args:
        config: The configuration.
        start: Starts the program of a provider by its name, as the keeper does, and returns the socket that
            is its standard input and output.
        notice: Called with what providers say unasked, in a thread of theirs.
        clock: Returns the time in seconds; it never jumps.
    """
    root = config.device.root

    def opened(settings: ProviderSettings) -> ParameterSource:
        name, owned = settings.name, tuple(f"{root}.{path}" for path in settings.paths)
        channel: ProviderChannel
        match settings.kind:
            case ProviderKind.FILE:
                assert settings.path is not None  # the configuration has it
                return FileProvider(name, owned, settings.path)
            case ProviderKind.SCRIPT:
                channel = ScriptChannel(lambda: start(name), clock)
            case ProviderKind.SOCKET:
                assert settings.path is not None  # likewise
                path = settings.path
                channel = LineChannel(
                    socket_connector(path), lambda said: notice(read_notice(name, said)), clock
                )
            case ProviderKind.COMMAND:
                channel = LineChannel(
                    lambda: start(name), lambda said: notice(read_notice(name, said)), clock
                )
            case _:
                assert_never(settings.kind)
        return Provider(name, owned, channel)

    return tuple(opened(one) for one in config.providers)
