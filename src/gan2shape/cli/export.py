"""``gan2shape export``: a saved result as mesh, points, voxels or a turntable."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from gan2shape.cli.runtime import say

Format = Literal["glb", "obj", "ply", "voxels", "turntable"]


@dataclass(frozen=True)
class Export:
    """Write a saved result in one 3D format.

    Example: gan2shape export results/face --format glb --texture albedo -o face.glb
    """

    result: Positional[Path]
    """Result folder, as reconstruct wrote it."""
    output: Annotated[Path | None, arg(aliases=("-o",))] = None
    """File to write; the result's name with the format's ending if not given."""
    format: Format = "glb"
    """glb and obj: textured mesh; ply: points; voxels: .npz; turntable: animated WebP."""
    texture: Literal["shaded", "albedo"] = "shaded"
    """What is painted on the object: the picture's own light, or the albedo alone (lit by the viewer)."""

    def run(self) -> None:
        """Write the file.

        Raises:
            UserError: not a result folder, or a place that cannot be written.
        """
        from gan2shape.cli.saved import load_saved
        from gan2shape.export.mesh import write_glb, write_obj
        from gan2shape.export.pointcloud import write_ply
        from gan2shape.export.video import turntable_frames, write_webp
        from gan2shape.export.voxels import solid_voxels, write_voxels

        saved = load_saved(self.result)
        camera, surface, scene = saved.result.camera, saved.surface, saved.result.scene
        albedo = self.texture == "albedo"
        texture = scene.albedo.clamp(-1, 1) if albedo else saved.texture
        ending = {"voxels": "npz", "turntable": "webp"}.get(self.format, self.format)
        file = self.output or Path(f"{self.result.resolve().name}.{ending}")
        if self.format == "glb":
            write_glb(file, surface, texture, camera, lit=albedo)
        elif self.format == "obj":
            write_obj(file, surface, texture, camera)
        elif self.format == "ply":
            write_ply(file, surface, surface.pick(texture), camera)
        elif self.format == "voxels":
            write_voxels(file, solid_voxels(scene.depth, saved.mask, camera, far=saved.depth_range.far))
        else:
            limit = saved.config.yaw_limit_deg * 2 / 3
            write_webp(file, turntable_frames(surface, surface.pick(texture), camera, yaw_limit_deg=limit))
        say(f"written: {file}")
