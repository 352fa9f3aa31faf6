"""The names of the parameters that the agent itself acts on, without the root (Table 61)."""

from typing import Final

__all__ = [
    "ACS_PASSWORD",
    "ACS_URL",
    "ACS_USERNAME",
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
