"""Distillation: which views are shown, what a mirror does to poses, that shapes and poses are learned, exact resume."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from gan2shape.networks.trained import NetworkSizes, read_about
from gan2shape.networks.turned import TurnedNetworks, load_turned
from gan2shape.render.units import PoseRange, pose_from_units, pose_to_units
from gan2shape.train.distill import (
    AS_DRAWN,
    DEPTH_WEIGHT,
    POSE_SHARE,
    POSE_WEIGHT,
    SLOPE_WEIGHT,
    DistillTask,
    RefinedViews,
    mirrored,
)
from gan2shape.train.run import Schedule, run_training
from gan2shape.train.settings import WEIGHTS_FILE, TrainSettings
from gan2shape.train.shape_reading import ShapeReading
from tests.reconstruct.known_turns import yawed
from tests.train.turnable import SIDE, Heads, head, picture, texture

SIZE, OBJECTS, VIEWS = 16, 10, 7
SIZES = NetworkSizes(SIZE, 8, 8, 16)
BESIDE = {"turning.direction": torch.ones(3)}


def heads(seed: int = 0) -> list[dict[str, Tensor]]:
    """Rendered heads under known yaws and pitches, each with its canonical depth."""
    rng, camera = torch.Generator().manual_seed(seed), Heads(SIZE).camera
    depth, mask = head(camera)
    found = []
    for _ in range(OBJECTS):
        yaw, pitch = 25 * torch.randn(VIEWS, generator=rng), 8 * torch.randn(VIEWS, generator=rng)
        look = texture(0.5 * torch.randn(1, 3, generator=rng), SIZE).expand(VIEWS, -1, -1, -1)
        view = picture(look, yaw, SIDE * torch.randn(VIEWS, generator=rng), camera, pitch)
        units = pose_to_units(yawed(yaw, pitch), PoseRange())
        found.append(
            {"view": ((view + 1) * 127.5).round().byte(), "pose": units, "depth": depth[0], "mask": mask[0] > 0}
        )
    return found


def task(pictures: RefinedViews, **changed: object) -> DistillTask:
    torch.manual_seed(3)
    settings = TrainSettings(batch_size=16, learning_rate=2e-3, weight_decay=0.0)
    flags = {"start": TurnedNetworks(SIZES), "sizes": SIZES, "beside": BESIDE, "about": {"generator": "heads"}}
    return DistillTask(pictures, settings, device=torch.device("cpu"), **{**flags, **changed})  # type: ignore[arg-type]


def numbered() -> RefinedViews:
    """Objects whose pictures say which object and view they are."""
    objects = []
    for number in range(OBJECTS):
        view = (torch.arange(VIEWS) + VIEWS * number).byte()[:, None, None, None].expand(-1, 3, 2, 2)
        own, mask = torch.tensor(float(number)), torch.full((1, 2, 2), number % 2 == 0)
        objects.append({"view": view, "pose": own.expand(VIEWS, 6), "depth": own.expand(1, 2, 2), "mask": mask})
    return RefinedViews(objects, "numbers", seed=1)


def shown(batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Objects and views of a batch of `numbered`."""
    number = ((batch["image"][:, 0, 0, 0] + 1) * 127.5).round().long()
    return number // VIEWS, number % VIEWS


def test_every_round_shows_every_object_once_with_what_belongs_to_it() -> None:
    pictures = numbered()
    for start in (0, OBJECTS, 7 * OBJECTS):
        batch = pictures(start, OBJECTS)
        which, _ = shown(batch)
        assert sorted(which.tolist()) == list(range(OBJECTS))
        assert torch.equal(batch["pose"][:, 0].long(), which)
        assert torch.equal(batch["depth"][:, 0, 0, 0].long(), which)
        assert torch.equal(batch["mask"][:, 0, 0, 0], (which % 2 == 0).float())


def test_the_picture_as_drawn_is_shown_as_often_as_it_says_and_the_rest_are_any_view() -> None:
    _, view = shown(numbered()(0, 400 * OBJECTS))
    share = torch.bincount(view, minlength=VIEWS) / len(view)
    rest = (1 - AS_DRAWN) / VIEWS
    torch.testing.assert_close(share, torch.tensor([AS_DRAWN + rest] + [rest] * (VIEWS - 1)), atol=0.025, rtol=0)


def test_numbers_are_the_same_views_however_they_are_asked_for() -> None:
    whole = numbered()(3, 25)
    parts = [numbered()(start, count) for start, count in ((3, 4), (7, 20), (27, 1))]
    for name, values in whole.items():
        assert torch.equal(values, torch.cat([part[name] for part in parts]))


def test_depths_that_are_read_take_the_place_of_an_objects_own() -> None:
    features = torch.arange(float(OBJECTS * VIEWS)).view(OBJECTS, VIEWS, 1)
    plain = numbered()
    objects = [
        {"view": v, "pose": p, "depth": d, "mask": m}
        for v, p, d, m in zip(plain.view, plain.pose, plain.depth, plain.mask, strict=True)
    ]
    read = RefinedViews(objects, "numbers", seed=1, shapes=ShapeReading(features, torch.ones(1, 4)))
    batch, own = read(5, 12), plain(5, 12)
    which, view = shown(batch)
    assert torch.equal(batch["depth"][:, 0, 1, 1].long(), which * VIEWS + view)
    assert batch["depth"].shape == own["depth"].shape
    assert all(torch.equal(batch[name], own[name]) for name in ("image", "pose", "mask"))


def test_a_mirror_reflects_rotations_and_shifts() -> None:
    """The mirror x → -x takes a motion (R, t) to (M R M, M t)."""
    rng = torch.Generator().manual_seed(0)
    units = torch.rand(5, 6, generator=rng) - 0.5
    image, depth = torch.rand(5, 3, 4, 4, generator=rng), torch.rand(5, 1, 4, 4, generator=rng)
    flip = torch.tensor([True, False, True, True, False])
    there = mirrored({"image": image, "pose": units, "depth": depth}, flip)
    before, after = (pose_from_units(values, PoseRange()) for values in (units, there["pose"]))
    mirror = torch.diag(torch.tensor([-1.0, 1.0, 1.0]))
    for number, flipped in enumerate(flip):
        own = mirror if flipped else torch.eye(3)
        torch.testing.assert_close(after.rotation[number], own @ before.rotation[number] @ own)
        torch.testing.assert_close(after.translation[number], own @ before.translation[number])
        for now, was in ((there["image"], image), (there["depth"], depth)):
            assert torch.equal(now[number], was[number].flip(-1) if flipped else was[number])


def test_it_learns_the_shape_and_poses_of_heads_that_it_has_not_seen() -> None:
    run = task(RefinedViews(heads(), "heads", seed=0))
    lights = {name: value.clone() for name, value in run.network.light_net.state_dict().items()}
    others = heads(seed=9)
    image = torch.cat([one["view"] for one in others]).float() / 127.5 - 1
    pose, depth = torch.cat([one["pose"] for one in others]), others[0]["depth"]
    inside = -F.max_pool2d(-others[0]["mask"].float(), 3, stride=1, padding=1)

    def errors() -> list[float]:
        """Of yaw in degrees, of depth inside the object, and how far depths beside it are from those at the start."""
        with torch.no_grad():
            yaw = (run.network.view_net(image) - pose)[:, 1].abs().mean() * PoseRange().rotation_deg
            seen, before = run.network.depth(image), run.start.depth(image)
            parts = ((seen - depth) * inside, (seen - before) * (1 - inside))
            return [float(yaw), *(float(part.abs().mean()) for part in parts)]

    yaw, shape, _ = errors()
    for index in range(250):
        run.step(index)
    learned_yaw, learned_shape, moved = errors()
    assert learned_yaw < 0.4 * yaw
    assert learned_shape < 0.3 * shape
    assert moved < 0.3 * shape
    assert all(torch.equal(lights[name], value) for name, value in run.network.light_net.state_dict().items())


def test_it_resumes_exactly_and_its_file_holds_what_it_was_given(tmp_path: Path) -> None:
    pictures = RefinedViews(heads(), "heads", seed=0)
    start = task(pictures).start
    untouched = {name: value.clone() for name, value in start.state_dict().items()}
    run_training(task(pictures, start=start), tmp_path / "whole", Schedule(4, 2, 4), resume=False)
    run_training(task(pictures, start=start), tmp_path / "parts", Schedule(2, 2, 4), resume=False)
    run_training(task(pictures, start=start), tmp_path / "parts", Schedule(4, 2, 4), resume=True)
    assert all(torch.equal(untouched[name], value) for name, value in start.state_dict().items())
    whole, parts = (load_file(tmp_path / name / "state.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(parts[name], value) for name, value in whole.items())
    file = tmp_path / "whole" / "snapshots" / WEIGHTS_FILE
    assert read_about(file)["generator"] == "heads"
    assert torch.equal(load_file(file)["turning.direction"], BESIDE["turning.direction"])
    assert load_turned(file).image_size == SIZE


def test_terms_by_hand() -> None:
    """At the start nothing has moved; what is asked for is met or missed by known amounts in the middle of 16 x 16."""
    run = task(RefinedViews(heads(), "heads", seed=0))
    image, mask = torch.zeros(2, 3, SIZE, SIZE), torch.zeros(2, 1, SIZE, SIZE)
    mask[..., 3:-3, 3:-3] = 1  # Eroded, 8 x 8 are left.
    with torch.no_grad():
        pose, depth = run.network.view_net(image), run.network.depth(image)
        right = run.losses(image, pose, depth, mask)
        lean = 0.001 * torch.arange(SIZE).expand(2, 1, SIZE, SIZE)
        off = run.losses(image, pose + 0.1, depth + 0.01, mask)
        leaning = run.losses(image, pose, depth + lean, mask)
    assert {name: float(value) for name, value in right.items()} == dict.fromkeys(right, 0.0)
    inside = 8 * 8 / SIZE**2
    assert float(off["depth"]) == pytest.approx(DEPTH_WEIGHT * 0.01 * inside, rel=1e-3)
    assert float(off["slope"]) == pytest.approx(0, abs=1e-3)
    assert float(off["pose"]) == pytest.approx(POSE_WEIGHT * 0.1 * sum(POSE_SHARE), rel=1e-3)
    assert float(off["beside"]) == 0
    assert float(leaning["slope"]) == pytest.approx(SLOPE_WEIGHT * 0.001 * 8 * 7 / (SIZE * (SIZE - 1)), rel=1e-2)
