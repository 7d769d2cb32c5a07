"""The last layer of FastVR's decoder: a small U-net that refines the brightness of every frame, in float32."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vrx.networks.constants import constant_like
from vrx.networks.overflow import clamp_to_unit

WIDTHS = (3, 5, 9, 16, 28)  # times the width of the head
MULTIPLE = 16  # pixels: four halvings
SLOPE = 0.2
TO_YUV = ((0.299, 0.587, 0.114), (-0.14714119, -0.28886916, 0.43601035), (0.61497538, -0.51496512, -0.10001026))
TO_RGB = ((1.0, 0.0, 1.13983), (1.0, -0.39465, -0.58060), (1.0, 2.03211, 0.0))


def mix(x: Tensor, matrix: tuple[tuple[float, ...], ...]) -> Tensor:
    """Channels of [N, 3, H, W] by the rows of a matrix."""
    return torch.einsum("ij,njhw->nihw", constant_like(matrix, x), x)


def convolutions(inputs: int, outputs: int, count: int) -> nn.Sequential:
    """3 x 3 convolutions, an activation after each."""
    layers: list[nn.Module] = []
    for number in range(count):
        layers += [nn.Conv2d(outputs if number else inputs, outputs, 3, padding=1), nn.LeakyReLU(SLOPE)]
    return nn.Sequential(*layers)


class Convolutions(nn.Module):
    """Two or three convolutions, under their published name."""

    def __init__(self, inputs: int, outputs: int, count: int = 2) -> None:
        super().__init__()
        self.add_module("triple_conv" if count == 3 else "double_conv", convolutions(inputs, outputs, count))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W]."""
        for layers in self.children():
            x = layers(x)
        return x


class Residual(nn.Module):
    """Two convolutions beside a skip."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.LeakyReLU(SLOPE), nn.Conv2d(width, width, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to the same."""
        out: Tensor = self.conv_block(x) + x
        return out


class Down(nn.Module):
    """Means of 2 x 2 pixels, then convolutions."""

    def __init__(self, inputs: int, outputs: int, count: int) -> None:
        super().__init__()
        self.pool_conv = nn.Sequential(nn.AvgPool2d(2), Convolutions(inputs, outputs, count))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to half the sides."""
        out: Tensor = self.pool_conv(x)
        return out


class Up(nn.Module):
    """Twice the sides, beside the map of that size on the way down; convolutions, and a residual block."""

    def __init__(self, inputs: int, skip: int) -> None:
        super().__init__()
        self.conv = Convolutions(inputs + skip, skip)
        self.resblock1 = Residual(skip)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """[N, C, H, W] and [N, D, 2 H, 2 W] to the latter's shape.

        The map is laid four times along its channels and shuffled to pixels: none of the four is another's copy.
        """
        larger = F.pixel_shuffle(x.repeat(1, 4, 1, 1), 2)
        out: Tensor = self.resblock1(self.conv(torch.cat([skip, larger], 1)))
        return out


class LumaHead(nn.Module):
    """RGB to RGB whose luma was refined; `width` 4 is the published one."""

    def __init__(self, width: int) -> None:
        super().__init__()
        a, b, c, d, e = (width * times for times in WIDTHS)
        self.inconv1 = Convolutions(1, a)
        self.down0, self.down1, self.down2, self.down3 = Down(a, b, 2), Down(b, c, 2), Down(c, d, 2), Down(d, e, 3)
        self.d0_resnet, self.d1_resnet, self.d2_resnet, self.d3_resnet = (
            nn.Sequential(Residual(size)) for size in (b, c, d, e)
        )
        self.up3_resnet, self.up2_resnet, self.up1_resnet, self.up0_resnet = Up(e, d), Up(d, c), Up(c, b), Up(b, a)
        self.outconv1 = nn.Conv2d(a, 1, 3, padding=1, bias=False)

    def refine(self, luma: Tensor) -> Tensor:
        """Luma [N, 1, H, W] in 0..1, and what is added to it; sides are filled up to multiples of 16 by reflection."""
        height, width = luma.shape[-2:]
        top = F.pad(luma, (0, -width % MULTIPLE, 0, -height % MULTIPLE), mode="reflect")
        maps = [self.inconv1(top)]
        for down, resnet in (
            (self.down0, self.d0_resnet),
            (self.down1, self.d1_resnet),
            (self.down2, self.d2_resnet),
            (self.down3, self.d3_resnet),
        ):
            maps.append(resnet(down(maps[-1])))
        x = maps.pop()
        for up in (self.up3_resnet, self.up2_resnet, self.up1_resnet, self.up0_resnet):
            x = up(x, maps.pop())
        return (self.outconv1(x) + top)[..., :height, :width]

    def forward(self, frames: Tensor) -> Tensor:
        """Frames [N, 3, H, W], about -1..1, to the same in -1..1."""
        yuv = mix(clamp_to_unit((frames.float() + 1) / 2), TO_YUV)
        refined = torch.cat([self.refine(yuv[:, :1]), yuv[:, 1:]], 1)
        return clamp_to_unit(mix(refined, TO_RGB)) * 2 - 1
