"""What a browser drew: the pixels of a PNG."""

import struct
import zlib
from typing import Final

__all__ = ["Pixel", "is_text", "pixels"]

PNG: Final = b"\x89PNG\r\n\x1a\n"
Pixel = tuple[int, int, int]


def pixels(octets: bytes) -> tuple[int, list[Pixel]]:
    """Read a PNG of eight bits a colour."""
    assert octets.startswith(PNG)
    chunks, at = dict[bytes, bytes](), len(PNG)
    while at < len(octets):
        size, name = struct.unpack_from(">I4s", octets, at)
        chunks[name] = chunks.get(name, b"") + octets[at + 8 : at + 8 + size]
        at += size + 12
    width, height, depth, kind = struct.unpack_from(">IIBB", chunks[b"IHDR"])
    step = {2: 3, 6: 4}[kind]
    assert depth == 8
    raw, above, found = zlib.decompress(chunks[b"IDAT"]), bytearray(width * step), list[Pixel]()
    for row in range(height):
        begin = row * (width * step + 1)
        line = _unfiltered(raw[begin], bytearray(raw[begin + 1 : begin + 1 + width * step]), above, step)
        found += [(line[at], line[at + 1], line[at + 2]) for at in range(0, len(line), step)]
        above = line
    return width, found


def _unfiltered(kind: int, line: bytearray, above: bytearray, step: int) -> bytearray:
    for at in range(len(line)):
        left, corner = (line[at - step], above[at - step]) if at >= step else (0, 0)
        up = above[at]
        by = (
            0,
            left,
            up,
            (left + up) // 2,
            min((left, up, corner), key=lambda one: abs(left + up - corner - one)),
        )
        line[at] = line[at] + by[kind] & 255
    return line


def is_text(one: Pixel, ground: Pixel) -> bool:
    return sum(abs(a - b) for a, b in zip(one, ground, strict=True)) > 200
