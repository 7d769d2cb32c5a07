"""Transparency is kept, or its loss is said."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from tests.clips import add_video, scenery
from tests.media.test_write import target
from tests.pictures import png_bytes
from vrx import api, events
from vrx.media.read import Reader, Span
from vrx.media.segments import Segment, join_segments, segment_target
from vrx.media.write import Writer
from vrx.settings import Job, ModelSettings, OutputSettings, RestoreSettings, SelectionSettings, Task

OPAQUE_COLUMNS = 32  # of 64; the others are see-through


def see_through(path: Path, codec: str, pix_fmt: str, frames: int = 4) -> Path:
    """A clip whose left half is opaque, 25 frames a second."""
    alpha = np.full((48, 64, 1), 255, np.uint8)
    alpha[:, OPAQUE_COLUMNS:] = 40
    options = {"auto-alt-ref": "0", "crf": "10", "b": "0"} if "vpx" in codec else {}
    with av.open(str(path), "w") as box:
        video = add_video(box, codec, 25, (64, 48), pix_fmt, options)
        for number in range(frames):
            picture = np.concatenate([scenery(number, (64, 48)), alpha], -1)
            box.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgba").reformat(format=pix_fmt)))
        box.mux(video.encode(None))
    return path


def job(source: Path, output: Path, **changes: Any) -> Job:
    return Job(
        source=str(source),
        model=ModelSettings(device="cpu"),
        restore=RestoreSettings(task=Task.UPSCALE, scale=2),
        selection=SelectionSettings(),
        output=OutputSettings(path=str(output), overwrite=True, **changes),
    )


def alphas(path: Path, span: Span | None = None) -> list[np.ndarray]:
    """The alpha planes of a file in 0..1; an empty list where it has none."""
    with Reader(path, span or Span(), lambda _: None) as reader:
        return [f.planes[-1] / f.layout.peak for f in reader.frames()] if reader.layout.alpha else []


@pytest.mark.parametrize(("codec", "suffix"), [("libvpx", "webm"), ("libvpx-vp9", "webm"), ("libvpx-vp9", "mkv")])
def test_alpha_that_is_stored_apart_is_read(tmp_path: Path, codec: str, suffix: str) -> None:
    path = see_through(tmp_path / f"a.{suffix}", codec, "yuva420p")
    for span, count in ((Span(), 4), (Span(start=Fraction(2, 25)), 2)):
        found = alphas(path, span)
        assert len(found) == count
        assert all(a[:, : OPAQUE_COLUMNS - 8].min() > 0.95 for a in found)
        assert all(abs(float(a[:, OPAQUE_COLUMNS + 8 :].mean()) - 40 / 255) < 0.03 for a in found)


@pytest.mark.parametrize(("name", "tag"), [("b.webm", "1"), ("b.mov", None)])
def test_alpha_of_webm_is_kept(tmp_path: Path, name: str, tag: str | None) -> None:
    source, result = see_through(tmp_path / "a.webm", "libvpx-vp9", "yuva420p"), tmp_path / name
    noted: list[events.Event] = []
    api.restore(job(source, result), noted.append)
    found = alphas(result)
    assert len(found) == 4
    assert all(a[:, :48].min() > 0.95 for a in found)
    assert all(a[:, 80:].max() < 0.25 for a in found)
    assert tags(result).get("alpha_mode") == tag
    assert not [e for e in noted if isinstance(e, events.Noted) and "transparency" in e.text]


def test_parts_of_a_transparent_result_are_joined_with_it(tmp_path: Path) -> None:
    source = see_through(tmp_path / "a.webm", "libvpx-vp9", "yuva420p", frames=6)
    with Reader(source, Span(), lambda _: None) as reader:
        frames, layout = list(reader.frames()), reader.layout
    whole = target(tmp_path / "b.webm", "vp9", layout, source=source)
    parts = []
    for first in (0, 3):
        part = segment_target(whole, tmp_path / f"part{first}.webm", frames[first].time)
        with Writer(part) as writer:
            for frame in frames[first : first + 3]:
                writer.write(frame)
            writer.finish()
        parts.append(Segment(tmp_path / f"part{first}.webm", 3, frames[first].time))
    join_segments(parts, whole)
    assert tags(tmp_path / "b.webm").get("alpha_mode") == "1"
    assert len(alphas(tmp_path / "b.webm")) == 6
    assert max(float(a[:, 40:].max()) for a in alphas(tmp_path / "b.webm")) < 0.3


def test_alpha_that_the_result_cannot_hold_is_said_and_its_tag_left_out(tmp_path: Path) -> None:
    source, result = see_through(tmp_path / "a.webm", "libvpx-vp9", "yuva420p"), tmp_path / "b.mkv"
    noted: list[events.Event] = []
    api.restore(job(source, result, codec="h264"), noted.append)
    assert [e for e in noted if isinstance(e, events.Noted) and "cannot hold transparency" in e.text]
    assert "alpha_mode" not in tags(result)
    assert alphas(result) == []


def tags(path: Path) -> dict[str, str]:
    """The video stream's tags, keys in lower case."""
    with av.open(str(path)) as box:
        return {key.lower(): value for key, value in box.streams.video[0].metadata.items()}


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("suffix", ["png", "tiff", "webp"])
def test_gray_pictures_keep_their_transparency(
    tmp_path: Path, kind: type[np.uint8] | type[np.uint16], suffix: str
) -> None:
    peak = np.iinfo(kind).max
    pixels = np.full((24, 32, 2), peak // 2, kind)
    pixels[..., 1] = np.where(np.arange(32) < 16, peak, 0)
    (tmp_path / "a.png").write_bytes(png_bytes(pixels))
    assert np.array_equal(alphas(tmp_path / "a.png")[0], pixels[..., 1] / peak)
    result = tmp_path / f"b.{suffix}"
    api.restore(job(tmp_path / "a.png", result))
    found = alphas(result)[0]
    assert found.shape == (48, 64)
    assert found[:, :28].min() > 0.95
    assert found[:, 36:].max() < 0.05
    with Reader(result, Span(), lambda _: None) as reader:
        luma = next(reader.frames()).planes[0] / reader.layout.peak
    assert abs(float(luma[8:-8, 8:24].mean()) - 0.5) < (0.06 if suffix == "webp" else 0.02)


def moving(path: Path, holes: bool) -> Path:
    """An animation of two pictures, opaque or with a hole: in a GIF in both of them, else in the second one."""
    pictures = []
    for number in range(2):
        pixels = np.concatenate([scenery(number, (64, 48)), np.full((48, 64, 1), 255, np.uint8)], -1)
        if holes and (number or path.suffix == ".gif"):
            pixels[8:24, 8:24, 3] = 0
        pictures.append(Image.fromarray(pixels))
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=100, disposal=2)
    return path


def notes_of(source: Path, output: Path, **changes: str) -> tuple[str, list[str]]:
    """The planned pixel format, and what is said."""
    noted: list[events.Event] = []
    plan = api.plan(job(source, output, **changes), noted.append)
    return plan.pix_fmt, [e.text for e in noted if isinstance(e, events.Noted) and e.level == "warning"]


@pytest.mark.parametrize("name", ["a.gif", "a.png"])
def test_an_opaque_animation_is_not_called_transparent(tmp_path: Path, name: str) -> None:
    source = moving(tmp_path / name, holes=False)
    form, notes = notes_of(source, tmp_path / "b.mp4")
    assert form == "yuv420p"
    assert [note for note in notes if "browsers" in note]
    assert not [note for note in notes if "transparency" in note]
    assert notes_of(source, tmp_path / "b.mkv", codec="ffv1")[0] == "gbrp"
    assert notes_of(source, tmp_path / "b.mp4", pix_fmt="yuv444p")[0] == "yuv444p"


@pytest.mark.parametrize("name", ["a.gif", "a.png"])
def test_an_animation_with_a_hole_in_any_picture_is_transparent(tmp_path: Path, name: str) -> None:
    source = moving(tmp_path / name, holes=True)
    assert [note for note in notes_of(source, tmp_path / "b.mp4")[1] if "cannot hold transparency" in note]
    assert notes_of(source, tmp_path / "b.mkv")[0] == "gbrap"


@pytest.mark.parametrize(
    ("mode", "name", "form"),
    [("P", "a.png", "gbrp"), ("RGBA", "a.png", "gbrap"), ("CMYK", "a.jpg", "gbrp"), ("RGBA", "a.webp", "gbrap")],
)
def test_alpha_that_nothing_uses_is_no_transparency(tmp_path: Path, mode: str, name: str, form: str) -> None:
    Image.fromarray(scenery(0, (64, 48))).convert(mode).save(tmp_path / name, lossless=True, quality=95)
    assert notes_of(tmp_path / name, tmp_path / "b.png")[0] == form
    assert not [note for note in notes_of(tmp_path / name, tmp_path / "b.jpg")[1] if "transpar" in note]
    assert not [note for note in notes_of(tmp_path / name, tmp_path / "b.mkv", codec="h264")[1] if "transpar" in note]


def test_pictures_in_mp4_say_what_all_players_show(tmp_path: Path) -> None:
    for number in range(2):
        Image.new("RGB", (32, 24), (90, 120, 60)).save(tmp_path / f"f_{number}.png")
    form, (note, *others) = notes_of(tmp_path / "f_%d.png", tmp_path / "b.mp4")
    assert (form, others) == ("yuv444p", [])
    assert "few players show; --pix-fmt yuv420p is for all of them" in note
    assert notes_of(tmp_path / "f_%d.png", tmp_path / "b.mp4", pix_fmt="yuv420p")[1] == []
    assert "players" not in "".join(notes_of(tmp_path / "f_%d.png", tmp_path / "b.mkv")[1])
