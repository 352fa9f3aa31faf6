"""Download, Upload, RequestDownload: what is taken, and what each refusal is (A.3.2.8, A.4.1.5, A.4.2.2)."""

from typing import Any

import pytest

from spkg.agent.transfer_rules import check_download, check_upload, download_request
from spkg.cwmp.faults import MethodFaultError
from spkg.cwmp.values import FileTypeArgument
from spkg.errors import UsageError
from tests.support.simulated_device import DOWNLOAD, UPLOAD, settings

KNOWN = (
    "'1 Firmware Upgrade Image', '2 Web Content', '3 Vendor Configuration File', or 'X', an OUI and a name"
)

KNOWN_UPLOADS = "'1 Vendor Configuration File', '2 Vendor Log File', or 'X', an OUI and a name"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"FileType": "2 Web Content"},
        {"FileType": "3 Vendor Configuration File"},
        {"FileType": "X 00D09E Language Pack"},
        {"URL": "ftp://127.0.0.1/p"},
        {"URL": "tftp://127.0.0.1/p"},
        {"URL": "https://[::1]:8443/p?token=1"},
        {"Username": "bob", "Password": "open sesame"},
        {"TargetFileName": "../../etc/passwd", "SuccessURL": "x", "FileSize": 2**32 - 1},
    ],
)
def test_a_download_of_each_kind_is_taken_t1_t2_t3_t6(changes: dict[str, Any]) -> None:
    check_download({**DOWNLOAD, **changes}, settings())


@pytest.mark.parametrize(
    ("changes", "code", "text"),
    [
        ({"FileType": "4 Tone File"}, 9003, f"FileType: expected {KNOWN}, got '4 Tone File'"),
        ({"FileType": "1"}, 9003, f"FileType: expected {KNOWN}, got '1'"),
        ({"FileType": "X 00d09e Pack"}, 9003, f"FileType: expected {KNOWN}, got 'X 00d09e Pack'"),
        ({"URL": "sftp://127.0.0.1/p"}, 9013, "URL: expected https, http, ftp, tftp, got 'sftp'"),
        ({"URL": "file:///etc/shadow"}, 9013, "URL: expected https, http, ftp, tftp, got 'file'"),
        ({"URL": "ftps://127.0.0.1/p"}, 9013, "URL: expected https, http, ftp, tftp, got 'ftps'"),
        ({"URL": "/p.spkg"}, 9003, "URL: expected a URL with a protocol"),
        ({"URL": ""}, 9003, "URL: expected a URL with a protocol"),
        ({"URL": "http://a:b@h/p"}, 9003, "URL: a URL must not carry credentials: other users can see it"),
        ({"URL": "http:///p"}, 9003, "URL: a URL must have a host and no fragment"),
        ({"URL": "http://h:0/p"}, 9003, "URL: not a valid URL"),
        (
            {"URL": "http://h/ü"},
            9003,
            "URL: a URL must have only printable ASCII characters, and no spaces",
        ),
        ({"Username": "a\nb"}, 9003, "Username: must not contain control characters"),
        ({"Password": "a\nb"}, 9003, "Password: must not contain line breaks or NUL"),
    ],
)
def test_what_is_wrong_with_a_download_is_told_by_its_code_t12(
    changes: dict[str, Any], code: int, text: str
) -> None:
    with pytest.raises(MethodFaultError) as caught:
        check_download({**DOWNLOAD, **changes}, settings())

    assert (caught.value.code, caught.value.text) == (code, text)


def test_transfers_can_be_disabled_each_for_itself_t14() -> None:
    with pytest.raises(MethodFaultError) as download:
        check_download(DOWNLOAD, settings(download=False))
    with pytest.raises(MethodFaultError) as upload:
        check_upload(UPLOAD, settings(upload=False))
    check_download(DOWNLOAD, settings(upload=False))
    check_upload(UPLOAD, settings(download=False))

    assert [(one.value.code, one.value.text) for one in (download, upload)] == [
        (9001, "downloads are disabled on this device"),
        (9001, "uploads are disabled on this device"),
    ]


@pytest.mark.parametrize(
    ("changes", "code", "text"),
    [
        (
            {"FileType": "3 Vendor Configuration File"},
            9003,
            f"FileType: expected {KNOWN_UPLOADS}, got '3 Vendor Configuration File'",
        ),
        ({"FileType": "2 Vendor Log File"}, 9001, "this device has no file of the type '2 Vendor Log File'"),
        ({"URL": "gopher://h/p"}, 9013, "URL: expected https, http, ftp, tftp, got 'gopher'"),
    ],
)
def test_what_is_wrong_with_an_upload_is_told_by_its_code_t11_t12(
    changes: dict[str, Any], code: int, text: str
) -> None:
    with pytest.raises(MethodFaultError) as caught:
        check_upload({**UPLOAD, **changes}, settings())

    assert (caught.value.code, caught.value.text) == (code, text)


def test_protocols_can_be_disabled_t16() -> None:
    with pytest.raises(MethodFaultError) as caught:
        check_download({**DOWNLOAD, "URL": "tftp://127.0.0.1/p"}, settings(schemes=("https",)))

    assert (caught.value.code, caught.value.text) == (9013, "URL: expected https, got 'tftp'")


def test_a_download_can_be_requested_a3() -> None:
    assert download_request("2 Web Content", {"Version": "6.3"}) == {
        "FileType": "2 Web Content",
        "FileTypeArg": (FileTypeArgument("Version", "6.3"),),
    }
    assert download_request("1 Firmware Upgrade Image", {})["FileTypeArg"] == ()
    assert len(download_request("X 00D09E Pack", {str(n): "" for n in range(16)})["FileTypeArg"]) == 16


@pytest.mark.parametrize(
    ("file_type", "arguments", "problem"),
    [
        ("firmware", {}, f"expected a FileType: {KNOWN}, got 'firmware'"),
        ("X 00D09E " + "p" * 56, {}, f"expected a FileType: {KNOWN}, got {'X 00D09E ' + 'p' * 56!r}"),
        ("1 Firmware Upgrade Image", {"Version": "1"}, "1 Firmware Upgrade Image has no arguments"),
        ("2 Web Content", {"Revision": "1"}, "2 Web Content has no argument but Version"),
        ("X 00D09E P", {str(n): "" for n in range(17)}, "expected at most 16 arguments, got 17"),
        ("X 00D09E P", {"a": "v" * 257}, "a: expected at most 256 characters, got 257"),
        ("X 00D09E P", {"n" * 65: ""}, f"{'n' * 64}: expected at most 64 characters, got 65"),
    ],
)
def test_what_can_not_be_requested_is_refused_a3(
    file_type: str, arguments: dict[str, str], problem: str
) -> None:
    with pytest.raises(UsageError) as caught:
        download_request(file_type, arguments)

    assert str(caught.value) == problem
