"""Google Drive's pages for people without an account, read: what a folder lists, and what stands in place of a file.

Drive has no other interface without a key.  Pure: text in, values out.
"""

from __future__ import annotations

import html
import re
from contextlib import suppress
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

FILE = re.compile(r"/file/d/([\w-]{10,})")
FOLDER = re.compile(r"/folders/([\w-]{10,})")
LISTING = "flip-"  # begins the class names of a listing, an empty one's too
FORM = "download-form"  # of the page that asks whether to download what was not scanned for viruses
TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
QUOTA = re.compile(r"quota exceeded|too many users have viewed or downloaded", re.IGNORECASE)


@dataclass(frozen=True)
class DriveItem:
    """A file or folder: its path below the folder that was listed first, and its id."""

    path: str
    id: str
    is_folder: bool

    @property
    def page(self) -> str:
        """The path of its page for people."""
        return f"/drive/folders/{self.id}" if self.is_folder else f"/file/d/{self.id}/view"


@dataclass
class Link:
    """A link of a page: where it leads, and the text in it."""

    target: str
    text: list[str] = field(default_factory=list)


class PageParser(HTMLParser):
    """Collects a page's links with their text, and the action and hidden fields of its confirmation form."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[Link] = []
        self.action, self.hidden = "", dict[str, str]()
        self._in_link, self._in_form = False, False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "a":
            self.links.append(Link(values.get("href", "")))
            self._in_link = True
        elif tag == "form" and values.get("id") == FORM:
            self.action, self._in_form = values.get("action", ""), True
        elif tag == "input" and self._in_form and values.get("type") == "hidden":
            self.hidden[values.get("name", "")] = values.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._in_link = False
        elif tag == "form":
            self._in_form = False

    def handle_data(self, data: str) -> None:
        if self._in_link:
            self.links[-1].text.append(data)


def parse_page(page: str) -> PageParser:
    """A page, parsed; malformed ones as far as they go."""
    parser = PageParser()
    with suppress(AssertionError):  # the parser's way to say that a declaration, <![ and so on, is none it knows
        parser.feed(page)
        parser.close()
    return parser


def parse_listing(page: str, folder: str) -> list[DriveItem] | None:
    """The items of a folder whose own path is `folder`, in the page's order; None where the page is no listing."""
    if LISTING not in page:
        return None
    items: list[DriveItem] = []
    for link in parse_page(page).links:
        name = "".join(char for char in "".join(link.text).strip() if char.isprintable())
        found = FILE.search(link.target) or FOLDER.search(link.target)
        if found and name:
            path = f"{folder}/{name}" if folder else name
            items.append(DriveItem(path, found[1], is_folder=found.re is FOLDER))
    return items


def parse_confirmation(page: str, address: str) -> str:
    """The address that the page's form leads to, which asks whether to download all the same; empty for other pages.

    `address` is the page's own.
    """
    parser = parse_page(page)
    if not parser.action:
        return ""
    try:
        target = urlsplit(urljoin(address, parser.action))
    except ValueError:
        return ""
    return urlunsplit(target._replace(query=urlencode(dict(parse_qsl(target.query)) | parser.hidden)))


def describe_page(page: str) -> str:
    """Why a page came in place of a file or a listing, in words that follow a subject."""
    if QUOTA.search(page):
        return "has been downloaded too often lately, and Google Drive sends it again within 24 hours"
    title = TITLE.search(page)
    words = " ".join(html.unescape(title[1]).split()) if title else ""
    return f"cannot be accessed without an account, or no longer (Google Drive's page: {words or 'without a title'})"
