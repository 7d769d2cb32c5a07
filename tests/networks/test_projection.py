"""FlashVSR's LQ projection: its convolutions as matrix products."""

import pytest
import torch
from torch import nn

from vrx.networks.flashvsr.projection import convolve_by_products


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("frames", [4, 6, 10])
@torch.inference_mode()
def test_matrix_products_give_what_the_convolution_gives(frames: int, layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    conv = nn.Conv3d(6, 10, (4, 3, 3), (2, 1, 1))
    conv.weight.data = conv.weight.contiguous(memory_format=layout)
    x = torch.rand(2, 6, frames, 7, 9).contiguous(memory_format=layout)
    found = convolve_by_products(conv, x)
    torch.testing.assert_close(found, conv(x), atol=1e-6, rtol=1e-5)
    assert found.is_contiguous(memory_format=torch.channels_last_3d)
