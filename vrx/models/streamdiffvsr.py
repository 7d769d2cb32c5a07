"""Stream-DiffVSR (arXiv 2512.23709): four-step diffusion for enlarging by 4, one frame at a time, nothing ahead.

The frame before, restored and moved by optical flow, leads the UNet through a ControlNet and enters the decoder.
Latents have the grid of the source.  UNet, ControlNet and scheduler are diffusers', the optical flow torchvision's, the
text encoder transformers'; warp and autoencoder are in `vrx/networks/diffvsr`.

In half precision run the UNet, the ControlNet and the autoencoder, whose sums are long and which take nearly all the
time.  Float32 stay: the flow and the warp, as a position beyond 256 has no fraction in bf16; the latent between two
steps, as a step is a difference of close numbers; and the output, which is the next frame's input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vrx.environment import Environment
from vrx.models.base import AnyStage, ChunkSchedule, DeviceChunk, RestoredChunk, SceneStart, Stage
from vrx.models.components import Component, Components, align_weights, config_errors
from vrx.models.family import BuildRequest, Capabilities, Family
from vrx.models.footprint import Curve, Footprint
from vrx.models.layouts import round_up
from vrx.models.noise import scene_generator
from vrx.models.resizing import crop, resize_notes
from vrx.networks.diffvsr.autoencoder import SPATIAL, TemporalAutoencoder
from vrx.networks.diffvsr.raft import LEAST_SIDE, STRIDE, Raft, pair_bytes, volume_bytes
from vrx.networks.diffvsr.schedule import PUBLISHED, Schedule
from vrx.networks.diffvsr.text import ROOT, TextEncoder
from vrx.networks.diffvsr.unet import ControlNet, Unet
from vrx.networks.diffvsr.warp import warp
from vrx.settings import RestoreSettings
from vrx.weights import prompts

NAME = "stream-diffvsr"
SCALE = SPATIAL  # a latent for each pixel of the source
STEPS = 4  # as many as the UNet was distilled to
LATENT_CHANNELS = 4
PIXEL_MULTIPLE = 4  # of the source's sides: the decoder fuses frames in squares of so many latents
LEAST_SOURCE = LEAST_SIDE // SCALE  # pixels a side, for the optical flow
LARGEST_FLOW = 1920 * 1088  # pixels of a result whose flow is found at full size, as published
FLOW_BYTES = 2e9  # that the flow's products of all pairs take at most beyond
SCHEDULE = ChunkSchedule(first=1, next=1)


@dataclass(frozen=True)
class MotionChunk:
    """Frames [T, 3, h, w] in -1..1, padded, and for each where its content was in the one before.

    Flows are [1, 2, 4 h, 4 w] in pixels of the result; None for a scene's first frame.
    """

    frames: Tensor
    flows: tuple[Tensor | None, ...]


@dataclass(frozen=True)
class MotionState:
    """The latest frame [1, 3, h, w], padded; None before the first."""

    previous: Tensor | None = None


class EstimateMotion(Stage[DeviceChunk, MotionChunk, MotionState]):
    """Optical flow from each frame to the one before it, between bicubic enlargements."""

    def __init__(self, network: Raft) -> None:
        self._network = network

    def start(self, scene: SceneStart) -> MotionState:
        """No frame yet."""
        return MotionState()

    def step(self, chunk: DeviceChunk, state: MotionState) -> tuple[MotionChunk, MotionState]:
        """Padded frames and their flows."""
        frames = pad_frames(chunk.frames.float()) * 2 - 1
        before = [state.previous, *frames.split(1)[:-1]]
        flows = [
            None if previous is None else self.flow(frame, previous)
            for frame, previous in zip(frames.split(1), before, strict=True)
        ]
        return MotionChunk(frames, tuple(flows)), MotionState(frames[-1:])

    def flow(self, frame: Tensor, previous: Tensor) -> Tensor:
        """Between two frames [1, 3, h, w], in pixels of the result."""
        height, width = (SCALE * side for side in frame.shape[-2:])
        size = flow_size(height, width)
        current, before = (F.interpolate(x, size, mode="bicubic") for x in (frame, previous))
        found = self._network.flow(current, before)
        if size == (height, width):
            return found
        ratio = found.new_tensor([width / size[1], height / size[0]]).view(1, 2, 1, 1)
        return F.interpolate(found, (height, width), mode="bilinear") * ratio

    def save(self, state: MotionState) -> dict[str, Tensor]:
        """The latest frame."""
        return {} if state.previous is None else {"previous": state.previous.contiguous()}

    def load(self, scene: SceneStart, tensors: dict[str, Tensor]) -> MotionState:
        """The state that `save` gave."""
        return MotionState(tensors["previous"].to(self._network.device)) if "previous" in tensors else MotionState()


def pad_frames(frames: Tensor) -> Tensor:
    """Frames [T, 3, h, w] with their last row and column repeated up to sides that all networks take."""
    height, width = frames.shape[-2:]
    extra = [max(round_up(side, PIXEL_MULTIPLE), LEAST_SOURCE) - side for side in (width, height)]
    return F.pad(frames, (0, extra[0], 0, extra[1]), mode="replicate")


def flow_size(height: int, width: int) -> tuple[int, int]:
    """At which size the flow of a result of that size is found: its own, or less where its memory would explode."""
    needed = volume_bytes(height, width)
    if height * width <= LARGEST_FLOW or needed <= FLOW_BYTES:
        return height, width
    shrink = (FLOW_BYTES / needed) ** 0.25  # memory grows with the fourth power of the sides
    rows, columns = (max(LEAST_SIDE, int(side * shrink) // STRIDE * STRIDE) for side in (height, width))
    return rows, columns


@dataclass(frozen=True)
class Networks:
    """All networks but the optical flow, guided by the empty prompt, and the steps of denoising."""

    unet: Unet
    control: ControlNet
    autoencoder: TemporalAutoencoder
    schedule: Schedule

    def restore(self, frame: Tensor, noise: Tensor, warped: Tensor | None) -> Tensor:
        """A frame [1, 3, h, w] in -1..1 enlarged by 4: the decoder's raw output, float32, not clamped.

        `noise`: [1, 4, h, w]; `warped`: the previous raw output, moved to this frame, None for a scene's first.
        """
        latent = self.denoise(frame, noise, warped) / self.autoencoder.scaling_factor
        dtype = self.unet.dtype
        features = None if warped is None else self.autoencoder.features(warped.to(dtype))
        return self.autoencoder.decode(latent.to(dtype), features).float()

    def denoise(self, frame: Tensor, noise: Tensor, warped: Tensor | None) -> Tensor:
        """The frame's latent [1, 4, h, w], float32."""
        dtype = self.unet.dtype
        picture = None if warped is None else warped.to(dtype)
        latent = noise
        for timestep in self.schedule.timesteps:
            sample = torch.cat([latent, frame], 1).to(dtype)
            residuals = None if picture is None else self.control.control(sample, timestep, picture)
            v = self.unet.denoise(sample, timestep, residuals)
            latent = self.schedule.advance(latent, timestep, v.float())
        return latent


@dataclass(frozen=True)
class RestoreState:
    """The raw latest output [1, 3, 4 h, 4 w], None before the first, and the source of the scene's noise."""

    scene: SceneStart
    generator: torch.Generator
    previous: Tensor | None = None


class Restore(Stage[MotionChunk, RestoredChunk, RestoreState]):
    """Denoise and decode, frame by frame; what is decoded leads the next frame."""

    def __init__(self, networks: Networks, scale: int, seed: int) -> None:
        self._networks, self._scale, self._seed = networks, scale, seed

    def start(self, scene: SceneStart) -> RestoreState:
        """Nothing restored yet; noise by the seed and the scene."""
        return RestoreState(scene, scene_generator(self._seed, scene))

    def step(self, chunk: MotionChunk, state: RestoreState) -> tuple[RestoredChunk, RestoreState]:
        """Restored frames [T, 3, s H, s W] in 0..1."""
        notes = resize_notes(NAME, SCALE, self._scale, state.scene) if state.previous is None else ()
        previous, restored = state.previous, []
        for frame, flow in zip(chunk.frames.split(1), chunk.flows, strict=True):
            noise = self.noise(frame, state)
            warped = None if previous is None or flow is None else warp(previous, flow)
            previous = self._networks.restore(frame, noise, warped)
            restored.append(crop(previous, state.scene, SCALE))
        return RestoredChunk(torch.cat(restored), notes), RestoreState(state.scene, state.generator, previous)

    def noise(self, frame: Tensor, state: RestoreState) -> Tensor:
        """A frame's noise [1, 4, h, w], the next of the scene's: drawn on the processor, so the same on any device."""
        size = (1, LATENT_CHANNELS, *frame.shape[-2:])
        return torch.randn(size, generator=state.generator).to(frame.device)

    def save(self, state: RestoreState) -> dict[str, Tensor]:
        """The latest output and the generator."""
        found = {"generator": state.generator.get_state()}
        return found if state.previous is None else {**found, "previous": state.previous.contiguous()}

    def load(self, scene: SceneStart, tensors: dict[str, Tensor]) -> RestoreState:
        """The state that `save` gave."""
        generator = torch.Generator()
        generator.set_state(tensors["generator"].cpu())
        previous = tensors["previous"].to(self._networks.unet.device) if "previous" in tensors else None
        return RestoreState(scene, generator, previous)


class StreamDiffVsrRestorer:
    """The two stages; networks are on their device, in their type."""

    schedule = SCHEDULE

    def __init__(self, flow: Raft, networks: Networks, scale: int, seed: int) -> None:
        self.scale = scale
        self.stages: Mapping[str, AnyStage] = {
            "flow": EstimateMotion(flow),
            "restore": Restore(networks, scale, seed),
        }


@dataclass(frozen=True)
class StreamDiffVsrModel:
    """Stream-DiffVSR's networks, loaded."""

    flow: Raft
    networks: Networks
    seed: int

    def restorer(self, restore: RestoreSettings, prompt: str | None = None) -> StreamDiffVsrRestorer:
        """See `LoadedModel`; it takes no prompt."""
        return StreamDiffVsrRestorer(self.flow, self.networks, restore.scale, self.seed)


def load(request: BuildRequest) -> StreamDiffVsrModel:
    """Load the networks; the text encoder only where its rows are not in the cache.  Raises ModelError."""
    rows = empty_prompt(request.components) if request.context is None else request.context
    networks = Networks(
        unet=request.load("unet", Unet),
        control=request.load("controlnet", ControlNet),
        autoencoder=request.load("temporal_autoencoder", TemporalAutoencoder),
        schedule=load_schedule(request.components),
    )
    with torch.no_grad():
        for network in (networks.unet, networks.control):
            network.guide(rows.to(request.device, request.dtype))
    flow = align_weights(request.components.load("flow", Raft).to(request.device))  # float32, as published
    return StreamDiffVsrModel(flow, networks, request.model.seed)


def load_schedule(components: Components) -> Schedule:
    """The steps by the checkpoint's config, the published one where it has none.  Raises ModelError."""
    with config_errors("the model's scheduler_config.json"):
        return Schedule(STEPS, components.given.get("scheduler_config", PUBLISHED))


def empty_prompt(components: Components) -> Tensor:
    """Rows [1, L, D] of the only prompt there is, computed once for a checkpoint.  Raises ModelError."""

    @torch.inference_mode()
    def encode() -> Tensor:
        return load_text(components).float().embed_empty()

    return prompts.cached(
        Environment.read().cache / "prompts", prompts.cache_key("", components.where("clip_text")), encode
    )


def load_text(components: Components) -> TextEncoder:
    """The text encoder; files of some versions have a word before all names, and number the positions."""
    tensors = {
        name.removeprefix(ROOT): tensor
        for name, tensor in components.tensors("clip_text").items()
        if not name.endswith("position_ids")
    }
    return components.fill("clip_text", TextEncoder, tensors)


# ---------------------------------------------------------------- memory, from arithmetic


WEIGHTS = 1.3e9  # bytes in half precision, the flow's in float32, and the constant keys and values
ACTIVATIONS = 800  # bytes a pixel of output in half precision: at the peak of the decoder, whose maps are the largest
FLOW_ACTIVATIONS = 260  # bytes a pixel: RAFT's maps but for the products of all pairs, and flows that wait
SIZES = ((640, 360), (960, 544), (1280, 720), (1600, 896), (1920, 1088), (3840, 2160), (7680, 4320))


def peak_bytes(width: int, height: int) -> float:
    """Both stages at work on an output of that size, in half precision: computed, not measured yet.

    torchvision divides the products of all pairs into a second tensor: they are there twice for a moment.
    """
    flow = 2 * pair_bytes(*flow_size(height, width))
    return WEIGHTS + (ACTIVATIONS + FLOW_ACTIVATIONS) * width * height + flow


def footprint() -> Footprint:
    """What a larger output takes at least, too: beyond 1920x1088 the flow takes less, and other maps more."""
    points, most = [(0, WEIGHTS)], 0.0
    for width, height in SIZES:
        most = max(most, peak_bytes(width, height))
        points.append((width * height, most))
    return Footprint(Curve(tuple(points)))


FAMILY = Family(
    name=NAME,
    capabilities=Capabilities(
        tasks=("upscale",),
        scales=(2, 3, 4),
        schedule=SCHEDULE,
        resumes_in_scene=True,
        latent_scale=SCALE,
        native_scale=SCALE,
        options={"steps": f"{STEPS}: the number it was distilled to, and the only one"},
        refusals={"tile": "its decoder mixes positions along rows, from edge to edge: tiles would change the result"},
        steps=(STEPS,),
        remarks=(
            f"enlarges by {SCALE}; for 2 and 3 its frames are resized",
            f"optical flow at full size up to 1920x1088 of output ({volume_bytes(1088, 1920) / 1e9:.1f} GB), beyond at "
            f"a size whose memory is below {FLOW_BYTES / 1e9:.0f} GB, then enlarged",
        ),
        footprints=(footprint(),),
    ),
    components={
        "unet": Component(network=Unet, config_role="unet_config"),
        "controlnet": Component(network=ControlNet, config_role="controlnet_config"),
        "temporal_autoencoder": Component(network=TemporalAutoencoder, folders=("vae",), config_role="vae_config"),
        "flow": Component(network=Raft, files=("raft_large_C_T_SKHT_V2-*",)),
        "clip_text": Component(
            network=TextEncoder,
            signature=f"*{TextEncoder.SIGNATURE}",  # with or without the first word
            folders=("text_encoder",),
            config_role="clip_text_config",
            check=load_text,
        ),
        "unet_config": Component(files=("unet/config.json",)),
        "controlnet_config": Component(files=("controlnet/config.json",)),
        "vae_config": Component(files=("vae/config.json",)),
        "clip_text_config": Component(files=("text_encoder/config.json",)),
        "scheduler_config": Component(
            files=("scheduler/scheduler_config.json",), beside=("unet", "../scheduler/scheduler_config.json")
        ),
    },
    needs=("unet", "controlnet", "temporal_autoencoder", "flow", "clip_text"),
    extra="diffusers",
    packages=("diffusers", "transformers", "torchvision"),
    load=load,
)
