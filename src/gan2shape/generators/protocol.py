"""What the reconstruction asks of a GAN: one method, and two optional capabilities.

Anything that turns latents into pictures can be reconstructed from: `Generator` is the whole requirement. A latent
offset and a feature extractor make the projection of samples better where a GAN can offer them.

Conventions: latents ``w`` are (B, latent_dim), or (B, num_ws, latent_dim) with one row per layer; images are
(B, 3, R, R), RGB, signed [-1, 1] and not clamped by the generator.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Generator(Protocol):
    """A frozen GAN: the same latent always gives the same picture, and the gradient reaches the latent."""

    @property
    def resolution(self) -> int:
        """Side R of the square pictures, in pixels."""
        ...

    @property
    def latent_dim(self) -> int:
        """Count of numbers in one latent row."""
        ...

    def synthesize(self, w: Tensor) -> Tensor:
        """Latents (B, latent_dim) or (B, num_ws, latent_dim) to images (B, 3, R, R), signed, not clamped, w's dtype."""
        ...


@runtime_checkable
class LatentOffset(Protocol):
    """Turns the code of the projection encoder into a change of the latent; code zero must give offset zero."""

    @property
    def code_dim(self) -> int:
        """Count K of numbers in a code."""
        ...

    def __call__(self, code: Tensor) -> Tensor:
        """Codes (B, K) to latent offsets (B, latent_dim)."""
        ...


@runtime_checkable
class FeatureExtractor(Protocol):
    """A pyramid of features in which pictures are compared."""

    def __call__(self, images: Tensor) -> Sequence[Tensor]:
        """Images (B, 3, H, W), signed, to maps (B, C, h, w) in float32, finest first."""
        ...
