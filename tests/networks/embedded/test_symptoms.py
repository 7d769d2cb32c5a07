"""What is read from a scene's first frames."""

import math

import pytest
import torch

from vrx.networks.embedded import symptoms, templates
from vrx.networks.embedded.blur import FEATURES, LUMA, READERS, BlurEstimator
from vrx.networks.embedded.kernels import DISK, GAUSSIAN, LINE, kernel, transfer


def law(kind: int, width: float, angle: float = 0.0, noise: float = 1 / 255) -> torch.Tensor:
    """A picture [1, H, W] whose power falls with the square of the frequency, blurred, with noise."""
    generator = torch.Generator().manual_seed(2)
    size = (384, 512)
    ring = torch.hypot(torch.fft.fftfreq(size[0])[:, None], torch.fft.rfftfreq(size[1])).clamp_min(1 / 512)
    spectrum = torch.fft.rfft2(torch.randn(size, generator=generator)) / ring
    x = torch.fft.irfft2(spectrum * transfer(kernel(kind, width, angle), size), s=size)
    return (0.5 + 0.16 * x / x.std() + noise * torch.randn(size, generator=generator))[None]


@pytest.mark.parametrize(
    ("kind", "width", "angle"),
    [(GAUSSIAN, 2.0, 0.0), (DISK, 2.0, 0.0), (DISK, 3.0, 0.0), (LINE, 2.5, 2.0), (LINE, 3.2, 0.5)],
)
def test_the_kernel_that_made_a_spectrum_explains_it_best(kind: int, width: float, angle: float) -> None:
    found = templates.fit_templates(symptoms.tile_power(law(kind, width, angle)).mean(0))
    counts = [count for _, _, count in templates.WIDTHS.values()]
    errors = dict(zip(templates.WIDTHS, found[: sum(counts)].split(counts), strict=True))
    assert min(errors, key=lambda k: float(errors[k].min())) == kind
    step = templates.widths(kind)[1] / templates.widths(kind)[0]
    assert templates.widths(kind)[int(errors[kind].argmin())] == pytest.approx(width, rel=step - 1)
    least, size = found[sum(counts) + 2 * (kind - 1) :][:2].tolist()
    assert least == 0
    assert math.exp(size) == pytest.approx(width, rel=step - 1)
    if kind == LINE:
        turned = (math.atan2(found[-1], found[-2]) / 2 - angle + math.pi / 2) % math.pi - math.pi / 2
        assert abs(turned) <= math.pi / templates.SECTORS / 2 + 0.03


def test_laws_are_fitted_to_cells_that_are_low_enough_and_clear_of_the_floor() -> None:
    place, outside = templates.cells(symptoms.GRID), templates.RINGS * templates.SECTORS
    assert [int(place[0, number]) == outside for number in (3, 4)] == [True, False]  # 0.023 and 0.031 cycles a pixel
    known = templates.templates(symptoms.GRID)
    sharp = templates.Templates(torch.zeros(1, outside), known.counts, known.law)
    law, some = 1e-4 * 10 ** (2 * known.law), slice(15 * templates.SECTORS, 16 * templates.SECTORS)
    near, clear = (templates.misfit((1 + law).index_fill(0, torch.arange(outside)[some], x), sharp) for x in (3, 4))
    assert near > 0.6  # nothing but the floor to fit a law to
    assert clear < 0.4
    dead = law.index_fill(0, torch.tensor(200), 1e-10)
    more = templates.misfit(dead, sharp) - templates.misfit(law, sharp)
    assert float(more) == pytest.approx(4 * float(known.counts[200] / known.counts.sum()), rel=0.02)  # two decades


@torch.inference_mode()
@pytest.mark.parametrize("size", [(1, 1, 1), (2, 1, 5), (3, 3, 2), (1, 40, 300), (2, 200, 1500)])
def test_every_size_is_described(size: tuple[int, int, int]) -> None:
    x = torch.rand(size[0], 3, *size[1:], generator=torch.Generator().manual_seed(1))
    found = symptoms.describe(x, BlurEstimator().eval())
    assert found.shape == (symptoms.SYMPTOMS,)
    assert torch.isfinite(found).all()
    flat = symptoms.describe(x * 0 + 0.5, BlurEstimator().eval())
    assert torch.isfinite(flat).all()


def test_noise_is_read_where_frames_differ() -> None:
    still = law(GAUSSIAN, 2.0, noise=0).expand(4, -1, -1)
    noisy = still + 5 / 255 * torch.randn(still.shape, generator=torch.Generator().manual_seed(3))
    power = symptoms.still(noisy)[: templates.RINGS].median()
    assert 255 * 10 ** (float(power) / 2) == pytest.approx(5, rel=0.1)
    assert symptoms.still(still)[templates.RINGS] == 1
    assert symptoms.still(noisy)[templates.RINGS] < 0.1


def test_blocks_show() -> None:
    blocks = (
        torch.rand(1, 20, 30, generator=torch.Generator().manual_seed(4))
        .repeat_interleave(8, 1)
        .repeat_interleave(8, 2)
    )
    smooth = law(GAUSSIAN, 3.0, noise=0)
    assert (symptoms.blockiness(blocks + 0.01 * torch.rand(1, 160, 240)) > 1).all()
    assert symptoms.blockiness(smooth).abs().max() < 0.05


def test_a_direction_shows() -> None:
    lying, standing = (
        symptoms.by_direction(symptoms.tile_power(law(LINE, 3.0, angle)).mean(0)).view(-1, templates.SECTORS)
        for angle in (0.0, math.pi / 2)
    )
    assert lying[1:3, 0].max() < -0.4  # blurred along x, nothing is left along x
    assert standing[1:3, templates.SECTORS // 2].max() < -0.4


def test_large_pictures_give_no_more_tiles_than_fit() -> None:
    assert len(symptoms.tiles_of(torch.rand(2, 800, 2000))) == 2 * 8 * 7
    found = {width: len(symptoms.tiles_of(torch.rand(1, 128, width))) for width in (223, 224, 800, 900, 1024)}
    assert found == {223: 1, 224: 2, 800: 8, 900: 7, 1024: 8}
    assert sum(LUMA) == pytest.approx(1)


def test_the_liveliest_and_the_quietest_quarter_are_told_by_their_low_frequencies() -> None:
    power = torch.zeros(8, symptoms.GRID, symptoms.GRID // 2 + 1)
    power[:, 15, 15] = torch.arange(8.0)
    power[:, [15, 16], [16, 15]] = 100 * torch.arange(8.0).flip(0)[:, None]
    lively, quiet = symptoms.pick(power)
    assert [float(x[15, 15]) for x in (lively, quiet)] == [6.5, 0.5]


def test_shares_without_change_are_in_time_across_and_along_the_bend() -> None:
    luma = torch.tensor([0.0, 1, 2, 4])[:, None].expand(2, 4, 5).clone() / 255
    luma[1] += torch.tensor([0, 0.3, 0.8, 0.8, 0.8]) / 255
    shares = symptoms.still(luma)[templates.RINGS :].tolist()
    assert shares == pytest.approx([2 / 5, 7 / 8, 1 / 2])


@pytest.mark.parametrize(
    ("frequency", "row"),
    [(0.025, None), (0.036, 0), (0.075, 0), (0.085, 1), (0.135, 1), (0.145, 2), (0.215, 2), (0.225, 3), (0.335, 4)],
)
def test_directions_are_compared_in_ranges_of_frequency(frequency: float, row: int | None) -> None:
    ring, angle = symptoms.frequencies(torch.empty(0))
    power = torch.where(((ring - frequency).abs() < 0.0045) & (angle < 0.1), 10.0, 1.0)
    found = symptoms.by_direction(power).view(-1, templates.SECTORS)
    assert found.abs().amax(1).nonzero().flatten().tolist() == ([] if row is None else [row])


@torch.inference_mode()
def test_readings_below_a_hundredth_of_a_pixel_are_alike() -> None:
    sharpness = BlurEstimator().eval()
    for reader in (*sharpness.seen, *sharpness.fitted):
        torch.nn.init.constant_(reader[-1].bias, -50.0)
    found = symptoms.describe(torch.rand(1, 3, 16, 16), sharpness)
    readings = found[symptoms.OWN + FEATURES :][: 2 * READERS]
    assert readings.tolist() == pytest.approx([math.log(0.01)] * 6)
