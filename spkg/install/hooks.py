"""The programs of a device that run around an installation: hooks, handlers, and the recovery command.

This process runs them, which is not confined.  Each gets PATH and a few variables about the installation, and
nothing else of our environment, where there may be passwords.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Literal

from spkg.common.documents import Document, json_text
from spkg.common.findings import NO_DATES, warning_documents
from spkg.common.frozen import dataclass
from spkg.common.portable import os_name
from spkg.common.printable import printable
from spkg.common.programs import ProgramRun, run_program
from spkg.device import Device
from spkg.errors import os_problem
from spkg.format.commands import Version
from spkg.install.all_or_nothing import StagedImage
from spkg.install.applied import Applied, ApplyRequest, digest_of
from spkg.install.result_document import result_document
from spkg.install.root import Root
from spkg.install.transaction import RecoveryOutcome
from spkg.install.tree_path import shown, split
from spkg.verify.signatures import TrustedPackage

__all__ = ["BARE_ENVIRONMENT", "HookRun", "Hooks", "image_document"]

BARE_ENVIRONMENT: Final[Mapping[str, str]] = {"PATH": os.defpath}
"""Where programs are found if the caller says nothing else."""
LAST_WORDS: Final = 200
"""How much of the last line of an output is repeated in an error, in characters."""

Hook = Literal["before", "after", "failed", "recovery", "handler"]


@dataclass(frozen=True, kw_only=True)
class HookRun:
    """A program of the device has run."""

    hook: Hook
    command: tuple[str, ...]
    run: ProgramRun

    @property
    def end(self) -> str:
        """How it ended and the last line that it printed, for people."""
        lines = [line for line in self.run.output.splitlines() if line.strip()]
        said = f": {printable(lines[-1].strip())[:LAST_WORDS]}" if lines else ""
        return f"{self.command[0]} {self.run.end}{said}"

    def to_document(self) -> Document:
        """Return it as the result has it."""
        return {
            "hook": self.hook,
            "command": [*self.command],
            "status": self.run.status,
            "timed_out": self.run.timed_out,
            "problem": self.run.problem or None,
            "output": self.run.output,
        }


class Hooks:
    """The programs of a device, for one installation.

    Args:
        trusted: The package; None if not so much of it arrived that it could be verified.
        root: The root.
        request: How the package is installed, and on which device.
        environment: Where PATH is taken from.
        clock: Returns the time in seconds; it never jumps.
        hear: Called with each program that has run.
    """

    def __init__(  # noqa: PLR0917 - as the installation
        self,
        trusted: TrustedPackage | None,
        root: Path,
        request: ApplyRequest,
        environment: Mapping[str, str],
        clock: Callable[[], float],
        hear: Callable[[HookRun], object],
    ) -> None:
        self.device = Device() if request.device is None else request.device
        self.hear = hear
        """Called with each program that has run."""
        self._trusted = trusted
        self._root = root
        self._request = request
        self._environment = {"PATH": environment.get("PATH") or os.defpath}
        self._clock = clock
        self._planned: Applied | None = None

    @property
    def wanted(self) -> bool:
        """Whether any of them reads what is planned, so that the child has to ask."""
        device = self.device
        return bool(
            device.before or device.after or device.failed or device.recovery_command or device.handlers
        )

    def reply(self, question: Document) -> Document:
        """Reply to the child that installs: what prevents it from going on, if anything does."""
        if "image" in question:
            return self._handle(question["image"])
        self._planned = Applied.from_document(question["planned"])
        run = self._run("before", self.device.before, "planned")
        if run is None or run.run.succeeded:
            return {}
        return {"problem": f"the hook 'before' refused the package: {run.end}"}

    def after(self) -> str:
        """Run the hook for an installed package, and return how it failed; empty if it did not."""
        run = self._run("after", self.device.after, "installed")
        return "" if run is None or run.run.succeeded else f"the hook 'after' failed: {run.end}"

    def failed(self, status: str) -> str:
        """Run the hook for an installation that failed, and return how that failed; empty if it did not.

        Args:
            status: The status of the result.
        """
        run = self._run("failed", self.device.failed, status)
        return "" if run is None or run.run.succeeded else f"the hook 'failed' failed: {run.end}"

    def recover(self, status: str) -> ProgramRun | None:
        """Run the recovery command, and return how it ended; None without one."""
        run = self._run("recovery", self.device.recovery_command, status)
        return None if run is None else run.run

    def _handle(self, image: Document) -> Document:
        """Give a file that is staged to its handler."""
        path = image["path"]
        handler = self.device.handler_for(path)
        assert handler is not None  # the child has planned with the same device
        about = {
            "SPKG_PATH": path,
            "SPKG_SIZE": str(image["size"]),
            "SPKG_SHA1": image["sha1"],
            "SPKG_SHA256": image["sha256"],
        }
        try:
            with Root(self._root) as opened:
                file = opened.open_own(split(image["place"]))
        except OSError as exc:
            return {"problem": f"{path}: its contents can't be read: {os_problem(exc)}"}
        try:
            run = self._run("handler", handler.command, "planned", about, file)
        finally:
            os.close(file)
        assert run is not None  # a handler always has a command
        return {} if run.run.succeeded else {"problem": f"{path}: the handler failed: {run.end}"}

    def _run(
        self,
        hook: Hook,
        command: tuple[str, ...],
        status: str,
        about: Mapping[str, str] | None = None,
        file: int | None = None,
    ) -> HookRun | None:
        """Run a program, if there is one.

        Args:
            hook: What it is.
            command: The program and its arguments.
            status: How far the installation is.
            about: More variables.
            file: What it reads, if that is not what is planned.
        """
        if not command:
            return None
        known = self._trusted
        records = () if known is None else known.package.records
        environment = {
            **self._environment,
            "SPKG_ROOT": os.fspath(self._root.absolute()),
            "SPKG_PACKAGE": "" if known is None else digest_of(known),
            "SPKG_VERSION": next((record.text for record in records if isinstance(record, Version)), ""),
            "SPKG_STATUS": status,
            **(about or {}),
        }
        environment = {
            name: value if name in {"PATH", "SPKG_ROOT"} else os_name(value.replace("\0", "\\0"))
            for name, value in environment.items()
        }
        run = run_program(
            command,
            environment=environment,
            clock=self._clock,
            limit=self.device.hook_timeout,
            given=self._plan() if file is None else file,
        )
        done = HookRun(hook=hook, command=command, run=run)
        self.hear(done)
        return done

    def _plan(self) -> bytes:
        """Return what a dry run prints; without changes if nothing could be planned."""
        nothing = Applied(
            changes=(),
            warnings=(),
            skipped_unknown=(),
            reboot_required=False,
            recovered=RecoveryOutcome.NOTHING,
        )
        when = self._request.when
        document = result_document(
            self._planned or nothing,
            planned=True,
            start=when,
            end=when,
            command_key=self._request.command_key,
        )
        if self._trusted is not None and not self._trusted.dates_checked:
            document["warnings"] += warning_documents([NO_DATES])
        return json_text(document).encode() + b"\n"


def image_document(image: StagedImage) -> Document:
    """Return a file for a handler as the child sends it."""
    return {
        "path": shown(image.path),
        "place": shown(image.place),
        "size": image.size,
        "sha1": image.sha1.hex(),
        "sha256": image.sha256.hex(),
    }
