"""The embedded model: what it does, and its stages for each task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch

from vrx.errors import ModelError
from vrx.models.base import OPENING_FRAMES, AnyStage, ChunkSchedule
from vrx.models.components import Component
from vrx.models.embedded import inpaint, keep_size, tiles, upscale
from vrx.models.embedded.checkpoint import (
    FAMILY_NAME,
    EmbeddedNetworks,
    check_networks,
    load_fast,
    load_networks,
    load_sharp,
)
from vrx.models.embedded.damage import OPENING, DamageReader
from vrx.models.embedded.deblur import Planner
from vrx.models.embedded.denoise import LUMA_LIMITS, Denoiser
from vrx.models.embedded.grain import FindGrain, WithGrain
from vrx.models.embedded.keep_size import EmbeddedOptions
from vrx.models.embedded.steps import Steps
from vrx.models.family import BuildRequest, Capabilities, Family
from vrx.models.footprint import Footprint, Linear
from vrx.models.optical_flow import Motion
from vrx.networks.embedded.int8 import multiplies_rightly, narrow_network
from vrx.networks.embedded.network import EmbeddedNetwork
from vrx.settings import RestoreSettings, Task
from vrx.switches import Switches

# a scene's first frames together, then a few at a time: pictures of 1280x720 then stay below
# what the allocator keeps at hand (32 MB), and the stages still need not wait for each other; from above 2560x1440,
# where a frame takes 50 MB and more, one at a time
SCHEDULE = ChunkSchedule(first=OPENING_FRAMES, next=2, large=2560 * 1440)
# four chunks and the overlap of two blocks, for a branch for later frames (`later`); damage is read from them as well
LOOKING_AHEAD = replace(SCHEDULE, ahead=8, ahead_pixels=8 * 2560 * 1440)
# where the size stays, a frame and its result take the more: from above 2560x1440 on one at a time; more of a scene's
# first frames come along for its damage alone
KEEP_SIZE = ChunkSchedule(
    first=OPENING_FRAMES,
    next=2,
    ahead_first=OPENING - OPENING_FRAMES,
    ahead_pixels=OPENING * 1920 * 1088,
    large=tiles.LARGE,
    alone=4096 * 2176,
)

SHARP_SCALES = (2,)  # whose sharp look has a network of its own; elsewhere the filter works on the faithful result


class EmbeddedRestorer:
    """The stages of a task; `remember` off gives every frame the state of a scene's first."""

    def __init__(
        self,
        options: EmbeddedOptions,
        networks: EmbeddedNetworks,
        device: torch.device,
        dtype: torch.dtype,
        remember: bool = True,
    ) -> None:
        self.schedule = KEEP_SIZE
        self.scale = options.scale
        self.stages: Mapping[str, AnyStage]
        sharpness, diagnosis = networks.blur.to(device), networks.diagnosis.to(device)
        denoiser = Denoiser(options.denoised, LUMA_LIMITS[options.task == Task.UPSCALE])
        reader = DamageReader(networks.degradation.to(device), sharpness, diagnosis)
        if options.task == Task.UPSCALE:
            networks.enlarging.place(device, dtype)
            steps = Steps.on(device, networks.enlarging, options.scale)
            foreseeing = steps if networks.enlarging.later is not None and remember else None
            self.schedule = LOOKING_AHEAD
            motion = Motion(beside=device.type == "cuda" and Switches.read().flow)  # a processor has no time to spare
            sight = upscale.Sight(foreseeing, options.quality != "auto", motion)
            self.stages = {
                "encode": upscale.Encode(options.scale, options.strength, reader, denoiser, sight),
                "generate": upscale.Generate(steps, remember),
                "decode": upscale.Decode(options.scale, sharp=options.look == "sharp"),
            }
        elif options.task == Task.INPAINT:
            self.schedule = inpaint.SCHEDULE
            networks.network.place(device, dtype)
            self.stages = {
                "encode": inpaint.Encode(options.strength, reader, denoiser),
                "generate": inpaint.Generate(networks.network, remember),
            }
        else:
            networks.network.place(device, dtype)
            guard = networks.guard.to(device)
            planner = Planner(sharpness, diagnosis, guard, options.sigma, options.strength)
            self.stages = {
                "encode": keep_size.Encode(options, reader, planner, denoiser),
                "generate": keep_size.Generate(networks.network, remember),
                "decode": keep_size.Decode(),
            }
        if options.grain and (options.denoise != 0 or options.task == Task.INPAINT):
            first, *middle, last = self.stages.items()
            grained = WithGrain(last[1], options.grain, options.seed)
            self.stages = {first[0]: FindGrain(first[1]), **dict(middle), last[0]: grained}


@dataclass(frozen=True)
class EmbeddedModel:
    """The embedded networks of the checkpoint at `path`; those of a task move to the device when it is first used.

    `narrow`: enlarging is in 8 bits.
    """

    path: Path
    networks: EmbeddedNetworks
    device: torch.device
    dtype: torch.dtype
    seed: int = 0
    narrow: bool = False

    @cached_property
    def sharp(self) -> EmbeddedNetworks:
        """The networks with the enlarging one of the sharp look, read when first asked for.  Raises ModelError."""
        return self._ready(load_sharp(self.path, self.networks))

    @cached_property
    def fast(self) -> EmbeddedNetworks:
        """The networks with the smaller enlarging one, read when first asked for.  Raises ModelError."""
        return self._ready(load_fast(self.path, self.networks))

    def _networks(self, restore: RestoreSettings) -> EmbeddedNetworks:
        if restore.quality == "fast":
            return self.fast
        return self.sharp if restore.look == "sharp" and restore.scale in SHARP_SCALES else self.networks

    def _ready(self, networks: EmbeddedNetworks) -> EmbeddedNetworks:
        if self.narrow:
            narrow_enlarging(self.path, networks, self.device, self.dtype)
        return networks

    def restorer(self, restore: RestoreSettings, prompt: str | None = None) -> EmbeddedRestorer:
        """See `LoadedModel`.  Raises ModelError where a checkpoint lacks the network of the sharp look, or of speed."""
        options = EmbeddedOptions(
            task=str(restore.task),
            scale=restore.scale,
            sigma=restore.sigma,
            strength=restore.strength,
            look=restore.look,
            quality=restore.quality,
            denoise=restore.denoise,
            grain=restore.grain,
            seed=self.seed,
        )
        return EmbeddedRestorer(options, self._networks(restore), self.device, self.dtype)


def narrow_enlarging(path: Path, networks: EmbeddedNetworks, device: torch.device, dtype: torch.dtype) -> None:
    """Have the enlarging network in 8 bits.  Raises ModelError where the checkpoint at `path` lacks what that needs."""
    if networks.peaks is None:
        raise ModelError(f"{path} lacks what vrx.train.peaks measures for 8 bits", "Use --dtype auto")
    networks.enlarging.place(device, dtype)
    narrow_network(networks.enlarging, *networks.peaks)


def load(request: BuildRequest) -> EmbeddedModel:
    """Load the networks.  Raises ModelError."""
    path = request.components.where(FAMILY_NAME)
    networks = load_networks(path)
    if request.quantized:
        if request.device.type != "cpu" or not multiplies_rightly():
            units = "processors with units for that (VNNI, AMX)"
            raise ModelError(f"the embedded model works in 8 bits on {units} only", "Use --dtype auto")
        narrow_enlarging(path, networks, request.device, request.dtype)
    narrow = request.quantized is not None
    return EmbeddedModel(path, networks, request.device, request.dtype, request.model.seed, narrow)


FAMILY = Family(
    name=FAMILY_NAME,
    capabilities=Capabilities(
        tasks=tuple(str(task) for task in Task),
        scales=(2, 3, 4),
        schedule=SCHEDULE,
        options={
            "sigma": "width of the blur in pixels (standard deviation), in place of each scene's estimate",
            "quality": "fast takes a quarter to a half less time, with a smaller network; best looks at later frames "
            "everywhere, auto where they help, when upscaling",
            "look": "faithful stays closest to what was filmed; sharp has crisper edges, when upscaling",
            "denoise": "how much of the noise found goes, 0 to 1; auto: as the task gains by it",
            "grain": "share of the source's grain, 0 to 1, that the result gets back, drawn anew",
            "strength": "how degraded the source is, 0 (clean) to 1, in place of the estimate of each scene",
        },
        resumes_in_scene=True,
        needs_gpu=False,
        int8_tasks=(str(Task.UPSCALE),),
        quantizer_tasks=(str(Task.UPSCALE),),
        footprints=(Footprint(Linear(0.13e9, 240)),),  # upscaling, measured on an H100 (vrx/bench/README.md)
        pace=150e6,
    ),
    components={
        FAMILY_NAME: Component(
            signature=EmbeddedNetwork.SIGNATURE, check=lambda components: check_networks(components.where(FAMILY_NAME))
        )
    },
    needs=(FAMILY_NAME,),
    load=load,
)
