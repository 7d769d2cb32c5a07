from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.clips import joined, save_picture, turned_clip, write_counted
from vrx.errors import InputError, UsageError
from vrx.events import Note
from vrx.media.masks import MaskTrack
from vrx.media.orientation import Orientation

SIZE = (64, 48)


def box_mask(size: tuple[int, int] = SIZE) -> np.ndarray:
    mask = np.zeros(size[::-1], np.uint8)
    mask[: size[1] // 2, : size[0] // 4] = 255
    return mask


@pytest.mark.parametrize("pix_fmt", ["gray", "rgb24", "gray16be", "monob"])
def test_white_is_filled_in_every_format(tmp_path: Path, pix_fmt: str) -> None:
    path = save_picture(tmp_path / "m.png", box_mask(), pix_fmt)
    with MaskTrack(path, SIZE, lambda _: None) as track:
        assert np.array_equal(track.at(Fraction(0)), box_mask() > 0)
        assert np.array_equal(track.at(Fraction(9)), box_mask() > 0)


def test_soft_edges_belong_to_what_is_marked(tmp_path: Path) -> None:
    soft = box_mask()
    soft[24, :16] = 3
    with MaskTrack(save_picture(tmp_path / "m.png", soft), SIZE, lambda _: None) as track:
        assert np.array_equal(track.at(Fraction(0)), soft > 0)


def test_transparent_white_is_not_filled(tmp_path: Path) -> None:
    pixels = np.full((48, 64, 4), 255, np.uint8)
    pixels[..., 3] = box_mask()
    with MaskTrack(save_picture(tmp_path / "m.png", pixels, "rgba"), SIZE, lambda _: None) as track:
        assert np.array_equal(track.at(Fraction(0)), box_mask() > 0)


def test_a_mask_of_the_same_shape_is_scaled_and_of_another_refused(tmp_path: Path) -> None:
    with MaskTrack(save_picture(tmp_path / "half.png", box_mask((32, 24))), SIZE, lambda _: None) as track:
        assert np.array_equal(track.at(Fraction(0)), box_mask() > 0)
    with pytest.raises(UsageError, match="32x32, the video is displayed at 64x48"):
        MaskTrack(save_picture(tmp_path / "square.png", box_mask((32, 32))), SIZE, lambda _: None)


def test_all_white_is_refused_and_all_black_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="all white"):
        MaskTrack(save_picture(tmp_path / "white.png", np.full((48, 64), 255, np.uint8)), SIZE, lambda _: None)
    notes: list[Note] = []
    MaskTrack(save_picture(tmp_path / "black.png", np.zeros((48, 64), np.uint8)), SIZE, notes.append)
    assert "all black" in notes[0].text


def test_a_folder_gives_one_mask_a_frame_and_its_last_one_holds(tmp_path: Path) -> None:
    folder = tmp_path / "masks"
    folder.mkdir()
    for number in range(3):
        mask = np.zeros((48, 64), np.uint8)
        mask[:, number] = 255
        save_picture(folder / f"{number:03d}.png", mask)
    notes: list[Note] = []
    with MaskTrack(folder, SIZE, notes.append) as track:
        columns = [int(np.flatnonzero(track.at(Fraction(n, 25)).any(0))[0]) for n in range(3)]
        assert notes == []
        columns += [int(np.flatnonzero(track.at(Fraction(n, 25)).any(0))[0]) for n in range(3, 5)]
    assert columns == [0, 1, 2, 2, 2]
    assert [note.text for note in notes] == [
        f"the mask {folder} ends before the video: 3 masks, and frame 4 has none; the last one is used"
    ]


def columns_of(track: MaskTrack, frames: int) -> list[int]:
    """The first marked column of each frame's mask."""
    return [int(np.flatnonzero(track.at(Fraction(n, 25)).any(0))[0]) for n in range(frames)]


def column_masks(folder: Path, names: Sequence[str]) -> Path:
    """A folder in which the n-th mask marks column n."""
    folder.mkdir()
    for number, name in enumerate(names):
        mask = np.zeros((48, 64), np.uint8)
        mask[:, number] = 255
        save_picture(folder / name, mask)
    return folder


@pytest.mark.parametrize("name", ["mask_{}.png", "take2-{}.png", "{}.png", "m{}_v1.PNG"])
def test_a_folder_is_in_the_order_of_its_numbers(tmp_path: Path, name: str) -> None:
    folder = column_masks(tmp_path / "masks", [name.format(n) for n in range(8, 13)])
    for hidden in ("._mask_9.png", ".DS_Store", "Thumbs.db", ".hidden.png"):
        (folder / hidden).write_bytes(b"no picture")
    (folder / "old.png").mkdir()
    with MaskTrack(folder, SIZE, lambda _: None) as track:
        assert columns_of(track, 5) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["m_1.png", "m_2.png", "m_4.png"], "m_3.png is missing"),
        (["m_07.png", "m_08.png", "m_11.png"], "2 pictures are missing: m_09.png, m_10.png"),
        (["m_1.png", "m_01.png", "m_2.png"], "m_01.png and m_1.png have the same number"),
    ],
)
def test_a_folder_with_a_hole_is_refused(tmp_path: Path, names: list[str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        MaskTrack(column_masks(tmp_path / "masks", names), SIZE, lambda _: None)


def test_a_pattern_with_a_hole_is_refused_and_names_without_numbers_are_not(tmp_path: Path) -> None:
    folder = column_masks(tmp_path / "masks", ["m_1.png", "m_2.png", "m_12.png"])
    with pytest.raises(InputError, match=r"9 pictures are missing: m_3\.png, .*m_7\.png, \.\.\."):
        MaskTrack(folder / "m_%d.png", SIZE, lambda _: None)
    with MaskTrack(column_masks(tmp_path / "words", ["a.png", "b2.png", "c7.png"]), SIZE, lambda _: None) as track:
        assert columns_of(track, 3) == [0, 1, 2]


def test_a_folder_whose_masks_differ_in_shape_is_refused_by_name(tmp_path: Path) -> None:
    folder = column_masks(tmp_path / "masks", ["m_1.png", "m_2.png"])
    save_picture(folder / "m_3.png", np.zeros((48, 48), np.uint8))
    with pytest.raises(UsageError, match=r"m_3\.png is 48x48, the video is displayed at 64x48"):
        MaskTrack(folder, SIZE, lambda _: None)
    (folder / "m_3.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"m_3\.png"):
        MaskTrack(folder, SIZE, lambda _: None)


def test_too_few_masks_are_told_before_work(tmp_path: Path) -> None:
    notes: list[Note] = []
    folder = column_masks(tmp_path / "masks", ["1.png", "2.png"])
    with MaskTrack(folder, SIZE, notes.append) as track:
        track.check_count(2)
        assert notes == []
        track.check_count(3)
        assert columns_of(track, 3) == [0, 1, 1]
    assert [note.text for note in notes] == [
        f"the mask {folder} ends before the video: 2 masks for 3 frames; the last one is used"
    ]


EIGHT = [Orientation(turns, mirrored) for turns in range(4) for mirrored in (False, True)]


@pytest.mark.parametrize("orientation", EIGHT, ids=str)
def test_masks_are_as_the_video_is_shown(tmp_path: Path, orientation: Orientation) -> None:
    shown = box_mask(orientation.size(SIZE))
    with MaskTrack(save_picture(tmp_path / "m.png", shown), SIZE, lambda _: None, orientation) as track:
        assert track.at(Fraction(0)).shape == SIZE[::-1]
        assert np.array_equal(orientation.turn(track.at(Fraction(0))), shown > 0)


def test_a_mask_video_is_turned_as_it_says(tmp_path: Path) -> None:
    stored = box_mask()
    path = turned_clip(tmp_path / "m.mkv", 1, True, "gray", SIZE, np.repeat(stored[..., None], 3, 2))
    with MaskTrack(path, SIZE[::-1], lambda _: None) as track:
        assert np.array_equal(track.at(Fraction(0)), Orientation(1, mirrored=True).turn(stored) > 0)


def marked(path: Path) -> list[bool]:
    """Which columns of a mask are filled."""
    with MaskTrack(path, SIZE, lambda _: None) as track:
        mask = track.at(Fraction(0))
    assert np.array_equal(mask, np.broadcast_to(mask[0], mask.shape))
    return [bool(x) for x in mask[0, ::8]]


def bars(values: Sequence[int], kind: type = np.uint8) -> np.ndarray:
    """Upright bars of eight pixels."""
    return np.broadcast_to(np.repeat(np.array(values, kind), 8), (48, 64)).copy()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 1, 0, 2, 0, 3, 0, 4], "0101 0101"),  # labels
        ([16, 235, 16, 16, 235, 100, 17, 16], "0100 1110"),  # limited range, soft edges
        ([16] * 8, "0000 0000"),  # limited range, a frame without a mark
        ([3, 255, 3, 3, 255, 200, 3, 3], "0100 1100"),  # black that is not quite
        ([0, 16, 0, 235, 16, 0, 0, 0], "0101 1000"),
    ],
)
@pytest.mark.parametrize("deep", [False, True])
def test_black_is_black_and_the_rest_is_filled(tmp_path: Path, values: list[int], expected: str, deep: bool) -> None:
    pixels = bars([257 * v for v in values], np.uint16) if deep else bars(values)
    path = save_picture(tmp_path / "m.png", pixels, "gray16be" if deep else "gray")
    assert marked(path) == [x == "1" for x in expected.replace(" ", "")]


def test_labels_of_16_bits_are_filled(tmp_path: Path) -> None:
    path = save_picture(tmp_path / "m.png", bars([0, 1, 2, 3, 0, 300, 65535, 0], np.uint16), "gray16be")
    assert marked(path) == [False, True, True, True, False, True, True, False]
    colors = np.zeros((48, 64, 3), np.uint8)
    colors[:, 8:16, 2] = 1  # the darkest blue
    assert marked(save_picture(tmp_path / "c.png", colors, "rgb24")) == [False, True, *[False] * 6]


def test_labels_without_black_are_all_filled(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="all white"):
        marked(save_picture(tmp_path / "m.png", bars([1, 2, 3, 4, 5, 6, 7, 30])))


def test_lossy_black_is_not_filled_and_lossy_gray_is(tmp_path: Path) -> None:
    values = [0, 12, 100, 0, 60, 5, 255, 20]
    path = save_picture(tmp_path / "m.jpg", bars(values), "yuvj444p", "mjpeg")
    assert marked(path) == [False, False, True, False, True, False, True, False]
    path = save_picture(tmp_path / "s.jpg", bars([16, 235, 16, 24, 100, 16, 16, 30]), "yuvj444p", "mjpeg")
    assert marked(path) == [False, True, False, False, True, False, False, False]


def test_half_transparent_marks_count_from_the_middle_on(tmp_path: Path) -> None:
    pixels = np.full((48, 64, 4), 255, np.uint8)
    pixels[..., 3] = bars([0, 1, 100, 127, 128, 200, 255, 16])
    path = save_picture(tmp_path / "m.png", pixels, "rgba")
    assert marked(path) == [False, False, False, False, True, True, True, False]


def write_column_video(path: Path, rate: Fraction, frames: int) -> Path:
    """A mask video whose frame number n marks column n."""
    with av.open(str(path), "w") as box:
        stream = box.add_stream("ffv1", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "gray"
        stream.codec_context.time_base = 1 / rate
        for number in range(frames):
            mask = np.zeros((48, 64), np.uint8)
            mask[:, number] = 255
            picture = av.VideoFrame.from_ndarray(mask, format="gray")
            picture.pts, picture.time_base = number, 1 / rate
            box.mux(stream.encode(picture))
        box.mux(stream.encode(None))
    return path


def test_a_mask_video_follows_the_time(tmp_path: Path) -> None:
    path = write_column_video(tmp_path / "mask.mkv", Fraction(10), 3)
    notes: list[Note] = []
    with MaskTrack(path, SIZE, notes.append) as track:
        times = (Fraction(0), Fraction(1, 20), Fraction(1, 10), Fraction(19, 100), Fraction(1, 5), Fraction(7))
        columns = [int(np.flatnonzero(track.at(t).any(0))[0]) for t in times]
    assert columns == [0, 0, 1, 1, 2, 2]
    assert len(notes) == 1


@pytest.mark.parametrize("suffix", [".mkv", ".nut"])
@pytest.mark.parametrize("rate", ["18", "24000/1001", "24", "25", "30000/1001", "30", "60000/1001", "240"])
def test_every_frame_has_its_own_mask_whatever_containers_round(tmp_path: Path, rate: str, suffix: str) -> None:
    fps, count = Fraction(rate), 40
    path = write_column_video(tmp_path / f"mask{suffix}", fps, count)
    exact = [n / fps for n in range(count)]
    in_milliseconds = [Fraction(round(time * 1000), 1000) for time in exact]
    late_start = [max(Fraction(0), time - Fraction(1, 1000)) for time in exact]  # its first rounded up, the rest down
    for times in (exact, in_milliseconds, late_start):
        with MaskTrack(path, SIZE, lambda _: None) as track:
            assert [int(np.flatnonzero(track.at(time).any(0))[0]) for time in times] == list(range(count))


def test_missing_and_empty_masks_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        MaskTrack(tmp_path / "none.png", SIZE, lambda _: None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="has no pictures"):
        MaskTrack(tmp_path / "empty", SIZE, lambda _: None)
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(InputError):
        MaskTrack(tmp_path / "bad.png", SIZE, lambda _: None)


def test_a_mask_of_joined_parts_goes_on_where_its_clock_restarts(tmp_path: Path) -> None:
    words = "-an -c:v libx264 -crf 4"
    black = write_counted(tmp_path / "1.ts", -6, 6, words=words)
    white = write_counted(tmp_path / "2.ts", 40, 6, words=words)
    with MaskTrack(joined(tmp_path / "both.ts", black, white), (64, 48), lambda text: None) as track:
        assert [bool(track.at(Fraction(n, 12)).all()) for n in range(12)] == [False] * 6 + [True] * 6


def test_results_in_a_folder_of_masks_are_not_masks(tmp_path: Path) -> None:
    folder = column_masks(tmp_path / "masks", ["m_1.png", "m_2.png", "m_2.x2.png", "f_1.inpaint.png", "m_1.h96.png"])
    notes: list[Note] = []
    with MaskTrack(folder, SIZE, notes.append) as track:
        assert track.count == 3  # nobody but the user made a file of that size
        assert notes[0].text == (f"the mask {folder}: skipping results of earlier runs (f_1.inpaint.png, m_2.x2.png)")
    enlarged = column_masks(tmp_path / "large", ["m_1.x2.png", "m_2.x2.png"])
    with MaskTrack(enlarged, SIZE, notes.append) as track:
        assert columns_of(track, 2) == [0, 1]
    assert len(notes) == 1
