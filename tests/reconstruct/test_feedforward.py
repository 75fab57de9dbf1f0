"""Methods of one pass: what they predict, what lies in their folders, and when a finished folder is kept."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from gan2shape.errors import CheckpointError, InputError
from gan2shape.networks.trained import (
    SUPERVISED,
    UNSUP3D,
    DepthNetwork,
    NetworkSizes,
    load_depth_network,
    load_unsup3d,
    save_networks,
    unsup3d_networks,
)
from gan2shape.networks.turned import PIVOT_DEPTH, TURNED, TurnedNetworks, load_turned
from gan2shape.priors.masks import no_mask
from gan2shape.reconstruct.feedforward import DEPTH_ALONE, METHODS, UNJUDGED, load_method, reconstruct_feed_forward
from gan2shape.reconstruct.painting import gan_projection
from gan2shape.reconstruct.pipeline import Job
from gan2shape.render import Camera, render
from gan2shape.result import ReconstructionResult

SIZES = NetworkSizes(16, 4, 4, 8)
BUILD: dict[str, Callable[[NetworkSizes], torch.nn.Module]] = {
    TURNED: TurnedNetworks,
    UNSUP3D: unsup3d_networks,
    SUPERVISED: DepthNetwork,
}
WARNINGS = {TURNED: (UNJUDGED,), UNSUP3D: (), SUPERVISED: (DEPTH_ALONE,)}


@pytest.fixture
def weights(tmp_path: Path) -> dict[str, Path]:
    """A file of random weights for each method."""
    files = {name: tmp_path / f"{name}.safetensors" for name in METHODS}
    for name, file in files.items():
        torch.manual_seed(0)
        networks = BUILD[name](SIZES)
        depth_net = networks.depth_net
        with torch.no_grad():
            depth_net.decoder[-1].weight *= 0.1  # A random surface of full relief would be torn at every pixel.
        save_networks(file, name, networks, SIZES, {"steps": 3})
    return files


@pytest.fixture
def image(rng: torch.Generator) -> Tensor:
    return torch.rand(1, 3, 16, 16, generator=rng) * 2 - 1


def test_unsup3d_is_its_networks(weights: dict[str, Path], image: Tensor) -> None:
    method = load_method(UNSUP3D, weights[UNSUP3D])
    with torch.no_grad():
        expected = load_unsup3d(weights[UNSUP3D])(image)
    scene = method.predict(image)
    assert torch.equal(scene.depth, expected.depth)
    assert torch.equal(scene.albedo, expected.albedo)
    assert torch.equal(scene.pose.rotation, expected.pose.rotation)
    assert torch.equal(scene.lighting.direction, expected.lighting.direction)
    assert (method.size, method.about, method.warnings) == (16, {"steps": 3}, ())


def test_supervised_shows_the_picture_on_its_depth(weights: dict[str, Path], image: Tensor) -> None:
    scene = load_method(SUPERVISED, weights[SUPERVISED]).predict(image)
    seen = render(scene, Camera(16))
    with torch.no_grad():
        assert torch.equal(scene.depth, load_depth_network(weights[SUPERVISED])(image))
    assert torch.allclose(seen.image[:, :, 1:-1, 1:-1], image[:, :, 1:-1, 1:-1], atol=1e-3)
    assert torch.allclose(seen.depth[:, :, 1:-1, 1:-1], scene.depth[:, :, 1:-1, 1:-1], atol=1e-4)


def test_turned_shows_the_picture_by_an_albedo_under_its_light(weights: dict[str, Path], rng: torch.Generator) -> None:
    method = load_method(TURNED, weights[TURNED])
    assert method.camera == Camera(16, pivot_depth=PIVOT_DEPTH)
    soft = F.interpolate(torch.rand(1, 3, 4, 4, generator=rng), size=16, mode="bilinear", align_corners=True)
    dim = soft * 0.4 - 0.8  # Dark enough for an albedo below white everywhere.
    scene = method.predict(dim)
    with torch.no_grad():
        expected = load_turned(weights[TURNED])(dim)
    for name in ("depth", "albedo"):
        assert torch.equal(getattr(scene, name), getattr(expected, name))
    assert torch.equal(scene.pose.rotation, expected.pose.rotation)
    assert torch.equal(scene.lighting.direction, expected.lighting.direction)
    assert not torch.allclose(scene.albedo, dim, atol=0.05)
    seen = render(scene, method.camera)
    middle = (..., slice(3, -3), slice(3, -3))  # The object is turned a little, so that a border is not seen.
    assert seen.mask[middle].all()
    assert torch.allclose(seen.image[middle], dim[middle], atol=0.02)


@pytest.mark.parametrize("name", METHODS)
def test_a_result_folder_is_whole_and_is_read_back(
    name: str, weights: dict[str, Path], image: Tensor, tmp_path: Path
) -> None:
    method, folder = load_method(name, weights[name]), tmp_path / "result"
    made = reconstruct_feed_forward(Job(image, folder, no_mask), method, seed=4)
    read = ReconstructionResult.load(folder)
    assert torch.equal(read.scene.depth, made.scene.depth)
    assert (read.method, read.latent, read.networks, read.seed) == (name, None, {}, 4)
    assert read.generator == method.weights
    assert read.warnings == WARNINGS[name]
    assert read.camera == method.camera
    seen = render(made.scene, method.camera)
    depth = torch.where(seen.mask > 0, seen.depth, torch.nan)[0, 0].numpy()
    np.testing.assert_array_equal(np.load(folder / "depth.npy"), depth)
    names = {file.name for file in folder.iterdir()}
    assert {"mesh.glb", "contact_sheet.png", "rotate", "relight", "log.txt", "turntable.webp"} <= names
    assert not names & {"gan_rotate", "gan_relight", "networks.safetensors"}
    assert (folder / "log.txt").read_text().startswith(f"{name}: ")


@pytest.fixture
def numbers_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gan2shape.reconstruct.feedforward.export_result", lambda result, folder: result.save(folder))


@pytest.mark.usefixtures("numbers_only")
def test_a_finished_result_is_kept_only_if_it_is_the_same(
    weights: dict[str, Path], image: Tensor, tmp_path: Path
) -> None:
    method, job = load_method(UNSUP3D, weights[UNSUP3D]), Job(image, tmp_path / "result", no_mask)
    reconstruct_feed_forward(job, method)
    written = (tmp_path / "result" / "config.json").stat().st_mtime_ns
    assert reconstruct_feed_forward(job, method, resume=True).method == UNSUP3D
    assert (tmp_path / "result" / "config.json").stat().st_mtime_ns == written
    for other, what in (
        (dataclasses.replace(job, picture=-image), "another picture"),
        (dataclasses.replace(job, masker=lambda picture: picture[:, :1] * 0 + 0.5), "another mask"),
    ):
        with pytest.raises(InputError, match=what):
            reconstruct_feed_forward(other, method, resume=True)
    with pytest.raises(InputError, match="another method"):
        reconstruct_feed_forward(job, load_method(SUPERVISED, weights[SUPERVISED]), resume=True)
    reconstruct_feed_forward(job, load_method(SUPERVISED, weights[SUPERVISED]))
    assert json.loads((tmp_path / "result" / "config.json").read_text())["method"] == SUPERVISED


def test_mistakes(weights: dict[str, Path], image: Tensor, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="expected the weights of unsup3d; got those of supervised"):
        load_method(UNSUP3D, weights[SUPERVISED])
    with pytest.raises(ValueError, match="must be one of"):
        load_method("magic", weights[SUPERVISED])
    method = load_method(SUPERVISED, weights[SUPERVISED])
    with pytest.raises(InputError, match="16, 16"):
        reconstruct_feed_forward(Job(image[:, :, :8, :8], tmp_path / "result", no_mask), method)


@pytest.mark.usefixtures("numbers_only")
def test_there_is_no_gan_to_paint_with(weights: dict[str, Path], image: Tensor, tmp_path: Path) -> None:
    method = load_method(UNSUP3D, weights[UNSUP3D])
    result = reconstruct_feed_forward(Job(image, tmp_path / "result", no_mask), method)
    with pytest.raises(InputError, match="unsup3d, which has no GAN"):
        gan_projection(result, None, None)  # type: ignore[arg-type]
