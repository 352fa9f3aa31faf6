"""``spkg voucher setup``."""

from pathlib import Path

import click

from spkg.cli.app import command
from spkg.cli.console import print_text
from spkg.common.printable import printable
from vouchers.cli.voucher_options import STORE

__all__ = ["setup"]


@command("setup")
@click.argument("name")
@STORE
@click.option("--undo", is_flag=True, help="Clear the set-up flag.")
def setup(name: str, store: Path, undo: bool) -> None:
    """Mark the Option NAME as set up by the user.

    This sets bit 1 of the Option's State in GetOptions.

    \b
    Example:
      spkg voucher setup IPTV --store options.db

    See: docs/vouchers.md
    """
    from vouchers.cpe.store import OptionStore

    with OptionStore(store) as opened:
        opened.set_up(name, done=not undo)
    print_text(printable(f"{name}: {'not set up' if undo else 'set up'}"))
