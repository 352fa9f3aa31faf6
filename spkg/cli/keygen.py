"""``spkg keygen``."""

from datetime import UTC, datetime
from pathlib import Path

import click

from spkg.cli.app import command
from spkg.cli.console import print_text
from spkg.cli.options import FILE, FORCE
from spkg.common.printable import printable
from spkg.errors import UsageError

__all__ = ["keygen"]


@command("keygen")
@click.argument("directory", metavar="DIR", type=FILE)
@click.option("--name", default="spkg test signer", show_default=True, help="Set the signer's common name.")
@FORCE
def keygen(directory: Path, name: str, force: bool) -> None:
    """Create a test root certificate and a signer in DIR.

    DIR gets ca.pem, signer.pem and signer.key.  The root's key is not kept.

    \b
    Example:
      spkg keygen keys

    See: docs/signing.md
    """  # noqa: D301 - click keeps the lines behind \b
    from cryptography.hazmat.primitives import serialization

    from spkg.common.atomic_output import new_files, refuse_existing
    from spkg.trust.keygen import make_keys

    names = ("ca.pem", "signer.pem", "signer.key")
    for file in names:
        refuse_existing(directory / file, force=force)
    try:
        keys = make_keys(name, datetime.now(UTC).replace(microsecond=0))
    except ValueError as exc:
        raise UsageError("--name must have 1 to 64 characters, valid in UTF-8") from exc
    encoding = serialization.Encoding.PEM
    contents = (
        keys.root.public_bytes(encoding),
        keys.signer.public_bytes(encoding),
        keys.key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
    new_files(
        directory,
        [
            (file, octets, mode)
            for file, octets, mode in zip(names, contents, (None, None, 0o600), strict=True)
        ],
        force=force,
    )
    print_text(f"{printable(str(directory))}: {', '.join(names)}")
