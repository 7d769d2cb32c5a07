"""The sharp look, with the shipped weights: more detail than the faithful one, as steady, and loaded when asked for."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.clips import read
from tests.conftest import EXAMPLES
from tests.networks.networks import needs_int8_units
from vrx.errors import ModelError
from vrx.models.base import DeviceChunk
from vrx.models.components import Components
from vrx.models.embedded import model as embedded
from vrx.models.embedded.checkpoint import (
    FAMILY_NAME,
    SHARP,
    SHARP_PEAKS,
    EmbeddedNetworks,
    check_networks,
    load_networks,
    load_sharp,
)
from vrx.models.embedded.model import EmbeddedModel, EmbeddedRestorer
from vrx.models.family import BuildRequest
from vrx.models.runner import restore_scene
from vrx.networks.embedded.int8 import Int8Block
from vrx.networks.embedded.sharpening import sharpen
from vrx.settings import ModelSettings, RestoreSettings, Task
from vrx.train.degrade import quantize, shrink
from vrx.weights import checkpoint
from vrx.weights.hashes import packaged_path

SHIPPED = packaged_path("embedded.safetensors")
CPU = torch.device("cpu")
MORE_DETAIL = {2: 1.1, 4: 1.1}  # of the faithful look's


def model(path: Path = SHIPPED, narrow: bool = False) -> EmbeddedModel:
    request = BuildRequest(Components({FAMILY_NAME: path}), ModelSettings(), CPU, torch.float32)
    return embedded.load(replace(request, dtype=torch.bfloat16, quantized="int8") if narrow else request)


@pytest.fixture(scope="module")
def shipped() -> EmbeddedModel:
    return model()


@pytest.fixture(scope="module")
def clip() -> Tensor:
    """Six frames of a flower, [T, 3, 48, 64]."""
    frames = read(EXAMPLES / "flower.mp4").frames[:6, 60:108, 120:184]
    return torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255


def restorer(loaded: EmbeddedModel, look: str, scale: int = 2) -> EmbeddedRestorer:
    return loaded.restorer(RestoreSettings(task=Task.UPSCALE, scale=scale, strength=0.0, look=look))  # type: ignore[arg-type]


def enlarged(low: Tensor, loaded: EmbeddedModel, look: str, scale: int = 2, chunk: int = 6) -> Tensor:
    pieces = (
        DeviceChunk(low[start : start + chunk].clone(), None, frozenset({0} if start == 0 else ()))
        for start in range(0, len(low), chunk)
    )
    with torch.inference_mode():
        return torch.cat([part.frames for part in restore_scene(restorer(loaded, look, scale), pieces)])


def slopes(frames: Tensor) -> float:
    """Mean square of the differences between neighboring pixels."""
    return float(frames.diff(dim=-1).square().mean() + frames.diff(dim=-2).square().mean())


@pytest.mark.parametrize("scale", [2, 4])
def test_sharp_has_more_detail_of_the_same_picture(shipped: EmbeddedModel, clip: Tensor, scale: int) -> None:
    faithful, sharp = (enlarged(clip, shipped, look, scale) for look in ("faithful", "sharp"))
    assert slopes(sharp) > MORE_DETAIL[scale] * slopes(faithful)
    apart = F.avg_pool2d(sharp, 4 * scale) - F.avg_pool2d(faithful, 4 * scale)
    assert apart.abs().mean() < 1 / 255  # of colors over wider places
    assert apart.mean((0, 2, 3)).abs().max() < 0.5 / 255


def test_twice_as_large_it_is_nearer_to_the_truth_than_the_filter_alone(shipped: EmbeddedModel) -> None:
    frames = read(EXAMPLES / "flower.mp4").frames[:6, 40:136, 100:228]
    truth = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
    low = quantize(shrink(truth, 2))
    filtered = sharpen(enlarged(low, shipped, "faithful").clone(), 2)
    errors = [(found - truth).square().mean() for found in (filtered, enlarged(low, shipped, "sharp"))]
    assert errors[1] < 0.95 * errors[0]


def test_a_still_scene_stays_still(shipped: EmbeddedModel, clip: Tensor) -> None:
    still = clip[:1].expand(16, -1, -1, -1)
    changes = enlarged(still, shipped, "sharp")[8:].diff(dim=0).abs() * 255
    assert changes.mean() < 0.15  # levels
    assert changes.max() < 3


@pytest.mark.parametrize("scale", [2, 4])
def test_chunks_do_not_matter(shipped: EmbeddedModel, clip: Tensor, scale: int) -> None:
    whole = enlarged(clip, shipped, "sharp", scale)
    assert torch.equal(enlarged(clip, shipped, "sharp", scale, chunk=4), whole)


def test_its_weights_are_read_when_first_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[Path] = []

    def counted(path: Path, networks: EmbeddedNetworks) -> EmbeddedNetworks:
        reads.append(path)
        return load_sharp(path, networks)

    monkeypatch.setattr(embedded, "load_sharp", counted)
    loaded = model()
    restorer(loaded, "faithful")
    assert reads == []
    restorer(loaded, "sharp", 4)  # where the filter works alone
    assert reads == []
    for _ in range(2):
        restorer(loaded, "sharp")
    assert reads == [SHIPPED]


def test_only_what_differs_is_stored_and_the_branch_for_later_frames_does_not() -> None:
    plain = load_networks(SHIPPED)
    sharp = load_sharp(SHIPPED, plain)
    stored = {name.removeprefix(SHARP) for name in load_file(SHIPPED) if name.startswith(SHARP)}
    before, after = plain.enlarging.state_dict(), sharp.enlarging.state_dict()
    assert stored == {name for name in before if not torch.equal(before[name], after[name])}
    assert "heads.2.weight" in stored
    assert not any(name.startswith("later.") for name in stored)
    assert sharp.network is plain.network


def without(folder: Path, *names: str) -> Path:
    path = folder / "embedded.safetensors"
    tensors = {name: tensor for name, tensor in load_file(SHIPPED).items() if not name.startswith(names)}
    save_file(tensors, path, checkpoint.read_metadata(SHIPPED))
    return path


def test_a_checkpoint_without_it_works_for_the_faithful_look_alone(tmp_path: Path) -> None:
    path = without(tmp_path, SHARP, SHARP_PEAKS)
    check_networks(path)
    loaded = model(path)
    restorer(loaded, "faithful")
    with pytest.raises(ModelError, match="has no network for --look sharp"):
        restorer(loaded, "sharp")


def test_tensors_of_another_network_are_refused(tmp_path: Path) -> None:
    path = without(tmp_path)
    tensors = load_file(path) | {f"{SHARP}extra": torch.zeros(1)}
    save_file(tensors, path, checkpoint.read_metadata(SHIPPED))
    with pytest.raises(ModelError, match=r"1 unexpected \(extra\)"):
        check_networks(path)


@needs_int8_units
def test_it_works_in_8_bits_with_peaks_of_its_own(clip: Tensor) -> None:
    narrow, wide = model(narrow=True), model()
    found = [enlarged(clip, loaded, "sharp") for loaded in (narrow, wide)]
    assert all(isinstance(block, Int8Block) for block in narrow.sharp.enlarging.blocks)
    assert (found[0] - found[1]).abs().mean() < 0.4 / 255
    peaks = narrow.networks.peaks, narrow.sharp.peaks
    assert peaks[0] is not None and peaks[1] is not None  # noqa: PT018
    assert not torch.equal(peaks[0][0].stream, peaks[1][0].stream)
    later = peaks[0][1], peaks[1][1]
    assert later[0] is not None and later[1] is not None  # noqa: PT018
    assert torch.equal(later[0].stream, later[1].stream)


@needs_int8_units
def test_without_its_peaks_8_bits_are_refused(tmp_path: Path) -> None:
    loaded = model(without(tmp_path, SHARP_PEAKS), narrow=True)
    with pytest.raises(ModelError, match=r"lacks what vrx.train.peaks measures for 8 bits"):
        restorer(loaded, "sharp")
