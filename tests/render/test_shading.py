from __future__ import annotations

import math

import pytest
import torch

from gan2shape.render import Lighting, diffuse_shading, shade, shading, unshade
from tests.render.shapes import light


def facing(size: int = 2) -> torch.Tensor:
    """Normals (1, 3, size, size) of a frontal surface."""
    normals = torch.zeros(1, 3, size, size, dtype=torch.float64)
    normals[:, 2] = 1
    return normals


def test_lambert_at_sixty_degrees_gives_half() -> None:
    slanted = light(0.2, 0.6, (math.sin(math.pi / 3), 0, math.cos(math.pi / 3)))
    torch.testing.assert_close(diffuse_shading(facing(), slanted), torch.full((1, 1, 2, 2), 0.5, dtype=torch.float64))
    torch.testing.assert_close(shading(facing(), slanted), torch.full((1, 1, 2, 2), 0.5, dtype=torch.float64))


def test_light_from_behind_leaves_the_ambient_term() -> None:
    behind = light(0.3, 0.9, (0.2, 0, -1))
    assert (diffuse_shading(facing(), behind) == 0).all()
    assert (shading(facing(), behind) == 0.3).all()


def test_shade_by_hand(rng: torch.Generator) -> None:
    albedo = torch.rand(1, 3, 2, 2, generator=rng, dtype=torch.float64) * 2 - 1
    lit = shade(albedo, facing(), light(0.25, 0.5, (0, 0, 1)))
    torch.testing.assert_close((lit + 1) / 2, (albedo + 1) / 2 * 0.75)


@pytest.mark.parametrize("direction, bright", [((1, 0, 1), "left"), ((0, 1, 1), "up")])
def test_the_light_travels_along_its_direction(direction: tuple[float, ...], bright: str) -> None:
    """Normals point away from the camera, so a surface that faces image-left has a normal with x > 0."""
    normals = facing(1).expand(2, 3, 1, 1).clone()
    axis = 0 if bright == "left" else 1
    normals[0, axis], normals[1, axis] = 0.6, -0.6
    normals[:, 2] = 0.8
    towards, away = diffuse_shading(normals, light(0, 1, direction)).flatten().tolist()
    assert towards > away + 0.5


def test_gradients_of_shade(rng: torch.Generator) -> None:
    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=rng, dtype=torch.float64).requires_grad_()

    inputs = (random(2, 3, 3, 3), random(1, 3, 3, 3), random(2, 1), random(2, 1), random(2, 3))
    assert torch.autograd.gradcheck(lambda albedo, normals, *parts: shade(albedo, normals, Lighting(*parts)), inputs)


def lit_normals(rng: torch.Generator) -> tuple[torch.Tensor, Lighting]:
    """Two maps of random normals that face the camera, and a light for each that leaves nothing dark."""
    normals = torch.randn(2, 3, 4, 5, generator=rng, dtype=torch.float64)
    normals[:, 2] = normals[:, 2].abs() + 0.3
    lights = Lighting.cat([light(0.2, 0.7, (0.6, -0.2, 1)), light(0.06, 0.9, (-0.9, 0.4, 1))])
    return normals / normals.norm(dim=1, keepdim=True), lights


def test_unshade_undoes_shade(rng: torch.Generator) -> None:
    normals, lights = lit_normals(rng)
    albedo = torch.rand(2, 3, 4, 5, generator=rng, dtype=torch.float64) * 2 - 1
    picture = shade(albedo, normals, lights)
    torch.testing.assert_close(unshade(picture, normals, lights), albedo, rtol=0, atol=1e-12)
    dim = picture[:, :, :1, :1].expand_as(picture)  # Not of these normals; dark enough not to be cut.
    dim = (dim / 2 + 0.5) * 0.05 * 2 - 1
    torch.testing.assert_close(shade(unshade(dim, normals, lights), normals, lights), dim, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("ambient", "grey", "albedo"),
    [
        (0.25, 0.125, 0.5),
        (0.25, 0.3, 1.0),  # Brighter than white paper.
        (0.25, -0.1, 0.0),
        (0.01, 0.02, 0.4),  # Counts as lit by 0.05.
        (0.0, 0.02, 0.4),
        (0.0, 0.0, 0.0),
    ],
)
def test_unshade_by_hand(ambient: float, grey: float, albedo: float) -> None:
    """The light comes from behind, so there is the ambient one alone."""
    picture = torch.full((1, 3, 2, 2), 2 * grey - 1, dtype=torch.float64)
    found = unshade(picture, facing(), light(ambient, 0.9, (0.2, 0, -1)))
    torch.testing.assert_close(found, torch.full_like(picture, 2 * albedo - 1))


def test_gradients_of_unshade(rng: torch.Generator) -> None:
    normals, lights = lit_normals(rng)
    picture = torch.rand(2, 3, 4, 5, generator=rng, dtype=torch.float64) * 0.04 - 0.99  # Nothing is cut.
    inputs = [part.clone().requires_grad_() for part in (picture, normals, lights.ambient, lights.diffuse)]
    assert torch.autograd.gradcheck(lambda i, n, a, d: unshade(i, n, Lighting(a, d, lights.direction)), inputs)


def test_lights_can_be_taken_apart() -> None:
    lights = Lighting(torch.tensor([[0.1], [0.2]]), torch.tensor([[0.3], [0.4]]), torch.eye(3)[:2])
    assert lights.batch == len(lights) == 2
    assert lights[1].ambient.item() == pytest.approx(0.2)
    assert lights[-1].direction.tolist() == [[0, 1, 0]]
    assert lights[0].expand(5).direction.shape == (5, 3)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="ambient"):
        Lighting(torch.zeros(1), torch.zeros(1), torch.zeros(1, 3))
    with pytest.raises(ValueError, match="albedo"):
        shade(torch.zeros(1, 1, 2, 2), facing(), light(0, 1, (0, 0, 1)))
    with pytest.raises(ValueError, match="image"):
        unshade(torch.zeros(1, 1, 2, 2), facing(), light(0, 1, (0, 0, 1)))
    with pytest.raises(ValueError, match="normals"):
        diffuse_shading(torch.zeros(3, 2, 2), light(0, 1, (0, 0, 1)))
