"""Videos are brought together in time and place before they are measured; the command gives tables and pictures."""

import csv
import io
import json
from dataclasses import fields
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import vrx as package
from tests.conftest import Command
from tests.pipeline.compare.clips import HEIGHT, WIDTH, noisy, scene, write, write_chroma, write_luma
from vrx import events
from vrx.errors import InputError, UsageError
from vrx.media import ffmpeg
from vrx.metrics import fidelity
from vrx.pipeline.compare import progress, run
from vrx.pipeline.compare.measuring import FRAME_FIGURES, MEASURES, Figures, Means
from vrx.pipeline.compare.pairing import Opening, find_delay
from vrx.pipeline.compare.placing import Placement, Region, find_part, find_shift, gray, place
from vrx.pipeline.compare.remarks import placing
from vrx.pipeline.compare.results import Comparison, FrameResult, FrameTable, Video


def tensor(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1).float() / 255


def known(figures: Figures, name: str) -> float:
    value = getattr(figures, name)
    assert isinstance(value, float)
    return value


def codes(found: Comparison) -> set[str]:
    return {note.code for note in found.notes}


def test_both_are_measured_against_the_truth(tmp_path: Path) -> None:
    truth = scene()
    paths = [
        write(tmp_path / "truth.mkv", truth),
        write(tmp_path / "a.mkv", noisy(truth, 3)),
        write(tmp_path / "b.mkv", noisy(truth, 12)),
    ]
    found = run.compare(paths, referenced=True)
    reference, good, bad = found.overall
    assert len(found.frames) == 12
    assert reference.psnr is None
    assert found.notes == ()
    errors = (((noisy(truth, 3) - truth.astype(float)) / 255) ** 2).mean((1, 2, 3))
    assert good.psnr_rgb == pytest.approx(np.mean(-10 * np.log10(errors)), abs=1e-3)
    assert known(good, "psnr") > known(bad, "psnr") + 8
    assert known(good, "ssim") > known(bad, "ssim")
    assert reference.warp_ratio == 1
    assert known(bad, "warp") > 4 * known(good, "warp")
    assert known(bad, "noise") > known(reference, "noise") + 4


def test_warp_error_is_of_colors_by_the_matrix_of_each_file(tmp_path: Path) -> None:
    """Chroma changes in a picture that stands still; ITU-R BT.709 and BT.601, limited range."""
    luma = cv2.cvtColor(scene(1)[0], cv2.COLOR_RGB2GRAY) // 2 + 60
    step = 12
    kinds = {1: (0.187324, 1.8556), 5: (0.344136, 1.772)}  # of U in green and in blue
    paths = [write_chroma(tmp_path / f"{matrix}.mkv", luma, (128, 128 + step), matrix) for matrix in kinds]
    found = run.compare(paths, referenced=False)
    for figures, (green, blue) in zip(found.overall, kinds.values(), strict=True):
        expected = 1000 * (step / 224) ** 2 * (green**2 + blue**2) / 3
        assert figures.warp == pytest.approx(expected, rel=1e-4)


def test_equal_videos_are_equal(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", scene(3))
    found = package.compare(path, path)
    assert (found.overall[1].psnr, found.overall[1].psnr_rgb) == (100, 100)
    assert found.overall[1].ssim == pytest.approx(1)
    assert found.overall[1].tof == 0


def test_a_smaller_video_is_enlarged_and_said_so(tmp_path: Path) -> None:
    frames = scene(3)
    small = np.stack([cv2.resize(f, (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_AREA) for f in frames])
    paths = [write(tmp_path / "small.mkv", small), write(tmp_path / "large.mkv", frames)]
    found = run.compare(paths, referenced=False)
    assert found.region == Region(0, 0, WIDTH, HEIGHT)
    assert codes(found) == {"compared-resized"}
    assert found.videos[0].placement == Placement((WIDTH, HEIGHT))
    with_truth = run.compare([paths[0], paths[1], paths[1]], referenced=True)
    assert with_truth.region == Region(0, 0, WIDTH // 2, HEIGHT // 2)


def test_pictures_of_another_shape_are_said_to_be_stretched(tmp_path: Path) -> None:
    other = np.random.default_rng(1).integers(0, 256, (1, HEIGHT, HEIGHT, 3), np.uint8)
    found = run.compare([write(tmp_path / "a.mkv", scene(1)), write(tmp_path / "b.mkv", other)], referenced=False)
    assert codes(found) == {"compared-resized", "compared-stretched"}
    (note,) = (note for note in found.notes if note.code == "compared-stretched")
    sizes = f"a.mkv ({WIDTH}x{HEIGHT}) and {tmp_path / 'b.mkv'} ({HEIGHT}x{HEIGHT})"
    assert f"{sizes} have pictures of different shapes, and one is stretched: figures mean little" in note.text


@pytest.mark.parametrize(
    ("size", "aspect", "said"),
    [
        ((208, 100), Fraction(1), False),
        ((212, 100), Fraction(1), True),
        ((188, 100), Fraction(0), True),
        ((100, 100), Fraction(2), False),  # of an anamorphic tape
        ((200, 100), Fraction(2), False),  # tagged otherwise: nothing is stretched
    ],
)
def test_shapes_are_those_that_are_shown(size: tuple[int, int], aspect: Fraction, said: bool) -> None:
    placement = Placement((200, 100))
    first = Video("a", 0, (200, 100), 0, placement)
    found = list(placing(Video("b", 0, size, 0, placement, aspect=aspect), first, Region(0, 0, 200, 100)))
    assert ("compared-stretched" in {note.code for note in found}) == said


@pytest.mark.parametrize(("skipped", "said"), [(0, set()), (3, {"delay-found", "frames-left-over"})])
def test_content_that_comes_early_is_found(tmp_path: Path, skipped: int, said: set[str]) -> None:
    frames = scene(20)
    paths = [write(tmp_path / "a.mkv", frames), write(tmp_path / "b.mkv", frames[skipped:])]
    found = run.compare(paths, referenced=False)
    assert found.videos[1].delay == skipped
    assert len(found.frames) == 20 - skipped
    assert found.overall[1].psnr == 100
    assert codes(found) == said


def test_a_delay_is_taken_only_where_it_is_clear() -> None:
    def opening(pictures: torch.Tensor) -> Opening:
        return Opening(tuple(Fraction(n, 25) for n in range(len(pictures))), pictures, Fraction(25))

    pictures = torch.rand(20, 48, 48, generator=torch.Generator().manual_seed(0))
    complete, late = opening(pictures), opening(pictures[4:])
    assert find_delay(complete, late) == 4
    assert find_delay(late, complete) == -4
    assert find_delay(complete, opening(pictures.flip(0))) == 0
    still = pictures[:1].expand(20, -1, -1)
    assert find_delay(opening(still), opening(still + 0.1)) == 0  # brighter, else the same
    assert find_delay(opening(pictures[:1]), opening(pictures[:1])) == 0


def test_frames_are_paired_by_time(tmp_path: Path) -> None:
    frames = scene(12)
    kept = [0, 1, 2, 4, 5, 7, 8, 9, 10, 11]
    paths = [
        write(tmp_path / "a.mkv", frames),
        write(tmp_path / "b.mkv", frames[kept], [5000 + 40 * number for number in kept]),
    ]
    found = run.compare(paths, referenced=False)
    assert [frame.number for frame in found.frames] == kept
    assert found.overall[1].psnr == 100
    assert found.videos[0].left_over == 2
    assert found.videos[1].left_over == 0


def test_twice_the_frames_leave_half_of_them_over(tmp_path: Path) -> None:
    frames = scene(6)
    doubled = frames.repeat(2, 0)
    paths = [
        write(tmp_path / "a.mkv", frames),
        write(tmp_path / "b.mkv", doubled, [20 * number for number in range(12)]),
    ]
    found = run.compare(paths, referenced=False)
    assert len(found.frames) == 6
    assert found.videos[1].left_over == 6


def test_whole_pixel_shifts_are_found() -> None:
    wide = cv2.resize(np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8), (200, 160))
    leader, moved = tensor(wide[20:120, 30:160]), tensor(wide[17:117, 35:165])
    assert find_shift(gray(leader), gray(moved)) == (5, -3)
    assert place(leader, moved) == Placement((130, 100), 5, -3)
    assert find_shift(gray(leader), gray(leader)) == (0, 0)
    assert find_shift(gray(leader), gray(leader.flip(-1))) == (0, 0)


def test_parts_are_found_at_their_scale() -> None:
    picture = cv2.resize(np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8), (160, 120))
    part = tensor(picture[20:100, 8:150])
    assert find_part(tensor(picture), part) == Placement((142, 80), 8, 20)
    doubled = tensor(cv2.resize(picture[20:100, 8:150], (284, 160), interpolation=cv2.INTER_CUBIC))
    assert find_part(tensor(picture), doubled) == Placement((142, 80), 8, 20)
    assert find_part(part, tensor(picture)) == Placement((160, 120), -8, -20)
    other = tensor(np.random.default_rng(5).integers(0, 255, (80, 142, 3), np.uint8))
    assert find_part(tensor(picture), other) is None
    assert place(tensor(picture), other) == Placement((160, 120))


def test_a_part_of_the_same_shape_is_no_resized_whole() -> None:
    small = np.random.default_rng(2).integers(0, 255, (40, 60, 3), np.uint8)
    picture = cv2.resize(small, (240, 160), interpolation=cv2.INTER_CUBIC)
    leader, part = tensor(picture), tensor(picture[30:110, 50:170])
    assert place(leader, part) == Placement((120, 80), 50, 30)
    halved = tensor(cv2.resize(picture, (120, 80), interpolation=cv2.INTER_AREA))
    assert place(leader, halved) == Placement((240, 160))


def test_what_all_show_is_compared(tmp_path: Path) -> None:
    frames = scene(3)
    paths = [write(tmp_path / "a.mkv", frames), write(tmp_path / "b.mkv", frames[:, 8:56, 10:])]
    found = run.compare(paths, referenced=False)
    assert found.region == Region(10, 8, WIDTH, 56)
    assert found.overall[1].psnr == 100
    assert "compared-part" in codes(found)


def test_scenes_are_measured_apart(tmp_path: Path) -> None:
    frames = np.concatenate([scene(20) // 3, 160 + scene(20, seed=9) // 4])
    changed = frames.copy()
    changed[20:] = noisy(frames[20:], 20)
    paths = [write(tmp_path / "a.mkv", frames), write(tmp_path / "b.mkv", changed)]
    found = run.compare(paths, referenced=False)
    assert [known(figures[1], "psnr") < 30 for figures in found.scenes] == [False, True]
    assert found.frames[20].figures[0].warp is None  # nothing is compared across a cut
    assert [shot.number >= 20 for shot in found.shots] == [False, True]


def test_means_leave_out_what_is_not_there() -> None:
    means = Means()
    for figures in (Figures(psnr=10.0), Figures(psnr=20.0, ssim=0.5)):
        means.add(figures)
    found = means.result()
    assert (found.psnr, found.ssim, found.warp) == (15.0, 0.5, None)
    assert found.psnr_overall == pytest.approx(-10 * np.log10((0.1 + 0.01) / 2))
    assert set(MEASURES) == {field.name for field in fields(Figures)}
    assert set(MEASURES) - set(FRAME_FIGURES) == {"psnr_overall", "warp_ratio"}


def test_equal_frames_have_no_error_in_the_overall_figure() -> None:
    means = Means()
    for value in (100.0, 100.0, 30.0):
        means.add(Figures(psnr=value))
    assert means.result().psnr_overall == pytest.approx(30 + 10 * np.log10(3))


def test_the_table_of_frames_gives_back_what_it_was_given() -> None:
    table = FrameTable(2)
    rows = [FrameResult(n, Fraction(n, 25), n // 2, (Figures(noise=n / 3), Figures(psnr=30.0 + n))) for n in range(5)]
    for row in rows:
        table.append(row)
    assert list(table) == rows
    assert table[-1] == rows[-1]
    assert table[1:3] == rows[1:3]
    table.fill(1, "vmaf", [90.0] * 5)
    assert [frame.figures[1].vmaf for frame in table] == [90.0] * 5
    assert table.column(0, "noise").tolist() == [n / 3 for n in range(5)]
    with pytest.raises(IndexError):
        table[5]


@pytest.mark.parametrize(
    ("pix_fmt", "peak", "full"),
    [("yuv420p", 255, False), ("yuv420p", 255, True), ("yuv420p10le", 1023, False), ("gray10le", 1023, True)],
)
def test_psnr_and_ssim_of_luma_are_those_of_the_stored_samples(
    tmp_path: Path, pix_fmt: str, peak: int, full: bool
) -> None:
    """As ffmpeg's psnr_y: of the plane as it is stored, whatever its depth and range."""
    random = np.random.default_rng(4)
    one = cv2.resize(random.random((8, 12)), (WIDTH, HEIGHT)) * peak * (0.95 if full else 0.8)
    planes = [(one + step * random.random(one.shape)).astype(np.uint16) for step in (0, peak / 30)]
    paths = [tmp_path / "a.mkv", tmp_path / "b.mkv"]
    for path, plane in zip(paths, planes, strict=True):
        write_luma(path, plane, pix_fmt, full=full)
    found = run.compare(paths, referenced=False).overall[1]
    error = np.square(planes[0].astype(float) - planes[1]).mean()
    assert found.psnr == pytest.approx(10 * np.log10(peak**2 / error), abs=1e-4)
    scaled = [torch.from_numpy(plane.astype(float)) for plane in planes]
    assert found.ssim == pytest.approx(fidelity.ssim(scaled[1], scaled[0], peak), abs=1e-6)


def test_hdr_is_compared_by_its_coded_values_and_said_so(tmp_path: Path) -> None:
    plane = (np.arange(WIDTH * HEIGHT).reshape(HEIGHT, WIDTH) % 800 + 64).astype(np.uint16)
    for name, transfer in (("pq", 16), ("same", 16), ("sdr", 1)):
        write_luma(tmp_path / f"{name}.mkv", plane, "yuv420p10le", transfer)
    found = run.compare([tmp_path / "pq.mkv", tmp_path / "same.mkv"], referenced=False)
    assert [note.code for note in found.notes] == ["hdr-compared"]
    assert found.notes[0].facts == {"transfer": "smpte2084"}
    assert found.missing == {"vmaf": "its model is for SDR, and this is HDR"}
    mixed = run.compare([tmp_path / "pq.mkv", tmp_path / "sdr.mkv"], referenced=False)
    assert [(note.code, note.level) for note in mixed.notes] == [("transfers-differ", "warning")]


@pytest.mark.parametrize("other", ["-", "https://example.com/b.mp4"])
def test_what_cannot_be_read_twice_is_refused(vrx: Command, tmp_path: Path, other: str) -> None:
    write(tmp_path / "a.mkv", scene(2))
    done = vrx("compare", "a.mkv", other)
    assert done.returncode == (2 if other == "-" else 3)
    assert len(done.stderr.splitlines()) == 1


def test_nothing_in_common_is_one_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", scene(2))
    with pytest.raises(InputError, match="cannot read"):
        run.compare([path, tmp_path / "missing.mkv"], referenced=False)


@pytest.mark.skipif(not ffmpeg.has_filter(ffmpeg.executable(), "libvmaf"), reason="this ffmpeg has no libvmaf")
def test_vmaf_is_libvmafs(tmp_path: Path) -> None:
    frames = scene(4)
    paths = [write(tmp_path / "it's a.mkv", frames), write(tmp_path / "b.mkv", noisy(frames, 25))]
    found = run.compare([paths[0], paths[0], paths[1]], referenced=True)
    assert known(found.overall[1], "vmaf") > 90 > known(found.overall[2], "vmaf")
    assert found.missing == {}
    seen: list[int] = []
    assert len(ffmpeg.vmaf((paths[0], 0), (paths[1], 0), (WIDTH, HEIGHT), seen.append)) == 4
    assert seen[-1] == 4
    with pytest.raises(ffmpeg.FilterError, match="No such file"):
        ffmpeg.vmaf((paths[0], 0), (tmp_path / "missing.mkv", 0), (WIDTH, HEIGHT), seen.append)


def test_where_there_is_no_vmaf_the_table_says_why(vrx: Command, tmp_path: Path) -> None:
    frames = scene(4)
    for name, content in (("a", frames), ("b", noisy(frames)), ("short", frames[:3]), ("still", frames[:1])):
        write(tmp_path / f"{name}.mkv", content)
    done = vrx("compare", "a.mkv", "short.mkv")
    assert "not measured: the videos do not have the same frames" in " ".join(done.stdout.split())
    assert done.stderr.splitlines()[-1] == "a.mkv: 1 frame has no counterpart"
    assert "not measured: a single picture" in vrx("compare", "still.mkv", "still.mkv").stdout
    plain = tmp_path / "ffmpeg"
    plain.write_text("#!/bin/sh\necho ' .. null V->V'\n")
    plain.chmod(0o755)
    found = vrx("compare", "a.mkv", "b.mkv", "--json", env={"VRX_FFMPEG": str(plain)})
    overall = json.loads(found.stdout.splitlines()[-1])
    assert overall["missing"]["vmaf"] == "this ffmpeg has no libvmaf"


def test_the_command_gives_a_table_csv_json_and_pictures(vrx: Command, tmp_path: Path) -> None:
    truth = scene(3)
    for name, frames in (("truth", truth), ("a", noisy(truth, 3)), ("b", noisy(truth, 9))):
        write(tmp_path / f"{name}.mkv", frames)
    words = ("compare", "a.mkv", "b.mkv", "truth.mkv")
    done = vrx(*words, "-o", "pictures")
    assert done.returncode == 0, done.stderr
    assert "means of 3 frames" in done.stdout
    assert done.stdout.splitlines()[-2].split() == ["scene", "reference", "A", "B"]
    assert done.stdout.splitlines()[-1].split()[0] == "1"
    assert done.stdout.splitlines()[1].split() == ["figure", "reference", "A", "B", "unit"]
    written = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert written[1:] == ["profile.png"]
    picture = cv2.imread(str(tmp_path / "pictures" / written[0]))
    assert picture is not None
    assert picture.shape[1] >= 4 * WIDTH
    again = vrx(*words, "-o", "pictures")
    assert again.returncode == 2
    assert "exists. Replace it with -y" in again.stderr
    assert vrx(*words, "-o", "pictures", "-y").returncode == 0
    rows = list(csv.DictReader(io.StringIO(vrx(*words, "--csv").stdout)))
    assert len(rows) == 9
    assert rows[0]["video"] == "reference"
    lines = [json.loads(line) for line in vrx(*words, "--json").stdout.splitlines()]
    assert [line["type"] for line in lines] == ["video"] * 3 + ["frame"] * 3 + ["scene", "overall"]
    assert lines[-1]["A"]["psnr"] > lines[-1]["B"]["psnr"]


def test_pictures_are_written_only_where_none_is_lost(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", scene(2))
    found = package.compare(path, path)
    from vrx import api

    assert len(api.write_comparison(found, tmp_path / "out", ("A", "B"))) == 2
    with pytest.raises(UsageError, match="exists"):
        api.write_comparison(found, tmp_path / "out", ("A", "B"))


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("-o", "a.mkv"), 6, "cannot write into a.mkv: {here}/a.mkv is not a folder. Name another with -o"),
        (("-o", "a.mkv/deep"), 6, "cannot write into a.mkv/deep: {here}/a.mkv is not a folder. Name another with -o"),
        (("--csv", "--json"), 2, "--csv and --json are mutually exclusive. Remove one of them"),
    ],
)
def test_what_cannot_be_given_out_is_said_before_work(
    vrx: Command, tmp_path: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    write(tmp_path / "a.mkv", scene(2))
    done = vrx("compare", "a.mkv", "a.mkv", *words)
    assert (done.returncode, len(done.stdout.splitlines())) == (code, "--json" in words)
    assert done.stderr == f"vrx: {message.format(here=tmp_path)}\n"


@pytest.mark.parametrize("sizes", [((1, 1), (1, 1)), ((2, 3), (1, 1)), ((1, 1), (2, 3)), ((15, 40), (2, 15))])
def test_tiny_pictures_are_compared_too(sizes: tuple[tuple[int, int], ...]) -> None:
    leader, other = (torch.rand(3, height, width) for width, height in sizes)
    assert find_part(leader, other) is None
    assert find_shift(gray(leader), gray(leader)) == (0, 0)


def test_progress_beyond_what_the_header_says_has_no_total(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "REPORT_SECONDS", 0.0)
    seen: list[events.Advanced] = []
    report = progress.ProgressReport("a.mkv", 2, seen.append)  # type: ignore[arg-type]
    for done in (1, 2, 3):
        report.report(done)
    assert [event.frames for event in seen] == [2, 2, None]


def test_progress_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "REPORT_SECONDS", 0.0)
    path = write(tmp_path / "a.mkv", scene(4))
    seen: list[events.Event] = []
    run.compare([path, path], referenced=False, watch=seen.append)
    found = [(event.input, event.done, event.frames) for event in seen if isinstance(event, events.Advanced)]
    assert found[:4] == [(str(path), n, 4) for n in range(1, 5)]
    assert all(name == f"VMAF of {path}" for name, *_ in found[4:])
