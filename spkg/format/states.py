"""The states of an installation whose commands take effect one by one (TR-069 E.4.7, Figure 9)."""

from enum import Enum

from spkg.format.commands import End, Format, MoveCommand, PayloadCommand, Record, RemoveCommand
from spkg.format.fields import UNSAFE

__all__ = ["InstallationState", "state_after"]


class InstallationState(Enum):
    """How serious it would be if the installation ended now."""

    INITIAL = "initial"
    """Nothing was removed."""
    RECOVERABLE = "recoverable"
    """Something was removed, and the device works without it."""
    UNRECOVERABLE = "unrecoverable"
    """The device would have to be recovered."""
    INSTALLED = "installed"
    """The installation is complete."""


def state_after(state: InstallationState, record: Record) -> InstallationState:
    """Return the state that a command leads to; it is entered before the command is carried out."""
    match record:
        case _ if state is InstallationState.INSTALLED:
            return state
        case End():
            return InstallationState.INSTALLED
        case Format():
            return InstallationState.UNRECOVERABLE
        case PayloadCommand() | MoveCommand() | RemoveCommand() if record.flags & UNSAFE:
            return InstallationState.UNRECOVERABLE
        case RemoveCommand() if state is InstallationState.INITIAL:
            return InstallationState.RECOVERABLE
        case _:
            return state
