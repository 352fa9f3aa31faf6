"""The states of an installation to which commands lead (TR-069 E.4.7, Figure 9)."""

from spkg.format.commands import End, Format, MoveCommand, PayloadCommand, Record, RemoveCommand
from spkg.format.fields import UNSAFE
from spkg.format.installation_state import InstallationState

__all__ = ["state_after"]


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
