"""The page of the operator: one document, which loads nothing from elsewhere and runs only its own script."""

from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from importlib.resources import files

__all__ = ["OperatorPage"]


class OperatorPage:
    """The page, with the policy that binds a browser to it."""

    def __init__(self) -> None:
        folder = files("vouchers.service")
        page, style, script = (
            folder.joinpath(f"operator.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js")
        )
        self.html = page.replace("/*STYLE*/", style).replace("/*SCRIPT*/", script)
        policy = (
            f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
            "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        self.headers: Mapping[str, str] = {
            "Content-Security-Policy": policy,
            "Referrer-Policy": "no-referrer",
            "X-Frame-Options": "DENY",
        }


def _hash(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"
