"""Large pictures in tiles."""

import pytest
import torch

from vrx.models.base import SceneStart
from vrx.models.embedded import keep_size, tiles
from vrx.models.embedded.checkpoint import load_networks
from vrx.models.embedded.deblur import Plan
from vrx.models.embedded.keep_size import EmbeddedOptions, Encode, EncodedChunk, Generate
from vrx.networks.embedded.classical import gaussian, separable
from vrx.networks.embedded.deconvolution import Recipe
from vrx.networks.embedded.diagnosis import CHROMA_POINTS, POINTS
from vrx.networks.embedded.kernels import DISK, GAUSSIAN
from vrx.networks.embedded.network import SIGMA_UNIT
from vrx.weights.hashes import packaged_path

LEVELS = torch.zeros(1, 3)


def plan_of(kind: int, network: float) -> Plan:
    shares = torch.eye(4, dtype=torch.float64)[kind]
    ratio = torch.full((POINTS,), -2.5).double()
    return Plan(Recipe(shares, 2.0, 0.3, ratio, ratio[:CHROMA_POINTS]), 1.0, network)


@pytest.fixture
def picture() -> torch.Tensor:
    x = torch.rand(1, 3, 52, 90, generator=torch.Generator().manual_seed(2))
    return torch.nn.functional.interpolate(x, scale_factor=8, mode="bicubic").clamp(0, 1)


@pytest.mark.parametrize("length", [1, 63, 64, 65, 200])
def test_tiles_cover_a_side_once(monkeypatch: pytest.MonkeyPatch, length: int) -> None:
    monkeypatch.setattr(tiles, "SIDE", 64)
    monkeypatch.setattr(tiles, "MARGIN", 16)
    covered: list[int] = []
    for seen, own, place in tiles.spans(length):
        covered += range(length)[place]
        assert list(range(length)[seen])[own] == list(range(length)[place])
        assert seen.start == max(0, place.start - 16)
        assert seen.stop == min(length, place.stop + 16)
    assert covered == list(range(length))


@pytest.mark.parametrize("size", [(64, 64), (130, 200), (300, 65)])
def test_tiles_see_the_source_and_not_what_became_of_it(monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]) -> None:
    monkeypatch.setattr(tiles, "SIDE", 64)
    monkeypatch.setattr(tiles, "MARGIN", 16)
    frames = torch.rand(2, 3, *size)

    def smooth(x: torch.Tensor) -> torch.Tensor:
        padded = torch.nn.functional.pad(x, (16,) * 4, mode="replicate")
        return torch.nn.functional.avg_pool2d(padded, 33, 1)

    wanted = smooth(frames)
    found = tiles.in_tiles(frames, smooth)
    assert found is frames
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


def test_margins_keep_the_windows_of_the_network_in_place() -> None:
    assert tiles.SIDE % 64 == 0  # two grid positions of four pixels, windows of eight
    assert tiles.MARGIN % 64 == 0


@pytest.mark.parametrize(("kind", "network"), [(DISK, 0.0), (GAUSSIAN, 1.0), (GAUSSIAN, 0.5)])
def test_tiles_leave_no_seam(monkeypatch: pytest.MonkeyPatch, picture: torch.Tensor, kind: int, network: float) -> None:
    """Within a level of 255 what tiles cut elsewhere give."""
    parts = load_networks(packaged_path("embedded.safetensors"))
    generate, plan = Generate(parts.network), plan_of(kind, network)
    levels = torch.tensor([[2.0 / SIGMA_UNIT, 0, 0]])
    low = separable(picture, gaussian(2.0, 10, picture))
    state, found = generate.start(SceneStart(0, (1, 1), (1, 1))), []
    monkeypatch.setattr(keep_size, "SIDE", 256)
    with torch.inference_mode():
        for side in (256, 384):
            monkeypatch.setattr(tiles, "SIDE", side)
            chunk = EncodedChunk(low.clone(), None, levels, frozenset(), network, plan=plan)
            found.append(generate.step(chunk, state)[0].base)
    assert float((found[0] - low).abs().max()) > 10 / 255
    apart = (found[0] - found[1]).abs()[..., 64:-64, 64:-64]  # borders wrap around at other places
    assert float(apart.max()) < 1 / 255


def test_a_large_frame_is_left_to_the_tiles(monkeypatch: pytest.MonkeyPatch, picture: torch.Tensor) -> None:
    monkeypatch.setattr(tiles, "LARGE", picture[0, 0].numel() - 1)
    encode = Encode(EmbeddedOptions(task="deblur"), None, None, None)  # type: ignore[arg-type]
    encoded = encode.estimate(picture, plan_of(GAUSSIAN, 1.0))
    assert encoded.plan is not None
    assert encoded.grids is None
    assert encoded.base is picture
    unchanged = encode.estimate(picture, Plan(plan_of(GAUSSIAN, 1.0).recipe, 0.0, 0.0))
    assert unchanged.plan is None
    assert unchanged.unchanged


def test_damage_of_a_large_frame_is_read_from_its_middle(
    monkeypatch: pytest.MonkeyPatch, picture: torch.Tensor
) -> None:
    frames = torch.cat([picture, picture.flip(0)])
    assert keep_size.examined_part(frames).shape == (2, 3, 416, 720)
    monkeypatch.setattr(tiles, "LARGE", 1000)
    monkeypatch.setattr(tiles, "EXAMINED", (100, 2000))
    monkeypatch.setattr(keep_size, "middle", lambda x: tiles.middle(x, tiles.EXAMINED))
    seen = keep_size.examined_part(frames)
    assert seen.shape == (2, 3, 100, 720)
    assert torch.equal(seen[0], picture[0, :, 158:258])
