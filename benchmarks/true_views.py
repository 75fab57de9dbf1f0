"""True renders of the validation heads under any pose and light: what a perfect GAN would paint in step 2.

Needs the head model that the validation pictures were made with (a packed ICT FaceKit, see docs/quality.md) and the
truth file. Colours are read from the picture's own albedo where it shows the head, and are their mean elsewhere.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gan2shape.reconstruct.step2_projection import ProjectedSamples, Sampler
from gan2shape.render import Camera, Lighting, Pose, Scene, rasterize, sample_image

SCALE = 0.008
"""Scene units per centimetre of the head model."""
CENTRE_CM = (0.0, -0.3, 2.0)
"""Point of the head that lies on the pivot."""
GAMMA = 1.6
"""Display gamma of the validation pictures."""
SUPERSAMPLE = 2


def linear(lighting: Lighting) -> Lighting:
    """The light that displayed colours show as ``lighting``: exactly in the dark, and where it shines full on.

    Pictures are displayed with `GAMMA`, and the method multiplies displayed colours. An ambient term of 0.2 taken as
    linear would be painted as 0.37, and the asked light would contradict the picture.
    """
    dark, bright = lighting.ambient.clamp(min=0), (lighting.ambient + lighting.diffuse).clamp(min=0)
    return Lighting(dark**GAMMA, bright**GAMMA - dark**GAMMA, lighting.direction)


class TrueHead:
    """One validation head as a coloured mesh in its input view.

    Args:
        model: the packed head model (.npz).
        truth: the opened truth file.
        index: number of the picture.
    """

    def __init__(self, model: Path, truth: np.lib.npyio.NpzFile, index: int) -> None:
        with np.load(model) as data:
            shape = data["mean_vertices_cm"].astype(np.float64)
            for basis, weights in (("identity_basis_cm", "identity"), ("expression_basis_cm", "expression")):
                shape = shape + np.tensordot(
                    truth[weights][index].astype(np.float64), data[basis].astype(np.float64), 1
                )
            self.faces = torch.from_numpy(data["faces"].astype(np.int64))
        camera = Camera(truth["image"].shape[1])
        points = torch.from_numpy((shape - CENTRE_CM) * SCALE * (1, -1, -1)).float() + torch.tensor([0.0, 0.0, 1.0])
        angles = torch.tensor(truth["view_deg"][index], dtype=torch.float32) * (math.pi / 180)
        pose = Pose.from_euler(angles[None], torch.tensor(truth["translation"][index], dtype=torch.float32)[None])
        self.vertices = pose.apply(points[None], camera)  # (1, V, 3), in the input view
        depth = torch.from_numpy(truth["depth"][index])[None, None]
        albedo = torch.from_numpy(truth["albedo"][index]).permute(2, 0, 1)[None].float() / 255
        grid = camera.project(self.vertices)[:, None]  # (1, 1, V, 2)
        visible = (sample_image(depth, grid, mode="nearest")[0, 0, 0] - self.vertices[0, :, 2]).abs() < 0.004
        colours = sample_image(albedo, grid)[0, :, 0].T  # (V, 3)
        self.colours = torch.where(visible[:, None], colours, colours[visible].mean(0))
        border = torch.from_numpy(truth["image"][index][:4]).float().mean((0, 1)) / 255
        self.background = border**GAMMA

    def render(self, pose: Pose, lighting: Lighting, camera: Camera) -> tuple[Tensor, Tensor]:
        """Pictures (N, 3, S, S), signed, and masks (N, 1, S, S) of the head turned from its input view by ``pose``.

        The light is attached to the head, as the method has it.
        """
        normals = self._normals()
        pictures, masks = [], []
        for index in range(pose.batch):
            moved = pose[index].apply(self.vertices, camera)
            fragments = rasterize(moved, self.faces, camera, supersample=SUPERSAMPLE)
            hit, light = fragments.face >= 0, lighting[index]  # (1, n, n)
            seen = fragments.interpolate(torch.cat([self.colours, normals], 1)[None], self.faces)
            colour, normal = seen[0, :3].permute(1, 2, 0), F.normalize(seen[0, 3:].permute(1, 2, 0), dim=-1)
            lit = (normal @ light.direction[0]).clamp(min=0)
            shaded = colour * (light.ambient[0] + light.diffuse[0] * lit[..., None])
            picture = torch.where(hit[0, ..., None], shaded, self.background).clamp(0, 1) ** (1 / GAMMA)
            small = F.avg_pool2d(picture.permute(2, 0, 1)[None], SUPERSAMPLE)
            pictures.append(small * 2 - 1)
            masks.append((F.avg_pool2d(hit.float()[None], SUPERSAMPLE) >= 0.5).float())
        return torch.cat(pictures), torch.cat(masks)

    def _normals(self) -> Tensor:
        """Vertex normals (V, 3) in the input view, +z away from the camera, area-weighted."""
        a, b, c = (self.vertices[0, self.faces[:, k]] for k in range(3))
        normals = torch.zeros_like(self.vertices[0])
        for k in range(3):
            normals.index_add_(0, self.faces[:, k], torch.linalg.cross(b - a, c - a, dim=-1))
        # The model's faces wind outwards; the method's normals point into the object.
        return -F.normalize(normals, dim=-1)

    def samples(self, scene: Scene, sampler: Sampler, count: int, *, rng: torch.Generator) -> ProjectedSamples:
        """What `project` would return if the GAN painted every drawn pose and light truly.

        Masks are the head's. Lights are drawn for the method's shading, which acts on displayed colours; see `linear`.
        """
        lighting = sampler.lighting.sample(count, scene.lighting, rng=rng)
        pose = sampler.pose.sample(count, rng=rng, ranges=sampler.pose_range)
        images, masks = self.render(pose, linear(lighting), sampler.camera)
        return ProjectedSamples(images, masks, pose, lighting, torch.zeros(count, dtype=torch.long))
