import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vrx.networks.cache import FeatureCache, KVCache


def cache_of(window: int, chunk: int, sink_tokens: int = 2) -> KVCache:
    cache = KVCache.allocate((2, 1, 1, 4), window, chunk, sink_tokens, torch.zeros(1))
    cache.keys.fill_(float("nan"))
    cache.values.fill_(float("nan"))
    for layer in range(2):
        cache.set_sink(layer, torch.zeros(1, 1, sink_tokens, 4), torch.zeros(1, 1, sink_tokens, 4))
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


@given(st.integers(0, 9), st.integers(1, 5), st.lists(st.integers(1, 5), min_size=1, max_size=12), st.integers(0, 2))
def test_writes_of_any_size_see_the_window_and_themselves(
    window: int, chunk: int, sizes: list[int], sink_tokens: int
) -> None:
    cache = cache_of(window, chunk, sink_tokens)
    for number, size in enumerate(sizes):
        count = min(size, chunk if number else window + chunk)
        tokens = torch.arange(cache.end, cache.end + count).float()
        new = tokens.view(1, 1, -1, 1).expand(1, 1, count, 4)
        keys, values = cache.write(0, new, new)
        expected = torch.arange(max(0, cache.end - window), cache.end + count).float()
        assert torch.equal(keys[0, 0, sink_tokens:, 0].sort().values, expected)
        assert torch.equal(keys[:, :, sink_tokens:], values[:, :, sink_tokens:])
        cache.advance(count)


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
        cache_of(5, 2).ages()
    cache = cache_of(4, 2)
    for count in (7, 3):
        with pytest.raises(ValueError, match="takes 2 tokens, the first 6"):
            cache.write(0, torch.zeros(1, 1, count, 4), torch.zeros(1, 1, count, 4))
        cache.advance(2)
    with pytest.raises(ValueError, match="saved cache"):
        cache.restore(cache_of(6, 2).tensors())


def test_features_are_those_of_the_frame_before() -> None:
    cache = FeatureCache([torch.zeros(1, 2, 3, 3), torch.zeros(1, 2, 3, 3)])
    first, second = torch.ones(1, 2, 3, 3), torch.full((1, 2, 3, 3), 2.0)
    assert not cache.swap(0, first).any()
    assert not cache.swap(0, first).any()  # a frame that failed half-way is run again
    cache.swap(1, second)
    cache.advance()
    kept, other = cache.copy(), FeatureCache([torch.zeros(1, 2, 3, 3), torch.zeros(1, 2, 3, 3)])
    other.restore(cache.tensors())
    cache.swap(0, second)
    cache.advance()
    for same in (kept, other):
        assert torch.equal(same.swap(0, second), first)
        assert torch.equal(same.swap(1, first), second)
    with pytest.raises(ValueError, match="saved features"):
        other.restore({"features.0": torch.zeros(1, 2, 3, 4), "features.1": second})
