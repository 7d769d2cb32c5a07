"""What a pickled checkpoint may contain, decided before it is loaded."""

import io
import pickle
from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from vrx.errors import ModelError
from vrx.weights.pickle_cost import CostError
from vrx.weights.pickle_guard import ALLOWED_GLOBALS, Program, check_pickle, check_sizes, iter_globals


@pytest.mark.parametrize("new", [True, False], ids=["archive", "old format"])
def test_tensors_of_every_type_pass(tmp_path: Path, new: bool) -> None:
    types = (torch.float32, torch.bfloat16, torch.float16, torch.int8, torch.int64, torch.bool)
    content = OrderedDict((str(kind), torch.zeros(2, dtype=kind)) for kind in types)
    content["parameter"] = torch.nn.Parameter(torch.zeros(3))
    torch.save(content, tmp_path / "m.pt", _use_new_zipfile_serialization=new)
    check_pickle(tmp_path / "m.pt")


def test_the_globals_of_a_program_are_listed_and_nothing_runs() -> None:
    program = pickle.dumps({"a": OrderedDict(), "b": print}, protocol=2)
    assert list(iter_globals(io.BytesIO(program))) == ["collections OrderedDict", "__builtin__ print"]


@pytest.mark.parametrize("name", ["os system", "builtins eval", "torch load", "torch.hub load", "builtins getattr"])
def test_functions_are_not_allowed(tmp_path: Path, name: str) -> None:
    assert name not in ALLOWED_GLOBALS
    path = tmp_path / "m.pt"
    path.write_bytes(b"\x80\x02c" + name.replace(" ", "\n").encode() + b"\n.")
    with pytest.raises(ModelError, match=f"contains {name.replace(' ', '.', 1)}, which is not a tensor"):
        check_pickle(path)


def test_globals_by_other_opcodes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    path.write_bytes(pickle.dumps(print, protocol=4))
    with pytest.raises(ModelError, match=r"contains pickle\.STACK_GLOBAL"):
        check_pickle(path)


def test_a_program_is_read_up_to_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vrx.weights.pickle_guard.MAX_PROGRAM", 4)
    program = Program(io.BytesIO(b"123456"))
    assert program.read(3) == b"123"
    with pytest.raises(CostError):
        program.read(2)


def test_a_tensor_has_the_bytes_it_claims() -> None:
    check_sizes(Path("m.pt"), {"a": torch.zeros(4), "view": torch.zeros(4)[1:3]})
    with pytest.raises(ModelError, match=r"m\.pt: a claims 4000 bytes and has 4"):
        check_sizes(Path("m.pt"), {"a": torch.zeros(1).expand(1000)})
