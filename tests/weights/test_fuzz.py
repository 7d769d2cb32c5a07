"""Files from outside that are no catalogue and no checkpoint: one clear error, and no memory to speak of."""

import copy
import io
import json
import os
import re
import resource
import subprocess
import sys
import time
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from tests.conftest import ROOT
from tests.models import small
from tests.networks.networks import TINY, TINY_ENLARGING
from vrx.errors import ModelError
from vrx.models.components import Components
from vrx.models.embedded.checkpoint import load_networks
from vrx.models.loader import known_components, read_folder
from vrx.models.registry import FAMILIES
from vrx.weights import catalogue, checkpoint, pickle_cost, sharded
from vrx.weights.safe_paths import is_safe_path

KEYS = st.sampled_from(
    ["family", "tasks", "scales", "license", "source", "parts", "path", "size", "sizes", "repo", "x"]
)
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\x7f", exclude_categories=("Cc", "Cs")), max_size=8)
SCALARS = st.one_of(
    st.booleans(), st.integers(-(2**62), 2**62), WORDS, st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4))


def toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value)
    return str(value).lower() if isinstance(value, bool) else repr(value)


def one_line(error: ModelError, path: Path) -> None:
    assert str(path) in str(error)
    assert "\n" not in error.message


def read(path: Path) -> None:
    """Either entries whose parts can be used, or one clear error that names the file."""
    try:
        for entry in catalogue.load_file(path, FAMILIES).values():
            assert all(isinstance(word, str) for word in (*entry.tasks, entry.family, entry.license))
            assert entry.size is None or entry.size >= 0
            assert all(is_safe_path(part.path) for part in entry.parts)
    except ModelError as error:
        one_line(error, path)


@settings(max_examples=150, deadline=None)
@given(
    table=st.dictionaries(KEYS, VALUES, max_size=6),
    parts=st.lists(st.dictionaries(KEYS, VALUES, max_size=5), max_size=2),
)
def test_any_table_is_an_entry_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, table: dict[str, object], parts: list[dict[str, object]]
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "weights.toml"
    whole = {"family": "a", "tasks": ["upscale"], "license": "b", "source": "c", "parts": parts, **table}
    path.write_text(
        "[models.m]\n" + "\n".join(f"{key} = {toml(value)}" for key, value in whole.items()), encoding="utf-8"
    )
    read(path)


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=300))
def test_any_bytes_are_no_catalogue(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "weights.toml"
    path.write_bytes(data)
    read(path)


HEADERS = st.dictionaries(
    st.sampled_from(["a", "b", "__metadata__", "c" * 60]),
    st.one_of(
        SCALARS,
        st.fixed_dictionaries(
            {
                "dtype": st.sampled_from(["F32", "BF16", "I64", "F8_E4M3", "X", ""]),
                "shape": st.lists(st.integers(-3, 2**62), max_size=4),
                "data_offsets": st.lists(st.integers(-9, 2**62), min_size=1, max_size=3),
            }
        ),
    ),
    max_size=4,
)


@settings(max_examples=150, deadline=None)
@given(header=HEADERS, rest=st.binary(max_size=64))
def test_any_header_is_read_or_refused_without_memory(
    tmp_path_factory: pytest.TempPathFactory, header: dict[str, object], rest: bytes
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "m.safetensors"
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + rest)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for reader in (
        checkpoint.load_safetensors,
        checkpoint.read_shapes,
        checkpoint.read_metadata,
        checkpoint.load_tensors,
    ):
        try:
            reader(path)
        except ModelError as error:
            one_line(error, path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


@settings(max_examples=80, deadline=None)
@given(data=st.binary(max_size=300), boxed=st.booleans())
def test_any_saved_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes, boxed: bool) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "m.pth"
    if boxed:
        memory = io.BytesIO()
        with zipfile.ZipFile(memory, "w") as box:
            box.writestr("archive/data.pkl", data)
            box.writestr("archive/version", "3")
        data = memory.getvalue()
    path.write_bytes(data)
    with pytest.raises(ModelError):
        checkpoint.load_tensors(path)


class Hostile:
    def __reduce__(self) -> tuple[object, ...]:
        return (os.system, ("true",))


@pytest.mark.parametrize("content", [{"a": Hostile()}, Hostile(), {"state_dict": {"a": Hostile()}}])
def test_what_would_run_is_refused_by_its_name(tmp_path: Path, content: object) -> None:
    path = tmp_path / "m.ckpt"
    torch.save(content, path)
    with pytest.raises(ModelError, match=r"it contains .*, which is not a tensor"):
        checkpoint.load_tensors(path)


def peak_of(path: Path) -> tuple[str, int]:
    """What a fresh process says of a checkpoint, and the kilobytes that reading it took."""
    code = (
        "import resource, sys, pathlib; from vrx.weights import checkpoint\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak()\n"
        "try: checkpoint.load_tensors(pathlib.Path(sys.argv[1])); print('read')\n"
        "except checkpoint.ModelError as error: print(error)\n"
        "print(peak() - before)"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code, str(path)], env=env, capture_output=True, text=True, check=True)
    words, taken = done.stdout.splitlines()
    return words, int(taken)


def archive(program: bytes) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as box:
        box.writestr("archive/data.pkl", program)
        box.writestr("archive/version", "3")
    return memory.getvalue()


def packed() -> bytes:
    whole, memory = io.BytesIO(), io.BytesIO()
    torch.save({"a": torch.zeros(40_000_000)}, whole)
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.infolist():
            new.writestr(member.filename, old.read(member))
    return memory.getvalue()


def repeated() -> bytes:
    memory = io.BytesIO()
    torch.save({"a": torch.zeros(1).expand(1000, 1000, 1000)}, memory)
    return memory.getvalue()


def overlapping() -> bytes:
    """An archive of stored members that share their bytes: it unpacks to more bytes than it has."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as box:
        box.writestr("archive/data.pkl", b"\x80\x02}.")
        box.writestr("archive/data/0", bytes(100_000))
        for number in range(1, 20):
            twin = copy.copy(box.filelist[1])
            twin.filename = f"archive/data/{number}"
            box.filelist.append(twin)
    return memory.getvalue()


BYTE_ARRAY = b"\x80\x02cbuiltins\nbytearray\n\x8a\x04\x00\x00\x00\x30\x85R."  # of 800 MB


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (archive(BYTE_ARRAY), "it contains builtins.bytearray"),
        (BYTE_ARRAY, "it contains builtins.bytearray"),
        (BYTE_ARRAY + archive(b"\x80\x02}."), "it contains builtins.bytearray"),
        (packed(), "unpacks to more bytes than it has"),
        (repeated(), "a claims 4000000000 bytes and has 4"),
    ],
    ids=["byte array", "byte array, old format", "both formats at once", "compressed", "repeated"],
)
def test_a_small_file_never_takes_much_memory(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "m.pth"
    path.write_bytes(data)
    said, taken = peak_of(path)
    assert words in said
    assert taken < 64 * 1024


def test_members_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.pth"
    path.write_bytes(overlapping())
    with pytest.raises(ModelError, match="unpacks to more bytes than it has"):
        checkpoint.load_tensors(path)


def nested(depth: int, use: bytes) -> bytes:
    """A program that nests tuples, each naming the one before twice, and then uses the deepest ones."""
    program = b"\x80\x02K\x01K\x02\x86q\x00"
    for level in range(depth):
        program += b"h" + bytes([level]) + b"\x86q" + bytes([level + 1]) if False else b""
        program += b"h" + bytes([level]) + b"h" + bytes([level]) + b"\x86q" + bytes([level + 1])
    return program + use


CALL = b"cbuiltins\nset\n"
COUNTER = b"ccollections\nCounter\n"
ORDERED = b"ccollections\nOrderedDict\n"


@pytest.mark.parametrize("boxed", [True, False], ids=["archive", "old format"])
@pytest.mark.parametrize(
    "use",
    [
        b"}h\x28K\x01s.",
        b"}(h\x28K\x01h\x27K\x01u.",
        CALL + b"]h\x28a\x85R.",
        CALL + b"h\x28\x85R.",
        COUNTER + b"h\x28\x85R.",
        ORDERED + b"]h\x28a\x85R.",
    ],
    ids=["a key", "two keys", "a member", "members of a tuple", "counted", "a pair"],
)
def test_keys_that_take_for_ever_to_hash_are_refused_at_once(tmp_path: Path, use: bytes, boxed: bool) -> None:
    program = nested(40, use)
    path = tmp_path / "m.pth"
    path.write_bytes(archive(program) if boxed else program)
    begin = time.monotonic()
    with pytest.raises(ModelError, match="keys nested too deeply"):
        checkpoint.load_tensors(path)
    assert time.monotonic() - begin < 20  # of 2^40 steps


def test_programs_and_keys_have_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (pickle_cost.MAX_OPCODES, pickle_cost.MAX_STEPS) == (2_000_000, 1_000_000)  # 50,000 tensors and more
    path = tmp_path / "m.pth"
    torch.save({f"layer.{number}": torch.zeros(1) for number in range(100)}, path)
    assert len(checkpoint.load_tensors(path)[0]) == 100
    for name, most in (("MAX_OPCODES", 1000), ("MAX_STEPS", 90)):
        with monkeypatch.context() as patched:
            patched.setattr(pickle_cost, name, most)
            with pytest.raises(ModelError, match="keys nested too deeply"):
                checkpoint.load_tensors(path)


def test_whole_numbers_made_to_collide_count_for_more(tmp_path: Path) -> None:
    pairs = b"".join(b"\x8a\x09" + ((2**61 - 1) * number).to_bytes(9, "little") + b"K\x01" for number in range(8, 2000))
    path = tmp_path / "m.pth"
    path.write_bytes(b"\x80\x02}(" + pairs + b"u.")
    with pytest.raises(ModelError, match="keys nested too deeply"):
        checkpoint.load_tensors(path)


def test_keys_that_trainers_use_are_taken(tmp_path: Path) -> None:
    tensors = {"a": torch.ones(2)}
    others = {"step": 3, "betas": (0.9, 0.99), 7: {("a", 1): 2.5}, "names": {"x", "y"}, "order": OrderedDict(a=1)}
    for new in (True, False):
        torch.save(
            {**others, "state_dict": OrderedDict(tensors)}, tmp_path / "m.pt", _use_new_zipfile_serialization=new
        )
        assert torch.equal(checkpoint.load_tensors(tmp_path / "m.pt")[0]["a"], tensors["a"])


def test_a_header_of_too_many_names_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (sharded.MAX_TENSORS, checkpoint.HEADER_MAX) == (100_000, 16_000_000)
    path = tmp_path / "m.safetensors"
    save_file({f"{number}": torch.zeros(1) for number in range(9)}, path)
    assert len(checkpoint.read_shapes(path)) == 9
    monkeypatch.setattr(sharded, "MAX_TENSORS", 8)
    for reader in (
        checkpoint.load_safetensors,
        checkpoint.read_shapes,
        checkpoint.read_metadata,
        checkpoint.load_tensors,
    ):
        with pytest.raises(ModelError, match="more than 8 tensors"):
            reader(path)


def test_an_index_of_too_much_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": {str(n): f"{n}.safetensors" for n in range(sharded.MAX_SHARDS + 1)}}))
    with pytest.raises(ModelError, match="more than 100,000 tensors in 1,000 files"):
        sharded.read_index(path)
    path.write_text('{"weight_map":' + "[" * 100_000)
    with pytest.raises(ModelError, match="is not an index"):
        sharded.read_index(path)


def test_both_formats_of_torch_are_read(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(2, dtype=torch.bfloat16)}
    for new in (True, False):
        torch.save({"state_dict": tensors}, tmp_path / "m.pt", _use_new_zipfile_serialization=new)
        found = checkpoint.load_tensors(tmp_path / "m.pt")[0]
        assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


@pytest.mark.parametrize(
    "text", ["a=" + "[" * 40_000, "a=" + "9" * 5_000, '[models."../x"]\nfamily="a"', "#" * 4_100_000]
)
def test_a_strange_catalogue_is_one_clear_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "weights.toml"
    path.write_text(text)
    with pytest.raises(ModelError, match=re.escape(str(path))):
        catalogue.load_file(path, FAMILIES)


@pytest.mark.parametrize(
    "change",
    [
        {"before": 10**7},
        {"full": 60_000},
        {"full": 10**9},
        {"window": 4_000},
        {"memory": -1},
        {"heads": 0},
        {"recall": [10**9]},
        {"coarse": 1e300},
        {"full": [8]},
        {"full": True},
        {"enlarging": {"channels": 10**9, "blocks": 2}},
        {"enlarging": {"channels": 8, "blocks": 10**9}},
        {"enlarging": [8, 2]},
        {"enlarging": None},
    ],
)
def test_sizes_that_cannot_be_take_no_memory(tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / "m.safetensors"
    config = {**vars(TINY), "enlarging": vars(TINY_ENLARGING), **change}
    save_file({"a": torch.zeros(1)}, path, {"family": "embedded", "config": json.dumps(config)})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelError) as raised:
        load_networks(path)
    one_line(raised.value, path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


@pytest.mark.parametrize(
    ("role", "given", "shapes"),
    [
        ("transformer", {"num_layers": 10**8}, {}),
        ("transformer", {"num_heads": 0}, {}),
        ("transformer", {"dim": "wide"}, {}),
        ("guidance", {"image_size": 10**6}, {}),
        ("guidance", {}, {"visual_encoder.layers.0.blocks.0.attn.relative_position_bias_table": (10**9, 0)}),
        ("guidance", {}, {"visual_encoder.patch_embed.proj.weight": (10**6, 0, 4, 4)}),
    ],
)
def test_networks_that_cannot_be_take_no_memory(
    tmp_path: Path, role: str, given: dict[str, object], shapes: dict[str, tuple[int, ...]]
) -> None:
    folder = small.infvsr(tmp_path / "m")
    parts = read_folder(folder)
    tensors = checkpoint.load_tensors(parts.files[role])[0] | {
        name: torch.zeros(shape) for name, shape in shapes.items()
    }
    save_file({name: t.contiguous() for name, t in tensors.items()}, tmp_path / "x.safetensors")
    stated = {role: {**parts.given.get(role, {}), **given}}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelError, match=re.escape(str(tmp_path))):
        components = Components({role: tmp_path / "x.safetensors"}, None, stated)
        known_components()[role].try_load(role, components)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024
