"""Figures against other implementations' and against what is known of made pictures."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from vrx.metrics import appearance, fidelity, steadiness


def pictures() -> tuple[Tensor, Tensor]:
    """Waves, and the same with noise, in levels."""
    noise = np.random.default_rng(3)
    y, x = np.mgrid[:48, :64]
    waves = 128 + 60 * np.sin(x / 5) * np.cos(y / 7)
    noisy = np.clip(waves + noise.normal(0, 9, waves.shape), 0, 255)
    return torch.from_numpy(waves), torch.from_numpy(noisy)


def test_psnr_and_ssim_are_those_of_scikit_image() -> None:
    """scikit-image 0.26: peak_signal_noise_ratio, and structural_similarity as Wang et al. have it."""
    waves, noisy = pictures()
    assert fidelity.psnr(waves, noisy) == pytest.approx(28.99506223564459, abs=1e-9)
    assert fidelity.ssim(waves, noisy) == pytest.approx(0.7621146755487093, abs=1e-9)
    assert fidelity.psnr(waves, waves) == fidelity.EQUAL == 100
    assert fidelity.ssim(waves, waves) == pytest.approx(1)
    assert 0 < fidelity.ssim(waves[:5, :7], noisy[:5, :7]) < 1  # smaller than the window


def test_luma_is_in_levels_of_video() -> None:
    """ITU-R BT.601-7: black is 16, white 235; green weighs 0.587."""
    colors = torch.tensor([[0.0, 1, 0, 1], [0, 1, 1, 0], [0, 1, 0, 0]]).view(3, 1, 4)
    found = fidelity.to_luma(colors, fidelity.LumaScale((0.299, 0.114)))[0].tolist()
    assert found == pytest.approx([16, 235, 16 + 219 * 0.587, 16 + 219 * 0.299], abs=1e-4)


def texture(height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.rand(3, height, width, generator=generator)


def test_what_moves_along_the_flow_has_no_warp_error() -> None:
    wide = texture(40, 60)
    before, now = wide[..., 4:54], wide[..., 7:57]  # the camera went 3 pixels to the right
    flow = torch.zeros(2, 40, 50)
    flow[0] = 3
    seen = steadiness.visible(flow, -flow)
    assert not seen[:, -3:].any()  # came in from the right
    assert seen[:, :-3].all()
    assert steadiness.warp_error(now, before, flow, seen) == pytest.approx(0, abs=1e-6)
    noisy = now + 0.1
    assert steadiness.warp_error(noisy, before, flow, seen) == pytest.approx(10, rel=1e-4)
    assert steadiness.warp_error(now, before, flow, torch.zeros_like(seen)) is None


def test_places_that_the_flow_back_does_not_lead_to_are_hidden() -> None:
    flow, back = torch.zeros(2, 20, 20), torch.zeros(2, 20, 20)
    back[0, :, 10:] = 4
    seen = steadiness.visible(flow, back)
    assert seen[:, :10].all()
    assert not seen[:, 10:].any()


def test_motion_and_flicker_are_measured_in_pixels_and_levels() -> None:
    flow = torch.zeros(2, 8, 8)
    other = torch.tensor([3.0, 4.0])[:, None, None].expand(2, 8, 8)
    assert steadiness.flow_distance(flow, other) == 5
    dark = torch.full((8, 8), 100.0)
    assert steadiness.flicker(dark + 2.5, dark) == pytest.approx(2.5)


def test_sharpness_is_the_gradient_in_levels_a_pixel() -> None:
    ramp = torch.arange(20.0).expand(12, 20) * 3
    assert appearance.sharpness(ramp) == pytest.approx(3)
    assert appearance.sharpness(ramp.T.contiguous()) == pytest.approx(3)
    assert appearance.sharpness(torch.full((9, 9), 7.0)) == 0
    assert appearance.sharpness(torch.ones(2, 2)) == 0
    assert math.isclose(appearance.sharpness(ramp[:, :12] + ramp[:, :12].T), 3 * math.sqrt(2), rel_tol=1e-6)
