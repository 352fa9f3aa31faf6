"""``spkg voucher serve``."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from spkg.cli.app import command
from spkg.cli.arguments import key_inputs, now
from spkg.cli.console import warn
from spkg.cli.options import FILE
from spkg.errors import UsageError
from vouchers.cli.shared import issue_findings

if TYPE_CHECKING:
    from vouchers.service.settings import ServiceSettings
    from vouchers.signature.sign import VoucherSigner

__all__ = ["serve"]

STANDARD_OUTPUT: Final = 1
"""The descriptor of the log."""


@command("serve")
@click.option("--config", required=True, type=FILE, metavar="FILE", help="Read the configuration from FILE.")
@click.option("--listen", metavar="HOST:PORT", help="Listen here instead of where FILE says.")
def serve(config: Path, listen: str | None) -> None:
    """Issue vouchers over HTTP, from one ledger.

    Works in the foreground, and logs to standard output, one JSON object per line.  SIGTERM ends it once
    requests in flight are answered.  Several may share a ledger in PostgreSQL.

    \b
    Example:
      spkg voucher serve --config samples/service/service.toml

    See: docs/service.md
    """
    from dataclasses import replace
    from time import monotonic

    from spkg.common.libraries import require
    from spkg.common.times import write_time

    for name in ("starlette", "uvicorn", "prometheus_client"):
        require(name)

    from vouchers.service.server import VoucherService, serve_vouchers
    from vouchers.service.service_log import ServiceLog
    from vouchers.service.settings import listen_address, load_service_settings

    settings = load_service_settings(config)
    if listen is not None:
        try:
            host, port = listen_address(listen)
        except ValueError as exc:
            raise UsageError(f"--listen: {exc}") from exc
        settings = replace(settings, host=host, port=port)
        settings.check_listen()
    signer = _signer(settings)
    debug = click.get_current_context().find_root().params.get("debug", False)

    def defect(error: Exception) -> None:
        if debug:
            import traceback

            traceback.print_exception(error)

    log = ServiceLog(STANDARD_OUTPUT, lambda: write_time(now()))
    serve_vouchers(
        VoucherService(settings=settings, signer=signer, clock=now, timer=monotonic, log=log, defect=defect)
    )


def _signer(settings: "ServiceSettings") -> "VoucherSigner":
    """Return what signs, and warn of what may be wrong with it or with the offers."""
    from spkg.trust.fitness import chain_findings, check_fitness
    from spkg.trust.keys import load_signatory
    from spkg.trust.policy import VOUCHER_PURPOSES
    from vouchers.signature.sign import VoucherSigner

    signatory = load_signatory(
        *key_inputs(
            key=settings.key,
            cert=settings.cert,
            chain=settings.chain,
            key_password_env=None,
            key_password_file=settings.key_password_file,
        )
    )
    found = check_fitness(signatory.certificate, VOUCHER_PURPOSES, at=now(), digest=settings.digest)
    found += chain_findings(signatory.certificate, signatory.chain, None)
    for templates in settings.offers.values():
        found += issue_findings(templates, None)
    for finding in found:
        warn(finding)
    return VoucherSigner(signatory, settings.digest)
