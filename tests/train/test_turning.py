"""The direction of the turn: planted ones are found, and the sign is that of rendered pictures of known yaw."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan2shape.generators import load_generator
from gan2shape.networks.latents import encoder_of
from gan2shape.networks.turned import camera_of
from gan2shape.priors.ellipsoid import EllipsoidPrior
from gan2shape.priors.masks import auto_mask
from gan2shape.render import Lighting, shading
from gan2shape.train.run import iteration_rng
from gan2shape.train.turned import TurnedViews
from gan2shape.train.turning import (
    Turning,
    even_light,
    find_turning,
    mirror_difference,
    relit,
    side_light,
    without,
)
from tests.train.turnable import LATENTS, YAW_DEG, Heads, LinearEncoder, head, masker, picture, texture

SIZE, WIDTH = 16, 6
CAMERA = camera_of(SIZE)


class Planted(nn.Module):
    """Pictures and their exact latents, where turn, light and looks are known mixtures of the latents.

    Red is the light, a slope. Green by red is the turn: a pattern that moves to the left (as what is near does under a
    positive yaw) or to the right. Blue by red are the looks, patterns that are alike on both sides.
    """

    image_size = SIZE

    def __init__(self, seed: int) -> None:
        super().__init__()
        mixture = torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(seed))
        self.mixture = mixture + 2 * torch.eye(WIDTH)  # Rows: turn, light, looks; neither is at right angles.
        x = torch.linspace(-1, 1, SIZE)
        y = x[:, None]
        self.slope, self.still, self.moving = x + 0 * y, torch.cos(2 * x) + 0 * y, -torch.sin(2 * x) + 0 * y
        self.looks = torch.stack([torch.cos((k + 1) * x) * torch.cos(k * y) for k in range(WIDTH - 2)])

    def pictures(self, parts: Tensor) -> Tensor:
        """Pictures (N, 3, S, S) of turn, light and looks (N, 6)."""
        red = 0.4 * (1 + 0.05 * parts[:, 1, None, None] * self.slope)
        green = 0.5 + 0.1 * self.still + 0.05 * parts[:, 0, None, None] * self.moving
        blue = 0.5 + 0.02 * torch.einsum("nk,kyx->nyx", parts[:, 2:], self.looks)
        return torch.stack([red, red * green, red * blue], 1) * 2 - 1

    def shrunk(self, image: Tensor) -> Tensor:
        """As they are."""
        return image

    def forward(self, image: Tensor) -> Tensor:
        """Latents (N, 6): of pictures that `pictures` made, exactly parts times mixture."""
        red, green, blue = (image / 2 + 0.5).unbind(1)
        turn = (green / red * self.moving).mean((1, 2)) / (0.05 * self.moving.square().mean())
        light = (red / 0.4 * self.slope).mean((1, 2)) / (0.05 * self.slope.square().mean())
        looks = torch.linalg.lstsq(self.looks.flatten(1).T, (blue / red - 0.5).flatten(1).T / 0.02).solution.T
        return torch.cat([turn[:, None], light[:, None], looks], 1) @ self.mixture


def planted(seed: int) -> tuple[Planted, Tensor, Turning]:
    """Pictures with their parts, and what was found in them."""
    encoder, parts = Planted(seed), torch.randn(400, WIDTH, generator=torch.Generator().manual_seed(100 + seed))
    image = encoder.pictures(parts)
    torch.testing.assert_close(encoder(image), parts @ encoder.mixture, rtol=0, atol=1e-3)
    depth, mask = head(CAMERA)
    crude = {"mask": mask.expand(400, -1, -1, -1), "ellipsoid": depth.expand(400, -1, -1, -1)}
    return encoder, parts, find_turning(encoder, {"image": image, **crude}, CAMERA)


@pytest.mark.parametrize("seed", range(3))
def test_a_planted_direction_is_found(seed: int) -> None:
    encoder, parts, found = planted(seed)
    turn, light = encoder.mixture[:2].numpy().astype(float)
    light /= np.linalg.norm(light)
    rest = turn - turn @ light * light
    assert abs(found.light.numpy() @ light) > 0.9999
    np.testing.assert_allclose(found.direction.numpy(), rest / np.linalg.norm(rest), atol=2e-2)  # With this sign.
    assert found.spread == pytest.approx(float(parts[:, 0].std()) * np.linalg.norm(rest), rel=1e-2)


def test_coordinates_are_turns_in_standard_deviations() -> None:
    encoder, parts, found = planted(0)
    image = encoder.pictures(parts)
    coordinate = found.coordinate(image)
    torch.testing.assert_close(coordinate, parts[:, 0] / parts[:, 0].std(), rtol=0, atol=3e-2)
    torch.testing.assert_close(found.coordinate(image.flip(-1)), -coordinate, rtol=0, atol=1e-4)
    by = torch.linspace(-2, 2, len(parts))
    moved = found.moved(parts @ encoder.mixture, by)
    again = encoder.pictures(moved @ torch.linalg.inv(encoder.mixture))
    torch.testing.assert_close(found.coordinate(again), coordinate + by, rtol=0, atol=1e-2)
    same = torch.linspace(0, 0, len(parts))
    assert torch.equal(found.moved(moved, same), moved)


def test_a_positive_turn_is_a_positive_yaw() -> None:
    """On rendered heads, which differ in looks and light; the encoder has learned them but for its errors."""
    heads = Heads(SIZE)
    encoder, latents = LinearEncoder(heads), torch.randn(200, LATENTS, generator=torch.Generator().manual_seed(9))
    image = heads.synthesize(latents)
    mask = masker(image)
    crude = torch.cat([EllipsoidPrior().depth(one[None]) for one in mask])
    found = find_turning(encoder, {"image": image, "mask": mask, "ellipsoid": crude}, heads.camera)
    coordinate = found.coordinate(image)
    assert np.corrcoef(coordinate, latents[:, 0])[0, 1] > 0.97
    slope = float(coordinate @ latents[:, 0] / latents[:, 0].square().sum())
    assert slope == pytest.approx(1 / float(latents[:, 0].std()), rel=0.1)  # The yaw's standard deviation is one turn.
    yaw_deg = torch.tensor([-25.0, 0.0, 25.0])
    other = picture(texture(torch.tensor([[0.5, -0.5, 0.2]]).expand(3, 3), SIZE), yaw_deg, torch.zeros(3), heads.camera)
    left, none, right = found.coordinate(other).tolist()
    assert left < -0.7 * 25 / YAW_DEG
    assert right > 0.7 * 25 / YAW_DEG
    assert abs(none) < 0.1
    turned = heads.synthesize(found.moved(torch.zeros(1, LATENTS), torch.tensor([1.0])))
    assert (turned[..., : SIZE // 2] - turned.flip(-1)[..., : SIZE // 2]).abs().mean() > 0.02
    nose = (turned[0, :, SIZE // 2, 4:-4].mean(0).argmax() + 4).item()
    assert nose < SIZE / 2 - 0.5  # What is near has gone to the left.


def test_mirror_differences_and_parts_without_a_direction(rng: torch.Generator) -> None:
    encoder = Planted(0)
    parts = torch.randn(5, WIDTH, generator=rng)
    odd = torch.cat([parts[:, :2], torch.zeros(5, WIDTH - 2)], 1) @ encoder.mixture
    torch.testing.assert_close(mirror_difference(encoder, encoder.pictures(parts)), odd, rtol=0, atol=1e-3)
    direction = F.normalize(torch.randn(WIDTH, generator=rng), dim=0)
    left = without(parts, direction)
    torch.testing.assert_close(left @ direction, torch.zeros(5), rtol=0, atol=1e-5)
    torch.testing.assert_close(left + torch.outer(parts @ direction, direction), parts, rtol=0, atol=1e-6)


def test_lights_by_hand(rng: torch.Generator) -> None:
    image = torch.rand(2, 3, 4, 4, generator=rng) * 0.2 - 0.9
    side, even = side_light(image, -0.75, 2), even_light(image, 2)
    torch.testing.assert_close(side.direction, torch.tensor([[-0.6, 0.0, 0.8]]).expand(2, 3))
    assert even.direction.tolist() == [[0, 0, 1]] * 2
    assert torch.equal(side.ambient + side.diffuse, torch.ones(2, 1))
    slanted = torch.tensor([0.6, 0.0, 0.8])[:, None, None].expand(2, 3, 4, 4)
    lights = Lighting(torch.full((2, 1), 0.2), torch.full((2, 1), 0.8), torch.tensor([[0.6, 0.0, 0.8]]).expand(2, 3))
    ratio = (0.2 + 0.8) / (0.5 + 0.5 * 0.8)
    torch.testing.assert_close(relit(image, slanted, lights), (image + 1) * ratio - 1)
    assert torch.allclose(relit(image, slanted, even_light(image, 2)), image, atol=1e-6)
    assert float(shading(slanted, side).max()) == pytest.approx(0.35 + 0.65 * (0.64 - 0.36))
    bright = relit(image + 1.8, slanted, lights)
    assert bright.abs().max() <= 1
    assert math.isclose(float(bright.max()), 1.0)


@pytest.mark.slow
def test_the_bundled_generator_turns_as_far_as_it_is_asked_to() -> None:
    loaded = load_generator()
    encoder = encoder_of(loaded.identity)
    assert encoder is not None
    parts = {
        "masker": auto_mask,
        "prior": EllipsoidPrior(),
        "camera": camera_of(64),
        "count": 40,
        "views": 2,
        "seed": 0,
    }
    batch = TurnedViews(loaded, encoder, **parts)(0, 40)
    assert float(batch["turn"].std()) == pytest.approx(1, abs=0.01)
    assert float(batch["view_turn"].std()) == pytest.approx(0.85, abs=0.2)  # They fall a little short of it.
    order = iteration_rng(0, 0, torch.device("cpu"), "order")
    asked = torch.randn(40, 2, generator=iteration_rng(0, 0, torch.device("cpu"), "turns"))
    asked = asked[torch.randperm(40, generator=order)]
    assert np.corrcoef(asked.flatten(), batch["view_turn"].flatten())[0, 1] > 0.9
