"""A mask from a file: what is found, where, when, and that vrx inpaint takes it."""

import json
import shlex
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from tests.conftest import Command
from tests.pipeline.mask.footage import RATE, SIZE, lettering, overlaid, pan, write
from vrx.errors import InputError, OutputError, UsageError
from vrx.events import Advanced, Event
from vrx.media.masks import MaskTrack
from vrx.pipeline.compare import progress as compare_progress
from vrx.pipeline.mask.finds import parse_kinds
from vrx.pipeline.mask.run import MaskSettings, make_mask

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture
def marked(tmp_path: Path) -> Path:
    """32 frames with a logo in frames 4 to 23."""
    letters = lettering("Vrx")
    pictures = (overlaid(luma, letters * (4 <= n < 24)) for n, luma in enumerate(pan(32, 6, 3)))
    return write(tmp_path / "in.mkv", pictures)


def test_a_logo_is_masked_while_it_is_shown_and_inpaint_takes_it(marked: Path, vrx: Command) -> None:
    done = vrx("mask", marked, "--json")
    assert done.returncode == 0, done.stderr
    *finds, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert [find["kind"] for find in finds] == ["overlay"]
    assert (finds[0]["start"], finds[0]["frames"]) == (2 / RATE, 24)  # two frames more on either side
    assert last["frames"] == 32
    mask, letters = Path(last["mask"]), lettering("Vrx") > 0.3
    with MaskTrack(mask, SIZE, lambda _: None) as track:
        found = [track.at(Fraction(number, RATE)) for number in range(32)]
    assert [bool(x.any()) for x in found] == [2 <= number < 26 for number in range(32)]
    assert all(x[letters].mean() > 0.99 for x in found[2:26])
    with av.open(last["picture"]) as box:
        picture = next(box.decode(video=0)).to_ndarray(format="rgb24").astype(int)
    assert ((picture[..., 0] - picture[..., 1]) > 80).sum() > 500
    done = vrx("inpaint", marked, "--mask", mask, "--codec", "ffv1", "-o", "out.mkv")
    assert done.returncode == 0, done.stderr
    with av.open(str(marked.parent / "out.mkv")) as box:
        lumas = [frame.to_ndarray(format="gray").astype(float) for frame in box.decode(video=0)]
    (clean, *_), true = lumas[10:], list(pan(32, 6, 3))[10].astype(float)
    assert np.abs(clean - true)[letters].mean() < 12 < np.abs(235 - true[letters]).mean()


def test_nothing_found_is_said_and_writes_no_file(tmp_path: Path, vrx: Command) -> None:
    clean = write(tmp_path / "clean.mkv", pan(20))
    done = vrx("mask", clean)
    assert (done.returncode, done.stdout) == (0, "")
    assert "nothing found in 20 frames; no mask written" in done.stderr
    assert [path.name for path in tmp_path.glob("clean*")] == ["clean.mkv"]
    done = vrx("mask", clean, "--write-empty", "-o", "it's.mkv")
    command = shlex.join(["vrx", "inpaint", str(clean), "--mask", "it's.mkv"])
    assert done.stderr.endswith(f"wrote it's.mkv\nit marks nothing yet: {command}\n")
    result = make_mask(clean, None, MaskSettings(write_empty=True))
    assert result.finds == ()
    assert result.picture is None
    assert result.mask == tmp_path / "clean.mask.mkv"
    with av.open(str(result.mask)) as box:
        assert not any(frame.to_ndarray(format="gray").any() for frame in box.decode(video=0))


def test_a_picture_that_hardly_changes_is_said(tmp_path: Path) -> None:
    (still,) = pan(1)
    source = write(tmp_path / "still.mkv", (overlaid(still, lettering("Vrx")) for _ in range(10)))
    result = make_mask(source, None, MaskSettings())
    assert result.mask is None
    assert [note.code for note in result.notes] == ["still-picture"]
    assert result.notes[0].text.endswith("draw a picture for vrx inpaint --mask, or give it --box X,Y,W,H")


def test_dust_alone_is_looked_for_where_that_is_asked(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)

    def shot() -> object:
        for number, luma in enumerate(pan(24, 2, 1)):
            for _ in range(2):
                y, x = rng.integers(10, 170), rng.integers(10, 300)
                luma[y : y + 4, x : x + 4] = 250 if number % 2 else 5
            yield overlaid(luma, lettering("Vrx"))

    source = write(tmp_path / "film.mkv", shot())  # type: ignore[arg-type]
    result = make_mask(source, tmp_path / "dust.mkv", MaskSettings(kinds=parse_kinds("dust"), grow=0))
    assert [find.kind for find in result.finds] == ["dust"]
    assert 20 <= result.finds[0].count <= 48


def test_a_video_of_one_pixel_is_one_line(tmp_path: Path, vrx: Command) -> None:
    source = tmp_path / "tiny.mkv"
    with av.open(str(source), "w") as box:
        stream = box.add_stream("ffv1", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 1, 1, "gray"
        frame = av.VideoFrame.from_ndarray(np.zeros((1, 1), np.uint8), format="gray")
        box.mux(stream.encode(frame))
        box.mux(stream.encode(None))
    done = vrx("mask", source, "--write-empty")
    assert done.returncode == 3
    assert "1x1 pixels are too few to find anything in" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.mkv"]


def test_a_mask_ends_three_pixels_beyond_a_logo_as_its_color_does_in_420(tmp_path: Path) -> None:
    """Two pixels that are found, as gradients reach them, and one that it is grown by."""
    box = np.zeros(SIZE[::-1], np.float32)
    box[40:70, 50:110] = 1
    source = write(tmp_path / "in.mkv", (overlaid(luma, box) for luma in pan(60, 6, 3)))
    result = make_mask(source, None, MaskSettings(kinds=parse_kinds("overlays")))
    assert result.mask is not None
    with av.open(str(result.mask)) as file:
        mask = next(file.decode(video=0)).to_ndarray(format="gray") > 127
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (37, 72, 47, 112)


def test_the_logo_of_the_example_is_found(tmp_path: Path) -> None:
    """Its camera stands still; only a flower opens."""
    result = make_mask(EXAMPLES / "flower-marked.mp4", tmp_path / "m.mkv", MaskSettings())
    assert result.mask is not None
    with av.open(str(result.mask)) as box:
        found = [frame.to_ndarray(format="gray") > 127 for frame in box.decode(video=0)]
    picture = cv2.imread(str(EXAMPLES / "mask.png"), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    true = picture > 127
    near = cv2.dilate(true.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    for mask in (found[0], found[-1]):
        assert (mask & near).sum() / (mask | near).sum() > 0.7
        assert mask[true].mean() > 0.97


def test_what_cannot_be_done_is_one_line(marked: Path, tmp_path: Path) -> None:
    plain = MaskSettings()
    with pytest.raises(UsageError, match=r"ends in \.mkv"):
        make_mask(marked, tmp_path / "m.mp4", plain)
    with pytest.raises(UsageError, match="is the input"):
        make_mask(marked, marked, MaskSettings(overwrite=True))
    (tmp_path / "in.mask.mkv").touch()
    with pytest.raises(OutputError, match="exists"):
        make_mask(marked, None, plain)
    with pytest.raises(InputError, match=r"none\.mkv"):
        make_mask(tmp_path / "none.mkv", None, plain)
    with pytest.raises(UsageError, match="read twice"):
        make_mask(Path("-"), tmp_path / "o.mkv", plain)
    with pytest.raises(UsageError, match="--grow 65"):
        MaskSettings(grow=65)
    with pytest.raises(UsageError, match="Did you mean dust"):
        parse_kinds("dusts")
    with pytest.raises(UsageError, match="all has every other kind in it"):
        parse_kinds("dust,all")
    assert parse_kinds("all") == parse_kinds("overlays, dust,scratches,pixels")


def test_progress_ends_at_the_number_of_frames_though_the_video_is_read_twice(
    marked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare_progress, "REPORT_SECONDS", 0)
    heard: list[Event] = []
    make_mask(marked, None, MaskSettings(), heard.append)
    assert [(x.done, x.frames) for x in heard if isinstance(x, Advanced)] == [
        (n, 32) for n in range(1, 33) for _ in range(2)
    ]


def test_a_narrow_strip_is_looked_through(tmp_path: Path, vrx: Command) -> None:
    """Its pictures, shrunk to find motion, would be of fewer rows than the search reads."""
    with av.open(str(tmp_path / "strip.mkv"), "w") as box:
        stream = box.add_stream("ffv1", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 640, 24, "gray"
        for luma in pan(12):
            wide = np.ascontiguousarray(np.hstack([luma, luma])[:24])
            box.mux(stream.encode(av.VideoFrame.from_ndarray(wide, format="gray")))
        box.mux(stream.encode(None))
    done = vrx("mask", tmp_path / "strip.mkv")
    assert done.returncode == 0, done.stderr
    assert "nothing found in 12 frames" in done.stderr
