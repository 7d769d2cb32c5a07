"""A server on loopback that speaks the Hub's protocol for single files, and can be told to misbehave."""

import hashlib
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.forked import COMMAND

COMMIT = "c" * 40
REPO = "someone/model"
BLOB = bytes(range(256)) * 2048  # half a megabyte
Pull = Callable[..., "subprocess.CompletedProcess[str]"]
# a command of tests.forked that takes another server for the Hub: the client reads its variables once, on import
FORKED_COMMAND = f"""\
import os
from huggingface_hub import constants
from tests.weights.hub_server import client_constants
for name, value in client_constants(os.environ["HF_HOME"], os.environ["HF_ENDPOINT"]).items():
    setattr(constants, name, value)
{COMMAND}"""


@dataclass
class Hub:
    """Files by `repo/path`; faults that the next answers show; what was asked."""

    files: dict[str, bytes] = field(default_factory=dict)
    drop_after: list[int] = field(default_factory=list)  # bytes after which each next GET is cut
    wrong: bool = False  # bytes that are not those of the hash
    status: list[int] = field(default_factory=list)  # of the next answers
    page: bytes = b""  # sent in place of any file
    gated: set[str] = field(default_factory=set)  # files nobody may have
    code: str = ""
    pause: float = 0.0  # seconds before every block
    ranges: bool = True
    hashed: bool = True  # the etag of a large file is its hash
    elsewhere: bool = False  # bytes are on another host, at addresses that are good once
    signed: list[str] = field(default_factory=list)  # those that are good
    renamed: dict[str, str] = field(default_factory=dict)  # paths that moved, and where to
    asked: list[tuple[str, str, str]] = field(default_factory=list)  # method, path, range
    tokens: list[str] = field(default_factory=list)  # that came with a request, "" without one
    linked: bool = True  # a redirect states the size of the file
    stated: bool = True  # bytes come with their length
    begins: list[int] = field(default_factory=list)  # where the next answers to a range begin, wherever was asked
    encoding: str = ""  # of the bytes
    address: str = ""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *arguments: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        hub = self.hub
        hub.asked.append((self.command, self.path, self.headers.get("Range", "")))
        hub.tokens.append(self.headers.get("Authorization", ""))
        if hub.status:
            return self.plain(hub.status.pop(0))
        if self.path in hub.renamed:
            self.send_response(307)
            self.send_header("Location", hub.renamed[self.path])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        kind, _, rest = self.path.lstrip("/").partition("/")
        if kind == "cdn" and hub.elsewhere:
            rest, _, signature = rest.partition("?")
            if signature not in hub.signed:
                return self.plain(403)
            hub.signed.remove(signature)
        if kind == "cdn":
            return self.send_file(hub.page or hub.files[rest], body)
        name = self.path.lstrip("/").replace(f"/resolve/{COMMIT}/", "/").replace("/resolve/main/", "/")
        if name in hub.gated:
            hub.code = "GatedRepo"
            return self.plain(401)
        if name not in hub.files:
            hub.code = hub.code or "EntryNotFound"
            return self.plain(404)
        content = hub.files[name]
        self.send_response(302)
        address = f"{hub.address}/cdn/{name}"
        if hub.elsewhere:
            hub.signed.append(str(len(hub.asked)))
            address = f"{address.replace('127.0.0.1', 'localhost')}?{hub.signed[-1]}"
        self.send_header("Location", address)
        self.send_header("X-Repo-Commit", COMMIT)
        digest = hashlib.sha256(content).hexdigest() if hub.hashed else "abc123"
        self.send_header("X-Linked-Etag", f'"{digest}"')
        if hub.linked:
            self.send_header("X-Linked-Size", str(len(content)))
        self.send_header("Content-Length", "0")
        self.end_headers()
        return None

    def plain(self, status: int) -> None:
        self.send_response(status)
        if self.hub.code:
            self.send_header("X-Error-Code", self.hub.code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def send_file(self, content: bytes, body: bool) -> None:
        hub, start = self.hub, 0
        wanted = self.headers.get("Range", "")
        if wanted and hub.ranges:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            start = hub.begins.pop(0) if hub.begins else start
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        rest = content[start:]
        if hub.wrong:
            rest = rest[:-1] + bytes([rest[-1] ^ 1])
        if hub.stated:
            self.send_header("Content-Length", str(len(rest)))
        else:
            self.close_connection = True
            self.send_header("Connection", "close")
        if hub.encoding:
            self.send_header("Content-Encoding", hub.encoding)
        self.end_headers()
        if not body:
            return
        limit = hub.drop_after.pop(0) if hub.drop_after else len(rest)
        for begin in range(0, min(limit, len(rest)), 1 << 14):
            if hub.pause:
                time.sleep(hub.pause)
            self.wfile.write(rest[begin : min(begin + (1 << 14), limit)])
        if limit < len(rest):
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()


def client_constants(home: str | Path, endpoint: str, offline: bool = False) -> dict[str, object]:
    """The constants that the Hub's client makes of its variables."""
    return {
        "HF_HUB_CACHE": str(Path(home, "hub")),
        "HF_TOKEN_PATH": str(Path(home, "token")),
        "ENDPOINT": endpoint,
        "HUGGINGFACE_CO_URL_TEMPLATE": f"{endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}",
        "HF_HUB_OFFLINE": offline,
    }


@contextmanager
def serving() -> Iterator[Hub]:
    hub = Hub()
    handler = type("Bound", (Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def catalogue(folder: Path, *parts: dict[str, object], name: str = "mine") -> Path:
    """A user's catalogue of one model."""
    lines = [f'[models.{name}]\nfamily = "infvsr"\ntasks = ["upscale"]\nscales = [4]']
    lines.append('license = "MIT"\nsource = "Hub"\navailable = true')
    for part in parts:
        lines.append(f"[[models.{name}.parts]]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in part.items()]
    path = folder / "mine.toml"
    path.write_text("\n".join(lines))
    return path


def stored(folder: Path) -> Path:
    """The repository's folder in the cache of a test."""
    return folder / ".hub" / "hub" / "models--someone--model"


def message(done: "subprocess.CompletedProcess[str]") -> str:
    """Standard error in one line; never a traceback."""
    assert "Traceback" not in done.stderr
    return " ".join(done.stderr.split())


def check_repair_and_removal(
    command: Pull, part: dict[str, object], file: Path, hub: Hub, home: Path, *, gets: int
) -> None:
    """One of a checkpoint's files is damaged, set aside and loaded again; `gets` downloads in all; then all go."""
    file.write_bytes(BLOB)
    done = command("models", "verify", "mine", parts=[part])
    assert done.returncode == 4
    assert "set aside" in message(done)
    assert command("models", "pull", "mine", parts=[part]).returncode == 0
    assert sum(method == "GET" for method, _, _ in hub.asked) == gets
    assert command("models", "rm", "mine", parts=[part]).returncode == 0
    assert not list(stored(home).rglob("*.safetensors"))
