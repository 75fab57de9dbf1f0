"""Lights that are solved for: against another solver in double precision, and on renderings whose lights are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from gan2shape.networks.agreement import as_vectors, shading_of, solve_lights
from gan2shape.render import Lighting, diffuse_shading, normals_from_depth, shade, shading
from tests.train.turnable import Heads, head, texture

SIZE = 24
RIDGE = 0.01
"""How strongly solved lights are held, as a part of what the picture says (see `solve_lights`)."""


def surfaces(count: int, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Albedos in [0, 1], unit normals that face the camera more or less (so that all are lit), and masks, at random."""
    albedo = 0.2 + 0.6 * torch.rand(count, 3, SIZE, SIZE, generator=rng)
    normals = torch.randn(count, 3, SIZE, SIZE, generator=rng) * 0.2
    normals = F.normalize(normals + torch.tensor([0.0, 0, 1])[:, None, None], dim=1)
    return albedo, normals, (torch.rand(count, 1, SIZE, SIZE, generator=rng) < 0.7).float()


def drawn(count: int, rng: torch.Generator) -> Lighting:
    """Lights from the front that leave no pixel black."""
    draw = torch.rand(count, 4, generator=rng)
    direction = F.normalize(torch.cat([draw[:, 2:] - 0.5, torch.ones(count, 1)], dim=1), dim=1)
    return Lighting(0.4 + 0.2 * draw[:, :1], 0.3 + 0.2 * draw[:, 1:2], direction)


def least_squares(albedo: Tensor, normals: Tensor, image: Tensor, mask: Tensor, near: Tensor) -> Tensor:
    """The same lights one by one in double precision: a row for every pixel within the mask, and four that hold."""
    found = []
    for one in range(len(albedo)):
        inside = mask[one, 0].numpy() > 0
        bright = albedo[one].double().sum(0).numpy()[inside]
        normal = normals[one].double().numpy()[:, inside]
        rows = np.stack([bright, *(bright * normal)], axis=1)
        wanted = (image[one].double() / 2 + 0.5).sum(0).numpy()[inside]
        weight = np.sqrt(RIDGE * np.square(bright).sum())
        rows = np.concatenate([rows, weight * np.eye(4)])
        wanted = np.concatenate([wanted, weight * near[one].double().numpy()])
        found.append(np.linalg.lstsq(rows, wanted, rcond=None)[0])
    return torch.from_numpy(np.stack(found)).float()


def test_shading_is_linear_in_lights_as_vectors(rng: torch.Generator) -> None:
    _, normals, _ = surfaces(3, rng)
    lights = drawn(3, rng)
    torch.testing.assert_close(shading_of(as_vectors(lights), normals), shading(normals, lights))
    strong = torch.tensor([[0.1, 2.0, 0, 0]]).expand(3, 4)
    expected = (0.1 + 2 * normals[:, :1]).clamp(min=0)
    assert (expected == 0).any()
    torch.testing.assert_close(shading_of(strong, normals), expected)


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_solved_lights_are_those_of_another_solver(noise: float, rng: torch.Generator) -> None:
    albedo, normals, mask = surfaces(5, rng)
    image = shade(albedo * 2 - 1, normals, drawn(5, rng)) + noise * torch.randn(5, 3, SIZE, SIZE, generator=rng)
    near = torch.randn(5, 4, generator=rng)
    found = solve_lights(albedo, normals, image, mask, near)
    torch.testing.assert_close(found, least_squares(albedo, normals, image, mask, near), rtol=1e-3, atol=1e-3)


def test_what_is_outside_the_mask_does_not_matter(rng: torch.Generator) -> None:
    albedo, normals, mask = surfaces(2, rng)
    image, near = shade(albedo * 2 - 1, normals, drawn(2, rng)), torch.zeros(2, 4)
    found = solve_lights(albedo, normals, image, mask, near)
    spoilt = (torch.where(mask > 0, values, 7.0) for values in (albedo, normals, image))
    torch.testing.assert_close(solve_lights(*spoilt, mask, near), found)
    lights = near + torch.tensor([[0.5, 0.1, -0.2, 0.4]])
    nothing = solve_lights(albedo, normals, image, torch.zeros_like(mask), lights)
    torch.testing.assert_close(nothing, lights)  # Where nothing is seen, they are what they are held at.


def test_true_lights_of_renderings_are_found() -> None:
    """Of a head from the front: a light is mostly told by its sum, and less by what is ambient and what is not."""
    depth, _ = head(Heads(SIZE).camera)
    normals = normals_from_depth(depth, Heads(SIZE).camera).expand(6, -1, -1, -1)
    albedo = texture(torch.tensor([[0.5, -0.5, 0.2]]), SIZE).expand(6, -1, -1, -1)
    true = drawn(6, torch.Generator().manual_seed(4))
    image, mask = shade(albedo, normals, true), (diffuse_shading(normals, true) > 0).float()
    vectors = as_vectors(true)
    exact = solve_lights(albedo / 2 + 0.5, normals, image, mask, vectors)
    torch.testing.assert_close(exact, vectors, rtol=0, atol=1e-3)
    near = torch.tensor([[0.5, 0.0, 0.0, 0.5]]).expand(6, 4)
    found = solve_lights(albedo / 2 + 0.5, normals, image, mask, near)
    assert float((found - vectors).abs().max()) < 0.1
    lit, expected, held = ((mask * shading_of(lights, normals)) for lights in (found, vectors, near))
    assert float((lit - expected).abs().mean()) < 0.15 * float((held - expected).abs().mean())
    sides = np.corrcoef(found[:, 1:3].flatten(), vectors[:, 1:3].flatten())[0, 1]
    assert sides > 0.99


def test_no_gradient_goes_through_solved_lights(rng: torch.Generator) -> None:
    albedo, normals, mask = surfaces(1, rng)
    found = solve_lights(albedo.requires_grad_(), normals.requires_grad_(), albedo * 2 - 1, mask, torch.zeros(1, 4))
    assert not found.requires_grad
