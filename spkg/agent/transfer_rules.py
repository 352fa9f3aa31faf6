"""What a Download, an Upload or a RequestDownload must look like, and what the configuration allows.

The types and lengths of their arguments are checked before (``spkg.cwmp``).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from spkg.agent.settings import TransferSettings
from spkg.cwmp.faults import FaultCode, MethodFaultError
from spkg.cwmp.values import FileTypeArgument
from spkg.download.url import Location
from spkg.errors import SCHEME, UsageError

__all__ = [
    "VoucherDownloads",
    "check_download",
    "check_upload",
    "download_request",
    "is_file_type",
]

DOWNLOAD_TYPES: Final = ("1 Firmware Upgrade Image", "2 Web Content", "3 Vendor Configuration File")
"""The FileTypes of Download (Table 27)."""
UPLOAD_TYPES: Final = ("1 Vendor Configuration File", "2 Vendor Log File")
"""The FileTypes of Upload (Table 49)."""
VENDOR_TYPE: Final = re.compile(r"X [0-9A-F]{6} \S.*")
"""The FileType of a vendor: an OUI in upper case, and a name."""
MAX_FILE_TYPE: Final = 64
MAX_TYPE_ARGUMENTS: Final = 16
"""The most arguments of RequestDownload (Table 55)."""
MAX_TYPE_ARGUMENT: Final = (64, 256)
"""The longest name and value of one of them, in characters (Table 57)."""


def is_file_type(text: str, known: tuple[str, ...] = DOWNLOAD_TYPES) -> bool:
    """Whether a text is one of the *known* FileTypes, or that of a vendor."""
    return text in known or VENDOR_TYPE.fullmatch(text) is not None


@dataclass(frozen=True, kw_only=True)
class VoucherDownloads:
    """Vouchers that come by Download, for an ACS that has no SetVouchers."""

    oui: str
    """The OUI of the device."""
    take: Callable[[bytes], tuple[int, str] | None] | None
    """Has a voucher take effect, and returns the fault that SetVouchers would answer; None if the device has
    no Options."""

    @property
    def file_type(self) -> str:
        """Their FileType."""
        return f"X {self.oui} Voucher"


def check_download(
    arguments: Mapping[str, Any], settings: TransferSettings, vouchers: VoucherDownloads | None = None
) -> None:
    """Check the arguments of a Download (Table 27).

    Args:
        arguments: The arguments.
        settings: What is allowed.
        vouchers: Takes vouchers.

    Raises:
        MethodFaultError: Downloads are disabled, or an argument is not valid.
    """
    if not settings.download:
        raise MethodFaultError(FaultCode.REQUEST_DENIED, "downloads are disabled on this device")
    if not is_file_type(arguments["FileType"]):
        raise _invalid("FileType", f"expected {_listed(DOWNLOAD_TYPES)}, got {arguments['FileType']!r:.80}")
    if vouchers is not None and arguments["FileType"] == vouchers.file_type and vouchers.take is None:
        raise MethodFaultError(FaultCode.REQUEST_DENIED, "this device takes no vouchers")
    _check_server(arguments, settings)


def check_upload(arguments: Mapping[str, Any], settings: TransferSettings) -> None:
    """Check the arguments of an Upload (Table 49).

    Raises:
        MethodFaultError: Uploads are disabled, an argument is not valid, or there is no such file.
    """
    if not settings.upload:
        raise MethodFaultError(FaultCode.REQUEST_DENIED, "uploads are disabled on this device")
    file_type = arguments["FileType"]
    if not is_file_type(file_type, UPLOAD_TYPES):
        raise _invalid("FileType", f"expected {_listed(UPLOAD_TYPES)}, got {file_type!r:.80}")
    _check_server(arguments, settings)
    if file_type not in {one.file_type for one in settings.uploads}:
        raise MethodFaultError(FaultCode.REQUEST_DENIED, f"this device has no file of the type {file_type!r}")


def download_request(file_type: str, arguments: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the arguments of a RequestDownload (Table 55).

    Raises:
        UsageError: They are not valid.
    """
    if not is_file_type(file_type) or len(file_type) > MAX_FILE_TYPE:
        raise UsageError(f"expected a FileType: {_listed(DOWNLOAD_TYPES)}, got {file_type!r:.80}")
    if len(arguments) > MAX_TYPE_ARGUMENTS:
        raise UsageError(f"expected at most {MAX_TYPE_ARGUMENTS} arguments, got {len(arguments)}")
    for pair in arguments.items():
        for text, most in zip(pair, MAX_TYPE_ARGUMENT, strict=True):
            if len(text) > most:
                raise UsageError(f"{pair[0][:64]}: expected at most {most} characters, got {len(text)}")
    if file_type == DOWNLOAD_TYPES[1] and not arguments.keys() <= {"Version"}:
        raise UsageError(f"{file_type} has no argument but Version")
    if file_type in {DOWNLOAD_TYPES[0], DOWNLOAD_TYPES[2]} and arguments:
        raise UsageError(f"{file_type} has no arguments")
    return {
        "FileType": file_type,
        "FileTypeArg": tuple(FileTypeArgument(name, value) for name, value in arguments.items()),
    }


def _check_server(arguments: Mapping[str, Any], settings: TransferSettings) -> None:
    """Check where a file comes from, or goes to, and how to log in there.

    Raises:
        MethodFaultError: An argument is not valid, or the protocol is not supported.
    """
    url: str = arguments["URL"]
    try:
        location = Location.parse(url)
    except UsageError as exc:
        if exc.reason == SCHEME and "://" in url:
            raise _protocol(url.partition("://")[0], settings) from exc
        problem = "expected a URL with a protocol" if exc.reason == SCHEME else exc.problem
        raise _invalid("URL", problem) from exc
    if location.scheme not in settings.schemes:
        raise _protocol(location.scheme, settings)
    if not arguments["Username"].isprintable():
        raise _invalid("Username", "must not contain control characters")
    if not {*"\r\n\0"}.isdisjoint(arguments["Password"]):
        raise _invalid("Password", "must not contain line breaks or NUL")


def _protocol(scheme: str, settings: TransferSettings) -> MethodFaultError:
    problem = f"URL: expected {', '.join(settings.schemes)}, got {scheme[:40]!r}"
    return MethodFaultError(FaultCode.UNSUPPORTED_PROTOCOL, problem)


def _invalid(name: str, problem: str) -> MethodFaultError:
    return MethodFaultError(FaultCode.INVALID_ARGUMENTS, f"{name}: {problem}")


def _listed(types: tuple[str, ...]) -> str:
    return ", ".join([*map(repr, types), "or 'X', an OUI and a name"])
