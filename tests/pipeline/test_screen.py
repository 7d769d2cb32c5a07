"""HDR is made to fit ordinary screens: white stays light, what is brighter keeps its differences, hues stay."""

import pytest
import torch

from vrx.pipeline.screen import HDR, HLG, PQ, to_screen


def gray(*levels: float) -> torch.Tensor:
    return torch.tensor(levels).expand(3, 1, -1).clone()


def test_other_colors_stay() -> None:
    colors = torch.rand(3, 4, 5)
    for transfer in ("", "bt709", "iec61966-2-1"):
        assert transfer not in HDR
        assert torch.equal(to_screen(colors, transfer), colors)


# signal of 203 cd/m2 (BT.2408), and of 18 % gray below it
@pytest.mark.parametrize(("transfer", "white"), [(PQ, 0.58), (HLG, 0.75)])
def test_white_of_hdr_is_light_and_brighter_light_still_differs(transfer: str, white: float) -> None:
    shown = to_screen(gray(0.0, white / 2, white, white + 0.1, 1.0), transfer)[0, 0]
    assert float(shown[0]) == pytest.approx(0, abs=0.02)
    assert float(shown[2]) == pytest.approx(0.948, abs=0.006)  # 0.7 + 0.3 (1 - 1 / e) of a screen's white, gamma 2.2
    assert bool((shown.diff() > 0).all())
    assert float(shown[-1]) <= 1


def test_dark_light_is_shown_as_it_is() -> None:
    shown = to_screen(gray(0.5081), PQ)[0, 0, 0]  # PQ's signal of 100 cd/m2
    assert float(shown) == pytest.approx((100 / 203) ** (1 / 2.2), abs=0.005)
    shown = to_screen(gray(0.5), HLG)[0, 0, 0]  # HLG's of a twelfth of the scene's light
    assert float(shown) == pytest.approx(((1 / 12) ** 1.2 * 1000 / 203) ** (1 / 2.2), abs=0.005)


def test_gray_stays_gray_and_a_bright_red_red() -> None:
    assert float(to_screen(gray(0.5, 0.8), PQ).std(0).max()) < 0.01
    red = to_screen(torch.tensor([0.8, 0.3, 0.3])[:, None, None], PQ)
    assert float(red[0]) > 0.9
    assert float(red[1]) < 0.4
