"""Augmentation of real pictures: mirroring and whole-pixel shifts."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def sample_mirror(images: Tensor, *, rng: torch.Generator) -> Tensor:
    """Pictures (B, C, H, W), each mirrored left to right with probability one half."""
    flip = torch.rand(images.shape[0], 1, 1, 1, generator=rng, device=rng.device).to(images.device) < 0.5
    return torch.where(flip, images.flip(3), images)


def sample_shift(images: Tensor, most: int, *, rng: torch.Generator) -> Tensor:
    """Pictures (B, C, H, W), each moved by whole pixels, from ``-most`` to ``most`` in both directions.

    What comes in at a border repeats the border's pixels (reflection would show heads twice), so a plain background
    stays plain. The shift is a part of what the generator learns: keep it to pictures that are placed arbitrarily.

    Raises:
        ValueError: ``most`` is negative or not smaller than a side.
    """
    batch, _, height, width = images.shape
    if not 0 <= most < min(height, width):
        raise ValueError(f"most must be from 0 to {min(height, width) - 1}; got {most}")
    if most == 0:
        return images
    offsets = torch.randint(0, 2 * most + 1, (2, batch), generator=rng, device=rng.device).to(images.device)
    padded = F.pad(images, (most, most, most, most), mode="replicate")
    rows = offsets[0, :, None] + torch.arange(height, device=images.device)  # (B, H)
    columns = offsets[1, :, None] + torch.arange(width, device=images.device)  # (B, W)
    samples = torch.arange(batch, device=images.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[samples, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
