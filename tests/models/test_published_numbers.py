"""Every number a published system was released with, named once more beside its source.

The golden cases take their sizes from their own configuration, so these are the only tests that read what
a user's run reads.  A number that changes here is wrong unless the authors changed it.
"""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from vrx.models import (
    autoencoders,
    causal_wan,
    fastvr,
    flashvsr,
    infvsr,
    instantvir,
    light_wan,
    prompts,
    relayvsr,
    streamdiffvsr,
    tiling,
    token_tiles,
)
from vrx.models.base import ChunkSchedule, SceneStart
from vrx.models.causal_wan import OneStep
from vrx.models.flashvsr import FlashVsrOptions, GenerateState
from vrx.models.recavsr import decoding
from vrx.models.recavsr import model as recavsr
from vrx.networks import grouped_attention, ram, taehv, umt5
from vrx.networks.color_transfer import adain
from vrx.networks.diffvsr import autoencoder as tiny
from vrx.networks.diffvsr import raft
from vrx.networks.diffvsr.text import TextConfig
from vrx.networks.fastvr import generator, luma
from vrx.networks.fastvr import tiles as fast_tiles
from vrx.networks.flashvsr import attention, projection
from vrx.networks.flashvsr.transformer import FIRST_PAIRS, TIMESTEP, SparseOptions, released_ratio
from vrx.networks.ram import RamConfig
from vrx.networks.recavsr import flashdecoder, history
from vrx.networks.recavsr import transformer as recycled
from vrx.networks.relayvsr import key_frames, small_transformer
from vrx.networks.satbvr import backbone, control, sampler, solver, tiles
from vrx.networks.satbvr import transformer as satb
from vrx.networks.wan import autoencoder, guided, rope, schedule, transformer
from vrx.scenes import detect


def test_infvsr() -> None:
    """arXiv 2510.00948 and its release at a5b9342."""
    assert OneStep(timestep=399, shift=5.0, window=3, pad=False) == infvsr.RULE  # the chunk before only; 3.2
    assert infvsr.RULE.sigma == pytest.approx(0.3985014, abs=1e-6)  # of 1000 steps, the entry nearest to 399 / 1000
    assert infvsr.CHANGE == detect.CUT_THRESHOLD == 27.0  # content score, appendix A.3
    assert infvsr.PATIENCE == detect.REFRESH_AFTER == 15  # frames, appendix A.3
    assert (tiling.TILED_FROM, tiling.TILE, tiling.STRIDE) == (
        1024,
        128,
        110,
    )  # rows, latents, latents: 18 overlap


def test_causal_wan_works_in_blocks_of_three_latent_frames() -> None:
    """InfVSR 3.2 and InstantViR 3.3: 9 frames first, then 12."""
    assert causal_wan.BLOCK == 3
    assert ChunkSchedule(first=9, next=12, multiple=4, first_offset=1) == causal_wan.SCHEDULE
    assert causal_wan.PIXEL_MULTIPLE == 16
    assert tiling.SPATIAL == 8


def test_fastvr() -> None:
    """arXiv 2609.36757 and its release at 29e7ddd."""
    assert (generator.REQUESTED, generator.SHIFT) == (399.0, 5.0)
    assert pytest.approx(0.39850137, abs=1e-7) == generator.SIGMA  # the nearest of 1000 entries
    assert pytest.approx(398.50137, abs=1e-4) == generator.TIMESTEP  # which the network is told, not 399
    assert fastvr.LATENTS == 3  # of a chunk, which sees those of the chunk before
    assert ChunkSchedule(first=9, next=12, multiple=4, first_offset=1, ahead=3) == fastvr.SCHEDULE
    assert (fast_tiles.SIDE, fast_tiles.STRIDE) == (64, 52)  # latents: 1024 pixels, the size of its training
    assert light_wan.MULTIPLE == 32  # pixels
    assert luma.WIDTHS == (3, 5, 9, 16, 28)  # 12, 20, 36, 64 and 112 channels
    assert (luma.MULTIPLE, luma.SLOPE) == (16, 0.2)
    assert luma.TO_YUV[0] == (0.299, 0.587, 0.114)


def test_guidance_of_infvsr() -> None:
    """RAM's Swin-L with DAPE, as SeeSR has them (arXiv 2311.16518)."""
    config = RamConfig()
    assert config.image_size == 384
    assert (config.embed_dim, config.depths, config.num_heads) == (192, (2, 2, 18, 2), (6, 12, 24, 48))
    assert config.window_size == 12
    assert ram.MEAN == (0.485, 0.456, 0.406)  # ImageNet's
    assert ram.DEVIATION == (0.229, 0.224, 0.225)
    assert ram.ADAPTER_SCALE == 1 / 8  # of the low-rank change, in two groups
    assert ram.HIDDEN == -100.0


def test_instantvir() -> None:
    """arXiv 2511.14208 and its release: 21 latent frames are remembered, the chunk's own three among them."""
    assert OneStep(timestep=522, shift=8.0, window=18, pad=True) == instantvir.RULE
    assert instantvir.RULE.sigma == pytest.approx(0.5217391, abs=1e-6)  # entry 880 of the shifted schedule
    assert instantvir.RULE.window + causal_wan.BLOCK == 21
    assert instantvir.GRAY == 0.5  # missing pixels are 0 in -1..1
    assert instantvir.SCALE == 4
    assert prompts.LENGTH == 512  # tokens, the end among them
    assert umt5.FARTHEST == 128
    assert autoencoders.LEAN_RANGE == 0.5  # LeanVAE works in -0.5..0.5


def test_schedule_and_rotation_of_wan() -> None:
    """Wan 2.1 (arXiv 2503.20314)."""
    assert schedule.TRAIN_STEPS == 1000
    assert rope.BASE == transformer.SINUSOID_BASE == 10000.0
    expected = {0: 1.0, 880: 0.5217391, 999: 0.0079443}  # 8 s / (1 + 7 s), s = 1 - k / 1000
    for k, sigma in expected.items():
        assert float(schedule.shifted_sigmas(8.0)[k]) == pytest.approx(sigma, abs=1e-6)


def test_latents_of_wan_are_normalized_by_sixteen_published_numbers() -> None:
    """Wan 2.1's autoencoder: mean and deviation of each channel."""
    mean = [-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508]
    mean += [0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921]
    deviation = [2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743]
    deviation += [3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160]
    assert list(autoencoder.MEAN) == mean
    assert list(autoencoder.DEVIATION) == deviation
    assert (autoencoder.SPATIAL, autoencoder.TEMPORAL) == (8, 4)


def test_flashvsr() -> None:
    """arXiv 2510.12747 and its release, version 1.1."""
    assert TIMESTEP == 1000.0  # pure noise, sigma 1
    assert (flashvsr.FIRST, flashvsr.NEXT, flashvsr.AHEAD) == (21, 8, 4)  # frames a step gives, and needs ahead
    assert (flashvsr.FIRST_LATENTS, flashvsr.NEXT_LATENTS, flashvsr.CHANNELS) == (6, 2, 16)
    assert flashvsr.MULTIPLE == 128  # 8 of the autoencoder, 2 of a patch, 8 of a window
    assert attention.WINDOW == (2, 8, 8)
    assert FIRST_PAIRS == 3
    assert SparseOptions(ratio=1.0) == SparseOptions(ratio=1.0, reach=11, pairs=3)  # "more stable"; kv_ratio 3
    defaults = FlashVsrOptions(scale=4, context=torch.zeros(1, 1, 1))
    assert (defaults.reach, defaults.pairs, defaults.color, defaults.seed) == (11, 3, "auto", 0)
    assert flashvsr.TRANSFER is adain  # the release corrects colors so
    assert (projection.GROUP, projection.BACK) == (4, 2)
    assert taehv.LIMIT == 3.0


@pytest.mark.parametrize(("height", "width"), [(768, 1280), (768, 1408), (1152, 1920), (384, 512)])
def test_flashvsr_attends_to_120_windows_at_any_size(height: int, width: int) -> None:
    """The released scripts: a ratio of 2.0 x 768 x 1280 / (H W), so that n^2 ratio is 120 n."""
    windows = height * width // 128**2
    assert windows**2 * released_ratio(height, width) == pytest.approx(120 * windows)


def test_noise_of_flashvsr_differs_in_every_step_and_scene_and_repeats_with_the_seed() -> None:
    """One noise tensor covers a scene in the release, so no two steps share theirs."""

    def noise(seed: int, scene: int, steps: int) -> torch.Tensor:
        network: Any = SimpleNamespace(patch_embedding=torch.nn.Conv3d(1, 1, 1))
        stage = flashvsr.Generate(network, FlashVsrOptions(scale=4, context=torch.zeros(1, 1, 1), seed=seed))
        start = SceneStart(scene, (32, 32), (128, 128))
        return stage.noise(GenerateState(start, None, None, steps))  # type: ignore[arg-type]

    first = noise(0, 0, 1)
    assert torch.equal(first, noise(0, 0, 1))
    for other in (noise(1, 0, 1), noise(0, 1, 1), noise(0, 0, 2)):
        assert not torch.equal(first, other)
    assert noise(0, 0, 0).shape[2] == 6
    assert first.shape[2] == 2


def test_stream_diffvsr() -> None:
    """arXiv 2512.23709, the scheduler's published config, and the files of Jamichsu/Stream-DiffVSR."""
    assert streamdiffvsr.STEPS == 4
    assert streamdiffvsr.SCALE == tiny.SPATIAL == 4
    assert (tiny.TemporalConfig().latent_magnitude, tiny.POOL, tiny.FUSION) == (3.0, 4, 0.1)
    assert (raft.UPDATES, raft.LEAST_SIDE) == (12, 128)
    assert TextConfig().num_hidden_layers == 23  # of 24: Stable Diffusion 2 leaves the last out


def test_relayvsr() -> None:
    """arXiv 2609.37850 and its code at d9b2466: windows of 16 frames that share one, fifteen apart."""
    assert ChunkSchedule(first=16, next=15) == relayvsr.SCHEDULE
    assert (relayvsr.MULTIPLE, small_transformer.SCALE, small_transformer.TOKEN) == (8, 4, 4)
    assert (token_tiles.PIXELS, token_tiles.PATCH) == (32, 2)
    assert (key_frames.TIMESTEP, guided.FOLD, key_frames.POLICY) == (1000.0, 16, "fixed_end")
    config = key_frames.KeyFrameConfig()
    assert (config.context_frames, config.spatial_window, config.eps) == (4, None, 1e-6)
    sizes = small_transformer.SmallConfig()
    assert (sizes.window_size, sizes.start, sizes.end, sizes.video) == (2, (48, 48), (48, 48), (24, 24))
    assert sizes.condition_self == (48, 48)
    assert (grouped_attention.HEAD_WIDTH, grouped_attention.ROPE_WIDTHS) == (64, (16, 24, 24))
    assert (grouped_attention.ROPE_BASE, grouped_attention.EPSILON) == (rope.BASE, 1e-5)


def test_recavsr() -> None:
    """arXiv 2609.37831 and its code: blocks of 21 frames, then 8, as 6 and 2 latent frames."""
    assert ChunkSchedule(first=21, next=8, multiple=8, first_offset=5, least=21) == recavsr.SCHEDULE
    assert (recavsr.FIRST_LATENTS, recavsr.NEXT_LATENTS, recycled.RECYCLED) == (6, 2, 2)
    assert decoding.ADAIN_EPSILON == 4 * 1e-5  # of variances in 0..1
    assert (recycled.TIMESTEP, recycled.SPATIAL_WINDOW, recycled.KERNEL, recycled.STRIDE) == (1000.0, (22, 40), 4, 2)
    assert history.Anchors() == history.Anchors(first=5, stride=6, most=2)
    assert len(history.RELEASED) == 30
    kept = [len(history.visible(action, 40, history.Anchors())) for action in history.RELEASED]
    assert sum(kept) == 66  # slots of all layers
    assert history.RELEASED[14] == "anchor"
    assert history.RELEASED[7] == history.RELEASED[10] == history.RELEASED[19] == "recent_4"
    sizes = flashdecoder.FlashDecoderConfig()
    assert (sizes.window_size, sizes.spatial_window_size, flashdecoder.FRAMES, flashdecoder.FOLD) == (
        2,
        (24, 24),
        4,
        16,
    )


def test_satb_vr() -> None:
    """arXiv 2606.28677 and its code."""
    assert satb.PREDICTOR_TIMESTEP == 399  # whatever the number of steps
    assert sampler.GUIDANCE == 6.0
    assert control.HEADS == 48
    assert (control.CHANNELS, control.WIDE, control.EPSILON) == (16, 320, 1e-6)
    assert [groups for _, _, groups in control.RESIDUAL] == [16, 32, 16]
    assert tiles.Side(tile=1024 // 8, stride=768 // 8) == tiles.SPATIAL  # pixels, in latents
    assert tiles.Side(tile=80 // 4, stride=64 // 4) == tiles.TEMPORAL  # frames, in latent frames
    expected = {1: (199,), 2: (199, 99), 3: (299, 199, 99), 4: (399, 299, 199, 99), 5: (399, 319, 239, 159, 79)}
    assert {steps: solver.timesteps(steps) for steps in expected} == expected
    assert solver.timesteps(8) == (399, 349, 299, 249, 199, 149, 99, 49)
    assert solver.timesteps(10) == tuple(range(399, 0, -40))
    assert {steps: solver.timesteps(steps)[0] for steps in (6, 7, 9)} == {6: 395, 7: 398, 9: 395}
    assert solver.MOST_STEPS == 10


def test_satb_vr_has_the_schedule_and_the_sizes_of_cogvideox_1_5() -> None:
    """The configs of zai-org/CogVideoX1.5-5B."""
    assert solver.Schedule() == solver.Schedule(
        num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, snr_shift_scale=1.0
    )
    shares = {39: 0.960264, 99: 0.888086, 199: 0.738700, 299: 0.566516, 399: 0.393544, 999: 0.0}
    table = solver.Schedule().alpha_bar()
    assert {place: round(float(table[place]), 6) for place in shares} == shares
    assert float(table[399]) ** 0.5 == pytest.approx(0.6273, abs=5e-5)
    assert (1 - float(table[399])) ** 0.5 == pytest.approx(0.7788, abs=5e-5)
    config = backbone.BackboneConfig()
    assert (config.num_layers, config.num_attention_heads, config.attention_head_dim, config.width) == (
        42,
        48,
        64,
        3072,
    )
    assert (config.in_channels, config.out_channels, config.time_embed_dim) == (16, 16, 512)
    assert config.context_shape == (backbone.TEXT_LENGTH, config.text_embed_dim) == (226, 4096)
    assert config.sample_height == config.sample_width == 150 * backbone.PATCH == 300
    assert backbone.THETA == 10000.0
    assert control.ControlConfig().num_layers == 6  # Vivid-VR's
    assert [control.state_number(block, 42, 6) for block in (0, 6, 7, 41)] == [0, 0, 1, 5]
