"""Constants of networks on a device."""

import torch

from vrx.networks.constants import constant, constant_like


def test_a_constant_is_made_once_for_a_device_and_a_type_and_can_be_learned_with() -> None:
    x = torch.ones(2, dtype=torch.bfloat16)
    with torch.inference_mode():
        found = constant_like((0.1, 0.2), x)
    assert found is constant((0.1, 0.2), x.device, torch.bfloat16)
    assert found is not constant((0.1, 0.2), x.device, torch.float32)
    assert torch.equal(found, torch.tensor([0.1, 0.2], dtype=torch.bfloat16))
    weight = torch.ones(2, dtype=torch.bfloat16, requires_grad=True)
    (weight * found).sum().backward()
    assert weight.grad is not None
    assert torch.equal(weight.grad, found)
