"""Dense optical flow between pictures, on the processor."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import cv2
import numpy as np
import torch
from torch import Tensor

from vrx.networks.embedded.blur import LUMA

LEAST_SIDE = 12  # pixels; in anything smaller the method finds no patch
PATCH_STRIDE = 5  # pixels; patches are of 8
SOFTNESS = 1.0  # pixels
MOST_WORKERS = 8  # pairs that are searched at once
LEAST_THREADS = 3  # of OpenCV, from which on pairs are: with fewer the networks need them


def to_luma(pictures: Tensor) -> Tensor:
    """Luma uint8 [T, H, W] on the processor, of pictures [T, 3, H, W] in 0..1."""
    red, green, blue = pictures.unbind(1)
    luma = torch.add(torch.add(red * LUMA[0], green, alpha=LUMA[1]), blue, alpha=LUMA[2])
    return (luma * 255).round_().clamp_(0, 255).to(torch.uint8).cpu()


class Motion:
    """Dense inverse search (Kroeger et al., 2016), down to full resolution.

    Without its variational refinement: that takes half of the time, and what is restored gains 0.01 dB by it.
    """

    def __init__(self) -> None:
        self._searches: list[cv2.DISOpticalFlow] = []

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
        return torch.from_numpy(np.stack(flows)).permute(0, 3, 1, 2)


def search() -> cv2.DISOpticalFlow:
    """A search with its settings."""
    made = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    made.setFinestScale(0)
    made.setPatchStride(PATCH_STRIDE)
    made.setVariationalRefinementIterations(0)
    return made


def flow(made: cv2.DISOpticalFlow, pair: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """From the second picture of a pair to the first, [H, W, 2]."""
    before, now = pair
    found: np.ndarray = made.calc(now, before, None)  # type: ignore[call-overload]
    return found


def walk(made: cv2.DISOpticalFlow, pairs: list[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
    """Of several pairs, one after the other."""
    return [flow(made, pair) for pair in pairs]


def soften(levels: Tensor) -> Tensor:
    """Pictures uint8 [T, H, W] under a Gaussian of SOFTNESS pixels, in which noise misleads a search less."""
    blurred = [cv2.GaussianBlur(picture, (0, 0), SOFTNESS) for picture in levels.numpy()]
    return torch.from_numpy(np.stack(blurred)) if blurred else levels
