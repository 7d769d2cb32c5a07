"""The real command and the real Hub client against a server on loopback that speaks the Hub's protocol."""

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.clips import ClipMaker, read
from tests.conftest import ROOT
from tests.forked import Forked
from tests.models import small
from tests.weights.hub_server import BLOB, FORKED_COMMAND, REPO, Hub, Pull, catalogue, message, stored
from vrx.weights import http
from vrx.weights import hub as backend

FILES = {"transformer": "InfVSR.ckpt", "autoencoder": "Wan2.1_VAE.pth", "guidance": "ram_swin_large_14m.pth"}
QUERY_PAUSE = backend.QUERY_PAUSE


def test_a_pull_announces_verifies_and_is_not_repeated(command: Pull, hub: Hub, tmp_path: Path) -> None:
    done = command("models", "pull", "mine")
    assert done.returncode == 0, done.stderr
    assert "downloading someone/model/x.bin" in message(done)
    assert "license: MIT" in message(done)
    path = Path(json.loads(command("models", "path", "mine", "--json").stdout)["file"])
    assert path.read_bytes() == BLOB
    assert path.is_relative_to(stored(tmp_path) / "snapshots" / ("c" * 40))
    asked = len(hub.asked)
    assert command("models", "pull", "mine").returncode == 0
    assert command("models", "pull", "mine", HF_HUB_OFFLINE="1").returncode == 0
    assert len(hub.asked) == asked


def test_a_broken_connection_goes_on_where_it_stopped(command: Pull, hub: Hub, tmp_path: Path) -> None:
    hub.drop_after = [300_000, 100_000]
    assert command("models", "pull", "mine").returncode == 0
    gets = [given for method, path, given in hub.asked if method == "GET"]
    assert gets[0] == ""
    assert len(gets) == 3
    starts = [int(given.removeprefix("bytes=").rstrip("-")) for given in gets[1:]]
    assert 0 < starts[0] < starts[1]
    assert not list(stored(tmp_path).rglob("*.vrx-*"))


def test_a_killed_pull_goes_on_in_the_next_run(hub: Hub, command: Pull, tmp_path: Path) -> None:
    hub.pause = 0.05
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "HF_HOME": str(tmp_path / ".hub"),
        "VRX_HOME": str(tmp_path / ".vrx"),
        "HF_ENDPOINT": hub.address,
        "VRX_WEIGHTS_FILE": str(catalogue(tmp_path, {"role": "transformer", "repo": REPO, "path": "x.bin"})),
    }
    words = [sys.executable, "-m", "vrx", "models", "pull", "mine"]
    with subprocess.Popen(words, env=env, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as child:
        partial: list[Path] = []
        until = time.monotonic() + 30
        while time.monotonic() < until:
            partial = list(stored(tmp_path).rglob("*.vrx-part"))
            if partial and partial[0].stat().st_size > 100_000:
                break
            time.sleep(0.02)
        child.send_signal(signal.SIGKILL)
    had = partial[0].stat().st_size
    assert 100_000 < had < len(BLOB)
    hub.pause = 0.0
    assert command("models", "pull", "mine").returncode == 0  # the dead one's lock is taken over
    assert int(hub.asked[-1][2].removeprefix("bytes=").rstrip("-")) == had


def test_a_server_without_ranges_starts_over(command: Pull, hub: Hub) -> None:
    hub.drop_after, hub.ranges = [200_000], False
    assert command("models", "pull", "mine").returncode == 0


def test_wrong_bytes_are_set_aside(command: Pull, hub: Hub, tmp_path: Path) -> None:
    hub.wrong = True
    done = command("models", "pull", "mine")
    assert done.returncode == 4
    assert "is corrupt" in message(done)
    digest = hashlib.sha256(BLOB).hexdigest()
    blobs = stored(tmp_path) / "blobs"
    assert [p.name for p in blobs.iterdir()] == [f"{digest}.bad"]
    assert json.loads(command("models", "path", "mine", "--json").stdout)["type"] == "failed"
    hub.wrong = False
    assert command("models", "pull", "mine").returncode == 0


def test_a_hash_of_the_catalogue_that_differs_is_refused(command: Pull, hub: Hub) -> None:
    part: dict[str, object] = {"role": "transformer", "repo": REPO, "path": "x.bin", "sha256": "0" * 64}
    assert "is corrupt" in message(command("models", "pull", "mine", parts=[part]))
    part = {"role": "transformer", "repo": REPO, "path": "x.bin", "size": 5}
    assert "5 in the catalogue" in message(command("models", "pull", "mine", parts=[part]))


def test_a_flipped_byte_is_found_and_a_touched_file_is_not_trusted(command: Pull, hub: Hub) -> None:
    hub.hashed = False  # nothing but what was first seen tells
    assert command("models", "pull", "mine").returncode == 0
    path = Path(json.loads(command("models", "path", "mine", "--json").stdout)["file"]).resolve()
    assert command("models", "verify", "mine").returncode == 0
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    held = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(held.st_atime_ns, held.st_mtime_ns))
    assert command("models", "pull", "mine").returncode == 0  # size and time stand for the content
    done = command("models", "verify", "mine")
    assert done.returncode == 4
    assert "has changed since it was first verified" in message(done)
    os.utime(path)
    done = command("models", "pull", "mine")
    assert done.returncode == 4
    assert path.read_bytes() == bytes(content)  # never deleted by itself
    assert command("models", "rm", "mine").returncode == 0
    assert not path.exists()
    assert command("models", "pull", "mine").returncode == 0


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        ([401], "GatedRepo", "is gated. Accept its terms at"),
        ([403], "", "is gated"),
        ([401], "RepoNotFound", "or it is private"),
        ([404], "RevisionNotFound", "has no revision main"),
        ([404], "EntryNotFound", "has no file x.bin"),
        ([500, 500, 500], "", "answers 500"),
    ],
)
def test_refusals_are_one_clear_line(command: Pull, hub: Hub, status: list[int], code: str, words: str) -> None:
    hub.status, hub.code = status, code
    done = command("models", "pull", "mine")
    assert done.returncode == 4
    assert words in message(done)


def test_a_passing_trouble_is_tried_again(command: Pull, hub: Hub) -> None:
    hub.status = [503, 429]
    assert command("models", "pull", "mine").returncode == 0


def test_a_renamed_repository_is_followed_within_the_hub_only(command: Pull, hub: Hub) -> None:
    old, new = "/old/name/resolve/main/x.bin", f"/{REPO}/resolve/main/x.bin"
    part = {"role": "transformer", "repo": "old/name", "path": "x.bin"}
    for number, target in enumerate((new, f"{hub.address}{new}")):
        hub.renamed = {old: target}
        done = command("models", "pull", "mine", parts=[part], HF_HOME=f"{number}")
        assert done.returncode == 0, done.stderr
    hub.renamed = {old: "http://elsewhere.invalid/x.bin"}
    done = command("models", "pull", "mine", parts=[part], HF_HOME="2")
    assert done.returncode == 4
    assert "unexpected response from the Hub" in message(done)
    hub.renamed = {old: old}
    assert command("models", "pull", "mine", parts=[part], HF_HOME="3").returncode == 4


def test_no_network_is_said_within_seconds(command: Pull, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "QUERY_SECONDS", 1.0)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        mute = f"http://127.0.0.1:{silent.getsockname()[1]}"
        for endpoint in (address, mute):
            begin = time.monotonic()
            done = command("models", "pull", "mine", HF_ENDPOINT=endpoint)
            assert time.monotonic() - begin < 6
            assert done.returncode == 4
            assert "Check the network" in message(done)
    done = command("models", "pull", "mine", HF_HUB_OFFLINE="1")
    assert done.returncode == 4
    assert "HF_HUB_OFFLINE is set" in message(done)
    assert "or add the file yourself: vrx models import mine x.bin" in message(done)


def test_a_query_may_take_a_slow_answer_and_no_more_than_people_wait() -> None:
    assert max(http.HEAD_TIMEOUT) < http.QUERY_SECONDS <= 12.0  # seconds


def test_pauses_between_queries_double(hub: Hub, command: Pull, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(backend, "QUERY_PAUSE", QUERY_PAUSE)
    monkeypatch.setattr(time, "sleep", pauses.append)
    hub.status = [503, 429]
    assert command("models", "pull", "mine").returncode == 0
    assert pauses == [0.5, 1.0]


def test_two_pulls_of_one_file_fetch_it_once(hub: Hub, command: Pull, tmp_path: Path) -> None:
    hub.pause = 0.02
    path = catalogue(tmp_path, {"role": "transformer", "repo": REPO, "path": "x.bin"})
    env = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HOME": str(tmp_path / ".hub"), "HF_ENDPOINT": hub.address}
    env |= {"VRX_WEIGHTS_FILE": str(path), "VRX_HOME": str(tmp_path / ".vrx")}
    words = ["models", "pull", "mine"]
    children = [Forked(words, cwd=tmp_path, env=env, program=FORKED_COMMAND) for _ in range(2)]
    for child in children:
        errors = child.communicate(timeout=120)[1]
        assert child.returncode == 0, errors
    assert sum(method == "GET" for method, _, _ in hub.asked) == 1


def test_a_path_that_leaves_its_folder_is_refused(command: Pull) -> None:
    for path in ("../x.bin", "/etc/passwd", "a/../../x", "c:x", ""):
        done = command("models", "path", "mine", parts=[{"role": "transformer", "repo": REPO, "path": path}])
        assert done.returncode == 4
        assert "leaves its folder" in message(done)


def test_a_run_pulls_what_it_needs(command: Pull, hub: Hub, clip: ClipMaker, tmp_path: Path) -> None:
    folder = small.infvsr(tmp_path / "published")
    sizes = json.loads((folder / "config.json").read_text())
    parts: list[dict[str, object]] = []
    for role, name in FILES.items():
        hub.files[f"{REPO}/{name}"] = (folder / name).read_bytes()
        parts.append({"role": role, "repo": REPO, "path": name})
    text = catalogue(tmp_path, *parts).read_text()
    for role, table in sizes.items():
        inline = "{" + ", ".join(f"{key} = {value}" for key, value in table.items()) + "}"
        text = text.replace(f'role = "{role}"', f'role = "{role}"\nsizes = {inline}')
    own = tmp_path / "own.toml"
    own.write_text(text)
    path = clip(size=(40, 24), frames=3)
    done = command("upscale", path, "--model", "mine", "-o", "out.mkv", VRX_WEIGHTS_FILE=str(own))
    assert done.returncode == 0, done.stderr
    assert "downloading" in message(done)
    assert read(tmp_path / "out.mkv").frames.shape == (3, 96, 160, 3)
    done = command("upscale", path, "--model", "mine", "-o", "again.mkv", "--offline", VRX_WEIGHTS_FILE=str(own))
    assert done.returncode == 0, done.stderr


def test_a_part_from_a_plain_address_follows_the_same_rules(command: Pull, hub: Hub, tmp_path: Path) -> None:
    digest = hashlib.sha256(BLOB).hexdigest()
    part = {"role": "adapter", "url": f"{hub.address}/cdn/{REPO}/x.bin", "path": "x.bin", "sha256": digest}
    hub.drop_after = [300_000]
    row = json.loads(command("models", "pull", "mine", "--dry-run", "--json", parts=[part]).stdout)
    assert (row["from"], row["size"]) == (part["url"], "524.3 kB")
    assert [method for method, _, _ in hub.asked] == ["HEAD"]
    done = command("models", "pull", "mine", parts=[part])
    assert done.returncode == 0, done.stderr
    assert [given != "" for method, _, given in hub.asked if method == "GET"] == [False, True]
    path = Path(json.loads(command("models", "path", "mine", "--json", parts=[part]).stdout)["file"])
    assert path.read_bytes() == BLOB
    assert path.is_relative_to(tmp_path / ".vrx")
    wrong = {**part, "sha256": "0" * 64}
    done = command("models", "pull", "mine", parts=[wrong])
    assert done.returncode == 4
    assert "is corrupt" in message(done)
    hub.status = [404]
    done = command("models", "pull", "mine", parts=[{**part, "sha256": "1" * 64}])
    assert done.returncode == 4
    assert "the server answers 404" in message(done)
    for change, words in (({"url": "ftp://x/y"}, "must be an https address"), ({"sha256": ""}, "needs its 'sha256'")):
        done = command("models", "path", "mine", parts=[{**part, **change}])
        assert done.returncode == 4
        assert words in message(done)
