"""The search for clips that deblurring makes worse, and a few that it must not."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.train.textures import Textures
from vrx.models.embedded.checkpoint import load_networks
from vrx.train import fuzz_deblur
from vrx.train.fuzz_cases import Case, draw_case
from vrx.weights.hashes import packaged_path


def case_of(low: int, truth: int) -> Case:
    even = [np.full((2, 24, 32, 3), value, np.uint8) for value in (low, truth)]
    return Case(even[0], even[1], None, "even")


def test_gain_is_that_of_luma() -> None:
    before, won = fuzz_deblur.gain(case_of(110, 100), np.full((2, 24, 32, 3), 101, np.uint8))
    assert before == pytest.approx(20 * np.log10(255 / 10))
    assert won == pytest.approx(20)


def test_no_case_loses_with_the_shipped_weights() -> None:
    networks, textures = load_networks(packaged_path("embedded.safetensors")), Textures()
    gains = []
    for number in range(5):
        case = draw_case(textures, 5, number)
        gains.append(fuzz_deblur.gain(case, fuzz_deblur.restore(case, networks)[0])[1])
    assert min(gains) > -fuzz_deblur.LOSS
    assert np.mean(gains) > 0.2


def test_the_command_reports_what_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fuzz_deblur, "Material", lambda *given: Textures())
    monkeypatch.setattr(fuzz_deblur, "restore", lambda case, networks: (case.low, "nothing"))
    words = ["--photos", ".", "--footage", ".", "--cases", "2", "--json", str(tmp_path / "rows.json")]
    monkeypatch.setattr("sys.argv", ["fuzz", *words])
    assert fuzz_deblur.main() == 0
    assert "2 cases: 0 lose" in capsys.readouterr().out
    assert [row["gain"] for row in json.loads((tmp_path / "rows.json").read_text())] == [0, 0]
