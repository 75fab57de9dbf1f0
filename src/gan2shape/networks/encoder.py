"""Encoders: a picture to a few numbers.

`Encoder` predicts pose and light; `ResidualEncoder` predicts the latent offset (the paper's E). Neither has custom
initialisation or norms. Source: GAN2Shape, appendix, after Unsup3D (Wu et al., CVPR 2020).
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from gan2shape.networks.widths import full_base_width, level_widths


class Encoder(nn.Module):
    """4×4 stride-2 convolutions with ReLU down to 4×4, one to 1×1, then a 1×1 convolution and tanh; no biases.

    Args:
        in_channels: channels of the picture.
        out_features: numbers to predict.
        image_size: side of the picture in px, a power of two.
        base_width: channels after the first convolution; the paper's ``max(4096 // image_size, 16)`` if None.

    Raises:
        ValueError: if the size or the width cannot be.
    """

    def __init__(self, in_channels: int, out_features: int, image_size: int, base_width: int | None = None) -> None:
        super().__init__()
        widths = level_widths(image_size, base_width or full_base_width(image_size))
        self.image_size = image_size
        layers: list[nn.Module] = []
        for before, after in zip([in_channels, *widths[:-1]], widths, strict=True):
            layers += [nn.Conv2d(before, after, 4, stride=2, padding=1, bias=False), nn.ReLU(inplace=True)]
        layers += [nn.Conv2d(widths[-1], widths[-1], 4, bias=False), nn.ReLU(inplace=True)]
        layers += [nn.Conv2d(widths[-1], out_features, 1, bias=False), nn.Tanh()]
        self.network = nn.Sequential(*layers)

    def forward(self, image: Tensor) -> Tensor:
        """(B, in_channels, S, S) → (B, out_features) in (-1, 1)."""
        check_size(image, self.image_size)
        return self.network(image).flatten(1)


class ResidualEncoder(nn.Module):
    """One stride-2 convolution, residual blocks down to 4×4, one convolution to 1×1 and a 1×1 convolution.

    Args:
        out_features: width of the code, that is of h₀.
        image_size: side of the picture in px, a power of two.
        base_width: channels after the first convolution.
        in_channels: channels of the picture.

    Raises:
        ValueError: if the size or the width cannot be.
    """

    def __init__(self, out_features: int, image_size: int, base_width: int = 32, in_channels: int = 3) -> None:
        super().__init__()
        widths = level_widths(image_size, base_width)
        self.image_size = image_size
        self.stem = nn.Conv2d(in_channels, widths[0], 4, stride=2, padding=1, bias=False)
        self.blocks = nn.Sequential(*(ResidualDown(before, after) for before, after in pairwise(widths)))
        self.head = nn.Sequential(
            nn.ReLU(inplace=True),
            nn.Conv2d(widths[-1], 2 * widths[-1], 4, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(2 * widths[-1], out_features, 1, bias=False),
        )

    def forward(self, image: Tensor) -> Tensor:
        """(B, in_channels, S, S) → (B, out_features), unbounded."""
        check_size(image, self.image_size)
        return self.head(self.blocks(self.stem(image))).flatten(1)


class ResidualDown(nn.Module):
    """Halves the size: ReLU, then 3×3 stride 2, ReLU, 3×3; plus 2×2 average pool and a biased 1×1.

    Both branches see the rectified input, because the original's first ReLU works in place.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1, bias=False)
        self.refine = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, in_channels, h, w) → (B, out_channels, h/2, w/2)."""
        rectified = F.relu(features)
        return self.refine(F.relu(self.reduce(rectified))) + self.shortcut(F.avg_pool2d(rectified, 2))


def check_size(image: Tensor, image_size: int) -> None:
    """Refuse a batch that the network was not built for, in words, before a convolution does so in numbers.

    Raises:
        ValueError: if `image` is not (B, C, image_size, image_size).
    """
    if image.ndim != 4 or image.shape[2:] != (image_size, image_size):
        raise ValueError(f"image must be (B, C, {image_size}, {image_size}); got {tuple(image.shape)}")
