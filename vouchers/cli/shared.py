"""What several voucher commands share."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spkg.cli.arguments import about, now, read_input, read_policy
from spkg.cli.console import warn
from spkg.cli.options import FILE, no_stream, trust_options

if TYPE_CHECKING:
    from spkg.device import Device
    from vouchers.acs.ledger import Ledger
    from vouchers.signature.verify import Verifier

__all__ = [
    "LEDGER",
    "STORE",
    "VOUCHER_TRUST",
    "open_ledger",
    "read_verifier",
    "read_voucher_file",
    "this_device",
]


VOUCHER_TRUST = trust_options("sha256", "codeSigning, emailProtection and documentSigning", unsigned=False)
STORE = click.option(
    "--store",
    required=True,
    type=FILE,
    callback=no_stream,
    metavar="DB",
    help="Use DB as the store of the device's Options.",
)
LEDGER = click.option(
    "--ledger",
    required=True,
    metavar="URL",
    help="Use this ledger: an SQLite file or postgresql://host/name.",
)


def read_verifier(**trust: Any) -> "Verifier":
    """Return a verifier of vouchers with the policy of the trust options."""
    from spkg.trust.policy import VOUCHER_PURPOSES
    from vouchers.signature.verify import Verifier

    return Verifier(read_policy(**trust, default=VOUCHER_PURPOSES))


def read_voucher_file(name: Path) -> bytes:
    """Return the XML of a voucher, which may be in base64; ``-`` is standard input."""
    from vouchers.signature.shape import MAX_FILE, unwrap

    with about(name):
        return unwrap(read_input(name, MAX_FILE))


def this_device(file: Path) -> "Device":
    """Return a device whose file states its identity."""
    from spkg.device import load_device
    from vouchers.cpe.identity import identity_of

    with about(file):
        device = load_device(file)
        identity_of(device)
    return device


@contextmanager
def open_ledger(url: str) -> "Iterator[Ledger]":
    """Open a ledger, and report if it is new: a serial number must not be issued twice."""
    from vouchers.acs.ledger import Ledger

    with Ledger(url, now) as opened:
        if opened.created:
            warn("the ledger is new: use one ledger per signing key, and back it up")
        yield opened
