"""``gan2shape export``: a saved result as mesh, points, voxels or a turntable."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import OmitArgPrefixes, Positional, arg

from gan2shape.cli.runtime import Threads, say
from gan2shape.errors import UserError

Format = Literal["auto", "glb", "obj", "ply", "voxels", "turntable"]
ENDINGS = {"glb": ".glb", "obj": ".obj", "ply": ".ply", "voxels": ".npz", "turntable": ".webp"}


@dataclass(frozen=True)
class Export:
    """Write a saved result in one 3D format.

    For example:
      $ gan2shape export results/face -o face.glb
      $ gan2shape export results/face --format ply --texture albedo
    """

    result: Annotated[Positional[Path], arg(metavar="RESULT")]
    """Result folder, as reconstruct wrote it."""
    output: Annotated[
        Path | None, arg(aliases=("-o",), metavar="FILE", help_behavior_hint="(default: RESULT's name and ending)")
    ] = None
    """File to write."""
    format: Format = "auto"
    """glb and obj: textured mesh; ply: points; voxels: .npz; turntable: animated WebP; auto: by FILE's ending."""
    texture: Literal["shaded", "albedo"] = "shaded"
    """What is painted on the object: the picture's own light, or the albedo alone (lit by the viewer)."""
    compute: OmitArgPrefixes[Threads] = field(default_factory=Threads)
    """With what to compute."""

    def run(self) -> None:
        """Write the file.

        Raises:
            UserError: not a result folder, an unknown ending, or a place that cannot be written.
        """
        kind = self._kind()
        from gan2shape.cli.saved import load_saved
        from gan2shape.export.folder import TURNTABLE_SHARE
        from gan2shape.export.mesh import write_glb, write_obj
        from gan2shape.export.pointcloud import write_ply
        from gan2shape.export.video import turntable_frames, write_webp
        from gan2shape.export.voxels import solid_voxels, write_voxels

        self.compute.limit()
        saved = load_saved(self.result)
        camera, surface, scene = saved.result.camera, saved.surface, saved.result.scene
        albedo = self.texture == "albedo"
        texture = scene.albedo.clamp(-1, 1) if albedo else saved.texture
        file = self.output or Path(f"{self.result.resolve().name}{ENDINGS[kind]}")
        if kind == "glb":
            write_glb(file, surface, texture, lit=albedo)
        elif kind == "obj":
            write_obj(file, surface, texture)
        elif kind == "ply":
            write_ply(file, surface, surface.pick(texture))
        elif kind == "voxels":
            write_voxels(file, solid_voxels(scene.depth, saved.mask, camera, far=saved.depth_range.far))
        else:
            limit = saved.config.yaw_limit_deg * TURNTABLE_SHARE
            write_webp(file, turntable_frames(surface, surface.pick(texture), camera, yaw_limit_deg=limit))
        say(f"written: {file}")

    def _kind(self) -> str:
        """The format, by the file's ending where none is named.

        Raises:
            UserError: an ending that no format has, or that another one has.
        """
        if self.output is None:
            return "glb" if self.format == "auto" else self.format
        ending = self.output.suffix.lower()
        known = {suffix: kind for kind, suffix in ENDINGS.items()}
        if self.format == "auto":
            if ending not in known:
                raise UserError(f"{self.output}: expected an ending of {', '.join(known)}; or name the --format")
            return known[ending]
        if ending != ENDINGS[self.format]:
            raise UserError(f"{self.output}: --format {self.format} expects the ending {ENDINGS[self.format]}")
        return self.format
