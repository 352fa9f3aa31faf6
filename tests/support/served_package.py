"""A package that is large enough to be cut anywhere, for a server to serve."""

from typing import Final

from spkg.format.commands import End, Reboot, Remove, Version
from spkg.format.paths import RootPath
from tests.support.kit import CONTENTS, Draft, file

__all__ = ["BIG", "DRAFT", "FRONT", "NEW", "OCTETS", "RECORDS"]

BIG: Final = bytes(range(256)) * 400
RECORDS: Final = (
    Version(text="6.3"),
    file("/bin/app"),
    Remove(path=RootPath.of("/old")),
    file("/big", BIG, at=len(CONTENTS)),
    Reboot(),
    End(),
)
DRAFT: Final = Draft(records=RECORDS, payload=CONTENTS + BIG)
OCTETS: Final = DRAFT.encode()
FRONT: Final = len(DRAFT.front)
"""Where its payload begins."""
NEW: Final = {"root/bin/app": CONTENTS, "root/big": BIG}
"""What the root has afterwards."""
