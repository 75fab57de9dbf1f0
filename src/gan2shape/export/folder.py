"""The result folder: every file of one reconstruction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from gan2shape.export.mesh import write_glb, write_obj
from gan2shape.export.pointcloud import write_ply
from gan2shape.export.sheet import Band, Cell, write_contact_sheet
from gan2shape.export.surface import Surface, canonical_mask, clay, cut_surface, render_surface
from gan2shape.export.video import turntable_frames, write_webp
from gan2shape.export.views import (
    PITCH_LIMIT_DEG,
    YAW_COUNT,
    YAW_LIMIT_DEG,
    Painter,
    describe_cameras,
    relights,
    relit,
    relit_images,
    rotated_pseudo_images,
    turn_poses,
    turns,
)
from gan2shape.export.voxels import solid_voxels, write_voxels
from gan2shape.io.files import make_folder, write_json
from gan2shape.io.images import write_depth16, write_image, write_mask, write_normals, write_npy
from gan2shape.render import Camera, DepthRange, Pose, Rendering, Scene, normals_from_depth, render, shading

VIEW_SUPERSAMPLE = 4
TURNTABLE_SHARE = 2 / 3
"""The turntable turns less far than the series of views, whose ends are meant to show where the shape breaks down."""

OnProgress = Callable[[str, int, int], None]
"""Told (what is being written, how many parts are done, of how many)."""


class Exportable(Protocol):
    """What is exported: a `ReconstructionResult`, or anything with these parts."""

    @property
    def scene(self) -> Scene:
        """The factors, batch 1."""

    @property
    def camera(self) -> Camera:
        """Of the scene's maps."""

    @property
    def mask(self) -> Tensor:
        """The object in the input view, (1, 1, S, S)."""

    @property
    def image(self) -> Tensor:
        """The input, (1, 3, S, S)."""

    @property
    def outline(self) -> Tensor | None:
        """The object in the canonical frame, (1, 1, S, S); None where it is the mask, seen from there."""

    def save(self, folder: str | Path) -> None:
        """Write its numbers (scene, networks, configuration, history) and the input."""


@dataclass(frozen=True, eq=False)
class _Pictures:
    """What the files and the contact sheet both show."""

    view: Rendering
    view_normals: Tensor
    shading: Tensor
    rotated: Tensor
    rotated_clay: Tensor
    gan_rotated: Tensor | None
    relit: Tensor
    gan_relit: Tensor | None


@torch.no_grad()
def export_result(
    result: Exportable,
    folder: str | Path,
    *,
    project: Painter | None = None,
    depth_range: DepthRange | None = None,
    yaw_limit_deg: float = YAW_LIMIT_DEG,
    pitch_limit_deg: float = PITCH_LIMIT_DEG,
    on_progress: OnProgress = lambda what, done, total: None,
) -> None:
    """Write the whole result folder, each file atomically, the contact sheet last.

    Args:
        result: what was reconstructed.
        folder: where to; made when missing.
        project: the GAN, for ``gan_rotate/`` and ``gan_relight/``, see `Painter`; without it the two are left out.
        depth_range: of the scene; the method's when None.
        yaw_limit_deg: how far the views turn to each side (70; 45 for cars and churches).
        pitch_limit_deg: how far they nod.
        on_progress: told what is being written.

    Raises:
        OutputError: the folder cannot be written.
    """
    place = make_folder(folder)
    limits = depth_range or DepthRange()
    scene, camera = result.scene, result.camera
    mask = canonical_mask(scene, result.mask, camera) if result.outline is None else result.outline
    surface = cut_surface(scene.depth, mask, camera, depth_extent=limits.far - limits.near)
    texture = scene.texture(camera).clamp(-1, 1)
    colours = surface.pick(texture)
    wanted = turns(yaw_limit_deg, pitch_limit_deg)
    poses = turn_poses(wanted, scene.depth)

    steps = ["numbers", "views", "maps", "mesh", "voxels", "turntable", "contact sheet"]

    def begin(what: str) -> None:
        on_progress(what, steps.index(what), len(steps))

    begin("numbers")
    result.save(place)
    begin("views")
    pictures = _pictures(scene, camera, limits, surface, colours, poses, project)
    _write_views(place, pictures)
    write_json(place / "rotate" / "cameras.json", describe_cameras(wanted, poses, camera))
    begin("maps")
    _write_maps(place, scene, texture, pictures, limits)
    begin("mesh")
    write_glb(place / "mesh.glb", surface, texture)
    write_obj(place / "mesh.obj", surface, texture)
    write_ply(place / "points.ply", surface, colours)
    begin("voxels")
    write_voxels(place / "voxels.npz", solid_voxels(scene.depth, mask, camera, far=limits.far))
    begin("turntable")
    frames = turntable_frames(surface, colours, camera, yaw_limit_deg=yaw_limit_deg * TURNTABLE_SHARE)
    write_webp(place / "turntable.webp", frames)
    begin("contact sheet")
    write_contact_sheet(place / "contact_sheet.png", _bands(result, pictures, yaw_limit_deg, pitch_limit_deg))
    on_progress("done", len(steps), len(steps))


def _pictures(
    scene: Scene,
    camera: Camera,
    limits: DepthRange,
    surface: Surface,
    colours: Tensor,
    poses: Pose,
    project: Painter | None,
) -> _Pictures:
    view = render(scene, camera, depth_range=limits)
    lights = relit(scene.lighting, relights())
    relit_views = relit_images(scene, lights, camera, limits)
    rotated = render_surface(surface, colours[None], poses, camera, supersample=VIEW_SUPERSAMPLE)
    grey = render_surface(surface, clay(surface, poses), poses, camera, supersample=VIEW_SUPERSAMPLE)
    gan_rotated, gan_relit = None, None
    if project is not None:
        gan_rotated = project(rotated_pseudo_images(scene, poses, camera, limits), poses, scene.lighting)
        gan_relit = project(relit_views, scene.pose, lights)
    return _Pictures(
        view=view,
        view_normals=normals_from_depth(view.depth, camera),
        shading=shading(scene.normals(camera), scene.lighting),
        rotated=rotated,
        rotated_clay=grey,
        gan_rotated=gan_rotated,
        relit=relit_views,
        gan_relit=gan_relit,
    )


def _write_views(place: Path, pictures: _Pictures) -> None:
    series = {
        "rotate": pictures.rotated,
        "gan_rotate": pictures.gan_rotated,
        "relight": pictures.relit,
        "gan_relight": pictures.gan_relit,
    }
    for name, images in series.items():
        if images is not None:
            for index, image in enumerate(images):
                write_image(place / name / f"{index:02d}.png", image)


def _write_maps(place: Path, scene: Scene, texture: Tensor, pictures: _Pictures, limits: DepthRange) -> None:
    hit = pictures.view.mask > 0
    depth = torch.where(hit, pictures.view.depth, torch.nan)
    normals = pictures.view_normals
    write_image(place / "reconstruction.png", pictures.view.image)
    write_npy(place / "depth.npy", depth[0, 0].float())
    write_depth16(place / "depth.png", depth, near=limits.near, far=limits.far)
    write_npy(place / "normal.npy", torch.where(hit, normals, torch.nan)[0].permute(1, 2, 0).float().contiguous())
    write_normals(place / "normal.png", torch.where(hit, normals, -1.0))  # Black where nothing was hit.
    write_npy(place / "canonical_depth.npy", scene.depth[0, 0].float())
    write_image(place / "albedo.png", scene.albedo)
    write_mask(place / "shading.png", pictures.shading)
    write_image(place / "canonical.png", texture)


def _bands(result: Exportable, pictures: _Pictures, yaw_limit_deg: float, pitch_limit_deg: float) -> list[Band]:
    wanted, lights = turns(yaw_limit_deg, pitch_limit_deg), relights()
    yaw_labels = [f"{turn.yaw_deg:+.0f}°" for turn in wanted[:YAW_COUNT]]
    pitch_labels = [f"{turn.pitch_deg:+.0f}°" for turn in wanted[YAW_COUNT:]]
    bands = [
        Band(
            "One picture, taken apart",
            [
                Cell("input", result.image[0]),
                Cell("reconstruction", pictures.view.image[0]),
                Cell("depth", _depth_picture(pictures.view, result.mask)),
                Cell("normals", torch.where(pictures.view.mask > 0, pictures.view_normals, 1.0)[0]),
                Cell("albedo", result.scene.albedo[0]),
                Cell("shading", (pictures.shading[0] * 2 - 1).clamp(-1, 1)),
            ],
        ),
        Band("The surface, turned (yaw)", _cells(yaw_labels, pictures.rotated_clay)),
        Band("With its texture", _cells(yaw_labels, pictures.rotated)),
    ]
    if pictures.gan_rotated is not None:
        bands.append(Band("Through the GAN", _cells(yaw_labels, pictures.gan_rotated)))
    pitched = _cells(pitch_labels, pictures.rotated[YAW_COUNT:])
    if pictures.gan_rotated is not None:
        pitched += _cells(pitch_labels, pictures.gan_rotated[YAW_COUNT:])
        bands.append(Band("Turned (pitch): rendered, and through the GAN", pitched))
    else:
        pitched += _cells(pitch_labels, pictures.rotated_clay[YAW_COUNT:])
        bands.append(Band("Turned (pitch): with texture, and the surface", pitched))
    half = len(lights) // 2
    labels = [f"x {light.x:+.1f}  y {light.y:.1f}" for light in lights]
    for start, strength in ((0, "weak light"), (half, "strong light")):
        some = slice(start, start + half)
        bands.append(Band(f"Relit, {strength}", _cells(labels[some], pictures.relit[some])))
        if pictures.gan_relit is not None:
            bands.append(Band(f"Relit, {strength}, through the GAN", _cells(labels[some], pictures.gan_relit[some])))
    return bands


def _cells(labels: list[str], images: Tensor) -> list[Cell]:
    return [Cell(label, image) for label, image in zip(labels, images[: len(labels)], strict=True)]


def _depth_picture(view: Rendering, mask: Tensor) -> Tensor:
    """Depth as signed grey (1, S, S), near white; the object's own extent fills the scale, to be readable."""
    hit = view.mask > 0
    object_pixels = hit & (mask >= 0.5)
    depths = view.depth[object_pixels if bool(object_pixels.any()) else torch.ones_like(hit)]
    near, far = depths.min(), depths.max()
    grey = 1 - 2 * ((view.depth - near) / (far - near).clamp(min=1e-6)).clamp(0, 1) * 0.9
    return torch.where(hit, grey, -1.0)[0]
