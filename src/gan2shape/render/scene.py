"""The four factors of a picture (depth, albedo, pose, lighting) and the picture they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gan2shape.render.camera import Camera
from gan2shape.render.depth import DepthRange
from gan2shape.render.pose import Pose, one_of
from gan2shape.render.rasterize import Rasterizer, rasterize_depth
from gan2shape.render.shading import Lighting, shade
from gan2shape.render.surface import normals_from_depth
from gan2shape.render.warp import Rendering, reproject


@dataclass(frozen=True, eq=False)
class Scene:
    """A canonical object (depth and albedo) with the light on it and the motion to the view.

    Each part has its own batch; a batch of one goes with any batch.
    """

    depth: Tensor
    """(B, 1, H, W) canonical depth in scene units."""
    albedo: Tensor
    """(B, 3, H, W) canonical albedo, signed in [-1, 1]."""
    pose: Pose
    """Motion from the canonical frame to the view."""
    lighting: Lighting
    """Light in the canonical frame: it moves with the object."""

    @property
    def batch(self) -> int:
        """How many pictures this scene makes: the largest batch of its parts."""
        return max(self.depth.shape[0], self.albedo.shape[0], self.pose.batch, self.lighting.batch)

    def normals(self, camera: Camera) -> Tensor:
        """Unit normals (B, 3, H, W) of the canonical surface, +z away from the camera."""
        return normals_from_depth(self.depth, camera)

    def texture(self, camera: Camera) -> Tensor:
        """The lit albedo (B, 3, H, W) in the canonical frame, signed, not clamped."""
        return shade(self.albedo, self.normals(camera), self.lighting)

    def with_(self, *, pose: Pose | None = None, lighting: Lighting | None = None) -> Scene:
        """The same object under another pose or light."""
        return replace(
            self,
            pose=self.pose if pose is None else pose,
            lighting=self.lighting if lighting is None else lighting,
        )

    def detach(self) -> Scene:
        """The same scene without gradient history."""
        return Scene(self.depth.detach(), self.albedo.detach(), self.pose.detach(), self.lighting.detach())

    def to(self, target: torch.device | torch.dtype | str) -> Scene:
        """The same scene on another device or in another dtype."""
        return Scene(self.depth.to(target), self.albedo.to(target), self.pose.to(target), self.lighting.to(target))

    @staticmethod
    def cat(scenes: Sequence[Scene]) -> Scene:
        """Scenes one after the other, as one batch."""
        whole = [scene[:] for scene in scenes]
        return Scene(
            torch.cat([scene.depth for scene in whole]),
            torch.cat([scene.albedo for scene in whole]),
            Pose.cat([scene.pose for scene in whole]),
            Lighting.cat([scene.lighting for scene in whole]),
        )

    def each(self, count: int) -> Scene:
        """Every scene ``count`` times in a row; a batch of one stays as it is, since it goes with any batch."""
        return self if self.batch == 1 else self[torch.arange(self.batch).repeat_interleave(count)]

    def __len__(self) -> int:
        return self.batch

    def __getitem__(self, index: int | slice | Tensor) -> Scene:
        """Some of the scenes (an integer gives a batch of one); parts of batch one belong to all of them."""
        if isinstance(index, int):
            index = one_of(index, self.batch)

        def pick(value: Tensor) -> Tensor:
            return value.expand(self.batch, -1, -1, -1)[index]

        return Scene(
            pick(self.depth),
            pick(self.albedo),
            self.pose.expand(self.batch)[index],
            self.lighting.expand(self.batch)[index],
        )


def render(
    scene: Scene,
    camera: Camera,
    *,
    depth_range: DepthRange = DepthRange(),
    rasterize: Rasterizer = rasterize_depth,
    supersample: int = 1,
    compat: bool = False,
) -> Rendering:
    """The scene's picture, Π(Λ(depth, albedo, lighting), pose): image (B, 3, H, W) clamped to [-1, 1], depth, mask.

    `supersample` and `compat` are those of `rasterize_depth`; `compat` also normalises normals as the original does.
    """
    normals = normals_from_depth(scene.depth, camera, compat=compat)
    texture = shade(scene.albedo, normals, scene.lighting)
    seen = reproject(
        texture,
        scene.depth,
        scene.pose,
        camera,
        depth_range=depth_range,
        rasterize=rasterize,
        supersample=supersample,
        compat=compat,
    )
    return replace(seen, image=seen.image.clamp(-1, 1))


def mirror(scene: Scene) -> Scene:
    """The scene with depth and albedo flipped left to right, under the same pose and light."""
    return replace(scene, depth=scene.depth.flip(-1), albedo=scene.albedo.flip(-1))
