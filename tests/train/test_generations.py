"""Clips as real encoders leave them, once or more often, and what the training is told of it."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from vrx.train import footage, material
from vrx.train.generations import COMBED, ENCODERS, Generation, combed, decode, store
from vrx.train.spoil import strength_of


def moving(frames: int = 6, side: int = 64) -> np.ndarray:
    small = np.random.default_rng(1).integers(0, 255, (side // 4, side // 4 + frames, 3), np.uint8)
    wide = cv2.resize(small, (side + 4 * frames, side), interpolation=cv2.INTER_CUBIC)
    return np.stack([wide[:, 2 * t : 2 * t + side] for t in range(frames)])


def error(a: np.ndarray, b: np.ndarray) -> float:
    return float(((a.astype(float) - b) ** 2).mean())


@pytest.mark.parametrize("codec", ENCODERS)
def test_every_encoder_loses_more_at_a_larger_value(tmp_path: Path, codec: str) -> None:
    frames, found = moving(), []
    for value in (4, 16) if codec in ("mpeg2", "mpeg4", "mjpeg") else (20, 36):
        store(tmp_path / f"{value}.mkv", frames, (Generation(codec, value),))
        found.append(decode(tmp_path / f"{value}.mkv"))
    assert all(x.shape == frames.shape for x in found)
    assert 0 < error(found[0], frames) < error(found[1], frames)


def test_a_second_generation_begins_with_what_the_first_left(tmp_path: Path) -> None:
    frames, first, second = moving(), Generation("mpeg4", 12), Generation("h264", 20)
    store(tmp_path / "once.mkv", frames, (second,))
    store(tmp_path / "twice.mkv", frames, (first, second))
    assert error(decode(tmp_path / "twice.mkv"), frames) > 1.5 * error(decode(tmp_path / "once.mkv"), frames)


def test_leftovers_of_interlacing_are_rows_of_the_next_frame() -> None:
    frames = moving()
    found = combed(frames, 1.0)
    assert np.array_equal(found[:, ::2], frames[:, ::2])
    assert np.array_equal(found[:-1, 1::2], frames[1:, 1::2])
    assert np.array_equal(found[-1], frames[-1])
    assert np.array_equal(combed(frames, 0.0), frames)


def test_quantizers_are_on_one_scale() -> None:
    assert Generation("h264", 30).qp == Generation("hevc", 30).qp == 30
    # a step of 2 q levels against H.264's 0.625 x 2^(QP / 6)
    assert Generation("mpeg4", 5).qp == pytest.approx(24)
    assert Generation("mpeg2", 10).qp == Generation("mjpeg", 10).qp == pytest.approx(30)
    assert Generation(COMBED, 0.5).qp == 0


def test_packed_clips_come_back_with_their_strength(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(material, "CODED", {2: ((Generation("mpeg2", 5), Generation("h264", 33)),)})
    monkeypatch.setattr(material, "RUN", 6)
    monkeypatch.setattr(material, "OLD_SHARE", 1)
    for name in ("clips", "coded"):
        (tmp_path / name).mkdir()
    store(tmp_path / "in.mkv", moving(side=128), (Generation("h264", 10),))
    entry = material.store_clip(tmp_path / "in.mkv", tmp_path, 1)
    assert json.loads(json.dumps(entry)) == entry
    clip = footage.load_clip(tmp_path, entry)
    copy, old = clip.copies[2]
    assert old.frames.shape == copy.frames.shape
    assert copy.frames.shape == (6, 3, 64, 64)
    assert copy.strength == pytest.approx(float(strength_of(torch.tensor(33.0))))
