"""What goes wrong between here and the Hub, on the real command: one line each, and nothing lost."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import forked
from tests.conftest import ROOT
from tests.forked import Forked
from tests.weights.hub_server import (
    BLOB,
    FORKED_COMMAND,
    REPO,
    Hub,
    Pull,
    catalogue,
    check_repair_and_removal,
    message,
    stored,
)  # fmt: skip
from vrx.errors import ModelError
from vrx.weights import sharded, transfer

TRANSFORMER: dict[str, object] = {"role": "transformer", "repo": REPO, "path": "x.bin"}
OTHER = {"role": "autoencoder", "repo": REPO, "path": "y.bin"}


def surroundings(hub: Hub, folder: Path, *parts: dict[str, object]) -> dict[str, str]:
    homes = {"HF_HOME": str(folder / ".hub"), "VRX_HOME": str(folder / ".vrx"), "HF_ENDPOINT": hub.address}
    named = {"PYTHONPATH": str(ROOT), "VRX_WEIGHTS_FILE": str(catalogue(folder, *parts))}
    return {**os.environ, **homes, **named}


def growing(folder: Path, least: int) -> int:
    """Wait until a partial file has grown to so many bytes."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        sizes = [path.stat().st_size for path in stored(folder).rglob("*.vrx-part")]
        if sizes and max(sizes) > least:
            return max(sizes)
        time.sleep(0.02)
    raise AssertionError("nothing arrives")


def test_one_refusal_is_said_before_any_byte_comes(command: Pull, hub: Hub) -> None:
    hub.files[f"{REPO}/y.bin"] = BLOB[::-1]
    hub.gated.add(f"{REPO}/y.bin")
    done = command("models", "pull", "mine", parts=[TRANSFORMER, OTHER])
    assert done.returncode == 4
    assert "someone/model/y.bin is gated" in message(done)
    assert not [path for method, path, _ in hub.asked if method == "GET"]


def test_sizes_that_only_the_hub_knows_are_announced(command: Pull, hub: Hub) -> None:
    hub.files[f"{REPO}/y.bin"] = BLOB[::-1]
    done = command("models", "pull", "mine", parts=[TRANSFORMER, OTHER])
    assert done.returncode == 0, done.stderr
    assert "someone/model/x.bin, someone/model/y.bin: 1.0 MB; license: MIT" in message(done)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_pull_at_once_and_keeps_what_came(hub: Hub, command: Pull, tmp_path: Path, number: int) -> None:
    hub.pause = 0.1
    env = surroundings(hub, tmp_path, TRANSFORMER)
    with Forked(["models", "pull", "mine"], cwd=tmp_path, env=env, program=FORKED_COMMAND) as child:
        growing(tmp_path, 50_000)
        child.send_signal(number)
        begin = time.monotonic()
        errors = child.communicate(timeout=30)[1]
        assert time.monotonic() - begin < 8
    assert child.returncode == 128 + number
    assert b"Traceback" not in errors
    kept = growing(tmp_path, 50_000)
    hub.pause = 0.0
    if number == signal.SIGTERM:
        assert command("models", "rm", "mine").returncode == 0
        assert not [path for path in stored(tmp_path).rglob("*") if path.is_file()]
        return
    assert command("models", "pull", "mine").returncode == 0
    assert int(hub.asked[-1][2].removeprefix("bytes=").rstrip("-")) == kept


def test_a_file_that_the_disk_does_not_take_is_no_fault_of_the_network(hub: Hub, tmp_path: Path) -> None:
    env = surroundings(hub, tmp_path, TRANSFORMER)
    limit = 300_000
    small_files = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
    done = forked.run(["models", "pull", "mine"], cwd=tmp_path, env=env, program=small_files + FORKED_COMMAND)
    assert done.returncode == 4
    assert "cannot write someone/model/x.bin" in message(done)
    assert "Free some space" in message(done)
    assert sum(method == "GET" for method, _, _ in hub.asked) == 1
    assert [path.stat().st_size for path in stored(tmp_path).rglob("*.vrx-part")] == [limit]
    assert not list(stored(tmp_path).rglob("*.vrx-lock"))


def test_a_server_that_falls_silent_is_given_up(command: Pull, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "READ_SECONDS", 0.3)
    hub.pause = 3.0
    begin = time.monotonic()
    done = command("models", "pull", "mine")
    assert done.returncode == 4
    assert time.monotonic() - begin < 10
    assert "downloads resume" in message(done)
    assert sum(method == "GET" for method, _, _ in hub.asked) == transfer.ATTEMPTS


def test_silence_lasts_as_long_as_the_hubs_client_would_wait() -> None:
    code = "from vrx.weights import transfer; print(transfer.READ_SECONDS)"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_DOWNLOAD_TIMEOUT": "7"}
    assert subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True).stdout == b"7.0\n"


def test_a_page_in_place_of_the_file_is_not_kept(command: Pull, hub: Hub, tmp_path: Path) -> None:
    hub.page = b"<html>please sign in</html>"
    done = command("models", "pull", "mine")
    assert done.returncode == 4
    assert "Sign in to the network" in message(done)
    assert not [path for path in stored(tmp_path).rglob("*") if path.is_file()]
    hub.page = b""
    assert command("models", "pull", "mine").returncode == 0


def test_an_address_that_expires_is_asked_for_again(command: Pull, hub: Hub) -> None:
    hub.elsewhere, hub.drop_after = True, [200_000, 100_000]
    done = command("models", "pull", "mine")
    assert done.returncode == 0, done.stderr
    starts = [given for method, path, given in hub.asked if method == "GET"]
    assert len(starts) == 5  # twice in vain, with the address that was good before


def test_a_cached_file_with_a_flipped_byte_is_set_aside(command: Pull, hub: Hub) -> None:
    assert command("models", "pull", "mine").returncode == 0
    blob = Path(json.loads(command("models", "path", "mine", "--json").stdout)["file"]).resolve()
    assert blob.name == hashlib.sha256(BLOB).hexdigest()
    wrong = bytearray(BLOB)
    wrong[77] ^= 1
    blob.write_bytes(wrong)
    done = command("models", "verify", "mine")
    assert done.returncode == 4
    assert "set aside as" in message(done)
    assert not blob.exists()
    assert blob.with_name(f"{blob.name}.bad").read_bytes() == wrong
    assert command("models", "pull", "mine").returncode == 0
    assert blob.read_bytes() == BLOB
    blob.write_bytes(wrong)
    assert command("models", "pull", "mine").returncode == 4
    assert len(list(blob.parent.glob("*.bad*"))) == 2  # the first one is still there


def test_notes_of_two_processes_are_both_kept(hub: Hub, tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from vrx.weights.hash_cache import HashCache\n"
        "ledger = HashCache(pathlib.Path(sys.argv[1])); file = pathlib.Path(sys.argv[2]); file.write_text('x')\n"
        "for number in range(20): ledger.check(f'{file.name}{number}', file, None, '')"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", code, str(tmp_path)]
    children = [subprocess.Popen([*words, str(tmp_path / name)], env=env) for name in ("a", "b")]
    assert [child.wait(timeout=60) for child in children] == [0, 0]
    assert len(json.loads((tmp_path / "vrx-seen.json").read_text())) == 40


INDEX = "t/model.safetensors.index.json"


def publish_shards(hub: Hub, placed: dict[str, str]) -> dict[str, object]:
    hub.files[f"{REPO}/{INDEX}"] = json.dumps({"metadata": {}, "weight_map": placed}).encode()
    return {"role": "transformer", "repo": REPO, "path": INDEX}


def test_a_checkpoint_in_several_files_comes_whole(command: Pull, hub: Hub, tmp_path: Path) -> None:
    part = publish_shards(hub, {"a": "m-1.safetensors", "b": "m-2.safetensors", "c": "m-1.safetensors"})
    hub.files[f"{REPO}/t/m-1.safetensors"], hub.files[f"{REPO}/t/m-2.safetensors"] = BLOB, BLOB[::-1]
    done = command("models", "pull", "mine", parts=[part])
    assert done.returncode == 0, done.stderr
    index = Path(json.loads(command("models", "path", "mine", "--json", parts=[part]).stdout)["file"])
    assert (index.parent / "m-2.safetensors").read_bytes() == BLOB[::-1]
    asked = len(hub.asked)
    assert command("models", "pull", "mine", parts=[part]).returncode == 0
    assert len(hub.asked) == asked
    shard = (index.parent / "m-2.safetensors").resolve()
    check_repair_and_removal(command, part, shard, hub, tmp_path, gets=4)


def test_an_index_that_leads_elsewhere_is_refused(command: Pull, hub: Hub) -> None:
    part = publish_shards(hub, {"a": "../m.safetensors"})
    done = command("models", "pull", "mine", parts=[part])
    assert done.returncode == 4
    assert "refused the index" in message(done)
    assert sum(method == "GET" for method, _, _ in hub.asked) == 1
    assert command("models", "list", parts=[part]).returncode == 0


def test_an_empty_index_is_refused(command: Pull, hub: Hub) -> None:
    part = publish_shards(hub, {})
    hub.files[f"{REPO}/{INDEX}"] = b""
    done = command("models", "pull", "mine", parts=[part])
    assert done.returncode == 4
    assert "is not an index" in message(done)


@pytest.mark.parametrize(
    "shard", ["../m.safetensors", "/etc/m.safetensors", "a/../../m.bin", "m.py", "c:m.bin", "", "a\\..\\m.bin"]
)
def test_no_shard_stands_elsewhere(tmp_path: Path, shard: str) -> None:
    path = tmp_path / "m.index.json"
    path.write_text(json.dumps({"weight_map": {"a": "good.bin", "b": shard}}))
    with pytest.raises(ModelError, match="refused the index"):
        sharded.shard_names(path)
    assert not sharded.is_complete(path)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"weight_map": 3}', '{"weight_map": {"a": 1}}', "[" * 9**6])
def test_what_is_no_index_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "m.index.json"
    path.write_text(content)
    with pytest.raises(ModelError, match="is not an index"):
        sharded.shard_names(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"revision": "../../x"}, "invalid revision"),
        ({"repo": "../../x"}, "invalid repo"),
        ({"repo": "a/b/c"}, "invalid repo"),
        ({"kind": "../x"}, "'kind' is '../x'"),
        ({"url": "https://h/x", "sha256": "../" * 21 + "x"}, "invalid sha256"),
        ({"url": "https://h/x/..", "sha256": "0" * 64}, "does not end in a file name"),
    ],
)
def test_no_word_of_a_catalogue_leads_out_of_the_cache(command: Pull, change: dict[str, str], words: str) -> None:
    done = command("models", "path", "mine", parts=[{**TRANSFORMER, **change}])
    assert done.returncode == 4
    assert words in message(done)
