"""Applying a package to a root: recover, plan, install, record; everything that does not concern processes.

This module decides how: all or nothing or in place; from the beginning, resumed, or not at all if the package
is already installed.
"""

import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace

from spkg.errors import RefusedError
from spkg.install.admission import (
    check_boot,
    check_source,
    check_writable,
    is_installed,
    is_recovery,
    start_of,
)
from spkg.install.all_or_nothing import StagedImage, install
from spkg.install.applied import (
    Applied,
    ApplyRequest,
    already_applied,
    applied_by,
    digest_of,
    entry_of,
    trial_of,
)
from spkg.install.checkpoint import WORST, Checkpoint
from spkg.install.found_journal import journal_warnings, known_journal
from spkg.install.history import record_warnings
from spkg.install.leftovers import leftover_warnings, stuck_warnings
from spkg.install.own_directory import check_own, failing, working_in
from spkg.install.plan import Plan, plan_installation
from spkg.install.recovery import settle_root
from spkg.install.root import Root
from spkg.install.root_tree import OWN, RootTree
from spkg.install.staging import is_staging, staged
from spkg.install.transaction import RecoveryOutcome, Settled, is_pending
from spkg.install.trial import end_hook_trial, end_trial
from spkg.install.unreported import forget_unreported
from spkg.verify.contents import check_payload
from spkg.verify.payload import ArrivingPayload, Payload
from spkg.verify.signatures import TrustedPackage
from spkg.verify.single_pass import Progress

__all__ = ["apply", "preview"]


def apply(
    trusted: TrustedPackage,
    payload: Payload,
    root: Root,
    request: ApplyRequest,
    *,
    permit: Callable[[Applied], object] | None = None,
    handle: Callable[[StagedImage], object] = lambda _: None,
    committing: Callable[[], object] = lambda: None,
    progress: Progress | None = None,
) -> Applied:
    """Install a package in a root.

    Args:
        trusted: The package.
        payload: Its payload, from the beginning.
        root: The root.
        request: How to install it.
        permit: Called with what would be done, before anything changes; it raises what prevents it.  If the
            device has a hook for that, the contents of a package in a file are checked before; the deadlines
            of one that is still arriving stand still.
        handle: Called with each file for a handler, right before the point of no return.
        committing: Called at the point of no return.
        progress: Called with the number of bytes done.

    Raises:
        RefusedError: The package is not for this device or root, or can't be installed now.
        UntrustedError: The contents of a file do not match the signed digest.
        FormatError: The payload is shorter or longer than the header states.
        FailedError: It failed; the root is as before or, in place, usable and partly changed.
        UnsafeError: It failed, and the root needs recovery.
        OSError: The root can't be read.
    """
    check_source(payload, request)
    check_boot(request)
    check_writable(trusted, root, request)
    arriving = isinstance(payload, ArrivingPayload)
    # A dry run does not make the installer's own directory, and has to see the same room.
    space = root.space() if root.status(OWN) is None else None
    with working_in(root):
        digest = digest_of(trusted)
        rescuing = request.unsafe_force and is_recovery(trusted)
        if rescuing and journal_warnings(root):
            # What refuses the package does so before the damaged journal is set aside.
            _plan(trusted, root, request, replace(WORST, package=digest))
        keep = digest if arriving and not request.in_place else None
        settled = settle_root(root, keep=keep, rescuing=rescuing)
        end_hook_trial(root)
        if is_installed(trusted, root) and not request.again:
            if not arriving:
                # The signed bytes are the same, but the files may differ.
                check_payload(trusted, payload, jobs=request.jobs)
            forget_unreported(root)
            return already_applied(trusted, root, settled, stuck_warnings(root))
        start = start_of(trusted, root, request)
        planned = _plan(trusted, root, request, start, space)
        entry = entry_of(planned, request)
        prepares = request.device is not None and request.device.before
        if payload.descriptor is not None and (request.in_place or prepares):
            # Damage must be found before commands take effect, or a hook prepares for them.
            check_payload(trusted, payload, jobs=request.jobs)
            payload.skip_to(0)
        if permit is not None:
            with payload.waiting() if isinstance(payload, ArrivingPayload) else nullcontext():
                permit(applied_by(planned, request, settled, stuck_warnings(root)))
        if request.in_place:
            from spkg.install.in_place import install_in_place  # noqa: PLC0415 - start-up: it is the exception

            with failing():
                end_trial(root)  # each command makes what is kept less of the tree as before
            install_in_place(
                planned, request.device, payload, root, entry, start, committing=committing, progress=progress
            )
        else:
            install(
                planned,
                payload,
                root,
                entry,
                trial=trial_of(entry, request),
                committing=committing,
                handle=handle,
                progress=progress,
                jobs=request.jobs,
            )
        forget_unreported(root)
        done = applied_by(planned, request, settled, stuck_warnings(root))
        return replace(done, on_trial=request.back_up is not None)


def preview(trusted: TrustedPackage, payload: Payload, root: Root, request: ApplyRequest) -> Applied:
    """Return what :func:`apply` would do, after checking the payload; nothing is changed.

    Raises:
        RefusedError: It would be refused, or an interrupted installation has to be recovered first.
        UnsafeError: The journal of an interrupted installation is damaged.
        UntrustedError: The contents of a file do not match the signed digest.
        FormatError: The payload is shorter or longer than the header states.
        FailedError: The record of installed packages can't be read.
        OSError: The root can't be read.
    """
    check_source(payload, request)
    check_boot(request)
    check_own(root)
    check_writable(trusted, root, request)
    rescuing = request.unsafe_force and is_recovery(trusted)
    damaged = journal_warnings(root) if rescuing else ()
    if not damaged and is_pending(root):
        known_journal(root)
        hint = "run 'spkg recover' to finish or undo it"
        raise RefusedError("an installation in this root was interrupted", hint=hint)
    settled = Settled(RecoveryOutcome.NOTHING, warnings=(*damaged, *record_warnings(root)))
    if is_installed(trusted, root) and not request.again:
        done = already_applied(trusted, root, settled, leftover_warnings(root))
    else:
        planned = _plan(trusted, root, request, start_of(trusted, root, request))
        done = applied_by(planned, request, settled, leftover_warnings(root))
    check_payload(trusted, payload, jobs=request.jobs)
    return done


def _plan(
    trusted: TrustedPackage,
    root: Root,
    request: ApplyRequest,
    start: Checkpoint,
    space: os.statvfs_result | None = None,
) -> Plan:
    there = staged(root).values() if is_staging(root) else ()
    with root.staying():
        return plan_installation(
            trusted,
            request.device,
            RootTree(root, reusable=(sum(there), len(there)), space=space),
            refuse_unknown=request.refuse_unknown,
            in_place=request.in_place,
            keeping=request.back_up is not None or request.until_hook,
            start=start.command,
        )
