"""SentencePiece's vocabularies (Kudo and Richardson, arXiv 1808.06226) as descriptions of the tokenizers library.

Some checkpoints come with `spiece.model` alone.  The file is a protocol buffer; four of its fields matter here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

SPACE = "▁"  # what the vocabulary has for a space
PIECE, NORMALIZER = 1, 3  # fields of the model
TEXT, SCORE, KIND = 1, 2, 3  # of a piece
CHARACTERS = 2  # of the normalizer: which characters become which
UNKNOWN = 2  # the kind of the one piece that stands for all that is unknown
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # how a field is stored
MOST_BITS = 64

Value = int | bytes


def describe(content: bytes) -> str:
    """The description, JSON, of the tokenizer in a `spiece.model`.  Raises ValueError for another file."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    pieces, unknown, characters = read_model(content)
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=unknown, byte_fallback=False))
    rules = [normalizers.Strip(left=False, right=True), normalizers.Replace(Regex(" {2,}"), SPACE)]
    tokenizer.normalizer = normalizers.Sequence(
        [*([normalizers.Precompiled(characters)] if characters else []), *rules]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always")
    return str(tokenizer.to_str())


def read_model(content: bytes) -> tuple[list[tuple[str, float]], int, bytes]:
    """The pieces with their scores, the place of the unknown one, and the table of characters.  Raises ValueError."""
    pieces: list[tuple[str, float]] = []
    unknown: list[int] = []
    characters = b""
    for number, value in read_fields(content):
        if number == PIECE and isinstance(value, bytes):
            parts = dict(read_fields(value))
            if parts.get(KIND) == UNKNOWN:
                unknown.append(len(pieces))
            score = struct.unpack("<f", as_bytes(parts.get(SCORE, bytes(4))))[0]
            pieces.append((as_bytes(parts.get(TEXT)).decode(), score))
        elif number == NORMALIZER and isinstance(value, bytes):
            characters = as_bytes(dict(read_fields(value)).get(CHARACTERS, b""))
    if len(unknown) != 1:
        raise ValueError("it has no piece for what is unknown")
    return pieces, unknown[0], characters


def as_bytes(value: Value | None) -> bytes:
    """A field's bytes.  Raises ValueError for a number, or nothing."""
    if not isinstance(value, bytes):
        raise ValueError("a field is missing, or not a text")
    return value


def read_fields(content: bytes) -> Iterator[tuple[int, Value]]:
    """The fields of a message by their numbers.  Raises ValueError where it is cut short or not a message."""
    place = 0
    while place < len(content):
        key, place = read_varint(content, place)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            found, place = read_varint(content, place)
            yield number, found
            continue
        size = {FIXED64: 8, FIXED32: 4}.get(kind)
        if kind == BYTES:
            size, place = read_varint(content, place)
        if size is None or place + size > len(content):
            raise ValueError("it is cut short, or not a vocabulary of SentencePiece")
        yield number, content[place : place + size]
        place += size


def read_varint(content: bytes, place: int) -> tuple[int, int]:
    """A number in groups of seven bits, lowest first, and the place after it.  Raises ValueError."""
    found = 0
    for shift in range(0, MOST_BITS, 7):
        if place >= len(content):
            break
        byte = content[place]
        place += 1
        found |= (byte & 127) << shift
        if byte < 128:
            return found, place
    raise ValueError("it is cut short, or not a vocabulary of SentencePiece")
