"""Faces found by a stand-in for dlib, whose boxes and points are known."""

from __future__ import annotations

import importlib
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gan2shape.errors import InputError, UserError
from gan2shape.io.framing import face_frame
from gan2shape.priors import faces

WIDTH, HEIGHT = 300, 200


class Shape:
    """What dlib's predictor gives."""

    def __init__(self, points: np.ndarray) -> None:
        self.points = points

    def parts(self) -> list[types.SimpleNamespace]:
        """One object with x and y for each landmark."""
        return [types.SimpleNamespace(x=x, y=y) for x, y in self.points.tolist()]


class Stand:
    """Stands in for the module dlib; finds red squares at the eyes, green ones at the mouth's corners."""

    def __init__(self, scores: list[float]) -> None:
        self.scores = scores
        self.enlarged: list[int] = []

    def get_frontal_face_detector(self) -> Stand:
        """Itself is the detector too."""
        return self

    def run(self, levels: np.ndarray, enlarge: int, threshold: float) -> tuple[list[int], list[float], list[int]]:
        """Number, score and kind of every face."""
        self.enlarged.append(enlarge)
        assert threshold == 0.0
        return list(range(len(self.scores))), self.scores, [0] * len(self.scores)

    def shape_predictor(self, model: str) -> object:
        """The eyes and mouth that the picture shows, moved by 1000 for every face but the first."""

        def predict(levels: np.ndarray, box: int) -> Shape:
            points = np.zeros((68, 2))
            for channel, (left, right) in ((0, (slice(36, 42), slice(42, 48))), (1, (slice(48, 49), slice(54, 55)))):
                rows, columns = np.nonzero(levels[..., channel] > 128)
                middle = columns.mean()
                for side, chosen in ((left, columns < middle), (right, columns >= middle)):
                    points[side] = columns[chosen].mean(), rows[chosen].mean()
            points[:36], points[49:54], points[55:] = points[36], points[48], points[54]
            return Shape(points + 1000 * box)

        return predict


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """Eyes at 120 and 180, mouth corners at 130 and 170, in pixels from the top left corner."""
    levels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for channel, places in ((0, ((120, 80), (180, 80))), (1, ((130, 140), (170, 140)))):
        for x, y in places:
            levels[y - 4 : y + 4, x - 4 : x + 4, channel] = 255
    Image.fromarray(levels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    faces._dlib.cache_clear()
    yield
    faces._dlib.cache_clear()


def install(monkeypatch: pytest.MonkeyPatch, folder: Path, stand: Stand | None, *, model: bool = True) -> None:
    """Make the stand-in, or its absence, what imports find."""
    (folder / "face_recognition_models" / "models").mkdir(parents=True)
    (folder / "face_recognition_models" / "__init__.py").write_text("raise RuntimeError('never imported')\n")
    if model:
        (folder / "face_recognition_models" / "models" / faces._MODEL).write_bytes(b"")
    monkeypatch.syspath_prepend(folder)
    importlib.invalidate_caches()

    def find(name: str) -> Stand:
        if stand is None:
            raise ImportError(name)
        return stand

    monkeypatch.setattr(faces, "import_module", find)


def test_the_surest_face_is_framed_in_the_photos_own_pixels(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand = Stand([2.0, 0.3])
    install(monkeypatch, tmp_path / "site", stand)
    frame = faces.find_face_frame(photo)
    five = np.asarray([[120, 80], [180, 80], [150, 100], [130, 140], [170, 140]])
    expected = face_frame(five, (WIDTH, HEIGHT))
    assert np.allclose(frame.corners, expected.corners, atol=0.6)
    assert stand.enlarged == [1]  # A small photograph is looked at enlarged.


def test_a_face_beyond_the_edges_is_none(photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second "face" lies 1000 px away, where the padded square shows the picture's mirror image."""
    install(monkeypatch, tmp_path / "site", Stand([0.2, 2.0]))
    assert faces.find_face_frame(photo).centre[0] == pytest.approx(150, abs=0.6)


def test_no_face_is_told(photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, tmp_path / "site", Stand([]))
    with pytest.raises(InputError, match="no face was found; give --landmarks FILE or --crop"):
        faces.find_face_frame(photo)


@pytest.mark.parametrize("has_dlib", [True, False])
def test_what_is_missing_is_named(photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_dlib: bool) -> None:
    install(monkeypatch, tmp_path / "site", Stand([]) if has_dlib else None, model=not has_dlib)
    with pytest.raises(UserError, match=r"pip install 'gan2shape\[align\]'.*--landmarks FILE") as caught:
        faces.find_face_frame(photo)
    assert "\n" not in str(caught.value)
