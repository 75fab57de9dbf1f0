"""The folder of OBJ files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gan2shape.data.facekit import FACEKIT, Layout, model_folder, read_facekit
from gan2shape.data.model import HeadModel
from gan2shape.errors import InputError
from tests.data.small import sphere_model, write_obj_folder


@pytest.fixture
def small() -> HeadModel:
    return sphere_model(rows=5, columns=6, shapes=1.0)


@pytest.fixture
def written(tmp_path: Path, small: HeadModel) -> tuple[Path, Layout]:
    folder = tmp_path / "FaceXModel"
    return folder, write_obj_folder(folder, small)


def test_what_was_written_is_read(written: tuple[Path, Layout], small: HeadModel) -> None:
    folder, layout = written
    steps: list[tuple[int, int]] = []
    model = read_facekit(folder, layout=layout, on_progress=lambda done, total: steps.append((done, total)))
    order = [small.names.index(name) for name in sorted(small.names)]
    assert model.names == tuple(sorted(small.names))
    np.testing.assert_allclose(model.mean, small.mean, atol=1e-6)
    np.testing.assert_allclose(model.identity, small.identity, atol=1e-5)
    np.testing.assert_allclose(model.expression, small.expression[order], atol=1e-5)
    np.testing.assert_array_equal(model.faces, small.faces)
    np.testing.assert_array_equal(model.part, small.part)
    np.testing.assert_allclose(model.uv, small.uv, atol=1e-6)
    assert steps[-1] == (9, 9)
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)


def test_polygons_become_fans_and_seams_take_the_last_coordinate(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    points = "\n".join(f"v {x} {y} 0" for x, y in ((0, 0), (1, 0), (1, 1), (0, 1), (2, 2), (3, 3)))
    faces = "vt 0.1 0.1\nvt 0.2 0.2 0\nvt 0.3 0.3\nf 1/1/1 2/1/1 3/1/1 4/1/1 5/2/1\nf 5/3 6/2 1/1\n"
    (folder / "generic_neutral_mesh.obj").write_text(f"{points}\n{faces}")
    (folder / "vertex_indices.json").write_text('{"expressions": []}')
    model = read_facekit(folder, layout=Layout(6, 0, range(6), range(0), range(0)))
    assert model.faces.tolist() == [[0, 1, 2], [0, 2, 3], [0, 3, 4], [4, 5, 0]]
    np.testing.assert_allclose(model.uv[4], 0.3)


def test_the_repository_may_be_named(written: tuple[Path, Layout], tmp_path: Path) -> None:
    folder, layout = written
    assert model_folder(tmp_path) == folder
    assert model_folder(folder) == folder
    assert model_folder(tmp_path / "elsewhere") is None
    assert len(read_facekit(tmp_path, layout=layout).names) == 5


def test_the_public_layout_is_the_light_model() -> None:
    assert [len(part) for part in (FACEKIT.head, FACEKIT.left_eye, FACEKIT.right_eye)] == [14062, 770, 770]


def _cut(file: Path) -> None:
    text = file.read_text()
    file.write_text(text[: len(text) // 6])


@pytest.mark.parametrize(
    "name, harm, said",
    [
        ("identity001.obj", Path.unlink, "got no such file"),
        ("jawOpen.obj", Path.unlink, "since vertex_indices.json names it; got no file"),
        ("vertex_indices.json", Path.unlink, "got no such file"),
        ("vertex_indices.json", lambda file: file.write_text("{"), 'expected JSON with a list "expressions"'),
        ("vertex_indices.json", lambda file: file.write_text('{"expressions": [3]}'), "a name is no text"),
        ("identity002.obj", _cut, r"expected an OBJ file of \d+ vertices; got \d+"),
        ("identity000.obj", lambda file: file.write_bytes(b"\x00\xff" * 50), "vertices; got 0"),
        ("browDown_L.obj", lambda file: file.write_text(file.read_text().replace("v 5.", "v five", 1)), "cannot be"),
        ("browDown_L.obj", lambda file: file.write_text(file.read_text().replace("v 5.0", "v nan#", 1)), "cannot be"),
        ("browDown_L.obj", lambda file: file.write_text(file.read_text().replace("v 5.000000000", "v nan", 1)), "fin"),
        ("generic_neutral_mesh.obj", lambda file: file.write_text(file.read_text().replace("f 1/", "f 0/")), "faces v"),
        ("generic_neutral_mesh.obj", lambda file: file.write_text(file.read_text().replace("/", " ")), "faces v/vt"),
        (
            "generic_neutral_mesh.obj",
            lambda file: file.write_text(file.read_text().replace("\nf ", "\n# ")),
            "got none",
        ),
    ],
)
def test_missing_and_damaged_files(
    name: str, harm: Callable[[Path], object], said: str, written: tuple[Path, Layout]
) -> None:
    folder, layout = written
    harm(folder / name)
    with pytest.raises(InputError, match=said) as caught:
        read_facekit(folder, layout=layout)
    assert str(caught.value).startswith(f"{folder / name}: ")
    assert "\n" not in str(caught.value)


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"it holds no generic_neutral_mesh\.obj"):
        read_facekit(tmp_path)
