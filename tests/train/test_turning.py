"""The directions of turn, light and pitch: planted ones are found, and so are those of rendered heads."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from gan2shape.generators import load_generator
from gan2shape.networks.latents import encoder_of
from gan2shape.networks.turned import camera_of
from gan2shape.networks.turning import TURN_DEG, Turning
from gan2shape.priors.ellipsoid import EllipsoidPrior
from gan2shape.priors.masks import auto_mask
from gan2shape.reconstruct.presets import PRESETS
from gan2shape.render import Lighting, shading
from gan2shape.train.turned_views import TurnedViews
from gan2shape.train.turning import calibrated, even_light, find_turning, relit, slanted_light
from tests.train.planted import CAMERA, HEIGHT, LIGHT, TURN, WIDTH, Planted
from tests.train.turnable import HEIGHT as DOWN
from tests.train.turnable import (
    LATENTS,
    PITCH_DEG,
    YAW_DEG,
    FittedEncoder,
    Heads,
    head,
    masker,
    picture,
    texture,
)
from tests.train.turnable import NOD as NODDED

SIZE = 16


def planted(seed: int) -> tuple[Planted, Tensor, Turning]:
    """Pictures with their parts, and what was found in them."""
    encoder, parts = Planted(seed), torch.randn(400, WIDTH, generator=torch.Generator().manual_seed(100 + seed))
    image = encoder.pictures(parts)
    torch.testing.assert_close(encoder(image), parts @ encoder.mixture, rtol=0, atol=1e-3)
    depth, mask = head(CAMERA)
    crude = {"mask": mask.expand(100, -1, -1, -1), "ellipsoid": depth.expand(100, -1, -1, -1)}
    return encoder, parts, find_turning(encoder, image, {"image": image[:100], **crude}, CAMERA)


@pytest.mark.parametrize("seed", range(3))
def test_a_planted_direction_is_found(seed: int) -> None:
    encoder, parts, found = planted(seed)
    turn, light, height = encoder.mixture[[TURN, LIGHT, HEIGHT]].numpy().astype(float)
    light, height = light / np.linalg.norm(light), height / np.linalg.norm(height)
    rest = turn - turn @ light * light
    assert found.light.numpy() @ light > 0.9999  # To image-right.
    assert found.height.numpy() @ height > 0.999  # Down.
    assert float(found.height.norm()) == pytest.approx(1)
    np.testing.assert_allclose(found.direction.numpy(), rest / np.linalg.norm(rest), atol=2e-2)  # With this sign.
    for way, spread in ((light, found.light_spread), (height, found.height_spread)):
        along = (parts @ encoder.mixture).numpy() @ way
        assert spread == pytest.approx(float(along.std(ddof=1)), rel=2e-2)
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


def found_in(heads: Heads) -> tuple[Turning, Tensor, Tensor]:
    """What is found in rendered heads, which differ in looks, light and pitch; their pictures and true latents."""
    encoder, latents = FittedEncoder(heads), torch.randn(200, LATENTS, generator=torch.Generator().manual_seed(9))
    image = heads.synthesize(latents)
    mask = masker(image)
    crude = torch.cat([EllipsoidPrior().depth(one[None]) for one in mask])
    probed = {"image": image, "mask": mask, "ellipsoid": crude}
    return find_turning(encoder, image, probed, heads.camera), image, latents


def test_a_positive_turn_is_a_positive_yaw() -> None:
    heads = Heads(SIZE)
    found, image, latents = found_in(heads)
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


def test_light_is_read_as_light_and_does_not_turn() -> None:
    heads = Heads(SIZE)
    found, image, latents = found_in(heads)
    still, lit = torch.zeros(200), torch.linspace(-2, 2, 200)
    moved = found.moved(latents, still, lit)
    change = heads.synthesize(moved)
    torch.testing.assert_close(moved[:, 1] - latents[:, 1], lit, rtol=0, atol=0.3)  # The true light of these heads.
    assert float((moved - latents)[:, 0].abs().max()) < 0.25
    assert float((found.coordinate(change) - found.coordinate(image)).abs().mean()) < 0.1
    left, _, right = heads.synthesize(found.moved(torch.zeros(3, LATENTS), still[:3], torch.tensor([-2.0, 0, 2.0])))
    middle = SIZE // 2
    assert right[:, :, :middle].mean() > left[:, :, :middle].mean() + 0.03  # Light that travels to the right.
    assert right[:, :, middle:].mean() < left[:, :, middle:].mean() - 0.03


def test_light_from_above_is_read_as_its_height_and_neither_turns_nor_nods() -> None:
    """At equal brightness it is no darker or brighter colour either."""
    heads = Heads(SIZE, pivot_depth=0.97)
    found, image, latents = found_in(heads)
    still, above = torch.zeros(200), torch.linspace(-2, 2, 200)
    moved = found.moved(latents, still, above=above)
    change = moved - latents
    torch.testing.assert_close(change[:, DOWN], above, rtol=0, atol=0.3)  # The true light of these heads.
    assert float((YAW_DEG * change[:, 0]).abs().max()) < 2
    assert float((PITCH_DEG * change[:, NODDED]).abs().max()) < 3
    assert float(change[:, 1:NODDED].abs().max()) < 0.3
    read = found.coordinate(heads.synthesize(moved)) - found.coordinate(image)
    assert float(read.abs().mean()) < 0.1
    none = torch.zeros(3)
    below, _, top = heads.synthesize(found.moved(torch.zeros(3, LATENTS), none, above=torch.tensor([-2.0, 0, 2.0])))
    middle = SIZE // 2
    assert top[:, :middle].mean() > below[:, :middle].mean() + 0.03  # Light that travels down.
    assert top[:, middle:].mean() < below[:, middle:].mean() - 0.03
    assert found.height_spread == pytest.approx(float(latents[:, DOWN].std()), rel=0.15)


def test_a_nod_is_a_pitch_of_about_as_many_degrees() -> None:
    """Of heads that turn about their middle, so that crude renderings answer to turn and nod alike."""
    heads = Heads(SIZE, pivot_depth=0.97)
    found, _, _ = found_in(heads)
    asked = torch.tensor([-12.0, -6.0, 6.0, 12.0])
    moved = found.moved(torch.zeros(4, LATENTS), torch.zeros(4), pitch_deg=asked)
    torch.testing.assert_close(PITCH_DEG * moved[:, NODDED], asked, rtol=0.25, atol=0)
    assert float(moved[:, 0].abs().max()) < 0.1
    assert float(moved[:, 1:5].abs().max()) < 0.5
    assert abs(float(found.pitch @ found.light)) < 1e-6
    assert abs(float(found.pitch @ found.direction)) < 1e-6
    up, down = heads.synthesize(moved)[[0, 3]]
    rows = torch.arange(SIZE, dtype=torch.float32)

    def nose(one: Tensor) -> float:
        bright = (one.mean(0)[4:-4, 6:10].mean(1) + 1).square()  # Of the columns in the middle.
        return float((bright * rows[4:-4]).sum() / bright.sum())

    assert nose(down) > nose(up) + 0.15  # What is near goes down under a positive pitch.


def test_lights_by_hand(rng: torch.Generator) -> None:
    image = torch.rand(2, 3, 4, 4, generator=rng) * 0.2 - 0.9
    side, even = slanted_light(image, (-0.75, 0.0), 2), even_light(image, 2)
    both = slanted_light(image, (2 / 3, -1 / 3), 5)  # To image-right, and up.
    torch.testing.assert_close(both.direction, torch.tensor([[2.0, -1, 3]]).expand(5, 3) / math.sqrt(14))
    assert both.ambient.shape == both.diffuse.shape == (5, 1)
    torch.testing.assert_close(side.direction, torch.tensor([[-0.6, 0.0, 0.8]]).expand(2, 3))
    assert torch.equal(even.ambient + even.diffuse, torch.ones(2, 1))
    assert even.ambient[0, 0] < even.diffuse[0, 0]
    torch.testing.assert_close(even.direction[:, :2] / even.direction[:, 2:], torch.tensor([[0.0, 0.25]] * 2))  # Above.
    assert torch.equal(side.ambient + side.diffuse, torch.ones(2, 1))
    slanted = torch.tensor([0.6, 0.0, 0.8])[:, None, None].expand(2, 3, 4, 4)
    lights = Lighting(torch.full((2, 1), 0.2), torch.full((2, 1), 0.8), torch.tensor([[0.6, 0.0, 0.8]]).expand(2, 3))
    facing = 0.8 / math.hypot(1, 0.25)
    ratio = (0.2 + 0.8) / float(even.ambient[0] + even.diffuse[0] * facing)
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
    parts = {"masker": auto_mask, "prior": PRESETS["default"].prior, "camera": camera_of(64)}
    stream = TurnedViews(loaded, encoder, **parts, count=40, views=2, seed=0)
    batch = stream(0, 40)
    assert float(batch["view_turn"][:, 0].std()) == pytest.approx(1, abs=0.5)  # As drawn; the ruler is crude.
    assert float(batch["turn"].abs().mean()) < 0.15
    assert float(batch["view_turn"][:, 1].std()) == pytest.approx(0.9, abs=0.3)  # They fall a little short of it.
    assert float((batch["view_turn"][:, 2] - batch["turn"]).abs().mean()) < 0.3  # Hardly turned.
    asked = torch.linspace(-1.5, 1.5, 20)
    latents = loaded.sample_latents(20, rng=torch.Generator().manual_seed(1))
    with torch.no_grad():
        before, after = (
            stream.turning.coordinate(encoder.shrunk(loaded.generator.synthesize(one).clamp(-1, 1)))
            for one in (latents, stream.turning.moved(latents, asked))
        )
    assert np.corrcoef(after - before, asked)[0, 1] > 0.9


@pytest.mark.parametrize("turns, nods", [(1.0, 1.0), (1.6, 0.6), (0.6, 1.6)])
def test_where_the_crude_shape_is_true_turns_and_nods_are_calibrated(turns: float, nods: float) -> None:
    """``spread`` and ``pitch`` are wrong by these factors, and are put right by the parallax of the shape."""
    heads, axes = Heads(32), torch.eye(LATENTS)
    unit = TURN_DEG / YAW_DEG
    wrong = Turning(axes[TURN], axes[LIGHT], axes[DOWN], axes[NODDED] * nods / PITCH_DEG, turns * unit, 1.0, 1.0, heads)  # type: ignore[arg-type]
    latents = torch.zeros(4, LATENTS)
    latents[:, 2:5] = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    depth, mask = (values.expand(4, -1, -1, -1) for values in head(heads.camera))
    objects = {"front": heads.synthesize(latents), "mask": mask, "ellipsoid": depth}
    right = calibrated(wrong, latents, heads.synthesize, objects, heads.camera)
    assert right.spread == pytest.approx(unit, rel=0.12)
    torch.testing.assert_close(right.pitch, axes[NODDED] / PITCH_DEG, rtol=0.12, atol=1e-6)
    assert torch.equal(right.direction, wrong.direction)
    assert (right.light_spread, right.height_spread) == (wrong.light_spread, wrong.height_spread)
