"""Training clips made during training: drawn and damaged on the device, motion found on the processor.

A `Maker` makes `Clips` for a scale; `Feed` does so in a thread of its own.  Knows stacks of pictures; does not
know networks, losses or files.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import Queue

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.models.optical_flow import Motion, to_luma
from vrx.networks.embedded.degradation import NOISE_UNIT
from vrx.networks.embedded.recurrent import PIXELS
from vrx.train import degrade, spoil
from vrx.train.synthesis import Photographs, uniform, vary

GRID = 80  # positions a side of a prepared clip; what is learnt from is cut out of it
DRAWN, FOOTAGE = 0.5, 0.33  # shares of clips from photographs, from footage; the others: footage as an encoder left it
KINDS = {"clean": 0.5, "noise": 0.18, "tape": 0.04, "codec": 0.15, "noisy codec": 0.07, "web": 0.06}
DAMAGES = (*KINDS, "stills")  # every frame coded by itself, as by JPEG
MOST_NOISE = 1.1  # of NOISE_UNIT
QP = (19.0, 40.0)
AREA_SHARE = 0.12  # of batches, shrunk by averaging instead of bicubic
SOFT_SIGMA = (0.8, 3.0)  # pixels of the truth, of what is blurred before it is shrunk
FAILURES = 20  # after which no more clips are made
STRIDE_SHARE = 0.2  # of footage, every second frame


@dataclass(frozen=True)
class Recipe:
    """What befalls the clips: shares of kinds of damage, and of those that are blurred before they are shrunk."""

    kinds: Mapping[str, float]
    soft: float = 0.0


ENLARGING = Recipe(KINDS)


@dataclass(frozen=True)
class Clips:
    """Prepared clips of one scale on the device.

    `truth` uint8 [N, T, 3, s p G, s p G]; `low` uint8 [N, T, 3, p G, p G]; `motion` half [N, 2, T, 2, G, G], in
    positions, from each frame to the one before (0 for the first) and to the one after (0 for the last);
    `levels` [N, 3].
    """

    scale: int
    truth: Tensor
    low: Tensor
    motion: Tensor
    levels: Tensor


@dataclass(frozen=True)
class Copy:
    """A footage's frames as an encoder left them, uint8 [T, 3, H / s, W / s], and how strongly it compressed."""

    frames: Tensor
    strength: float

    def to(self, device: torch.device) -> Copy:
        """The same on a device."""
        return Copy(self.frames.to(device), self.strength)


@dataclass(frozen=True)
class Footage:
    """Frames uint8 [T, 3, H, W], `run` of them at a time without a gap, and their coded copies by scale."""

    frames: Tensor
    run: int
    copies: dict[int, list[Copy]]

    def to(self, device: torch.device) -> Footage:
        """The same on a device."""
        copies = {scale: [copy.to(device) for copy in found] for scale, found in self.copies.items()}
        return Footage(self.frames.to(device), self.run, copies)

    def start(self, rng: random.Random, span: int) -> int:
        """Where `span` frames begin that lie in one run."""
        runs = max(1, len(self.frames) // self.run)
        length = min(self.run, len(self.frames))
        return rng.randrange(runs) * self.run + rng.randint(0, max(0, length - span))


_search = threading.local()


def search(levels: np.ndarray) -> np.ndarray:
    """Motion of one clip uint8 [T, G, G]: to the frame before and after, [2, T, 2, G, G]."""
    if not hasattr(_search, "motion"):
        cv2.setNumThreads(1)
        _search.motion = Motion()
    pictures = torch.from_numpy(levels)
    before = _search.motion.between(pictures)
    after = _search.motion.between(pictures.flip(0)).flip(0)
    none = before.new_zeros(1, *before.shape[1:])
    found = torch.stack([torch.cat([none, before]), torch.cat([after, none])])
    return found.nan_to_num(0, 0, 0).numpy().astype(np.float16)


def motion_of(low: Tensor, pixels: int, workers: ThreadPoolExecutor) -> Tensor:
    """Motion half [N, 2, T, 2, G, G] of pictures [N, T, 3, p G, p G] in 0..1, on their device."""
    flat = low.flatten(0, 1)
    small = F.avg_pool2d(flat, pixels) if pixels > 1 else flat
    levels = to_luma(small).view(*low.shape[:2], *small.shape[-2:]).numpy()
    return torch.from_numpy(np.stack(list(workers.map(search, levels)))).to(low.device)


class Maker:
    """Makes clips from photographs and footage on one device."""

    def __init__(
        self, photographs: Photographs, footage: list[Footage], frames: int, workers: int, recipe: Recipe = ENLARGING
    ) -> None:
        self._photographs, self._footage, self._frames, self._recipe = photographs, footage, frames, recipe
        self._rng = random.Random(torch.initial_seed() % 2**31)
        self._workers = ThreadPoolExecutor(workers)

    def close(self) -> None:
        """End the threads."""
        self._workers.shutdown()

    @torch.no_grad()
    def make(self, scale: int, count: int) -> Clips:
        """`count` clips."""
        coded = [self._coded(scale) for _ in range(self._share(count, 1 - DRAWN - FOOTAGE))]
        pairs = [pair for pair in coded if pair is not None]
        truth, low, levels = self._spoiled(scale, count - len(pairs))
        if pairs:
            truth = torch.cat([truth, torch.stack([p[0] for p in pairs])])
            low = torch.cat([low, torch.stack([p[1] for p in pairs])])
            levels = torch.cat([levels, torch.stack([p[2] for p in pairs])])
        motion = motion_of(low.float() / 255, PIXELS[scale], self._workers)
        return Clips(scale, truth, low, motion, levels)

    def _share(self, count: int, share: float) -> int:
        """How many of `count` clips are of a kind; at least one is drawn from photographs."""
        found = sum(self._rng.random() < share for _ in range(count)) if self._footage else 0
        return min(found, count - 1)

    def _frames_of(self, footage: Footage) -> slice:
        stride = 2 if self._rng.random() < STRIDE_SHARE and footage.run >= 2 * self._frames else 1
        start = footage.start(self._rng, self._frames * stride)
        return slice(start, start + self._frames * stride, stride)

    def _coded(self, scale: int) -> tuple[Tensor, Tensor, Tensor] | None:
        """Truth, picture and conditions of footage as an encoder left it; None where there is none that fits."""
        footage = self._rng.choice(self._footage)
        side = GRID * PIXELS[scale]
        copies = [c for c in footage.copies.get(scale, []) if min(c.frames.shape[-2:]) >= side]
        if not copies:
            return None
        copy, when = self._rng.choice(copies), self._frames_of(footage)
        if len(copy.frames[when]) < self._frames:
            return None
        top, left = (self._rng.randint(0, (extent - side) // 2) * 2 for extent in copy.frames.shape[-2:])
        low = copy.frames[when, :, top : top + side, left : left + side]
        span = side * scale
        truth = footage.frames[when, :, top * scale : top * scale + span, left * scale : left * scale + span]
        levels = torch.tensor([0.0, copy.strength, 0.0], device=low.device)
        return truth, low, levels

    def _natural(self, side: int) -> Tensor | None:
        footage = self._rng.choice(self._footage)
        when = self._frames_of(footage)
        frames = footage.frames[when]
        least = min(frames.shape[-2:])
        if least < side or len(frames) < self._frames:
            return None
        span = self._rng.randint(side, min(least, round(side * 1.6))) if self._rng.random() < 0.5 else side
        top, left = (self._rng.randint(0, extent - span) for extent in frames.shape[-2:])
        crop = frames[..., top : top + span, left : left + span].float() / 255
        if span > side:
            crop = F.interpolate(crop, (side, side), mode="bicubic", antialias=True).clamp(0, 1)
        return crop

    def _spoiled(self, scale: int, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Truth and damaged pictures as uint8, and their conditions."""
        side = GRID * PIXELS[scale] * scale
        natural = [self._natural(side) for _ in range(self._share(count, FOOTAGE / (DRAWN + FOOTAGE)))]
        found = [clip for clip in natural if clip is not None]
        clips = self._photographs.draw(count - len(found), self._frames, side)
        clips = vary(torch.cat([clips, torch.stack(found)]) if found else clips)
        truth = (clips * 255).round().to(torch.uint8)
        flat = self._soften(truth).flatten(0, 1).float() / 255
        if self._rng.random() < AREA_SHARE:
            low = F.avg_pool2d(flat, scale)
        else:
            low = F.interpolate(flat, [GRID * PIXELS[scale]] * 2, mode="bicubic", antialias=True).clamp(0, 1)
        low, levels = self._damage(low.view(count, self._frames, *low.shape[1:]), PIXELS[scale])
        return truth, (low.clamp(0, 1) * 255).round().to(torch.uint8), levels

    def _soften(self, truth: Tensor) -> Tensor:
        """Clips uint8 [N, T, 3, S, S], some of them blurred."""
        if not (soft := [i for i in range(len(truth)) if self._rng.random() < self._recipe.soft]):
            return truth
        blurred = degrade.gaussian_blur(truth[soft].flatten(0, 1).float(), self._rng.uniform(*SOFT_SIGMA))
        softened = truth.clone()
        softened[soft] = blurred.round().clamp(0, 255).to(torch.uint8).view_as(truth[soft])
        return softened

    def _damage(self, low: Tensor, pixels: int) -> tuple[Tensor, Tensor]:
        """Pictures [N, T, 3, h, w], each clip after a kind of damage drawn for it, and the conditions [N, 3]."""
        count, device = len(low), low.device
        shares = self._recipe.kinds
        kinds = self._rng.choices(list(shares), list(shares.values()), k=count)
        levels = torch.zeros(count, 3, device=device)
        low = low.clone()
        which = {kind: [i for i, k in enumerate(kinds) if k == kind] for kind in DAMAGES}
        if noisy := which["noise"] + which["noisy codec"]:
            noise = uniform(len(noisy), 0.03, MOST_NOISE, device)
            low[noisy] = spoil.add_noise(low[noisy], noise * NOISE_UNIT)
            levels[noisy, 0] = noise
        if taped := which["tape"]:
            noise = uniform(len(taped), 0.2, MOST_NOISE, device)
            low[taped] = spoil.tape(low[taped], noise * NOISE_UNIT)
            levels[taped, 0] = noise
        if web := which["web"]:
            factor = self._rng.choice((1.5, 2.0))
            low[web] = spoil.resized(low[web], factor)
            levels[web, 2] = factor - 1
        if coded := which["codec"] + which["noisy codec"] + which["web"]:
            clips = low[coded].clamp(0, 1)
            found = motion_of(clips, pixels, self._workers)[:, 0].float()
            if pixels > 1:
                found = F.interpolate(found.flatten(0, 1), scale_factor=pixels, mode="bilinear") * pixels
                found = found.view(*clips.shape[:2], *found.shape[1:])
            qp = uniform(len(coded), *QP, device)
            low[coded] = spoil.coded(clips, found, qp, self._rng.random() < 0.65)
            levels[coded, 1] = spoil.strength_of(qp)
        if stills := which["stills"]:
            frames = low[stills].flatten(0, 1).clamp(0, 1)[:, None]
            qp = uniform(len(stills), *QP, device)
            none = frames.new_zeros(len(frames), 1, 2, *frames.shape[-2:])
            alone = spoil.coded(frames, none, qp.repeat_interleave(low.shape[1]), False)
            low[stills] = alone.view_as(low[stills])
            levels[stills, 1] = spoil.strength_of(qp)
        return low, levels


class Feed:
    """Makes clips in a thread of its own, a few batches ahead."""

    def __init__(self, maker: Maker, shares: dict[int, float], count: int, device: torch.device) -> None:
        self._maker, self._shares, self._count, self._device = maker, shares, count, device
        self.ready: Queue[Clips] = Queue(maxsize=3)
        self.error: Exception | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        rng, failures = random.Random(1), 0
        if self._device.type == "cuda":
            torch.cuda.set_stream(torch.cuda.Stream(self._device))  # type: ignore[no-untyped-call]
        while not self._stop.is_set() and failures < FAILURES:
            scale = rng.choices(list(self._shares), list(self._shares.values()))[0]
            try:
                clips = self._maker.make(scale, self._count)
                if self._device.type == "cuda":
                    torch.cuda.current_stream(self._device).synchronize()
            except Exception as error:  # noqa: BLE001  # the next may do; reported by whoever takes clips
                self.error, failures = error, failures + 1
                continue
            self.ready.put(clips)

    def take(self, wait: bool) -> Clips | None:
        """Clips that are ready; None where there are none and nobody waits.  RuntimeError if none will come."""
        while self.ready.empty() and wait:
            if not self._thread.is_alive():
                raise RuntimeError("clips could not be made") from self.error
            self._stop.wait(0.01)
        if self.ready.empty():
            return None
        clips = self.ready.get()
        if clips.truth.is_cuda:
            for tensor in (clips.truth, clips.low, clips.motion, clips.levels):
                tensor.record_stream(torch.cuda.current_stream(self._device))
        return clips

    def close(self) -> None:
        """End the thread and the maker's."""
        self._stop.set()
        while not self.ready.empty():
            self.ready.get()
        self._thread.join(10)
        self._maker.close()


class Pool:
    """The clips of one scale that are drawn from, the oldest replaced first."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._next = 0
        self.filled = 0
        self.clips: Clips | None = None

    def add(self, clips: Clips) -> None:
        """Put clips where the oldest are."""
        if self.clips is None:
            empty = [t.new_empty(self.size, *t.shape[1:]) for t in (clips.truth, clips.low, clips.motion, clips.levels)]
            self.clips = Clips(clips.scale, *empty)
        index = [(self._next + i) % self.size for i in range(len(clips.truth))]
        for name in ("truth", "low", "motion", "levels"):
            target, source = getattr(self.clips, name), getattr(clips, name)
            for place, value in zip(index, source, strict=True):
                target[place].copy_(value)
        self._next = (self._next + len(index)) % self.size
        self.filled = min(self.size, self.filled + len(index))
