"""Material for cases, made here."""

import random

import numpy as np

from vrx.train.blurred import FRAMES, Clip
from vrx.train.fuzz_cases import Material


class Textures(Material):
    """Pictures as nature has them, their power falling with the square of the frequency, from a seed."""

    def __init__(self) -> None:
        rng = np.random.default_rng(4)
        ring = np.hypot(np.fft.fftfreq(360)[:, None], np.fft.rfftfreq(480)).clip(1 / 256)
        self._pictures = []
        for _ in range(4):
            whole = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(3, 360, 480))) / ring, s=(360, 480))
            shown = 128 + 40 * (whole + 2 * whole.mean(0)) / whole.std()
            self._pictures.append(shown.clip(0, 255).astype(np.uint8).transpose(1, 2, 0).copy())

    def photo(self, rng: random.Random) -> Clip:
        return rng.choice(self._pictures)

    def run(self, rng: random.Random) -> Clip:
        picture = self.photo(rng)
        return np.stack([picture[:240, t : t + 320] for t in range(FRAMES)])
