"""A finished package, verified as a device would before it gets its name."""

import os
from datetime import datetime
from io import BufferedReader, FileIO

from spkg.errors import RefusedError, UntrustedError
from spkg.trust.policy import Policy
from spkg.verify.contents import check_payload
from spkg.verify.payload import open_package
from spkg.verify.signatures import verify_package

__all__ = ["verify_written"]


def verify_written(output: FileIO, policy: Policy, *, at: datetime) -> None:
    """Verify the package in a file that was just written.

    Args:
        output: The file, open for reading, too.
        policy: What a device trusts.
        at: The time at which it looks.

    Raises:
        RefusedError: The device would not trust it.
        FormatError: It could not read it.
    """
    output.seek(0)
    with (
        BufferedReader(FileIO(os.dup(output.fileno()))) as file,
        open_package(file) as (package, payload),
    ):
        try:
            trusted = verify_package(package, policy, at=at)
        except UntrustedError as exc:
            problem = f"a device would not trust this: {exc.problem}"
            raise RefusedError(problem, section=exc.section, hint=exc.hint) from exc
        check_payload(trusted, payload)
