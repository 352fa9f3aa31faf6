"""A gateway with Options to which an ACS without SetVouchers sends vouchers by Download."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from spkg.device import Device
from tests.support.acs import ScriptedAcs
from tests.support.acs_calls import ROOT
from tests.support.agent_kit import APPLIED, DEVICE, FakeKeeper, Life
from tests.support.kit import root
from vouchers.cpe.desk import open_desk

__all__ = ["FETCHED", "GATEWAY", "FaultTold", "Gateway", "fetch_told", "gateway", "told"]

GATEWAY: Final = replace(DEVICE, supported_options=("QoS", "IPTV"))
FETCHED: Final = {**APPLIED, "status": "fetched", "reboot_required": False}
VOUCHERS: Final = '[vouchers]\nstore = "options.db"\ntrust = ["ca.pem"]\nclock = "build-date"\n'


@dataclass(frozen=True, kw_only=True)
class FaultTold:
    """What a TransferComplete says."""

    key: str | None
    code: str | None
    text: str | None


class Gateway(Life):
    """A gateway with Options."""

    keeper: FakeKeeper

    def enabled(self) -> str:
        """Return EnabledOptions."""
        (value,) = self.agent.tree.get_values([f"{ROOT}DeviceInfo.EnabledOptions"])
        return value.value


@contextmanager
def gateway(place: Path, acs: ScriptedAcs, device: Device = GATEWAY, **more: Any) -> Iterator[Gateway]:
    """Give a gateway that has told of its start."""
    (place / "ca.pem").write_bytes(root().pem)
    (place / "device.toml").write_text("")

    def opened(note: Callable[[str], object]) -> Any:
        return open_desk(place / "options.db", [place / "ca.pem"], device, note)

    alive = Gateway(place, acs, VOUCHERS, **{"device": device, "options": opened, **more})
    try:
        alive.start()
        yield alive
    finally:
        alive.agent.close()


def fetch_told(device: Gateway, file: bytes) -> FaultTold:
    """Let a Download fetch a file, and return what the ACS is told."""
    device.run(seconds=5)
    device.keeper.file = file
    device.keeper.end(device.world.boot_id, FETCHED)
    device.run(seconds=5)
    return told(device)


def told(device: Gateway) -> FaultTold:
    """Return what the last TransferComplete says."""
    post = [one for one in device.acs.posts if one.method == "TransferComplete"][-1]
    return FaultTold(key=post.text("CommandKey"), code=post.text("FaultCode"), text=post.text("FaultString"))
