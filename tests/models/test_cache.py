import pytest
import torch

from vrx.models.cache import KVCache


def cache_of(window: int, chunk: int, anchors: int = 2) -> KVCache:
    cache = KVCache.allocate((2, 1, 1, 4), window, chunk, anchors, torch.zeros(1))
    cache.keys.fill_(float("nan"))
    cache.values.fill_(float("nan"))
    for layer in range(2):
        cache.pin(layer, torch.zeros(1, 1, anchors, 4), torch.zeros(1, 1, anchors, 4))
    return cache


@pytest.mark.parametrize(("window", "chunk"), [(6, 3), (4, 2), (0, 2), (8, 1)])
@pytest.mark.parametrize("writes", [1, 2, 3, 4, 9])
def test_a_write_sees_the_window_and_itself_and_never_an_empty_slot(window: int, chunk: int, writes: int) -> None:
    cache = cache_of(window, chunk)
    for number in range(writes):
        tokens = torch.arange(number * chunk, (number + 1) * chunk).float()
        ages = cache.ages()
        keys, _ = cache.write(1, tokens.view(1, 1, -1, 1).expand(1, 1, chunk, 4), torch.zeros(1, 1, chunk, 4))
        cache.advance(chunk)
        seen = keys[0, 0, 2:, 0]
        expected = torch.arange(max(0, number * chunk - window), (number + 1) * chunk).float()
        assert torch.equal(seen.sort().values, expected)
        by_age = [(number - age) * chunk for age in ages]
        assert torch.equal(seen[::chunk], torch.tensor(by_age).float())


def test_nothing_counts_before_advance() -> None:
    cache = cache_of(4, 2)
    first, _ = cache.write(0, torch.ones(1, 1, 2, 4), torch.ones(1, 1, 2, 4))
    again, _ = cache.write(0, torch.full((1, 1, 2, 4), 5.0), torch.ones(1, 1, 2, 4))
    assert cache.end == 0
    assert first.shape == again.shape
    assert float(again[0, 0, 2, 0]) == 5.0


def test_a_copy_is_independent_and_a_saved_cache_goes_on_alike() -> None:
    cache = cache_of(4, 2)
    for number in range(5):
        for layer in range(2):
            cache.write(layer, torch.full((1, 1, 2, 4), float(number)), torch.zeros(1, 1, 2, 4))
        cache.advance(2)
    kept, other = cache.copy(), cache_of(4, 2)
    other.restore(cache.tensors())
    cache.keys.zero_()
    tokens = torch.full((1, 1, 2, 4), 9.0)
    assert torch.equal(kept.write(0, tokens, tokens)[0], other.write(0, tokens, tokens)[0])


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="not a multiple"):
        KVCache.allocate((1, 1, 1, 4), 5, 2, 0, torch.zeros(1))
    cache = cache_of(4, 2)
    with pytest.raises(ValueError, match="takes 2 tokens"):
        cache.write(0, torch.zeros(1, 1, 3, 4), torch.zeros(1, 1, 3, 4))
    with pytest.raises(ValueError, match="saved cache"):
        cache.restore(cache_of(6, 2).tensors())
