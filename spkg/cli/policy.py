"""``spkg policy check``."""

from datetime import datetime
from pathlib import Path

import click

from spkg.cli.app import command
from spkg.cli.arguments import now
from spkg.cli.console import print_document, print_lines, warn
from spkg.cli.options import FILE, JSON, Time, no_stream

__all__ = ["check_policy"]


@command("check")
@click.argument("file", type=FILE, callback=no_stream)
@click.option("--at", type=Time(), help="Look for what has ended at TIME.  [default: now]")
@JSON
def check_policy(file: Path, at: datetime | None, as_json: bool) -> None:
    """Explain in words what the policy FILE accepts.

    Warnings show where it is weak.  The exit status is 0 in that case, too; 3: FILE is not a policy.

    \b
    Example:
      spkg policy check samples/gateway/trust.toml

    See: docs/policy.md
    """
    from spkg.report.policy import policy_document, policy_lines
    from spkg.trust.policy import Policy
    from spkg.trust.policy_file import load_policy_settings
    from spkg.trust.weaknesses import weaknesses

    settings = load_policy_settings(file)
    policy = Policy(**settings.values)
    findings = [*settings.findings, *weaknesses(policy, at or now())]
    for finding in findings:
        warn(finding)
    if as_json:
        print_document(policy_document(policy, findings))
    else:
        print_lines(policy_lines(policy))
