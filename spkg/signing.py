"""Signing: a SignerInfo made with a key, checked before it goes out, and put into a package (TR-069 E.5)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric import padding, utils
from cryptography.hazmat.primitives.serialization import Encoding

from spkg.ber import Element
from spkg.cms import EMPTY_BLOCK, SignatureBlock, add_signer, parse_block, signed_attributes, signer_info
