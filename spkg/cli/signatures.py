"""``spkg signatures``."""

from pathlib import Path

import click

from spkg.cli.app import command
from spkg.cli.arguments import check_output, package_source
from spkg.cli.console import print_document, print_lines, progress_bar
from spkg.cli.options import FILE, FORCE, JSON, NO_PROGRESS
from spkg.errors import RefusedError, UsageError

__all__ = ["signatures"]

REMOVE = "remove"


@command("signatures")
@click.argument("words", nargs=-1, required=True, type=FILE, metavar="[remove] PKG")
@click.option("--signer", metavar="NAME", help="Remove the signatures of NAME, a subject or a common name.")
@click.option("-o", "output", type=FILE, metavar="OUT", help="Write to OUT and leave PKG unchanged.")
@FORCE
@NO_PROGRESS
@JSON
def signatures(
    words: tuple[Path, ...],
    signer: str | None,
    output: Path | None,
    force: bool,
    no_progress: bool,
    as_json: bool,
) -> None:
    """List the signatures of PKG, or remove some; nothing is verified.

    'spkg signatures remove PKG --signer NAME' removes the signatures of a signer, with its certificate.  A
    file that is called remove is given as ./remove.

    \b
    Example:
      spkg signatures gateway.spkg

    See: docs/signing.md
    """
    from spkg.build.sign import open_signed, write_with_block
    from spkg.format.signature_block import without_signers
    from spkg.report.signatures import named_signatures, signatures_document, signatures_lines
    from spkg.verify.payload import open_package

    removing = len(words) > 1 and str(words[0]) == REMOVE
    if len(words) != 1 + removing:
        raise UsageError("expected PKG, or remove PKG")
    package = words[-1]
    if removing == (signer is None) or (output is not None and not removing):
        raise UsageError("--signer and -o belong to 'signatures remove PKG --signer NAME'")
    if removing and output is None and str(package) == "-":
        raise UsageError("a package from standard input needs -o OUT")
    if output is not None:
        check_output(output, force=force)
    with open_package(package_source(package)) as (opened, payload):
        block, gone = opened.block, set[int]()
        if signer is not None:
            gone = set(named_signatures(block, signer))
            if not gone:
                hint = f"'spkg signatures {package}' lists them"
                raise RefusedError(f"{package} has no signature of {signer!r}", hint=hint)
            with (
                progress_bar("writing", payload.length, wanted=not no_progress) as progress,
                open_signed(package, payload, output, force=force) as file,
            ):
                write_with_block(opened, payload, file, without_signers(block, gone), progress=progress)
    name = str(output or package)
    if as_json:
        print_document(signatures_document(block, gone))
    else:
        print_lines(signatures_lines(name, block, gone, removed=removing))
