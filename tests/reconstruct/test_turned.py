"""Reconstruction from turned views: its start, its result, and the pictures that it lets a generator paint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gan2shape.errors import CheckpointError, InputError
from gan2shape.networks.one_pass import TurnedStart
from gan2shape.networks.trained import NetworkSizes, save_networks
from gan2shape.networks.turned import TURNED, TurnedNetworks, bundled_turned
from gan2shape.reconstruct import turned
from gan2shape.reconstruct.config import ReconstructConfig
from gan2shape.reconstruct.optimize import DivergedError
from gan2shape.reconstruct.progress import Progress
from gan2shape.reconstruct.target import Target
from gan2shape.reconstruct.turned import (
    REFINEMENT,
    TurnedPainter,
    TurnedReconstructor,
    coloured_as,
    is_bundled,
    load_one_pass,
    load_start,
    sideways,
    slope_of,
)
from gan2shape.reconstruct.turned_refinement import mean_scene, refine_turned
from gan2shape.reconstruct.watch import Event, IterationDone, StepFinished, Stopped
from gan2shape.render import Lighting, Pose, Scene
from gan2shape.result import ReconstructionResult
from tests.reconstruct.bundled import QUICK, SIDE, bundled, bundled_start, own_target
from tests.reconstruct.known_turns import LIGHT, NOD, TURN, known_gan, known_start, yawed
from tests.reconstruct.small import moved, weights_of
from tests.reconstruct.test_reconstructor import same
from tests.train.turnable import PITCH_DEG, YAW_DEG

OWN = torch.tensor([[0.4, 0.5, 0.3, -0.5, 0.4, 0.6, 0.3]])
ONE_PASS = replace(QUICK, turned=replace(QUICK.turned, refine=0))


def reconstruct(
    config: ReconstructConfig = QUICK, target: Target | None = None, **flags: object
) -> ReconstructionResult:
    reconstructor = TurnedReconstructor(bundled(), config, bundled_start())
    return reconstructor(target or own_target(), **flags)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def whole() -> ReconstructionResult:
    return reconstruct()


def test_the_networks_belong_to_the_bundled_generator_alone(tmp_path: Path) -> None:
    other = replace(bundled(), sha256="f" * 64)
    assert is_bundled(bundled())
    assert not is_bundled(other)
    with pytest.raises(CheckpointError, match=r"expected networks that learned from .*; got those of another GAN"):
        load_start(other)
    file, sizes = tmp_path / "own.safetensors", NetworkSizes(16, 4, 4, 8)
    save_networks(file, TURNED, TurnedNetworks(sizes), sizes, {"generator": other.identity})
    with pytest.raises(
        CheckpointError, match=r"own\.safetensors: expected the encoder of .* that it was made with; got none"
    ):
        load_start(other, file)


def test_directions_of_another_kind_are_refused(tmp_path: Path) -> None:
    file, sizes = tmp_path / "none.safetensors", NetworkSizes(16, 4, 4, 8)
    save_networks(file, TURNED, TurnedNetworks(sizes), sizes, {"generator": bundled().identity})
    with pytest.raises(CheckpointError, match=r"none\.safetensors: expected turning\.direction"):
        load_start(bundled(), file)


def test_without_refinement_the_result_is_the_networks_one_pass() -> None:
    target = own_target()
    events: list[Event] = []
    result = reconstruct(ONE_PASS, target, on_event=events.append)
    scene = bundled_start()(target.image)
    assert torch.equal(result.scene.depth, scene.depth)
    assert torch.equal(result.scene.pose.rotation, scene.pose.rotation)
    assert events == []
    assert result.history == ()


def test_one_pass_of_a_file_needs_the_bundled_encoder_for_the_reading(tmp_path: Path) -> None:
    assert isinstance(load_one_pass(bundled_turned()), TurnedStart)
    file, sizes = tmp_path / "own.safetensors", NetworkSizes(16, 4, 4, 8)
    save_networks(file, TURNED, TurnedNetworks(sizes), sizes, {"generator": "f" * 64})
    assert isinstance(load_one_pass(file), TurnedNetworks)


def test_the_result_says_what_it_was_made_of(whole: ReconstructionResult) -> None:
    target = own_target()
    assert whole.config == QUICK.to_dict()
    assert (whole.seed, whole.generator, whole.warnings) == (0, bundled().record, ())
    assert whole.camera == bundled_start().networks.camera
    for name in ("image", "mask", "latent"):
        assert torch.equal(getattr(whole, name), getattr(target, name))
    assert [row["step"] for row in whole.history] == [REFINEMENT] * 3
    assert not whole.scene.depth.requires_grad


def test_refinement_moves_one_network_and_the_pose_and_leaves_the_start_as_it_was(whole: ReconstructionResult) -> None:
    networks = bundled_start().networks
    before = weights_of(networks)
    reconstruct()
    assert not moved(networks, before)
    changed = {name for name, tensor in before.items() if not torch.equal(whole.networks[f"factors.{name}"], tensor)}
    assert changed
    assert {name.split(".")[0] for name in changed} == {"depth_net"}
    one_pass = reconstruct(ONE_PASS)
    assert not torch.equal(whole.scene.pose.rotation, one_pass.scene.pose.rotation)
    assert not torch.equal(whole.scene.depth, one_pass.scene.depth)


def test_the_same_seed_gives_the_same_result_and_leaves_the_global_state_alone(whole: ReconstructionResult) -> None:
    torch.manual_seed(5)
    again = reconstruct()
    after = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(3)), "random numbers have an owner"
    assert same(whole, again)
    assert not same(whole, reconstruct(seed=1))


def test_what_was_kept_resumes_to_the_identical_result(whole: ReconstructionResult) -> None:
    kept: list[Progress] = []
    reconstruct(keep=kept.append)
    assert [progress.finished for progress in kept] == [(REFINEMENT,)]
    events: list[Event] = []
    again = reconstruct(resume=kept[0], on_event=events.append)
    assert same(whole, again)
    assert again.history == whole.history
    assert not [event for event in events if isinstance(event, IterationDone)]
    assert [event.resumed for event in events if isinstance(event, StepFinished)] == [True]


TWO = replace(QUICK, turned=replace(QUICK.turned, refinements=2))


def test_refinements_are_averaged_and_resume_to_the_identical_result(whole: ReconstructionResult) -> None:
    kept: list[Progress] = []
    both = reconstruct(TWO, keep=kept.append)
    second = f"{REFINEMENT} 2"
    assert [progress.finished for progress in kept] == [(REFINEMENT,), (REFINEMENT, second)]
    first, last = (kept[1].values[name] for name in (REFINEMENT, second))
    assert isinstance(first, Scene)
    assert isinstance(last, Scene)
    assert not torch.equal(first.depth, last.depth), "each has views of its own"
    assert same(whole, reconstruct()), "the first is what one alone would be"
    image = own_target().image
    told, nets = bundled_start()(image), bundled_start().networks
    assert torch.equal(both.scene.depth, mean_scene(nets, image, [first, last], told=told).depth)
    for progress in kept:
        assert same(both, reconstruct(TWO, resume=progress))


def test_refinements_that_ended_well_are_kept_where_a_later_one_diverges(
    whole: ReconstructionResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def only_once(*args: Any, **kwargs: Any) -> Scene:
        calls.append(len(calls))
        if len(calls) > 1:
            raise DivergedError("the loss became nan", [])
        return refine_turned(*args, **kwargs)

    monkeypatch.setattr(turned, "refine_turned", only_once)
    result = reconstruct(TWO)
    assert result.warnings == ("stopped early in refinement 2: the loss became nan",)
    assert torch.equal(result.scene.depth, whole.scene.depth)


def test_refinements_know_where_the_object_is_in_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Tensor] = []

    def noted(*_: Any, mask: Tensor, **__: Any) -> Scene:
        given.append(mask)
        raise DivergedError("enough", [])

    monkeypatch.setattr(turned, "refine_turned", noted)
    reconstruct()
    assert len(given) == 1
    assert torch.equal(given[0], own_target().mask)


def test_a_refinement_that_diverges_leaves_the_one_pass_and_says_so() -> None:
    events: list[Event] = []
    config = replace(QUICK, turned=replace(QUICK.turned, smoothness=float("nan")))
    result = reconstruct(config, on_event=events.append)
    assert result.warnings == (
        "stopped early in refinement: the loss became nan at iteration 1; went back to iteration 0",
    )
    assert [event.name for event in events if isinstance(event, Stopped)] == [REFINEMENT]
    assert same(result, reconstruct(ONE_PASS))


def test_targets_that_are_not_one_object_are_refused() -> None:
    target = own_target()
    two = Target(*(torch.cat([values, values]) for values in (target.image, target.latent, target.mask)))
    with pytest.raises(ValueError, match="a reconstruction has one picture; got 2"):
        reconstruct(target=two)
    with pytest.raises(InputError, match="the mask shows no object"):
        reconstruct(target=replace(target, mask=torch.zeros_like(target.mask)))


# What is painted: first of rendered heads, whose latents say everything, then of the bundled generator.


@pytest.fixture(scope="module")
def heads() -> TurnedStart:
    return known_start()


def latents_painted(
    heads: TurnedStart, yaws: Sequence[float], sides: Sequence[float], *, pitch_deg: float = PITCH_DEG * 0.6
) -> Tensor:
    """The latents of the pictures of `OWN` under asked yaws and sideways slopes of an attached light."""
    gan = known_gan()
    image, yaw, side = gan.generator.synthesize(OWN), torch.tensor(yaws), torch.tensor(sides)
    own = yawed(YAW_DEG * OWN[:, TURN], PITCH_DEG * float(OWN[0, NOD]))
    half = torch.full((len(side), 1), 0.5)
    lights = Lighting(half, half, torch.stack([side, 0 * side, torch.ones_like(side)], dim=1))
    paint = TurnedPainter(gan, heads, OWN, image=image, pose=own)
    pictures = paint(image.expand(len(yaw), -1, -1, -1), yawed(yaw, pitch_deg), lights)
    assert pictures.shape == (len(yaw), *image.shape[1:])
    made: Tensor = gan.generator.made  # type: ignore[attr-defined]
    return made


def test_painted_heads_turn_as_asked_and_stay_who_they_are(heads: TurnedStart) -> None:
    yaws = [-30.0, -20.0, -10.0, 0.0, 8.0, 20.0, 30.0]
    made = latents_painted(heads, yaws, [0.15] * 7)
    assert (YAW_DEG * made[:, TURN] - torch.tensor(yaws)).abs().max() < 4
    assert (made[:, 2:5] - OWN[:, 2:5]).abs().max() < 0.1, "a look moves by some units from head to head"
    assert (PITCH_DEG * (made[:, NOD] - OWN[:, NOD])).abs().max() < 1


def test_painted_heads_are_lit_from_the_asked_side(heads: TurnedStart) -> None:
    sides = [-0.6, -0.3, 0.0, 0.3, 0.6]
    made = latents_painted(heads, [8.0] * 5, sides)
    assert (made[:, LIGHT].diff() > 0).all()
    assert made[:2, LIGHT].max() < -0.5
    assert made[3:, LIGHT].min() > 0.5
    assert (YAW_DEG * made[:, TURN] - 8).abs().max() < 4, "light is no turn"


def test_painted_heads_nod_as_asked(heads: TurnedStart) -> None:
    own = PITCH_DEG * float(OWN[0, NOD])
    for by in (-10.0, 10.0):
        made = latents_painted(heads, [8.0], [0.15], pitch_deg=own + by)
        assert float(PITCH_DEG * made[0, NOD]) == pytest.approx(own + by, abs=1.5)


def test_one_pose_goes_with_many_lights_and_one_light_with_many_poses(heads: TurnedStart) -> None:
    gan = known_gan()
    image = gan.generator.synthesize(OWN)
    half = torch.full((3, 1), 0.5)
    lights = Lighting(half, half, torch.tensor([[-0.5, 0.0, 1.0], [0.0, 0.0, 1.0], [0.5, 0.0, 1.0]]))
    pose, poses = yawed(torch.tensor([8.0])), yawed(torch.tensor([-20.0, 0.0, 20.0]))
    paint = TurnedPainter(gan, heads, OWN, image=image, pose=pose)
    crude = image.expand(3, -1, -1, -1)
    torch.testing.assert_close(paint(crude, pose, lights), paint(crude, pose.expand(3), lights))
    torch.testing.assert_close(paint(crude, poses, lights[:1]), paint(crude, poses, lights[:1].expand(3)))


def test_slopes_of_lights() -> None:
    half, side = torch.full((1, 1), 0.5), torch.tensor([30.0]).deg2rad().tan()
    lights = Lighting(half, half, torch.tensor([[float(side), 0.0, 1.0]]))
    assert float(slope_of(lights)) == pytest.approx(float(side))
    assert float(sideways(lights, Pose.identity(1, side))) == pytest.approx(float(side))
    for yaw in (-20.0, 20.0):  # A light at 30° to the side, carried along by the object.
        angle = sideways(lights, yawed(torch.tensor([yaw]))).atan().rad2deg()
        assert abs(abs(float(angle) - 30) - 20) < 0.01
    away = Lighting(half, half, torch.tensor([[1.0, 0.0, -1.0]]))
    assert float(slope_of(away)) == pytest.approx(5.0), "lights from behind are taken to graze"


def painter_of(result: ReconstructionResult, latent: Tensor) -> TurnedPainter:
    return TurnedPainter(bundled(), bundled_start(), latent, image=result.image, pose=result.scene.pose)


def test_under_its_own_pose_and_light_the_bundled_generator_shows_its_picture(whole: ReconstructionResult) -> None:
    assert whole.latent is not None
    own = (whole.image, whole.scene.pose, whole.scene.lighting)
    picture = painter_of(whole, whole.latent)(*own)
    assert picture.shape == (1, 3, SIDE, SIDE)
    other = painter_of(whole, whole.latent)(whole.image, yawed(torch.tensor([-25.0])), whole.scene.lighting)
    error, turned = ((values - whole.image).square().mean() for values in (picture, other))
    assert error < 0.02, "of 4 at most"
    assert turned > 4 * error
    rows = bundled().generator.num_ws  # type: ignore[attr-defined]
    layered = painter_of(whole, whole.latent[:, None].expand(-1, rows, -1))(*own)
    torch.testing.assert_close(layered, picture)


def test_the_bundled_generator_turns_and_lights_as_asked(whole: ReconstructionResult) -> None:
    assert whole.latent is not None
    paint = painter_of(whole, whole.latent)
    yaws = torch.tensor([-25.0, 0.0, 25.0])
    pictures = paint(whole.image.expand(3, -1, -1, -1), yawed(yaws), whole.scene.lighting)
    with torch.no_grad():
        seen = bundled_start().networks(pictures).pose.euler()[:, 1].rad2deg()
    assert (seen.diff() > 10).all()
    half = torch.full((2, 1), 0.5)
    lights = Lighting(half, half, torch.tensor([[-0.6, 0.0, 1.0], [0.6, 0.0, 1.0]]))
    lit = paint(whole.image.expand(2, -1, -1, -1), yawed(torch.zeros(2)), lights)
    left, right = (lit[:, :, 16:48, columns].mean((1, 2, 3)) for columns in (slice(18, 32), slice(32, 46)))
    assert (left - right).diff() > 0.1, "light that travels to image-right brightens what is on the left"


def test_a_far_move_is_cut_off(heads: TurnedStart) -> None:
    made = latents_painted(heads, [-89.0, 89.0], [0.0, 0.0])
    assert (YAW_DEG * made[:, TURN]).abs().max() < 4.5 * YAW_DEG


def test_colours_are_scaled_to_those_that_the_rendering_shows() -> None:
    painted = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1)) - 0.5
    crude = torch.zeros(2, 3, 8, 8)
    crude[0, :, :4] = torch.tensor([0.2, -0.1, 0.05])[:, None, None]  # The second shows nothing.
    result = coloured_as(painted, crude)
    for channel, value in enumerate((0.2, -0.1, 0.05)):
        factor = (value / 2 + 0.5) / (painted[0, channel, :4] / 2 + 0.5).mean()
        torch.testing.assert_close(result[0, channel] / 2 + 0.5, (painted[0, channel] / 2 + 0.5) * factor)
    torch.testing.assert_close(result[1], painted[1], atol=1e-6, rtol=0)
    glaring = coloured_as(painted, torch.full_like(crude, 1.0))
    assert float(((glaring / 2 + 0.5) / (painted / 2 + 0.5)).max()) == pytest.approx(1.6, rel=1e-4)
    assert glaring.max() <= 1
