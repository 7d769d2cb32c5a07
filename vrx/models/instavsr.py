"""InstaVSR (arXiv 2603.26134): one step of a pruned diffusion network a frame, over five frames aligned by flow.

The paper states the window of five, the alignment to its middle, finished frames in place of source frames, and one
step.  Its network was not published; `vrx/networks/instavsr` says whose layout stands in.  Ours: two frames of
look-ahead, flow between source frames, finished frames at the size of the result, and what stands in at the ends of a
scene (the enlarged first frame before it, the last frame after it).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vrx.errors import ModelError
from vrx.models.base import AnyStage, CacheUsage, ChunkSchedule, DeviceChunk, RestoredChunk, SceneStart, Stage
from vrx.models.components import Component
from vrx.models.family import BuildRequest, Capabilities, Family
from vrx.models.footprint import Footprint, Linear
from vrx.models.layouts import pad_to_multiple, round_up
from vrx.models.optical_flow import Motion, to_luma
from vrx.models.resizing import crop, resize_notes
from vrx.models.tiling import SPATIAL, Mosaic, Tiles, Tiling
from vrx.networks.color_transfer import adain
from vrx.networks.embedded.recurrent import fetch
from vrx.networks.instavsr.network import AFTER, BEFORE, CELL, SCALE, InstaVsr, enlarge
from vrx.settings import RestoreSettings

NAME = "instavsr"
LARGE = 4096 * 2176  # pixels of output, beyond which frames come one at a time and the small network works in tiles
SCHEDULE = ChunkSchedule(first=2, next=2, ahead=AFTER, large=LARGE)
SMALL_PARAMETERS = 10_000_000  # at most, of a network that runs well on a processor

Window = tuple[Tensor, Tensor, Tensor]  # past, now and future, as the network takes them


@dataclass(frozen=True)
class AlignedChunk:
    """Frames [T, 3, h, w] in -1..1, padded, each with what its window needs.

    `future` [T, 2, 3, h, w]: the two frames after it, moved to it.  `motion` [T, 2, 2, h, w]: from its pixels to their
    content's place in the two frames before it, oldest first, in pixels of the source.
    """

    frames: Tensor
    future: Tensor
    motion: Tensor


@dataclass(frozen=True)
class AlignState:
    """Luma [2, h, w] of the two latest frames; None before the first."""

    latest: Tensor | None = None


class Align(Stage[DeviceChunk, AlignedChunk, AlignState]):
    """Optical flow from each frame to the four around it, between source frames."""

    def __init__(self) -> None:
        self._motion = Motion()

    def start(self, scene: SceneStart) -> AlignState:
        """No frame yet."""
        return AlignState()

    def step(self, chunk: DeviceChunk, state: AlignState) -> tuple[AlignedChunk, AlignState]:
        """Padded frames, those after them moved, and where those before them are."""
        assert chunk.ahead is not None
        count = len(chunk.frames)
        frames = pad_to_multiple(torch.cat([chunk.frames, chunk.ahead]).float(), CELL)
        luma = to_luma(frames)
        luma = torch.cat([luma[:1].expand(BEFORE, -1, -1) if state.latest is None else state.latest, luma])
        pictures = frames * 2 - 1
        motion, future = [], []
        for number in range(count):
            place = number + BEFORE
            flows = [self.flow(luma, place, place + step) for step in (*range(-BEFORE, 0), *range(1, AFTER + 1))]
            before, after = (torch.stack(part).to(frames.device) for part in (flows[:BEFORE], flows[BEFORE:]))
            motion.append(before)
            future.append(fetch(pictures[number + 1 : number + 1 + AFTER], after, 1))
        aligned = AlignedChunk(pictures[:count], torch.stack(future), torch.stack(motion))
        return aligned, AlignState(luma[count : count + BEFORE].clone())

    def flow(self, luma: Tensor, place: int, other: int) -> Tensor:
        """From the frame at a place to another one, [2, h, w]."""
        return self._motion.between(luma[[other, place]])[0]

    def save(self, state: AlignState) -> dict[str, Tensor]:
        """The two latest frames."""
        return {} if state.latest is None else {"latest": state.latest}

    def load(self, scene: SceneStart, tensors: dict[str, Tensor]) -> AlignState:
        """The state that `save` gave."""
        return AlignState(tensors.get("latest"))

    def cache_usage(self, state: AlignState) -> CacheUsage:
        """The two latest frames."""
        return CacheUsage(0 if state.latest is None else state.latest.nbytes)


@dataclass(frozen=True)
class RestoreState:
    """The two latest finished frames [2, 3, 4 h, 4 w] in -1..1, raw, oldest first; None before the first.

    A scene continues in the `tiles` it began with, however much memory is free then.
    """

    scene: SceneStart
    tiles: Tiles | None
    past: Tensor | None = None


class Restore(Stage[AlignedChunk, RestoredChunk, RestoreState]):
    """Frame by frame; what is finished enters the windows of the next two."""

    def __init__(self, network: InstaVsr, tiling: Tiling, scale: int) -> None:
        self._network, self._tiling, self._scale = network, tiling, scale

    def start(self, scene: SceneStart) -> RestoreState:
        """Nothing restored yet."""
        height, width = (SCALE * round_up(side, CELL) for side in scene.source)
        return RestoreState(scene, self._tiling.tiles(height, width))

    def step(self, chunk: AlignedChunk, state: RestoreState) -> tuple[RestoredChunk, RestoreState]:
        """Restored frames [T, 3, s H, s W] in 0..1."""
        past, restored = state.past, []
        notes = resize_notes(NAME, SCALE, self._scale, state.scene) if past is None else ()
        for frame, future, motion in zip(chunk.frames.split(1), chunk.future, chunk.motion, strict=True):
            if past is None:
                past = enlarge(frame).expand(BEFORE, -1, -1, -1)
            picture = self.restore((fetch(past, motion, SCALE)[None], frame, future[None]), state.tiles)
            past = torch.cat([past[1:], picture])
            restored.append(crop(picture, state.scene, SCALE))
        return RestoredChunk(torch.cat(restored), notes), replace(state, past=past)

    def restore(self, window: Window, tiles: Tiles | None) -> Tensor:
        """One aligned window to its finished frame, [1, 3, 4 h, 4 w] in -1..1.

        What is not added to the source gets its colors: mean and deviation of each channel (as AdcSR).
        """
        picture = self._network(*window) if tiles is None else restore_in_tiles(self._network, tiles, window)
        return picture if self._network.config.residual else adain(picture, window[1])

    def save(self, state: RestoreState) -> dict[str, Tensor]:
        """The finished frames, and the side and the stride of tiles, 0 for none."""
        tiles = state.tiles
        found = {"tiles": torch.tensor([tiles.side, tiles.stride] if tiles else [0, 0])}
        return found if state.past is None else {**found, "past": state.past.contiguous()}

    def load(self, scene: SceneStart, tensors: dict[str, Tensor]) -> RestoreState:
        """The state that `save` gave."""
        side, stride = tensors["tiles"].tolist()
        device = self._network.window_in.weight.device
        past = tensors["past"].to(device) if "past" in tensors else None
        return RestoreState(scene, Tiles(side, stride) if side else None, past)

    def cache_usage(self, state: RestoreState) -> CacheUsage:
        """The finished frames."""
        return CacheUsage(0 if state.past is None else state.past.nbytes)


def restore_in_tiles(network: InstaVsr, tiles: Tiles, window: Window) -> Tensor:
    """The network's output, tile after tile; the latents of `Tiles` are squares of two pixels of the source here."""
    height, width = window[1].shape[-2:]
    mosaic = Mosaic((height // CELL, width // CELL), tiles, SPATIAL)
    for place in mosaic.places:
        parts = (mosaic.cut(x, place, scale) for x, scale in zip(window, (SPATIAL, CELL, CELL), strict=True))
        mosaic.add(place, network(*parts))
    return mosaic.result()


class InstaVsrRestorer:
    """The two stages; the network is on its device, in its type."""

    schedule = SCHEDULE

    def __init__(self, network: InstaVsr, tiling: Tiling, scale: int) -> None:
        self.scale = scale
        self.stages: Mapping[str, AnyStage] = {"align": Align(), "restore": Restore(network, tiling, scale)}


@dataclass(frozen=True)
class InstaVsrModel:
    """InstaVSR's network, loaded."""

    network: InstaVsr
    tiling: Tiling

    def restorer(self, restore: RestoreSettings, prompt: str | None = None) -> InstaVsrRestorer:
        """See `LoadedModel`; it takes no prompt."""
        return InstaVsrRestorer(self.network, self.tiling, restore.scale)


def load(request: BuildRequest) -> InstaVsrModel:
    """Load the network.  Raises ModelError, for float16 too: values overflow there (reported of AdcSR's network)."""
    if request.dtype is torch.float16:
        raise ModelError(f"the networks of {NAME} overflow in float16", "Use --dtype bf16 or --dtype fp32")
    network = request.load(NAME, InstaVsr)
    tiling = request.tiling
    if network.config.residual and tiling.untiled is None:
        tiling = replace(tiling, untiled=LARGE)
    return InstaVsrModel(network, tiling)


FAMILY = Family(
    name=NAME,
    capabilities=Capabilities(
        tasks=("upscale",),
        scales=(2, 3, 4),
        schedule=SCHEDULE,
        options={"tile": "the network works in tiles of so many pixels of output"},
        resumes_in_scene=True,
        latent_scale=SPATIAL,
        native_scale=SCALE,
        remarks=(
            f"enlarges by {SCALE}; for 2 and 3 its frames are resized",
            "stated by the paper: five frames aligned by flow, finished ones among them, one step; the layout is that "
            "of AdcSR, a relative, or a small one of vrx's own; how the frames enter is vrx's own choice",
            "not in float16: its values overflow there",
        ),
        footprints=(  # the small one's measured, of a processor; else weights in bf16, and 7 GB at 2048x2048 as stated
            Footprint(Linear(0.2e9, 140), parameters=SMALL_PARAMETERS),
            Footprint(Linear(0.92e9, 1_310)),
        ),
    ),
    components={NAME: Component(network=InstaVsr, files=("instavsr.*",))},
    needs=(NAME,),
    load=load,
)
