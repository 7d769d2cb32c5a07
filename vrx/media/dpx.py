"""DPX headers (SMPTE ST 268-1): how samples are coded, and what film and television add to a frame, time code first.

ffmpeg writes sizes and pixels only; the rest is that of the source.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

BYTE_ORDERS = {b"SDPX": ">", b"XPDS": "<"}  # of numbers, by the first bytes
GENERIC_END, INDUSTRY_END = 1664, 2048  # film and television are described between them
WORDS = (*range(1712, 1732, 4), 1920, 1924, *range(1932, 1972, 4))  # places of that part's 32-bit numbers
UNDEFINED = (0, 0xFF)  # bytes of what a header does not state
CODING = slice(801, 803)  # transfer (3: logarithmic) and colorimetry of the first element
PIXELS_AT, FILE_BYTES, INDUSTRY_BYTES, FIRST_ELEMENT_AT = 4, 16, 28, 808  # places of these numbers


@dataclass(frozen=True)
class DpxMetadata:
    """What a source's header states: `coding`, two bytes, and `industry`, that of film and television, big endian."""

    coding: bytes
    industry: bytes


def read_dpx_metadata(path: Path) -> DpxMetadata | None:
    """What the header of a DPX file states; None for another file."""
    try:
        with path.open("rb") as file:
            head = file.read(INDUSTRY_END)
    except OSError:
        return None
    order = BYTE_ORDERS.get(head[:4])
    if order is None or len(head) < INDUSTRY_END:
        return None
    industry = b""
    if struct.unpack_from(order + "I", head, PIXELS_AT)[0] >= INDUSTRY_END:
        industry = reorder_words(head, order, ">")[GENERIC_END:]
    return DpxMetadata(head[CODING], industry if set(industry).difference(UNDEFINED) else b"")


def reorder_words(head: bytes, order: str, wanted: str) -> bytes:
    """A header whose numbers for film and television are in another byte order."""
    data = bytearray(head)
    for place in WORDS:
        struct.pack_into(wanted + "I", data, place, *struct.unpack_from(order + "I", data, place))
    return bytes(data)


def embed_dpx_metadata(path: Path, metadata: DpxMetadata) -> None:
    """Give a DPX file that ffmpeg wrote what a source's header states.  Raises OSError."""
    data = path.read_bytes()
    order = BYTE_ORDERS.get(data[:4])
    if order is None or struct.unpack_from(order + "I", data, PIXELS_AT)[0] != GENERIC_END:
        return
    head = bytearray(data[:GENERIC_END])
    if any(byte not in UNDEFINED for byte in metadata.coding):
        head[CODING] = metadata.coding
    if metadata.industry:
        for place in (PIXELS_AT, FIRST_ELEMENT_AT):
            struct.pack_into(order + "I", head, place, INDUSTRY_END)
        struct.pack_into(order + "I", head, FILE_BYTES, len(data) + len(metadata.industry))
        struct.pack_into(order + "I", head, INDUSTRY_BYTES, len(metadata.industry))
        head = bytearray(reorder_words(bytes(head) + metadata.industry, ">", order))
    path.write_bytes(bytes(head) + data[GENERIC_END:])
