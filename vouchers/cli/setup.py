"""``spkg voucher setup``."""

from pathlib import Path

import click

from spkg.cli.app import command
from spkg.cli.console import print_text
from spkg.common.printable import printable
from vouchers.cli.shared import STORE

__all__ = ["setup"]


@command("setup")
@click.argument("name")
@STORE
@click.option("--undo", is_flag=True, help="The user has not.")
def setup(name: str, store: Path, undo: bool) -> None:
    """Note that the user has set up the Option NAME.

    It becomes bit 1 of its State.
    """
    from vouchers.cpe.store import OptionStore

    with OptionStore(store) as opened:
        opened.set_up(name, done=not undo)
    print_text(printable(f"{name}: {'not set up' if undo else 'set up'}"))
