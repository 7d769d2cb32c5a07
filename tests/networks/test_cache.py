from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vrx.networks.cache import FeatureCache, KVCache, Rolling, WindowCache, allocate_rolling


def cache_of(window: int, chunk: int, sink_tokens: int = 2) -> KVCache:
    cache = KVCache.allocate((2, 1, 1, 4), window, chunk, sink_tokens, torch.zeros(1))
    cache.keys.fill_(float("nan"))
    cache.values.fill_(float("nan"))
    for layer in range(2):
        cache.set_sink(layer, torch.zeros(1, 1, sink_tokens, 4), torch.zeros(1, 1, sink_tokens, 4))
    return cache


def window_of(window: int, chunk: int) -> WindowCache:
    cache = WindowCache.allocate((2, 1, 1, 4), window, chunk, torch.zeros(1))
    cache.states.fill_(float("nan"))
    cache.desk.fill_(float("nan"))
    return cache


def caches(window: int, chunk: int, sink_tokens: int) -> list[tuple[Rolling, int]]:
    """A cache of either kind, and how many tokens come before those of the window."""
    return [(cache_of(window, chunk, sink_tokens), sink_tokens), (window_of(window, chunk), 0)]


@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize(("window", "chunk"), [(6, 3), (4, 2), (0, 2), (8, 1)])
@pytest.mark.parametrize("writes", [1, 2, 3, 4, 9])
def test_a_write_sees_the_window_and_itself_and_never_an_empty_slot(
    window: int, chunk: int, writes: int, kind: int
) -> None:
    cache, sink_tokens = caches(window, chunk, 2)[kind]
    for number in range(writes):
        tokens = torch.arange(number * chunk, (number + 1) * chunk).float()
        ages = cache.ages()
        keys, _ = cache.write(1, tokens.view(1, 1, -1, 1).expand(1, 1, chunk, 4), torch.zeros(1, 1, chunk, 4))
        cache.advance(chunk)
        seen = keys[0, 0, sink_tokens:, 0]
        expected = torch.arange(max(0, number * chunk - window), (number + 1) * chunk).float()
        assert torch.equal(seen.sort().values, expected)
        by_age = [(number - age) * chunk for age in ages]
        assert torch.equal(seen[::chunk], torch.tensor(by_age).float())


@given(st.integers(0, 9), st.integers(1, 5), st.lists(st.integers(1, 5), min_size=1, max_size=12), st.integers(0, 2))
def test_writes_of_any_size_see_the_window_and_themselves(
    window: int, chunk: int, sizes: list[int], sink_tokens: int
) -> None:
    for cache, skipped in caches(window, chunk, sink_tokens):
        for number, size in enumerate(sizes):
            count = min(size, chunk if number else window + chunk)
            tokens = torch.arange(cache.end, cache.end + count).float()
            new = tokens.view(1, 1, -1, 1).expand(1, 1, count, 4)
            keys, values = cache.write(0, new, -new)
            expected = torch.arange(max(0, cache.end - window), cache.end + count).float()
            assert torch.equal(keys[0, 0, skipped:, 0].sort().values, expected)
            assert torch.equal(keys[:, :, skipped:], -values[:, :, skipped:])
            cache.advance(count)


def test_a_window_alone_takes_half_of_a_ring_as_long_as_its_chunk_and_layers_do_not_mix() -> None:
    shape = 30, 1, 2, 4
    cache = WindowCache.allocate(shape, 6, 6, torch.zeros(1))
    ring = KVCache.allocate(shape, 6, 6, 0, torch.zeros(1))
    assert cache.nbytes == ring.nbytes * (0.5 + 1 / 30)
    assert [cache.window, cache.chunk, cache.full] == [6, 6, False]
    for number in range(2):
        for layer in range(30):
            tokens = torch.full((1, 2, 6, 4), 100.0 * number + layer)
            seen = [x.unique().tolist() for x in cache.write(layer, tokens, -tokens)]
        cache.advance(6)
        assert seen == [[29.0], [-29.0]] if number == 0 else seen == [[29.0, 129.0], [-129.0, -29.0]]
    assert cache.full


@pytest.mark.parametrize(("window", "kind"), [(0, WindowCache), (6, WindowCache), (7, KVCache)])
def test_a_window_of_more_than_three_chunks_is_a_ring(window: int, kind: type) -> None:
    assert isinstance(allocate_rolling((2, 1, 1, 4), window, 2, torch.zeros(1)), kind)


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


@pytest.mark.parametrize("writes", [0, 1, 5])
def test_a_saved_window_goes_on_alike_and_its_file_has_nothing_of_empty_slots(writes: int) -> None:
    cache, other = window_of(4, 2), window_of(4, 2)
    for number in range(writes):
        for layer in range(2):
            cache.write(layer, torch.full((1, 1, 2, 4), float(number)), torch.zeros(1, 1, 2, 4))
        cache.advance(2)
    saved = cache.tensors()
    assert all(bool(part.isfinite().all()) for part in saved.values())
    other.restore(saved)
    assert cache.to(torch.device("cpu")) is cache
    assert other.to(torch.device("meta")).states.is_meta
    tokens = torch.full((1, 1, 2, 4), 9.0)
    for mine, theirs in zip(cache.write(0, tokens, tokens), other.write(0, tokens, tokens), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("make", [cache_of, window_of])
def test_sizes_that_do_not_fit_are_refused(make: Callable[[int, int], Rolling]) -> None:
    with pytest.raises(ValueError, match="not a multiple"):
        make(5, 2).ages()
    cache = make(4, 2)
    for count in (7, 3):
        with pytest.raises(ValueError, match="takes 2 tokens, the first 6"):
            cache.write(0, torch.zeros(1, 1, count, 4), torch.zeros(1, 1, count, 4))
        cache.advance(2)
    with pytest.raises(ValueError, match="saved cache"):
        cache.restore(make(6, 2).tensors())


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
