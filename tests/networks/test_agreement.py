"""How well objects explain their views: rendered heads of which everything is known, and the parts by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from gan2shape.networks import agreement
from gan2shape.networks.agreement import (
    POSE_WEIGHT,
    WIDEST_DEG,
    FrontsAndViews,
    disagreement,
    equally_bright,
    pose_error,
    within,
)
from gan2shape.networks.trained import NetworkSizes
from gan2shape.networks.turned import TurnedNetworks
from gan2shape.networks.turning import TURN_DEG, pose_of_moves
from tests.train.turnable import EVEN, Says, head, places, rendered
from tests.train.turnable import Heads as Rendered

SIZE = 32
FAR = 1.02
LEFT, RIGHT, TOP = (0.0, 0.0, 0.6, 0.0), (-0.2, 0.3, -0.7, 0.2), (0.2, 0.0, 0.1, 0.7)
"""Lights as network numbers."""


def knowing(*lights: tuple[float, ...]) -> TurnedNetworks:
    """Networks that say these lights; what they see else is no matter."""
    network = TurnedNetworks(NetworkSizes.scaled(SIZE, 1 / 32))
    network.light_net = Says(*lights)
    return network


def truth(*, lopsided: float = 0.0) -> tuple[Tensor, Tensor]:
    """Depth and mask (1, 1, S, S) of a head, to one side farther away."""
    depth, mask = head(Rendered(SIZE).camera)
    return depth + lopsided * places(SIZE)[1] * mask, mask


def shown(pictures: Tensor, masks: Tensor, *yaws_deg: float, nods_deg: tuple[float, ...] = ()) -> FrontsAndViews:
    """The first picture as the front of one object, the others as its views."""
    turns, count = torch.tensor(yaws_deg) / TURN_DEG, len(pictures) - 1
    nods, owner = torch.tensor(nods_deg or (0.0,) * count), torch.zeros(count, dtype=torch.long)
    front_pose, view_pose = pose_of_moves(turns[:1]), pose_of_moves(turns[1:], nods)
    return FrontsAndViews(pictures[:1], masks[:1], front_pose, pictures[1:], view_pose, owner)


@torch.no_grad()
def error(network: TurnedNetworks, depth: Tensor, what: FrontsAndViews, units: Tensor | None = None) -> float:
    """Of the views, under the poses that are known or other ones."""
    return float(disagreement(network, depth, what, what.pose_units() if units is None else units)["views"])


@pytest.mark.parametrize("yaws_deg", [(2.0, -14.0), (-3.0, 9.0), (-6.0, 18.0)])
@pytest.mark.parametrize("lights", [(EVEN, EVEN), (EVEN, LEFT), (LEFT, RIGHT), (TOP, LEFT)])
def test_true_depth_and_poses_explain_a_view_under_any_light(
    yaws_deg: tuple[float, float], lights: tuple[tuple[float, ...], tuple[float, ...]]
) -> None:
    """Only the light of the front is told; the view's is solved for, whatever the network says of it."""
    depth, mask = truth()
    one, two = yaws_deg
    pictures = rendered([(0.0, one), (0.0, two)], lights, depth, mask)
    network, what = knowing(lights[0], TOP), shown(*pictures, one, two)
    right = error(network, depth, what)
    assert right < 0.035
    assert error(knowing(lights[0], RIGHT), depth, what) == pytest.approx(right, rel=1e-5)
    assert error(network, depth, shown(*pictures, -one, -two)) > 3 * right
    assert error(network, depth, shown(*pictures, two, one)) > 3 * right
    assert error(network, depth, shown(*pictures, one, one)) > 3 * right
    assert error(network, torch.full_like(depth, FAR), what) > 3 * right
    assert error(network, 2.0 - depth, what) > 3 * right  # Hollow.


def test_one_turned_view_is_explained_alike_under_all_lights() -> None:
    """Whatever the light of the view, and as long as no side of it is black, the true depth explains it and a flat one
    does not."""
    depth, mask = truth()
    rights, wrongs = [], []
    for light in (EVEN, TOP, LEFT, (0.3, -0.2, -0.5, -0.5), (-0.3, 0.3, 0.4, 0.4)):
        what = shown(*rendered([(0.0, 0.0), (-6.0, 14.0)], (EVEN, light), depth, mask), 0.0, 14.0, nods_deg=(-6.0,))
        rights.append(error(knowing(EVEN), depth, what))
        wrongs.append(error(knowing(EVEN), FAR + 0.5 * (depth - FAR), what))
    assert max(rights) < 0.025
    assert max(rights) < 0.5 * min(wrongs)


def test_it_grows_as_the_depth_is_flattened_or_mirrored() -> None:
    depth, mask = truth(lopsided=0.02)
    lights = (EVEN, LEFT, RIGHT, EVEN)
    yaws = (1.0, 15.0, -12.0, -20.0)
    pictures = rendered([(0.0, yaw) for yaw in yaws], lights, depth, mask)
    network, what = knowing(EVEN), shown(*pictures, *yaws)
    flatter = [error(network, FAR + share * (depth - FAR), what) for share in (1.0, 0.8, 0.5, 0.2, 0.0)]
    assert flatter == sorted(flatter)
    assert flatter[-1] > 4 * flatter[0]
    assert error(network, FAR + 1.3 * (depth - FAR), what) > 1.3 * flatter[0]
    assert error(network, depth.flip(-1), what) > 1.5 * flatter[0]


def test_the_slope_of_the_depth_points_to_the_truth() -> None:
    depth, mask = truth()
    yaws, lights = (0.0, 15.0, -15.0), (EVEN, LEFT, RIGHT)
    what = shown(*rendered([(0.0, yaw) for yaw in yaws], lights, depth, mask), *yaws)
    for share, sign in ((0.6, -1), (1.4, 1)):
        scale = torch.tensor(share, requires_grad=True)
        disagreement(knowing(EVEN), FAR + scale * (depth - FAR), what, what.pose_units())["views"].backward()
        assert scale.grad is not None
        assert torch.sign(scale.grad) == sign


@pytest.mark.parametrize(("place", "true_deg"), [(0, -8.0), (1, 12.0)])
def test_the_slopes_of_poses_point_to_the_truth(place: int, true_deg: float) -> None:
    """Of pitch and yaw."""
    depth, mask = truth()
    what = shown(*rendered([(0.0, 0.0), (-8.0, 12.0)], (EVEN, LEFT), depth, mask), 0.0, 12.0, nods_deg=(-8.0,))
    for by_deg in (-5.0, 5.0):
        units = what.pose_units()
        assert 60 * float(units[1, place]) == pytest.approx(true_deg)
        units[1, place] += by_deg / 60
        units.requires_grad_()
        disagreement(knowing(EVEN), depth, what, units)["views"].backward()
        assert units.grad is not None
        assert float(units.grad[1, place]) * by_deg > 0


def test_a_view_that_is_lit_anew_tells_the_shape_by_its_shading() -> None:
    """It shows the front pixel by pixel; what the front's light is makes its albedo."""
    depth, mask = truth()
    what = shown(*rendered([(0.0, 0.0)] * 2, (LEFT, RIGHT), depth, mask), 0.0, 0.0)
    right = error(knowing(LEFT), depth, what)
    assert right < 0.03
    assert error(knowing(RIGHT), depth, what) > 3 * right
    assert error(knowing(LEFT), torch.full_like(depth, FAR), what) > 5 * right


def test_sides_of_the_front_that_no_light_reaches_are_ambient_alone() -> None:
    """Its albedo is that of the whole object, whose shaded sides its own light does not darken further."""
    depth, mask = truth()
    for light in (LEFT, RIGHT, TOP):
        what = shown(*rendered([(0.0, 0.0)] * 2, (light, EVEN), depth, mask), 0.0, 0.0)
        assert error(knowing(light), depth, what) < 0.008


def test_every_view_is_explained_by_its_own_object() -> None:
    depth, mask = truth()
    shapes = (depth, FAR + 0.1 * (truth(lopsided=0.04)[0] - FAR))
    pairs = [rendered([(0.0, 0.0), (0.0, 18.0)], (EVEN, EVEN), shape, mask) for shape in shapes]
    fronts, masks = (torch.cat([pair[k][:1] for pair in pairs]) for k in range(2))
    views, turns = torch.cat([pair[0][1:] for pair in pairs[::-1]]), torch.full((2,), 18 / TURN_DEG)

    def of(*owner: int, first: Tensor = depth) -> float:
        still, turned = pose_of_moves(torch.zeros(2)), pose_of_moves(turns)
        what = FrontsAndViews(fronts, masks, still, views, turned, torch.tensor(owner))
        return error(knowing(EVEN), torch.cat([first, shapes[1]]), what)

    assert of(1, 0) < 0.01
    assert of(0, 1) > 0.05
    assert of(1, 0, first=shapes[1]) > 0.04


def test_the_poses_are_those_that_are_given() -> None:
    depth, mask = truth()
    what = shown(*rendered([(10.0, -5.0), (-8.0, 12.0)], (EVEN, EVEN), depth, mask), -5.0, 12.0)

    def with_pitches(*pitches_deg: float) -> float:
        units = what.pose_units()
        units[:, 0] = torch.tensor(pitches_deg) / 60
        return error(knowing(EVEN), depth, what, units)

    right = with_pitches(10.0, -8.0)
    assert right < 0.05
    assert with_pitches(0.0, 0.0) > 2.5 * right
    assert with_pitches(-10.0, 8.0) > 2.5 * right


def test_colours_along_the_outline_of_the_front_hardly_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are mixed with the background's, whatever that is."""
    depth, mask = truth()
    one, two = 0.0, 14.0
    (pictures, masks), network = rendered([(0.0, one), (0.0, two)], [EVEN, EVEN], depth, mask), knowing(EVEN, EVEN)
    inner = within(masks)
    edge = (masks[:1] - inner[:1]) > 0
    assert int(edge.sum()) > 2 * SIZE
    assert 0 < inner.sum() < masks.sum()
    what = shown(pictures, masks, one, two)
    stained = replace(what, front=torch.where(edge, 1.0, what.front))
    left_out = error(network, depth, stained)
    monkeypatch.setattr(agreement, "within", lambda mask: mask)
    assert left_out < 0.5 * error(network, depth, stained)


def test_far_views_do_not_count() -> None:
    depth, mask = truth()
    pictures = rendered([(0.0, -10.0), (0.0, 15.0)], (EVEN, EVEN), depth, mask)
    far = shown(*pictures, -10.0, WIDEST_DEG - 9.0)
    terms = disagreement(knowing(LEFT), depth, far, far.pose_units())
    assert terms["views"].item() == 0
    assert terms["light"].item() == 0, "no pixel tells its light: the front's must not be taught"
    assert torch.isfinite(terms["total"])
    assert error(knowing(EVEN), depth, shown(*pictures, -10.0, WIDEST_DEG - 11.0)) > 0.03


def test_the_total_is_the_sum_and_reaches_networks_and_poses() -> None:
    depth, mask = truth()
    what = shown(*rendered([(0.0, 0.0), (0.0, 14.0)], (EVEN, LEFT), depth, mask), 0.0, 14.0)
    network = TurnedNetworks(NetworkSizes.scaled(SIZE, 1 / 32))
    units = network.view_net(torch.cat([what.front, what.view]))
    terms = disagreement(network, network.depth(what.front), what, units)
    assert set(terms) == {"total", "views", "pose", "light", "roughness"}
    torch.testing.assert_close(terms["total"], sum(value for name, value in terms.items() if name != "total"))
    torch.testing.assert_close(terms["pose"], POSE_WEIGHT * pose_error(units, what.pose_units()))
    terms["total"].backward()
    for net in (network.depth_net, network.view_net, network.light_net):
        assert any(p.grad is not None and bool(p.grad.abs().max() > 0) for p in net.parameters())


def test_lights_are_no_reason_to_move_a_pose() -> None:
    """The lights that a network sees are compared in the object's frame, but that does not turn the object."""
    depth, mask = truth()
    what = shown(*rendered([(0.0, 0.0), (0.0, 14.0)], (EVEN, LEFT), depth, mask), 0.0, 14.0)
    network = TurnedNetworks(NetworkSizes.scaled(SIZE, 1 / 32))
    units, leaf = what.pose_units().requires_grad_(), depth.clone().requires_grad_()
    light = disagreement(network, leaf, what, units)["light"]
    grads = torch.autograd.grad(light, [units, leaf, *network.light_net.parameters()], allow_unused=True)
    assert grads[:2] == (None, None)
    assert any(grad is not None and bool(grad.abs().max() > 0) for grad in grads[2:])


def test_fewer_views_of_the_same_objects(rng: torch.Generator) -> None:
    numbers = torch.arange(5.0)
    front, mask = torch.rand(2, 3, 4, 4, generator=rng), torch.ones(2, 1, 4, 4)
    view, owner = numbers[:, None, None, None].expand(5, 3, 4, 4), torch.tensor([0, 1, 0, 1, 1])
    poses = pose_of_moves(torch.tensor([0.2, -0.4])), pose_of_moves(10 + numbers, 20 + numbers)
    what = FrontsAndViews(front, mask, poses[0], view, poses[1], owner)
    some = what[torch.tensor([3, 0, 3])]
    assert some.view[:, 0, 0, 0].tolist() == [3, 0, 3]
    assert torch.equal(some.view_pose, poses[1][[3, 0, 3]])
    assert some.owner.tolist() == [1, 0, 1]
    for name in ("front", "mask", "front_pose"):
        assert torch.equal(getattr(some, name), getattr(what, name))
    assert torch.equal(some.pose_units(), what.pose_units()[[0, 1, 5, 2, 5]])


def test_brightness_within_the_mask_is_made_equal(rng: torch.Generator) -> None:
    like = torch.rand(2, 3, 6, 6, generator=rng) * 2 - 1
    mask = (torch.rand(2, 1, 6, 6, generator=rng) < 0.6).float()
    factor = torch.tensor([0.5, 0.8, 1.3]).view(3, 1, 1)
    image = ((like / 2 + 0.5) / factor) * 2 - 1
    spoilt = torch.where(mask > 0, image, 17.0).requires_grad_()
    found = equally_bright(spoilt, like, mask)
    torch.testing.assert_close(found * mask, like * mask)
    found.sum().backward()
    assert spoilt.grad is not None
    torch.testing.assert_close(spoilt.grad, factor.expand_as(image))  # The factor is taken as a constant.
    black = equally_bright(torch.full((1, 3, 6, 6), -1.0), like[:1], torch.zeros(1, 1, 6, 6))
    assert torch.equal(black, torch.full_like(black, -1))


def test_the_error_of_a_pose() -> None:
    units = torch.tensor([[0.1, 0.2, -0.3, 0.4, -0.5, 0.6], [-0.7, 0.8, 0.9, 0.0, 0.1, 0.2]])
    known = torch.tensor([[0.3, 0.5, 0, 0, 0, 0], [-0.1, -0.2, 0, 0, 0, 0]])
    yaw = (0.3 + 1.0) / 2
    rest = (0.2 + 0.3 + 0.4 + 0.5 + 0.6 + 0.6 + 0.9 + 0.0 + 0.1 + 0.2) / 2
    assert pose_error(units, known).item() == pytest.approx(yaw + 0.1 * rest)
    assert pose_error(known, known).item() == 0
    mirrored = known * torch.tensor([1.0, -1, 1, 1, 1, 1])
    assert pose_error(mirrored, known).item() == pytest.approx(0.7)


def test_threads_add_gradients_in_a_fixed_order() -> None:
    """Eight views of one object at 64 px: their gradients on its depth are added up by two threads."""
    size, rng = 64, torch.Generator().manual_seed(0)
    network = TurnedNetworks(NetworkSizes(size, 2, 2, 8))
    view, front = (torch.rand(n, 3, size, size, generator=rng) - 0.5 for n in (8, 1))
    turns, nods = torch.randn(2, 8, generator=rng)
    own = (pose_of_moves(torch.zeros(1)), view, pose_of_moves(turns, 8 * nods), torch.zeros(8).long())
    shown = FrontsAndViews(front, torch.ones(1, 1, size, size), *own)
    depth = 1 + 0.02 * torch.rand(1, 1, size, size, generator=rng)

    def gradient() -> Tensor:
        leaf = depth.clone().requires_grad_(True)
        disagreement(network, leaf, shown, shown.pose_units())["total"].backward()
        assert leaf.grad is not None
        return leaf.grad

    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        first, *others = (gradient() for _ in range(12))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(first, other) for other in others)
