"""The states of an installation whose commands take effect one by one (TR-069 E.4.7, Figure 9)."""

from enum import Enum

__all__ = ["InstallationState"]


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
