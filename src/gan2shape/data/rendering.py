"""Pictures of heads with their exact depth, normals, albedo and mask: pure functions of batches, on any device.

A pixel is the mean of 2 × 2 samples, each of them shaded, composited, clipped and turned to display brightness. Truth
maps are means over the samples that see the head; a pixel belongs to the head if at least half of its samples do.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from gan2shape.data.albedo import Places, albedo, hair_cover
from gan2shape.data.draws import Drawn
from gan2shape.data.look import PLAIN, Look
from gan2shape.data.mesh import CENTRE_CM, SCENE_PER_CM, HeadMesh, unit
from gan2shape.render import Camera, Pose
from gan2shape.render.visibility import Samples, visible_faces

GAMMA = 1.6
"""Display brightness is linear brightness to the power of 1 / GAMMA."""
SUPERSAMPLE = 2
"""Samples along one side of a pixel."""


@torch.no_grad()
def render_heads(
    mesh: HeadMesh, heads: Drawn, owner: Tensor, views: Drawn, camera: Camera, look: Look = PLAIN
) -> dict[str, Tensor]:
    """Render B pictures of H heads.

    Args:
        mesh: the model, on the device that is to render.
        heads: H heads of `draw_heads`, on the same device.
        owner: (B,) int64, which head each picture shows.
        views: B views of `draw_views`, on the same device.
        camera: size and opening angle.
        look: what is done for the eye.

    Returns:
        ``image`` (B, 3, S, S) signed; ``mask`` (B, 1, S, S); ``depth`` (B, 1, S, S) scene units; ``normal``
        (B, 3, S, S) unit, +z away from the camera; ``albedo`` (B, 3, S, S) linear, [0, 1]. All but the image are 0
        where there is no head.
    """
    shapes, faces = _shapes(mesh, heads, look), mesh.faces
    normals = mesh.normals(shapes)
    pose = Pose.from_euler(views["view"] * (math.pi / 180), views["translation"])
    shift = (pose.translation + camera.pivot(shapes)).unsqueeze(2)
    vertices = torch.baddbmm(shift, pose.rotation, shapes.index_select(0, owner))  # (B, 3, V)
    samples = Samples(camera, SUPERSAMPLE)
    face = visible_faces(vertices.transpose(1, 2), faces, samples).flatten(1)  # (B, N)
    hit = face >= 0
    corners = faces.t().contiguous().index_select(1, face.clamp(min=0).flatten()).view(3, *face.shape)
    slopes = samples.slopes(shapes)
    rays = torch.stack((slopes.repeat(samples.count), slopes.repeat_interleave(samples.count)))  # (2, N)
    depth, weights = _meet(vertices, corners, rays)
    turned = torch.bmm(pose.rotation, normals.index_select(0, owner))
    normal = unit(_mix(turned, corners, weights))
    # A surface seen from behind, such as the inside of the neck, is lit as if it were seen from the front.
    normal = torch.where(normal[:, 2:] < 0, -normal, normal)
    seen = torch.stack((rays[0] * depth, rays[1] * depth, depth), 1)
    places = Places(_mix(mesh.chart.unsqueeze(0), corners, weights), _to_model(seen, pose, shift))
    colour = albedo(places, heads.select(owner), look)
    linear = torch.where(hit.unsqueeze(1), colour * _shading(normal, views, look), _background(views, samples, look))
    image = linear.clamp_(0, 1).pow_(1 / GAMMA)
    return _to_pixels(hit, samples.count, image, depth, normal, colour)


def _shapes(mesh: HeadMesh, heads: Drawn, look: Look) -> Tensor:
    """Vertices (H, 3, V); hair that stands off pushes them outwards."""
    shapes = mesh.vertices(heads["identity"], heads["expression"])
    if not look.hair_volume_cm:
        return shapes
    point = shapes / (SCENE_PER_CM * shapes.new_tensor([1.0, -1.0, -1.0]).view(1, 3, 1))
    point = point + point.new_tensor(CENTRE_CM).view(1, 3, 1)
    on_face = mesh.chart[2].unsqueeze(0).expand(len(shapes), -1)
    # The rise begins where the colour is that of hair already; before, it would show as a rim of skin.
    cover = ((hair_cover(point, on_face, heads) - 0.4) / 0.6).clamp(min=0) * (mesh.chart[5] == 0)
    x, y, z = point.unbind(1)
    first, second, third, fourth = heads["strand_phases"].unsqueeze(2).unbind(1)
    around = torch.atan2(x, 2.0 - z)
    waves = torch.sin(5 * around + 0.5 * y + first) + torch.sin(9 * around - 0.8 * y + second)
    waves = waves + 0.5 * torch.sin(1.9 * y + 3 * around + third) + 0.3 * torch.sin(17 * around + fourth)
    height = look.hair_volume_cm * SCENE_PER_CM * cover * (1 + 0.18 * waves)
    return shapes - mesh.normals(shapes) * height.unsqueeze(1)


def _meet(vertices: Tensor, corners: Tensor, rays: Tensor) -> tuple[Tensor, Tensor]:
    """Depth (B, N) and corner weights (3, B, N) where rays (2, N) meet their triangles."""
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = (_take(vertices, index).unbind(1) for index in corners)
    x, y = rays
    # Signed volumes of the ray with each edge: the weights of a point on the ray, up to one factor.
    wa = x * (by * cz - bz * cy) + y * (bz * cx - bx * cz) + (bx * cy - by * cx)
    wb = x * (cy * az - cz * ay) + y * (cz * ax - cx * az) + (cx * ay - cy * ax)
    wc = x * (ay * bz - az * by) + y * (az * bx - ax * bz) + (ax * by - ay * bx)
    total = wa + wb + wc
    weights = torch.stack((wa, wb, wc)) / torch.where(total == 0, 1, total)
    # Rounding may leave the triangle a little, and a triangle seen edge-on has no weights of its own.
    weights = torch.where(total == 0, 1 / 3, weights).clamp_(0, 1)
    weights = weights / weights.sum(0)
    return weights[0] * az + weights[1] * bz + weights[2] * cz, weights


def _take(values: Tensor, index: Tensor) -> Tensor:
    """Columns (B, C, N) of values (B or 1, C, V) named by index (B, N)."""
    if len(values) == 1:
        return values[0].index_select(1, index.flatten()).view(-1, *index.shape).transpose(0, 1)
    return values.gather(2, index.unsqueeze(1).expand(-1, values.shape[1], -1))


def _mix(values: Tensor, corners: Tensor, weights: Tensor) -> Tensor:
    """Values (B or 1, C, V) of vertices at the samples: (B, C, N)."""
    terms = [_take(values, index) * weight.unsqueeze(1) for index, weight in zip(corners, weights, strict=True)]
    return terms[0] + terms[1] + terms[2]


def _to_model(seen: Tensor, pose: Pose, shift: Tensor) -> Tensor:
    """Points (B, 3, N) of the camera's frame in the model's axes and centimetres."""
    back = torch.bmm(pose.rotation.transpose(1, 2), seen - shift)
    scale = SCENE_PER_CM * back.new_tensor([1.0, -1.0, -1.0]).view(1, 3, 1)
    return back / scale + back.new_tensor(CENTRE_CM).view(1, 3, 1)


def _shading(normal: Tensor, views: Drawn, look: Look) -> Tensor:
    """Brightness (B, 1, N) of a white surface."""
    facing = torch.bmm(views["light"].unsqueeze(1), normal)
    lit = ((facing + look.wrap) / (1 + look.wrap)).clamp_(min=0)
    return views["ambient"].unsqueeze(2) + views["diffuse"].unsqueeze(2) * lit


def _background(views: Drawn, samples: Samples, look: Look) -> Tensor:
    """A ramp between two colours, (B, 3, N) linear."""
    steps = torch.linspace(-1, 1, samples.count, device=views["view"].device)
    x, y = steps.repeat(samples.count), steps.repeat_interleave(samples.count)
    angle = views["background_angle"]
    share = (0.5 + 0.5 * (x * angle.cos() + y * angle.sin())).clamp_(0, 1).unsqueeze(1)
    first, second = views["background"].unsqueeze(3).unbind(1)
    ramp = torch.lerp(first.expand(-1, -1, share.shape[2]), second.expand(-1, -1, share.shape[2]), share)
    if look.background_waves:
        along_x, along_y, phase = views["background_waves"].unsqueeze(3).unbind(2)  # (B, 4, 1)
        ramp = ramp + look.background_waves * torch.sin(along_x * x + along_y * y + phase).sum(1, keepdim=True)
    return ramp


def _to_pixels(
    hit: Tensor, side: int, image: Tensor, depth: Tensor, normal: Tensor, colour: Tensor
) -> dict[str, Tensor]:
    """Pixels (B, C, S, S) from samples (B, C, N)."""
    seen = hit.unsqueeze(1).to(depth.dtype)
    maps = torch.cat([depth.unsqueeze(1), normal, colour], 1) * seen
    small = F.avg_pool2d(torch.cat([image, seen, maps], 1).unflatten(2, (side, side)), SUPERSAMPLE)
    share = small[:, 3:4]
    mask = (share >= 0.5).to(depth.dtype)
    inside = mask / share.clamp(min=1 / SUPERSAMPLE**2)
    return {
        "image": small[:, :3] * 2 - 1,
        "mask": mask,
        "depth": small[:, 4:5] * inside,
        "normal": unit(small[:, 5:8].flatten(2)).view_as(small[:, 5:8]) * mask,
        "albedo": small[:, 8:11] * inside,
    }
