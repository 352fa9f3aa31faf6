"""Options that several voucher commands share."""

from collections.abc import Callable
from typing import Any

import click

from spkg.cli.options import FILE, KEY, UNFIT, VERIFY_VOUCHER, no_stream, options, trust_options
from vouchers.cli.shared import VOUCHER_DIGESTS

__all__ = [
    "CLUSTER",
    "ISSUE_WHAT",
    "LEDGER",
    "LINES_OF_JSON",
    "OUT_DIR",
    "SIGN_VOUCHER",
    "STORE",
    "VOUCHER_DIGEST",
    "VOUCHER_TRUST",
    "voucher_format",
    "voucher_output",
]

VOUCHER_TRUST = trust_options(
    VOUCHER_DIGESTS, "codeSigning, emailProtection and documentSigning", unsigned=False
)
VOUCHER_DIGEST = click.option(
    "--digest",
    type=click.Choice(["sha256", "sha1"]),
    default="sha256",
    show_default=True,
    help="Sign with this digest; sha1 is the form of 2004.",
)
SIGN_VOUCHER = options(KEY, UNFIT, VERIFY_VOUCHER)
"""With what vouchers are signed, and what each has to pass."""
ISSUE_WHAT = options(
    click.option(
        "--device", "device_file", type=FILE, metavar="FILE", help="Issue to the device in this device file."
    ),
    click.option(
        "--devices",
        type=FILE,
        metavar="LIST",
        help="Issue to each device in LIST: CSV or JSON lines, also as GenieACS exports them.",
    ),
    click.option(
        "--options",
        "options_file",
        required=True,
        type=FILE,
        metavar="FILE",
        help="Issue the Options in this options file.",
    ),
    VOUCHER_DIGEST,
    click.option(
        "--ledger", metavar="URL", help="Take serial numbers from an SQLite file or postgresql://host/name."
    ),
    click.option("--new-ledger", is_flag=True, help="Create the ledger if it does not exist."),
    click.option(
        "--serial",
        type=click.IntRange(1, 0xFFFFFFFF),
        metavar="N",
        help="Number the Options from N, without a ledger.",
    ),
    click.option(
        "--batch",
        metavar="NAME",
        help="Issue one voucher per device in this batch; run it again to complete it.",
    ),
)
"""The options that say which vouchers to issue, and where their serial numbers come from."""
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
OUT_DIR = click.option(
    "--out-dir", type=FILE, metavar="DIR", help="Write vouchers into DIR, a new directory."
)
CLUSTER = click.option(
    "--cluster",
    metavar="ADDRESS",
    help="Sign on the workers of this Dask scheduler, with --key of their own machines.",
)
LINES_OF_JSON = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, one object per line; the last one is the result."
)


def voucher_format(what: str, *, default: str | None = None, note: str = "") -> Callable[[Any], Any]:
    """Return the option for the format of an output, which has one voucher or several."""
    return click.option(
        "--format",
        "form",
        type=click.Choice(["xml", "base64", "soap", "ndjson"]),
        default=default,
        show_default=default is not None,
        help=f"Write {what} in this format.{note}",
    )


def voucher_output(*, required: bool) -> Callable[[Any], Any]:
    """Return the option for where one voucher goes."""
    return click.option(
        "-o",
        "output",
        type=FILE,
        required=required,
        metavar="OUT",
        help="Write the voucher to OUT; - is standard output.",
    )
