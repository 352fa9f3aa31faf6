"""The Options of a gateway whose agent runs: vouchers taken, ends awaited, EnabledOptions shown (C.2)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from spkg.common.digests import Digest
from spkg.common.findings import Finding
from spkg.cwmp.faults import method_fault
from spkg.device import Device
from spkg.errors import NO_ROOM, HostError, RefusedError, SpkgError
from spkg.trust.policy import VOUCHER_PURPOSES, Policy
from spkg.trust.trust_files import load_trust
from vouchers.cpe.option_life import OptionState
from vouchers.cpe.rpc import answer_rpc, take_vouchers
from vouchers.cpe.store import OptionStore
from vouchers.cpe.store_tables import EPOCH
from vouchers.signature.shape import MAX_VOUCHER, unwrap
from vouchers.signature.verify import Verifier

__all__ = ["OptionDesk", "open_desk"]


@dataclass(frozen=True, kw_only=True)
class OptionDesk:
    """Answers what an ACS asks about Options, and knows when they change by themselves.

    It opens the store for each question, so that commands can use it, too.
    """

    store: Path
    verifier: Verifier
    device: Device
    findings: tuple[Finding, ...]
    """What was left out of the trusted certificates, and why."""
    note: Callable[[str], object]

    def answer(self, octets: bytes, now: datetime | None, provisioning_code: str) -> bytes | None:
        """Return the envelope that answers SetVouchers or GetOptions; a fault is an answer, too.

        Args:
            octets: The envelope of the request.
            now: The network time; None if it is not established.
            provisioning_code: The ProvisioningCode as it is now.
        """
        device = self._device(provisioning_code)
        return answer_rpc(octets, self.store, self.verifier, device, now, note=self.note)

    def take(self, octets: bytes, now: datetime | None, provisioning_code: str) -> tuple[int, str] | None:
        """Have a voucher take effect as SetVouchers does; return the fault that it would answer.

        Args:
            octets: The voucher: XML, or that in base64.
            now: The network time; None if it is not established.
            provisioning_code: The ProvisioningCode as it is now.
        """
        try:
            voucher = unwrap(octets)
            if len(voucher) > MAX_VOUCHER:
                problem = f"expected a voucher of at most {MAX_VOUCHER} bytes, got {len(voucher)}"
                raise RefusedError(problem, reason=NO_ROOM)
            with OptionStore(self.store, create=True) as store:
                device = self._device(provisioning_code)
                store.observe(device.provisioning_code, now)
                take_vouchers([("the voucher", voucher)], store, self.verifier, device, now)
        except SpkgError as exc:
            if isinstance(exc, HostError):
                self.note(str(exc))
            return int(method_fault(exc, "SetVouchers")), str(exc)
        return None

    def options(self, now: datetime | None, provisioning_code: str) -> list[OptionState]:
        """Return the state of all Options, without changing anything.

        Raises:
            HostError: The store can't be read.
        """
        with self._opened() as store:
            at = now or store.last_time() or EPOCH
            return store.options(
                at,
                self.device.supported_options,
                real=now is not None,
                provisioning_code=provisioning_code or None,
            )

    def enabled(self, now: datetime | None, provisioning_code: str) -> str:
        """Return EnabledOptions: the names of what GetOptions reports as enabled, by commas (Table 61).

        Raises:
            HostError: The store can't be read.
        """
        return ",".join(one.name for one in self.options(now, provisioning_code) if one.enabled)

    def next_change(self, now: datetime, provisioning_code: str) -> datetime | None:
        """Return when the next Option begins or ends without a voucher; None if none does.

        Raises:
            HostError: The store can't be read.
        """
        with self._opened() as store:
            return store.next_change(
                now,
                self.device.supported_options,
                real=True,
                provisioning_code=provisioning_code or None,
            )

    def observe(self, now: datetime | None, provisioning_code: str) -> None:
        """Store that a time has come, or another provider, so that it is final (C.2).

        Raises:
            HostError: The store can't be written.
        """
        if self.store.exists():
            with OptionStore(self.store) as store:
                store.observe(provisioning_code or None, now)

    def _device(self, provisioning_code: str) -> Device:
        return replace(self.device, provisioning_code=provisioning_code or None)

    def _opened(self) -> OptionStore:
        """Return the store; an empty one if no voucher has come yet."""
        return OptionStore(self.store) if self.store.exists() else OptionStore(None, create=True)


def open_desk(
    store: Path, trust: Sequence[Path], device: Device, note: Callable[[str], object]
) -> OptionDesk:
    """Return the desk for a device.

    Args:
        store: The file of its Options; it is created with the first voucher.
        trust: Files and directories of certificates whose vouchers count.
        device: The device.
        note: Called with a message if the store causes a fault.

    Raises:
        HostError: The trusted certificates can't be used.
        OSError: They can't be read.
    """
    found = load_trust(trust)
    policy = Policy(
        anchors=found.certificates,
        crls=found.crls,
        purposes=VOUCHER_PURPOSES,
        digests=frozenset({Digest.SHA256}),
    )
    return OptionDesk(
        store=store, verifier=Verifier(policy), device=device, findings=found.findings, note=note
    )
