"""The hook that approves of what was installed: if it fails, the installation is taken back."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from spkg.common.child_process import Tell, run_child
from spkg.common.documents import Document
from spkg.errors import FailedError, SpkgError, UnsafeError, os_problem
from spkg.install.applied import ApplyRequest
from spkg.install.confined import confined_root
from spkg.install.hooks import Hooks
from spkg.install.own_directory import working_in
from spkg.install.trial import end_hook_trial

__all__ = ["NOT_UNDONE", "approve", "keeping"]

NOT_UNDONE: Final = (
    "what handlers have written stays as it is; they get their files again when the package comes again"
)
"""The hint where a handler failed: another one, or this one, may have changed something."""


def keeping(request: ApplyRequest) -> ApplyRequest:
    """Return a request that keeps what a hook needs that may go back."""
    device = request.device
    if device is None or not device.after or request.in_place:
        return request
    return replace(request, until_hook=True)


def approve(
    hooks: Hooks,
    root: Path,
    request: ApplyRequest,
    settled: Callable[[], object],
    note: Callable[[str], object],
) -> None:
    """Run the hook for an installed package; if it fails, or a signal ends it, go back.

    Raises:
        FailedError: It failed, and the root is as before or, in place, changed.
        UnsafeError: It failed, and going back failed, too.
    """
    try:
        problem = hooks.after()
    except BaseException:
        settled()
        if not request.in_place:
            _take_back(root, request, "a signal ended the hook 'after'")
        raise
    if problem:
        settled()
        if request.in_place:
            raise FailedError(f"{problem}; the package was installed in place and can't be taken back")
        _take_back(root, request, problem)
        raise FailedError(f"taken back because {problem}", hint=NOT_UNDONE if hooks.device.handlers else None)
    if request.until_hook and request.back_up is None:

        def work(_told: Tell) -> Document:
            with confined_root(root) as (opened, _), working_in(opened):
                end_hook_trial(opened)
            return {}

        try:
            run_child(work, lambda _: None)
        except (SpkgError, OSError) as exc:  # the next installation or recovery does it
            note(f"the old files could not be removed yet: {exc}")


def _take_back(root: Path, request: ApplyRequest, reason: str) -> None:
    """Go back to the tree before the package that was just installed.

    Raises:
        UnsafeError: That failed.
    """
    from spkg.install.events import Trigger  # noqa: PLC0415 - start-up: hardly any installation goes back
    from spkg.install.trial_end import rollback  # noqa: PLC0415 - likewise

    try:
        rollback(root, when=request.when, by=Trigger.HOOK, reason=reason)
    except (SpkgError, OSError) as exc:
        problem = os_problem(exc) if isinstance(exc, OSError) else str(exc)
        raise UnsafeError(f"{reason}; and the package can't be taken back: {problem}") from exc
