"""The oracle as a gate for renderer and step 3: true pictures of meshes must turn the ellipsoid into their shape.

The heads are closed meshes, drawn by the triangle rasteriser and lit here from their own normals, so that neither the
depth grid, nor its normals, nor the reprojection that `refine` goes through had a part in the pictures.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gan2shape.evaluate import mad, scored_mask, side
from gan2shape.networks import FactorNetworks, NetworkConfig
from gan2shape.priors import EllipsoidPrior, LightingPrior, PosePrior
from gan2shape.reconstruct.config import Objective
from gan2shape.reconstruct.objective import Render
from gan2shape.reconstruct.optimize import Adam
from gan2shape.reconstruct.step0_prior import fit_shape_prior
from gan2shape.reconstruct.step1_albedo import fit_albedo
from gan2shape.reconstruct.step2_projection import ProjectedSamples
from gan2shape.reconstruct.step3_refinement import refine
from gan2shape.reconstruct.target import Target
from gan2shape.reconstruct.warmup import fit_pose_and_light
from gan2shape.render import Camera, DepthRange, Lighting, Pose, Rendering, Scene, rasterize, render
from tests.reconstruct.small import grey_levels

CAMERA = Camera(32)
BACKGROUND = torch.tensor([0.1, 0.25, 0.2])
SUPERSAMPLE = 2


class MeshHead:
    """A head of its own for every seed: an ellipsoid with nose, brow, eye sockets and chin, and painted features."""

    def __init__(self, seed: int) -> None:
        rng = torch.Generator().manual_seed(seed)

        def between(low: float, high: float) -> float:
            return low + (high - low) * float(torch.rand((), generator=rng))

        rows, columns = 48, 64
        polar = torch.linspace(0, torch.pi, rows)[:, None]
        around = torch.arange(columns)[None] * (2 * torch.pi / columns)
        # x right, y down, z away from the camera; the poles are crown and neck.
        sphere = torch.stack(
            [polar.sin() * around.sin(), -polar.cos().expand(-1, columns), -polar.sin() * around.cos()], -1
        ).reshape(-1, 3)
        x, y, front = sphere[:, 0], sphere[:, 1], sphere[:, 2] < 0

        def spot(x0: float, y0: float, width: float, height: float) -> Tensor:
            return torch.exp(-((x.abs() - x0) / width).square() - ((y - y0) / height).square()) * front

        relief = between(0.14, 0.22) * spot(0, 0.12, 0.13, 0.22) + between(0.03, 0.08) * spot(0.25, -0.28, 0.3, 0.1)
        relief = relief - between(0.06, 0.12) * spot(0.36, -0.08, 0.16, 0.12)
        relief = relief + between(0.05, 0.12) * spot(0, 0.75, 0.3, 0.15)
        axes = torch.tensor([between(0.055, 0.062), between(0.072, 0.080), between(0.058, 0.068)])
        self.vertices = sphere * axes + torch.stack([x * 0, y * 0, -relief * axes[2]], -1) + torch.tensor([0, 0, 1.0])
        corner = torch.arange((rows - 1) * columns).reshape(rows - 1, columns)
        right = corner.roll(-1, 1)
        upper = torch.stack([corner, right, corner + columns], -1)
        lower = torch.stack([right, right + columns, corner + columns], -1)
        self.faces = torch.cat([upper.reshape(-1, 3), lower.reshape(-1, 3)])
        skin = torch.tensor([between(0.55, 0.8), between(0.4, 0.6), between(0.3, 0.5)])
        freckles = 0.05 * (torch.sin(9 * x + 4 * y) + torch.sin(7 * y - 5 * sphere[:, 2]))[:, None]
        hair = torch.sigmoid(20 * (-0.62 - y))[:, None]
        colours = (skin + freckles) * (1 - hair) + 0.15 * hair
        dark = (spot(0.36, -0.1, 0.1, 0.06) + spot(0.3, -0.33, 0.2, 0.04)).clamp(max=1)[:, None]
        lips = spot(0, 0.48, 0.22, 0.06)[:, None]
        colours = colours * (1 - 0.8 * dark)
        self.colours = (colours * (1 - lips) + torch.tensor([0.7, 0.2, 0.2]) * lips).clamp(0, 1)

    def normals(self) -> Tensor:
        """Vertex normals (V, 3) that point into the head, +z away from the camera at its front."""
        a, b, c = (self.vertices[self.faces[:, k]] for k in range(3))
        normals = torch.zeros_like(self.vertices)
        for k in range(3):
            normals.index_add_(0, self.faces[:, k], torch.linalg.cross(b - a, c - a, dim=-1))
        inwards = (self.vertices.new_tensor([0, 0, 1.0]) - self.vertices) * normals
        return F.normalize(torch.where(inwards.sum(-1, keepdim=True) < 0, -normals, normals), dim=-1)

    def see(self, pose: Pose, lighting: Lighting) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures (N, 3, S, S), signed, masks and depths (N, 1, S, S); the light moves with the head."""
        moved = pose.apply(self.vertices[None].expand(pose.batch, -1, -1), CAMERA)
        fragments = rasterize(moved, self.faces, CAMERA, supersample=SUPERSAMPLE)
        hit = (fragments.face >= 0)[:, None]
        seen = fragments.interpolate(torch.cat([self.colours, self.normals()], 1)[None], self.faces)
        cosine = torch.einsum("bchw,bc->bhw", F.normalize(seen[:, 3:], dim=1), lighting.direction).clamp(min=0)
        shading = lighting.ambient[:, :, None] + lighting.diffuse[:, :, None] * cosine
        picture = torch.where(hit, seen[:, :3] * shading[:, None], BACKGROUND[None, :, None, None]).clamp(0, 1)
        share = F.avg_pool2d(hit.float(), SUPERSAMPLE)
        depth = F.avg_pool2d(torch.where(hit, fragments.depth[:, None], 0.0), SUPERSAMPLE) / share.clamp(min=0.25)
        return F.avg_pool2d(picture, SUPERSAMPLE) * 2 - 1, (share >= 0.5).float(), depth


TRUE_RENDER = partial(render, camera=CAMERA)
FRONTAL = Lighting(torch.tensor([[0.45]]), torch.tensor([[0.6]]), F.normalize(torch.tensor([[0.0, 0.25, 1.0]])))


def light_from_the_wrong_side(scene: Scene) -> Rendering:
    """The renderer with x of the light's direction the wrong way round."""
    wrong = dataclasses.replace(scene.lighting, direction=scene.lighting.direction * torch.tensor([-1.0, 1.0, 1.0]))
    return TRUE_RENDER(scene.with_(lighting=wrong))


def turned_the_wrong_way(scene: Scene) -> Rendering:
    """The renderer with rotations inverted."""
    wrong = dataclasses.replace(scene.pose, rotation=scene.pose.rotation.transpose(-1, -2))
    return TRUE_RENDER(scene.with_(pose=wrong))


def hollow(scene: Scene) -> Rendering:
    """The renderer with depth the wrong way round, near for far."""
    return TRUE_RENDER(dataclasses.replace(scene, depth=2 * CAMERA.pivot_depth - scene.depth))


def drawn(count: int, seed: int) -> tuple[Pose, Lighting]:
    """Poses and lights as step 2 draws them."""
    rng = torch.Generator().manual_seed(seed)
    return PosePrior().sample(count, rng=rng), LightingPrior().sample(count, FRONTAL, rng=rng)


def disagreement(render: Render) -> float:
    """Mean absolute difference between pictures of a mesh and renderings of its own depth and albedo."""
    head = MeshHead(0)
    even = Lighting(torch.ones(1, 1), torch.zeros(1, 1), FRONTAL.direction)
    albedo, mask, depth = head.see(Pose.identity(1, FRONTAL.ambient), even)
    pose, lighting = drawn(8, seed=0)
    seen = render(Scene(torch.where(mask > 0, depth, 1.0), albedo, pose, lighting))
    image, true_mask, _ = head.see(pose, lighting)
    both = (true_mask * seen.mask).expand_as(image) > 0
    return float((seen.image - image).abs()[both].mean())


def test_true_factors_render_to_the_pictures_of_the_mesh() -> None:
    assert disagreement(TRUE_RENDER) < 0.045
    assert disagreement(light_from_the_wrong_side) > 0.15
    assert disagreement(turned_the_wrong_way) > 0.15
    assert disagreement(hollow) > 0.15


def refined(seed: int, render: Render) -> tuple[tuple[float, float], tuple[float, float]]:
    """SIDE (times 100) and MAD (degrees) before step 3, and after 100 iterations of it on true pictures."""
    head, rng = MeshHead(seed), torch.Generator().manual_seed(seed)
    image, mask, depth = head.see(Pose.identity(1, FRONTAL.ambient), FRONTAL)
    target = Target(image, torch.zeros(1, 1), mask)
    pose, lighting = drawn(96, seed)
    seen, masks, _ = head.see(pose, lighting)
    samples = ProjectedSamples(seen, masks, pose, lighting, torch.zeros(pose.batch, dtype=torch.long))
    torch.manual_seed(seed)
    widths = NetworkConfig(width_multiplier=0.25, code_size=64)
    nets = FactorNetworks(32, DepthRange(), config=widths, lighting_mean=LightingPrior().mean_units)

    @torch.no_grad()
    def score() -> tuple[float, float]:
        seen = TRUE_RENDER(nets(image))
        chosen = scored_mask(mask, seen.mask)
        return 100 * float(side(seen.depth, depth, chosen)), float(mad(seen.depth, depth, chosen, CAMERA))

    silent: dict[str, Any] = {"on_iteration": lambda iteration, record: None}
    explaining: dict[str, Any] = {"render": render, "features": grey_levels, "weights": Objective(), "mirrored": False}
    batches: dict[str, Any] = {"batch_size": 8, "rng": rng}
    fit_shape_prior(nets, target, EllipsoidPrior(), steps=100, adam=Adam(1e-3), **silent)
    fit_pose_and_light(nets, samples, steps=500, adam=Adam(1e-3, final=0.1), target=target, **batches, **silent)
    fit_albedo(nets, target, steps=30, adam=Adam(1e-3), **explaining, **silent)
    start = score()
    refine(nets, target, samples, camera=CAMERA, steps=100, adam=Adam(5e-4), **batches, **explaining, **silent)
    return start, score()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_true_pictures_of_a_mesh_turn_the_ellipsoid_into_its_shape(seed: int) -> None:
    """Seen to end at 0.69, 0.72, 0.69; with `hollow` head 0 ends at 1.39, with light from the wrong side at 0.92.

    Inverted rotations pass (0.27), since the viewpoint network relearns their sign: the fast test above catches those.
    """
    start, end = refined(seed, TRUE_RENDER)
    assert start[0] > 1.4, "the ellipsoid must not be the answer already"
    assert end[0] < 0.85
    assert end[1] < 14
