"""The examples run as their texts say, with few iterations, and leave what they promise."""

from __future__ import annotations

import ast
import json
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from gan2shape.export.surface import to_file_frame
from gan2shape.io.images import read_image
from gan2shape.render import Camera, depth_to_vertices
from gan2shape.result import ReconstructionResult

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "examples").glob("*.py"))
NAMES = [file.name for file in FILES]
MOST_LINES = 60


def run(name: str, *arguments: object) -> None:
    """An example as a script, but in this process: importing torch anew for each would take most of the time."""
    before = sys.argv
    sys.argv = [name, *map(str, arguments)]
    try:
        runpy.run_path(str(ROOT / "examples" / name), run_name="__main__")
    finally:
        sys.argv = before


@pytest.fixture(scope="module")
def reconstructed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The result folder of example 02; `said.txt` beside it is what it told while it ran."""
    folder = tmp_path_factory.mktemp("examples")
    said = (folder / "said.txt").open("w")
    with pytest.MonkeyPatch.context() as patch, said:
        patch.setattr(sys, "stderr", said)
        run("02_reconstruct.py", folder / "02", "--quick")
    return folder / "02"


def squares(file: Path, size: int) -> np.ndarray:
    """A picture of several square ones, (rows, columns, size, size, 3)."""
    levels = np.asarray(Image.open(file).convert("RGB")).astype(int)
    rows, columns = levels.shape[0] // size, levels.shape[1] // size
    return levels.reshape(rows, size, columns, size, 3).swapaxes(1, 2)


def test_examples_are_numbered_without_a_gap() -> None:
    assert [name[:3] for name in NAMES] == [f"{index:02d}_" for index in range(1, len(NAMES) + 1)]
    assert len(NAMES) == 6


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_an_example_fits_on_a_page_and_says_how_to_run_it(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES
    assert f"\npython examples/{file.name} " in (ast.get_docstring(ast.parse(text)) or "")
    assert len(re.findall(r"\bprint\(", text)) == 1


def test_rendering_shows_poses_and_lights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("01_render.py", tmp_path, "--size", "48")
    assert len(capsys.readouterr().out.splitlines()) == 1
    views = squares(tmp_path / "views.png", 48)
    assert views.shape[:2] == (3, 5)
    frontal, from_left, from_above = views[:, 2]
    half = slice(10, 38)
    assert from_left[half, 12:20].mean() > from_left[half, 28:36].mean() + 30, "x > 0 lights what faces image-left"
    assert from_above[12:20, half].mean() > from_above[28:36, half].mean() + 30, "y > 0 lights what faces up"
    assert abs(frontal[half, 12:20].mean() - frontal[half, 28:36].mean()) < 5
    # The ball is its own mirror image, so opposite yaws under a lamp beside the camera are too, but for the bumps.
    assert np.abs(views[0, 0] - views[0, 4][:, ::-1]).mean() < 12 < np.abs(views[0, 0] - views[0, 4]).mean()
    normals = np.asarray(Image.open(tmp_path / "normals.png"))
    assert tuple(normals[3, 3]) == (128, 128, 255), "the background is flat"


def test_reconstruction_tells_its_progress_and_leaves_a_result(reconstructed: Path) -> None:
    said = (reconstructed.parent / "said.txt").read_bytes().decode()
    steps = list(dict.fromkeys(re.findall(r"\r(.+?): iteration", said)))
    assert steps == ["inversion", "refinement", "files"]
    losses = [float(loss) for loss in re.findall(r"refinement: iteration \d+, loss ([\d.]+)", said)]
    assert len(losses) == 6
    assert min(losses) > 0
    result = ReconstructionResult.load(reconstructed)
    rows = [json.loads(line) for line in (reconstructed / "history.jsonl").read_text().splitlines()]
    assert len(rows) == len(result.history)
    assert (reconstructed / "contact_sheet.png").exists()


def test_new_views_and_lights_of_the_result(reconstructed: Path, tmp_path: Path) -> None:
    run("03_views_and_lights.py", reconstructed, tmp_path)
    size = ReconstructionResult.load(reconstructed).camera.image_size
    turned, relit = (squares(tmp_path / name, size) for name in ("turned.png", "relit.png"))
    assert turned.shape[:2] == relit.shape[:2] == (1, 5)
    seen = np.asarray(Image.open(reconstructed / "reconstruction.png").convert("RGB")).astype(int)
    inner = slice(size * 3 // 8, -size * 3 // 8)  # Outside the surface one picture is white, the other is not.
    assert np.abs(turned[0, 2] - seen)[inner, inner].max() <= 1, "a turn by nothing is the input view"
    assert np.abs(turned[0, 0] - seen)[inner, inner].mean() > 5
    # A lamp that wanders from one side to the other brightens one and darkens the other.
    columns = (slice(size // 4, size // 2), slice(size // 2, -size // 4))
    left, right = (relit[0][:, inner, half].mean((1, 2, 3)) for half in columns)
    lean = (left - right) / (left + right)
    assert (np.diff(lean[:4]) > 0).all()
    assert lean[4] > lean[2], "the last lamp grazes, and nearly nothing is bright"


def test_meshes_are_the_cut_depth_map(reconstructed: Path, tmp_path: Path) -> None:
    run("04_mesh.py", reconstructed, tmp_path)
    result = ReconstructionResult.load(reconstructed)
    grid = to_file_frame(depth_to_vertices(result.scene.depth, result.camera)[0])
    for name in ("painted.glb", "relightable.glb", "object.obj"):
        mesh: Any = trimesh.load(tmp_path / name, force="mesh", process=False)
        found = torch.as_tensor(np.asarray(mesh.vertices), dtype=grid.dtype)
        distance = torch.cdist(found, grid, compute_mode="donot_use_mm_for_euclid_dist").amin(dim=1)
        assert distance.max() < 1e-5, "every vertex is one of the depth map's points"
        assert len(mesh.faces) > 100
    points: Any = trimesh.load(tmp_path / "points.ply")
    assert len(points.vertices) == len(mesh.vertices)
    exported: Any = trimesh.load(reconstructed / "mesh.glb", force="mesh", process=False)
    assert len(exported.vertices) == len(mesh.vertices), "cut like the result's own mesh, hidden side included"


def test_gradient_descent_finds_the_depth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("05_fit_depth.py", tmp_path, "--steps", "80")
    before, after = (float(number) for number in re.findall(r"0\.\d+", capsys.readouterr().out.split("error")[1]))
    assert before > 0.02
    assert after < 0.4 * before
    true, fitted = (read_image(tmp_path / f"{name}_depth.png")[0, 0] for name in ("true", "fitted"))
    inner = slice(4, -4)
    pair = torch.stack([true[inner, inner].flatten(), fitted[inner, inner].flatten()])
    assert float(torch.corrcoef(pair)[0, 1]) > 0.9


def test_a_generator_of_ones_own_is_reconstructed_from(tmp_path: Path) -> None:
    few = {"albedo": 2, "project": 2, "refine": 2, "batches": 1, "warmup": 2}
    run("06_own_generator.py", tmp_path, *(text for name, count in few.items() for text in (f"--stage.{name}", count)))
    result = ReconstructionResult.load(tmp_path)
    assert (result.generator.name, result.generator.sha256) == ("dome", "")
    assert not result.warnings
    assert result.camera == Camera(32)
    assert {row["step"] for row in result.history} >= {"shape prior", "stage 1: shape"}
