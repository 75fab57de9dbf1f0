"""Comparison of feature pyramids, such as a discriminator's or VGG's.

Both functions take what a `FeatureExtractor` returns: a sequence of maps (B, C, h, w), any sizes and widths.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from gan2shape.losses.masked import masked_mean

LPIPS_EPS = 1e-10  # added to the feature norm, as the published LPIPS 0.1 does


def feature_distance(a: Sequence[Tensor], b: Sequence[Tensor], mask: Tensor | None = None) -> Tensor:
    """The paper's L′: mean absolute difference of each feature map, summed over the maps.

    Args:
        a, b: feature maps (B, C, h, w), pair by pair of one shape. Detach the side that is the target.
        mask: (B or 1, 1, H, W) in [0, 1], average-pooled by ``H // h`` to each map's size.

    Returns:
        A scalar.

    Raises:
        ValueError: if the pyramids differ, or if the mask cannot be pooled to a map's size.

    Source: GAN2Shape, Eq. 2, and the discriminator distance of DGP (Pan et al., 2020).
    """
    _check_pyramids(a, b)
    total = a[0].new_zeros(())
    for fa, fb in zip(a, b, strict=True):
        total = total + masked_mean((fa - fb).abs(), None if mask is None else _pool_mask(mask, fa))
    return total


def perceptual_distance(a: Sequence[Tensor], b: Sequence[Tensor], weights: Sequence[Tensor] | None = None) -> Tensor:
    """Squared distance of per-pixel unit feature vectors, as LPIPS compares them.

    With LPIPS heads, the weighted squares are summed over the channels, averaged over the pixels and summed over the
    maps. Without heads the sum over the channels is plain and the maps are averaged, so that the result stays of the
    order of one and λ keeps its meaning with a discriminator's features.

    Args:
        a, b: feature maps (B, C, h, w), pair by pair of one shape. Where a mask is wanted, multiply the images by it
            before the features are extracted.
        weights: one tensor per map that has C elements, LPIPS's learned heads.

    Returns:
        A scalar, the mean over the batch.

    Raises:
        ValueError: if the pyramids or the weights do not fit together.

    Source: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018, Eq. 1.
    """
    _check_pyramids(a, b)
    if weights is not None and len(weights) != len(a):
        raise ValueError(f"there must be one weight per feature map: {len(a)} maps, {len(weights)} weights")
    total = a[0].new_zeros(())
    for index, (fa, fb) in enumerate(zip(a, b, strict=True)):
        squared = (_unit(fa) - _unit(fb)).square()  # (B, C, h, w)
        if weights is not None:
            if weights[index].numel() != fa.shape[1]:
                raise ValueError(f"weight {index} must have {fa.shape[1]} elements; got {weights[index].numel()}")
            squared = squared * weights[index].reshape(1, -1, 1, 1)
        total = total + squared.sum(dim=1).mean()
    return total if weights is not None else total / len(a)


def _unit(features: Tensor) -> Tensor:
    # vector_norm has gradient zero at a zero vector; a square root of the summed squares would give NaN there.
    norm = torch.linalg.vector_norm(features, dim=1, keepdim=True)  # (B, 1, h, w)
    return features / (norm + LPIPS_EPS)


def _pool_mask(mask: Tensor, features: Tensor) -> Tensor:
    factor = mask.shape[-2] // features.shape[-2]
    pooled = F.avg_pool2d(mask, factor) if factor > 1 else mask
    if pooled.shape[-2:] != features.shape[-2:]:
        raise ValueError(f"mask {tuple(mask.shape)} cannot be average-pooled to a feature map {tuple(features.shape)}")
    return pooled.to(features.dtype)


def _check_pyramids(a: Sequence[Tensor], b: Sequence[Tensor]) -> None:
    if len(a) == 0 or len(a) != len(b):
        raise ValueError(f"both pyramids must have the same, positive number of maps; got {len(a)} and {len(b)}")
    for index, (fa, fb) in enumerate(zip(a, b, strict=True)):
        if fa.ndim != 4 or fa.shape[1:] != fb.shape[1:]:
            raise ValueError(
                f"feature maps {index} must be (B, C, h, w) alike; got {tuple(fa.shape)}, {tuple(fb.shape)}"
            )
