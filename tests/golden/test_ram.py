import pytest
import torch

from tests.golden.cases import Case, cases, close, filled
from vrx.networks.ram import RamConfig, VisualGuidance, merge_adapter


@pytest.mark.parametrize("case", cases("ram_dape_encoder"))
@torch.inference_mode()
def test_rows_without_and_with_the_adapter(case: Case) -> None:
    io, weights = case.io(), case.weights()
    merged = merge_adapter(weights, case.weights("adapter"), case.config["adapter_scale"])
    for name, tensors in (("context.plain", weights), ("context", merged)):
        net = filled(VisualGuidance(RamConfig(**case.model)), tensors)
        close(net(io["image"]), io[name], case.tolerance)


def test_a_frame_of_any_size_is_prepared() -> None:
    with torch.device("meta"):
        net = VisualGuidance(RamConfig(embed_dim=12, num_heads=(1, 2, 4, 8), depths=(1, 1, 1, 1)))
    gray = torch.full((1, 3, 90, 160), 0.5)
    prepared = net.prepare(gray)
    assert prepared.shape == (1, 3, 384, 384)
    assert prepared[0, :, 0, 0].tolist() == pytest.approx([0.0655, 0.1964, 0.4178], abs=1e-3)
