"""The result folder: exactly the files that the architecture lists, and what is in them."""

from __future__ import annotations

import errno
import functools
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan2shape.errors import OutputError
from gan2shape.export import export_result, folder
from gan2shape.io import files
from gan2shape.io.images import read_image
from gan2shape.render import DepthRange, Lighting, Pose, normals_from_depth, render
from gan2shape.result import ReconstructionResult

ROTATED, RELIT = [f"{index:02d}.png" for index in range(14)], [f"{index:02d}.png" for index in range(20)]
PLAIN_FILES = {
    *("input.png", "mask.png", "reconstruction.png", "depth.npy", "depth.png", "normal.png", "normal.npy"),
    *("canonical_depth.npy", "albedo.png", "shading.png", "canonical.png"),
    *("scene.safetensors", "networks.safetensors", "target.safetensors", "scene.json"),
    *("rotate/cameras.json", *(f"rotate/{name}" for name in ROTATED), *(f"relight/{name}" for name in RELIT)),
    *("mesh.glb", "mesh.obj", "mesh.mtl", "mesh.png", "points.ply", "voxels.npz", "turntable.webp"),
    *("contact_sheet.png", "config.json", "environment.json", "history.jsonl"),
}
GAN_FILES = {*(f"gan_rotate/{name}" for name in ROTATED), *(f"gan_relight/{name}" for name in RELIT)}


@pytest.fixture(autouse=True)
def _short_film(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "turntable_frames", functools.partial(folder.turntable_frames, count=3))


def written(place: Path) -> set[str]:
    return {str(file.relative_to(place)) for file in place.rglob("*") if file.is_file()}


def test_the_files_without_a_gan_and_with_one(result: ReconstructionResult, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    export_result(result, tmp_path / "plain", on_progress=lambda *event: told.append(event))
    assert written(tmp_path / "plain") == PLAIN_FILES
    assert [done for _, done, _ in told] == list(range(8))

    seen: list[torch.Tensor] = []

    def project(images: torch.Tensor, poses: Pose, lights: Lighting) -> torch.Tensor:
        seen.append(images)
        return -images

    export_result(result, tmp_path / "gan", project=project)
    assert written(tmp_path / "gan") == PLAIN_FILES | GAN_FILES
    assert [tuple(images.shape) for images in seen] == [(14, 3, 24, 24), (20, 3, 24, 24)]
    assert all(images.min() >= -1 and images.max() <= 1 for images in seen)
    for name in RELIT:
        plain, gan = (read_image(tmp_path / "gan" / series / name) for series in ("relight", "gan_relight"))
        assert (plain + gan).abs().max() < 0.02


def test_the_gan_is_told_the_poses_and_lights_that_it_is_shown(result: ReconstructionResult, tmp_path: Path) -> None:
    told: list[tuple[torch.Tensor, Pose, Lighting]] = []

    def project(images: torch.Tensor, poses: Pose, lights: Lighting) -> torch.Tensor:
        told.append((images, poses, lights))
        return images

    export_result(result, tmp_path, project=project, yaw_limit_deg=60)
    scene = result.scene
    for images, poses, lights in told:
        assert torch.equal(images, render(scene.with_(pose=poses, lighting=lights), result.camera).image)
    (_, turned, kept), (_, stood, shining) = told
    angles = turned.euler().rad2deg()
    assert angles[:9, 1].tolist() == pytest.approx([-60, -45, -30, -15, 0, 15, 30, 45, 60], abs=1e-4)
    assert angles[9:, 0].tolist() == pytest.approx([-20, -10, 0, 10, 20], abs=1e-4)
    assert angles[:9, 0].abs().max() == angles[9:, 1].abs().max() == turned.translation.abs().max() == 0
    assert (kept, stood) == (scene.lighting, scene.pose)
    assert shining.batch == 20
    assert shining.diffuse[:, 0].tolist() == pytest.approx([0.4 + 0.3] * 10 + [0.4 + 0.6] * 10)
    assert shining.ambient[:, 0].tolist() == pytest.approx([0.5 - 0.18] * 10 + [0.5 - 0.36] * 10)
    assert (shining.direction[:, 0] / shining.direction[:, 2]).tolist() == pytest.approx([-1.5, -0.7, 0, 0.7, 1.5] * 4)
    assert (shining.direction[:, 1] / shining.direction[:, 2]).tolist() == pytest.approx(([0] * 5 + [0.6] * 5) * 2)


def test_the_maps_of_the_input_view(result: ReconstructionResult, tmp_path: Path) -> None:
    export_result(result, tmp_path)
    view = render(result.scene, result.camera)
    hit = view.mask[0, 0].numpy() > 0
    assert hit.any()
    assert not hit.all()

    depth = np.load(tmp_path / "depth.npy")
    assert (depth.dtype, depth.shape) == (np.float32, (24, 24))
    assert np.array_equal(np.isfinite(depth), hit)
    assert np.array_equal(depth[hit], view.depth[0, 0].numpy()[hit])

    levels = np.asarray(Image.open(tmp_path / "depth.png")).astype(np.float64)
    expected = np.where(hit, np.clip((1.1 - np.nan_to_num(depth.astype(np.float64), nan=1.1)) / 0.2, 0, 1) * 65535, 0)
    assert np.abs(levels - expected).max() <= 0.51

    normals = np.load(tmp_path / "normal.npy")
    assert (normals.dtype, normals.shape) == (np.float32, (24, 24, 3))
    assert np.array_equal(np.isfinite(normals).all(-1), hit)
    assert np.array_equal(normals[hit], normals_from_depth(view.depth, result.camera)[0].permute(1, 2, 0).numpy()[hit])
    assert (normals[hit][:, 2] > 0).mean() > 0.9  # Away from the camera, but for jumps to the background.
    picture = np.asarray(Image.open(tmp_path / "normal.png")).astype(np.float64)
    assert np.abs(picture[hit] - (normals[hit] + 1) / 2 * 255).max() <= 0.51
    assert (picture[~hit] == 0).all()

    assert (read_image(tmp_path / "reconstruction.png") - view.image).abs().max() <= 1.01 / 255
    assert (read_image(tmp_path / "input.png") - result.image).abs().max() <= 1.01 / 255


def test_the_maps_of_the_canonical_frame(result: ReconstructionResult, tmp_path: Path) -> None:
    export_result(result, tmp_path)
    scene, camera = result.scene, result.camera
    assert np.array_equal(np.load(tmp_path / "canonical_depth.npy"), scene.depth[0, 0].numpy())
    assert (read_image(tmp_path / "albedo.png") - scene.albedo).abs().max() <= 1.01 / 255
    unposed = render(scene.with_(pose=Pose.identity(1, scene.depth)), camera)
    inner = (slice(None), slice(None), slice(2, -2), slice(2, -2))
    assert (read_image(tmp_path / "canonical.png") - unposed.image)[inner].abs().max() < 0.02
    shading = np.asarray(Image.open(tmp_path / "shading.png")).astype(np.float64) / 255
    cosine = np.clip((scene.normals(camera)[0] * torch.tensor([0.6, 0, 0.8])[:, None, None]).sum(0).numpy(), 0, None)
    assert np.abs(shading - np.clip(0.5 + 0.4 * cosine, 0, 1)).max() < 0.003


def test_the_yaw_range_and_the_depth_range_are_taken_over(result: ReconstructionResult, tmp_path: Path) -> None:
    export_result(result, tmp_path, yaw_limit_deg=45, depth_range=DepthRange(near=0.8, far=1.2))
    cameras = json.loads((tmp_path / "rotate" / "cameras.json").read_text())
    assert cameras["views"][0]["yaw_deg"] == -45
    levels = np.asarray(Image.open(tmp_path / "depth.png")).astype(np.float64)
    depth = np.load(tmp_path / "depth.npy").astype(np.float64)
    hit = np.isfinite(depth)
    assert np.abs(levels[hit] - (1.2 - depth[hit]) / 0.4 * 65535).max() <= 0.51


def test_a_result_is_exported_again_from_its_folder(result: ReconstructionResult, tmp_path: Path) -> None:
    export_result(result, tmp_path / "a")
    export_result(ReconstructionResult.load(tmp_path / "a"), tmp_path / "b")
    assert written(tmp_path / "a") == written(tmp_path / "b")
    for name in written(tmp_path / "a"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


@pytest.mark.parametrize("successes", [0, 12, 50])
def test_a_full_disk_is_one_line_and_nothing_is_half_written(
    result: ReconstructionResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, successes: int
) -> None:
    calls = []
    real = os.replace

    def replace(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) > successes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(source, target)

    monkeypatch.setattr(files.os, "replace", replace)
    with pytest.raises(OutputError, match="disk is full"):
        export_result(result, tmp_path)
    assert len(written(tmp_path)) == min(successes, len(calls) - 1)
    assert not any(files.TEMPORARY_PREFIX in name for name in written(tmp_path))


def test_a_mask_that_keeps_nothing_still_gives_every_file(result: ReconstructionResult, tmp_path: Path) -> None:
    empty = ReconstructionResult(**{**vars(result), "mask": torch.zeros_like(result.mask)})
    export_result(empty, tmp_path)
    assert written(tmp_path) == PLAIN_FILES
