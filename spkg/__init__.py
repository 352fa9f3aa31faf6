"""Signed packages of TR-069 (May 2004), Appendix E: read, verify, build, sign, compare, install.

The stages, each a type that only the one before can make::

    octets -> Package -> TrustedPackage -> Plan -> a changed root

    with spkg.open_package(path) as (package, payload):
        trusted = spkg.verify(package, policy, at=now)
        with spkg.Root(directory) as root:
            spkg.apply(trusted, payload, root, spkg.Request(device=device))

Names are imported when they are first used, so that a program pays only for what it needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

__version__: Final = "0.2.0"
"""The version of both packages, and of the distribution."""

if TYPE_CHECKING:
    from spkg.build.builder import build, plan_build
    from spkg.build.compare import compare
    from spkg.build.extract import extract, unsafe_extract
    from spkg.build.manifest import load_manifest
    from spkg.build.sign import sign_package
    from spkg.common.digests import Digest
    from spkg.device import Device, load_device
    from spkg.errors import (
        FailedError,
        FormatError,
        RefusedError,
        SpkgError,
        SurroundingsError,
        UnsafeError,
        UntrustedError,
        UsageError,
    )
    from spkg.format.package import Package, survey
    from spkg.install.apply import Applied, Request, apply, preview
    from spkg.install.plan import Plan, plan
    from spkg.install.root import Root
    from spkg.install.root_tree import RootTree
    from spkg.trust.keys import Identity, Signatory, load_certificates, load_identity, load_signatory
    from spkg.trust.policy import Policy
    from spkg.verify.contents import check_payload
    from spkg.verify.payload import open_package
    from spkg.verify.signatures import TrustedPackage, verify

__all__ = [
    "Applied",
    "Device",
    "Digest",
    "FailedError",
    "FormatError",
    "Identity",
    "Package",
    "Plan",
    "Policy",
    "RefusedError",
    "Request",
    "Root",
    "RootTree",
    "Signatory",
    "SpkgError",
    "SurroundingsError",
    "TrustedPackage",
    "UnsafeError",
    "UntrustedError",
    "UsageError",
    "apply",
    "build",
    "check_payload",
    "compare",
    "extract",
    "load_certificates",
    "load_device",
    "load_identity",
    "load_manifest",
    "load_signatory",
    "open_package",
    "plan",
    "plan_build",
    "preview",
    "sign_package",
    "survey",
    "unsafe_extract",
    "verify",
]

_MODULES: Final = {
    "install.apply": ("Applied", "Request", "apply", "preview"),
    "build.builder": ("build", "plan_build"),
    "device": ("Device", "load_device"),
    "build.compare": ("compare",),
    "common.digests": ("Digest",),
    "errors": (
        "FailedError",
        "FormatError",
        "RefusedError",
        "SpkgError",
        "SurroundingsError",
        "UnsafeError",
        "UntrustedError",
        "UsageError",
    ),
    "build.extract": ("extract", "unsafe_extract"),
    "trust.keys": ("Identity", "Signatory", "load_certificates", "load_identity", "load_signatory"),
    "build.manifest": ("load_manifest",),
    "format.package": ("Package", "survey"),
    "verify.contents": ("check_payload",),
    "verify.payload": ("open_package",),
    "install.plan": ("Plan", "plan"),
    "install.root": ("Root",),
    "build.sign": ("sign_package",),
    "install.root_tree": ("RootTree",),
    "trust.chain": ("Policy",),
    "verify.signatures": ("TrustedPackage", "verify"),
}
_HOME: Final = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"spkg.{_HOME[name]}"), name)
