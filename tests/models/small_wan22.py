"""RelayVSR and ReCaVSR in their published layouts at small sizes, and a scene through them without the pipeline."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.models.small import TEXT, random_weights
from vrx.models.base import DeviceChunk, SceneStart
from vrx.models.family import BuildRequest, LoadedModel
from vrx.models.loader import entry_from_path, load_model, read_folder
from vrx.models.runner import SceneRunner
from vrx.networks.recavsr.flashdecoder import FlashDecoder, FlashDecoderConfig
from vrx.networks.recavsr.transformer import RecycledConfig, RecycledTransformer
from vrx.networks.relayvsr.key_frames import KeyFrameConfig, KeyFrameTransformer
from vrx.networks.relayvsr.small_transformer import SmallConfig, SmallTransformer
from vrx.networks.wan.residual_decoder import ResidualDecoder, ResidualDecoderConfig
from vrx.settings import ModelSettings, RestoreSettings, Task
from vrx.weights.key_mapping import to_native_keys

NAMES = Path(__file__).parents[1] / "data" / "tensors" / "wan2.2-ti2v-5b-dit-diffusers.json"
AUTOENCODER_NAMES = NAMES.with_name("wan2.2-vae.json")
CHANNELS = 8
WAN: dict[str, Any] = {
    "dim": 48,
    "ffn_dim": 64,
    "num_heads": 2,
    "num_layers": 2,
    "freq_dim": 32,
    "text_dim": TEXT,
    "in_dim": CHANNELS,
    "out_dim": CHANNELS,
}
RELAY_WAN: dict[str, Any] = {
    "num_attention_heads": 2,
    "attention_head_dim": 24,
    "patch_size": [1, 2, 2],
    "qk_norm": "rms_norm_across_heads",
    "temporal_context_frames": 3,
    "temporal_rope": {"policy": "fixed_end", "training_frames": 4},
    "spatial_window_size": [2, 3],
}
RELAY_SMALL: dict[str, Any] = {
    "window_size": 2,
    "spatial_attention": {"video": [4, 4], "start": [6, 6], "end": [6, 6], "condition_self": [6, 6]},
    "condition_mode": "endpoints",
    "upscale_factor": 4,
}


def diffusers_names(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A Wan transformer's tensors under the names that Diffusers gives them."""
    rows = json.loads(NAMES.read_text())["tensors"]
    names = [row["name"].replace("{i}", str(i)) for row in rows for i in range(row["count"])]
    theirs = to_native_keys({name: name for name in names})
    return {theirs.get(name, name): tensor for name, tensor in tensors.items()}


def relayvsr(folder: Path, **changes: Any) -> Path:
    """Both files of the release; `changes` to what the key-frame network's metadata say."""
    folder.mkdir(parents=True, exist_ok=True)
    wan = KeyFrameTransformer(KeyFrameConfig(**WAN, lq_dims=(6, 8), prompt_rows=5))
    halves = {name: tensor.bfloat16() for name, tensor in diffusers_names(random_weights(wan)).items()}
    notes = {"format": "refvsr-wan-v1", "config": json.dumps({**RELAY_WAN, **changes})}
    save_file(halves, folder / "wan.safetensors", notes)
    sizes = SmallConfig(
        dim=64,
        depth=2,
        num_heads=1,
        num_kv_groups=1,
        ffn_dim=64,
        condition_channels=CHANNELS,
        encoder_channels=(4, 6, 6),
        spatial_head_dim=8,
    )
    notes = {"format": "refvsr-flash-v1", "config": json.dumps(RELAY_SMALL)}
    save_file(random_weights(SmallTransformer(sizes), 1), folder / "flash.safetensors", notes)
    return folder


RECA: dict[str, Any] = {  # beside the files: the release has it in its code
    "recycled_transformer": {
        "num_attention_heads": 2,
        "spatial_window": [2, 3],
        "static_kv_router": {
            "anchor": {"initial_index": 5, "stride_latents": 6, "capacity_latents": 2},
            "layer_actions": ["recent_2_anchor", "none", "recent_4"],
        },
    },
    "flashdecoder": {"spatial_window_size": [4, 4]},
}
LATENTS = 48


def recavsr(folder: Path, **changes: Any) -> Path:
    """The four files of the release; `changes` to the transformer's configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    actions = tuple(RECA["recycled_transformer"]["static_kv_router"]["layer_actions"])
    sizes = {**WAN, "num_layers": 3, "in_dim": LATENTS, "out_dim": LATENTS}
    network = RecycledTransformer(RecycledConfig(**sizes, lq_dims=(6, 8), actions=actions))
    halves = {name: tensor.bfloat16() for name, tensor in diffusers_names(random_weights(network)).items()}
    save_file(halves, folder / "transformer.safetensors")
    decoder = FlashDecoder(
        FlashDecoderConfig(
            dim=64, depth=1, refinement_depth=1, num_heads=1, num_kv_groups=1, ffn_dim=64, lr_dim=6, spatial_head_dim=8
        )
    )
    weights = random_weights(decoder, 1)
    weights["spatial_projection.2.weight"] *= 20  # pictures with some contrast
    save_file(weights, folder / "flashdecoder.safetensors")
    rows = torch.randn(1, 5, TEXT, generator=torch.Generator().manual_seed(2)).bfloat16()
    save_file({"positive": rows}, folder / "prompt.safetensors")
    save_file(wan22_autoencoder(LATENTS), folder / "vae.safetensors")
    config = {**RECA, "recycled_transformer": {**RECA["recycled_transformer"], **changes}}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def wan22_autoencoder(channels: int) -> dict[str, torch.Tensor]:
    """Wan 2.2's autoencoder under Diffusers' names; of its encoder only a part."""
    network = ResidualDecoder(ResidualDecoderConfig(dim=8, z_dim=channels))
    weights = random_weights(network, 3)
    weights["decoder.head.2.weight"] *= 4  # pictures with some contrast
    weights["encoder.conv1.weight"] = torch.ones(4, 12, 3, 3, 3)
    rows = json.loads(AUTOENCODER_NAMES.read_text())["tensors"]
    theirs = {row["name"]: row["diffusers"] for row in rows}
    return {theirs[name]: tensor for name, tensor in weights.items()}


def load(folder: Path, offload: bool = False, free: int | None = None, **settings: Any) -> Any:
    """The model in a folder, in float32; `free` stands in for a GPU's bytes."""
    cpu = torch.device("cpu")
    request = BuildRequest(read_folder(folder), ModelSettings(**settings), cpu, torch.float32, offload=offload)
    request = replace(request, free=lambda: free)
    return load_model(entry_from_path(folder), request)


def clip(frames: int, source: tuple[int, int]) -> Tensor:
    """A picture of noise that moves."""
    still = torch.rand(1, 3, *source, generator=torch.Generator().manual_seed(3))
    return torch.cat([torch.roll(still, t, -1) for t in range(frames)])


@torch.inference_mode()
def run(model: LoadedModel, x: Tensor, reload_at: int = -1, number: int = 0, scale: int = 4) -> Tensor:
    """All frames of a scene; before chunk `reload_at` every state is saved, used for another future, and loaded."""
    system = model.restorer(RestoreSettings(task=Task.UPSCALE, scale=scale))
    runner, schedule = SceneRunner(system), system.schedule
    height, width = x.shape[-2:]
    scene = SceneStart(number, (height, width), (height * scale, width * scale))
    runner.start(scene)
    found, begin, index = [], 0, 0
    while begin < len(x):
        part = x[begin : begin + schedule.size(index)]
        padded = torch.cat([part, part[-1:].expand(schedule.padding(len(part), index == 0), -1, -1, -1)])
        if index == reload_at:
            saved = {name: {key: t.clone() for key, t in state.items()} for name, state in runner.save().items()}
            runner.step(DeviceChunk(1 - padded))
            runner.load(scene, saved)
        found.append(runner.step(DeviceChunk(padded)).frames[: len(part)])
        begin, index = begin + len(part), index + 1
    return torch.cat(found)
