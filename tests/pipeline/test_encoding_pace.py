"""An encoder that keeps up with a GPU: the usual one, the GPU's own, or a faster preset."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.clips import ClipMaker
from tests.pipeline.jobs import make_job, notes, open_session
from vrx.events import Event, Noted
from vrx.media import ffmpeg
from vrx.media.fields import FieldOrder
from vrx.media.target import Target
from vrx.pipeline import encoding_pace
from vrx.pipeline.encoding_pace import SPEEDS, Pace, keep_pace
from vrx.pipeline.plan import make_plan


@pytest.fixture
def target(clip: ClipMaker, tmp_path: Path) -> Callable[..., Target]:
    def make(suffix: str = ".mp4", pix_fmt: str = "yuv420p") -> Target:
        source = clip(frames=2, pix_fmt=pix_fmt, codec="libx264" if suffix == ".avi" else "ffv1")
        with open_session(make_job(source, tmp_path / f"out{suffix}")) as opened:
            return opened.target

    return make


@pytest.fixture
def works(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, tuple[int, int]]]:
    """The GPU's encoders work; the list is of those that were tried."""
    tried: list[tuple[str, str, tuple[int, int]]] = []

    def error(_: str, encoder: str, pix_fmt: str, size: tuple[int, int]) -> str:
        tried.append((encoder, pix_fmt, size))
        return ""

    monkeypatch.setattr(encoding_pace, "encoder_error", error)
    return tried


def test_presets_are_ordered_from_the_usual_one_on() -> None:
    from vrx.media.encoders import ENCODERS

    for name, speeds in SPEEDS.items():
        assert next(iter(speeds)) == ENCODERS[name].preset
        assert list(speeds.values()) == sorted(speeds.values())


def test_the_usual_encoder_stays_while_the_cores_suffice(target: Callable[..., Target]) -> None:
    speed = SPEEDS["libx264"]["medium"]
    usual = target()
    assert keep_pace(usual, Pace(4 * speed, 4)) == (usual, None)


def test_more_cores_are_needed_for_more_pixels(target: Callable[..., Target]) -> None:
    """Without the GPU's own encoder, which this machine does not have."""
    assert ffmpeg.encoder_error(ffmpeg.executable(), "h264_nvenc", "yuv420p", (256, 192))
    usual, speeds = target(), SPEEDS["libx264"]
    for preset, speed in list(speeds.items())[1:]:
        found, note = keep_pace(usual, Pace(2 * speed, 2))
        assert (found.rule.name, found.preset) == ("libx264", preset)
        assert note is not None
        assert note.facts == {"encoder": "libx264", "preset": preset}
        assert note.text.startswith("2 cores do not keep up with the GPU in libx264 medium: its preset")
    fastest, _ = keep_pace(usual, Pace(1e12, 2))
    assert fastest.preset == list(speeds)[-1]


def test_the_gpu_s_own_encoder_is_tried_at_the_result_s_size(
    target: Callable[..., Target], works: list[tuple[str, str, tuple[int, int]]]
) -> None:
    found, note = keep_pace(target(), Pace(1e12, 2))
    assert found.rule.name == "h264_nvenc"
    assert note is not None
    assert note.text.endswith("h264_nvenc is used")
    deep, _ = keep_pace(target(pix_fmt="yuv420p10le"), Pace(1e12, 2))
    assert deep.rule.name == "hevc_nvenc"
    assert works == [("h264_nvenc", "yuv420p", (128, 96)), ("hevc_nvenc", "yuv420p10le", (128, 96))]


@pytest.mark.parametrize(("suffix", "pix_fmt"), [(".mp4", "yuv444p"), (".avi", "yuv420p"), (".mp4", "gray")])
def test_it_is_not_taken_where_anything_would_be_lost(
    suffix: str, pix_fmt: str, target: Callable[..., Target], works: list[tuple[str, str, tuple[int, int]]]
) -> None:
    found, _ = keep_pace(target(suffix, pix_fmt), Pace(1e12, 2))
    assert found.rule.name == "libx264"
    light = replace(target(), hdr10=("-x", "y"))
    assert keep_pace(light, Pace(1e12, 2))[0].rule.name == "libx264"
    fields = replace(target(), fields=FieldOrder.TOP)  # which the GPU's encoder would not tag
    assert keep_pace(fields, Pace(1e12, 2))[0].rule.name == "libx264"
    assert works == []


def test_others_stay(target: Callable[..., Target]) -> None:
    lossless = target(".mkv")
    lossless = replace(lossless, rule=replace(lossless.rule, name="ffv1"))
    assert keep_pace(lossless, Pace(1e12, 2)) == (lossless, None)


@pytest.mark.parametrize(
    ("device", "chosen", "changes"),
    [("cuda", {}, True), ("cpu", {}, False), ("cuda", {"crf": 20}, False), ("cuda", {"codec": "h264"}, False)],
)
def test_a_session_keeps_pace_on_a_gpu_unless_the_user_chose(
    device: str, chosen: dict[str, Any], changes: bool, clip: ClipMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(clip(frames=2), tmp_path / "out.mp4", **chosen)
    heard: list[Event] = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    with open_session(job, heard) as opened:
        before = opened.target
        opened.device = torch.device(device)
        opened._keep_pace()
        assert (opened.target != before) is changes
        assert ("encoder-chosen" in notes(heard)) is changes
        opened.device = torch.device("cpu")
        plan = make_plan(opened)
    assert (plan.preset != "medium") is changes
    assert any("keep up with the GPU" in event.text for event in heard if isinstance(event, Noted)) is changes
