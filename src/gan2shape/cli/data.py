"""``gan2shape data``: pictures of rendered heads with their exact truth, and head models in one file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, Positional, arg

from gan2shape.cli.runtime import Compute, check_seed, say
from gan2shape.errors import UserError

if TYPE_CHECKING:
    from gan2shape.data import HeadModel

_MOST = 10_000_000


@dataclass(frozen=True)
class Synface:
    """Render heads with exact depth, normals, albedo and mask from a head model.

    For example:
      $ gan2shape data synface --model ICT-FaceKit/FaceXModel --count 100 --views 5 -o heads
      $ gan2shape data synface --model facekit.npz --count 24000 --seed 1 --npz train.npz
    """

    model: Annotated[Path, arg(metavar="PATH")]
    """Head model: the folder FaceXModel of the ICT FaceKit, or a file of gan2shape data pack."""
    output: Annotated[Path | None, arg(aliases=("-o",), metavar="FOLDER", help_behavior_hint="(optional)")] = None
    """Folder for image, mask, albedo (PNG), depth, normal (.npy) and parameters.jsonl."""
    npz: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(optional)")] = None
    """File (.npz) for everything as arrays; further views of a head are under extra_..."""
    count: Annotated[int, arg(metavar="COUNT")] = 100
    """Number of heads."""
    views: Annotated[int, arg(metavar="COUNT")] = 1
    """Pictures of each head, each with its own pose, light and background."""
    size: Annotated[int, arg(metavar="PIXELS")] = 64
    """Side of the pictures."""
    seed: int = 0
    """Picture i of a seed is always the same, whatever the count, size or device."""
    look: Literal["plain", "detailed"] = "plain"
    """plain: the benchmark's pictures; detailed: hair with volume, softer light, textured backgrounds."""
    resume: FlagCreatePairsOff[bool] = False
    """Go on in the folder of an interrupted run with the same settings."""
    compute: OmitArgPrefixes[Compute] = field(default_factory=Compute)
    """Where to compute."""

    memory_advice: ClassVar[str] = "choose a smaller --size"

    @property
    def resumable(self) -> bool:
        """Whether an interrupted run can be gone on with: a folder keeps its pictures, a packed file starts again."""
        return self.output is not None

    def run(self) -> None:
        """Render and write.

        Raises:
            UserError: a number out of its range, or anything with the model or the places to write.
        """
        self._check()
        device = self.compute.torch_device()

        import time

        from gan2shape.cli.progress import new_bars, new_console
        from gan2shape.data import LOOKS, SynFace, write_synface

        model = _read_model(self.model)
        stream = SynFace(model, size=self.size, seed=self.seed, views=self.views, device=device, look=LOOKS[self.look])
        began = time.perf_counter()
        with new_bars(new_console()) as bars:
            task = bars.add_task("pictures", total=self.count * self.views)
            write_synface(
                stream,
                self.count,
                folder=self.output,
                npz=self.npz,
                resume=self.resume,
                on_progress=lambda done, total: bars.update(task, completed=done, total=total),
            )
        seconds = time.perf_counter() - began
        what = f"{self.count} heads in {self.views} views" if self.views > 1 else f"{self.count} heads"
        for place in (self.output, self.npz):
            if place is not None:
                say(f"{what}: {place} ({seconds:.0f} s)")

    def _check(self) -> None:
        check_seed(self.seed, "--seed")
        if self.output is None and self.npz is None:
            raise UserError("a folder (-o FOLDER) or a file (--npz FILE) is needed; got neither")
        if self.resume and self.output is None:
            raise UserError("--resume goes on in a folder; name it with -o FOLDER")
        for flag, value, least, most in (
            ("--count", self.count, 1, _MOST),
            ("--views", self.views, 1, 1000),
            ("--size", self.size, 8, 2048),
        ):
            if not least <= value <= most:
                raise UserError(f"{flag} must be from {least} to {most}; got {value}")


@dataclass(frozen=True)
class Pack:
    """Pack the ICT FaceKit's folder of OBJ files into one small file, which is read in a moment.

    For example:
      $ gan2shape data pack ICT-FaceKit/FaceXModel -o facekit.npz
    """

    folder: Annotated[Positional[Path], arg(metavar="FOLDER")]
    """Folder with generic_neutral_mesh.obj, identity000.obj and so on."""
    output: Annotated[Path, arg(aliases=("-o",), metavar="FILE")] = Path("facekit.npz")
    """File to write."""

    def run(self) -> None:
        """Read and write.

        Raises:
            UserError: a file of the model is missing or damaged, or the place cannot be written.
        """
        from gan2shape.data import write_packed

        if not self.folder.is_dir():
            raise UserError(f"{self.folder}: expected a folder with the ICT FaceKit model; got no folder")
        model = _read_model(self.folder)
        write_packed(self.output, model)
        shapes = f"{len(model.identity)} identity modes, {len(model.expression)} expression shapes"
        say(f"{len(model.mean)} vertices, {shapes}: {self.output}")


def _read_model(path: Path) -> HeadModel:
    """The model, with a progress bar where it is many files."""
    from gan2shape.cli.progress import new_bars, new_console
    from gan2shape.data import read_model

    with new_bars(new_console()) as bars:
        task = bars.add_task("files of the model", total=None, visible=path.is_dir())
        return read_model(path, on_progress=lambda done, total: bars.update(task, completed=done, total=total))
