"""What a killed process has done to a root: recovered, or read from the record."""

from dataclasses import replace

from spkg.errors import FailedError, UnsafeError, os_problem
from spkg.install.admission import is_installed
from spkg.install.applied import Applied, ApplyRequest, already_applied, digest_of
from spkg.install.history import installed
from spkg.install.leftovers import leftover_warnings, stuck_warnings
from spkg.install.own_directory import working_in
from spkg.install.recovery import settle_root
from spkg.install.root import Root
from spkg.install.status import RootState, root_state
from spkg.install.transaction import RECOVER, RecoveryOutcome, Settled
from spkg.install.transaction_places import JOURNAL
from spkg.verify.signatures import TrustedPackage

__all__ = ["aftermath", "ensure_durable", "installed_by", "is_half_done"]


def aftermath(
    trusted: TrustedPackage,
    root: Root,
    request: ApplyRequest,
    *,
    arriving: bool = False,
    killed: str = "the process that changes the root was killed",
) -> Applied:
    """Recover after the process that installed a package was killed, and return what it had done.

    Args:
        trusted: The package.
        root: The root.
        request: How it was installed.
        arriving: Whether it was still being received, so that it can be resumed with the staged files.
        killed: How that process ended, for the error.

    Raises:
        FailedError: The package is not installed; the root is as before or, in place, usable.
        UnsafeError: The package is not installed, and the root needs recovery; or it is unknown whether it
            will still be installed after a power cut.
        OSError: The root can't be read.
    """
    with working_in(root):
        try:
            settled = settle_root(root, keep=digest_of(trusted) if arriving else None)
        except FailedError as exc:
            if is_half_done(root) or installed_by(trusted, root, request) is not None:
                raise UnsafeError(f"the recovery stopped: {exc.problem}", hint=RECOVER) from exc
            raise
        done = installed_by(trusted, root, request, settled)
        if done is not None:
            return done
        state, stopped = root_state(root)
    if settled.cause:
        killed = f"{killed}, and its changes could not be completed and were undone: {settled.cause}"
    field = None if stopped is None else f"command[{stopped.command}]"
    if state is RootState.UNSAFE:
        raise UnsafeError(f"{killed} in the unrecoverable state", field=field)
    raise FailedError(killed, field=field)


def installed_by(
    trusted: TrustedPackage,
    root: Root,
    request: ApplyRequest,
    settled: Settled | None = None,
) -> Applied | None:
    """Return what a request has changed, if the record says that it was completed.

    Raises:
        UnsafeError: The record can't be read, so that it is unknown.
    """
    try:
        if not is_installed(trusted, root) or (last := installed(root)[0])["time"] != request.when:
            return None
    except (FailedError, OSError) as exc:
        problem = exc.problem if isinstance(exc, FailedError) else os_problem(exc)
        raise UnsafeError(f"it is unknown what was done: {problem}", hint=RECOVER) from exc
    # Only after a recovery is the root locked by this process, and has it tried to remove what is left over.
    left = leftover_warnings(root) if settled is None else stuck_warnings(root)
    done = already_applied(trusted, root, settled or Settled(RecoveryOutcome.NOTHING), left)
    return replace(done, already=False, changes=tuple(last["changes"] or ()))


def ensure_durable(root: Root) -> None:
    """Make durable what was written to a root before the process that did it was killed.

    Raises:
        UnsafeError: A power cut may still undo it.
    """
    try:
        root.sync_all()
    except OSError as exc:
        raise UnsafeError(f"a power cut may undo what was done: {os_problem(exc)}", hint=RECOVER) from exc


def is_half_done(root: Root) -> bool:
    """Whether the tree may be half-changed: an installation has begun to change it and is not finished.

    Raises:
        OSError: The root can't be read.
    """
    return root.status(JOURNAL) is not None or root_state(root)[0] is RootState.UNSAFE
