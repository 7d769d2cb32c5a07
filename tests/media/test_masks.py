from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.clips import ClipMaker, joined, write_counted
from vrx.errors import InputError, UsageError
from vrx.media.masks import MaskTrack

SIZE = (64, 48)


def save(path: Path, pixels: np.ndarray, pix_fmt: str = "gray") -> Path:
    with av.open(str(path), "w", format="image2") as box:
        stream = box.add_stream("png", rate=1)
        stream.height, stream.width = pixels.shape[:2]
        stream.pix_fmt = pix_fmt
        form = {2: "gray", 3: "rgb24", 4: "rgba"}[2 if pixels.ndim == 2 else pixels.shape[2]]
        box.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format=form).reformat(format=pix_fmt)))
        box.mux(stream.encode(None))
    return path


def box_mask(size: tuple[int, int] = SIZE) -> np.ndarray:
    mask = np.zeros(size[::-1], np.uint8)
    mask[: size[1] // 2, : size[0] // 4] = 255
    return mask


@pytest.mark.parametrize("pix_fmt", ["gray", "rgb24", "gray16be", "monob"])
def test_white_is_filled_in_every_format(tmp_path: Path, pix_fmt: str) -> None:
    path = save(tmp_path / "m.png", box_mask(), pix_fmt)
    with MaskTrack(path, SIZE, [].append) as track:
        assert np.array_equal(track.at(Fraction(0)), box_mask() > 0)
        assert np.array_equal(track.at(Fraction(9)), box_mask() > 0)


def test_soft_edges_belong_to_what_is_marked(tmp_path: Path) -> None:
    soft = box_mask()
    soft[24, :16] = 3
    with MaskTrack(save(tmp_path / "m.png", soft), SIZE, [].append) as track:
        assert np.array_equal(track.at(Fraction(0)), soft > 0)


def test_transparent_white_is_not_filled(tmp_path: Path) -> None:
    pixels = np.full((48, 64, 4), 255, np.uint8)
    pixels[..., 3] = box_mask()
    with MaskTrack(save(tmp_path / "m.png", pixels, "rgba"), SIZE, [].append) as track:
        assert np.array_equal(track.at(Fraction(0)), box_mask() > 0)


def test_a_mask_of_the_same_shape_is_scaled_and_of_another_refused(tmp_path: Path) -> None:
    with MaskTrack(save(tmp_path / "half.png", box_mask((32, 24))), SIZE, [].append) as track:
        assert np.array_equal(track.at(Fraction(0)), box_mask() > 0)
    with pytest.raises(UsageError, match="32x32, the video 64x48"):
        MaskTrack(save(tmp_path / "square.png", box_mask((32, 32))), SIZE, [].append)


def test_all_white_is_refused_and_all_black_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="all white"):
        MaskTrack(save(tmp_path / "white.png", np.full((48, 64), 255, np.uint8)), SIZE, [].append)
    notes: list[str] = []
    MaskTrack(save(tmp_path / "black.png", np.zeros((48, 64), np.uint8)), SIZE, notes.append)
    assert "all black" in notes[0]


def test_a_folder_gives_one_mask_a_frame_and_its_last_one_holds(tmp_path: Path) -> None:
    folder = tmp_path / "masks"
    folder.mkdir()
    for number in range(3):
        mask = np.zeros((48, 64), np.uint8)
        mask[:, number] = 255
        save(folder / f"{number:03d}.png", mask)
    notes: list[str] = []
    with MaskTrack(folder, SIZE, notes.append) as track:
        columns = [int(np.flatnonzero(track.at(Fraction(n, 25)).any(0))[0]) for n in range(3)]
        assert notes == []
        columns += [int(np.flatnonzero(track.at(Fraction(n, 25)).any(0))[0]) for n in range(3, 5)]
    assert columns == [0, 1, 2, 2, 2]
    assert "ends before the video" in notes[0]


def test_a_mask_video_follows_the_time(clip: ClipMaker, tmp_path: Path) -> None:
    path = tmp_path / "mask.mkv"
    with av.open(str(path), "w") as box:
        stream = box.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "gray"
        stream.codec_context.time_base = Fraction(1, 10)
        for number in range(3):
            mask = np.zeros((48, 64), np.uint8)
            mask[:, number] = 255
            picture = av.VideoFrame.from_ndarray(mask, format="gray")
            picture.pts, picture.time_base = number, Fraction(1, 10)
            box.mux(stream.encode(picture))
        box.mux(stream.encode(None))
    notes: list[str] = []
    with MaskTrack(path, SIZE, notes.append) as track:
        times = (Fraction(0), Fraction(1, 20), Fraction(1, 10), Fraction(19, 100), Fraction(1, 5), Fraction(7))
        columns = [int(np.flatnonzero(track.at(t).any(0))[0]) for t in times]
    assert columns == [0, 0, 1, 1, 2, 2]
    assert len(notes) == 1


def test_missing_and_empty_masks_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        MaskTrack(tmp_path / "none.png", SIZE, [].append)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no pictures"):
        MaskTrack(tmp_path / "empty", SIZE, [].append)
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(InputError):
        MaskTrack(tmp_path / "bad.png", SIZE, [].append)


def test_a_mask_of_joined_parts_goes_on_where_its_clock_restarts(tmp_path: Path) -> None:
    words = "-an -c:v libx264 -crf 4"
    black = write_counted(tmp_path / "1.ts", -6, 6, words=words)
    white = write_counted(tmp_path / "2.ts", 40, 6, words=words)
    with MaskTrack(joined(tmp_path / "both.ts", black, white), (64, 48), lambda text: None) as track:
        assert [bool(track.at(Fraction(n, 12)).all()) for n in range(12)] == [False] * 6 + [True] * 6
