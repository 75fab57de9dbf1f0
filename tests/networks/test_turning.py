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
from gan2shape.networks.turning import Turning, load_turning, mirror_difference, without
from tests.train.planted import WIDTH, Planted

SIZES = NetworkSizes(16, 4, 4, WIDTH)


@pytest.fixture
def turning(rng: torch.Generator) -> Turning:
    """What is planted, with a pitch among the looks."""
    planted = Planted(0)
    light = F.normalize(planted.mixture[1], dim=0)
    turn = without(planted.mixture[0], light)
    pitch = 0.1 * planted.mixture[2]
    return Turning(turn / turn.norm(), light, pitch, 1.5 * float(turn.norm()), 0.7, planted)


def test_coordinates_and_moves_by_hand(turning: Turning, rng: torch.Generator) -> None:
    planted, parts = turning.encoder, torch.randn(9, WIDTH, generator=rng)
    images, latents = planted.pictures(parts), parts @ planted.mixture
    coordinate = turning.coordinate(images)
    torch.testing.assert_close(coordinate, parts[:, 0] / 1.5, rtol=0, atol=1e-3)
    torch.testing.assert_close(turning.coordinate(images.flip(-1)), -coordinate, rtol=0, atol=1e-4)
    by, lit, pitch = (torch.linspace(low, -low, 9) for low in (-2.0, 1.0, -8.0))

    def seen(*moves: Tensor | None) -> Tensor:
        """Change of turn, light and looks (N, 6)."""
        return turning.moved(latents, *moves) @ torch.linalg.inv(planted.mixture) - parts

    torch.testing.assert_close(seen(by)[:, 0], 1.5 * by, rtol=0, atol=1e-3)
    torch.testing.assert_close(seen(by)[:, 2:], torch.zeros(9, WIDTH - 2), rtol=0, atol=1e-3)
    only_light = torch.zeros(9, WIDTH)
    only_light[:, 1] = 0.7 * lit / planted.mixture[1].norm()
    torch.testing.assert_close(seen(0 * by, lit), only_light, rtol=0, atol=1e-3)
    only_pitch = torch.zeros(9, WIDTH)
    only_pitch[:, 2] = 0.1 * pitch
    torch.testing.assert_close(seen(0 * by, None, pitch), only_pitch, rtol=0, atol=1e-3)
    torch.testing.assert_close(seen(by, lit, pitch), seen(by) + only_light + only_pitch, rtol=0, atol=1e-3)
    assert torch.equal(turning.moved(latents, 0 * by), latents)


def test_mirror_differences_and_parts_without_a_direction(rng: torch.Generator) -> None:
    encoder = Planted(0)
    parts = torch.randn(5, WIDTH, generator=rng)
    odd = torch.cat([parts[:, :2], torch.zeros(5, WIDTH - 2)], 1) @ encoder.mixture
    torch.testing.assert_close(mirror_difference(encoder, encoder.pictures(parts)), odd, rtol=0, atol=1e-3)
    direction = F.normalize(torch.randn(WIDTH, generator=rng), dim=0)
    left = without(parts, direction)
    torch.testing.assert_close(left @ direction, torch.zeros(5), rtol=0, atol=1e-5)
    torch.testing.assert_close(left + torch.outer(parts @ direction, direction), parts, rtol=0, atol=1e-6)


def test_vectors_are_taken_one_by_one_too(rng: torch.Generator) -> None:
    values, direction = torch.randn(4, 7, generator=rng), F.normalize(torch.randn(7, generator=rng), dim=0)
    for one, row in zip(values, without(values, direction), strict=True):
        torch.testing.assert_close(without(one, direction), row)


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
    for name in ("direction", "light", "pitch"):
        assert torch.equal(getattr(again, name), getattr(turning, name))
    single = torch.tensor([turning.spread, turning.light_spread])
    assert torch.equal(torch.tensor([again.spread, again.light_spread]), single)
    assert load_turned(file).image_size == 16  # The networks beside them are as they were.
    more = written(turning, tmp_path, gait=torch.ones(WIDTH))  # As a later version may add.
    assert torch.equal(load_turning(more, encoder).light, turning.light)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"pitch": None}, r"expected turning\.pitch of shape \(6,\); got nothing$"),
        ({"light": torch.ones(5)}, r"expected turning\.light of shape \(6,\); got \(5,\)$"),
        ({"direction": torch.ones(1, 6)}, r"expected turning\.direction of shape \(6,\); got \(1, 6\)$"),
        ({"spreads": torch.ones(3)}, r"expected turning\.spreads of shape \(2,\); got \(3,\)$"),
        ({"direction": torch.full((6,), torch.nan)}, r"got NaN or infinity in turning\.direction$"),
        ({"spreads": torch.tensor([1.0, torch.inf])}, r"got NaN or infinity in turning\.spreads$"),
        ({"spreads": torch.tensor([0.0, 1.0])}, r"expected positive turning\.spreads; got \[0\.0, 1\.0\]$"),
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
