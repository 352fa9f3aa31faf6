"""Whether this is the proof, in which tests go through all that they otherwise take samples of."""

import os
from typing import Final

__all__ = ["PROOF"]

PROOF: Final = os.environ.get("SPKG_PROFILE") == "proof"
