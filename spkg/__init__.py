"""Signed packages of TR-069 (May 2004), Appendix E: build, sign, verify, compare, install.

The stages are types, and each can only be made from the one before::

    bytes -> Package -> TrustedPackage -> Plan -> Applied

    with spkg.open_package(path) as (package, payload):
        trusted = spkg.verify_package(package, policy, at=now)
        done = spkg.apply_package(trusted, payload, root, request, clock=time.monotonic)

``apply_package`` does what the command line does: a confined child process changes the root, and the caller's
process handles every outcome.  Names are imported when they are first used, so a program loads only what it
needs.

========== =========================================================================================
build      load_manifest, plan_build, build_package, new_file, sign_package, open_signed
provenance load_sbom, carry_sbom, describe_package, attest_package, read_envelope, verify_attestation
read       open_package, open_source (a file, a URL or a pipe), inspect_package, compare_packages
trust      Policy, load_trust, load_policy_settings, verify_package, explain_package, check_payload
take apart extract_package, unsafe_extract_package, fetch_package
install    load_device, ApplyRequest, preview_package, apply_package, recover_root, root_status
go back    BackUp, Boot, confirm, rollback, preview_rollback, guard_trial, root_events
errors     SpkgError and its subclasses; transfer_fault and method_fault give their FaultCodes
========== =========================================================================================

An Identity is a Signatory whose key is RSA, as packages need; vouchers take any Signatory.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

__version__: Final = "0.2.0"
"""The version of both packages, and of the distribution."""

if TYPE_CHECKING:
    from spkg.build.attest import PackageFacts, attest_package, describe_package
    from spkg.build.build_plan import BuildPlan, plan_build
    from spkg.build.builder import BuildReport, build_package
    from spkg.build.compare import Difference, compare_packages
    from spkg.build.extract import extract_package, unsafe_extract_package
    from spkg.build.manifest import Manifest, load_manifest
    from spkg.build.sbom import CarriedSbom, Sbom, carry_sbom, load_sbom
    from spkg.build.sign import open_signed, sign_package
    from spkg.common.atomic_output import new_file
    from spkg.common.boots import Boot
    from spkg.common.child_process import ChildKilledError
    from spkg.common.digests import Digest
    from spkg.cwmp.faults import UnknownMethodError, method_fault, transfer_fault
    from spkg.device import Device, FileHandler, load_device
    from spkg.download.fetch import fetch_package
    from spkg.download.request_headers import load_headers
    from spkg.download.source import open_source
    from spkg.download.timeline import Timeline, draw_timeline
    from spkg.download.timeouts import Timeouts
    from spkg.download.url import Login
    from spkg.errors import (
        FailedError,
        FormatError,
        HostError,
        RefusedError,
        SpkgError,
        TransferError,
        UnsafeError,
        UntrustedError,
        UsageError,
    )
    from spkg.format.package import Package, Survey, survey
    from spkg.install.applied import Applied, ApplyRequest
    from spkg.install.events import EventKind, RolledBackPackage, RootEvent, Trigger
    from spkg.install.guard import guard_trial
    from spkg.install.history import InstalledPackage
    from spkg.install.hooks import HookRun
    from spkg.install.plan import Plan, plan_installation
    from spkg.install.rollback import Confirmed, RolledBack
    from spkg.install.root import Root
    from spkg.install.root_tree import RootTree
    from spkg.install.status import RootState, RootStatus, root_events, root_status
    from spkg.install.supervised_recovery import Recovered, recover_root
    from spkg.install.supervisor import Advance, Note, apply_package, preview_package
    from spkg.install.trial import BackUp, Trial
    from spkg.install.trial_end import confirm, preview_rollback, rollback
    from spkg.trust.certificate_files import load_certificates, load_revocation_lists
    from spkg.trust.dsse import DsseEnvelope, read_envelope
    from spkg.trust.explanation import SignatureExplanation
    from spkg.trust.keygen import KeySet, MadeKey, make_keys, write_keys
    from spkg.trust.keys import KeyAccess, load_identity, load_signatory
    from spkg.trust.policy import ClockRule, Policy, RevocationRule
    from spkg.trust.policy_file import PolicySettings, load_policy_settings
    from spkg.trust.signers import Identity, KeySigner, Signatory, Signer
    from spkg.trust.trust_files import TrustSet, load_trust
    from spkg.trust.weaknesses import policy_sentences, weaknesses
    from spkg.verify.attestation import TrustedAttestation, payload_hasher, verify_attestation
    from spkg.verify.contents import DamagedPayloadError, PayloadReport, check_payload
    from spkg.verify.explanation import PackageExplanation, explain_package
    from spkg.verify.payload import Payload, inspect_package, open_package
    from spkg.verify.signatures import TrustedPackage, UntrustedPackageError, verify_package

__all__ = [
    "Advance",
    "Applied",
    "ApplyRequest",
    "BackUp",
    "Boot",
    "BuildPlan",
    "BuildReport",
    "CarriedSbom",
    "ChildKilledError",
    "ClockRule",
    "Confirmed",
    "DamagedPayloadError",
    "Device",
    "Difference",
    "Digest",
    "DsseEnvelope",
    "EventKind",
    "FailedError",
    "FileHandler",
    "FormatError",
    "HookRun",
    "HostError",
    "Identity",
    "InstalledPackage",
    "KeyAccess",
    "KeySet",
    "KeySigner",
    "Login",
    "MadeKey",
    "Manifest",
    "Note",
    "Package",
    "PackageExplanation",
    "PackageFacts",
    "Payload",
    "PayloadReport",
    "Plan",
    "Policy",
    "PolicySettings",
    "Recovered",
    "RefusedError",
    "RevocationRule",
    "RolledBack",
    "RolledBackPackage",
    "Root",
    "RootEvent",
    "RootState",
    "RootStatus",
    "RootTree",
    "Sbom",
    "Signatory",
    "SignatureExplanation",
    "Signer",
    "SpkgError",
    "Survey",
    "Timeline",
    "Timeouts",
    "TransferError",
    "Trial",
    "Trigger",
    "TrustSet",
    "TrustedAttestation",
    "TrustedPackage",
    "UnknownMethodError",
    "UnsafeError",
    "UntrustedError",
    "UntrustedPackageError",
    "UsageError",
    "__version__",
    "apply_package",
    "attest_package",
    "build_package",
    "carry_sbom",
    "check_payload",
    "compare_packages",
    "confirm",
    "describe_package",
    "draw_timeline",
    "explain_package",
    "extract_package",
    "fetch_package",
    "guard_trial",
    "inspect_package",
    "load_certificates",
    "load_device",
    "load_headers",
    "load_identity",
    "load_manifest",
    "load_policy_settings",
    "load_revocation_lists",
    "load_sbom",
    "load_signatory",
    "load_trust",
    "make_keys",
    "method_fault",
    "new_file",
    "open_package",
    "open_signed",
    "open_source",
    "payload_hasher",
    "plan_build",
    "plan_installation",
    "policy_sentences",
    "preview_package",
    "preview_rollback",
    "read_envelope",
    "recover_root",
    "rollback",
    "root_events",
    "root_status",
    "sign_package",
    "survey",
    "transfer_fault",
    "unsafe_extract_package",
    "verify_attestation",
    "verify_package",
    "weaknesses",
    "write_keys",
]

_MODULES: Final = {
    "build.attest": ("PackageFacts", "attest_package", "describe_package"),
    "build.build_plan": ("BuildPlan", "plan_build"),
    "build.builder": ("BuildReport", "build_package"),
    "build.compare": (
        "Difference",
        "compare_packages",
    ),
    "build.extract": (
        "extract_package",
        "unsafe_extract_package",
    ),
    "build.manifest": (
        "Manifest",
        "load_manifest",
    ),
    "build.sbom": ("CarriedSbom", "Sbom", "carry_sbom", "load_sbom"),
    "build.sign": ("open_signed", "sign_package"),
    "common.atomic_output": ("new_file",),
    "common.boots": ("Boot",),
    "common.child_process": ("ChildKilledError",),
    "cwmp.faults": ("UnknownMethodError", "method_fault", "transfer_fault"),
    "common.digests": ("Digest",),
    "device": (
        "Device",
        "FileHandler",
        "load_device",
    ),
    "download.fetch": ("fetch_package",),
    "download.request_headers": ("load_headers",),
    "download.source": ("open_source",),
    "download.timeline": (
        "Timeline",
        "draw_timeline",
    ),
    "download.timeouts": ("Timeouts",),
    "download.url": ("Login",),
    "errors": (
        "FailedError",
        "FormatError",
        "RefusedError",
        "SpkgError",
        "HostError",
        "TransferError",
        "UnsafeError",
        "UntrustedError",
        "UsageError",
    ),
    "format.package": (
        "Package",
        "Survey",
        "survey",
    ),
    "install.applied": (
        "Applied",
        "ApplyRequest",
    ),
    "install.events": (
        "RootEvent",
        "EventKind",
        "RolledBackPackage",
        "Trigger",
    ),
    "install.guard": ("guard_trial",),
    "install.history": ("InstalledPackage",),
    "install.hooks": ("HookRun",),
    "install.plan": (
        "Plan",
        "plan_installation",
    ),
    "install.rollback": (
        "Confirmed",
        "RolledBack",
    ),
    "install.root": ("Root",),
    "install.root_tree": ("RootTree",),
    "install.status": (
        "RootState",
        "RootStatus",
        "root_events",
        "root_status",
    ),
    "install.supervised_recovery": (
        "Recovered",
        "recover_root",
    ),
    "install.supervisor": (
        "Advance",
        "Note",
        "apply_package",
        "preview_package",
    ),
    "install.trial": (
        "BackUp",
        "Trial",
    ),
    "install.trial_end": (
        "confirm",
        "preview_rollback",
        "rollback",
    ),
    "trust.dsse": ("DsseEnvelope", "read_envelope"),
    "trust.keygen": ("KeySet", "MadeKey", "make_keys", "write_keys"),
    "trust.certificate_files": (
        "load_certificates",
        "load_revocation_lists",
    ),
    "trust.keys": (
        "KeyAccess",
        "load_identity",
        "load_signatory",
    ),
    "trust.signers": (
        "Identity",
        "KeySigner",
        "Signatory",
        "Signer",
    ),
    "trust.explanation": ("SignatureExplanation",),
    "trust.policy": ("ClockRule", "Policy", "RevocationRule"),
    "trust.policy_file": ("PolicySettings", "load_policy_settings"),
    "trust.trust_files": ("TrustSet", "load_trust"),
    "trust.weaknesses": ("policy_sentences", "weaknesses"),
    "verify.attestation": ("TrustedAttestation", "payload_hasher", "verify_attestation"),
    "verify.contents": (
        "DamagedPayloadError",
        "PayloadReport",
        "check_payload",
    ),
    "verify.explanation": ("PackageExplanation", "explain_package"),
    "verify.payload": (
        "Payload",
        "inspect_package",
        "open_package",
    ),
    "verify.signatures": (
        "TrustedPackage",
        "UntrustedPackageError",
        "verify_package",
    ),
}
_HOME: Final = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"spkg.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
