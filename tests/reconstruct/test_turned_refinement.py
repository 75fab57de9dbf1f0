"""Views that a generator turns and lights by itself, and a depth that is refined on exact ones."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from gan2shape.errors import InputError
from gan2shape.networks.agreement import FrontsAndViews, disagreement
from gan2shape.networks.mirror import mirror_disagreement
from gan2shape.networks.one_pass import TurnedStart
from gan2shape.networks.trained import NetworkSizes
from gan2shape.networks.turned import TurnedNetworks, camera_of
from gan2shape.networks.turning import TURN_DEG, pose_of_moves
from gan2shape.reconstruct import turned_refinement
from gan2shape.reconstruct.config import Turned
from gan2shape.reconstruct.optimize import DivergedError
from gan2shape.reconstruct.target import Framing
from gan2shape.reconstruct.turned_refinement import (
    ViewPoses,
    depth_from,
    falling_away,
    mean_pose,
    mean_scene,
    object_in,
    paint_views,
    refine_turned,
)
from gan2shape.render import Lighting, Pose, render
from gan2shape.render.units import PoseRange, pose_from_units, pose_to_units
from tests.reconstruct.known_turns import SIZE, camera_light, known_gan, known_start
from tests.reconstruct.small import moved, weights_of
from tests.train.turnable import HEIGHT, LATENTS, LIGHT, NOD, PITCH_DEG, TURN, YAW_DEG, Heads, head, places

LOOKS = slice(2, 5)
OWN = torch.tensor([[0.7, 0.5, 0.3, -0.5, 0.4, 0.6, -0.2]])
"""Yaw, light, three numbers of the look, pitch, height of the light."""
FRAMING = Framing(SIZE, SIZE, SIZE)
EXACT = Turned(
    batch_size=4,
    hold=0,
    learning_rate=1e-4,
    final_rate=1.0,
    smoothness=1e-3,
    depth_smoothness=0.0,
    weight_decay=0.0,
)
VIEWS = 12


@pytest.fixture(scope="module")
def start() -> TurnedStart:
    return known_start()


def painted(start: TurnedStart, seed: int = 0, **settings: object) -> tuple[FrontsAndViews, Tensor]:
    """Views of the head of `OWN`, and the latents that they were made of."""
    gan = known_gan()
    image = gan.generator.synthesize(OWN)
    rng = torch.Generator().manual_seed(seed)
    shown = paint_views(image, gan, start.turning, FRAMING, settings=Turned(**settings), rng=rng)  # type: ignore[arg-type]
    assert torch.equal(shown.view[:1], image)
    return shown, gan.generator.made  # type: ignore[attr-defined]


def degrees(units: Tensor) -> Tensor:
    """Pitch, yaw and roll (N, 3) of poses (N, 6) in network units."""
    return PoseRange().rotation_deg * units[:, :3]


def test_the_pictures_own_pose_is_taken_where_it_is_known(start: TurnedStart) -> None:
    gan, own = known_gan(), torch.arange(6.0)[None] / 10
    image = gan.generator.synthesize(OWN)

    def shown(own: Tensor | None) -> FrontsAndViews:
        rng = torch.Generator().manual_seed(0)
        return paint_views(image, gan, start.turning, FRAMING, settings=Turned(views=3), rng=rng, own_pose=own)

    told, read = shown(own), shown(None)
    assert torch.equal(told.view_pose[:1], own)
    assert torch.equal(told.view_pose[1:], read.view_pose[1:])
    assert torch.equal(told.front_pose, read.front_pose)


def test_views_are_the_picture_and_the_object_turned_and_lit_from_its_front(start: TurnedStart) -> None:
    shown, latents = painted(start, views=VIEWS, lit=1.5)
    assert shown.view.shape == (1 + VIEWS, 3, SIZE, SIZE)
    assert shown.front.shape == (1, 3, SIZE, SIZE)
    assert shown.owner.tolist() == [0] * (1 + VIEWS)
    still, turned = latents[1::2, TURN], latents[0::2, TURN]
    assert still.abs().max() < 0.6, "every second view is hardly turned"
    assert still.std() < 0.5 * turned.std()
    assert turned.std() * YAW_DEG > 10
    for place in (LIGHT, HEIGHT):
        assert len(set(latents[:, place].tolist())) == VIEWS
        assert 0.7 < float(latents[:, place].std()) < 3
    looks = latents[:, LOOKS]
    assert torch.allclose(looks, looks[:1].expand_as(looks)), "only pose and light may move"
    read, true = degrees(shown.view_pose)[1:, 1], YAW_DEG * latents[:, TURN]
    assert (read - true).abs().mean() < 4
    assert (read - true).abs().max() < 12
    assert float(degrees(shown.view_pose)[0, 1]) == pytest.approx(YAW_DEG * float(OWN[0, TURN]), abs=6)
    assert degrees(shown.front_pose).abs().max() < 2.5


def test_nods_that_are_told_are_those_that_were_asked_for(start: TurnedStart) -> None:
    shown, latents = painted(start, views=VIEWS)
    pitches = degrees(shown.view_pose)[:, 0]
    assert pitches.shape == (1 + VIEWS,)
    assert float(pitches[0]) == 0, "of the picture itself nothing is known"
    nods = PITCH_DEG * latents[:, NOD]
    own = nods - pitches[1:]
    torch.testing.assert_close(own, own[:1].expand_as(own))  # What the object nods by itself.
    assert float(own[0]) == pytest.approx(0.6 * PITCH_DEG * float(OWN[0, NOD]), abs=2)
    assert 4 < float(nods.std()) < 12


def test_where_pitches_are_read_the_object_looks_straight_ahead(start: TurnedStart) -> None:
    pose = torch.zeros(LATENTS + 1, 6)
    pose[NOD, 0], pose[TURN, 1] = PITCH_DEG / 60, YAW_DEG / 60
    pose[-1] = start.turning.encoder.mean @ pose[:-1]
    told = TurnedStart(start.networks, replace(start.turning, pose=pose))
    shown, latents = painted(told, views=VIEWS)
    asked = degrees(shown.view_pose)[1:, 0]
    torch.testing.assert_close(PITCH_DEG * latents[:, NOD], asked, rtol=0, atol=1)
    assert float(degrees(shown.view_pose)[0, 0]) == pytest.approx(PITCH_DEG * float(OWN[0, NOD]), abs=2)
    assert float(degrees(shown.front_pose)[0, 0]) == 0


def test_more_typical_objects_are_nearer_to_the_mean_one(start: TurnedStart) -> None:
    with torch.no_grad():
        seen = start.turning.encoder(known_gan().generator.synthesize(OWN))[:, LOOKS]
    for typical in (0.0, 0.5, 1.0):
        _, latents = painted(start, views=2, typical=typical)
        torch.testing.assert_close(latents[:1, LOOKS], typical * seen)


def test_the_same_random_numbers_give_the_same_views(start: TurnedStart) -> None:
    first, second, other = (painted(start, seed, views=4)[0] for seed in (1, 1, 2))
    assert torch.equal(first.view, second.view)
    assert torch.equal(first.view_pose, second.view_pose)
    assert not torch.equal(first.view, other.view)


def test_where_no_object_is_found_everything_is_the_object(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(image: Tensor) -> Tensor:
        raise InputError("no object stands out")

    image = known_gan().generator.synthesize(OWN)
    found = object_in(image)
    assert found.shape == (1, 1, SIZE, SIZE)
    assert 0 < found.mean() < 1
    monkeypatch.setattr(turned_refinement, "auto_mask", nothing)
    assert torch.equal(object_in(image), torch.ones(1, 1, SIZE, SIZE))


class Oracle(TurnedNetworks):
    """Networks that know the lights of some pictures; poses are not asked of them."""

    def __init__(self, pictures: Tensor, lights: Lighting) -> None:
        torch.manual_seed(0)
        super().__init__(NetworkSizes(SIZE, 8, 8, 16))
        self.pictures, self.lights = pictures, lights

    def lighting(self, image: Tensor) -> Lighting:
        """Of the pictures that are nearest to these."""
        return self.lights[(image[:, None] - self.pictures[None]).abs().sum((2, 3, 4)).argmin(1)]


def exact() -> tuple[FrontsAndViews, Tensor]:
    """Exact views of a head, and the latents of its front and views (1 + V, 7)."""
    rng = torch.Generator().manual_seed(0)
    latents = torch.zeros(1 + VIEWS, LATENTS)
    latents[:, LOOKS] = OWN[:, LOOKS]
    for place in (TURN, LIGHT, NOD, HEIGHT):
        latents[1:, place] = torch.randn(VIEWS, generator=rng)
    latents[1::2, TURN] = 0
    pictures, (turn, nod) = Heads(SIZE).synthesize(latents), latents[:, [TURN, NOD]].T
    mask, owner = head(camera_of(SIZE))[1], torch.zeros(VIEWS, dtype=torch.long)
    poses = pose_of_moves(turn, PITCH_DEG * nod)
    return FrontsAndViews(pictures[:1], mask, poses[:1], pictures[1:], poses[1:], owner), latents


def seeing(shown: FrontsAndViews, latents: Tensor, *, relief: float) -> tuple[Oracle, Tensor]:
    """Networks that see a head with a part of its relief, and its true depth."""
    depth = head(camera_of(SIZE))[0]
    nets, far = Oracle(torch.cat([shown.front, shown.view]), camera_light(latents)), depth.max()
    adam = torch.optim.Adam(nets.depth_net.parameters(), lr=3e-3)
    for _ in range(150):
        adam.zero_grad()
        (100 * (nets.depth(shown.front) - (far - relief * (far - depth))).abs().mean()).backward()
        adam.step()
    return nets, depth


def refined(nets: Oracle, shown: FrontsAndViews, settings: Turned, steps: int) -> list[float]:
    """The losses of a refinement."""
    losses: list[float] = []
    refine_turned(
        nets,
        shown.front,
        shown,
        poses=ViewPoses(shown),
        steps=steps,
        settings=settings,
        rng=torch.Generator().manual_seed(0),
        on_iteration=lambda index, record: losses.append(record["total"]),
    )
    return losses


@pytest.fixture(scope="module")
def flat() -> tuple[FrontsAndViews, Oracle, Tensor]:
    """Exact views, networks that see 30 % of the relief, and the true depth."""
    shown, latents = exact()
    return shown, *seeing(shown, latents, relief=0.3)


def test_exact_views_bring_a_flattened_depth_nearer_to_the_true_one(
    flat: tuple[FrontsAndViews, Oracle, Tensor],
) -> None:
    shown, nets, true = flat[0], deepcopy(flat[1]), flat[2]
    inside = shown.mask > 0

    def error() -> float:
        with torch.no_grad():
            return float((nets.depth(shown.front) - true)[inside].std())

    before, weights = error(), weights_of(nets)
    assert len(refined(nets, shown, EXACT, 60)) == 60
    assert before > 0.5 * float(true[inside].std()), "it was flattened"
    assert error() < 0.6 * before
    assert moved(nets, weights) == {"depth_net"}


def test_the_picture_agrees_with_its_mirror_image_where_its_mask_is_known(
    flat: tuple[FrontsAndViews, Oracle, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The term is of the first view, which is the picture, under its pose; it counts as the settings say, and reaches
    the depth."""
    shown, given = flat[0], []
    image = shown.view[:1]
    mask = (image.mean(1, keepdim=True) > -0.95).float()

    def watched(network: TurnedNetworks, depth: Tensor, image: Tensor, mask: Tensor, units: Tensor) -> Tensor:
        given.append((image, mask, units.detach().clone()))
        return mirror_disagreement(network, depth, image, mask, units)

    monkeypatch.setattr(turned_refinement, "mirror_disagreement", watched)

    def run(weight: float, known: Tensor | None) -> tuple[dict[str, float], Tensor]:
        nets, records = deepcopy(flat[1]), []
        refine_turned(
            nets,
            image,
            shown,
            poses=ViewPoses(shown),
            steps=3,
            settings=replace(EXACT, mirror=weight),
            rng=torch.Generator().manual_seed(0),
            mask=known,
            on_iteration=lambda index, record: records.append(dict(record)),
        )
        with torch.no_grad():
            return records[0], nets.depth(image)

    with_it, moved_so = run(2.0, mask)
    assert len(given) == 3
    assert given[0][0] is image
    assert given[0][1] is mask
    torch.testing.assert_close(given[0][2], shown.view_pose[:1], atol=1e-6, rtol=0)
    (without, moved_else), (unknown, as_ever) = run(0.0, mask), run(2.0, None)
    assert len(given) == 3, "where it counts nothing, or no mask is known, it is not computed"
    assert with_it["mirror"] > 0
    assert with_it["total"] == pytest.approx(unknown["total"] + with_it["mirror"], rel=1e-5)
    torch.testing.assert_close(moved_else, as_ever)
    assert not torch.allclose(moved_so, as_ever, atol=1e-6)
    assert not {"mirror"} & (set(unknown) | set(without))


def test_the_depth_is_held_while_the_first_poses_move(
    flat: tuple[FrontsAndViews, Oracle, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, nets, _ = flat[0], deepcopy(flat[1]), flat[2]
    given, weights = poses_given(monkeypatch), weights_of(nets)
    settings = replace(EXACT, hold=4, batch_size=VIEWS)
    refined(nets, shown, settings, 4)
    assert not moved(nets, weights)
    known = by_view(shown, *given[0])
    torch.testing.assert_close(known, shown.pose_units(), atol=1e-6, rtol=0)  # They start at what is known.
    assert (by_view(shown, *given[-1]) - known).abs().max() > 1e-3
    refined(nets, shown, settings, 5)
    assert moved(nets, weights) == {"depth_net"}


def poses_given(monkeypatch: pytest.MonkeyPatch) -> list[tuple[FrontsAndViews, Tensor]]:
    """A list that grows by what every iteration compares, and its poses."""
    given: list[tuple[FrontsAndViews, Tensor]] = []

    def watched(
        network: TurnedNetworks, depth: Tensor, shown: FrontsAndViews, units: Tensor, **weights: float
    ) -> dict[str, Tensor]:
        given.append((shown, units.detach().clone()))
        return disagreement(network, depth, shown, units, **weights)

    monkeypatch.setattr(turned_refinement, "disagreement", watched)
    return given


def by_view(whole: FrontsAndViews, shown: FrontsAndViews, units: Tensor) -> Tensor:
    """Poses of some views, in the order in which all of them are."""
    number = [int((whole.view - one).abs().sum((1, 2, 3)).argmin()) for one in shown.view]
    assert sorted(number) == list(range(len(whole.view)))
    order = torch.tensor(number).argsort()
    return torch.cat([units[:1], units[1:][order]])


def test_poses_of_views_are_moved_towards_the_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turns are read with errors of some degrees, nods are what was asked for and not what came."""
    shown, latents = exact()
    nets, _ = seeing(shown, latents, relief=1.0)
    rng = torch.Generator().manual_seed(3)
    wrong = [6 * torch.randn(VIEWS, generator=rng) for _ in range(2)]
    told = replace(shown, view_pose=shown.view_pose + pose_of_moves(wrong[0] / TURN_DEG, wrong[1]))
    given = poses_given(monkeypatch)
    losses = refined(nets, told, replace(EXACT, hold=60, batch_size=VIEWS), 60)
    assert losses[-1] < losses[0]
    known, found = shown.pose_units(), by_view(told, *given[-1])
    for place in (0, 1):  # Pitch and yaw.
        before, after = (
            (60 * (units - known)[1:, place]).square().mean().sqrt() for units in (told.pose_units(), found)
        )
        assert before > 3.5
        assert after < 0.6 * before
    assert float((found - known)[:, 2].abs().max()) * 60 < 4, "there was no roll"


def test_where_ahead_is_is_told_by_the_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    """The front nods, and is turned and rolled, by angles that nobody knows of; so do all the views."""
    shown, latents = exact()
    nets, _ = seeing(shown, latents, relief=1.0)
    true = pose_from_units(shown.pose_units())
    aside = Pose.from_euler(torch.deg2rad(torch.tensor([[7.0, -6.0, 4.0]])))
    told = pose_to_units(true @ aside)
    given = poses_given(monkeypatch)
    front_pose, view_pose = told[:1], told[1:]
    refined(nets, replace(shown, front_pose=front_pose, view_pose=view_pose), replace(EXACT, hold=60), 60)
    fronts = torch.stack([units[0] for _, units in given[-8:]])
    assert degrees(fronts).abs().mean(0).max() < 2, "it was off by 4 to 7"


def test_a_loss_that_is_not_finite_stops_with_the_weights_as_they_were(
    flat: tuple[FrontsAndViews, Oracle, Tensor],
) -> None:
    shown, nets, _ = flat
    before: dict[str, Tensor] = weights_of(nets)
    with pytest.raises(DivergedError, match="nan"):
        refined(nets, shown, replace(EXACT, smoothness=float("nan")), 3)
    assert not moved(nets, before)


def test_beside_the_object_the_surface_falls_away_and_the_object_stays() -> None:
    depth, mask = torch.full((1, 1, 64, 64), 0.95), torch.zeros(1, 1, 64, 64)
    depth[..., 30:34] = 0.93
    mask[..., 16:48, 16:48] = 1
    fallen = falling_away(depth, mask)
    assert torch.equal(fallen[..., 17:47, 17:47], depth[..., 17:47, 17:47])
    row = fallen[0, 0, 24, :17].flip(0)  # From the object to the border.
    assert torch.allclose(row[:4], 0.95 + 0.009 * torch.arange(1, 5), atol=0.006)
    assert (row.diff() >= 0).all()
    assert float(fallen.max()) < 1.1 + 1e-6
    small = falling_away(depth[..., ::2, ::2], mask[..., ::2, ::2])[0, 0, 12, :9].flip(0)
    assert torch.allclose(small[:3], row[1:7:2], atol=0.012)  # As steep in the scene.


def test_without_an_object_nothing_falls_away() -> None:
    depth = 0.9 + 0.2 * torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(falling_away(depth, torch.zeros_like(depth)), depth)
    assert torch.equal(falling_away(depth, torch.ones_like(depth)), depth)


# The mean of refinements.


def test_the_mean_pose_lies_between() -> None:
    yaws = torch.tensor([[0.0, -0.2, 0.1], [0.0, 0.4, 0.1]])
    mean = mean_pose(Pose.from_euler(yaws, torch.tensor([[0.0, 0.0, 0.1], [0.2, 0.0, 0.1]])))
    torch.testing.assert_close(mean.euler(), torch.tensor([[0.0, 0.1, 0.1]]), atol=1e-4, rtol=0)
    torch.testing.assert_close(mean.translation, torch.tensor([[0.1, 0.0, 0.1]]))
    own = Pose.from_euler(torch.tensor([[0.3, -0.5, 0.2]]))
    torch.testing.assert_close(mean_pose(own).rotation, own.rotation)


def test_the_mean_scene_has_the_mean_depth_and_shows_the_picture(start: TurnedStart) -> None:
    nets, image = start.networks, known_gan().generator.synthesize(OWN)
    with torch.no_grad():
        scene = nets(image)
    assert mean_scene(nets, image, [scene]) is scene
    other = replace(scene, depth=scene.depth + 0.02)
    mean = mean_scene(nets, image, [scene, other])
    torch.testing.assert_close(mean.depth, scene.depth + 0.01)
    torch.testing.assert_close(mean.pose.rotation, scene.pose.rotation)
    seen = render(mean, nets.camera)
    assert ((seen.image - image).abs() * seen.mask).mean() < 0.1


def test_what_one_pass_tells_counts_wherever_it_is(flat: tuple[FrontsAndViews, Oracle, Tensor]) -> None:
    shown, nets, true = flat
    with torch.no_grad():
        facing = Pose.identity(1, like=true)
        aside = Pose.from_euler(torch.tensor([[0.0, 0.4, 0.0]]))
        scenes = [nets.seen(shown.front, facing, depth=true + 0.01 * k) for k in range(3)]
        told = nets.seen(shown.front, aside, depth=true + 0.3 + 0.03 * places(SIZE)[1])
        mean = mean_scene(nets, shown.front, scenes, told=told)
        one = mean_scene(nets, shown.front, scenes[:1], told=replace(told, depth=true + 0.3))
    torch.testing.assert_close(mean.depth, true + 0.01 + 0.015 * places(SIZE)[1], rtol=0, atol=2e-3)
    torch.testing.assert_close(one.depth, true)
    assert float(mean.pose.euler()[0, 1]) == pytest.approx(0.2, abs=1e-4), "as much as three"
    assert float(one.pose.euler()[0, 1]) == pytest.approx(0.2, abs=1e-4)


def test_a_refinement_begins_with_what_is_told(flat: tuple[FrontsAndViews, Oracle, Tensor]) -> None:
    shown, nets, true = flat[0], deepcopy(flat[1]), flat[2]
    with torch.no_grad():
        other = true + 0.02
        depth = depth_from(nets, shown.front, other)
        torch.testing.assert_close(depth(), other)
        before = nets.depth(shown.front)
        nets.depth_net.decoder[-1].weight.mul_(1.5)
        torch.testing.assert_close(depth(), other + nets.depth(shown.front) - before)
        assert not torch.allclose(depth(), other)
        torch.testing.assert_close(depth_from(nets, shown.front, None)(), nets.depth(shown.front))
