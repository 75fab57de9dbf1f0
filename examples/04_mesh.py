"""Export a saved result as a mesh: cut the object out of the depth map, then write GLB, OBJ and points.

python examples/04_mesh.py results/02 results/04
"""

from __future__ import annotations

from pathlib import Path

import tyro

from gan2shape import ReconstructionResult
from gan2shape.export.mesh import write_glb, write_obj
from gan2shape.export.pointcloud import write_ply
from gan2shape.export.surface import canonical_mask, cut_surface
from gan2shape.render import DepthRange


def main(result: tyro.conf.Positional[Path], output: tyro.conf.Positional[Path], /) -> None:
    """Write painted.glb, relightable.glb, object.obj and points.ply.

    Args:
        result: a result folder, as example 02 or `gan2shape reconstruct` wrote it.
        output: folder for the files.
    """
    saved = ReconstructionResult.load(result)
    scene, camera, limits = saved.scene, saved.camera, DepthRange()
    mask = saved.outline  # of the object from the front, where the GAN has painted the side that the picture hides
    if mask is None:
        mask = canonical_mask(scene, saved.mask, camera)  # else the picture's mask, brought to the frontal pose
    surface = cut_surface(scene.depth, mask, camera, depth_extent=limits.far - limits.near)
    texture = scene.texture(camera).clamp(-1, 1)  # the albedo with its light

    write_glb(output / "painted.glb", surface, texture)  # looks like the picture, whatever lamps the viewer has
    write_glb(output / "relightable.glb", surface, scene.albedo, lit=True)  # the viewer's lamps shade it
    write_obj(output / "object.obj", surface, texture)
    write_ply(output / "points.ply", surface, surface.pick(texture))
    print(f"{output / 'painted.glb'} ({len(surface.vertices)} vertices, {len(surface.faces)} faces)")


if __name__ == "__main__":
    tyro.cli(main)
