"""Golden images: five tiny pictures of one fixed scene, compared with the ones in tests/golden.

They catch what no formula in another test says: that everything together still looks the same. After an intended change
look at the new pictures and commit them: ``pytest tests/test_golden.py --update-golden``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from gan2shape.export.surface import clay, cut_surface, render_surface
from gan2shape.io.images import encode_png, to_uint8
from gan2shape.render import Camera, Pose, Scene, render, shading
from tests.render.shapes import bumpy_depth, light, pose_deg

GOLDEN = Path(__file__).parent / "golden"
CAMERA = Camera(48, pivot_depth=1.02)
TOLERANCE = 3
"""Grey levels of 255: other processors and versions of torch round differently."""
TURN = pose_deg(pitch=8, yaw=-30, roll=5, shift=(0.004, -0.002, 0.0))


def scene() -> Scene:
    """A hill in float64 with a coloured checkerboard of soft squares, lit from the upper left."""
    depth = bumpy_depth(CAMERA)
    u, v = (CAMERA.pixel_grid(depth) / CAMERA.centre_px - 1).unbind(-1)
    board = torch.sin(9 * u) * torch.sin(9 * v)
    albedo = torch.stack([0.5 + 0.4 * board, 0.1 - 0.5 * board, 0.3 * u + 0.2 * v])
    return Scene(depth, albedo[None], Pose.identity(1, depth), light(0.25, 0.7, (0.7, 0.5, 1.0)))


def view(pose: Pose) -> Tensor:
    """The scene from a pose, black where nothing was hit."""
    seen = render(scene().with_(pose=pose), CAMERA)
    return torch.where(seen.mask > 0, seen.image, -1.0)


def mesh_view() -> Tensor:
    """The hill's mesh, cut out by a disc, turned and grey, with smooth outlines."""
    depth = bumpy_depth(CAMERA)
    u, v = (CAMERA.pixel_grid(depth) / CAMERA.centre_px - 1).unbind(-1)
    mask = ((u - 0.1).square() + v.square() < 0.5).to(depth)[None, None]
    surface = cut_surface(depth, mask, CAMERA, depth_extent=0.2)
    return render_surface(surface, clay(surface, TURN), TURN, CAMERA, supersample=3)


PICTURES: dict[str, Callable[[], Tensor]] = {
    "view_frontal": lambda: view(Pose.identity(1, TURN.translation)),
    "view_turned": lambda: view(TURN),
    "shading": lambda: shading(scene().normals(CAMERA), scene().lighting).clamp(0, 1) * 2 - 1,
    "normals": lambda: scene().normals(CAMERA),
    "mesh_turned": mesh_view,
}


def levels(picture: Tensor) -> np.ndarray:
    """(H, W, 3) uint8."""
    return to_uint8(picture.expand(1, 3, -1, -1))


def compare(got: np.ndarray, golden_file: Path, folder: Path) -> None:
    """Fail where pictures differ, and leave golden, got and difference (white: 32 levels) side by side in `folder`."""
    golden = np.asarray(Image.open(golden_file).convert("RGB"))
    assert got.shape == golden.shape, f"{golden_file.name}: golden is {golden.shape}, this is {got.shape}"
    difference = np.abs(got.astype(int) - golden.astype(int))
    pixels = int((difference.max(axis=2) > TOLERANCE).sum())
    if pixels:
        shown = np.concatenate([golden, got, (difference * 8).clip(0, 255).astype(np.uint8)], axis=1)
        file = folder / f"{golden_file.stem}_golden_got_difference.png"
        file.write_bytes(encode_png(shown.repeat(4, axis=0).repeat(4, axis=1)))
        pytest.fail(
            f"{golden_file.name}: {pixels} pixels differ by more than {TOLERANCE} levels (at most {difference.max()}); "
            f"see {file}; if the change is intended: pytest tests/test_golden.py --update-golden"
        )


@pytest.mark.parametrize("name", PICTURES)
def test_a_fixed_scene_looks_as_before(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    got, file = levels(PICTURES[name]()), GOLDEN / f"{name}.png"
    if request.config.getoption("--update-golden"):
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(encode_png(got))
        pytest.skip(f"wrote {file.name}: look at it before committing it")
    compare(got, file, tmp_path)


def test_there_are_no_golden_images_that_nothing_compares() -> None:
    assert {file.stem for file in GOLDEN.glob("*.png")} == set(PICTURES)


def test_a_light_that_moved_is_noticed_and_shown(tmp_path: Path) -> None:
    moved = shading(scene().normals(CAMERA), light(0.25, 0.7, (0.5, 0.7, 1.0))).clamp(0, 1) * 2 - 1
    with pytest.raises(pytest.fail.Exception, match=r"shading\.png: \d+ pixels .*difference\.png"):
        compare(levels(moved), GOLDEN / "shading.png", tmp_path)
    assert Image.open(tmp_path / "shading_golden_got_difference.png").size == (3 * 48 * 4, 48 * 4)


def test_a_view_turned_by_half_a_degree_more_is_noticed(tmp_path: Path) -> None:
    more = pose_deg(pitch=8, yaw=-30.5, roll=5, shift=(0.004, -0.002, 0.0))
    with pytest.raises(pytest.fail.Exception):
        compare(levels(view(more)), GOLDEN / "view_turned.png", tmp_path)


@pytest.mark.parametrize("name", PICTURES)
def test_rounding_passes(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Depths off by a part in a million are a far larger change than another processor's."""
    noise = 1e-6 * torch.randn(48, 48, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    noisy = bumpy_depth(CAMERA) + noise
    monkeypatch.setattr(f"{__name__}.bumpy_depth", lambda camera: noisy)
    compare(levels(PICTURES[name]()), GOLDEN / f"{name}.png", tmp_path)


def test_single_precision_passes(tmp_path: Path) -> None:
    single = render(scene().with_(pose=TURN).to(torch.float32), CAMERA)
    compare(levels(torch.where(single.mask > 0, single.image, -1.0)), GOLDEN / "view_turned.png", tmp_path)
