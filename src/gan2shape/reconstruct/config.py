"""What a reconstruction is told: frozen, typed, plain numbers, written beside every result.

Nothing here imports torch, so that the command line can build its ``--help`` from these classes at once. Every class
is data: a category of pictures is an instance (see `presets`), never a branch in the code.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gan2shape.networks.widths import NetworkConfig
from gan2shape.priors.distributions import LightingPrior, PosePrior
from gan2shape.priors.ellipsoid import EllipsoidPrior


@dataclass(frozen=True)
class Stage:
    """One round of the three steps."""

    albedo: int
    """Iterations of step 1 (albedo)."""
    project: int
    """Iterations of step 2 (latent encoder)."""
    refine: int
    """Iterations of step 3 (all factors); 0 ends the stage after step 2, or after step 1 where that has none either."""
    batches: int = 100
    """Batches of projected samples that are collected after step 2 and kept for step 3."""
    warmup: int = 0
    """Iterations that teach viewpoint and light networks the known poses of pseudo samples before step 3 (0: none)."""
    hold: int = 0
    """First iterations of step 3 that leave viewpoint and light networks as the warm-up left them (0: none)."""
    mirror_albedo: bool = False
    """Whether the mirrored object must explain the picture too in step 1 (assumes symmetry)."""
    mirror_refine: bool = False
    """Whether the mirrored object must explain the pictures too in step 3 (assumes symmetry)."""


@dataclass(frozen=True)
class Geometry:
    """Camera, depth range and how far poses may go."""

    working_size_px: int = 64
    """Side of the square maps that the factor networks work on, in pixels."""
    fov_deg: float = 10.0
    """Field of view of the camera, in degrees."""
    pivot_depth: float = 1.0
    """Depth of the point that the object turns about, in scene units."""
    near: float = 0.9
    """Nearest depth, in scene units."""
    far: float = 1.1
    """Farthest depth, in scene units."""
    border_columns: int = 2
    """Columns at the left and right border whose depth is tied to the background."""
    border_weight: float = 1.0
    """Weight of that tie (1 here; the original program has 1.02)."""
    rotation_deg: float = 60.0
    """Largest rotation that the viewpoint network can predict, in degrees."""
    xy_translation: float = 0.1
    """Largest sideways shift, in scene units."""
    z_translation: float = 0.0
    """Largest shift along the optical axis, in scene units."""
    compat: bool = False
    """Whether to sample pixels and normals as the original program does (half a pixel off)."""


@dataclass(frozen=True)
class Objective:
    """Weights of the loss terms."""

    perceptual: float = 0.5
    """Weight of the perceptual term in steps 1 and 3; 0 leaves it out and saves its time."""
    smoothness: float = 0.01
    """Weight of the second differences of depth and shading."""
    depth_smoothness: float = 0.0
    """Further weight of the depth's second differences, which are small numbers (scene units)."""
    offset: float = 0.01
    """Weight of the mean squared latent offset in step 2."""
    features: Literal["discriminator", "vgg"] = "discriminator"
    """What compares pictures: features of the GAN's own discriminator, or VGG-16 with LPIPS heads."""
    use_mask: bool = False
    """Whether the object mask weighs pseudo samples (cars, churches: objects amid clutter)."""


@dataclass(frozen=True)
class Optimizer:
    """Adam, a fresh one for every step."""

    prior_learning_rate: float = 1e-4
    """Learning rate of step 0."""
    albedo_learning_rate: float = 1e-4
    """Learning rate of step 1."""
    encoder_learning_rate: float = 1e-4
    """Learning rate of step 2."""
    refine_learning_rate: float = 1e-4
    """Learning rate of step 3."""
    warmup_learning_rate: float = 1e-3
    """Learning rate of the viewpoint and light warm-up."""
    polish_learning_rate: float = 5e-2
    """Learning rate of the projected samples' own codes (step 2, if polished)."""
    final_rate: float = 1.0
    """Learning rate at a step's end as a fraction of that at its start, for every step (1: constant)."""
    weight_decay: float = 5e-4
    """Coupled L2 weight decay."""
    batch_size: int = 16
    """Pseudo or projected samples in one iteration."""
    together: int = 1
    """Pictures in one iteration, which share its samples, where several are reconstructed together."""


@dataclass(frozen=True)
class Projection:
    """How pseudo samples are brought to the GAN's manifold (step 2)."""

    offset_layers: int = 2
    """F1 of the method: the offset passes through the last F1 + 1 entries of the mapping network."""
    relative: bool = True
    """Whether the code of the GAN's own picture is subtracted from the code of a pseudo sample."""
    polish: int = 0
    """Iterations that optimise every projected sample's own code after the encoder (0: none, as the paper)."""


@dataclass(frozen=True)
class Turned:
    """Refinement of what the bundled networks see, on views that the generator turns and lights by itself."""

    views: int = 96
    """Views that the generator paints; every second one is hardly turned."""
    typical: float = 0.6
    """How far the object of the views is from the mean latent, as a fraction of what the encoder sees in the picture:
    typical objects turn better."""
    lit: float = 1.5
    """Standard deviation of the views' lights, sideways and in height, in those that the generator's pictures have."""
    hold: int = 40
    """First iterations, in which only the poses of the views move, and with them the object's frame."""
    refine: int = 160
    """Iterations of a refinement; 0 leaves it out."""
    refinements: int = 3
    """Refinements, each on views of its own; their depths and poses are averaged, which more time makes better."""
    batch_size: int = 8
    """Views in one iteration."""
    learning_rate: float = 1e-4
    """Of the depth network at the start; the poses of views move 30 times as fast."""
    final_rate: float = 0.2
    """Learning rate at the end as a fraction of that at the start (1: constant)."""
    weight_decay: float = 5e-4
    """Coupled L2 weight decay."""
    smoothness: float = 0.02
    """Weight of the second differences of depth and shading."""
    depth_smoothness: float = 4.0
    """Further weight of the depth's second differences."""
    mirror: float = 0.25
    """Weight of the difference between the picture and what its mirror image says of the same places, if the object is
    alike on both sides; 0 leaves it out."""


@dataclass(frozen=True)
class Inversion:
    """How a picture's latent is found."""

    encoder: bool = False
    """Whether to start from what the bundled encoder proposes too, where the generator is the bundled one."""
    samples: int = 256
    """Random latents that are scored as possible starts."""
    restarts: int = 4
    """Starts that are optimised together."""
    survey_steps: int = 60
    """Iterations with all restarts; then the better half goes on."""
    narrow_steps: int = 60
    """Iterations with the better half; then the best one goes on."""
    final_steps: int = 180
    """Iterations with the best one."""
    rows_steps: int = 0
    """Further iterations in which every layer has a latent of its own (w+); 0 keeps one for all."""
    jitter: float = 0.0
    """Noise on the latents, in standard deviations of the generator's own; it falls to zero on the way."""
    patience: int = 0
    """Iterations without a gain of a thousandth after which the search goes on to its end; 0: never."""


@dataclass(frozen=True)
class ReconstructConfig:
    """Everything that decides a reconstruction, except picture, generator and seed."""

    name: str = "own"
    """Name of the preset this configuration began as; "own" if none."""
    start: Literal["ellipsoid", "turned", "one-pass"] = "ellipsoid"
    """What the shape starts from: an ellipsoid, or networks of one pass that learned from turned views (only for the
    generator that they learned from; they say pose and light too, and the GAN is moved by its latents). "one-pass" is
    for joint pre-training: all factor networks learn what such networks tell, and the steps go on from there."""
    stages: tuple[Stage, ...] = (Stage(600, 600, 400), Stage(200, 500, 300), Stage(200, 500, 300), Stage(200, 500, 300))
    """The rounds of the three steps, where it starts from the ellipsoid."""
    prior_steps: int = 1000
    """Iterations of step 0: the fit of the depth network to the ellipsoid, or of all factor networks to one pass."""
    prior: EllipsoidPrior = field(default_factory=EllipsoidPrior)
    """The weak shape prior."""
    pose: PosePrior = field(default_factory=PosePrior)
    """Distribution of the viewpoints that pseudo samples are rendered from."""
    lighting: LightingPrior = field(default_factory=LightingPrior)
    """Distribution of the lights that pseudo samples are rendered under."""
    geometry: Geometry = field(default_factory=Geometry)
    """Camera, depth range, pose range."""
    networks: NetworkConfig = field(default_factory=NetworkConfig)
    """Network sizes."""
    add_prior_means: bool = True
    """Whether the priors' mean pose and light are added to the outputs of the viewpoint and light networks."""
    objective: Objective = field(default_factory=Objective)
    """Loss weights."""
    optimizer: Optimizer = field(default_factory=Optimizer)
    """Learning rates, batch size."""
    projection: Projection = field(default_factory=Projection)
    """Step 2."""
    turned: Turned = field(default_factory=Turned)
    """Refinement where it starts from turned views."""
    inversion: Inversion = field(default_factory=Inversion)
    """Finding the latent of a picture."""
    crop: float = 1.0
    """Centre part of the generator's picture that is used, as a fraction of its side."""
    yaw_limit_deg: float = 70.0
    """Largest yaw of the exported rotated views, in degrees."""
    images: int = 1
    """Pictures that are reconstructed together (joint pre-training: 200)."""
    assumes: str = ""
    """What the published schedule starts from; a result says so where it was not handed in."""

    def to_dict(self) -> dict[str, Any]:
        """The configuration as plain JSON-able values."""
        return dataclasses.asdict(self)


def config_from_dict(values: Mapping[str, Any]) -> ReconstructConfig:
    """The configuration that `ReconstructConfig.to_dict` (or its JSON) describes.

    Raises:
        ValueError: an unknown key, named with its place.
    """
    return typing.cast(ReconstructConfig, _from_plain(ReconstructConfig, values, "config"))


def _from_plain(kind: Any, value: Any, place: str) -> Any:
    """Rebuild dataclasses and tuples from dictionaries and lists, checking every key."""
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(value, Mapping):
            raise ValueError(f"{place} must be a table of settings; got {type(value).__name__}")
        hints = typing.get_type_hints(kind)
        unknown = sorted(set(value) - set(hints))
        if unknown:
            raise ValueError(f"{place} has unknown key {unknown[0]!r}; known: {', '.join(sorted(hints))}")
        return kind(**{key: _from_plain(hints[key], item, f"{place}.{key}") for key, item in value.items()})
    if typing.get_origin(kind) is tuple and isinstance(value, (list, tuple)):
        inner = typing.get_args(kind)
        kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else list(inner)
        return tuple(
            _from_plain(k, item, f"{place}[{index}]") for index, (k, item) in enumerate(zip(kinds, value, strict=True))
        )
    if typing.get_origin(kind) in (typing.Union, types.UnionType) and value is not None:
        chosen = next(k for k in typing.get_args(kind) if k is not type(None))
        return _from_plain(chosen, value, place)
    return value
