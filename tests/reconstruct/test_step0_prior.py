"""Step 0: the depth network, and nothing else, comes to the ellipsoid."""

from __future__ import annotations

import torch

from gan2shape.priors import EllipsoidPrior
from gan2shape.reconstruct.optimize import Adam, Record
from gan2shape.reconstruct.step0_prior import fit_shape_prior
from gan2shape.reconstruct.target import Target
from tests.reconstruct.small import SIZE, disc, moved, small_networks, weights_of


def a_target(seed: int = 0) -> Target:
    image = torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return Target(image, torch.zeros(1, 4), disc())


def test_the_depth_network_alone_moves_and_comes_to_the_ellipsoid() -> None:
    nets, target, records = small_networks(), a_target(), list[Record]()
    before = weights_of(nets)
    fit_shape_prior(
        nets,
        target,
        EllipsoidPrior(),
        steps=150,
        adam=Adam(3e-3),
        on_iteration=lambda iteration, record: records.append(record),
    )
    assert moved(nets, before) == {"depth_net"}
    wanted = EllipsoidPrior().depth(target.mask)
    depth = nets.depth(target.image).detach()
    inner = (depth - wanted)[:, :, :, 2:-2]
    assert float(inner.square().mean().sqrt()) < 0.01, "a tenth of the ellipsoid's height"
    assert records[-1]["total"] < records[0]["total"] / 20


def test_the_loss_is_the_mean_squared_difference_before_the_border_is_tied() -> None:
    nets, target, records = small_networks(), a_target(), list[Record]()
    raw = nets.depth_net(target.image).detach().double()
    fit_shape_prior(
        nets,
        target,
        EllipsoidPrior(near=0.93),
        steps=1,
        adam=Adam(1e-4),
        on_iteration=lambda iteration, record: records.append(record),
    )
    free = 1.0 + 0.1 * torch.tanh(raw - raw.mean())
    expected = (free - EllipsoidPrior(near=0.93).depth(target.mask)).square().mean()
    assert abs(records[0]["total"] - float(expected)) < 1e-7


def test_the_same_start_ends_the_same() -> None:
    results = []
    for _ in range(2):
        nets = small_networks()
        fit_shape_prior(
            nets, a_target(), EllipsoidPrior(), steps=3, adam=Adam(1e-3), on_iteration=lambda iteration, record: None
        )
        results.append(nets.depth(a_target().image))
    assert torch.equal(*results)
