"""Presets: the published numbers, and two iterations of every step of every preset on a small random GAN."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from gan2shape.generators import LoadedGenerator
from gan2shape.networks.turned import PIVOT_DEPTH
from gan2shape.reconstruct import PRESETS, Reconstructor
from gan2shape.reconstruct.reconstructor import reconstructor_for
from gan2shape.reconstruct.watch import Event, IterationDone
from tests.reconstruct.bundled import bundled, own_target
from tests.reconstruct.small import NETWORKS, small_generator, small_target, with_two_iterations

# GAN2Shape's public configurations: pictures' side, iterations of the first stage and of the later ones, stages, batch.
PUBLISHED = {
    "paper-celeba": (128, (600, 600, 400), (200, 500, 300), 4, 16),
    "paper-cat": (128, (600, 600, 400), (200, 500, 300), 4, 16),
    "paper-car": (128, (700, 700, 600), (200, 500, 400), 4, 8),
    "paper-church": (128, (700, 700, 600), (200, 500, 400), 4, 8),
    "paper-synface": (64, (500, 500, 200), (500, 500, 200), 1, 16),
    "paper-celeba-pretrain": (128, (1500, 1500, 1500), (700, 1000, 1000), 4, 8),
    "paper-cat-pretrain": (128, (1500, 1500, 1500), (700, 1000, 1000), 4, 8),
    "paper-synface-pretrain": (64, (1500, 1500, 1500), (700, 1000, 1000), 8, 12),
}


def test_every_published_preset_is_there() -> None:
    assert set(PUBLISHED) | {"default", "ellipsoid", "pretrain"} <= set(PRESETS)
    assert all(name == preset.name for name, preset in PRESETS.items())


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_schedule(name: str) -> None:
    side, first, later, stages, batch = PUBLISHED[name]
    config = PRESETS[name]
    assert config.geometry.working_size_px == side
    assert len(config.stages) == stages
    schedules = [(stage.albedo, stage.project, stage.refine) for stage in config.stages]
    assert schedules == [first, *[later] * (stages - 1)]
    assert config.optimizer.batch_size == batch
    assert config.optimizer.refine_learning_rate == 1e-4
    assert config.optimizer.weight_decay == 5e-4
    assert all(stage.warmup == 0 for stage in config.stages), "the paper has no warm-up"


def test_what_the_method_says_of_categories() -> None:
    celeba, cat, car, church = (PRESETS[f"paper-{name}"] for name in ("celeba", "cat", "car", "church"))
    assert (celeba.pose.yaw_scale, cat.pose.yaw_scale, car.pose.yaw_scale) == (1.2, 1.2, 1.0)
    assert (celeba.yaw_limit_deg, car.yaw_limit_deg, church.yaw_limit_deg) == (70, 45, 45)
    assert (church.prior.far, car.prior.far) == (1.0, 1.02)
    assert car.objective.use_mask
    assert church.objective.use_mask
    assert not celeba.objective.use_mask
    assert [stage.mirror_refine for stage in cat.stages] == [True, False, False, False]
    assert not any(stage.mirror_refine or stage.mirror_albedo for stage in car.stages + church.stages)
    pretraining = PRESETS["paper-celeba-pretrain"].stages
    assert all(stage.mirror_refine for stage in pretraining)
    assert [stage.mirror_albedo for stage in pretraining] == [False, True, True, True]


@pytest.mark.parametrize("name", PRESETS)
def test_presets_say_what_their_published_schedule_starts_from(name: str) -> None:
    assumes = PRESETS[name].assumes
    published = name.startswith("paper-")
    assert bool(assumes) == published
    assert ("Gaussians" in assumes) == published
    single = name.removeprefix("paper-") in ("celeba", "cat", "synface")
    assert ("joint pre-training" in assumes) == single, "cars and churches are published from the ellipsoid"
    assert ("trained jointly" in assumes) == (published and PRESETS[name].images > 1)


def test_published_presets_have_nothing_of_our_own() -> None:
    for name in PUBLISHED:
        config = PRESETS[name]
        assert (config.optimizer.final_rate, config.projection.polish, config.objective.depth_smoothness) == (1, 0, 0)
        assert (config.objective.perceptual, config.objective.smoothness, config.objective.offset) == (0.5, 0.01, 0.01)
        assert config.geometry.pivot_depth == 1
        assert (config.prior_steps, config.prior.near, config.prior.radius) == (1000, 0.91, 0.4)
        assert config.projection.offset_layers == (8 if "synface" in name else 2)
        assert config.projection.relative == (name not in ("paper-car", "paper-church"))
        batches = {"paper-synface-pretrain": 1000}.get(name, 800 if "pretrain" in name else 100)
        assert {stage.batches for stage in config.stages} == {batches}


def test_the_default_alone_starts_from_turned_views_and_shares_the_rest_with_what_takes_its_place() -> None:
    assert [name for name, preset in PRESETS.items() if preset.start == "turned"] == ["default"]
    default, ellipsoid = PRESETS["default"], PRESETS["ellipsoid"]
    assert default.stages == ()
    assert ellipsoid.stages
    assert default.geometry == dataclasses.replace(ellipsoid.geometry, pivot_depth=PIVOT_DEPTH)
    assert default.geometry.pivot_depth == PIVOT_DEPTH, "its networks turn objects about the same point"
    assert [name for name, preset in PRESETS.items() if preset.inversion.encoder] == ["default"]


def test_one_pass_is_learned_under_its_own_geometry() -> None:
    preset = PRESETS["pretrain-one-pass"]
    assert [name for name, other in PRESETS.items() if other.start == "one-pass"] == [preset.name]
    assert preset.geometry.pivot_depth == PIVOT_DEPTH
    assert preset.lighting == PRESETS["paper-synface"].lighting, "strong lights are what teaches"
    assert preset.projection == PRESETS["paper-synface"].projection, "the encoder's codes are for the same layers"


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedGenerator:
    return small_generator(tmp_path_factory.mktemp("generator"), resolution=64)


@pytest.mark.parametrize("name", [name for name, preset in PRESETS.items() if preset.start == "ellipsoid"])
def test_two_iterations_of_every_step(name: str, loaded: LoadedGenerator) -> None:
    """A smoke test: at the preset's own size, every step runs, in the method's order, and the scene is finite."""
    config = dataclasses.replace(with_two_iterations(PRESETS[name]), networks=NETWORKS)
    assert len(set(config.stages[1:])) <= 1, "later stages are alike; one of them is enough"
    config = dataclasses.replace(config, stages=config.stages[:2])
    events: list[Event] = []
    target = small_target(loaded, size=config.geometry.working_size_px)
    result = Reconstructor(loaded, config)(target, on_event=events.append)
    expected = [("shape prior", 2)]
    for index, stage in enumerate(config.stages, start=1):
        steps = ["albedo", "encoder", "projection"] + ["pose and light"] * (stage.warmup > 0) + ["shape"]
        expected += [(f"stage {index}: {step}", 2) for step in steps]
    done = [event.name for event in events if isinstance(event, IterationDone)]
    assert done == [step for step, count in expected for _ in range(count)]
    assert not result.warnings
    scene = result.scene
    for values in (scene.depth, scene.albedo, scene.pose.rotation, scene.lighting.direction):
        assert bool(torch.isfinite(values).all())


def test_two_iterations_of_the_default() -> None:
    """A smoke test, with the only generator that it is for."""
    config = with_two_iterations(PRESETS["default"])
    events: list[Event] = []
    result = reconstructor_for(bundled(), config)(own_target(), on_event=events.append)
    assert [event.name for event in events if isinstance(event, IterationDone)] == [
        name for name in ("refinement", "refinement 2", "refinement 3") for _ in range(2)
    ]
    assert not result.warnings
    scene = result.scene
    for values in (scene.depth, scene.albedo, scene.pose.rotation, scene.lighting.direction):
        assert bool(torch.isfinite(values).all())
