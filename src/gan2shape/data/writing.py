"""Rendered heads as files: a folder of pictures and maps, or one packed file, or both.

A folder holds `image/`, `mask/` and `albedo/` (linear) as 000000.png, `depth/` (scene units, 0 = background) and
`normal/` (+z away from the camera) as 000000.npy, and `parameters.jsonl`, a line for every picture. With several views
of each head, that many consecutive pictures show the same one.

A packed file holds the same as arrays of N heads; further views of each head, without their maps, are in `extra_…`.
Neither needs memory for more than a few pictures.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from gan2shape.data.synface import SynFace
from gan2shape.errors import OutputError
from gan2shape.io.files import (
    TEMPORARY_PREFIX,
    FolderLock,
    atomic_write,
    make_folder,
    translated_output_errors,
    write_bytes,
    write_json,
)
from gan2shape.io.images import encode_png, write_npy

PARAMETERS = "parameters.jsonl"
SETTINGS = "dataset.json"
_PICTURES_AT_ONCE = 64
_OF_VIEWS = ("image", "mask", "view_deg", "translation", "ambient", "diffuse", "light")
_OF_HEADS = ("identity", "expression")
_NUMBERS = ("view_deg", "translation", "ambient", "diffuse", "light", *_OF_HEADS)

Arrays = Mapping[str, np.ndarray]


class _Sink(Protocol):
    done: int

    def add(self, first: int, arrays: Arrays) -> None: ...


def write_synface(
    stream: SynFace,
    heads: int,
    *,
    folder: Path | None = None,
    npz: Path | None = None,
    resume: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Render heads 0 to ``heads - 1`` in all their views and write them.

    Args:
        stream: what to render.
        heads: how many heads.
        folder: the folder of pictures and maps, or None.
        npz: the packed file, or None.
        resume: go on in a folder that an interrupted run of the same settings has left.
        on_progress: called with the numbers of pictures done and of all.

    Raises:
        OutputError: a place cannot be written, or the folder holds something else.
        ValueError: no head, or nowhere to write.
    """
    if heads < 1 or (folder is None and npz is None):
        raise ValueError(f"expected a head and a place to write; got {heads} heads, {folder} and {npz}")
    total = heads * stream.views
    with ExitStack() as stack:
        sinks: list[_Sink] = []
        if folder is not None:
            sinks.append(stack.enter_context(_Folder(folder, _settings(stream), resume)))
        if npz is not None:
            sinks.append(stack.enter_context(_Packed(npz, heads, stream.views)))
        step = max(1, _PICTURES_AT_ONCE // stream.views) * stream.views
        for first in range(min(sink.done for sink in sinks), total, step):
            arrays = to_arrays(stream, first, min(step, total - first))
            for sink in sinks:
                sink.add(first, arrays)
            if on_progress is not None:
                on_progress(min(first + step, total), total)


def to_arrays(stream: SynFace, start: int, count: int) -> dict[str, np.ndarray]:
    """Pictures ``start`` to ``start + count - 1`` as the files hold them.

    Returns:
        ``image`` (B, S, S, 3) uint8; ``depth`` (B, S, S) float32; ``mask`` (B, S, S) bool; ``normal`` (B, S, S, 3)
        float16; ``albedo`` (B, S, S, 3) uint8, linear; ``view_deg``, ``translation``, ``light`` (B, 3), ``ambient``,
        ``diffuse`` (B,), ``identity`` (B, I), ``expression`` (B, E), ``head`` (B,).
    """
    pictures = {name: value.cpu() for name, value in stream(start, count).items()}
    heads, owner, _ = stream.draw(start, count)
    return {
        "image": _levels((pictures["image"] + 1) / 2),
        "depth": pictures["depth"][:, 0].numpy(),
        "mask": pictures["mask"][:, 0].numpy() > 0,
        "normal": pictures["normal"].permute(0, 2, 3, 1).half().numpy(),
        "albedo": _levels(pictures["albedo"]),
        "view_deg": pictures["view"].numpy(),
        "translation": pictures["translation"].numpy(),
        "ambient": pictures["ambient"][:, 0].numpy(),
        "diffuse": pictures["diffuse"][:, 0].numpy(),
        "light": pictures["light"].numpy(),
        "identity": heads["identity"][owner].numpy(),
        "expression": heads["expression"][owner].numpy(),
        "head": (start // stream.views + owner).numpy(),
    }


def _levels(unit: Tensor) -> np.ndarray:
    """(B, S, S, 3) uint8 of (B, 3, S, S) in [0, 1]."""
    return (unit.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def _settings(stream: SynFace) -> dict[str, Any]:
    mesh = stream.mesh
    digest = hashlib.sha256(repr(mesh.names).encode())
    # A packed model holds its bases in half precision; the mean says enough about which model it is.
    digest.update((mesh.basis[0].cpu().numpy() * 1e5).round().astype(np.int64).tobytes())
    digest.update(mesh.faces.cpu().numpy().tobytes())
    return {
        "made_by": "gan2shape data synface",
        "model": digest.hexdigest()[:16],
        "size": stream.size,
        "seed": stream.seed,
        "views": stream.views,
        "look": stream.look.name,
    }


class _Folder:
    """The folder; ``done`` pictures are in it already."""

    def __init__(self, folder: Path, settings: dict[str, Any], resume: bool) -> None:
        self.folder = folder
        self.done = 0
        self._settings = settings
        self._resume = resume
        self._stack = ExitStack()

    def __enter__(self) -> _Folder:
        with ExitStack() as stack:
            stack.enter_context(FolderLock(self.folder))
            with translated_output_errors(self.folder):
                self._begin()
                self._rows = stack.enter_context(open(self.folder / PARAMETERS, "ab"))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _begin(self) -> None:
        known = self.folder / SETTINGS
        others = [file.name for file in self.folder.iterdir() if not file.name.startswith(".")]
        if others and not self._resume:
            raise OutputError(f"{self.folder}: expected an empty folder; it holds {sorted(others)[0]}; choose another")
        if others:
            try:
                before = json.loads(known.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                before = None
            if before != self._settings:
                raise OutputError(
                    f"{self.folder}: expected pictures of the same model, size, seed, views and look to go on from; "
                    "got others; choose another folder"
                )
            self.done = _finished_rows(self.folder / PARAMETERS)
        else:
            write_json(known, self._settings)
        for kind in ("image", "mask", "albedo", "depth", "normal"):
            make_folder(self.folder / kind)

    def add(self, first: int, arrays: Arrays) -> None:
        """Write pictures ``first`` and on that are not there yet; their rows come last, as a sign that they are."""
        count = len(arrays["image"])
        fresh = range(max(self.done - first, 0), count)
        for index in fresh:
            name = f"{first + index:06d}"
            write_bytes(self.folder / "image" / f"{name}.png", encode_png(arrays["image"][index]))
            mask = arrays["mask"][index].astype(np.uint8) * 255
            write_bytes(self.folder / "mask" / f"{name}.png", encode_png(mask))
            write_bytes(self.folder / "albedo" / f"{name}.png", encode_png(arrays["albedo"][index]))
            write_npy(self.folder / "depth" / f"{name}.npy", arrays["depth"][index])
            write_npy(self.folder / "normal" / f"{name}.npy", arrays["normal"][index])
        rows = [_row(first + index, index, arrays) for index in fresh]
        with translated_output_errors(self.folder / PARAMETERS):
            self._rows.write("".join(rows).encode("utf-8"))
            self._rows.flush()
        self.done = max(self.done, first + count)


def _row(number: int, index: int, arrays: Arrays) -> str:
    row: dict[str, Any] = {"picture": number, "head": int(arrays["head"][index])}
    for key in _NUMBERS:
        # Nine digits give a float32 back exactly.
        values = arrays[key][index].astype(np.float64)
        row[key] = [float(f"{value:.9g}") for value in values] if values.ndim else float(f"{values:.9g}")
    return json.dumps(row) + "\n"


def _finished_rows(file: Path) -> int:
    """How many whole lines a file has; what a killed run left of another one is cut off."""
    if not file.exists():
        return 0
    text = file.read_bytes()
    whole = text.rfind(b"\n") + 1
    if whole < len(text):
        with open(file, "r+b") as rows:
            rows.truncate(whole)
    return text.count(b"\n")


class _Packed:
    """The packed file: arrays grow on the disk beside it and are put together in the end."""

    done = 0

    def __init__(self, file: Path, heads: int, views: int) -> None:
        self.file = file
        self.heads = heads
        self.views = views
        self._folder = Path()
        self._maps: dict[str, np.memmap] = {}

    def __enter__(self) -> _Packed:
        make_folder(self.file.parent)
        with translated_output_errors(self.file):
            self._folder = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=self.file.parent))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._put_together()
        finally:
            self._maps.clear()
            shutil.rmtree(self._folder, ignore_errors=True)

    def add(self, first: int, arrays: Arrays) -> None:
        """Keep whole heads, the first of them that of picture ``first``."""
        head = first // self.views
        for key, value in arrays.items():
            if key == "head":
                continue
            grouped = value.reshape(-1, self.views, *value.shape[1:])
            self._store(key, head, grouped[:, 0])
            if self.views > 1 and key in _OF_VIEWS:
                self._store(f"extra_{key}", head, grouped[:, 1:])

    def _store(self, key: str, head: int, values: np.ndarray) -> None:
        with translated_output_errors(self.file):
            if key not in self._maps:
                shape: Sequence[int] = (self.heads, *values.shape[1:])
                self._maps[key] = np.lib.format.open_memmap(
                    self._folder / f"{key}.npy", mode="w+", dtype=values.dtype, shape=tuple(shape)
                )
            self._maps[key][head : head + len(values)] = values

    def _put_together(self) -> None:
        for values in self._maps.values():
            values.flush()
        with (
            atomic_write(self.file) as temporary,
            zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        ):
            for key in self._maps:
                archive.write(self._folder / f"{key}.npy", f"{key}.npy")
