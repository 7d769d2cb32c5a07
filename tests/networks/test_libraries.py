"""Optional libraries, the real ones not needed."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from vrx.networks import libraries

FAKE = """
import torch
if {broken!r}:
    @torch.library.register_fake("torchvision::{name}")
    def describe(dets, scores, iou_threshold): ...
value = {value!r}
"""


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Neither torchvision nor what was found out about it is known."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    libraries.declare_operators.cache_clear()
    yield
    sys.modules.pop("torchvision", None)
    libraries.declare_operators.cache_clear()


def put(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "torchvision.py").write_text(text)
    monkeypatch.syspath_prepend(folder)


def test_torchvision_is_usable_where_its_operators_do_not_fit_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warning = "import warnings\nwarnings.warn('not for users')\n"
    put(tmp_path, warning + FAKE.format(broken=True, name="vrx_test", value=7), monkeypatch)
    assert libraries.load("torchvision", "value") == 7
    with pytest.raises(NotImplementedError, match="vrx_test"):  # there is still nothing to call
        torch.ops.torchvision.vrx_test(torch.ones(1), torch.ones(1), 0.5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "raise RuntimeError('compiled with CUDA 12\\nand more')",
            "cannot use value of torchvision: compiled with CUDA 12",
        ),
        ("", "cannot use value of torchvision: module 'torchvision' has no attribute 'value'"),
    ],
)
def test_a_broken_library_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, words: str) -> None:
    put(tmp_path, text, monkeypatch)
    with pytest.raises(ImportError) as caught:
        libraries.load("torchvision", "value")
    assert str(caught.value) == words


def test_keys_of_a_config_that_a_version_does_not_know_are_left_out() -> None:
    class Kind:
        def __init__(self, width: int = 1) -> None:
            self.width = width

    assert libraries.construct(Kind, {"width": 3, "_class_name": "Kind", "later": 1}).width == 3
