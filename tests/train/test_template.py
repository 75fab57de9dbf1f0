"""What a category's pictures have in common, and poses that suit it: heads whose poses are known."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from gan2shape.networks.agreement import as_vectors
from gan2shape.networks.template import Posed
from gan2shape.render import Lighting
from gan2shape.render.units import PoseRange, pose_from_units
from gan2shape.render.warp import forward_grid
from gan2shape.train.template import COMPONENTS, aligned_units, find_looks, fit_template, posed_pictures
from tests.reconstruct.known_turns import SIZE as SMALL
from tests.reconstruct.known_turns import known_start
from tests.train.turnable import LATENTS, Heads, head, picture, texture

SIZE, COUNT, LOOKS = 32, 240, 0.4
CAMERA = Heads(SIZE).camera
MASK = (F.avg_pool2d(head(CAMERA)[1], 3, stride=1, padding=1) > 0.99).float()


def heads(seed: int = 0, *, yaw_std: float = 15.0) -> tuple[Posed, Tensor]:
    """Heads under known yaws, pitches and sideways lights, and the numbers of their textures in place of latents."""
    rng = torch.Generator().manual_seed(seed)
    yaw, pitch = yaw_std * torch.randn(COUNT, generator=rng), 6 * torch.randn(COUNT, generator=rng)
    looks, side = torch.randn(COUNT, 3, generator=rng), 0.2 * torch.randn(COUNT, generator=rng)
    image = picture(texture(LOOKS * looks, SIZE), yaw, side, CAMERA, pitch)
    none = torch.zeros_like(yaw)
    units = torch.stack([pitch / 60, yaw / 60, none, none, none, none], dim=1)
    half = torch.full((COUNT, 1), 0.5)
    direction = F.normalize(torch.stack([side, none, torch.ones_like(side)], dim=1), dim=1)
    depth = head(CAMERA)[0].expand(COUNT, -1, -1, -1)
    return Posed(image, depth, units, as_vectors(Lighting(half, half, direction))), looks


def wrong(units: Tensor, seed: int = 5) -> Tensor:
    """Poses with errors of 3 degrees and of half a pixel."""
    spread = units.new_tensor([3 / 60, 3 / 60, 3 / 60, 0.015, 0.015, 0.0])
    return units + spread * torch.randn(units.shape, generator=torch.Generator().manual_seed(seed))


def astray(units: Tensor, true: Posed) -> Tensor:
    """How far poses (N, 6) put places of heads from where they are, root mean square in normalised coordinates."""
    own, right = (forward_grid(true.depth, pose_from_units(u, PoseRange()), CAMERA) for u in (units, true.units))
    apart = (own - right).square().sum(dim=-1)[:, None] * MASK
    return (apart.sum() / (COUNT * MASK.sum())).sqrt()


def drawn(count: int) -> Tensor:
    """Pictures (count, 3, S, S) of the generator of small heads."""
    return Heads(SMALL).synthesize(torch.randn(count, LATENTS, generator=torch.Generator().manual_seed(0)))


def test_under_true_poses_the_template_is_the_albedo_of_every_head() -> None:
    posed, latents = heads()
    template = fit_template(posed, latents, MASK, CAMERA)
    found = template.albedo(template.looks(latents))
    torch.testing.assert_close(found, found.flip(-1), atol=1e-4, rtol=0)
    true = texture(LOOKS * latents, SIZE) / 2 + 0.5
    own = true - true.mean(0)  # Of each head, not of all.
    missed = ((found - found.mean(0) - own) * template.mask).square().mean()
    assert missed < 0.1 * (own * template.mask).square().mean()
    assert ((found - true) * template.mask).abs().mean() < 0.03


def test_poses_that_are_known_roughly_are_known_better() -> None:
    true, latents = heads()
    rough = replace(true, units=wrong(true.units))
    done: list[int] = []
    template = fit_template(rough, latents, MASK, CAMERA)
    found = aligned_units(rough, latents, template, CAMERA, on_done=done.append)
    torch.testing.assert_close(found.mean(0), rough.units.mean(0), msg="no turn or shift of all")
    before, after = ((units - true.units).std(0)[:3] for units in (rough.units, found))
    assert (after < before * after.new_tensor([0.75, 0.75, 0.9])).all(), (before, after)
    assert astray(found, true) < 0.7 * astray(rough.units, true)
    assert done[-1] == COUNT
    assert done == sorted(done)


def test_pictures_that_are_turned_far_do_not_make_the_template() -> None:
    posed, latents = heads(yaw_std=40.0)
    near = (posed.units[:, 1].abs() * PoseRange().rotation_deg < 45).nonzero()[:, 0]
    assert 0 < len(near) < COUNT
    far = replace(posed, image=torch.where((posed.units[:, 1].abs() < 0.75)[:, None, None, None], posed.image, -1.0))
    first, second = (fit_template(one, latents, MASK, CAMERA) for one in (posed, far))
    torch.testing.assert_close(first.weights, second.weights)


def test_where_nothing_tells_an_albedo_the_template_does_not_count() -> None:
    (posed, latents), everywhere = heads(), torch.ones(1, 1, SIZE, SIZE)
    assert float(fit_template(posed, latents, everywhere, CAMERA).mask.mean()) > 0.9
    dark = replace(posed, light=0.01 * posed.light)
    assert float(fit_template(dark, latents, everywhere, CAMERA).mask.sum()) == 0


def test_looks_are_the_numbers_that_vary_most() -> None:
    rng = torch.Generator().manual_seed(0)
    even = torch.randn(400, 60, generator=rng) * torch.linspace(3, 0.1, 60) + 5
    looks = find_looks(even)(even)
    assert looks.shape == (400, COMPONENTS + 1)
    assert torch.equal(looks[:, -1], torch.ones(400))
    own = looks[:, :-1]
    torch.testing.assert_close(own.T @ own / 400, torch.eye(COMPONENTS), atol=1e-3, rtol=0)
    rest = even - even.mean(0)
    rest = rest - own @ (own.T @ rest / 400)
    assert rest.square().sum() < 0.05 * (even - even.mean(0)).square().sum()
    assert find_looks(even[:5])(even[:5]).shape == (5, 5)


def test_what_the_networks_tell_is_told_a_template_aside() -> None:
    start, image = known_start(), drawn(5)
    start = replace(start, turning=replace(start.turning, pose=0.01 * torch.ones(LATENTS + 1, 6)))
    with pytest.raises(ValueError, match="no reading of shapes"):
        posed_pictures(start, image)
    shape = torch.zeros(LATENTS + 1, SMALL * SMALL)
    shape[-1] = 0.95
    start = replace(start, turning=replace(start.turning, shape=shape))
    (posed, even), scene = posed_pictures(start, image), start(image)
    torch.testing.assert_close(posed.depth, scene.depth)
    torch.testing.assert_close(posed.units, start.turning.pose_units(image))
    torch.testing.assert_close(posed.light, as_vectors(scene.lighting))
    assert even.shape == (5, LATENTS)
    everywhere = torch.ones(1, 1, SMALL, SMALL)
    template = fit_template(posed, even, everywhere, start.camera)
    other, _ = posed_pictures(replace(start, turning=replace(start.turning, template=template)), image)
    assert torch.equal(other.units, posed.units)
