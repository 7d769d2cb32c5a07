"""The fast quality, with the shipped weights: a smaller network, read when asked for, and better than interpolation."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.clips import read
from tests.conftest import EXAMPLES
from tests.models.embedded.test_look import SHIPPED, model, without
from tests.networks.networks import needs_int8_units
from vrx.errors import ModelError
from vrx.models.base import DeviceChunk
from vrx.models.embedded import model as embedded
from vrx.models.embedded.checkpoint import FAST, FAST_PEAKS, EmbeddedNetworks, check_networks, load_fast, load_networks
from vrx.models.embedded.model import EmbeddedModel
from vrx.models.runner import restore_scene
from vrx.networks.embedded.classical import bicubic
from vrx.networks.embedded.int8 import Int8Block
from vrx.networks.embedded.recurrent import FAST_SIZE, STANDARD
from vrx.settings import RestoreSettings, Task
from vrx.train.degrade import quantize, shrink
from vrx.weights import checkpoint

FAST_UPSCALE = RestoreSettings(task=Task.UPSCALE, scale=4, strength=0.0, quality="fast")
LEAST_GAIN = {2: 1.0, 3: 1.5, 4: 1.5}  # dB over bicubic interpolation


@pytest.fixture(scope="module")
def truth() -> Tensor:
    """Six frames of a flower, [T, 3, 144, 192]."""
    frames = read(EXAMPLES / "flower.mp4").frames[:6, 20:164, 80:272]
    return torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255


def enlarged(low: Tensor, loaded: EmbeddedModel, settings: RestoreSettings, chunk: int = 6) -> Tensor:
    pieces = (
        DeviceChunk(low[start : start + chunk].clone(), None, frozenset({0} if start == 0 else ()))
        for start in range(0, len(low), chunk)
    )
    with torch.inference_mode():
        return torch.cat([part.frames for part in restore_scene(loaded.restorer(settings), pieces)])


def error(found: Tensor, truth: Tensor) -> float:
    return float((found - truth)[..., 8:-8, 8:-8].square().mean())


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_it_is_better_than_interpolation(truth: Tensor, scale: int) -> None:
    low = quantize(shrink(truth, scale))
    found = enlarged(low, model(), replace(FAST_UPSCALE, scale=scale))
    assert error(found, truth) * 10 ** (LEAST_GAIN[scale] / 10) < error(bicubic(low, scale).clamp(0, 1), truth)


def test_chunks_do_not_matter(truth: Tensor) -> None:
    low, loaded = quantize(shrink(truth, 4)), model()
    assert torch.equal(enlarged(low, loaded, FAST_UPSCALE, 4), enlarged(low, loaded, FAST_UPSCALE))


def test_it_is_smaller_sees_no_later_frames_and_is_read_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[Path] = []

    def counted(path: Path, networks: EmbeddedNetworks) -> EmbeddedNetworks:
        reads.append(path)
        return load_fast(path, networks)

    monkeypatch.setattr(embedded, "load_fast", counted)
    loaded = model()
    for quality in ("auto", "best"):
        loaded.restorer(replace(FAST_UPSCALE, quality=quality))
    assert reads == []
    for look in ("faithful", "sharp"):
        loaded.restorer(replace(FAST_UPSCALE, look=look))
    assert reads == [SHIPPED]
    assert loaded.fast.enlarging.config == FAST_SIZE
    assert loaded.fast.enlarging.later is None
    assert loaded.networks.enlarging.config == STANDARD
    assert FAST_SIZE.blocks < STANDARD.blocks / 2


def test_its_look_is_sharpened_like_the_other_s(truth: Tensor) -> None:
    low, loaded = quantize(shrink(truth, 2))[:2], model()
    plain, sharp = (enlarged(low, loaded, replace(FAST_UPSCALE, scale=2, look=look)) for look in ("faithful", "sharp"))
    assert sharp.diff(dim=-1).square().mean() > 1.1 * plain.diff(dim=-1).square().mean()


def test_a_checkpoint_without_it_works_with_the_other_qualities(tmp_path: Path) -> None:
    path = without(tmp_path, FAST, FAST_PEAKS)
    check_networks(path)
    loaded = model(path)
    loaded.restorer(replace(FAST_UPSCALE, quality="best"))
    with pytest.raises(ModelError, match="has no network for --quality fast"):
        loaded.restorer(FAST_UPSCALE)


def test_tensors_of_another_network_are_refused(tmp_path: Path) -> None:
    path = without(tmp_path)
    save_file(load_file(path) | {f"{FAST}extra": torch.zeros(1)}, path, checkpoint.read_metadata(SHIPPED))
    with pytest.raises(ModelError, match=r"1 unexpected \(extra\)"):
        check_networks(path)


@needs_int8_units
def test_it_works_in_8_bits_with_peaks_of_its_own(truth: Tensor, tmp_path: Path) -> None:
    low, narrow = quantize(shrink(truth, 4))[:3], model(narrow=True)
    found = [enlarged(low, loaded, FAST_UPSCALE) for loaded in (narrow, model())]
    assert all(isinstance(block, Int8Block) for block in narrow.fast.enlarging.blocks)
    assert (found[0] - found[1]).abs().mean() < 0.4 / 255
    peaks = load_fast(SHIPPED, load_networks(SHIPPED)).peaks
    assert peaks is not None
    assert peaks[1] is None
    with pytest.raises(ModelError, match=r"lacks what vrx\.train\.peaks measures"):
        model(without(tmp_path, FAST_PEAKS), narrow=True).restorer(FAST_UPSCALE)
