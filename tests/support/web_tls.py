"""How servers of the tests speak TLS."""

import ssl
from pathlib import Path
from typing import Any

__all__ = ["server_context"]


def server_context(identity: Path, **settings: Any) -> ssl.SSLContext:
    """Return the settings of a server with a key and its certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")  # for what is too old
    for name, value in settings.items():
        setattr(context, name, value)
    return context
