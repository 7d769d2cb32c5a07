"""The page of a comparison as a document: what it holds, what it never holds, and how large it can get."""

from __future__ import annotations

import base64
import io
import json
import math
import os
import re
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch

from tests.conftest import Command
from tests.pipeline.compare.clips import HEIGHT, WIDTH, noisy, scene, write
from vrx.errors import OutputError, UsageError
from vrx.models.embedded.damage import SceneDamage
from vrx.pipeline.compare import pictures
from vrx.pipeline.compare.excerpt import SECONDS, Excerpt, ExcerptMaker
from vrx.pipeline.compare.measuring import FRAME_FIGURES, MEASURES, Figures
from vrx.pipeline.compare.page import build, images
from vrx.pipeline.compare.page.markup import element, text
from vrx.pipeline.compare.page.plots import COLUMNS, Timeline
from vrx.pipeline.compare.page.sections import MOST_SCENES, best_video
from vrx.pipeline.compare.placing import Placement, Region
from vrx.pipeline.compare.results import Comparison, FrameResult, FrameTable, Shot, Video
from vrx.pipeline.compare.walk import MOST_ROWS, Profile

HOSTILE = "\"><script>alert(1)</script>\u202e\x1b[31m'&.mkv"
VOID = {"img", "input", "meta", "br"}


class Document(HTMLParser):
    """Elements of a page, in order; every one is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self._open: list[str] = []
        self.feed(page)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def comparison(frames: int, scenes: int = 1, videos: int = 3, excerpt: Excerpt | str = "a single frame") -> Comparison:
    """A made comparison with all figures, of small pictures."""
    table = FrameTable(videos)
    for n in range(frames):
        row = tuple(Figures(**{name: 30 + math.sin(n / 50) + v for name in FRAME_FIGURES}) for v in range(videos))
        table.append(FrameResult(n, Fraction(n, 25), n * scenes // frames, row))
    shot = Shot(3, Fraction(3, 25), 0, 1.0, tuple(torch.full((3, 24, 32), 0.2 * v) for v in range(videos)))
    return Comparison(
        tuple(Video(HOSTILE, 0, (32, 24), 0, Placement((32, 24))) for _ in range(videos)),
        videos > 2,
        Region(0, 0, 32, 24),
        table,
        missing={"vmaf": HOSTILE},
        shots=(shot,),
        profile=tuple(torch.zeros(5, 32, 3, dtype=torch.uint8) for _ in range(videos)),
        damage=tuple((SceneDamage(noise=5.0),) * videos for _ in range(scenes)),
        excerpt=excerpt,
    )


NAMES = ("reference", "A", "B")


def test_names_and_reasons_are_text() -> None:
    page = build.build(comparison(9), NAMES, HOSTILE)
    assert "<script>alert" not in page
    assert "\u202e" not in page
    assert "\x1b" not in page
    document = Document(page)
    assert "\\u202e\\x1b[31m" in document.words
    assert [kind.get("type") for kind in document.all("script")] == ["application/json", None]
    assert not [name for _, attributes in document.elements for name in attributes if name.startswith("on")]


def test_markup_escapes_all_but_markup() -> None:
    assert element("p", "<b>", element("i", "&"), title='"') == '<p title="&quot;">&lt;b&gt;<i>&amp;</i></p>'
    assert element("input", disabled=True, hidden=False, aria_label="x") == '<input disabled aria-label="x">'
    assert text("a\ud800b").encode() == b"a\\ud800b"


def test_it_needs_nothing_else_and_its_policy_allows_nothing_else() -> None:
    page = build.build(comparison(9), NAMES, "vrx compare")
    document = Document(page)
    assert all((image["src"] or "").startswith("data:image/jpeg;base64,") for image in document.all("img"))
    assert not document.all("link")
    policy = next(m["content"] for m in document.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:; media-src blob:; ")
    assert "unsafe" not in policy
    assert not [attributes for _, attributes in document.elements if "style" in attributes]  # the policy forbids them


def test_every_input_has_a_name_and_every_picture_a_text() -> None:
    document = Document(build.build(comparison(9), NAMES, "vrx compare"))
    assert all(control.get("aria-label") for control in document.all("input"))
    assert all(image.get("alt") for image in document.all("img"))
    assert all(drawing.get("aria-label") for drawing in document.all("svg"))
    assert document.all("html") == [{"lang": "en"}]


def test_it_has_every_figure_its_meaning_the_command_and_versions() -> None:
    document = Document(build.build(comparison(9), NAMES, "vrx compare a b"))
    for measure in MEASURES.values():
        assert measure.title in document.words
        assert measure.meaning in document.words
    for word in ("vrx compare a b", "PyTorch", "ffmpeg", "noise 5 levels", "not measured", "No video: a single frame"):
        assert word in document.words


def test_hours_of_video_make_no_larger_page() -> None:
    short, long = (build.build(comparison(count, scenes), NAMES, "x") for count, scenes in ((300, 1), (60_000, 500)))
    assert len(long) < 1_500_000
    lines = json.loads(re.findall(r'id="data">(.*?)</script>', long)[0])["lines"]
    assert {len(line) for figure in lines.values() for line in figure.values()} == {COLUMNS}
    assert len(Document(long).all("polyline")) == len(Document(short).all("polyline"))
    assert f"{500 - MOST_SCENES} more scenes" in long
    assert long.count("<tr>") < 3 * MOST_SCENES


def test_columns_hold_mean_smallest_and_largest_of_their_frames() -> None:
    table = FrameTable(1)
    count = 2 * COLUMNS + 1
    for n in range(count):
        table.append(FrameResult(n, Fraction(n, 25), n // 700, (Figures(noise=float(n) if n != 7 else None),)))
    timeline = Timeline.of(table)
    series = timeline.series(0, "noise")
    assert timeline.per_column == 3
    assert (series.means[0], series.low[0], series.high[0]) == (1, 0, 2)
    assert (series.means[2], series.low[2], series.high[2]) == (7, 6, 8)  # 7 is not there
    assert len(series.means) == math.ceil(count / 3)
    assert timeline.cuts() == [math.ceil(700 / 3)]
    assert not timeline.series(0, "psnr").known


def test_the_better_of_two_is_marked_by_what_the_figure_means() -> None:
    found = comparison(3)
    assert best_video(found, "psnr") == 2
    assert best_video(found, "lpips") == 1
    assert best_video(found, "sharpness") is None
    assert best_video(comparison(3, videos=2), "psnr") is None


def test_pictures_stay_within_their_bytes() -> None:
    noise = np.random.default_rng(1).integers(0, 255, (1080, 1600, 3), np.uint8)
    assert len(images.jpeg(noise)) <= 2 * images.PICTURE_BYTES
    smooth = cv2.resize(noise[:20, :20], (1600, 1080)).astype(np.uint8, copy=False)
    assert len(images.jpeg(smooth)) <= images.PICTURE_BYTES
    assert images.fitted(torch.zeros(3, 100, 4000)).shape == (40, images.SIDE, 3)
    exact = cv2.imdecode(np.frombuffer(images.jpeg(np.full((16, 16, 3), (200, 30, 90), np.uint8)), np.uint8), 1)
    assert exact is not None
    assert np.abs(exact[8, 8, ::-1].astype(int) - (200, 30, 90)).max() <= 2


def test_the_excerpt_is_where_the_videos_differ_most() -> None:
    maker = ExcerptMaker()
    flat = np.zeros((20, 30, 3), np.uint8)
    for n in range(3 * SECONDS * 10):  # three windows at ten frames a second
        time = Fraction(n, 10)
        level = 200 if SECONDS <= time < 2 * SECONDS else 50
        maker.add([flat, flat + np.uint8(level)], n, time, float(level))
    found = maker.result()
    assert isinstance(found, Excerpt)
    assert (found.start, found.first, len(found.times), found.size) == (
        Fraction(SECONDS),
        SECONDS * 10,
        SECONDS * 10,
        (30, 20),
    )
    with av.open(io.BytesIO(found.content), "r") as box:
        stream = box.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height) == ("h264", 30, 40)
        frames = list(box.decode(stream))
    assert [float(frame.time or 0) for frame in frames] == pytest.approx(list(found.times), abs=1e-4)
    picture = frames[-1].to_ndarray(format="rgb24")
    assert abs(int(picture[5, 5, 0]) - 0) <= 3
    assert abs(int(picture[35, 5, 0]) - 200) <= 3


def test_one_frame_is_no_video() -> None:
    maker = ExcerptMaker()
    maker.add([np.zeros((8, 8, 3), np.uint8)] * 2, 0, Fraction(0), 0.0)
    assert maker.result() == "a single frame"


def test_the_profile_covers_all_frames_in_bounded_rows() -> None:
    profile = Profile(1)
    for n in range(3 * MOST_ROWS):
        profile.add([torch.full((3, 3, 2), n / (3 * MOST_ROWS))])
    rows = profile.result()[0]
    assert MOST_ROWS // 2 <= len(rows) <= MOST_ROWS
    assert int(rows[0, 0, 0]) == 0
    assert int(rows[-1, 0, 0]) >= 254


def test_the_command_writes_it_only_where_nothing_is_lost(vrx: Command, tmp_path: Path) -> None:
    write(tmp_path / "a.mkv", scene(3))
    write(tmp_path / "b.mkv", noisy(scene(3)))
    done = vrx("compare", "a.mkv", "b.mkv", "--html", "page.html")
    assert done.returncode == 0, done.stderr
    assert done.stderr.endswith("wrote page.html\n")
    page = (tmp_path / "page.html").read_text()
    assert "vrx compare a.mkv b.mkv --html page.html" in Document(page).words
    again = vrx("compare", "a.mkv", "b.mkv", "--html", "page.html")
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)
    assert vrx("compare", "a.mkv", "b.mkv", "--html", "page.html", "-y").returncode == 0
    assert (tmp_path / "page.html").read_text() == page  # the same videos make the same bytes
    assert sorted(path.name for path in tmp_path.glob("*")) == ["a.mkv", "b.mkv", "page.html"]
    data = json.loads(re.findall(r'<script type="application/json" id="data">(.*?)</script>', page)[0])
    assert data["numbers"] == [0, 1, 2]
    assert data["excerpt"]["size"] == [WIDTH, HEIGHT]
    clip = re.findall(r'<script type="text/plain" id="clip">(.*?)</script>', page)[0]
    assert base64.b64decode(clip)[4:8] == b"ftyp"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_page_in_a_read_only_folder_is_refused_before_work(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="its folder is read-only"):
        build.check_path(tmp_path / "page.html", [], overwrite=True)
    with pytest.raises(OutputError, match=f"{tmp_path} is read-only"):
        pictures.check_folder(tmp_path / "new")


def test_a_page_that_cannot_be_is_refused_before_work(tmp_path: Path) -> None:
    video = tmp_path / "video.html"
    video.write_text("")
    with pytest.raises(UsageError, match="one of the inputs"):
        build.check_path(video, [video], overwrite=True)
    with pytest.raises(UsageError, match=r"end in \.html"):
        build.check_path(tmp_path / "page.txt", [], overwrite=True)
    with pytest.raises(OutputError, match="no such folder"):
        build.check_path(tmp_path / "none" / "page.html", [], overwrite=True)
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(UsageError, match="folder"):
        build.check_path(tmp_path / "folder.html", [], overwrite=True)
