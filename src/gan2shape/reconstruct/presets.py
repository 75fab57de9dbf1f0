"""Presets: configurations as named instances. A value that differs from the default has its reason beside it.

``paper-*`` are the published schedules (GAN2Shape, appendix and original configurations). They were made to start from
joint pre-training and from Gaussians of pose and light that were fitted with Unsup3D; where those are not handed in
they start from the ellipsoid and draw from the generic prior (docs/deviations.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from gan2shape.networks.widths import NetworkConfig
from gan2shape.priors.distributions import SYNFACE_LIGHTING, PosePrior
from gan2shape.priors.ellipsoid import EllipsoidPrior
from gan2shape.reconstruct.config import Geometry, Inversion, Objective, Optimizer, Projection, ReconstructConfig, Stage

# Faces, cats and synthetic faces turn too little in pseudo samples without this factor on the drawn yaw.
_WIDER_YAW = PosePrior(yaw_scale=1.2)
_PAPER_GEOMETRY = Geometry(working_size_px=128)
_GAUSSIANS = "Gaussians of pose and light that Unsup3D fitted"
_ALL = f"joint pre-training, and {_GAUSSIANS}"


def _stages(first: Stage, later: Stage, count: int) -> tuple[Stage, ...]:
    return (first,) + (later,) * (count - 1)


CELEBA = ReconstructConfig(
    name="paper-celeba",
    geometry=_PAPER_GEOMETRY,
    stages=_stages(Stage(600, 600, 400, mirror_refine=True), Stage(200, 500, 300), 4),
    prior=EllipsoidPrior(to_image_bottom=True, narrow=1 / 12),  # the face region, down to the border
    pose=_WIDER_YAW,
    assumes=_ALL,
)

CAT = replace(
    CELEBA,
    name="paper-cat",
    prior=EllipsoidPrior(),
    crop=170 / 256,  # the GAN's pictures show more than the head
)

CAR = ReconstructConfig(
    name="paper-car",
    geometry=_PAPER_GEOMETRY,
    stages=_stages(Stage(700, 700, 600), Stage(200, 500, 400), 4),  # never mirrored: a car's sides differ
    prior=EllipsoidPrior(extend_below=1 / 6),
    objective=Objective(use_mask=True),  # clutter around the object must not count
    optimizer=Optimizer(batch_size=8),
    projection=Projection(relative=False),
    yaw_limit_deg=45.0,
    assumes=_GAUSSIANS,
)

CHURCH = replace(
    CAR,
    name="paper-church",
    prior=EllipsoidPrior(extend_below=1 / 6, far=1.0),  # a flatter object
)

SYNFACE = ReconstructConfig(
    name="paper-synface",
    geometry=Geometry(working_size_px=64),
    stages=(Stage(500, 500, 200, mirror_refine=True),),
    prior=EllipsoidPrior(extend_above=1 / 6),
    pose=_WIDER_YAW,
    lighting=SYNFACE_LIGHTING,
    projection=Projection(offset_layers=8),  # synthetic faces turn more than the last layers can say
    # The original also crops its renders to the face; pictures of the bundled generator are framed already.
    assumes=_ALL,
)


def _pretraining(
    base: ReconstructConfig, name: str, *, stages: int, batch_size: int, batches: int
) -> ReconstructConfig:
    """The joint pre-training of a category: the same steps over 200 pictures, mirrored from the second stage on."""
    first = Stage(1500, 1500, 1500, batches=batches, mirror_refine=True)
    later = Stage(700, 1000, 1000, batches=batches, mirror_albedo=True, mirror_refine=True)
    return replace(
        base,
        name=name,
        stages=_stages(first, later, stages),
        optimizer=replace(base.optimizer, batch_size=batch_size),
        images=200,
        assumes=f"200 pictures trained jointly, and {_GAUSSIANS}",
    )


# The default for generators other than the bundled one; made for heads of 64 px, on two CPU cores, in a few minutes.
# What was tried, and what each part is worth, is told in docs/quality.md.
ELLIPSOID = ReconstructConfig(
    name="ellipsoid",
    geometry=Geometry(
        pivot_depth=1.04,  # a map's mean depth is 1, and a head's axis lies behind its surface
    ),
    stages=(
        # Never mirrored: two of three heads turned by 30 degrees came out worse with symmetry (docs/quality.md).
        Stage(albedo=300, project=300, refine=200, batches=50),
        Stage(albedo=150, project=0, refine=0),  # the picture's own detail back onto the refined shape
    ),
    prior_steps=300,
    prior=EllipsoidPrior(near=0.95, far=1.03, extend_above=0.4, extend_below=0.2),  # a head with its neck, cut below
    pose=_WIDER_YAW,
    lighting=SYNFACE_LIGHTING,  # strong lights from the side: the GAN follows a light better than a turn
    networks=NetworkConfig(width_multiplier=0.5),  # a quarter of the work, and enough at 64 px
    objective=Objective(
        depth_smoothness=4.0,  # without it so few samples leave ripples
    ),
    optimizer=Optimizer(
        prior_learning_rate=1e-3,  # few iterations
        batch_size=8,
    ),
    projection=Projection(offset_layers=8),  # synthetic faces turn more than the last layers can say
)

# The default is for the bundled generator: networks that know its heads, which turn along its latents.
DEFAULT = ReconstructConfig(
    name="default",
    start="turned",
    stages=(),
    geometry=Geometry(pivot_depth=1.02),  # that of its networks
    networks=ELLIPSOID.networks,
    prior=ELLIPSOID.prior,
    # The bundled encoder proposes a start that is better than most others.
    inversion=Inversion(encoder=True, samples=64, restarts=2, survey_steps=50, narrow_steps=0, final_steps=200),
)

# Joint pre-training for the ellipsoid preset: what its networks start from. Mirrored as published; warm-up and hold
# because no networks know poses yet. Not run in full since that preset went back to low learning rates.
PRETRAIN = replace(
    ELLIPSOID,
    name="pretrain",
    stages=(
        Stage(albedo=300, project=600, refine=800, batches=80, warmup=300, hold=200, mirror_refine=True),
        Stage(albedo=200, project=400, refine=800, batches=80, mirror_albedo=True, mirror_refine=True),
    ),
    prior_steps=600,
    optimizer=replace(ELLIPSOID.optimizer, batch_size=16, together=4),
    images=40,
)

# The same where one pass knows the category: what networks and encoder of the published schedules start from.
PRETRAIN_ONE_PASS = replace(
    PRETRAIN,
    name="pretrain-one-pass",
    start="one-pass",
    geometry=Geometry(
        pivot_depth=1.02,  # that of its networks
        border_columns=0,  # and a head that is turned would be seen through a wall
    ),
    networks=NetworkConfig(  # half of everything, but for the code of shapes, which one pass has
        width_multiplier=0.5, vector_base_width=16, albedo_code_size=128, offset_base_width=16
    ),
    stages=(Stage(albedo=200, project=1200, refine=0),),  # one pass knows shapes better than step 3 would find them
    prior_steps=1200,
    optimizer=Optimizer(
        prior_learning_rate=4e-4,
        albedo_learning_rate=3e-4,
        encoder_learning_rate=3e-4,
        final_rate=0.05,
        together=4,
    ),
    images=200,
)

PRESETS: Mapping[str, ReconstructConfig] = MappingProxyType(
    {
        preset.name: preset
        for preset in (
            DEFAULT,
            ELLIPSOID,
            CELEBA,
            CAT,
            CAR,
            CHURCH,
            SYNFACE,
            _pretraining(CELEBA, "paper-celeba-pretrain", stages=4, batch_size=8, batches=800),
            _pretraining(CAT, "paper-cat-pretrain", stages=4, batch_size=8, batches=800),
            _pretraining(SYNFACE, "paper-synface-pretrain", stages=8, batch_size=12, batches=1000),
            PRETRAIN,
            PRETRAIN_ONE_PASS,
        )
    }
)
"""All presets by name."""
