"""Whether a package may be installed in a root now, and where that begins."""

from spkg.errors import ON_TRIAL, ROLLED_BACK, RefusedError, UsageError
from spkg.format.commands import ROLES, Role
from spkg.format.installation_state import InstallationState
from spkg.install.applied import ApplyRequest, digest_of
from spkg.install.checkpoint import CHECKPOINT, Checkpoint, checkpoint_warnings, load_checkpoint
from spkg.install.history import is_last, rolled_back_packages
from spkg.install.own_directory import check_mounted_for_writing
from spkg.install.root import Root
from spkg.install.tree_path import shown
from spkg.install.trial import load_trial
from spkg.verify.payload import ArrivingPayload, Payload
from spkg.verify.signatures import TrustedPackage

__all__ = [
    "check_boot",
    "check_source",
    "check_writable",
    "is_installed",
    "is_recovery",
    "start_of",
]


def is_installed(trusted: TrustedPackage, root: Root) -> bool:
    """Whether a package is the last one installed, and no installation has begun since."""
    return is_last({"package": digest_of(trusted)}, root) and load_checkpoint(root) is None


def is_recovery(trusted: TrustedPackage) -> bool:
    """Whether a package has the role that repairs an unsafe root, and no other."""
    roles = {record.role for record in trusted.package.records if isinstance(record, Role)}
    return roles == {ROLES["software-recovery"]}


def check_source(payload: Payload, request: ApplyRequest) -> None:
    """Refuse commands that would take effect while the package still arrives, unless that was asked for.

    Raises:
        UsageError: They would.
    """
    if (
        request.in_place
        and payload.descriptor is None
        and not (isinstance(payload, ArrivingPayload) and request.unsafe_streaming)
    ):
        hint = "save it to a file, or add --unsafe-streaming: a broken stream may leave the root half-changed"
        raise UsageError("--in-place needs the package in a file", hint=hint)


def check_boot(request: ApplyRequest) -> None:
    """Refuse a trial whose boots could not be counted.

    Raises:
        UsageError: It is unknown in which boot it begins.
    """
    if request.back_up is not None and request.boot is None:
        raise UsageError("a trial needs the boot in which it begins")


def check_writable(trusted: TrustedPackage, root: Root, request: ApplyRequest) -> None:
    """Refuse a root in which nothing can be written, if something has to be."""
    try:
        check_mounted_for_writing(root)
    except RefusedError:
        # Only then: a record that can't be read says more once the directory around it has been checked.
        if request.again or not is_installed(trusted, root):
            raise


def start_of(trusted: TrustedPackage, root: Root, request: ApplyRequest) -> Checkpoint:
    """Return where to begin, possibly after an installation in place that was not finished.

    Raises:
        RefusedError: This package can't be installed now, or not in this way.
    """
    digest = digest_of(trusted)
    _check_trial(trusted, root, request)
    found = load_checkpoint(root)
    fresh = Checkpoint(package=digest, command=0, state=InstallationState.INITIAL)
    if found is None:
        return fresh
    recovery = is_recovery(trusted)
    # In an unsafe root, each command is assumed to leave it unsafe, until the last one is done.
    anew = Checkpoint(package=digest, command=0, state=found.state)
    if found.package == digest and (recovery or request.unsafe_force or not (found.unsafe and found.failed)):
        if not request.in_place and not recovery and not request.unsafe_force:
            raise RefusedError(
                f"this package was started in place and stopped at command[{found.command}]",
                hint="use --in-place to resume it there",
            )
        return found if request.in_place else anew
    if recovery or request.unsafe_force or (found.failed and not found.unsafe):
        return anew
    if found.unsafe:
        damaged = f" ({shown(CHECKPOINT)} is damaged)" if checkpoint_warnings(root) else ""
        raise RefusedError(
            f"the root is unsafe{damaged} and accepts only a package with the role software-recovery",
            section="E.4.11",
            hint="apply a recovery package, or use --unsafe-force to apply any package",
        )
    raise RefusedError(
        "another package was started in place and is not finished",
        hint="apply that package with --in-place, or one with the role software-recovery",
    )


def _check_trial(trusted: TrustedPackage, root: Root, request: ApplyRequest) -> None:
    """Refuse what a trial under way, or one that has failed, forbids.

    Raises:
        RefusedError: This package can't be installed now, or not in this way.
    """
    if request.back_up is not None and request.in_place:
        raise RefusedError(
            "an installation in place keeps nothing to go back to",
            hint="leave out --in-place or --back-up",
        )
    trial = load_trial(root)
    if trial is not None and not trial.until_hook and not is_recovery(trusted):
        raise RefusedError(
            f"package {trial.package[:16]} is on trial",
            hint="end the trial first: 'spkg confirm' keeps that package, 'spkg rollback' goes back",
            reason=ON_TRIAL,
        )
    gone = next((one for one in rolled_back_packages(root) if one.package == digest_of(trusted)), None)
    if gone is not None and not request.again:
        why = "" if gone.reason is None else f" ({gone.reason})"
        raise RefusedError(
            f"this package was rolled back at {gone.when}{why}",
            hint="to apply it all the same, use --again or 'spkg confirm --forgive'",
            reason=ROLLED_BACK,
        )
