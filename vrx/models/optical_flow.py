"""Dense optical flow between pictures, on the processor."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from queue import SimpleQueue

import cv2
import numpy as np
import torch
from torch import Tensor

from vrx.networks.embedded.blur import LUMA

LEAST_SIDE = 12  # pixels; in anything smaller the method finds no patch
PATCH_STRIDE = 5  # pixels; patches are of 8
SOFTNESS = 1.0  # pixels
MOST_WORKERS = 8  # pairs that are searched at once
MOST_KEPT = 48  # flows of pairs that are kept for those who ask again, or later: of two blocks of later frames
LEAST_THREADS = 3  # of OpenCV, from which on pairs are: with fewer the networks need them
Pair = tuple[np.ndarray, np.ndarray]
Waiting = Callable[[], Tensor]  # gives a flow once it is found


def to_luma(pictures: Tensor) -> Tensor:
    """Luma uint8 [T, H, W] on the processor, of pictures [T, 3, H, W] in 0..1."""
    red, green, blue = pictures.unbind(1)
    luma = torch.add(torch.add(red * LUMA[0], green, alpha=LUMA[1]), blue, alpha=LUMA[2])
    return (luma * 255).round_().clamp_(0, 255).to(torch.uint8).cpu()


class Motion:
    """Dense inverse search (Kroeger et al., 2016), down to full resolution.

    Without its variational refinement: that takes half of the time, and what is restored gains 0.01 dB by it.
    `beside`: what is begun is searched in threads of its own while the caller goes on, where there are enough.
    """

    def __init__(self, beside: bool = False) -> None:
        self._searches: list[cv2.DISOpticalFlow] = []
        self._beside = beside
        self._threads: Threads | None = None

    @property
    def ahead(self) -> bool:
        """Whether there are threads for what will be asked for later."""
        return self._beside and cv2.getNumThreads() >= LEAST_THREADS

    def begin(self, levels: Tensor) -> Waiting:
        """As `between`, which is waited for when it is asked for."""
        if not self.ahead or len(levels) < 2 or min(levels.shape[1:]) < LEAST_SIDE:
            found = self.between(levels)
            return lambda: found
        waiting = self._begin(levels)
        return lambda: stack([future.result() for future in waiting])

    def expect(self, levels: Tensor) -> None:
        """Have both directions between neighbors of uint8 [T, H, W] searched, as `begin` will be asked for them."""
        if self.ahead and min(levels.shape[1:]) >= LEAST_SIDE:
            self._begin(levels)
            self._begin(levels.flip(0))

    def _begin(self, levels: Tensor) -> list[Future[np.ndarray]]:
        if self._threads is None:
            self._threads = Threads(min(MOST_WORKERS, cv2.getNumThreads()))
        return self._threads.submit(levels.numpy())

    def between(self, levels: Tensor) -> Tensor:
        """From each picture of uint8 [T, H, W] but the first to the one before it: where its content was.

        [T - 1, 2, H, W], x and y in pixels, float32; zero in pictures too small to search.
        """
        count, height, width = levels.shape
        if count < 2 or min(height, width) < LEAST_SIDE:
            return torch.zeros(max(0, count - 1), 2, height, width)
        pairs = list(pairwise(levels.numpy()))
        threads = cv2.getNumThreads()
        workers = min(MOST_WORKERS, threads, len(pairs)) if threads >= LEAST_THREADS else 1
        while len(self._searches) < workers:
            self._searches.append(search())
        if workers == 1:
            flows = [flow(self._searches[0], pair) for pair in pairs]
        else:  # each thread has a search of its own: one holds what it works with
            shares = [pairs[number::workers] for number in range(workers)]
            with ThreadPoolExecutor(workers) as pool:
                found = list(pool.map(walk, self._searches, shares))
            flows = [found[number % workers][number // workers] for number in range(len(pairs))]
        return stack(flows)


class Threads:
    """Threads that search pairs; they end with the object.

    The latest flows are kept: which pictures they are between is told by the pictures' bytes, so that it does not
    matter who asks.
    """

    def __init__(self, count: int) -> None:
        self._pool = ThreadPoolExecutor(count, "flow")
        self._searches: SimpleQueue[cv2.DISOpticalFlow] = SimpleQueue()  # each is for one thread at a time
        self._kept: OrderedDict[tuple[int, ...], Future[np.ndarray]] = OrderedDict()
        for _ in range(count):
            self._searches.put(search())

    def submit(self, pictures: np.ndarray) -> list[Future[np.ndarray]]:
        """The flows from each picture of uint8 [T, H, W] but the first to the one before it."""
        names = pairwise([hash((picture.shape, picture.tobytes())) for picture in pictures])
        return [self._find(name, pair) for name, pair in zip(names, pairwise(pictures), strict=True)]

    def _find(self, name: tuple[int, ...], pair: Pair) -> Future[np.ndarray]:
        found = self._kept.pop(name, None) or self._pool.submit(self._walk, pair)
        self._kept[name] = found  # as the latest
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return found

    def _walk(self, pair: Pair) -> np.ndarray:
        made = self._searches.get()
        try:
            return flow(made, pair)
        finally:
            self._searches.put(made)


def stack(flows: list[np.ndarray]) -> Tensor:
    """Flows [H, W, 2] as [T, 2, H, W]."""
    return torch.from_numpy(np.stack(flows)).permute(0, 3, 1, 2)


def search() -> cv2.DISOpticalFlow:
    """A search with its settings."""
    made = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    made.setFinestScale(0)
    made.setPatchStride(PATCH_STRIDE)
    made.setVariationalRefinementIterations(0)
    return made


def flow(made: cv2.DISOpticalFlow, pair: Pair) -> np.ndarray:
    """From the second picture of a pair to the first, [H, W, 2]."""
    before, now = pair
    found: np.ndarray = made.calc(now, before, None)  # type: ignore[call-overload]
    return found


def walk(made: cv2.DISOpticalFlow, pairs: list[Pair]) -> list[np.ndarray]:
    """Of several pairs, one after the other."""
    return [flow(made, pair) for pair in pairs]


def soften(levels: Tensor) -> Tensor:
    """Pictures uint8 [T, H, W] under a Gaussian of SOFTNESS pixels, in which noise misleads a search less."""
    blurred = [cv2.GaussianBlur(picture, (0, 0), SOFTNESS) for picture in levels.numpy()]
    return torch.from_numpy(np.stack(blurred)) if blurred else levels
