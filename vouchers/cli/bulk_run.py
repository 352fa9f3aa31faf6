"""A run that writes many vouchers: where they are signed, its progress, and the result that it ends with."""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spkg.cli.app import DocumentedError, FailureReporter, exit_status, failure_fields, host_error
from spkg.cli.arguments import cores
from spkg.cli.console import print_line, print_lines, progress_bar
from spkg.common.findings import Finding, warning_documents
from spkg.common.printable import amount
from spkg.errors import FormatError, SpkgError, UsageError

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from spkg.common.documents import Document
    from vouchers.acs.bulk import BulkReport

__all__ = [
    "BulkCommand",
    "RunProgress",
    "bulk_result_line",
    "check_cluster",
    "rejected_error",
    "unserved_lines",
]


CLUSTER_ADDRESS: Final = re.compile(r"([a-z]+://)?(?![a-z]+://)[^\s/]\S*")


class RunProgress:
    """How far a run is: drawn on a terminal, or printed as JSON.

    Args:
        stack: Where what is drawn comes to its end.
        command: The run.
    """

    def __init__(self, stack: ExitStack, command: "BulkCommand") -> None:
        self._stack, self._command = stack, command
        self._drawn: list[Callable[..., object] | None] = []
        self._done = self._told = 0
        self.total = 0
        """What there is to do: bytes of a list, or Options."""

    def expect(self, total: int) -> None:
        """Note what there is to do, once that is known."""
        self.total = total

    def __call__(self, done: int) -> None:
        """Count what was done since the last call."""
        from spkg.report.lines import progress_document

        command = self._command
        self._done += done
        if not self._drawn:  # drawing starts a thread; fork all processes before
            bar = progress_bar(
                *(command.verb, self.total), wanted=not command.no_progress, slow=True, unit=command.unit
            )
            self._drawn.append(self._stack.enter_context(bar))
        if self._drawn[0] is not None:
            self._drawn[0](done)
        if command.as_json and self._done - self._told >= self.total / 100:
            self._told = self._done
            print_line(progress_document(command.schema, self._done, self.total, unit=command.unit))


BulkWork = Callable[[RunProgress, "Executor | None", int], "BulkReport"]
"""Writes vouchers; called with its progress, with where they are signed if not here, and by how many."""


@dataclass(frozen=True, kw_only=True)
class BulkCommand:
    """A command that writes many vouchers."""

    schema: str
    verb: str
    """What it does, for the progress bar."""
    unit: str
    """What its progress counts."""
    batch: str
    directory: Path
    findings: Sequence[Finding]
    cluster: str | None
    jobs: int | None
    no_progress: bool
    as_json: bool

    def carry_out(
        self,
        work: BulkWork,
        lacking: Callable[[int], str],
        more: Callable[["BulkReport"], "Document"] = lambda _: {},
    ) -> None:
        """Write vouchers, and print the result.

        Args:
            work: What writes them.
            lacking: Returns what is wrong where so many got no voucher.
            more: Returns what else the result has.

        Raises:
            DocumentedError: It failed, which the result says.
        """
        from vouchers.acs.bulk_output import BULK_REJECTED
        from vouchers.report import bulk_document, bulk_lines

        error: SpkgError | None = None
        report: BulkReport | None = None
        document: Document = {"schema": self.schema, "event": "result", "batch": self.batch}
        try:
            with ExitStack() as stack:
                workers, jobs = None, self.jobs or cores()
                if self.cluster is not None:
                    from vouchers.acs.cluster import cluster_executor

                    workers = stack.enter_context(cluster_executor(self.cluster))
                    jobs = workers.threads
                report = work(RunProgress(stack, self), workers, jobs)
            document |= bulk_document(report, str(self.directory)) | more(report)
            if report.rejected:
                error = rejected_error(lacking(report.rejected), self.directory / BULK_REJECTED)
        except SpkgError as exc:
            error = exc
        except OSError as exc:
            error = host_error(exc)
        document["warnings"] = warning_documents(self.findings)
        if error is not None:
            document |= failure_fields(error, exit_status(error), str(error))
        if self.as_json:
            print_line(document)
        elif report is not None:
            print_lines(bulk_lines(report, str(self.directory), self.batch))
        if error is not None:
            raise DocumentedError(error) from error


def rejected_error(problem: str, file: Path) -> FormatError:
    """Return the error of a run in which some got no voucher; the file says why."""
    return FormatError(problem, hint=f"see {file} for the reasons")


def unserved_lines(count: int) -> str:
    """Return what is wrong where so many lines of a list got no voucher."""
    return f"{amount(count, 'line')} of the list got no voucher"


def check_cluster(cluster: str | None, jobs: int | None, out_dir: Path | None) -> None:
    """Make sure that a cluster has something to do, and is alone."""
    if cluster is not None and (jobs is not None or out_dir is None):
        raise UsageError("--cluster excludes --jobs" if out_dir else "--cluster needs --out-dir")
    if cluster is not None and not CLUSTER_ADDRESS.fullmatch(cluster):
        raise UsageError(f"--cluster: expected an address such as tls://host:8786, got {cluster[:200]!r}")


def bulk_result_line(command: str, option: str) -> Callable[[Mapping[str, Any]], FailureReporter | None]:
    """Return what makes a run end with a result line, even if it fails before it starts.

    Args:
        command: The command.
        option: The option that makes it write many vouchers.
    """

    def reporter(options: Mapping[str, Any]) -> FailureReporter | None:
        return None if options.get(option) is None else partial(_print_failure, command)

    return reporter


def _print_failure(command: str, error: SpkgError | None, status: int, message: str) -> None:
    from vouchers.report import ISSUE, RENEW

    schema = {"issue": ISSUE, "renew": RENEW}[command]
    print_line({"schema": schema, "event": "result", **failure_fields(error, status, message)})
