import pytest
import torch

from tests.networks.networks import TINY, tiny_network
from vrx.networks.embedded.grid import contrast, deblur_inputs, inpaint_inputs, to_pixels
from vrx.networks.embedded.network import MODES, EmbeddedConfig, EmbeddedNetwork, WindowAttention
from vrx.networks.windows import from_windows, to_windows, window_offsets
from vrx.train.rollout import Rollout


def walk(network: EmbeddedNetwork, mode: str, x: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
    """Clips [B, T, C, H, W] over a rolling memory."""
    cache = network.allocate(x.shape[-2], x.shape[-1], batch=len(x))
    steps = [network.step(mode, x[:, t], levels, cache, t == 0) for t in range(x.shape[1])]
    return torch.stack(steps, 1)


def rolled(network: EmbeddedNetwork, mode: str, x: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
    """The same as it is trained, nothing written over."""
    rollout = Rollout(network, mode, levels)
    return torch.stack([rollout.step(x[:, t]) for t in range(x.shape[1])], 1)


@torch.inference_mode()
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("frames", [1, 2, 3, 4, 7])
def test_a_rolling_memory_gives_what_was_trained(mode: str, frames: int) -> None:
    network = tiny_network()
    x = torch.rand(2, frames, MODES[mode].inputs, 11, 9)
    levels = torch.tensor([[0.5, 0.3, 1.0], [0.1, 0.0, 0.0]])
    whole = rolled(network, mode, x, levels)
    assert whole.shape == (2, frames, MODES[mode].outputs, 11, 9)
    torch.testing.assert_close(walk(network, mode, x, levels), whole, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 3), (8, 8), (16, 5)])
def test_every_size_works(size: tuple[int, int]) -> None:
    network = tiny_network()
    x = torch.rand(1, 3, MODES["inpaint"].inputs, *size)
    levels = torch.zeros(1, 3)
    found = walk(network, "inpaint", x, levels)
    torch.testing.assert_close(found, rolled(network, "inpaint", x, levels), atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_later_frames_never_change_earlier_ones() -> None:
    network = tiny_network()
    x = torch.rand(1, 5, MODES["inpaint"].inputs, 8, 8)
    changed = x.clone()
    changed[:, 3:] += 1
    levels = torch.zeros(1, 3)
    before, after = walk(network, "inpaint", x, levels), walk(network, "inpaint", changed, levels)
    torch.testing.assert_close(before[:, :3], after[:, :3], atol=1e-6, rtol=0)
    assert not torch.allclose(before[:, 3], after[:, 3])


@torch.inference_mode()
def test_earlier_frames_are_seen_as_long_as_the_memory_lasts() -> None:
    network = tiny_network()
    x = torch.rand(1, 12, MODES["inpaint"].inputs, 8, 8)
    changed = x.clone()
    changed[:, 1] += 0.5
    levels = torch.zeros(1, 3)
    difference = (walk(network, "inpaint", x, levels) - walk(network, "inpaint", changed, levels)).abs()
    by_frame = difference.amax((0, 2, 3, 4))
    reach = TINY.memory * len(network.attention) + len(TINY.recall)
    assert by_frame[0] == 0
    assert (by_frame[1 : 1 + TINY.memory + 1] > 1e-6).all()
    assert (by_frame[2 + reach :] == 0).all()


@torch.inference_mode()
def test_a_new_reference_changes_what_follows() -> None:
    network = tiny_network()
    x, levels = torch.rand(1, MODES["inpaint"].inputs, 8, 8), torch.zeros(1, 3)
    results = []
    for fresh in (False, True):
        cache = network.allocate(8, 8)
        network.step("inpaint", torch.zeros_like(x), levels, cache, True)
        results.append(network.step("inpaint", x, levels, cache, fresh))
    assert not torch.allclose(results[0], results[1])


@torch.inference_mode()
def test_a_fresh_network_adds_nothing() -> None:
    network = EmbeddedNetwork(TINY)
    for mode in MODES:
        x = torch.rand(1, 2, MODES[mode].inputs, 6, 6)
        assert not walk(network, mode, x, torch.rand(1, 3)).any()


@torch.inference_mode()
def test_conditions_matter() -> None:
    network = tiny_network()
    x = torch.rand(1, 1, MODES["deblur"].inputs, 6, 6)
    low, high = (walk(network, "deblur", x, torch.tensor([[s, 0.0, 0.0]])) for s in (0.2, 0.9))
    assert not torch.allclose(low, high)


def test_windows_and_back_is_the_same_map() -> None:
    x = torch.rand(2, 3, 10, 7)
    for shift in (0, 2):
        tokens = to_windows(x, 4, shift)
        assert tokens.shape[1:] == (16, 3)
        torch.testing.assert_close(from_windows(tokens, x.shape, 4, shift), x)


def test_offsets_depend_on_the_difference_of_places_only() -> None:
    offsets = window_offsets(4)
    assert offsets.shape == (16, 16)
    assert offsets.min() == 0
    assert offsets.max() == 48
    assert (offsets.diagonal() == offsets[0, 0]).all()
    assert offsets[0, 1] == offsets[1, 2] == offsets[4, 5]


def test_inputs_have_the_channels_their_mode_takes() -> None:
    picture, mask = torch.rand(2, 3, 16, 24), torch.ones(2, 1, 16, 24)
    assert deblur_inputs(picture, picture).shape == (2, MODES["deblur"].inputs, 4, 6)
    assert inpaint_inputs(picture, mask).shape == (2, MODES["inpaint"].inputs, 4, 6)


def test_contrast_of_a_flat_picture_is_zero() -> None:
    assert not contrast(torch.full((1, 3, 5, 5), 0.7)).abs().gt(1e-5).any()


@pytest.mark.parametrize("side", [3, 4])
def test_residuals_become_pixels(side: int) -> None:
    residual = torch.rand(2, 3 * side**2, 5, 6)
    assert to_pixels(residual).shape == (2, 3, 5 * side, 6 * side)


def test_impossible_sizes_are_refused() -> None:
    sizes = vars(TINY)
    with pytest.raises(ValueError, match="do not divide"):
        EmbeddedConfig(**{**sizes, "heads": 3})
    with pytest.raises(ValueError, match="odd"):
        EmbeddedConfig(**{**sizes, "window": 5})


@pytest.mark.cuda
@torch.inference_mode()
def test_cuda_gives_what_the_processor_gives() -> None:
    network = tiny_network()
    x, levels = torch.rand(1, 4, MODES["inpaint"].inputs, 16, 16), torch.zeros(1, 3)
    expected = walk(network, "inpaint", x, levels)
    found = walk(network.cuda(), "inpaint", x.cuda(), levels.cuda()).cpu()
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)


def test_biases_are_kept_until_other_weights_are_loaded() -> None:
    layer = tiny_network().attention[0]
    assert isinstance(layer, WindowAttention)
    with torch.no_grad():
        layer.near.normal_()
    ages = [[0], [1, 0], [2, 1, 0], [2, 1, 0]]
    with torch.inference_mode():
        found = [layer.bias(one) for one in ages]
    assert found[2] is found[3]
    for one, bias in zip(ages, found, strict=True):
        assert torch.equal(bias, layer.make_bias(one))
    layer.load_state_dict({name: value + 1 for name, value in layer.state_dict().items()})
    with torch.inference_mode():
        assert torch.allclose(layer.bias([0]), found[0] + 1)
        layer.near.data = layer.near.data.double()
        assert layer.bias([0]).dtype == torch.float64
