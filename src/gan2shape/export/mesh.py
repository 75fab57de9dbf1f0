"""The object as a textured mesh: binary glTF (GLB) and Wavefront OBJ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trimesh
from PIL import Image
from torch import Tensor
from trimesh.exchange.gltf import export_glb
from trimesh.exchange.obj import export_obj
from trimesh.visual.material import PBRMaterial, SimpleMaterial
from trimesh.visual.texture import TextureVisuals

from gan2shape.export.surface import Surface, directions_to_file_frame, to_file_frame
from gan2shape.io.files import write_bytes, write_text
from gan2shape.io.images import to_uint8

UNLIT = "KHR_materials_unlit"


def write_glb(path: str | Path, surface: Surface, texture: Tensor, *, lit: bool = False) -> None:
    """Write the surface with its texture as one GLB file.

    Args:
        path: the .glb file.
        surface: the object.
        texture: (3, S, S) or (1, 3, S, S), signed: the shaded albedo, or the albedo alone.
        lit: False shows the texture as it is (its light is painted in); True lets the viewer's lights shade it, which
            is right for albedo.

    Raises:
        OutputError: the place cannot be written.
    """
    material = PBRMaterial(
        name="object",
        baseColorTexture=_picture(texture),
        metallicFactor=0.0,
        roughnessFactor=1.0,
        doubleSided=True,  # The surface is a shell: seen from behind it should not vanish.
    )

    def without_light(tree: dict[str, Any]) -> None:
        for entry in tree["materials"]:
            entry["extensions"] = {UNLIT: {}}
        tree["extensionsUsed"] = [UNLIT]

    scene = trimesh.Scene(_mesh(surface, material))
    write_bytes(path, export_glb(scene, include_normals=True, tree_postprocessor=None if lit else without_light))


def write_obj(path: str | Path, surface: Surface, texture: Tensor) -> None:
    """Write the surface as OBJ beside a material file and a texture of the same stem (.mtl, .png).

    Args and errors as `write_glb`.
    """
    file = Path(path)
    material = SimpleMaterial(
        image=_picture(texture), diffuse=[255, 255, 255, 255], ambient=[255, 255, 255, 255], specular=[0, 0, 0, 255]
    )
    material.name = file.stem
    text, resources = export_obj(
        _mesh(surface, material),
        include_normals=True,
        include_color=False,
        return_texture=True,
        mtl_name=f"{file.stem}.mtl",
        header=None,
    )
    for name, content in resources.items():
        write_bytes(file.parent / name, content)
    write_text(file, text)


def _mesh(surface: Surface, material: PBRMaterial | SimpleMaterial) -> trimesh.Trimesh:
    return trimesh.Trimesh(
        vertices=to_file_frame(surface.vertices).cpu().numpy(),
        faces=surface.faces.cpu().numpy(),
        vertex_normals=directions_to_file_frame(surface.normals).cpu().numpy(),
        visual=TextureVisuals(uv=surface.uv.cpu().numpy(), material=material),
        process=False,  # Merging or reordering vertices would undo what we decided.
    )


def _picture(texture: Tensor) -> Image.Image:
    return Image.fromarray(to_uint8(texture))
