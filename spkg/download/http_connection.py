"""Connections by HTTP on which interim answers, such as 103 Early Hints, are not taken for the answer."""

from http import HTTPStatus
from http.client import HTTPResponse
from typing import Final

import urllib3

__all__ = ["CONNECTION_POOLS"]


class _FinalResponse(HTTPResponse):
    """A response behind any number of interim ones (RFC 9110, 15.2); the standard library skips only 100."""

    def _read_status(self) -> tuple[str, int, str]:
        version, status, reason = super()._read_status()  # type: ignore[misc]
        interim = HTTPStatus.SWITCHING_PROTOCOLS < status < HTTPStatus.OK
        return version, HTTPStatus.CONTINUE if interim else status, reason


class _Plain(urllib3.connection.HTTPConnection):
    response_class = _FinalResponse


class _Secure(urllib3.connection.HTTPSConnection):
    response_class = _FinalResponse


class _PlainPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Secure


CONNECTION_POOLS: Final = {"http": _PlainPool, "https": _SecurePool}
"""The kinds of connections that a session makes, by scheme."""
