"""How an agent can be: in touch and quiet, or with everything that a status can have."""

from typing import Any

__all__ = ["FULL", "STATUS"]

STATUS: dict[str, Any] = {
    "schema": "spkg.agent.status/1",
    "running": True,
    "in_touch": True,
    "reason": None,
    "acs_url": "https://acs.example.net/cwmp",
    "device": {
        "oui": "00D09E",
        "product_class": "Gateway",
        "serial_number": "123456789",
        "software_version": "6.3",
    },
    "last_session": {"time": "2026-01-31T12:00:00Z", "events": ["2 PERIODIC"], "reason": None},
    "next_session": "2026-01-31T12:10:00Z",
    "retry_count": 0,
    "acs_methods": None,
    "events": [],
    "transfers": [],
    "trial": None,
    "parameters_on_trial": [],
    "connection_request_url": None,
    "options": [],
    "unsafe": [],
}
FULL: dict[str, Any] = STATUS | {
    "in_touch": False,
    "reason": "login failed",
    "last_session": {"time": None, "events": [], "reason": "login failed"},
    "retry_count": 2,
    "acs_methods": ["Inform", "TransferComplete"],
    "events": [{"code": "M Reboot", "command_key": "k"}, {"code": "1 BOOT", "command_key": ""}],
    "transfers": [
        {
            "command_key": "d",
            "direction": "Download",
            "state": 1,
            "url": "http://f/p",
            "due": "2026-02-01T00:00:00Z",
        },
        {"command_key": "", "direction": "Upload", "state": 2, "url": "http://f/u", "due": None},
    ],
    "trial": {"package": "ab" * 32, "until": "2026-01-31T12:20:00Z", "boots_left": 2},
    "parameters_on_trial": ["ManagementServer.URL"],
    "connection_request_url": "http://192.0.2.1:7547/x",
    "options": [
        {"name": "IPTV", "state": "enabled", "expires": "2027-01-01T00:00:00Z"},
        {"name": "QoS", "state": "disabled", "expires": None},
    ],
    "unsafe": ["everybody on the path can be the ACS"],
}
