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
    from spkg.applying import Applied, Request, apply, preview
    from spkg.building import build, plan_build
    from spkg.device import Device, load_device
    from spkg.difference import compare
    from spkg.digests import Digest
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
    from spkg.extraction import extract, unsafe_extract
    from spkg.keys import Identity, Signatory, load_certificates, load_identity, load_signatory
    from spkg.manifest import load_manifest
    from spkg.package import Package, survey
    from spkg.payload import check_payload, open_package
    from spkg.planning import Plan, plan
    from spkg.root import Root
    from spkg.signing import sign_package
    from spkg.tree import RootTree
    from spkg.trust import Policy
    from spkg.verification import TrustedPackage, verify

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
    "applying": ("Applied", "Request", "apply", "preview"),
    "building": ("build", "plan_build"),
    "device": ("Device", "load_device"),
    "difference": ("compare",),
    "digests": ("Digest",),
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
    "extraction": ("extract", "unsafe_extract"),
    "keys": ("Identity", "Signatory", "load_certificates", "load_identity", "load_signatory"),
    "manifest": ("load_manifest",),
    "package": ("Package", "survey"),
    "payload": ("check_payload", "open_package"),
    "planning": ("Plan", "plan"),
    "root": ("Root",),
    "signing": ("sign_package",),
    "tree": ("RootTree",),
    "trust": ("Policy",),
    "verification": ("TrustedPackage", "verify"),
}
_HOME: Final = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"spkg.{_HOME[name]}"), name)
