"""TLS to servers: whom to trust, which certificate to show, and what went wrong, in plain words.

Nothing in the environment has a say: neither SSL_CERT_FILE and SSL_CERT_DIR nor SSLKEYLOGFILE is read.
"""

import errno
import os
import ssl
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Final

from spkg.download.url import Location, Login
from spkg.errors import CONTACT, HostError, TransferError

__all__ = ["AUTHORITIES", "SHOW", "WRONG_TIME", "TlsContexts", "tls_refusal", "tls_words"]

MAX_BUNDLE: Final = 16 << 20
"""The most bytes that are read of authorities from a pipe."""
WITHOUT_TIME: Final = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME, which has no name in Python: no dates are checked."""
AUTHORITIES: Final = "use --ca-bundle for a private certificate authority"
OTHER_HOST_CODES: Final = frozenset({62, 64})
"""Of X509_V_ERR: the certificate is for other host names, or other addresses."""
OTHER_TIME_CODES: Final = frozenset({9, 10})
"""Of X509_V_ERR: the certificate is not valid yet, or not any more."""
WRONG_NAME: Final = "use a URL with a host name that is in the server's certificate"
WRONG_TIME: Final = "compare the clock of this host; if it has none, use --no-clock"
SHOW: Final = "use --client-cert and --client-key to show a certificate to the server"
NOT_ACCEPTED: Final = "the server does not accept the client certificate"
NO_TLS: Final = "the server does not speak TLS on this port"
TOO_OLD: Final = "the server speaks no version of TLS that is accepted: expected 1.2 or later"
REFUSALS: Final[dict[str | None, tuple[str, str | None]]] = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": ("the server requires a client certificate", SHOW),
    "SSLV3_ALERT_HANDSHAKE_FAILURE": (
        "the server refused the TLS handshake; it may want a client certificate",
        SHOW,
    ),
    "SSLV3_ALERT_BAD_CERTIFICATE": (NOT_ACCEPTED, None),
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": (f"{NOT_ACCEPTED}: it has expired", None),
    "SSLV3_ALERT_CERTIFICATE_REVOKED": (f"{NOT_ACCEPTED}: it was revoked", None),
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": (NOT_ACCEPTED, None),
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": (f"{NOT_ACCEPTED}: it is of an unsupported kind", None),
    "TLSV1_ALERT_ACCESS_DENIED": (NOT_ACCEPTED, None),
    "TLSV1_ALERT_UNKNOWN_CA": (f"{NOT_ACCEPTED}: its authority is unknown there", None),
    "TLSV1_UNRECOGNIZED_NAME": ("the server has no certificate for this host name", None),
    "WRONG_VERSION_NUMBER": (NO_TLS, None),
    "HTTP_REQUEST": (NO_TLS, None),
    "PACKET_LENGTH_TOO_LONG": (NO_TLS, None),
    "RECORD_LAYER_FAILURE": (NO_TLS, None),
    "TLSV1_ALERT_PROTOCOL_VERSION": (TOO_OLD, None),
    "UNSUPPORTED_PROTOCOL": (TOO_OLD, None),
}
"""What a server refuses in the same way again, by OpenSSL's name: in plain words, and what to do."""


class TlsContexts:
    """The settings for connections to servers; each is made once, when it is first asked for.

    Each raises :class:`HostError` for a file that is not valid, :class:`OSError` for one that can't be read.

    Args:
        login: Whom to trust, and which certificate to show.
    """

    def __init__(self, login: Login) -> None:
        self._login = login

    @cached_property
    def known(self) -> ssl.SSLContext:
        """The settings for the server that the login is for."""
        login = self._login
        if login.client_cert is None:
            return self.unknown
        context = _context(login, self._authorities)
        _load_identity(context, login.client_cert, login.client_key, login.client_key_password)
        return context

    @cached_property
    def unknown(self) -> ssl.SSLContext:
        """The settings for other servers: no certificate is shown to them."""
        return _context(self._login, self._authorities)

    @cached_property
    def _authorities(self) -> str | None:
        """The authorities, if they come from a pipe, which can be read only once."""
        bundle = self._login.ca_bundle
        if bundle is None or not bundle.is_fifo():
            return None
        with bundle.open("rb") as pipe:
            octets = pipe.read(MAX_BUNDLE + 1)
        if len(octets) > MAX_BUNDLE:
            raise HostError(f"{bundle} has more than {MAX_BUNDLE} bytes")
        return octets.decode("ascii", "ignore")  # comments may be in any encoding


def _context(login: Login, authorities: str | None) -> ssl.SSLContext:
    """Return settings with whom to trust.

    Raises:
        HostError: The file of authorities is not valid.
        OSError: It can't be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # it checks the chain and the host
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False
    if login.no_clock:
        context.verify_flags |= WITHOUT_TIME
    if login.ca_bundle is not None:
        try:
            if authorities is None:
                context.load_verify_locations(login.ca_bundle)
            else:
                context.load_verify_locations(cadata=authorities)
        except (ssl.SSLError, ValueError) as exc:
            raise HostError(f"{login.ca_bundle} has no CA certificates") from exc
        except OSError as exc:
            raise _named(exc, login.ca_bundle) from exc
    else:
        system = ssl.get_default_verify_paths()  # load_default_certs would prefer the environment's
        file, directory = Path(system.openssl_cafile), Path(system.openssl_capath)
        if file.is_file():
            with suppress(OSError):  # it may be empty: the directory may be good nevertheless
                context.load_verify_locations(cafile=file)
        if directory.is_dir():
            context.load_verify_locations(capath=directory)
    return context


def _load_identity(context: ssl.SSLContext, cert: Path, key: Path | None, password: bytes | None) -> None:
    """Load a client's certificate and key.

    Raises:
        HostError: They are not valid, or do not belong together.
        OSError: A file can't be read.
    """
    asked = False

    def answer() -> bytes:
        nonlocal asked
        asked = True
        return password or b""  # without an answer OpenSSL would ask on the terminal

    try:
        context.load_cert_chain(cert, key, answer)
    except (OSError, ValueError) as exc:
        # From a pipe, whatever is wrong with its contents is reported as ESPIPE.
        if isinstance(exc, OSError) and not isinstance(exc, ssl.SSLError) and exc.errno != errno.ESPIPE:
            raise _named(exc, cert if key is None or not os.access(cert, os.R_OK) else key) from exc
        if getattr(exc, "reason", None) == "KEY_VALUES_MISMATCH":
            raise HostError(f"{key or cert}: the key does not belong to the certificate in {cert}") from exc
        if asked:
            problem = "the passphrase is wrong" if password else "the key is encrypted"
            hint = "use --client-key-password-env or --client-key-password-file"
            raise HostError(f"{key or cert}: {problem}", hint=None if password else hint) from exc
        files = cert if key is None else f"{cert} and {key}"
        raise HostError(f"{files}: expected a certificate and its key in PEM") from exc


def _named(error: OSError, path: Path) -> OSError:
    """Return an error with the file that it is about, which OpenSSL does not say."""
    return OSError(error.errno, error.strerror, str(path))


def tls_refusal(location: Location, error: BaseException) -> TransferError | None:
    """Return the error for what will not be different the next time; None for any other."""
    if isinstance(error, ssl.SSLCertVerificationError):
        said = error.verify_message.rstrip(".")
        problem = f"{location}: the server's certificate is not trusted: {said}"
        return TransferError(problem, reason=CONTACT, hint=_advice(error.verify_code))
    reason = getattr(error, "reason", None)  # only those of OpenSSL have one
    if isinstance(error, ssl.SSLError) and reason in REFUSALS:
        problem, hint = REFUSALS[reason]
        return TransferError(f"{location}: {problem}", reason=CONTACT, hint=hint)
    return None


def _advice(code: int) -> str:
    """Return what to do about a certificate that is not trusted, by OpenSSL's number for the reason."""
    if code in OTHER_HOST_CODES:
        return WRONG_NAME
    return WRONG_TIME if code in OTHER_TIME_CODES else AUTHORITIES


def tls_words(error: ssl.SSLError) -> str:
    """Return what an error of TLS means, in plain words."""
    if isinstance(error, ssl.SSLEOFError):
        return "the server closed the connection during the TLS handshake; it may want a client certificate"
    reason = (getattr(error, "reason", None) or "unknown error").replace("_", " ").lower()
    return f"TLS failed: {reason}"
