"""A server on loopback that answers as Google Drive does without an account: pages, redirects, files in ranges."""

import html
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

ROOT_ID = "1ROOTfolderOfTheAuthors"
QUOTA_PAGE = (
    "<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title></head><body><div class='uc-main'>"
    "<p class='uc-error-caption'>Sorry, you can&#39;t view or download this file at this time.</p>"
    "<p class='uc-error-subcaption'>Too many users have viewed or downloaded this file recently.</p></div></body>"
)
SIGN_IN_PAGE = "<html><head><title>Google Drive: Sign-in</title></head><body>to continue</body></html>"
FORM = """<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head><body><div class="uc-main">
<p class="uc-warning-caption">Google Drive can't scan this file for viruses.</p><p class="uc-warning-subcaption">
<span class="uc-name-size"><a href="/open?id={id}">model.pt</a> (5.3G)</span> is too large to scan.</p>
<form id="download-form" action="{action}" method="get"><input type="submit" value="Download anyway"/>
<input type="hidden" name="id" value="{id}"><input type="hidden" name="export" value="download">
<input type="hidden" name="confirm" value="t"><input type="hidden" name="uuid" value="{uuid}"></form></div></body>
"""


def item_id(path: str) -> str:
    """An id as Drive's: letters and digits that tell nothing; the root's is known."""
    return f"1{zlib.crc32(path.encode()):010d}x{len(path):04d}-_id" if path else ROOT_ID


@dataclass
class Drive:
    """Files by their paths; faults that the next answers show; what was asked: path and query, range."""

    files: dict[str, bytes] = field(default_factory=dict)
    confirms: bool = False  # large files are asked about first, in a page with a form
    uuid: str = "a-1"  # that the form gives, and that opens a file
    quota: int = 0  # answers with a file to come as a page about the quota; -1: all
    private: bool = False  # listings lead to the sign-in page
    status: list[int] = field(default_factory=list)  # of the next answers
    page: str = ""  # in place of listings
    drop_after: list[int] = field(default_factory=list)  # bytes after which each next transfer is cut
    action: str = ""  # where the form leads, in place of this server
    asked: list[tuple[str, str]] = field(default_factory=list)
    address: str = ""

    @property
    def folder(self) -> str:
        """The address of the shared folder."""
        return f"{self.address}/drive/folders/{ROOT_ID}"

    def transfers(self) -> list[str]:
        """The ranges of the requests for whole files."""
        return [span for path, span in self.asked if path.startswith("/download") and span != "bytes=0-0"]

    def listings(self) -> list[str]:
        """The ids of the folders that were listed."""
        return [path.partition("id=")[2] for path, _ in self.asked if path.startswith("/embedded")]


def children(files: dict[str, bytes], folder: str) -> list[tuple[str, str, bool]]:
    """Name, path and whether it is a folder, of all in a folder."""
    prefix = f"{folder}/" if folder else ""
    names = {path[len(prefix) :].partition("/")[::2] for path in files if path.startswith(prefix)}
    return sorted({(name, prefix + name, bool(rest)) for name, rest in names})


def listing(files: dict[str, bytes], folder: str, address: str) -> str:
    """The page of a folder."""
    entries = []
    for name, path, is_folder in children(files, folder):
        kind = "drive/folders/{}" if is_folder else "file/d/{}/view?usp=drive_web"
        link = f"{address}/{kind.format(item_id(path))}"
        entries.append(
            f'<div class="flip-entry" id="entry-{item_id(path)}" tabindex="0" role="link"><div class="flip-entry-info">'
            f'<a href="{link}" target="_blank"><div class="flip-entry-visual"><img src="x.png"/></div>'
            f'<div class="flip-entry-title">{html.escape(name)}</div></a></div>'
            '<div class="flip-entry-last-modified"><div>3/4/26</div></div></div>'
        )
    return (
        f"<html><head><title>InstantViR</title></head><body><div class='flip-entries'>{''.join(entries)}</div></body>"
    )


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    drive: Drive

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        drive, parts = self.drive, urlsplit(self.path)
        wanted = {key: values[0] for key, values in parse_qs(parts.query).items()}
        drive.asked.append((self.path, self.headers.get("Range", "")))
        if drive.status:
            return self.send_page("<html><head><title>Error</title></head></html>", drive.status.pop(0))
        folders = {item_id(folder): folder for path in drive.files for folder in parents(path)}
        if parts.path == "/signin":
            return self.send_page(SIGN_IN_PAGE)
        if parts.path == "/embeddedfolderview" and drive.private:
            return self.redirect(f"{drive.address}/signin")
        if parts.path == "/embeddedfolderview" and wanted.get("id") in folders:
            return self.send_page(drive.page or listing(drive.files, folders[wanted["id"]], drive.address))
        if parts.path == "/download":
            found = [content for path, content in drive.files.items() if item_id(path) == wanted.get("id")]
            if found:
                return self.send_file(wanted, found[0])
        return self.send_page("<html><head><title>Error 404 (Not Found)!!1</title></head></html>", 404)

    def send_file(self, wanted: dict[str, str], content: bytes) -> None:
        drive = self.drive
        probe = self.headers.get("Range") == "bytes=0-0"
        if drive.quota and not probe:
            drive.quota -= 1
            return self.send_page(QUOTA_PAGE)
        if wanted.get("confirm") != "t" or (drive.confirms and wanted.get("uuid") != drive.uuid):
            action = drive.action or f"{drive.address}/download"
            return self.send_page(FORM.format(id=wanted["id"], action=action, uuid=drive.uuid))
        start, _, stop = (self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")
        rest = content[int(start) : int(stop) + 1 if stop else None]
        self.send_response(206 if self.headers.get("Range") else 200)
        if self.headers.get("Range"):
            self.send_header("Content-Range", f"bytes {start}-{int(start) + len(rest) - 1}/{len(content)}")
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Disposition", 'attachment; filename="model.pt"')
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        limit = drive.drop_after.pop(0) if drive.drop_after and not probe else len(rest)
        self.wfile.write(rest[:limit])
        if limit < len(rest):
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()

    def send_page(self, page: str, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page.encode())))
        self.end_headers()
        self.wfile.write(page.encode())

    def redirect(self, address: str) -> None:
        self.send_response(302)
        self.send_header("Location", address)
        self.send_header("Content-Length", "0")
        self.end_headers()


def parents(path: str) -> list[str]:
    """The folders that a path is in, the root as an empty one."""
    names = path.split("/")[:-1]
    return ["/".join(names[:depth]) for depth in range(len(names) + 1)]


@contextmanager
def serving() -> Iterator[Drive]:
    drive = Drive()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"drive": drive}))
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    drive.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield drive
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
