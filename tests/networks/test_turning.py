"""Moving objects by their latents: planted directions, and the file that they are kept in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from gan2shape.errors import CheckpointError
from gan2shape.io.checkpoints import write_tensors
from gan2shape.networks.latents import LatentEncoder
from gan2shape.networks.trained import NetworkSizes, save_networks
from gan2shape.networks.turned import TURNED, TurnedNetworks, load_turned
from gan2shape.networks.turning import (
    LIT,
    MIRRORED_POSE,
    NOD_DEG,
    Turning,
    drawn_moves,
    load_turning,
    mirror_difference,
    pose_of_moves,
    with_pose_reading,
    without,
)
from gan2shape.render.units import pose_from_units
from tests.train.planted import HEIGHT, LIGHT, TURN, WIDTH, Planted

SIZES = NetworkSizes(16, 4, 4, WIDTH)
NOD = 3
"""One of the looks that stands for the pitch."""
SPREADS = ("spread", "light_spread", "height_spread")


@pytest.fixture
def turning(rng: torch.Generator) -> Turning:
    """What is planted, with a pitch among the looks."""
    planted = Planted(0)
    light, height = (F.normalize(planted.mixture[place], dim=0) for place in (LIGHT, HEIGHT))
    turn = without(planted.mixture[TURN], light)
    pitch = 0.1 * planted.mixture[NOD]
    return Turning(turn / turn.norm(), light, height, pitch, 1.5 * float(turn.norm()), 0.7, 0.4, planted)


def test_coordinates_by_hand(turning: Turning, rng: torch.Generator) -> None:
    planted, parts = turning.encoder, torch.randn(9, WIDTH, generator=rng)
    images = planted.pictures(parts)
    coordinate = turning.coordinate(images)
    torch.testing.assert_close(coordinate, parts[:, TURN] / 1.5, rtol=0, atol=1e-3)
    torch.testing.assert_close(turning.coordinate(images.flip(-1)), -coordinate, rtol=0, atol=1e-4)
    lit = parts.clone()
    lit[:, LIGHT:] = torch.randn(9, WIDTH - 1, generator=rng)  # Other lights and looks are no turn.
    torch.testing.assert_close(turning.coordinate(planted.pictures(lit)), coordinate, rtol=0, atol=1e-3)


def test_moves_by_hand(turning: Turning, rng: torch.Generator) -> None:
    planted, parts = turning.encoder, torch.randn(9, WIDTH, generator=rng)
    latents = parts @ planted.mixture
    by, lit, pitch, above = (torch.linspace(low, -low, 9) for low in (-2.0, 1.0, -8.0, 1.5))
    still = torch.zeros(9)

    def seen(*moves: Tensor | None) -> Tensor:
        """Change of the parts (N, 6)."""
        return turning.moved(latents, *moves) @ torch.linalg.inv(planted.mixture) - parts

    def alone(place: int, change: Tensor) -> Tensor:
        changes = torch.zeros(9, WIDTH)
        changes[:, place] = change
        return changes

    torch.testing.assert_close(seen(by)[:, TURN], 1.5 * by, rtol=0, atol=1e-3)
    torch.testing.assert_close(seen(by)[:, HEIGHT:], torch.zeros(9, WIDTH - HEIGHT), rtol=0, atol=1e-3)
    only_light = alone(LIGHT, 0.7 * lit / planted.mixture[LIGHT].norm())
    torch.testing.assert_close(seen(still, lit), only_light, rtol=0, atol=1e-3)
    only_pitch = alone(NOD, 0.1 * pitch)
    torch.testing.assert_close(seen(still, None, pitch), only_pitch, rtol=0, atol=1e-3)
    only_height = alone(HEIGHT, 0.4 * above / planted.mixture[HEIGHT].norm())
    torch.testing.assert_close(seen(still, None, None, above), only_height, rtol=0, atol=1e-3)
    every = seen(by) + only_light + only_pitch + only_height
    torch.testing.assert_close(seen(by, lit, pitch, above), every, rtol=0, atol=1e-3)
    assert torch.equal(turning.moved(latents, still), latents)


def test_drawn_moves_have_the_spreads_that_are_asked_for() -> None:
    """Turn, light from the side, pitch in degrees, light from above; every second view is hardly turned."""
    moves = drawn_moves((4000, 6), rng=torch.Generator().manual_seed(3), lit=0.7)
    assert len(moves) == 4
    assert all(move.shape == (4000, 6) for move in moves)
    turn, side, nod, above = moves
    assert turn[:, 0::2].std().item() == pytest.approx(1, rel=0.03)
    assert turn[:, 1::2].std().item() == pytest.approx(0.2, rel=0.03)
    assert side.std().item() == pytest.approx(0.7, rel=0.03)
    assert above.std().item() == pytest.approx(0.7, rel=0.03)
    assert nod.std().item() == pytest.approx(NOD_DEG, rel=0.03)
    scaled = torch.stack([move / move.std(0) for move in moves], -1).flatten(1)  # (4000, 24)
    assert scaled.mean(0).abs().max() < 0.08
    other = torch.corrcoef(scaled.T) - torch.eye(24)
    assert other.abs().max() < 0.08, "moves and views are drawn one by one"


def test_drawn_moves_follow_their_random_numbers_and_shape() -> None:
    first, again, other = (drawn_moves((5,), rng=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    for one, same, another in zip(first, again, other, strict=True):
        assert one.shape == (5,)
        assert torch.equal(one, same)
        assert not (one == another).any()
    dim = drawn_moves((5,), rng=torch.Generator().manual_seed(1), lit=LIT / 3)
    for one, less, part in zip(first, dim, (1, 3, 1, 3), strict=True):  # Light alone is weaker.
        torch.testing.assert_close(one, part * less)


def test_mirror_differences_and_parts_without_a_direction(rng: torch.Generator) -> None:
    encoder = Planted(0)
    parts = torch.randn(5, WIDTH, generator=rng)
    odd = torch.cat([parts[:, :HEIGHT], torch.zeros(5, WIDTH - HEIGHT)], 1) @ encoder.mixture
    torch.testing.assert_close(mirror_difference(encoder, encoder.pictures(parts)), odd, rtol=0, atol=1e-3)
    direction = F.normalize(torch.randn(WIDTH, generator=rng), dim=0)
    left = without(parts, direction)
    torch.testing.assert_close(left @ direction, torch.zeros(5), rtol=0, atol=1e-5)
    torch.testing.assert_close(left + torch.outer(parts @ direction, direction), parts, rtol=0, atol=1e-6)


def test_vectors_are_taken_one_by_one_too(rng: torch.Generator) -> None:
    values, direction = torch.randn(4, 7, generator=rng), F.normalize(torch.randn(7, generator=rng), dim=0)
    for one, row in zip(values, without(values, direction), strict=True):
        torch.testing.assert_close(without(one, direction), row)


def planted_poses(planted: Planted, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Pictures of which the first part is the yaw and one of the looks the pitch, and their poses (count, 6)."""
    parts, poses = torch.randn(count, WIDTH, generator=rng), torch.zeros(count, 6)
    poses[:, 0], poses[:, 1] = 0.05 * parts[:, NOD] + 0.02, 0.3 * parts[:, TURN]
    return planted.pictures(parts), poses


def test_a_reading_of_poses_finds_those_of_other_pictures(turning: Turning, rng: torch.Generator) -> None:
    planted = turning.encoder
    planted.mean = torch.full((WIDTH,), 0.3)
    assert turning.pose is None
    with pytest.raises(ValueError, match="no reading of poses was fitted"):
        turning.pose_units(torch.zeros(1, 3, 16, 16))
    reading = with_pose_reading(turning, [planted_poses(planted, count, rng) for count in (3000, 1000)])
    images, poses = planted_poses(planted, 50, rng)
    read = reading.pose_units(images)
    torch.testing.assert_close(read, poses, rtol=0, atol=0.02)
    torch.testing.assert_close(reading.pose_units(images.flip(-1)), read * torch.tensor(MIRRORED_POSE))
    torch.testing.assert_close(reading.coordinate(images), turning.coordinate(images))


def test_a_reading_of_poses_is_read_back_and_checked(turning: Turning, tmp_path: Path, rng: torch.Generator) -> None:
    encoder = LatentEncoder(SIZES)
    assert load_turning(written(turning, tmp_path), encoder).pose is None
    reading = replace(turning, pose=torch.randn(WIDTH + 1, 6, generator=rng))
    found = load_turning(written(reading, tmp_path), encoder).pose
    assert found is not None
    assert torch.equal(found, reading.pose)
    for wrong in (torch.zeros(WIDTH, 6), torch.zeros(WIDTH + 1, 5), torch.full((WIDTH + 1, 6), float("nan"))):
        with pytest.raises(CheckpointError, match=r"turning\.pose"):
            load_turning(written(turning, tmp_path, pose=wrong), encoder)


def written(turning: Turning, folder: Path, **changed: Tensor | None) -> Path:
    """A file of networks with these directions, some changed or left out."""
    tensors = turning.tensors() | {f"turning.{name}": value for name, value in changed.items()}
    kept = {name: value for name, value in tensors.items() if value is not None}
    file = folder / "weights.safetensors"
    save_networks(file, TURNED, TurnedNetworks(SIZES), SIZES, beside=kept)
    return file


def test_directions_are_read_back_bit_for_bit(turning: Turning, tmp_path: Path) -> None:
    file, encoder = written(turning, tmp_path), LatentEncoder(SIZES)
    again = load_turning(file, encoder)
    assert again.encoder is encoder
    for name in ("direction", "light", "height", "pitch"):
        assert torch.equal(getattr(again, name), getattr(turning, name))
    for name in SPREADS:  # In single precision.
        assert getattr(again, name) == torch.tensor(getattr(turning, name)).item()
    assert load_turned(file).image_size == 16  # The networks beside them are as they were.
    more = written(turning, tmp_path, gait=torch.ones(WIDTH))  # As a later version may add.
    assert torch.equal(load_turning(more, encoder).light, turning.light)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"pitch": None}, r"expected turning\.pitch of shape \(6,\); got nothing$"),
        ({"height": None}, r"expected turning\.height of shape \(6,\); got nothing$"),
        ({"light": torch.ones(5)}, r"expected turning\.light of shape \(6,\); got \(5,\)$"),
        ({"direction": torch.ones(1, 6)}, r"expected turning\.direction of shape \(6,\); got \(1, 6\)$"),
        ({"spreads": torch.ones(2)}, r"expected turning\.spreads of shape \(3,\); got \(2,\)$"),
        ({"height": torch.full((6,), torch.nan)}, r"got NaN or infinity in turning\.height$"),
        ({"spreads": torch.tensor([1.0, 1.0, torch.inf])}, r"got NaN or infinity in turning\.spreads$"),
        ({"spreads": torch.tensor([1.0, 2.0, 0.0])}, r"expected positive turning\.spreads; got \[1\.0, 2\.0, 0\.0\]$"),
    ],
)
def test_other_directions_are_refused(
    turning: Turning, tmp_path: Path, changed: dict[str, Tensor | None], said: str
) -> None:
    with pytest.raises(CheckpointError, match=said) as caught:
        load_turning(written(turning, tmp_path, **changed), LatentEncoder(SIZES))
    assert "\n" not in str(caught.value)


def test_files_without_directions_are_refused(turning: Turning, tmp_path: Path) -> None:
    save_networks(tmp_path / "plain.safetensors", TURNED, TurnedNetworks(SIZES), SIZES)
    with pytest.raises(CheckpointError, match=r"plain\.safetensors: expected turning\.direction .*; got nothing$"):
        load_turning(tmp_path / "plain.safetensors", LatentEncoder(SIZES))
    other = LatentEncoder(replace(SIZES, code_size=8))
    with pytest.raises(CheckpointError, match=r"of shape \(8,\); got \(6,\)$"):
        load_turning(written(turning, tmp_path), other)
    with pytest.raises(CheckpointError):
        load_turning(tmp_path / "nowhere.safetensors", other)
    (tmp_path / "broken.safetensors").write_bytes(b"no tensors")
    with pytest.raises(CheckpointError):
        load_turning(tmp_path / "broken.safetensors", other)
    write_tensors(tmp_path / "halves.safetensors", {n: t.half() for n, t in turning.tensors().items()})
    assert load_turning(tmp_path / "halves.safetensors", LatentEncoder(SIZES)).light.dtype == torch.float32


def test_poses_of_moves_by_hand() -> None:
    turn, nod_deg, roll_deg = torch.tensor([[-0.6, 1.2], [0.0, -9.0], [0.0, 3.0]])
    pose = pose_from_units(pose_of_moves(turn, nod_deg, roll_deg))
    expected = torch.tensor([[0.0, -15, 0], [-9.0, 30, 3]])  # 25 degrees a turn.
    torch.testing.assert_close(torch.rad2deg(pose.euler()), expected, rtol=0, atol=1e-4)
    assert (pose.translation == 0).all()
    assert torch.equal(pose_of_moves(torch.tensor([0.5])), pose_of_moves(torch.tensor([0.5]), torch.zeros(1)))


def looking_up(turning: Turning, degrees: Tensor) -> Turning:
    """The directions with a reading that sees the planted turn, and a pitch of some degrees for one of `NOD`."""
    planted = turning.encoder
    planted.mean = torch.zeros(WIDTH)
    pose = torch.zeros(WIDTH + 1, 6)
    pose[:-1, 0] = degrees / 60 * torch.linalg.inv(planted.mixture)[:, NOD]
    return replace(turning, pose=pose)


def test_objects_face_the_camera(turning: Turning, rng: torch.Generator) -> None:
    planted = turning.encoder
    latents = torch.randn(9, WIDTH, generator=rng) @ planted.mixture

    def paint(moved: Tensor) -> Tensor:
        return planted.pictures(moved @ torch.linalg.inv(planted.mixture))

    facing = turning.facing(latents, paint)
    assert float(turning.coordinate(paint(facing)).abs().max()) < 1e-3
    change = (facing - latents) @ torch.linalg.inv(planted.mixture)
    assert float(change[:, NOD].abs().max()) < 1e-3, "no nod is known"
    told = looking_up(turning, torch.tensor(10.0))
    assert float(told.known_units(paint(latents))[:, 0].abs().max()) * 60 > 3
    assert float(told.known_units(paint(told.facing(latents, paint)))[:, 0].abs().max()) * 60 < 1e-2


def test_what_is_known_without_a_reading_is_the_turn(turning: Turning, rng: torch.Generator) -> None:
    turning.encoder.mean = torch.zeros(WIDTH)
    images = turning.encoder.pictures(torch.randn(5, WIDTH, generator=rng))
    torch.testing.assert_close(turning.known_units(images), pose_of_moves(turning.coordinate(images)))
    pose = torch.randn(WIDTH + 1, 6, generator=rng)
    known, read = (getattr(replace(turning, pose=pose), name)(images) for name in ("known_units", "pose_units"))
    torch.testing.assert_close(known[:, :3], read[:, :3])
    assert (known[:, 3:] == 0).all(), "shifts are not read well"


def test_shapes_are_read_off_what_a_mirror_leaves(turning: Turning, rng: torch.Generator, tmp_path: Path) -> None:
    planted = turning.encoder
    planted.mean = torch.zeros(WIDTH)
    images = planted.pictures(torch.randn(4, WIDTH, generator=rng))
    assert turning.depth(images) is None
    told = replace(turning, shape=torch.randn(WIDTH + 1, 16 * 16, generator=rng))
    depth = told.depth(images)
    assert depth is not None
    assert depth.shape == (4, 1, 16, 16)
    even = (planted(images) + planted(images.flip(-1))) / 2
    by_hand = even @ told.shape[:-1] + told.shape[-1]  # type: ignore[index]
    torch.testing.assert_close(depth.flatten(1), by_hand, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(told.depth(images.flip(-1)), depth)
    write_tensors(tmp_path / "t.safetensors", told.tensors(), {})
    planted.image_size = 16
    assert torch.equal(load_turning(tmp_path / "t.safetensors", planted).shape, told.shape)  # type: ignore[arg-type]
    write_tensors(tmp_path / "t.safetensors", told.tensors() | {"turning.shape": torch.zeros(WIDTH + 1, 9)}, {})
    with pytest.raises(CheckpointError, match=r"expected turning\.shape of shape \(7, 256\); got \(7, 9\)"):
        load_turning(tmp_path / "t.safetensors", planted)
