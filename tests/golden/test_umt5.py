import pytest
import torch

from tests.golden.cases import Case, cases, close, filled
from vrx.networks.umt5 import Umt5Config, Umt5Encoder


@pytest.mark.parametrize("case", cases("umt5_encoder"))
@torch.inference_mode()
def test_rows(case: Case) -> None:
    net, io = filled(Umt5Encoder(Umt5Config(**case.model)), case.weights()), case.io()
    close(net(io["ids"], io["mask"]), io["hidden"], case.tolerance)
    close(net.embed(io["ids"], io["mask"]), io["embeds"], case.tolerance)
