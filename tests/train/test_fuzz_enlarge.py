"""The search for clips that enlarging makes worse, how its cases are drawn, and a few that it must not."""

import json
import random
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.train.textures import Textures
from vrx.models.embedded.checkpoint import load_networks
from vrx.train import fuzz_enlarge
from vrx.train.diagnosis import to_tensor
from vrx.train.enlarge_cases import DAMAGES, PATTERNS, WAYS, Shrunk, draw_shrunk, pattern, pixel_art, shrink, spoiled
from vrx.train.fuzz_deblur import LOSS, chunks_of
from vrx.weights.hashes import packaged_path


def even(value: int, scale: int = 2) -> Shrunk:
    low = np.full((2, 12, 16, 3), value, np.uint8)
    return Shrunk(low, np.full((2, 12 * scale, 16 * scale, 3), 101, np.uint8), "even")


def test_gains_are_those_of_luma_over_interpolation() -> None:
    before, over_lanczos, over_bicubic = fuzz_enlarge.gains(even(111), np.full((2, 24, 32, 3), 102, np.uint8))
    assert before == pytest.approx(20 * np.log10(255 / 10))
    assert over_lanczos == pytest.approx(20)
    assert over_bicubic == pytest.approx(20)


@pytest.mark.parametrize("scale", [2, 4])
def test_cases_are_drawn_alike_from_their_number(scale: int) -> None:
    first, again, other = (draw_shrunk(Textures(), scale, 3, number) for number in (8, 8, 9))
    assert first.words == again.words != other.words
    assert np.array_equal(first.low, again.low)
    assert first.scale == scale
    assert first.truth.shape[1:3] == (scale * first.low.shape[1], scale * first.low.shape[2])


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_shrink_keeps_what_is_even_and_only_nearest_moves_it(way: str) -> None:
    ramp = np.broadcast_to(np.arange(16, 144, dtype=np.uint8)[None, None, :, None], (2, 64, 128, 3)).copy()
    small, words = shrink(ramp, 4, way, random.Random(1))
    assert small.shape == (2, 16, 32, 3)
    assert words.startswith(way)
    middle = small[0, 8, 8:24, 0].astype(float) - ramp[0, 8, 32:96, 0].reshape(16, 4).mean(1)
    assert np.allclose(middle, -1.5 if way == "nearest" else 0, atol=0.51)


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_damage_keeps_the_shape(damage: str) -> None:
    clip = pixel_art((32, 48), random.Random(2))
    low, words = spoiled(clip, damage, random.Random(3))
    assert low.shape == clip.shape
    assert low.dtype == np.uint8
    assert bool(words) == (not np.array_equal(low, clip))


@pytest.mark.parametrize("name", PATTERNS)
def test_patterns_have_every_size(name: str) -> None:
    for seed in range(4):
        assert pattern(name, (34, 46), random.Random(seed)).shape[1:] == (34, 46, 3)


def test_the_last_frame_stands_in_for_frames_ahead() -> None:
    restorer_schedule = fuzz_enlarge.restorer_of(
        even(111), load_networks(packaged_path("embedded.safetensors"))
    ).schedule
    clip = to_tensor(np.stack([np.full((4, 4, 3), value, np.uint8) for value in range(7)]))
    first, second, last = chunks_of(clip, restorer_schedule)
    assert [len(chunk.frames) for chunk in (first, second, last)] == [4, 2, 1]
    assert first.ahead is not None
    assert (first.ahead[:, 0, 0, 0] * 255).round().tolist() == [4, 5, 6, 6, 6, 6, 6, 6]


def test_no_case_loses_with_the_shipped_weights() -> None:
    networks, textures = load_networks(packaged_path("embedded.safetensors")), Textures()
    found = []
    for number in range(6):
        case = draw_shrunk(textures, 2, 5, number)
        found.append(fuzz_enlarge.gains(case, fuzz_enlarge.enlarge(case, networks)[0])[1])
    assert min(found) > -LOSS
    assert np.mean(found) > 0.2


def test_the_command_reports_what_it_found_and_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fuzz_enlarge, "Material", lambda *given: Textures())
    monkeypatch.setattr(fuzz_enlarge, "enlarge", lambda case, networks: (np.full_like(case.truth, 9), "nothing"))
    words = ["--photos", ".", "--footage", ".", "--cases", "1", "--scale", "4", "--json", str(tmp_path / "rows.json")]
    monkeypatch.setattr("sys.argv", ["fuzz", *words, "--pictures", str(tmp_path)])
    assert fuzz_enlarge.main() == 1
    assert "1 cases: 1 lose" in capsys.readouterr().out
    assert json.loads((tmp_path / "rows.json").read_text())[0]["gain"] < -1
    picture = cv2.imread(str(tmp_path / "x4-0-0.png"))
    assert picture is not None
    assert picture.shape[1] == 3 * draw_shrunk(Textures(), 4, 0, 0).truth.shape[2]
