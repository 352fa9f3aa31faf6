"""The names of the parameters that the agent itself acts on, without the root (Table 61)."""

from typing import Final

__all__ = [
    "ACS_PASSWORD",
    "ACS_URL",
    "ACS_USERNAME",
    "OWN_SETTINGS",
    "PARAMETER_KEY",
    "PROVISIONING_CODE",
    "REQUEST_PASSWORD",
    "REQUEST_USERNAME",
]

ACS_URL: Final = "ManagementServer.URL"
ACS_USERNAME: Final = "ManagementServer.Username"
ACS_PASSWORD: Final = "ManagementServer.Password"
REQUEST_USERNAME: Final = "ManagementServer.ConnectionRequestUsername"
REQUEST_PASSWORD: Final = "ManagementServer.ConnectionRequestPassword"
PARAMETER_KEY: Final = "ManagementServer.ParameterKey"
PROVISIONING_CODE: Final = "DeviceInfo.ProvisioningCode"
OWN_SETTINGS: Final = (
    PROVISIONING_CODE,
    ACS_URL,
    ACS_USERNAME,
    ACS_PASSWORD,
    "ManagementServer.PeriodicInformEnable",
    "ManagementServer.PeriodicInformInterval",
    "ManagementServer.PeriodicInformTime",
    REQUEST_USERNAME,
    REQUEST_PASSWORD,
    "ManagementServer.UpgradesManaged",
    "DeviceConfig.PersistentData",
)
"""Those that can be set: what the agent keeps itself, and so can set back."""
