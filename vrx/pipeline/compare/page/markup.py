"""HTML that is put together from values: all text is escaped, but what is markup already."""

from __future__ import annotations

import re
from html import escape

# what a page must not hold, or what turns the direction of writing: names of files may have any of it
UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
EMPTY = {"img", "input", "meta"}  # elements of HTML without an end; those of SVG have one

Attribute = str | int | float | bool


class Markup(str):
    """Text that is HTML, not to be escaped."""

    __slots__ = ()


def text(words: str) -> Markup:
    """Text as HTML; characters that are unsafe to show as escape sequences of Python's."""
    if isinstance(words, Markup):
        return words
    return Markup(escape(UNSAFE.sub(lambda found: ascii(found.group())[1:-1], words)))


def element(tag: str, /, *children: str, **attributes: Attribute) -> Markup:
    """An element with its children, of which plain text is escaped.

    Of attributes' names a final underscore is dropped, other underscores become dashes; True is an attribute without
    a value, False none.
    """
    words = [tag]
    for name, value in attributes.items():
        name = name.rstrip("_").replace("_", "-")
        if value is True:
            words.append(name)
        elif value is not False:
            words.append(f'{name}="{text(str(value))}"')
    opening = f"<{' '.join(words)}>"
    return Markup(opening if tag in EMPTY else f"{opening}{joined(*children)}</{tag}>")


def joined(*children: str) -> Markup:
    """Pieces one after the other."""
    return Markup("".join(map(text, children)))
