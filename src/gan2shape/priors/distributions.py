"""Which poses and lights the pseudo samples get (step 2), and the means that the networks start from.

Everything is plain numbers, so that a configuration can be written as JSON, and torch is imported only to draw.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from gan2shape.render.pose import Pose
    from gan2shape.render.shading import Lighting
    from gan2shape.render.units import PoseRange

# One network unit of the method's PoseRange; the generic prior below is stated in degrees and scene units.
_UNIT_DEG = 60.0
_UNIT_TRANSLATION = 0.1

GENERIC_POSE_STD = (
    8 / _UNIT_DEG,
    20 / _UNIT_DEG,
    3 / _UNIT_DEG,
    0.005 / _UNIT_TRANSLATION,
    0.005 / _UNIT_TRANSLATION,
    0.0,
)


@dataclass(frozen=True)
class PosePrior:
    """A normal distribution of poses in network units: pitch, yaw, roll, x, y, z, each in parts of its `PoseRange`.

    The default is the generic prior: pitch 8°, yaw 20°, roll 3°, shift 0.005 about the frontal pose.
    """

    mean: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    """Mean of the six numbers, network units."""
    std: tuple[float, ...] = GENERIC_POSE_STD
    """Standard deviations of the six numbers, network units; unused where a covariance is given."""
    covariance: tuple[tuple[float, ...], ...] | None = None
    """Covariance of the six numbers, 6 rows of 6, squared network units; None draws them independently with `std`."""
    yaw_scale: float = 1.0
    """Factor on the drawn yaw, its mean included; above 1 shows more of the sides than the category's pictures do."""

    def __post_init__(self) -> None:
        if len(self.mean) != 6 or len(self.std) != 6:
            raise ValueError(f"mean and std must have 6 numbers; got {len(self.mean)} and {len(self.std)}")
        if self.covariance is not None and (len(self.covariance) != 6 or any(len(row) != 6 for row in self.covariance)):
            raise ValueError(f"covariance must be 6 rows of 6; got rows of {[len(row) for row in self.covariance]}")
        if not all(math.isfinite(value) for row in (self.mean, self.std, *(self.covariance or ())) for value in row):
            raise ValueError("mean, std and covariance must be finite numbers")
        if min(self.std) < 0:
            raise ValueError(f"std must not be negative; got {self.std}")

    @classmethod
    def from_degrees(
        cls,
        *,
        pitch_deg: float = 8.0,
        yaw_deg: float = 20.0,
        roll_deg: float = 3.0,
        translation: float = 0.005,
        ranges: PoseRange | None = None,
        yaw_scale: float = 1.0,
    ) -> PosePrior:
        """Independent poses about the frontal one, from standard deviations in degrees and scene units.

        `ranges` are those of the networks that will read this prior's mean. Directions with range 0 get 0.
        """
        turn = ranges.rotation_deg if ranges else _UNIT_DEG
        shift = ranges.xy_translation if ranges else _UNIT_TRANSLATION
        depth = ranges.z_translation if ranges else 0.0
        shifts = [translation / unit if unit else 0.0 for unit in (shift, shift, depth)]
        return cls(std=(pitch_deg / turn, yaw_deg / turn, roll_deg / turn, *shifts), yaw_scale=yaw_scale)

    def sample_units(self, count: int, *, rng: torch.Generator) -> torch.Tensor:
        """(count, 6) numbers in network units, float32 on the generator's device; the yaw already scaled.

        Raises:
            ValueError: if the covariance is not symmetric and positive semi-definite.
        """
        import torch

        device = rng.device
        normal = torch.randn(count, 6, generator=rng, device=device)
        if self.covariance is None:
            spread = normal * torch.tensor(self.std, device=device)
        else:
            spread = normal @ _square_root(torch.tensor(self.covariance, dtype=torch.float64)).to(normal)
        factor = torch.ones(6, device=device)
        factor[1] = self.yaw_scale
        return (spread + torch.tensor(self.mean, device=device)) * factor

    def sample(self, count: int, *, rng: torch.Generator, ranges: PoseRange | None = None) -> Pose:
        """`count` poses, float32 on the generator's device. `ranges` says what one network unit means."""
        from gan2shape.render.units import pose_from_units

        return pose_from_units(self.sample_units(count, rng=rng), ranges)


@dataclass(frozen=True)
class LightingPrior:
    """Uniform lights around the light of the reconstructed picture, and the mean that the light network starts from.

    A strength r is added to the diffuse term and `ambient_per_strength` · r to the ambient term.
    """

    x_min: float = -1.0
    """Least direction x before normalisation with z = 1; positive lights surfaces that face image-left."""
    x_max: float = 1.0
    """Greatest direction x before normalisation."""
    y_min: float = -0.2
    """Least direction y before normalisation; positive lights surfaces that face up."""
    y_max: float = 0.8
    """Greatest direction y before normalisation."""
    strength_min: float = -0.1
    """Least strength r, in units of shading."""
    strength_max: float = 0.6
    """Greatest strength r, in units of shading."""
    ambient_per_strength: float = -0.6
    """How much the ambient term changes for strength 1; negative keeps the picture's brightness."""
    mean_ambient: float = 0.45
    """Ambient term that the light network's output is added to."""
    mean_diffuse: float = 0.6
    """Diffuse term that the light network's output is added to."""
    mean_direction: tuple[float, float, float] = (0.0, 0.25, 1.0)
    """Light direction that the light network's output is added to; need not be of length 1, z > 0."""

    def __post_init__(self) -> None:
        if self.x_min > self.x_max or self.y_min > self.y_max or self.strength_min > self.strength_max:
            raise ValueError("each *_min must not exceed its *_max")
        if not self.mean_direction[2] > 0:
            raise ValueError(f"mean_direction must have z > 0; got {self.mean_direction}")

    @property
    def mean_units(self) -> tuple[float, float, float, float]:
        """The mean light in network units: what `FactorNetworks` takes as `lighting_mean`."""
        x, y, z = self.mean_direction
        return (2 * self.mean_ambient - 1, 2 * self.mean_diffuse - 1, x / z, y / z)

    def sample(self, count: int, base: Lighting, *, rng: torch.Generator) -> Lighting:
        """`count` lights around `base` (batch 1 or `count`), on its device and in its dtype.

        Drawn in this order: all x, all y, all strengths, so that a seed means the same lights everywhere.
        """
        import torch

        from gan2shape.render.shading import Lighting as LightingType

        def uniform(low: float, high: float) -> torch.Tensor:
            drawn = torch.rand(count, 1, generator=rng, device=rng.device)
            return (drawn * (high - low) + low).to(base.ambient)

        x = uniform(self.x_min, self.x_max)
        y = uniform(self.y_min, self.y_max)
        strength = uniform(self.strength_min, self.strength_max)  # (count, 1)
        direction = torch.cat([x, y, torch.ones_like(x)], dim=1)
        return LightingType(
            ambient=base.ambient + self.ambient_per_strength * strength,
            diffuse=base.diffuse + strength,
            direction=direction / torch.linalg.vector_norm(direction, dim=1, keepdim=True),
        )


GENERIC_POSE = PosePrior()
GENERIC_LIGHTING = LightingPrior()

# The original program's values for synthetic faces.
SYNFACE_LIGHTING = LightingPrior(
    x_min=-0.9, x_max=0.9, y_min=-0.3, y_max=0.8, strength_min=-0.1, strength_max=0.7, ambient_per_strength=-0.4
)


def _square_root(covariance: torch.Tensor) -> torch.Tensor:
    """The symmetric square root, which also exists where a direction has no variance."""
    import torch

    if not torch.allclose(covariance, covariance.T, rtol=1e-4, atol=1e-9):
        raise ValueError("covariance must be symmetric")
    values, vectors = torch.linalg.eigh((covariance + covariance.T) / 2)
    if bool(values.min() < -1e-6 * values.abs().max()):
        raise ValueError(
            f"covariance must be positive semi-definite; its least eigenvalue is {float(values.min()):.3g}"
        )
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T
