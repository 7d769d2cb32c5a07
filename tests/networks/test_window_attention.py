"""Windows at borders, and every way of attending in them against a mask of all tokens."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.networks import window_attention as module
from vrx.networks.fusion import Failure, take_failures
from vrx.networks.window_attention import Window, Windows, attend, attend_blocks, attend_flex

CUT, INWARD = Window(4, 6), Window(4, 6, inward=True)


def test_a_window_is_cut_at_the_border_or_moved_inward() -> None:
    rows, columns = CUT.spans((6, 9))
    assert rows == [(0, 2), (0, 3), (0, 4), (1, 5), (2, 6), (3, 6)]  # two before to one after
    assert columns[0] == (0, 3)
    assert columns[8] == (5, 9)
    rows, columns = INWARD.spans((6, 9))
    assert rows == [(0, 4), (0, 4), (0, 4), (1, 5), (2, 6), (2, 6)]
    assert columns[8] == (3, 9)
    assert Window(5, 5).spans((9, 9))[0][4] == (2, 7)
    assert Window(5, 5, inward=True).spans((3, 3))[0] == [(0, 3)] * 3


def test_which_windows_cover_a_grid() -> None:
    assert Window(6, 9, inward=True).covers((6, 9))
    assert not Window(6, 8, inward=True).covers((6, 9))
    assert Window(12, 18).covers((6, 9))
    assert not Window(11, 18).covers((6, 10))
    assert not Window(6, 9).covers((6, 9))


def masked(q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int], windows: Windows) -> Tensor:
    """Under one mask of all queries and keys, straight from the definition."""
    place = torch.cartesian_prod(torch.arange(grid[0]), torch.arange(grid[1]))
    frames = []
    for window in windows:
        rows, columns = (torch.tensor(spans) for spans in window.spans(grid))
        bounds = torch.cat([rows[place[:, 0]], columns[place[:, 1]]], 1)[:, None]
        row, column = place[None, :, 0], place[None, :, 1]
        inside = (row >= bounds[..., 0]) & (row < bounds[..., 1])
        frames.append(inside & (column >= bounds[..., 2]) & (column < bounds[..., 3]))
    mask = torch.cat(frames, 1).repeat(q.shape[2] // len(place), 1)
    group = q.shape[1] // k.shape[1]
    k, v = (x.repeat_interleave(group, 1) for x in (k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


CASES = [
    ((9, 17), (INWARD,), 1),
    ((20, 33), (CUT, Window(10, 4), CUT), 1),
    ((17, 20), (INWARD, INWARD), 2),
    ((3, 40), (Window(40, 40), CUT), 2),
    ((1, 5), (Window(2, 2),), 1),
    ((8, 32), (Window(20, 20), Window(20, 70)), 1),
]


def tensors(grid: tuple[int, int], frames: int, keys: int, device: str = "cpu") -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    size = grid[0] * grid[1]
    shapes = ((1, 4, frames * size, 16), (1, 2, keys * size, 16), (1, 2, keys * size, 16))
    q, k, v = (torch.randn(shape, generator=generator).to(device) for shape in shapes)
    return q, k, v


@pytest.mark.filterwarnings("ignore::UserWarning")  # FlexAttention is slow where it is not compiled
@pytest.mark.parametrize("way", [attend, attend_blocks, attend_flex])
@pytest.mark.parametrize(("grid", "windows", "frames"), CASES)
def test_every_way_is_attention_under_a_mask(
    way: Callable[..., Tensor], grid: tuple[int, int], windows: Windows, frames: int
) -> None:
    q, k, v = tensors(grid, frames, len(windows))
    torch.testing.assert_close(way(q, k, v, grid, windows), masked(q, k, v, grid, windows), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("grid", "windows", "frames"), CASES)
def test_blocks_that_see_some_or_every_key_are_those_of_the_mask(
    grid: tuple[int, int], windows: Windows, frames: int
) -> None:
    tokens = module.TiledTokens.of(grid)
    bounds = module.token_bounds(tokens, grid, windows)
    some, every = module.seen_blocks(tokens, bounds)
    rows, columns = tokens.rows, tokens.columns
    for block in range(len(some)):
        part = slice(block * module.TOKENS, (block + 1) * module.TOKENS)
        for frame in range(len(windows)):
            top, bottom, left, right = (bound[frame, part][:, None] for bound in bounds)
            seen = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
            blocks = seen.unflatten(1, (-1, module.TOKENS))
            here = slice(frame * blocks.shape[1], (frame + 1) * blocks.shape[1])
            assert some[block, here].tolist() == blocks.any(2).any(0).tolist()
            assert every[block, here].tolist() == blocks.all(2).all(0).tolist()
    assert bool(every.any()) == (grid == (8, 32))


@pytest.mark.cuda
@pytest.mark.parametrize(("grid", "windows", "frames"), CASES)
def test_on_a_gpu_it_is_the_same(grid: tuple[int, int], windows: Windows, frames: int) -> None:
    q, k, v = tensors(grid, frames, len(windows), "cuda")
    expected = masked(q.cpu(), k.cpu(), v.cpu(), grid, windows)
    torch.testing.assert_close(attend(q, k, v, grid, windows).cpu(), expected, atol=2e-3, rtol=0)
    assert not module.on_gpu.fails


def test_a_failure_to_compile_is_told_once_and_leaves_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no compiler")

    monkeypatch.setattr(module, "attend_flex", fail)
    grid, windows = (9, 17), (INWARD,)
    q, k, v = tensors(grid, 1, 1)
    on_gpu = module.Compiled()
    take_failures()
    for _ in range(2):
        assert torch.equal(on_gpu(q, k, v, grid, windows), attend_blocks(q, k, v, grid, windows))
    text = "window attention runs block by block: RuntimeError: no compiler"
    assert take_failures() == [Failure("not-compiled", text)]

    def exhaust(*_: object) -> None:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(module, "attend_flex", exhaust)
    with pytest.raises(torch.OutOfMemoryError):
        module.Compiled()(q, k, v, grid, windows)
