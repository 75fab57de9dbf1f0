"""One name for all pictures: a folder, a zip file, a packed file, or a head model to render."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import torch

from gan2shape.data.facekit import model_folder, read_facekit
from gan2shape.data.look import PLAIN, Look
from gan2shape.data.model import HeadModel, read_packed
from gan2shape.data.stored import FolderPictures, PackedPictures
from gan2shape.data.synface import SynFace
from gan2shape.errors import InputError
from gan2shape.io.arrays import ArrayFile, Unreadable


def open_pictures(
    source: str | Path,
    *,
    size: int,
    seed: int,
    device: torch.device | str,
    views: int = 1,
    look: Look = PLAIN,
) -> SynFace | PackedPictures | FolderPictures:
    """The pictures of ``source`` as an endless, deterministic sequence.

    Args:
        source: a folder or ``.zip`` file of pictures; a ``.npz`` file of packed pictures; a head model, that is its
            packed ``.npz`` file or the ICT FaceKit's folder, which is rendered on the fly.
        size: side of the pictures in pixels. Pictures of folders are resized, packed ones must have it.
        seed: of the order of stored pictures, or of rendered ones.
        device: where the pictures are wanted.
        views: of a head model, how many consecutive pictures show the same head.
        look: of a head model, what is done for the eye.

    Raises:
        InputError: the source is missing, damaged, empty, or none of these.
    """
    path = Path(source)
    if path.is_dir() and model_folder(path) is None:
        return FolderPictures(path, size=size, seed=seed, device=device)
    if not path.exists():
        raise InputError(f"{path}: expected pictures or a head model; got no such file or folder")
    if path.is_dir() or _is_model(path):
        return SynFace(read_model(path), size=size, seed=seed, views=views, device=device, look=look)
    if path.suffix.lower() == ".npz":
        return PackedPictures(path, size=size, seed=seed, device=device)
    if zipfile.is_zipfile(path):
        return FolderPictures(path, size=size, seed=seed, device=device)
    raise InputError(f"{path}: expected a folder, a zip file or a packed file (.npz) of pictures, or a head model")


def read_model(path: Path, *, on_progress: Callable[[int, int], None] | None = None) -> HeadModel:
    """A head model from its packed file, or from the ICT FaceKit's folder.

    Args:
        path: the file or folder.
        on_progress: called with the numbers of files read and of all, where it is a folder.

    Raises:
        InputError: missing or damaged; the line names the file.
    """
    if path.is_dir():
        return read_facekit(path, on_progress=on_progress)
    return read_packed(path)


def _is_model(file: Path) -> bool:
    """Whether a file is an archive with the arrays of a head model."""
    try:
        return "mean_vertices_cm" in ArrayFile(file).headers
    except (Unreadable, FileNotFoundError):
        return False
