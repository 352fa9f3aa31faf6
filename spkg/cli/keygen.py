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
@FORCE
def keygen(directory: Path, name: str, force: bool) -> None:
    """Create a test root certificate and a signer in DIR.

    DIR gets ca.pem, signer.pem and signer.key.  The root's key is not kept.

    \b
    Example:
      spkg keygen keys

    See: docs/signing.md
    """
    from spkg.report.keygen import keys_lines
    from spkg.trust.keygen import FILES, make_keys, refuse_existing_keys, write_keys

    refuse_existing_keys(directory, force=force)
    try:
        keys = make_keys(name, now().replace(microsecond=0))
    except ValueError as exc:
        raise UsageError("--name must have 1 to 64 characters, valid in UTF-8") from exc
    write_keys(directory, keys, force=force)
    print_lines(keys_lines(str(directory), FILES))
