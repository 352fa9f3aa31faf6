"""``spkg keygen``."""

from pathlib import Path

import click

from spkg.cli.app import command
from spkg.cli.arguments import now
from spkg.cli.console import print_lines
from spkg.cli.options import FILE, FORCE
from spkg.errors import UsageError

__all__ = ["keygen"]


@command("keygen")
@click.argument("directory", metavar="DIR", type=FILE)
@click.option("--name", default="spkg test signer", show_default=True, help="Set the signer's common name.")
@click.option(
    "--csr",
    "requests",
    is_flag=True,
    help="Also write a request for a certificate of another authority for each key.",
)
@FORCE
def keygen(directory: Path, name: str, requests: bool, force: bool) -> None:
    """Create test keys and certificates in DIR: a root, an intermediate, signers.

    DIR gets NAME.pem and NAME.key for ca (the root), intermediate, signer (for packages), voucher and
    voucher-ec (for vouchers, with RSA and ECDSA P-256).  Nothing protects the keys: they are for trying
    things out, and for nothing real.

    \b
    Example:
      spkg keygen keys

    See: docs/signing.md
    """
    from spkg.report.keygen import keys_lines
    from spkg.trust.keygen import make_keys, refuse_existing_keys, write_keys

    refuse_existing_keys(directory, force=force, requests=requests)
    try:
        keys = make_keys(name, now().replace(microsecond=0))
    except ValueError as exc:
        raise UsageError("--name must have 1 to 64 characters, valid in UTF-8") from exc
    write_keys(directory, keys, force=force, requests=requests)
    print_lines(keys_lines(str(directory), requests=requests))
