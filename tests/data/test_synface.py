"""The endless sequence of rendered heads."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from gan2shape.data.synface import SynFace
from tests.data.small import sphere_model

MODEL = sphere_model(shapes=1.0)


def test_pictures_depend_on_their_number_alone() -> None:
    stream = SynFace(MODEL, size=16, seed=5)
    together = stream(0, 21)
    for start, count in ((0, 1), (3, 9), (20, 1)):
        for name, value in SynFace(MODEL, size=16, seed=5)(start, count).items():
            assert torch.equal(value, together[name][start : start + count]), name
    assert not torch.equal(SynFace(MODEL, size=16, seed=6)(0, 1)["image"], together["image"][:1])


def test_shapes_and_ranges() -> None:
    pictures = SynFace(MODEL, size=16)(2, 3)
    maps = {"image": 3, "mask": 1, "depth": 1, "normal": 3, "albedo": 3}
    numbers = {"view": 3, "translation": 3, "ambient": 1, "diffuse": 1, "light": 3}
    assert {name: tuple(value.shape) for name, value in pictures.items()} == {
        **{name: (3, channels, 16, 16) for name, channels in maps.items()},
        **{name: (3, channels) for name, channels in numbers.items()},
    }
    assert all(value.dtype == torch.float32 for value in pictures.values())
    assert pictures["image"].abs().max() <= 1
    assert ((pictures["mask"] == 0) | (pictures["mask"] == 1)).all()
    assert torch.equal(pictures["depth"] > 0, pictures["mask"] > 0)


def test_consecutive_pictures_share_a_head() -> None:
    stream = SynFace(MODEL, size=16, seed=2, views=3)
    heads, owner, views = stream.draw(1, 6)
    assert owner.tolist() == [0, 0, 1, 1, 1, 2]
    assert len(heads) == 3
    assert len(views) == 6
    single = SynFace(MODEL, size=16, seed=2)
    assert torch.equal(heads["identity"], single.draw(0, 3)[0]["identity"])
    # Views and lights are those of the picture's number, whoever is shown.
    assert torch.equal(stream(1, 6)["view"], single(1, 6)["view"])


def test_size_changes_nothing_but_the_sharpness() -> None:
    small, large = (SynFace(MODEL, size=size, seed=1)(0, 2) for size in (32, 64))
    assert torch.equal(small["view"], large["view"])
    # The outermost pixels' centres are on the same rays whatever the size.
    inside = F.interpolate(large["mask"], 32, mode="bilinear", align_corners=True)
    assert (small["mask"] - inside).abs().mean() < 0.02
    pictures = F.interpolate(large["image"], 32, mode="bilinear", align_corners=True)
    assert (small["image"] - pictures).abs().mean() < 0.03


def test_what_is_asked_for_must_exist() -> None:
    stream = SynFace(MODEL, size=16)
    for start, count in ((-1, 1), (0, 0)):
        with pytest.raises(ValueError, match="numbered from 0"):
            stream(start, count)
    with pytest.raises(ValueError, match="views must be at least 1"):
        SynFace(MODEL, views=0)


def test_attributes() -> None:
    stream = SynFace(MODEL, size=16, seed=9, views=2)
    assert stream.size == 16
    assert stream.description == "rendered heads of 16 px, seed 9, 2 per head, plain"
