"""The collision of SHA-1 in miniature: two beginnings of published files that differ and have one SHA-1."""

from typing import Final

__all__ = ["COLLISION"]

SHARED: Final = (
    "25504446 2d312e33 0a25e2e3 cfd30a0a 0a312030 206f626a 0a3c3c2f 57696474 68203220 3020522f 48656967"
    "68742033 20302052 2f547970 65203420 3020522f 53756274 79706520 35203020 522f4669 6c746572 20362030"
    "20522f43 6f6c6f72 53706163 65203720 3020522f 4c656e67 74682038 20302052 2f426974 73506572 436f6d70"
    "6f6e656e 7420383e 3e0a7374 7265616d 0affd8ff fe002453 48412d31 20697320 64656164 21212121 21852fec"
    "09233975 9c39b1a1 c63c4c97 e1fffe01"
)
ONE: Final = (
    "7f46dc93 a6b67e01 3b029aaa 1db2560b 45ca67d6 88c7f84b 8c4c791f e02b3df6 14f86db1 690901c5 6b45c153"
    "0afedfb7 6038e972 722fe7ad 728f0e49 04e046c2 30570fe9 d41398ab e12ef5bc 942be335 42a4802d 98b5d70f"
    "2a332ec3 7fac3514 e74ddc0f 2cc1a874 cd0c7830 5a215664 61309789 606bd0bf 3f98cda8 044629a1"
)
OTHER: Final = (
    "7346dc91 66b67e11 8f029ab6 21b2560f f9ca67cc a8c7f85b a84c7903 0c2b3de2 18f86db3 a90901d5 df45c14f"
    "26fedfb3 dc38e96a c22fe7bd 728f0e45 bce046d2 3c570feb 141398bb 552ef5a0 a82be331 fea48037 b8b5d71f"
    "0e332edf 93ac3500 eb4ddc0d ecc1a864 790c782c 76215660 dd309791 d06bd0af 3f98cda4 bc4629b1"
)
COLLISION: Final = tuple(bytes.fromhex(SHARED + rest) for rest in (ONE, OTHER))
"""Two files of one SHA-1 (Stevens et al., "The first collision for full SHA-1", 2017)."""
