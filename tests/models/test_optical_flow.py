from threading import Barrier, Event

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.models import optical_flow
from vrx.models.optical_flow import LEAST_SIDE, Motion, to_luma


def texture(height: int, width: int) -> Tensor:
    noise = torch.rand(1, 3, height // 3, width // 3, generator=torch.Generator().manual_seed(2))
    return F.interpolate(noise, (height, width), mode="bicubic").clamp(0, 1)


@pytest.mark.parametrize("shift", [(0, 0), (3, -2), (-5, 1)])
def test_a_shift_is_found(shift: tuple[int, int]) -> None:
    picture = texture(90, 120)
    moved = torch.roll(picture, shift, (-2, -1))
    found = Motion().between(to_luma(torch.cat([picture, moved])))
    assert found.shape == (1, 2, 90, 120)
    inner = found[0, :, 12:-12, 12:-12].flatten(1)
    assert inner.median(1).values.tolist() == pytest.approx([-shift[1], -shift[0]], abs=0.1)
    assert (inner - torch.tensor([[-shift[1]], [-shift[0]]])).abs().mean() < 0.3


def test_every_pair_is_looked_at_alone() -> None:
    pictures = to_luma(torch.cat([torch.roll(texture(48, 60), t, -1) for t in range(4)]))
    together = Motion().between(pictures)
    assert len(together) == 3
    for number in range(3):
        assert torch.equal(Motion().between(pictures[number : number + 2])[0], together[number])


def test_one_picture_and_tiny_ones_do_not_move() -> None:
    assert Motion().between(torch.zeros(1, 20, 30, dtype=torch.uint8)).shape == (0, 2, 20, 30)
    for size in ((1, 1), (LEAST_SIDE - 1, 40), (40, LEAST_SIDE - 1)):
        levels = torch.randint(0, 256, (3, *size), dtype=torch.uint8)
        assert Motion().between(levels).shape == (2, 2, *size)
        assert not Motion().between(levels).any()
    for size in ((LEAST_SIDE, LEAST_SIDE), (LEAST_SIDE, 300), (13, 17)):
        levels = torch.randint(0, 256, (2, *size), dtype=torch.uint8)
        assert torch.isfinite(Motion().between(levels)).all()


def test_brightness_has_256_levels() -> None:
    picture = torch.stack([torch.full((3, 2, 2), value) for value in (0.0, 0.5, 1.0, 2.0)])
    assert to_luma(picture)[:, 0, 0].tolist() == [0, 128, 255, 255]


@pytest.mark.parametrize("frames", [2, 3, 9, 12])
def test_pairs_searched_side_by_side_are_those_searched_in_turn(frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    levels = to_luma(torch.cat([torch.roll(texture(48, 60), t, -1) for t in range(frames)]))
    found = {}
    for threads in (1, 4):
        monkeypatch.setattr(cv2, "getNumThreads", lambda threads=threads: threads)
        found[threads] = Motion().between(levels)
    assert torch.equal(found[1], found[4])


@pytest.mark.parametrize("frames", [1, 2, 3, 9])
def test_flows_that_are_begun_are_those_that_are_waited_for(frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "getNumThreads", lambda: 4)
    motion = Motion(beside=True)
    clips = [to_luma(torch.cat([torch.roll(texture(48, 60), t * s, -1) for t in range(frames)])) for s in (1, 2, -3)]
    waiting = [motion.begin(levels) for levels in clips]  # all at once
    for levels, found in zip(clips, waiting, strict=True):
        assert torch.equal(found(), Motion().between(levels))


def test_flows_are_searched_while_others_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "getNumThreads", lambda: 4)
    together, goes_on = Barrier(3, timeout=20), Event()

    def slow(_: object, pair: optical_flow.Pair) -> np.ndarray:
        together.wait()  # three at once, or never
        assert goes_on.wait(20)
        return np.zeros((*pair[0].shape, 2), np.float32)

    monkeypatch.setattr(optical_flow, "flow", slow)
    levels = torch.arange(4, dtype=torch.uint8)[:, None, None].expand(4, 20, 30)
    found = Motion(beside=True).begin(levels)
    goes_on.set()  # the caller has gone on: nothing was found by then
    assert found().shape == (3, 2, 20, 30)


def test_what_fails_in_a_thread_is_raised_where_it_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "getNumThreads", lambda: 4)

    def fails(*_: object) -> None:
        raise RuntimeError("no flow")

    monkeypatch.setattr(optical_flow, "flow", fails)
    found = Motion(beside=True).begin(torch.zeros(2, 20, 30, dtype=torch.uint8))
    with pytest.raises(RuntimeError, match="no flow"):
        found()


@pytest.mark.parametrize(("threads", "searched"), [(3, 3), (64, 8)])
def test_no_more_than_eight_pairs_are_searched_at_once(
    threads: int, searched: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, counts = optical_flow.Threads, list[int]()

    def make(count: int) -> optical_flow.Threads:
        counts.append(count)
        return made(1)

    monkeypatch.setattr(cv2, "getNumThreads", lambda: threads)
    monkeypatch.setattr(optical_flow, "Threads", make)
    Motion(beside=True).begin(torch.zeros(3, 20, 30, dtype=torch.uint8))()
    assert counts == [searched]


@pytest.mark.parametrize(("beside", "threads"), [(False, 8), (True, 2)])
def test_with_few_threads_nothing_is_searched_beside(
    beside: bool, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cv2, "getNumThreads", lambda: threads)
    monkeypatch.setattr(optical_flow, "Threads", None)
    assert Motion(beside).begin(torch.zeros(3, 20, 30, dtype=torch.uint8))().shape == (2, 2, 20, 30)


def test_what_is_expected_is_searched_once_in_both_directions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "getNumThreads", lambda: 4)
    searched, real = list[int](), optical_flow.flow

    def counted(made: cv2.DISOpticalFlow, pair: optical_flow.Pair) -> np.ndarray:
        searched.append(1)
        return real(made, pair)

    monkeypatch.setattr(optical_flow, "flow", counted)
    levels, motion = to_luma(torch.cat([torch.roll(texture(48, 60), t, -1) for t in range(5)])), Motion(beside=True)
    for number in range(4):
        motion.expect(levels[number : number + 2])
    asked = (levels, levels.flip(0), levels[1:3])
    found = [motion.begin(pictures)() for pictures in asked]
    assert len(searched) == 8
    for flow, pictures in zip(found, asked, strict=True):
        assert torch.equal(flow, Motion().between(pictures))


def test_the_latest_48_flows_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "getNumThreads", lambda: 4)
    searched = list[int]()

    def counted(_: object, pair: optical_flow.Pair) -> np.ndarray:
        searched.append(1)
        return np.zeros((*pair[0].shape, 2), np.float32)

    monkeypatch.setattr(optical_flow, "flow", counted)
    levels, motion = torch.arange(50, dtype=torch.uint8)[:, None, None].expand(50, 20, 30), Motion(beside=True)
    for asked, expected in ((levels, 49), (levels[2:], 49), (levels[:3], 51)):
        motion.begin(asked)()
        assert len(searched) == expected


def test_without_threads_nothing_is_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "getNumThreads", lambda: 2)
    monkeypatch.setattr(optical_flow, "Threads", None)
    Motion(beside=True).expect(torch.zeros(3, 20, 30, dtype=torch.uint8))
    monkeypatch.setattr(cv2, "getNumThreads", lambda: 8)
    Motion().expect(torch.zeros(3, 20, 30, dtype=torch.uint8))
    Motion(beside=True).expect(torch.zeros(3, LEAST_SIDE - 1, 30, dtype=torch.uint8))
