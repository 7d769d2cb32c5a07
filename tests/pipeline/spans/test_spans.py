"""Spans: found once, read exactly, restored as in a run of all, joined in order."""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.clips import ClipMaker, read, save_picture
from tests.models import small
from tests.pipeline.jobs import make_job, open_session
from tests.pipeline.spans.sources import CUTS, FRAMES, KINDS, VARIABLE
from vrx import api, events
from vrx.media.frame import Frame
from vrx.pipeline.pool import ModelPool
from vrx.pipeline.source import find_boundaries
from vrx.pipeline.spans import result
from vrx.pipeline.spans.part import MARGINS, PartSession, SpanWork
from vrx.pipeline.spans.result import Means, local_means, name_dtype, restore_in_spans, span_marks
from vrx.pipeline.spans.span import Span, WrongFramesError, group_spans
from vrx.scenes.detect import Boundary
from vrx.settings import Dtype, Job, ModelSettings, RestoreSettings, Task

SIZE = (32, 24)


@pytest.fixture
def clip(tmp_path: Path) -> ClipMaker:
    """Small clips: what is tested here does not depend on their size."""
    return ClipMaker(tmp_path, SIZE)


def deblur() -> RestoreSettings:
    return RestoreSettings(task=Task.DEBLUR, sigma=1.0)


@pytest.fixture(autouse=True)
def short_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result, "SEGMENT_FRAMES", 16)


def spans_of(job: Job, least: int = 16) -> tuple[list[SpanWork], list[tuple[Fraction, Boundary, bytes]]]:
    """The spans of a job, and all its frames as one pass gives them."""
    with open_session(job) as session:
        frames = list(find_boundaries(session))
        origin, target, opened = session.reader.origin, session.target, session.job
    spans = group_spans(iter(frames), origin, least)
    seen = [(item.frame.time, item.boundary, content(item.frame)) for item in frames]
    return [SpanWork(job=opened, target=target, span=span) for span in spans], seen


def content(frame: Frame) -> bytes:
    """Its samples, and what its decoder tells of it."""
    return b"".join(plane.tobytes() for plane in frame.planes) + repr(frame.quantizer).encode()


@pytest.mark.parametrize("kind", KINDS)
def test_a_span_is_read_as_in_one_pass_over_all(kind: str, clip: ClipMaker) -> None:
    works, seen = spans_of(make_job(KINDS[kind](clip), clip.folder / "out.mkv"))
    assert [w.span.first for w in works] == [sum(w.span.frames for w in works[:n]) for n in range(len(works))]
    assert works[-1].span.first + works[-1].span.frames == len(seen)
    for work in reversed(works):
        with PartSession(work, events.ignore, ModelPool()) as session:
            session.open()
            found = list(session.read_span())
        expected = seen[work.span.first :][: work.span.frames]
        assert [(i.frame.time, content(i.frame)) for i in found] == [(time, samples) for time, _, samples in expected]
        assert [i.boundary for i in found][1:] == [boundary for _, boundary, _ in expected][1:]


def test_a_span_of_numbered_pictures_is_read_at_their_rate(tmp_path: Path) -> None:
    for number in range(1, 21):
        save_picture(tmp_path / f"f_{number:02d}.png", np.full((32, 48), 250 * (number > 10), np.uint8))
    job = make_job(tmp_path / "f_%02d.png", tmp_path / "out.mkv", selection={"fps": Fraction(10)})
    works, seen = spans_of(job, 10)
    assert [work.span.start for work in works] == [0, 1]
    with PartSession(works[1], events.ignore, ModelPool()) as session:
        session.open()
        assert [item.frame.time for item in session.read_span()] == [time for time, _, _ in seen[10:]]


def test_spans_are_whole_scenes_of_at_least_a_length(clip: ClipMaker) -> None:
    works, _ = spans_of(make_job(clip(frames=FRAMES, cuts=CUTS), clip.folder / "out.mkv"), 30)
    assert [(w.span.first, w.span.frames, w.span.scene, w.span.hard) for w in works] == [
        (0, 44, 0, (20,)),
        (44, 46, 2, (26,)),
    ]


def test_a_span_survives_json(clip: ClipMaker) -> None:
    works, _ = spans_of(make_job(clip(frames=FRAMES, cuts=CUTS), clip.folder / "out.mkv"))
    assert [Span.of(w.span.as_dict()) for w in works] == [w.span for w in works]


@pytest.mark.parametrize("change", [{"checksum": 1}, {"frames": FRAMES + 1}, {"head": 1}, {"begin": Fraction(99)}])
def test_other_frames_than_those_found_are_refused(clip: ClipMaker, change: dict[str, Any]) -> None:
    works, _ = spans_of(make_job(clip(frames=FRAMES, cuts=CUTS), clip.folder / "out.mkv"))
    work = replace(works[-1], span=replace(works[-1].span, **change))
    with PartSession(work, events.ignore, ModelPool()) as session, pytest.raises(WrongFramesError):
        session.open()
        list(session.read_span())


def test_a_seek_that_leads_to_damaged_pictures_is_noticed(clip: ClipMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    cuts = clip.folder / "cuts.txt"
    cuts.write_text("30\n60\n")  # in the middle of shots
    source = KINDS["wrong key frames"](clip)
    works, _ = spans_of(make_job(source, clip.folder / "out.mkv", selection={"scenes": str(cuts)}))
    tried: list[Fraction | None] = []
    plain = PartSession._read_from

    def remember(self: PartSession, margin: Fraction | None) -> None:
        tried.append(margin)
        plain(self, margin)

    monkeypatch.setattr(PartSession, "_read_from", remember)
    with PartSession(works[-1], events.ignore, ModelPool()) as session:
        session.open()
        assert len(list(session.read_span())) == works[-1].span.frames
    assert tried[0] == MARGINS[0] == 0
    assert len(tried) > 1


@pytest.mark.parametrize("kind", ["variable rate", "interlaced"])
def test_spans_in_any_order_give_the_frames_of_a_run_of_all(kind: str, clip: ClipMaker) -> None:
    source, whole, parts = KINDS[kind](clip), clip.folder / "whole.mkv", clip.folder / "parts.mkv"
    job = make_job(source, whole, codec="ffv1")
    api.restore(job)
    job = replace(job, output=replace(job.output, path=str(parts)))
    done = restore_in_spans(job, order=lambda works: random.Random(1).sample(found := list(works), len(found)))
    first, second = read(whole), read(parts)
    assert (first.frames == second.frames).all()
    assert first.times == second.times
    assert (first.kinds, first.pix_fmt, first.duration) == (second.kinds, second.pix_fmt, second.duration)
    assert done.frames == len(first.times)
    assert [p.name for p in clip.folder.iterdir() if p.name.startswith(".parts")] == []


def test_masks_of_a_folder_belong_to_the_same_frames(clip: ClipMaker) -> None:
    source = clip(times=VARIABLE[:30], cuts=(18,))
    masks = clip.folder / "masks"
    masks.mkdir()
    for number in range(30):
        mask = np.zeros((24, 32), np.uint8)
        mask[8:14, number % 20 : number % 20 + 10] = 255
        save_picture(masks / f"{number:03d}.png", mask)
    restore = RestoreSettings(task=Task.INPAINT, mask=masks)
    job = make_job(source, clip.folder / "whole.mkv", codec="ffv1", restore=restore)
    api.restore(job)
    restore_in_spans(replace(job, output=replace(job.output, path=str(clip.folder / "parts.mkv"))))
    assert (read(clip.folder / "whole.mkv").frames == read(clip.folder / "parts.mkv").frames).all()


@pytest.mark.parametrize(
    ("device", "dtype", "wanted", "expected"),
    [
        ("cpu", "int8", "auto", "auto"),  # each processor takes it by itself, if the checkpoint has its peaks
        ("cpu", "int8", "int8", "int8"),
        ("cpu", "bf16", "auto", "bf16"),
        ("cuda", "int8", "auto", "int8"),
    ],
)
def test_means_name_the_number_type_that_was_chosen(device: str, dtype: Dtype, wanted: Dtype, expected: str) -> None:
    means = Means(model="embedded", checkpoint="a 1", device=device, dtype=dtype, network_type="bf16")
    assert means.settings(ModelSettings(dtype=wanted)).dtype == expected


@pytest.mark.parametrize(
    ("dtype", "network_type", "expected"),
    [("bf16", "bf16", "bf16"), ("int8", "bf16", "bf16, weights in int8"), ("int8", "fp32", "fp32, weights in int8")],
)
def test_what_networks_compute_in_beside_8_bits_marks_spans(
    clip: ClipMaker, dtype: Dtype, network_type: Dtype, expected: str
) -> None:
    means = Means(model="embedded", checkpoint="a 1", device="cpu", dtype=dtype, network_type=network_type)
    with open_session(make_job(clip(frames=1), clip.folder / "out.mkv")) as session:
        assert span_marks(session, means)["the number type"] == expected


@pytest.mark.parametrize("dtype", ["int8", "fp8"])
def test_weights_in_8_bits_stay_so_in_spans(clip: ClipMaker, dtype: Dtype) -> None:
    job = make_job(clip(frames=1), clip.folder / "out.mkv", restore=RestoreSettings(task=Task.UPSCALE, scale=1))
    settings = replace(job.model, name=str(small.swiftvr(clip.folder / "model")), dtype=dtype)
    with open_session(replace(job, model=settings)) as session:
        assert local_means(session).settings(settings) == settings
        assert local_means(session).network_type == name_dtype(session.dtype)
