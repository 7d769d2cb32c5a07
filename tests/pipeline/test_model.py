"""load_model: frames in, restored frames out, of the same kind and at the same times."""

import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.clips import TIMES, ClipMaker, read, scenery
from vrx import api, events
from vrx.errors import ModelError, UsageError
from vrx.models.embedded.model import LOOKING_AHEAD
from vrx.networks.fusion import report_failure, take_failures
from vrx.pipeline.model import Model, load_model
from vrx.pipeline.video import VideoReader, VideoWriter
from vrx.settings import Job, ModelSettings, OutputSettings, RestoreSettings, SelectionSettings, Task

SIZE = (48, 32)


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("embedded", device="cpu", dtype="fp32")


def pictures(number: int, shots: tuple[int, ...] = ()) -> list[np.ndarray]:
    return [scenery(n, SIZE, sum(n >= cut for cut in shots)) for n in range(number)]


def test_a_model_says_what_it_does(model: Model) -> None:
    assert model.tasks == ("upscale", "deblur", "inpaint")
    assert model.scales == (2, 3, 4)
    assert repr(model) == "Model('embedded', device='cpu', dtype=torch.float32)"
    small, large = model.memory(640, 360), model.memory(1280, 720)
    assert small is not None
    assert large is not None
    assert 0 < small < large


@pytest.mark.parametrize("number", [1, 3, 4, 7])
def test_as_many_frames_come_out_as_go_in(model: Model, number: int) -> None:
    results = list(model.upscale(pictures(number), scale=3))
    assert [result.shape for result in results] == [(96, 144, 3)] * number
    assert all(result.dtype == np.uint8 for result in results)


def test_arrays_and_tensors_give_the_same(model: Model) -> None:
    frames = pictures(5)
    arrays = np.stack(list(model.deblur(frames, sigma=1.2)))
    tensors = torch.stack(list(model.deblur((torch.from_numpy(f).permute(2, 0, 1) for f in frames), sigma=1.2)))
    floats = np.stack(list(model.deblur([f.astype(np.float32) / 255 for f in frames], sigma=1.2)))
    whole = np.stack(list(model.deblur(np.stack(frames), sigma=1.2)))
    assert np.array_equal(tensors.permute(0, 2, 3, 1).numpy(), arrays)
    assert np.array_equal(whole, arrays)
    assert np.abs(floats * 255 - arrays).max() <= 0.5001


def test_an_endless_source_is_read_no_further_than_needed(model: Model) -> None:
    taken: list[int] = []

    def endless() -> Iterator[np.ndarray]:
        try:
            for number in count():
                taken.append(number)
                yield scenery(number, SIZE)
        finally:
            taken.append(-1)

    before = threading.active_count()
    results = model.upscale(endless(), scale=2, scenes="off")
    assert taken == []
    next(results)
    assert len(taken) <= LOOKING_AHEAD.first + LOOKING_AHEAD.ahead
    results.close()  # type: ignore[attr-defined]
    assert taken[-1] == -1
    assert threading.active_count() == before


def test_scenes_are_found_or_told(model: Model) -> None:
    def begins(**options: Any) -> list[int]:
        heard: list[events.Event] = []
        list(model.upscale(pictures(24, (10,)), scale=2, on_event=heard.append, **options))
        return [event.frame for event in heard if isinstance(event, events.SceneBegan) and not event.soft]

    assert begins() == [0, 10]
    assert begins(scenes="off") == [0]
    assert begins(scenes=[6]) == [0, 6]
    with pytest.raises(UsageError, match="scenes is 'on'"):
        model.upscale([], scenes="on")


def test_what_runs_in_another_way_is_told_in_python_too(model: Model) -> None:
    heard: list[events.Event] = []
    take_failures()
    report_failure("not-compiled", "window attention runs block by block", RuntimeError("no compiler"))
    list(model.upscale(pictures(10), scale=2, on_event=heard.append))
    (note,) = [event for event in heard if isinstance(event, events.Noted) and event.code == "not-compiled"]
    assert (note.level, note.text) == ("warning", "window attention runs block by block: RuntimeError: no compiler")


def test_masks_are_one_for_all_one_each_or_a_file(model: Model, tmp_path: Path) -> None:
    from PIL import Image

    frames, mask = pictures(3), np.zeros((32, 48), bool)
    mask[8:16, 8:20] = True
    Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "m.png")
    fixed = np.stack(list(model.inpaint(frames, mask)))
    each = np.stack(list(model.inpaint(frames, iter([mask] * 3))))
    gray = np.stack(list(model.inpaint(frames, torch.from_numpy(mask).to(torch.uint8) * 255)))
    file = np.stack(list(model.inpaint(frames, tmp_path / "m.png")))
    assert np.array_equal(fixed[:, ~mask], np.stack(frames)[:, ~mask])
    assert not np.array_equal(fixed, np.stack(frames))
    assert all(np.array_equal(other, fixed) for other in (each, gray, file))
    grown = np.stack(list(model.inpaint(frames, mask, dilate=2)))
    assert not np.array_equal(grown[:, ~mask], np.stack(frames)[:, ~mask])


def test_masks_that_do_not_fit_are_refused(model: Model) -> None:
    with pytest.raises(UsageError, match=r"mask 0 has the shape \[4, 4\]"):
        list(model.inpaint(pictures(1), np.zeros((4, 4), bool)))
    with pytest.raises(UsageError, match="masks end before frame 1"):
        list(model.inpaint(pictures(2), [np.zeros((32, 48), bool)]))


def test_what_a_model_does_not_do_is_refused_before_the_first_frame(model: Model) -> None:
    with pytest.raises(UsageError, match="5"):
        model.upscale([], scale=5)
    with pytest.raises(UsageError, match=r"--scale is 2\.0"):
        model.upscale([], scale=2.0)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="prompt"):
        model.upscale([], prompt="a cat")
    with pytest.raises(UsageError, match="sigma"):
        model.deblur([], sigma=50)
    with pytest.raises(ModelError, match="unknown model"):
        load_model("embeded")
    assert load_model("embedded", device=torch.device("cpu")).device == model.device
    assert list(model.upscale([], scale=2)) == []


def test_a_frame_of_another_kind_is_named(model: Model) -> None:
    with pytest.raises(UsageError, match="frame 1 is"):
        list(model.upscale([scenery(0, SIZE), scenery(1, (32, 32))], scale=2))


def test_a_video_keeps_its_times_and_equals_the_command_s(clip: ClipMaker, tmp_path: Path, model: Model) -> None:
    source = clip("in.mkv", times=TIMES, audio=True)
    with VideoReader(source) as video, VideoWriter(tmp_path / "a.mkv", like=video, scale=2, codec="ffv1") as out:
        for frame in model.upscale(video, scale=2):
            assert frame.to_numpy().shape == (96, 128, 3)
            out.write(frame)
    api.restore(
        Job(
            source=str(source),
            model=ModelSettings(device="cpu", dtype="fp32"),
            restore=RestoreSettings(task=Task.UPSCALE, scale=2),
            selection=SelectionSettings(),
            output=OutputSettings(path=str(tmp_path / "b.mkv"), codec="ffv1"),
        )
    )
    a, b = read(tmp_path / "a.mkv"), read(tmp_path / "b.mkv")
    assert (a.times, a.kinds, a.pix_fmt) == (b.times, b.kinds, b.pix_fmt)
    assert np.array_equal(a.frames, b.frames)


def test_frames_of_two_videos_do_not_mix(clip: ClipMaker, model: Model) -> None:
    with VideoReader(clip("a.mkv", frames=2)) as one, VideoReader(clip("b.mkv", frames=2, size=(32, 32))) as other:
        with pytest.raises(UsageError, match="frame 2 is"):
            list(model.upscale((frame for video in (one, other) for frame in video), scale=2))
        with pytest.raises(UsageError, match="another kind"):
            list(model.upscale([*VideoReader(clip("c.mkv", frames=1)), scenery(0, (64, 48))], scale=2))


def test_tensors_that_come_out_can_be_trained_on_and_changed(model: Model) -> None:
    frames = [torch.from_numpy(f).permute(2, 0, 1) / 255 for f in pictures(3)]
    first, *_ = model.upscale([frame.requires_grad_() for frame in frames], scale=2)
    weight = torch.ones(1, requires_grad=True)
    (first * weight).sum().backward()
    assert weight.grad is not None
    first.add_(1)
    assert first.untyped_storage().nbytes() == first.numel() * first.element_size()


@pytest.mark.parametrize(
    "options",
    [
        {"scale": 2.0},
        {"strength": "auto"},
        {"scenes": 3},
        {"scenes": None},
        {"scenes": ""},
        {"scenes": [-1]},
        {"scenes": ["a"]},
    ],
)
def test_values_of_other_types_are_refused(model: Model, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        model.upscale(pictures(1), **{"scale": 2, **options})


@pytest.mark.parametrize("masks", [None, np.zeros(SIZE[::-1], complex)])
def test_masks_of_other_types_are_refused(model: Model, masks: Any) -> None:
    with pytest.raises(UsageError, match="mask"):
        list(model.inpaint(pictures(1), masks))


def test_a_device_may_be_torch_s() -> None:
    assert load_model("embedded", device=torch.device("cpu")).device.type == "cpu"
    with pytest.raises(UsageError, match="--device"):
        load_model("embedded", device=None)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="--seed"):
        load_model("embedded", seed="1")  # type: ignore[arg-type]
