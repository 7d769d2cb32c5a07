"""The recipe of the embedded model, a few steps of it: what is drawn, what is compared, what moves."""

import json
import random
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.networks.networks import TINY, TINY_ENLARGING, tiny_parts
from vrx.models.embedded.checkpoint import load_networks, load_sharp
from vrx.networks.embedded.degradation import DegradationEstimator
from vrx.networks.embedded.grid import GRID
from vrx.networks.embedded.network import MODES, SMALL, EmbeddedNetwork
from vrx.networks.embedded.recurrent import RecurrentNetwork
from vrx.train import batches, embedded, pack
from vrx.train.clips import draw, load_clips
from vrx.train.losses import charbonnier, gradient, temporal_difference
from vrx.weights import checkpoint


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """One shard of two moving clips."""
    torch.manual_seed(0)
    folder = tmp_path / "data"
    folder.mkdir()
    picture = torch.nn.functional.interpolate(torch.rand(1, 3, 24, 24), (240, 240), mode="bicubic").clamp(0, 1)
    runs = [torch.stack([picture[0, :, t : t + 192, 2 * t : 2 * t + 192] for t in range(6)]) for _ in range(2)]
    save_file({"clips": (torch.stack(runs) * 255).to(torch.uint8)}, folder / "clips-0-000.safetensors")
    return folder


def arguments(data: Path, out: Path, **changes: object) -> Namespace:
    usual = {"minutes": None, "batch": 1, "frames": 2, "short": 0.0, "rate": 1e-3, "dtype": "fp32", "device": "cpu"}
    rest = {"steps": 2, "seed": 0, "start": None, "only": None, "resume": False}
    return Namespace(data=data, out=out, **{**usual, **rest, **changes})


def test_losses_are_of_each_clip() -> None:
    truth = torch.rand(2, 3, 3, 8, 8)
    out = truth.clone()
    out[1, 1:] += 0.1
    for loss in (charbonnier, gradient, temporal_difference):
        values = loss(out, truth)
        assert values.shape == (2,)
        assert values[0] <= 1e-3
    assert charbonnier(out, truth)[1] == pytest.approx(0.1 * 2 / 3, rel=0.02)
    assert gradient(out, truth)[1] == pytest.approx(0, abs=1e-6)
    assert temporal_difference(out, truth)[1] == pytest.approx(0.05)


def test_a_soft_clip_counts_as_much_as_a_sharp_one() -> None:
    """A tenth of the base's error is the same loss, whatever that error was."""

    nothing = EmbeddedNetwork(TINY)  # fresh: it adds nothing

    def loss(*errors: float) -> float:
        truth = torch.full((len(errors), 2, 3, 16, 16), 0.5)
        base = truth + torch.tensor(errors).view(-1, 1, 1, 1, 1) * torch.randn(truth.shape).sign()
        inputs, levels = torch.zeros(len(errors), 2, 70, 4, 4), torch.zeros(len(errors), 3)
        batch = batches.Batch("inpaint", inputs, levels, base, truth, None)
        return float(embedded.losses(nothing, batch, torch.float32)[0].detach())

    assert loss(0.02) == pytest.approx(loss(0.2), rel=0.01)
    assert loss(0.02, 0.2) == pytest.approx(loss(0.2), rel=0.01)


@pytest.mark.parametrize("mode", MODES)
def test_every_use_gets_batches_whose_parts_agree(clips: Path, mode: str) -> None:
    rng = random.Random(1)
    for _ in range(4):
        batch = batches.make_batch(mode, draw(load_clips(clips), 1, 2, rng), rng)
        assert batch.inputs.shape[:3] == (1, 2, MODES[mode].inputs)
        assert batch.base.shape == batch.truth.shape == (1, 2, 3, *(GRID * n for n in batch.inputs.shape[-2:]))
        assert torch.isfinite(batch.inputs).all()
        assert float(((batch.base - batch.truth) ** 2).mean()) < 0.05
        if batch.mask is not None and not batch.flickers:  # not compressed: what is known is right
            error = (batch.base - batch.truth).abs() * (1 - batch.mask)
            assert float(error.max()) < 3e-3


def test_steps_move_the_network_and_go_on_where_they_stopped(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    embedded.train(arguments(clips, out))
    first = load_file(out / "embedded.safetensors")
    assert torch.load(out / "state.pt", weights_only=True)["step"] == 2
    embedded.train(arguments(clips, out, steps=3, resume=True))
    assert torch.load(out / "state.pt", weights_only=True)["step"] == 3
    second = load_file(out / "embedded.safetensors")
    assert first.keys() == second.keys() == EmbeddedNetwork(SMALL).state_dict().keys()
    assert any(not torch.equal(first[name], second[name]) for name in first)


def test_only_one_use_moves_where_that_is_asked(clips: Path, tmp_path: Path) -> None:
    start = tmp_path / "start.safetensors"
    network = EmbeddedNetwork(SMALL)
    torch.nn.init.normal_(
        network.get_parameter("heads.deblur.weight"), std=0.01
    )  # zero, it would hold back what is before it
    save_file(network.state_dict(), start)
    embedded.train(arguments(clips, tmp_path / "out", start=start, only=["deblur"]))
    before, after = load_file(start), load_file(tmp_path / "out" / "embedded.safetensors")
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all(name.split(".")[1] == "deblur" for name in moved)
    assert any(name.startswith("families.deblur.after") for name in moved)


def test_packing_takes_the_mean_of_networks() -> None:
    name = "middle.0.first.bias"
    first = {name: torch.tensor([1.0, 2.0]), "sharpness.b": torch.zeros(1)}
    second = {name: torch.tensor([3.0, 2.0])}
    assert pack.mean([first, second])[name].tolist() == [2.0, 2.0]
    assert set(pack.mean([second, first])) == {name}


def test_what_the_recipes_leave_is_packed_into_one_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, sharpness, enlarging, diagnosis, guard = (tmp_path / f"{name}.safetensors" for name in "abcde")
    parts = tiny_parts()
    save_file(parts.network.state_dict(), network, {"family": "embedded", "hours": "5"})
    save_file(parts.blur.state_dict(), sharpness)
    save_file(parts.diagnosis.state_dict(), diagnosis)
    save_file(parts.guard.state_dict(), guard)
    made, damage = RecurrentNetwork(TINY_ENLARGING), DegradationEstimator()
    tensors = {f"network.{n}": t for n, t in made.state_dict().items()}
    tensors |= {f"damage.{n}": t for n, t in damage.state_dict().items()}
    save_file(tensors, enlarging, {"config": json.dumps(vars(TINY_ENLARGING))})
    monkeypatch.setattr(pack, "SMALL", TINY)
    out = tmp_path / "out.safetensors"
    words = [
        "--network",
        network,
        "--sharpness",
        sharpness,
        "--enlarging",
        enlarging,
        "--diagnosis",
        diagnosis,
        "--guard",
        guard,
        "--out",
        out,
    ]
    monkeypatch.setattr("sys.argv", ["pack", *map(str, words), "--note", "about=x"])
    pack.main()
    found = load_networks(out)
    assert torch.equal(found.enlarging.recall.weight, made.recall.weight)
    assert torch.equal(found.degradation.get_parameter("head.0.weight"), damage.get_parameter("head.0.weight"))
    assert torch.equal(found.network.weight, parts.network.weight)
    assert torch.equal(
        found.diagnosis.get_parameter("causes.0.weight"), parts.diagnosis.get_parameter("causes.0.weight")
    )
    name = "members.0.0.weight"
    assert torch.equal(found.guard.get_parameter(name), parts.guard.get_parameter(name))
    assert {"hours": "5", "about": "x"}.items() <= checkpoint.read_metadata(out).items()

    torch.nn.init.ones_(made.recall.weight)
    tensors["network.recall.weight"] = made.recall.weight.detach()
    save_file(tensors, enlarging, {"config": json.dumps(vars(TINY_ENLARGING))})
    again = tmp_path / "again.safetensors"
    monkeypatch.setattr("sys.argv", ["pack", *map(str, ("--base", out, "--enlarging", enlarging, "--out", again))])
    pack.main()
    before, after = load_file(out), load_file(again)
    assert {name for name in before if not torch.equal(before[name], after[name])} == {"enlarging.recall.weight"}
    assert {"hours": "5", "about": "x"}.items() <= checkpoint.read_metadata(again).items()

    trained = tmp_path / "sharp.safetensors"
    save_file({**tensors, "network.recall.weight": made.recall.weight.detach() + 2}, trained)
    whole = tmp_path / "whole.safetensors"
    sharp = ("--base", again, "--sharp", trained, "--share", 0.25, "--out", whole)
    monkeypatch.setattr("sys.argv", ["pack", *map(str, sharp)])
    pack.main()
    added = {name: tensor for name, tensor in load_file(whole).items() if name not in after}
    assert added.keys() == {"sharp.recall.weight"}
    assert torch.equal(added["sharp.recall.weight"], torch.full_like(made.recall.weight, 1.5).half())
    assert torch.equal(load_sharp(whole, load_networks(whole)).enlarging.recall.weight, made.recall.weight + 0.5)

    monkeypatch.setattr("sys.argv", ["pack", *map(str, ("--base", whole, "--enlarging", enlarging, "--out", again))])
    pack.main()
    assert "sharp.recall.weight" not in load_file(again)  # it belongs to another network


def test_packing_without_a_base_needs_all_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["pack", "--out", str(tmp_path / "out.safetensors")])
    with pytest.raises(SystemExit):
        pack.main()
