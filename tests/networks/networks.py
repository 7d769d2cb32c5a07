"""Small embedded networks with random weights, their heads included."""

from dataclasses import replace

import pytest
import torch

from vrx.models.embedded.checkpoint import EmbeddedNetworks
from vrx.networks.embedded.blur import BlurEstimator
from vrx.networks.embedded.degradation import DegradationEstimator
from vrx.networks.embedded.diagnosis import BlurDiagnosis
from vrx.networks.embedded.guard import DeblurGuard
from vrx.networks.embedded.network import EmbeddedConfig, EmbeddedNetwork
from vrx.networks.embedded.recurrent import RecurrentConfig, RecurrentNetwork
from vrx.pipeline.devices import INT8_UNITS

CAPABILITIES: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
# by what the processor reports, which older versions of torch do not pass on: not by what is tested
needs_int8_units = pytest.mark.skipif(
    not any(CAPABILITIES.get(name) for name in INT8_UNITS), reason="needs a processor that multiplies in 8 bits"
)

TINY = EmbeddedConfig(
    full=8, coarse=16, before=1, middle=2, after=1, recall=(0, 2, 3), heads=2, window=4, memory=2, reference=2
)
TINY_ENLARGING = RecurrentConfig(channels=8, blocks=2, later_blocks=1)


def tiny_network(seed: int = 0) -> EmbeddedNetwork:
    torch.manual_seed(seed)
    network = EmbeddedNetwork(TINY).eval()
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    for layer in network.attention:
        torch.nn.init.normal_(layer.get_parameter("out.weight"), std=0.5)  # so that a wrong neighbor would show
    return network


def tiny_enlarging(seed: int = 0) -> RecurrentNetwork:
    torch.manual_seed(seed)
    plain = RecurrentNetwork(replace(TINY_ENLARGING, later_blocks=0))
    for parameter in (*plain.heads.parameters(), *plain.conditions.parameters()):
        torch.nn.init.normal_(parameter, std=0.05)
    with torch.random.fork_rng(devices=[]):  # what is drawn for other networks stays the same
        network = RecurrentNetwork(TINY_ENLARGING).eval()
        assert network.combine is not None
        torch.nn.init.normal_(network.combine.weight, std=0.2)
    network.load_state_dict(plain.state_dict(), strict=False)
    return network


def tiny_parts() -> EmbeddedNetworks:
    parts = tiny_network(), BlurEstimator().eval(), tiny_enlarging(), DegradationEstimator().eval()  # seeded in turn
    return EmbeddedNetworks(*parts, BlurDiagnosis().eval(), DeblurGuard().eval())
