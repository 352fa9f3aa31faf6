"""What the tests of the agent share: settings as they are without a word in the configuration."""

from dataclasses import replace
from typing import Any

from spkg.agent.settings import AcsSettings, BeforeBootClock

__all__ = ["acs_settings"]

ACS = AcsSettings(
    url=None,
    username=None,
    password_file=None,
    ca_bundle=None,
    client_certificate=None,
    client_key=None,
    dhcp=False,
    lock_url=False,
    timeout=30,
    retry_limit=11,
    pipelining=False,
    outstanding=1,
    change_interval=60,
    before_boot_clock=BeforeBootClock.REFUSE,
    unsafe_downgrade=False,
    proxy=None,
)


def acs_settings(**stated: Any) -> AcsSettings:
    """Return how an ACS is reached; what is not stated is as by default."""
    return replace(ACS, **stated)
