"""How well objects explain their views: rendered heads of which everything is known, and the parts by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gan2shape.networks.agreement import (
    WIDEST_DEG,
    FrontsAndViews,
    disagreement,
    equally_bright,
    pose_error,
    with_yaw,
)
from gan2shape.networks.trained import NetworkSizes
from gan2shape.networks.turned import TurnedNetworks
from gan2shape.networks.turning import YAW_STD_DEG
from gan2shape.render.units import pose_from_units
from tests.train.turnable import EVEN, Says, head, places, rendered
from tests.train.turnable import Heads as Rendered

SIZE = 32
FAR = 1.02
LEFT, RIGHT, TOP = (0.0, 0.0, 0.6, 0.0), (-0.2, 0.3, -0.7, 0.2), (0.2, 0.0, 0.1, 0.7)
"""Lights as network numbers."""


def knowing(*lights: tuple[float, ...], poses: Says | None = None) -> TurnedNetworks:
    """Networks that say what is planted: these lights and poses, by default none beside the yaw."""
    network = TurnedNetworks(NetworkSizes.scaled(SIZE, 1 / 32))
    network.view_net = poses or Says((0.0,) * 6)
    network.light_net = Says(*lights)
    return network


def truth(*, lopsided: float = 0.0) -> tuple[Tensor, Tensor]:
    """Depth and mask (1, 1, S, S) of a head, to one side farther away."""
    depth, mask = head(Rendered(SIZE).camera)
    return depth + lopsided * places(SIZE)[1] * mask, mask


def shown(pictures: Tensor, masks: Tensor, *yaws_deg: float) -> FrontsAndViews:
    """The first picture as the front of one object, the others as its views."""
    turns = torch.tensor(yaws_deg) / YAW_STD_DEG
    owner = torch.zeros(len(pictures) - 1, dtype=torch.long)
    return FrontsAndViews(pictures[:1], masks[:1], turns[:1], pictures[1:], turns[1:], owner)


@torch.no_grad()
def error(network: TurnedNetworks, depth: Tensor, what: FrontsAndViews) -> float:
    return float(disagreement(network, depth, what)["views"])


@pytest.mark.parametrize("yaws_deg", [(2.0, -14.0), (-3.0, 9.0), (-6.0, 18.0)])
@pytest.mark.parametrize("lights", [(EVEN, EVEN), (EVEN, LEFT), (LEFT, RIGHT), (TOP, LEFT)])
def test_true_depth_yaws_and_lights_explain_a_view(
    yaws_deg: tuple[float, float], lights: tuple[tuple[float, ...], tuple[float, ...]]
) -> None:
    depth, mask = truth()
    one, two = yaws_deg
    pictures = rendered([(0.0, one), (0.0, two)], lights, depth, mask)
    network, what = knowing(*lights), shown(*pictures, one, two)
    right = error(network, depth, what)
    assert right < 0.025
    assert error(network, depth, shown(*pictures, -one, -two)) > 3 * right
    assert error(network, depth, shown(*pictures, two, one)) > 3 * right
    assert error(network, depth, shown(*pictures, one, one)) > 3 * right
    assert error(network, torch.full_like(depth, FAR), what) > 3 * right
    assert error(network, 2.0 - depth, what) > 3 * right  # Hollow.
    if lights[0] != lights[1]:
        assert error(knowing(*lights[::-1]), depth, what) > 3 * right


def test_it_grows_as_the_depth_is_flattened_or_mirrored() -> None:
    depth, mask = truth(lopsided=0.02)
    lights = (EVEN, LEFT, RIGHT, EVEN)
    yaws = (1.0, 15.0, -12.0, -20.0)
    pictures = rendered([(0.0, yaw) for yaw in yaws], lights, depth, mask)
    network, what = knowing(*lights), shown(*pictures, *yaws)
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
        disagreement(knowing(*lights), FAR + scale * (depth - FAR), what)["views"].backward()
        assert scale.grad is not None
        assert torch.sign(scale.grad) == sign


def test_a_view_that_is_lit_anew_only_tells_the_light() -> None:
    """It shows the front pixel by pixel, so nothing but the light is to explain."""
    depth, mask = truth()
    what = shown(*rendered([(0.0, 0.0)] * 2, (LEFT, RIGHT), depth, mask), 0.0, 0.0)
    right = error(knowing(LEFT, RIGHT), depth, what)
    assert right < 0.015
    assert error(knowing(LEFT, LEFT), depth, what) > 5 * right
    assert error(knowing(LEFT, RIGHT), torch.full_like(depth, FAR), what) > 5 * right


def test_every_view_is_explained_by_its_own_object() -> None:
    depth, mask = truth()
    shapes = (depth, FAR + 0.1 * (truth(lopsided=0.04)[0] - FAR))
    pairs = [rendered([(0.0, 0.0), (0.0, 18.0)], (EVEN, EVEN), shape, mask) for shape in shapes]
    fronts, masks = (torch.cat([pair[k][:1] for pair in pairs]) for k in range(2))
    views, turns = torch.cat([pair[0][1:] for pair in pairs[::-1]]), torch.full((2,), 18 / YAW_STD_DEG)

    def of(*owner: int, first: Tensor = depth) -> float:
        what = FrontsAndViews(fronts, masks, torch.zeros(2), views, turns, torch.tensor(owner))
        return error(knowing(EVEN), torch.cat([first, shapes[1]]), what)

    assert of(1, 0) < 0.01
    assert of(0, 1) > 0.05
    assert of(1, 0, first=shapes[1]) > 0.04


def test_the_rest_of_the_pose_is_the_view_networks() -> None:
    depth, mask = truth()
    what = shown(*rendered([(10.0, -5.0), (-8.0, 12.0)], (EVEN, EVEN), depth, mask), -5.0, 12.0)

    def with_pitches(*pitches_deg: float) -> float:  # What yaw the network says is no matter.
        poses = Says(*((pitch / 60, 0.7, 0.0, 0.0, 0.0, 0.0) for pitch in pitches_deg))
        return error(knowing(EVEN, poses=poses), depth, what)

    right = with_pitches(10.0, -8.0)
    assert right < 0.05
    assert with_pitches(0.0, 0.0) > 2.5 * right
    assert with_pitches(-10.0, 8.0) > 2.5 * right


def test_far_views_do_not_count() -> None:
    depth, mask = truth()
    pictures = rendered([(0.0, -10.0), (0.0, 15.0)], (EVEN, EVEN), depth, mask)
    terms = disagreement(knowing(EVEN), depth, shown(*pictures, -10.0, WIDEST_DEG - 9.0))
    assert terms["views"].item() == 0
    assert torch.isfinite(terms["total"])
    assert error(knowing(EVEN), depth, shown(*pictures, -10.0, WIDEST_DEG - 11.0)) > 0.03


def test_the_total_is_the_sum_and_reaches_every_network() -> None:
    depth, mask = truth()
    what = shown(*rendered([(0.0, 0.0), (0.0, 14.0)], (EVEN, LEFT), depth, mask), 0.0, 14.0)
    network = TurnedNetworks(NetworkSizes.scaled(SIZE, 1 / 32))
    terms = disagreement(network, network.depth(what.front), what)
    torch.testing.assert_close(terms["total"], sum(value for name, value in terms.items() if name != "total"))
    terms["total"].backward()
    for net in (network.depth_net, network.view_net, network.light_net):
        assert any(p.grad is not None and bool(p.grad.abs().max() > 0) for p in net.parameters())


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


def test_a_yaw_that_was_read_takes_the_place_of_the_networks() -> None:
    units = torch.tensor([[0.1, 0.2, -0.3, 0.4, -0.5, 0.6], [-0.7, 0.8, 0.9, 0.0, 0.1, 0.2]], requires_grad=True)
    turns = torch.tensor([1.5, -0.6])
    found = with_yaw(units, turns)
    expected = torch.tensor([[0.1, 30 / 60, -0.3, 0.4, -0.5, 0.6], [-0.7, -12 / 60, 0.9, 0.0, 0.1, 0.2]])
    torch.testing.assert_close(found, expected)
    angles = torch.rad2deg(pose_from_units(found.detach() * torch.tensor([0.0, 1, 0, 0, 0, 0])).euler())
    torch.testing.assert_close(angles, torch.tensor([[0.0, 30, 0], [0.0, -12, 0]]))  # 20 degrees a deviation.
    found.sum().backward()
    assert units.grad is not None
    assert units.grad.tolist() == [[1, 0, 1, 1, 1, 1]] * 2


def test_the_error_of_a_pose() -> None:
    turns = torch.tensor([1.5, -0.6])  # Units of 0.5 and -0.2.
    units = torch.tensor([[0.1, 0.2, -0.3, 0.4, -0.5, 0.6], [-0.7, 0.8, 0.9, 0.0, 0.1, 0.2]])
    yaw = (0.3 + 1.0) / 2
    rest = (0.1 + 0.3 + 0.4 + 0.5 + 0.6 + 0.7 + 0.9 + 0.0 + 0.1 + 0.2) / 2
    assert pose_error(units, turns).item() == pytest.approx(yaw + 0.1 * rest)
    right = torch.tensor([[0.0, 0.5, 0, 0, 0, 0], [0.0, -0.2, 0, 0, 0, 0]])
    assert pose_error(right, turns).item() == pytest.approx(0, abs=1e-6)
    assert pose_error(right, -turns).item() == pytest.approx(0.7)


def test_threads_add_gradients_in_a_fixed_order() -> None:
    """Eight views of one object at 64 px: their gradients on its depth are added up by two threads."""
    size, rng = 64, torch.Generator().manual_seed(0)
    network = TurnedNetworks(NetworkSizes(size, 2, 2, 8))
    view, front = (torch.rand(n, 3, size, size, generator=rng) - 0.5 for n in (8, 1))
    shown = FrontsAndViews(
        front, torch.ones(1, 1, size, size), torch.zeros(1), view, torch.randn(8, generator=rng), torch.zeros(8).long()
    )
    depth = 1 + 0.02 * torch.rand(1, 1, size, size, generator=rng)

    def gradient() -> Tensor:
        leaf = depth.clone().requires_grad_(True)
        disagreement(network, leaf, shown)["total"].backward()
        assert leaf.grad is not None
        return leaf.grad

    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        first, *others = (gradient() for _ in range(12))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(first, other) for other in others)
