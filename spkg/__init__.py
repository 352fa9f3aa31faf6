"""Signed packages of TR-069 (May 2004), Appendix E: read, verify, build, sign, compare, take apart.

The stages, each a type that only the one before can make::

    octets -> Package -> TrustedPackage -> (the installer)

    with spkg.open_package(path) as (package, payload):
        trusted = spkg.verify(package, policy, at=now)
        spkg.check_payload(trusted, payload)

Names are imported when they are first used, so that a program pays only for what it needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from spkg.building import build, plan_build
    from spkg.difference import compare
    from spkg.digests import Digest
    from spkg.errors import (
        FormatError,
        RefusedError,
        SpkgError,
        SurroundingsError,
        UntrustedError,
        UsageError,
    )
    from spkg.extraction import extract, unsafe_extract
    from spkg.keys import Identity, load_certificates, load_identity
    from spkg.manifest import load_manifest
    from spkg.package import Package, survey
    from spkg.payload import check_payload, open_package
    from spkg.signing import sign_package
    from spkg.trust import Policy
    from spkg.verification import TrustedPackage, verify

__all__ = [
    "Digest",
    "FormatError",
    "Identity",
    "Package",
    "Policy",
    "RefusedError",
    "SpkgError",
    "SurroundingsError",
    "TrustedPackage",
    "UntrustedError",
    "UsageError",
    "build",
    "check_payload",
    "compare",
    "extract",
    "load_certificates",
    "load_identity",
    "load_manifest",
    "open_package",
    "plan_build",
    "sign_package",
    "survey",
    "unsafe_extract",
    "verify",
]

_MODULES: Final = {
    "building": ("build", "plan_build"),
    "difference": ("compare",),
    "digests": ("Digest",),
    "errors": (
        "FormatError",
        "RefusedError",
        "SpkgError",
        "SurroundingsError",
        "UntrustedError",
        "UsageError",
    ),
    "extraction": ("extract", "unsafe_extract"),
    "keys": ("Identity", "load_certificates", "load_identity"),
    "manifest": ("load_manifest",),
    "package": ("Package", "survey"),
    "payload": ("check_payload", "open_package"),
    "signing": ("sign_package",),
    "trust": ("Policy",),
    "verification": ("TrustedPackage", "verify"),
}
_HOME: Final = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"spkg.{_HOME[name]}"), name)
