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
from spkg.install.history import is_last, rolled_back_packages
from spkg.install.hooks import Hooks
from spkg.install.own_directory import working_in
from spkg.install.root import Root
from spkg.install.trial import end_hook_trial, load_trial

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
    package: str,
    *,
    settled: Callable[[], object],
    note: Callable[[str], object],
) -> bool:
    """Run the hook for an installed package; if it fails, or a signal ends it, go back.

    Returns:
        Whether the package is still on trial: the hook may have confirmed it.

    Raises:
        FailedError: It failed or went back itself, and the root is as before; in place, it is changed.
        UnsafeError: It failed, and going back failed, too.
    """
    try:
        problem = hooks.after()
    except BaseException:
        settled()
        if not request.in_place:
            _take_back(root, request, package, "a signal ended the hook 'after'")
        raise
    if problem:
        settled()
        if request.in_place:
            raise FailedError(f"{problem}; the package was installed in place and can't be taken back")
        _take_back(root, request, package, problem)
        raise FailedError(f"taken back because {problem}", hint=NOT_UNDONE if hooks.device.handlers else None)
    if _is_taken_back(root, package):
        settled()
        raise FailedError("taken back because the hook 'after' rolled it back")
    if request.until_hook and request.back_up is None:

        def work(_told: Tell) -> Document:
            with confined_root(root) as (opened, _), working_in(opened):
                end_hook_trial(opened)
            return {}

        try:
            run_child(work, lambda _: None)
        except (SpkgError, OSError) as exc:  # the next installation or recovery does it
            note(f"the old files could not be removed yet: {exc}")
    return request.back_up is not None and _is_on_trial(root)


def _is_on_trial(root: Path) -> bool:
    try:
        with Root(root) as opened:
            return load_trial(opened) is not None
    except (SpkgError, OSError):  # as it was before the hook
        return True


def _is_taken_back(root: Path, package: str) -> bool:
    """Whether the hook has gone back itself."""
    try:
        with Root(root) as opened:
            gone = load_trial(opened) is None and any(
                one.package == package for one in rolled_back_packages(opened)
            )
            return gone and not is_last({"package": package}, opened)
    except (SpkgError, OSError):  # then going back says what is wrong
        return False


def _take_back(root: Path, request: ApplyRequest, package: str, reason: str) -> None:
    """Go back to the tree before the package that was just installed, if that is not done yet.

    Raises:
        UnsafeError: That failed.
    """
    if _is_taken_back(root, package):
        return
    from spkg.install.events import Trigger  # noqa: PLC0415 - start-up: hardly any installation goes back
    from spkg.install.trial_end import rollback  # noqa: PLC0415 - likewise

    try:
        rollback(root, when=request.when, by=Trigger.HOOK, reason=reason)
    except (SpkgError, OSError) as exc:
        problem = os_problem(exc) if isinstance(exc, OSError) else str(exc)
        raise UnsafeError(f"{reason}; and the package can't be taken back: {problem}") from exc
