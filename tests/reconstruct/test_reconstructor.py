"""The loop: seeds, order of values, divergence, resumption, and a GAN that is a renderer of a known object."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gan2shape.errors import InputError
from gan2shape.evaluate import mad, scored_mask, side
from gan2shape.generators import LoadedGenerator
from gan2shape.networks import NetworkConfig
from gan2shape.reconstruct import Reconstructor, Stage
from gan2shape.reconstruct.config import Optimizer
from gan2shape.reconstruct.presets import PRESETS
from gan2shape.reconstruct.progress import Progress
from gan2shape.reconstruct.reconstructor import reconstructor_for
from gan2shape.reconstruct.turned import TurnedReconstructor
from gan2shape.reconstruct.watch import Event, IterationDone, StepFinished, Stopped
from gan2shape.render import render
from gan2shape.result import ReconstructionResult
from tests.reconstruct.bundled import bundled
from tests.reconstruct.small import (
    CAMERA,
    TINY,
    bumpy_scene,
    grey_levels,
    known_target,
    renderer_gan,
    small_generator,
    small_target,
)

STEPS = [
    "shape prior",
    "stage 1: albedo",
    "stage 1: encoder",
    "stage 1: projection",
    "stage 1: pose and light",
    "stage 1: shape",
]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedGenerator:
    return small_generator(tmp_path_factory.mktemp("generator"))


def same(a: ReconstructionResult, b: ReconstructionResult) -> bool:
    pairs = [
        (a.scene.depth, b.scene.depth),
        (a.scene.albedo, b.scene.albedo),
        (a.scene.pose.rotation, b.scene.pose.rotation),
        (a.scene.lighting.direction, b.scene.lighting.direction),
        *((a.networks[name], b.networks[name]) for name in a.networks),
    ]
    return a.networks.keys() == b.networks.keys() and all(torch.equal(x, y) for x, y in pairs)


def test_the_same_seed_gives_the_same_result_and_leaves_the_global_state_alone(loaded: LoadedGenerator) -> None:
    target, reconstructor = small_target(loaded), Reconstructor(loaded, TINY)
    torch.manual_seed(5)
    first = reconstructor(target, seed=1)
    after = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(3)), "random numbers have an owner"
    torch.manual_seed(6)
    assert same(first, reconstructor(target, seed=1))
    assert not same(first, reconstructor(target, seed=2))


def test_the_result_says_what_it_was_made_of(loaded: LoadedGenerator) -> None:
    target = small_target(loaded)
    result = Reconstructor(loaded, TINY)(target, seed=4)
    assert result.config == TINY.to_dict()
    assert (result.seed, result.generator.sha256, result.generator.name) == (4, loaded.sha256, loaded.name)
    assert torch.equal(result.latent, target.latent)
    assert torch.equal(result.image, target.image)
    assert torch.equal(result.mask, target.mask)
    assert result.warnings == ()
    rows = [(row["step"], row["iteration"]) for row in result.history]
    assert rows == [(step, index) for step in STEPS if "projection" not in step for index in range(2)]
    assert all(math.isfinite(row["total"]) for row in result.history)
    assert {name.split(".")[0] for name in result.networks} == {"factors", "encoder"}


@pytest.mark.parametrize(
    ("project", "steps", "networks"),
    [(0, ["albedo"], {"factors.albedo_net"}), (2, ["albedo", "encoder"], {"factors.albedo_net", "encoder"})],
)
def test_a_stage_without_refinement_ends_where_nothing_is_left_to_learn(
    loaded: LoadedGenerator, project: int, steps: list[str], networks: set[str]
) -> None:
    target, events, kept = small_target(loaded), list[Event](), list[Progress]()
    shorter = dataclasses.replace(TINY, stages=(*TINY.stages, Stage(2, project, 0, batches=2, warmup=2)))
    whole, longer = Reconstructor(loaded, TINY)(target), Reconstructor(loaded, shorter)
    result = longer(target, on_event=events.append, keep=kept.append)
    finished = [event.name for event in events if isinstance(event, StepFinished)]
    assert finished == [*STEPS, *(f"stage 2: {step}" for step in steps)]
    changed = {name for name in whole.networks if not torch.equal(whole.networks[name], result.networks[name])}
    parts = {".".join(name.split(".")[:2]) if name.startswith("factors") else name.split(".")[0] for name in changed}
    assert parts == networks
    assert torch.equal(whole.scene.depth, result.scene.depth)
    assert not torch.equal(whole.scene.albedo, result.scene.albedo)
    assert kept[-1].values == {}, "nothing comes after it that would need them"
    assert same(result, longer(target, resume=kept[-1]))
    assert same(result, longer(target, resume=kept[-2]))


def test_rates_that_fall_and_polished_samples_change_the_result_but_not_its_repeatability(
    loaded: LoadedGenerator,
) -> None:
    target = small_target(loaded)
    plain = Reconstructor(loaded, TINY)(target)
    falling = dataclasses.replace(TINY, optimizer=dataclasses.replace(TINY.optimizer, final_rate=0.1))
    polished = dataclasses.replace(TINY, projection=dataclasses.replace(TINY.projection, polish=2))
    for config in (falling, polished):
        result, again = (Reconstructor(loaded, config)(target) for _ in range(2))
        assert same(result, again)
        assert not same(result, plain)
    adam = Reconstructor(loaded, falling)._adam(2e-3)
    assert (adam.rate(0, 9), adam.rate(8, 9)) == pytest.approx((2e-3, 2e-4))


def test_an_interruption_while_samples_are_polished_resumes_to_the_identical_result(loaded: LoadedGenerator) -> None:
    target, kept = small_target(loaded), list[Progress]()
    config = dataclasses.replace(TINY, projection=dataclasses.replace(TINY.projection, polish=3))
    reconstructor = Reconstructor(loaded, config)

    def interrupting(event: Event) -> None:
        if isinstance(event, IterationDone) and event.name == "stage 1: projection":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reconstructor(target, on_event=interrupting, keep=kept.append)
    assert kept[-1].finished[-1] == "stage 1: encoder"
    assert same(reconstructor(target), reconstructor(target, resume=kept[-1]))


def test_initial_weights_take_the_place_of_step_0(loaded: LoadedGenerator) -> None:
    target, events = small_target(loaded), list[Event]()
    first = Reconstructor(loaded, TINY)(target)
    again = Reconstructor(loaded, TINY, initial_weights=first.networks)
    nets, _ = again.new_networks(seed=77)
    assert torch.equal(nets.depth(target.image), first.scene.depth)
    again(target, on_event=events.append)
    assert [event.name for event in events if isinstance(event, StepFinished)] == STEPS[1:]


def test_initial_weights_of_another_size_are_refused(loaded: LoadedGenerator) -> None:
    first = Reconstructor(loaded, TINY)(small_target(loaded))
    wider = dataclasses.replace(TINY, networks=dataclasses.replace(TINY.networks, code_size=24))
    with pytest.raises(InputError, match="weights of the factors network do not fit this configuration"):
        Reconstructor(loaded, wider, initial_weights=first.networks)(small_target(loaded))


def test_a_generator_without_discriminator_needs_features(tmp_path: Path) -> None:
    alone = small_generator(tmp_path, discriminator=False)
    with pytest.raises(InputError, match="has no discriminator; hand in a feature extractor"):
        Reconstructor(alone, TINY)
    result = Reconstructor(alone, TINY, features=grey_levels)(small_target(alone))
    assert not result.warnings


def test_a_whole_w_plus_latent_is_a_latent(loaded: LoadedGenerator) -> None:
    target = small_target(loaded)
    rows = loaded.generator.num_ws  # type: ignore[attr-defined]
    plus = dataclasses.replace(target, latent=target.latent[:, None].expand(1, rows, -1).clone())
    a, b = (Reconstructor(loaded, TINY)(t) for t in (target, plus))
    torch.testing.assert_close(a.scene.depth, b.scene.depth, atol=1e-4, rtol=0)


class Failing:
    """Features that are good for `calls` calls and bad from then on."""

    def __init__(self, calls: int, factor: float) -> None:
        self.calls, self.factor = calls, factor

    def __call__(self, images: Tensor) -> Sequence[Tensor]:
        self.calls -= 1
        maps = grey_levels(images)
        return maps if self.calls >= 0 else [level * self.factor for level in maps]


@pytest.mark.parametrize("calls", [0, 3, 5, 9, 14])
def test_a_loss_that_becomes_nan_ends_with_the_last_good_state_and_a_warning(
    loaded: LoadedGenerator, calls: int
) -> None:
    events: list[Event] = []
    alone = dataclasses.replace(loaded, features=None)
    reconstructor = Reconstructor(alone, TINY, features=Failing(calls, math.nan))
    result = reconstructor(small_target(loaded), on_event=events.append)
    assert len(result.warnings) == 1
    assert "the loss became nan" in result.warnings[0]
    stops = [event for event in events if isinstance(event, Stopped)]
    assert len(stops) == 1
    assert stops[0].name in result.warnings[0]
    scene = result.scene
    for values in (scene.depth, scene.albedo, scene.pose.rotation, scene.lighting.ambient, *result.networks.values()):
        assert bool(torch.isfinite(values).all())


def test_a_gan_whose_pictures_are_nan_ends_with_a_warning(loaded: LoadedGenerator) -> None:
    class Broken:
        resolution, latent_dim = loaded.generator.resolution, loaded.generator.latent_dim

        def synthesize(self, w: Tensor) -> Tensor:
            return loaded.generator.synthesize(w) * math.nan

    target = small_target(loaded)
    result = Reconstructor(dataclasses.replace(loaded, generator=Broken()), TINY)(target)
    assert "stage 1: encoder" in result.warnings[0]
    assert bool(torch.isfinite(result.scene.depth).all())


TWO_STAGES = dataclasses.replace(TINY, stages=(TINY.stages[0],) * 2)


@pytest.fixture(scope="module")
def whole(loaded: LoadedGenerator) -> ReconstructionResult:
    """An uninterrupted result of two stages."""
    return Reconstructor(loaded, TWO_STAGES)(small_target(loaded))


@pytest.mark.parametrize("step", [*STEPS, "stage 2: projection"])
def test_an_interruption_in_any_step_resumes_to_the_identical_result(
    loaded: LoadedGenerator, whole: ReconstructionResult, step: str
) -> None:
    target, reconstructor = small_target(loaded), Reconstructor(loaded, TWO_STAGES)
    kept: list[Progress] = []

    def interrupting(event: Event) -> None:
        if isinstance(event, IterationDone) and event.name == step and event.iteration == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reconstructor(target, on_event=interrupting, keep=kept.append)
    events: list[Event] = []
    resumed = reconstructor(target, resume=kept[-1] if kept else None, on_event=events.append)
    assert same(whole, resumed)
    assert resumed.history == whole.history
    taken_over = [event.name for event in events if isinstance(event, StepFinished) and event.resumed]
    order = STEPS + [name.replace("stage 1", "stage 2") for name in STEPS[1:]]
    assert taken_over == order[: order.index(step)]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_a_gan_that_renders_a_known_object_gives_its_shape(seed: int) -> None:
    """The whole method: from the ellipsoid to the object, with a GAN whose latent is pose and light."""
    scene = bumpy_scene()
    loaded = renderer_gan(scene)
    target = dataclasses.replace(known_target(scene), latent=loaded.w_mean[None])
    config = dataclasses.replace(
        TINY,
        prior_steps=100,
        stages=(Stage(60, 200, 150, batches=16, warmup=100),) * 2,
        networks=NetworkConfig(width_multiplier=0.25, code_size=64, offset_base_width=8),
        optimizer=Optimizer(1e-3, 1e-3, 1e-3, 1e-3, 1e-3, batch_size=6),
    )
    result = Reconstructor(loaded, config)(target, seed=seed)
    assert not result.warnings
    seen, true = render(result.scene, CAMERA), render(scene, CAMERA)
    mask = scored_mask(target.mask, seen.mask)
    assert 100 * float(side(seen.depth, true.depth, mask)) < 0.85, "the ellipsoid has more than 1.05"
    assert float(mad(seen.depth, true.depth, mask, CAMERA)) < 10, "the ellipsoid has more than 16"


def test_the_start_says_what_reconstructs(loaded: LoadedGenerator) -> None:
    stepwise = reconstructor_for(loaded, TINY, features=grey_levels)
    assert isinstance(stepwise, Reconstructor)
    assert stepwise.perceptual_features is grey_levels
    turned = reconstructor_for(bundled(), PRESETS["default"])
    assert isinstance(turned, TurnedReconstructor)
    assert isinstance(reconstructor_for(bundled(), PRESETS["ellipsoid"]), Reconstructor)


def test_networks_of_one_generator_are_no_start_for_another(loaded: LoadedGenerator) -> None:
    with pytest.raises(
        InputError, match=r"belong to the bundled generator; with small32\.pt take the preset ellipsoid"
    ):
        reconstructor_for(loaded, PRESETS["default"])
    with pytest.raises(InputError, match="the preset default has networks of its own to start from"):
        reconstructor_for(bundled(), PRESETS["default"], initial_weights={})


def test_the_steps_refuse_a_configuration_that_has_none_of_them() -> None:
    """Run with it, they would end with the ellipsoid and say nothing."""
    with pytest.raises(InputError, match="the preset default has no steps from the ellipsoid; take the preset ellips"):
        Reconstructor(bundled(), PRESETS["default"])
