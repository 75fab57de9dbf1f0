"""Views that a generator turns and lights by itself, and a depth that is refined on exact ones."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from gan2shape.errors import InputError
from gan2shape.networks.agreement import FrontsAndViews
from gan2shape.networks.trained import NetworkSizes
from gan2shape.networks.turned import TurnedNetworks, camera_of
from gan2shape.reconstruct import turned_refinement
from gan2shape.reconstruct.config import Turned
from gan2shape.reconstruct.optimize import DivergedError
from gan2shape.reconstruct.target import Framing
from gan2shape.reconstruct.turned import TurnedStart
from gan2shape.reconstruct.turned_refinement import object_in, paint_views, refine_turned
from gan2shape.render import Lighting
from tests.reconstruct.known_turns import LIGHT, NOD, SIDE, SIZE, TURN, Constant, camera_light, known_gan, known_start
from tests.reconstruct.small import moved, weights_of
from tests.train.turnable import YAW_DEG, head, picture, texture

LOOKS = slice(2, 5)
OWN = torch.tensor([[0.7, 0.5, 0.3, -0.5, 0.4, 0.6]])
"""Yaw, light, three numbers of the look, pitch."""
FRAMING = Framing(SIZE, SIZE, SIZE)
EXACT = Turned(batch_size=4, learning_rate=1e-3, smoothness=1e-3, depth_smoothness=0.0, weight_decay=0.0)


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


def test_views_are_the_picture_and_the_object_turned_and_lit_from_its_front(start: TurnedStart) -> None:
    shown, latents = painted(start, views=12, lit=1.5)
    assert shown.view.shape == (13, 3, SIZE, SIZE)
    assert shown.front.shape == (1, 3, SIZE, SIZE)
    assert shown.owner.tolist() == [0] * 13
    unturned, turned = latents[1::2], latents[0::2]
    assert unturned[:, TURN].abs().max() * YAW_DEG < 2, "every second view is the front, lit anew"
    assert (unturned[:, TURN] == unturned[0, TURN]).all()
    assert turned[:, TURN].std() * YAW_DEG > 10
    assert len(set(latents[:, LIGHT].tolist())) == 12
    assert 0.7 < float(latents[:, LIGHT].std()) < 3
    for place in (NOD, *range(LOOKS.start, LOOKS.stop)):
        assert torch.allclose(latents[:, place], latents[0, place]), "only turn and light may move"
    read, true = shown.view_turn[1:], latents[:, TURN]
    assert (read - true).abs().max() * YAW_DEG < 5
    assert float(shown.view_turn[0]) == pytest.approx(float(OWN[0, TURN]), abs=0.25)
    assert float(shown.turn) == pytest.approx(float(unturned[0, TURN]), abs=0.1)


def test_more_typical_objects_are_nearer_to_the_mean_one(start: TurnedStart) -> None:
    with torch.no_grad():
        seen = start.turning.encoder(known_gan().generator.synthesize(OWN))[:, LOOKS]
    for typical in (0.0, 0.5, 1.0):
        _, latents = painted(start, views=2, typical=typical)
        torch.testing.assert_close(latents[:1, LOOKS], typical * seen)


def test_the_same_random_numbers_give_the_same_views(start: TurnedStart) -> None:
    first, second, other = (painted(start, seed, views=4)[0] for seed in (1, 1, 2))
    assert torch.equal(first.view, second.view)
    assert torch.equal(first.view_turn, second.view_turn)
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
    """Networks that know the lights of some pictures; what they know of poses is the yaw that they are told."""

    def __init__(self, pictures: Tensor, lights: Lighting) -> None:
        torch.manual_seed(0)
        super().__init__(NetworkSizes(SIZE, 8, 8, 16))
        self.pictures, self.lights = pictures, lights
        self.view_net = Constant(torch.zeros(1, 6))  # type: ignore[assignment]

    def lighting(self, image: Tensor) -> Lighting:
        """Of the pictures that are nearest to these."""
        return self.lights[(image[:, None] - self.pictures[None]).abs().sum((2, 3, 4)).argmin(1)]


def flattened() -> tuple[Oracle, FrontsAndViews, Tensor]:
    """Networks that see a head with 30 % of its relief, exact views of it, and its true depth."""
    camera = camera_of(SIZE)
    depth, mask = head(camera)
    rng = torch.Generator().manual_seed(0)
    yaw, side = YAW_DEG * torch.randn(12, generator=rng), 1.5 * SIDE * torch.randn(12, generator=rng)
    yaw[::2] = 0
    albedo, none = texture(OWN[:, LOOKS], SIZE), torch.zeros(1)
    front, view = picture(albedo, none, none, camera), picture(albedo.expand(12, -1, -1, -1), yaw, side, camera)
    nets = Oracle(torch.cat([front, view]), camera_light(torch.cat([none, yaw]), torch.cat([none, side])))
    far = depth.max()
    adam = torch.optim.Adam(nets.depth_net.parameters(), lr=3e-3)
    for _ in range(150):
        adam.zero_grad()
        (100 * (nets.depth(front) - (far - 0.3 * (far - depth))).abs().mean()).backward()
        adam.step()
    owner = torch.zeros(12, dtype=torch.long)
    return nets, FrontsAndViews(front, mask, none, view, yaw / YAW_DEG, owner), depth


def test_exact_views_bring_a_flattened_depth_nearer_to_the_true_one() -> None:
    nets, shown, true = flattened()
    inside = shown.mask > 0

    def error() -> float:
        with torch.no_grad():
            return float((nets.depth(shown.front) - true)[inside].std())

    before, weights = error(), weights_of(nets)
    losses: list[float] = []
    refine_turned(
        nets,
        shown.front,
        shown,
        steps=60,
        settings=EXACT,
        rng=torch.Generator().manual_seed(0),
        on_iteration=lambda index, record: losses.append(record["total"]),
    )
    assert len(losses) == 60
    assert before > 0.5 * float(true[inside].std()), "it was flattened"
    assert error() < 0.7 * before
    assert moved(nets, weights) == {"depth_net"}


def test_a_loss_that_is_not_finite_stops_with_the_weights_as_they_were() -> None:
    nets, shown, _ = flattened()
    before: dict[str, Tensor] = weights_of(nets)
    settings = replace(EXACT, smoothness=float("nan"))
    with pytest.raises(DivergedError, match="nan"):
        refine_turned(
            nets,
            shown.front,
            shown,
            steps=3,
            settings=settings,
            rng=torch.Generator(),
            on_iteration=lambda index, record: None,
        )
    assert not moved(nets, before)
