"""Distillation: which views are shown, what a mirror does to poses, that poses are learned, exact resume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from gan2shape.networks.latents import LatentEncoder
from gan2shape.networks.one_pass import TurnedStart
from gan2shape.networks.pose_net import PoseNetwork
from gan2shape.networks.trained import NetworkSizes, read_about
from gan2shape.networks.turned import TurnedNetworks, camera_of, load_turned
from gan2shape.networks.turning import Turning, load_turning
from gan2shape.render import reproject
from gan2shape.render.units import PoseRange, pose_from_units, pose_to_units
from gan2shape.train.distill import AS_DRAWN, DistillTask, RefinedViews, mirrored, rolled_pose, shift_units
from gan2shape.train.pose_reading import rolled
from gan2shape.train.run import Schedule, run_training
from gan2shape.train.settings import WEIGHTS_FILE, TrainSettings
from tests.reconstruct.known_turns import yawed
from tests.train.turnable import SIDE, Heads, picture, texture

SIZE, OBJECTS, VIEWS, LATENTS = 16, 10, 7, 8
SIZES = NetworkSizes(SIZE, 8, 8, 16)


def heads(seed: int = 0) -> list[dict[str, Tensor]]:
    """Rendered heads under known yaws and pitches."""
    rng, camera = torch.Generator().manual_seed(seed), Heads(SIZE).camera
    found = []
    for _ in range(OBJECTS):
        yaw, pitch = 25 * torch.randn(VIEWS, generator=rng), 8 * torch.randn(VIEWS, generator=rng)
        look = texture(0.5 * torch.randn(1, 3, generator=rng), SIZE).expand(VIEWS, -1, -1, -1)
        view = picture(look, yaw, SIDE * torch.randn(VIEWS, generator=rng), camera, pitch)
        units = pose_to_units(yawed(yaw, pitch), PoseRange())
        found.append({"view": ((view + 1) * 127.5).round().byte(), "pose": units})
    return found


def begun(pose_net: PoseNetwork | None = None) -> TurnedStart:
    """Networks and directions of random weights, with readings of poses and shapes."""
    torch.manual_seed(3)
    encoder = LatentEncoder(NetworkSizes(SIZE, 1, 16, LATENTS)).requires_grad_(False)
    axes, shape = torch.eye(LATENTS), torch.zeros(LATENTS + 1, SIZE * SIZE)
    shape[-1] = 0.98
    own = {"pose": torch.zeros(LATENTS + 1, 6), "shape": shape, "pose_net": pose_net}
    turning = Turning(axes[0], axes[1], axes[2], axes[3], 1.0, 1.0, 1.0, encoder, **own)  # type: ignore[arg-type]
    return TurnedStart(TurnedNetworks(SIZES).requires_grad_(False), turning)


def task(pictures: RefinedViews, start: TurnedStart | None = None) -> DistillTask:
    settings = TrainSettings(batch_size=16, learning_rate=1e-3, weight_decay=0.0)
    flags = {"start": start or begun(), "sizes": SIZES, "about": {"generator": "heads"}}
    return DistillTask(pictures, settings, device=torch.device("cpu"), **flags)  # type: ignore[arg-type]


def numbered() -> RefinedViews:
    """Objects whose pictures say which object and view they are."""
    objects = []
    for number in range(OBJECTS):
        view = (torch.arange(VIEWS) + VIEWS * number).byte()[:, None, None, None].expand(-1, 3, 2, 2)
        objects.append({"view": view, "pose": torch.tensor(float(number)).expand(VIEWS, 6)})
    return RefinedViews(objects, "numbers", seed=1)


def shown(batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Objects and views of a batch of `numbered`."""
    number = ((batch["image"][:, 0, 0, 0] + 1) * 127.5).round().long()
    return number // VIEWS, number % VIEWS


def test_every_round_shows_every_object_once_with_its_pose() -> None:
    pictures = numbered()
    for start in (0, OBJECTS, 7 * OBJECTS):
        batch = pictures(start, OBJECTS)
        which, _ = shown(batch)
        assert sorted(which.tolist()) == list(range(OBJECTS))
        assert torch.equal(batch["pose"][:, 0].long(), which)


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


def test_a_mirror_reflects_rotations_and_shifts() -> None:
    """The mirror x → -x takes a motion (R, t) to (M R M, M t)."""
    rng = torch.Generator().manual_seed(0)
    units, image = torch.rand(5, 6, generator=rng) - 0.5, torch.rand(5, 3, 4, 4, generator=rng)
    flip = torch.tensor([True, False, True, True, False])
    there, told = mirrored(image, units, flip)
    before, after = (pose_from_units(values, PoseRange()) for values in (units, told))
    mirror = torch.diag(torch.tensor([-1.0, 1.0, 1.0]))
    for number, flipped in enumerate(flip):
        own = mirror if flipped else torch.eye(3)
        torch.testing.assert_close(after.rotation[number], own @ before.rotation[number] @ own)
        torch.testing.assert_close(after.translation[number], own @ before.translation[number])
        assert torch.equal(there[number], image[number].flip(-1) if flipped else image[number])


def test_a_rolled_and_shifted_picture_shows_the_pose_that_is_told() -> None:
    """The picture of a textured sheet of one depth under that pose, and the first picture, rolled and shifted."""
    size, camera = 64, camera_of(64)
    units = torch.tensor([[0.05, -0.1, 0.02, 0.05, -0.02, 0.0], [-0.1, 0.2, 0.0, 0.0, 0.04, 0.0]])
    roll_deg, shift = torch.tensor([12.0, -8.0]), torch.tensor([[3 / 64, -1.5 / 64], [-2 / 64, 4 / 64]])
    line = torch.linspace(-1, 1, size)
    soft = torch.exp(-((line - 0.1) ** 2 + (line[:, None] + 0.05) ** 2) / 0.08)[None, None].expand(2, 3, -1, -1)
    depth = torch.full((2, 1, size, size), camera.pivot_depth)

    def picture_of(units: Tensor) -> Tensor:
        return reproject(soft, depth, pose_from_units(units, PoseRange()), camera).image

    told = rolled_pose(units, roll_deg, shift_units(shift, camera))
    moved, shown = rolled(picture_of(units), roll_deg, shift * size), picture_of(told)
    inner = slice(12, -12)
    assert (moved - shown)[..., inner, inner].abs().max() < 0.02
    unmoved = (picture_of(units) - shown)[..., inner, inner].abs().max()
    assert unmoved > 0.15


def test_it_learns_the_poses_of_heads_that_it_has_not_seen() -> None:
    run = task(RefinedViews(heads(), "heads", seed=0))
    others = heads(seed=9)
    image = torch.cat([one["view"] for one in others]).float() / 127.5 - 1
    pose = torch.cat([one["pose"] for one in others])

    def errors() -> Tensor:
        """Of pitch and yaw in degrees."""
        return (run.learned.turning.pose_units(image) - pose)[:, :2].abs().mean(0) * PoseRange().rotation_deg

    before = errors()
    for index in range(300):
        run.step(index)
    pitch, yaw = errors()
    assert yaw < 0.3 * before[1]
    assert pitch < 0.8 * before[0]


def test_one_that_is_there_learns_on_and_stays_as_it_was() -> None:
    known = PoseNetwork.from_encoder(begun().turning.encoder)
    with torch.no_grad():
        known.last.weight.add_(0.01)
    known.requires_grad_(False)
    kept = {name: value.clone() for name, value in known.state_dict().items()}
    run = task(RefinedViews(heads(), "heads", seed=0), begun(known))
    assert all(torch.equal(kept[name], value) for name, value in run.network.state_dict().items())
    run.step(0)
    assert all(not torch.equal(kept[name], value) for name, value in run.network.state_dict().items())
    assert all(torch.equal(kept[name], value) for name, value in known.state_dict().items())


def test_it_resumes_exactly_and_its_file_holds_networks_directions_and_poses(tmp_path: Path) -> None:
    pictures, start = RefinedViews(heads(), "heads", seed=0), begun()
    inverse = {name: value.clone() for name, value in start.turning.encoder.state_dict().items()}
    run_training(task(pictures, start), tmp_path / "whole", Schedule(4, 2, 4), resume=False)
    run_training(task(pictures, start), tmp_path / "parts", Schedule(2, 2, 4), resume=False)
    run_training(task(pictures, start), tmp_path / "parts", Schedule(4, 2, 4), resume=True)
    assert all(torch.equal(inverse[name], value) for name, value in start.turning.encoder.state_dict().items())
    whole, parts = (load_file(tmp_path / name / "state.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(parts[name], value) for name, value in whole.items())
    file = tmp_path / "whole" / "snapshots" / WEIGHTS_FILE
    assert read_about(file)["generator"] == "heads"
    networks, turning = load_turned(file), load_turning(file, start.turning.encoder)
    for own, kept in zip(start.networks.parameters(), networks.parameters(), strict=True):
        assert torch.equal(own.half().float(), kept)
    assert turning.pose is None
    assert turning.pose_net is not None
    assert torch.equal(turning.direction, start.turning.direction)
    image = pictures(0, 3)["image"]
    learned = task(pictures, replace(start, turning=turning)).learned
    torch.testing.assert_close(learned(image).pose.rotation, TurnedStart(networks, turning)(image).pose.rotation)
    torch.testing.assert_close(learned(image).depth, torch.full((3, 1, SIZE, SIZE), 0.98))
