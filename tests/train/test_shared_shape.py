"""What all objects' depths have wrong in common: planted in rendered heads of which everything else is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gan2shape.networks.agreement import FrontsAndViews, disagreement
from gan2shape.networks.trained import NetworkSizes
from gan2shape.networks.turned import TurnedNetworks, camera_of
from gan2shape.render import Lighting
from gan2shape.render.units import PoseRange, pose_to_units
from gan2shape.train import shared_shape
from gan2shape.train.shared_shape import corrected, shared_correction
from tests.reconstruct.known_turns import yawed
from tests.train.turnable import SIDE, head, picture, places, texture

SIZE, OBJECTS, VIEWS = 32, 8, 6
SMOOTHNESS = {"smoothness": 1e-3, "depth_smoothness": 0.1}


class Lit(TurnedNetworks):
    """Networks that see every front under the same light, which is the true one."""

    def lighting(self, image: Tensor) -> Lighting:
        """In the camera's axes."""
        half, ahead = image.new_full((len(image), 1), 0.5), image.new_tensor([[0.0, 0.0, 1.0]])
        return Lighting(half, half, ahead.expand(len(image), 3))


def flatter() -> Tensor:
    """What the planted depths have wrong (1, S, S): a quarter of the relief is missing in their middle."""
    y, x = places(SIZE)
    depth = head(camera_of(SIZE))[0][0]
    return 0.25 * (depth.max() - depth) * torch.exp(-4 * (x.square() + y.square()))


def heads(*, wrong: Tensor) -> list[dict[str, Tensor]]:
    """Heads of several colours, their views, exact poses, and a depth that is wrong by this map and a little more."""
    rng, camera = torch.Generator().manual_seed(0), camera_of(SIZE)
    depth, mask = head(camera)
    found = []
    for _ in range(OBJECTS):
        yaw, pitch = 10 * torch.randn(VIEWS, generator=rng), 8 * torch.randn(VIEWS, generator=rng)
        look = texture(0.5 * torch.randn(1, 3, generator=rng), SIZE)
        view = picture(look.expand(VIEWS, -1, -1, -1), yaw, SIDE * torch.randn(VIEWS, generator=rng), camera, pitch)
        front = picture(look, torch.zeros(1), torch.zeros(1), camera)[0]
        own = 0.002 * torch.randn(1, 1, 1, generator=rng)
        one = {"view": view, "front": front}
        one = {name: ((image.clamp(-1, 1) + 1) * 127.5).round().byte() for name, image in one.items()}
        one |= {"pose": pose_to_units(yawed(yaw, pitch), PoseRange()), "front_pose": torch.zeros(6)}
        found.append({**one, "depth": depth[0] + wrong + own, "mask": mask[0] > 0})
    return found


def error(by: Tensor, wrong: Tensor) -> float:
    """How wrong the middle still is, whatever its distance."""
    left = (wrong + by)[0, 8:-8, 8:-8]
    return float((left - left.mean()).abs().mean())


def networks() -> Lit:
    torch.manual_seed(0)
    return Lit(NetworkSizes(SIZE, 8, 8, 16))


def found(objects: list[dict[str, Tensor]], seed: int = 0) -> Tensor:
    return shared_correction(networks(), objects, seed=seed, **SMOOTHNESS)


@torch.no_grad()
def disagreed(objects: list[dict[str, Tensor]], by: Tensor) -> float:
    """How badly all objects explain all of their views with this map added."""
    front, front_pose, mask, depth = (
        torch.stack([one[name] for one in objects]).float() for name in ("front", "front_pose", "mask", "depth")
    )
    view, pose = (torch.cat([one[name] for one in objects]).float() for name in ("view", "pose"))
    owner = torch.arange(len(objects)).repeat_interleave(VIEWS)
    shown = FrontsAndViews(front / 127.5 - 1, mask, front_pose, view / 127.5 - 1, pose, owner)
    return float(disagreement(networks(), depth + by, shown, shown.pose_units())["views"])


def test_what_all_have_wrong_is_mended_and_sides_are_alike() -> None:
    """In the views the planted error moves colours by about a pixel; what moves them past their neighbours cannot be
    found by a gradient."""
    wrong = flatter()
    objects, none = heads(wrong=wrong), torch.zeros(1, SIZE, SIZE)
    by = found(objects)
    assert by.shape == (1, SIZE, SIZE)
    assert not by.requires_grad
    torch.testing.assert_close(by, by.flip(-1))
    before, after, best = (disagreed(objects, own) for own in (none, by, -wrong))
    assert after < 0.25 * before
    assert after < 1.05 * best, "the true depth explains them no better"
    assert error(by, wrong) < 0.7 * error(none, wrong)
    mended = corrected(objects, by)
    for one, other in zip(objects, mended, strict=True):
        assert torch.equal(other["depth"], one["depth"] + by)
        assert other["view"] is one["view"]
    assert torch.equal(found(objects), by), "it is the same every time"


def test_what_is_right_stays_as_good() -> None:
    none = torch.zeros(1, SIZE, SIZE)
    objects, depth = heads(wrong=none), head(camera_of(SIZE))[0]
    by = found(objects)
    assert disagreed(objects, by) < 1.05 * disagreed(objects, none)
    assert error(by, none) < 0.04 * float(depth.max() - depth.min())


@pytest.mark.parametrize("count", [1, 3])
def test_few_objects_will_do(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_shape, "STEPS", 2)
    assert found(heads(wrong=flatter())[:count]).isfinite().all()
