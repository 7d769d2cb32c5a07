"""SATB-VR's networks, which are made of diffusers' layers, and its whole procedure on latents."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.extras import needs_extra
from tests.golden.cases import Case, cases, close
from tests.golden.test_diffvsr import described_weights, fill_by_formula
from vrx.networks.satbvr.adapters import add_adapter
from vrx.networks.satbvr.backbone import BackboneConfig, Transformer, rotary_tables
from vrx.networks.satbvr.control import (
    Connectors,
    ConnectorsConfig,
    ControlConfig,
    ControlNet,
    ControlPatchEmbed,
    patch_config,
)
from vrx.networks.satbvr.sampler import Prompts, Sampler
from vrx.networks.satbvr.solver import Schedule
from vrx.networks.satbvr.tiles import Side, Tiling
from vrx.networks.satbvr.transformer import Denoiser

pytestmark = needs_extra


def sizes(case: Case) -> dict[str, int]:
    """Those of the transformer that are sizes of ours."""
    return {name: case.config["transformer"][name] for name in vars(BackboneConfig())}


def denoiser(config: BackboneConfig) -> Denoiser:
    connectors = Connectors(ConnectorsConfig(count=config.num_layers, width=config.width))
    return Denoiser(Transformer(config), connectors, ControlPatchEmbed(patch_config(config))).eval()


def gain(case: Case) -> float:
    """That of the weights of its networks."""
    stated = case.config["weights"]["gain"]
    return float(stated["networks"] if isinstance(stated, dict) else stated)


def control(case: Case) -> ControlNet:
    config = ControlConfig(**{**sizes(case), "num_layers": case.config["controlnet_layers"]})
    return fill_by_formula(ControlNet(config), gain(case))


def shapes(network: nn.Module) -> dict[str, list[int]]:
    return {name: list(value.shape) for name, value in network.state_dict().items()}


@pytest.mark.parametrize("case", cases("satb_networks"))
@torch.inference_mode()
def test_the_parts_of_the_control(case: Case) -> None:
    io, config, names = case.io(), BackboneConfig(**sizes(case)), case.config["tensors"]
    connector = Connectors(ConnectorsConfig(count=1, width=config.width))[0]
    assert shapes(connector) == names["connector"]
    if "connector.output" in io:  # left out of the small copy: the denoiser's output depends on it too
        found = fill_by_formula(connector, gain(case))(io["connector.hidden"], io["connector.control"])
        close(found, io["connector.output"], case.tolerance)
    patch = ControlPatchEmbed(patch_config(config))
    assert shapes(patch) == names["control_patch_embed"]
    found = fill_by_formula(patch, gain(case))(io["lq"], io["text"], io["patch.embedding"])
    close(io["patch.hidden"] + found, io["patch.output"], case.tolerance)


@pytest.mark.parametrize("case", cases("satb_networks"))
def test_the_rotary_tables(case: Case) -> None:
    io = case.io()
    _, frames, _, rows, columns = io["lq"].shape
    grid = (frames // 2, rows // 2, columns // 2)
    tables = rotary_tables(grid, case.config["transformer"]["attention_head_dim"], torch.device("cpu"))
    for table, name in zip(tables, ("rope.cos", "rope.sin"), strict=True):
        close(table, io[name], case.tolerance)


@pytest.mark.parametrize("case", cases("satb_networks"))
@torch.inference_mode()
def test_the_two_roles(case: Case) -> None:
    io, config, timestep = case.io(), BackboneConfig(**sizes(case)), case.config["timestep"]
    network, net = fill_by_formula(denoiser(config), gain(case)), control(case)
    assert shapes(net) == case.config["tensors"]["controlnet"]
    states = net.control(io["latent"], io["lq"], timestep, io["text"])
    for number, state in enumerate(states):
        close(state, io[f"controlnet.{number}"], case.tolerance)

    def denoised() -> Tensor:
        return network.denoise(io["latent"], io["lq"], timestep, io["text"], states)

    close(denoised(), io["denoiser.output"], case.tolerance)
    base = Transformer(config)
    assert shapes(base) == case.config["tensors"]["transformer"]
    network.load_state_dict(fill_by_formula(base, gain(case)).state_dict(), strict=False)
    close(network.predict(io["lq"], io["text"]), io["predictor.output"], case.tolerance)
    without = denoised()
    add_adapter(network, "predictor", adapter(case, base), {})
    for _ in range(2):  # the adapter is its role's alone, and switching leaves nothing behind
        close(network.predict(io["lq"], io["text"]), io["lora.output"], case.tolerance)
        assert torch.equal(denoised(), without)


def adapter(case: Case, network: nn.Module) -> dict[str, Tensor]:
    """The case's adapter for a network."""
    lora, found = case.config["lora"], {}
    for key in lora["keys"]:
        target, side = key.removesuffix(".weight").split(".lora_")
        rows, columns = network.get_parameter(f"{target}.weight").shape
        found[key] = [lora["rank"], columns] if side == "A" else [rows, lora["rank"]]
    return described_weights(found, case.config["weights"]["lora_gain"])


@pytest.mark.parametrize("case", cases("satb_pipeline"))
@torch.inference_mode()
def test_the_procedure_on_latents(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    io, config = case.io(), BackboneConfig(**sizes(case))
    network, predictor = fill_by_formula(denoiser(config), gain(case)), denoiser(config)
    predictor.load_state_dict(fill_by_formula(Transformer(config), gain(case)).state_dict(), strict=False)
    monkeypatch.setattr(network, "predict", predictor.predict)  # the case's roles have different bases
    sampler = Sampler(
        denoiser=network,
        control=control(case),
        prompts=Prompts(io["prompt"], io["negative"]),
        schedule=Schedule.from_config(case.config["scheduler"]),
        steps=case.config["steps"],
        guidance=case.config["guidance_scale"],
        tiling=tiling(case.config["tiling"]),
    )
    close(sampler.predict(io["lq_latent"]), io["predictor.x0"], case.tolerance)
    close(sampler.start(io["lq_latent"], replay(io)).noisy, io["start"], case.tolerance)
    close(sampler.sample(io["lq_latent"], replay(io))[:, 1:], io["latent"], case.tolerance)


def tiling(sides: dict[str, Any] | None) -> Tiling:
    """Tiles that a config gives in pixels and frames."""
    if sides is None:
        return Tiling()
    return Tiling(
        temporal=Side(tile=sides["temporal_tile_size"] // 4, stride=sides["temporal_tile_stride"] // 4),
        spatial=Side(tile=sides["tile_size"] // 8, stride=sides["tile_stride"] // 8),
    )


def replay(io: dict[str, Tensor]) -> Callable[[torch.Size], Tensor]:
    """The recorded noise in the order in which it was drawn."""

    def recorded() -> Iterator[Tensor]:
        yield io["start.noise"]
        yield from io.get("step.noise", ())
        tiles = [name for name in io if name.startswith("step.") and ".tile." in name and name.endswith(".noise")]
        yield from (io[name] for name in sorted(tiles, key=lambda name: [int(n) for n in re.findall(r"\d+", name)]))

    noise = recorded()
    return lambda shape: next(noise).view(shape)
