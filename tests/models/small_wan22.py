"""RelayVSR in its published layout at small sizes: Diffusers' names, sizes in the files' metadata."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from tests.models.small import TEXT, random_weights
from vrx.networks.relayvsr.key_frames import KeyFrameConfig, KeyFrameTransformer
from vrx.networks.relayvsr.small_transformer import SmallConfig, SmallTransformer
from vrx.weights.key_mapping import to_native_keys

NAMES = Path(__file__).parents[1] / "data" / "tensors" / "wan2.2-ti2v-5b-dit-diffusers.json"
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
