"""Objects from the front and their views: rendered heads, whose true yaws, lights and looks are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from gan2shape.errors import InputError
from gan2shape.networks.turning import NOD_DEG
from gan2shape.priors.ellipsoid import EllipsoidPrior
from gan2shape.train.turned_views import TurnedViews
from tests.train.turnable import (
    HEIGHT,
    LIGHT,
    NOD,
    PITCH_DEG,
    TURN,
    YAW_DEG,
    FittedEncoder,
    Heads,
    heads_gan,
    masker,
    views_of,
)

LOOKS = slice(2, 5)
COUNT, VIEWS = 60, 4
MIDDLE = 0.97
"""Heads that turn about their middle answer to a nod as to a turn, so that the nods that are told are right."""


class Remembering(Heads):
    """Heads that know the latents of every picture that they have drawn."""

    def __init__(self) -> None:
        super().__init__(pivot_depth=MIDDLE)
        self.drawn: dict[bytes, Tensor] = {}

    def synthesize(self, w: Tensor) -> Tensor:
        """Pictures (B, 3, S, S)."""
        pictures = super().synthesize(w)
        self.drawn |= {one.clamp(-1, 1).numpy().tobytes(): latent for one, latent in zip(pictures, w, strict=True)}
        return pictures

    def latents(self, pictures: Tensor) -> Tensor:
        """The true latents (..., 7) of pictures (..., 3, S, S) that were drawn."""
        flat = pictures.reshape(-1, *pictures.shape[-3:])
        return torch.stack([self.drawn[one.numpy().tobytes()] for one in flat]).reshape(*pictures.shape[:-3], -1)


@pytest.fixture(scope="module")
def encoder() -> FittedEncoder:
    return FittedEncoder(Heads())


@pytest.fixture(scope="module")
def views(encoder: FittedEncoder) -> TurnedViews:
    return views_of(encoder)


@pytest.fixture(scope="module")
def true() -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """A batch of all objects with the true latents of their fronts (N, 7) and of their views (N, 1 + V, 7)."""
    heads = Remembering()
    loaded = replace(heads_gan(), generator=heads)
    stream = views_of(FittedEncoder(heads), loaded, camera=heads.camera, count=COUNT, views=VIEWS)
    batch = dict(stream(0, COUNT))
    return batch, heads.latents(batch["front"]), heads.latents(batch["view"])


def test_keys_shapes_and_ranges(views: TurnedViews) -> None:
    batch = views(0, 12)
    shapes = {name: tuple(values.shape) for name, values in batch.items()}
    assert shapes == {
        "front": (12, 3, 16, 16),
        "mask": (12, 1, 16, 16),
        "ellipsoid": (12, 1, 16, 16),
        "turn": (12,),
        "view": (12, 4, 3, 16, 16),
        "view_turn": (12, 4),
        "view_nod": (12, 4),
    }
    assert max(batch[name].abs().max() for name in ("front", "view")) <= 1
    for front, mask, crude in zip(batch["front"], batch["mask"], batch["ellipsoid"], strict=True):
        assert torch.equal(masker(front[None])[0], mask)
        assert torch.equal(EllipsoidPrior().depth(mask[None])[0], crude)
    assert (views.size, views.count) == (16, 12)
    assert views.description.startswith("12 objects of heads with 3 views each, seed 5")


def test_every_epoch_is_another_order_of_the_same_objects(encoder: FittedEncoder, views: TurnedViews) -> None:
    again, other = views_of(encoder), views_of(encoder, seed=6)
    for name, values in views(5, 20).items():
        assert torch.equal(again(5, 20)[name], values)
    epochs = [views(12 * k, 12)["turn"].tolist() for k in range(3)]
    assert len(set(epochs[0])) == 12
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(epochs[2])
    assert epochs[0] != epochs[1] != epochs[2]
    assert views(7, 10)["turn"].tolist() == epochs[0][7:] + epochs[1][:5]  # Across two epochs.
    assert not set(other(0, 12)["turn"].tolist()) & set(epochs[0])


def test_fronts_face_the_camera_and_show_the_same_looks(true: tuple[dict[str, Tensor], Tensor, Tensor]) -> None:
    batch, front, view = true
    drawn = view[:, 0]
    assert float((YAW_DEG * drawn[:, 0]).abs().mean()) > 10  # As they were drawn.
    assert float((YAW_DEG * front[:, 0]).abs().mean()) < 2.5
    assert float((YAW_DEG * front[:, 0]).abs().max()) < 8
    assert float((front - drawn)[:, LOOKS].abs().mean()) < 0.1
    assert float((front - drawn)[:, LOOKS].abs().max()) < 0.4
    assert float(batch["turn"].abs().mean()) < 0.1  # And this is what is told of them.


def test_turns_that_are_told_are_true_yaws(true: tuple[dict[str, Tensor], Tensor, Tensor]) -> None:
    batch, _, view = true
    told, yaw = batch["view_turn"], view[..., 0]
    for shown in (slice(0, 1), slice(1, None, 2)):  # As drawn; turned.
        x, y = told[:, shown].flatten(), yaw[:, shown].flatten()
        assert np.corrcoef(x, y)[0, 1] > 0.95
        assert float(x @ y / (y @ y)) == pytest.approx(
            1, abs=0.35
        )  # The crude shape is the ruler, and its relief is not the head's.
    turned = yaw[:, 1::2].flatten()
    assert float(turned.std()) == pytest.approx(1, abs=0.4)
    assert abs(np.corrcoef(turned, yaw[:, :1].expand(-1, VIEWS // 2).flatten())[0, 1]) < 0.3  # Drawn anew.


def test_nods_that_are_told_are_true_pitches(true: tuple[dict[str, Tensor], Tensor, Tensor]) -> None:
    batch, front, view = true
    told, pitch = batch["view_nod"], PITCH_DEG * (view - front[:, None])[..., NOD]
    assert (told[:, 0] == 0).all()  # Of pictures as they were drawn nothing was asked.
    x, y = told[:, 1:].flatten(), pitch[:, 1:].flatten()
    assert float(x.std()) == pytest.approx(NOD_DEG, rel=0.15)
    assert np.corrcoef(x, y)[0, 1] > 0.97
    assert float(x @ y / (x @ x)) == pytest.approx(1, abs=0.4)
    for place in (TURN, LIGHT):
        assert abs(np.corrcoef(x, (view - front[:, None])[:, 1:, place].flatten())[0, 1]) < 0.2


def test_every_second_view_is_hardly_turned_and_all_are_lit_anew(
    true: tuple[dict[str, Tensor], Tensor, Tensor],
) -> None:
    _, front, view = true
    change = view[:, 1:] - front[:, None]
    still, turned = change[:, 1::2], change[:, 0::2]
    assert float(still[..., TURN].std()) == pytest.approx(0.2 * float(turned[..., TURN].std()), rel=0.25)
    assert float(turned[..., TURN].std()) == pytest.approx(1, abs=0.4)
    for moved in (still, turned):
        for place in (LIGHT, HEIGHT):
            assert 1.1 < float(moved[..., place].std()) < 1.9  # More than the pictures' own lights.
            assert abs(float(moved[..., place].mean())) < 0.4
        assert float(moved[..., LOOKS].abs().mean()) < 0.15
    for place in (LIGHT, HEIGHT, NOD):  # Each has its own.
        assert abs(np.corrcoef(still[:, 0, place], still[:, 1, place])[0, 1]) < 0.4
    assert abs(np.corrcoef(change[..., LIGHT].flatten(), change[..., HEIGHT].flatten())[0, 1]) < 0.2


def test_truncated_objects_are_nearer_to_the_mean(encoder: FittedEncoder) -> None:
    def spread(truncation: float) -> tuple[float, float]:
        heads = Remembering()
        stream = views_of(encoder, replace(heads_gan(), generator=heads), count=COUNT, views=1, truncation=truncation)
        return float(heads.latents(stream(0, COUNT)["front"])[:, LOOKS].std()), stream.turning.spread

    (plain, turns), (near, same) = spread(1.0), spread(0.4)
    assert near == pytest.approx(0.4 * plain, rel=0.2)
    assert same == turns  # The directions are found without.
    assert views_of(encoder).description != views_of(encoder, truncation=0.4).description


def test_objects_that_the_masker_does_not_find_are_left_out(encoder: FittedEncoder) -> None:
    seen: list[int] = []

    def third(image: Tensor) -> Tensor:
        seen.append(len(seen))
        if len(seen) % 3 == 1:
            raise InputError("nothing there")
        if len(seen) % 3 == 2:  # One pixel: no crude shape stands on it.
            return F.pad(image.new_ones(1, 1, 1, 1), (3, 12, 3, 12))
        return masker(image)

    stream = views_of(encoder, masker=third, count=9)
    fronts = stream(0, 9)["front"]
    assert len(fronts) == 9
    assert len({front.numpy().tobytes() for front in fronts}) == 9

    def none(image: Tensor) -> Tensor:
        raise InputError("nothing there")

    with pytest.raises(InputError, match=r"in the pictures of heads; the masker found 0 in 4 pictures"):
        views_of(encoder, masker=none, count=4)


def test_a_masker_that_fails_on_fronts(encoder: FittedEncoder) -> None:
    """It finds objects in the pictures as they are drawn, which tell the directions, and then no more."""
    calls: list[int] = []

    def tires(image: Tensor) -> Tensor:
        calls.append(1)
        if len(calls) > 12 + 5:
            raise InputError("nothing there")
        return masker(image)

    with pytest.raises(InputError, match=r"the masker found 5 in \d+ pictures") as caught:
        views_of(encoder, masker=tires)
    assert "\n" not in str(caught.value)
    assert len(calls) < 200  # It gives up.


def test_many_objects_need_no_more_probes(encoder: FittedEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Directions are found in a bounded number of pictures, however many objects there are to be."""
    monkeypatch.setattr("gan2shape.train.turned_views.PROBED", 2)
    assert len(views_of(encoder, count=12)(0, 12)["turn"]) == 12
