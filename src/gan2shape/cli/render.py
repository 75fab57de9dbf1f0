"""``gan2shape render``: new views and lights of a saved result."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import OmitArgPrefixes, Positional, arg

from gan2shape.cli.runtime import Runtime, say
from gan2shape.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from gan2shape.cli.saved import Saved
    from gan2shape.render import Lighting, Pose


@dataclass(frozen=True)
class Render:
    """Show a saved result from new viewpoints and under new lights, one picture for each yaw, pitch and light.

    Example: gan2shape render results/face --yaw -30 0 30 --light-x -1 1 -o views
    """

    result: Positional[Path]
    """Result folder, as reconstruct wrote it."""
    output: Annotated[Path, arg(aliases=("-o",))] = Path("views")
    """Folder for the pictures."""
    yaw: tuple[float, ...] = (0.0,)
    """Yaws of the canonical object, in degrees."""
    pitch: tuple[float, ...] = (0.0,)
    """Pitches of the canonical object, in degrees."""
    light_x: tuple[float, ...] = ()
    """Light directions x (before normalisation with z = 1; positive lights surfaces facing left); none keeps the light."""
    light_y: float = 0.0
    """Light direction y (positive lights surfaces facing up)."""
    strength: float = 0.3
    """How much the new light adds to the diffuse term; 0.6 times as much is taken from the ambient one."""
    size: int = 256
    """Side of the pictures, in pixels."""
    gan: bool = False
    """Let the GAN paint the views (at the generator's own size), as photo-realistic as it can."""
    runtime: OmitArgPrefixes[Runtime] = field(default_factory=Runtime)
    """Where to compute; --generator must be the one that the result was made with."""

    def run(self) -> None:
        """Write the pictures.

        Raises:
            UserError: not a result folder, no view, or another generator than the result's.
        """
        from gan2shape.cli.saved import load_saved
        from gan2shape.io.files import FolderLock
        from gan2shape.io.images import write_image

        if not self.yaw or not self.pitch:
            raise UserError("expected at least one --yaw and one --pitch, in degrees")
        if not 16 <= self.size <= 4096:
            raise UserError(f"--size must be from 16 to 4096 pixels; got {self.size}")
        device = self.runtime.torch_device()
        saved = load_saved(self.result)
        names, poses, lights = self._views(saved)
        images = self._painted(saved, poses, lights) if self.gan else self._plain(saved, poses, lights)
        with FolderLock(self.output):
            for name, image in zip(names, images.to(device).cpu(), strict=True):
                write_image(self.output / f"{name}.png", image)
        say(f"{len(names)} pictures: {self.output}")

    def _views(self, saved: Saved) -> tuple[list[str], Pose, Lighting]:
        """Name, pose and light of every picture."""
        import math

        import torch

        from gan2shape.export.views import Relight, relit
        from gan2shape.render import Pose

        own = saved.result.scene.lighting
        lights = [None, *()] if not self.light_x else list(self.light_x)
        names, angles, chosen = [], [], []
        for yaw in self.yaw:
            for pitch in self.pitch:
                for x in lights:
                    names.append(f"yaw{yaw:+06.1f}_pitch{pitch:+06.1f}" + ("" if x is None else f"_light{x:+05.2f}"))
                    angles.append([math.radians(pitch), math.radians(yaw), 0.0])
                    chosen.append(own if x is None else relit(own, (Relight(self.strength, x, self.light_y),)))
        stack = {name: torch.cat([getattr(light, name) for light in chosen]) for name in ("ambient", "diffuse", "direction")}
        return names, Pose.from_euler(torch.tensor(angles), torch.zeros(len(angles), 3)), type(own)(**stack)

    def _plain(self, saved: Saved, poses: Pose, lights: Lighting) -> Tensor:
        """Textured renderings of the cut surface before white, (N, 3, size, size)."""
        import torch

        from gan2shape.export.surface import render_surface
        from gan2shape.render import shade

        camera = saved.result.camera
        normals = saved.result.scene.normals(camera)
        pictures = []
        for index in range(poses.batch):
            texture = shade(saved.result.scene.albedo, normals, lights[index]).clamp(-1, 1)
            colours = saved.surface.pick(texture)[None]
            pictures.append(
                render_surface(saved.surface, colours, poses[index], camera.resized(self.size), supersample=2)
            )
        return torch.cat(pictures)

    def _painted(self, saved: Saved, poses: Pose, lights: Lighting) -> Tensor:
        """The GAN's pictures of crude renderings, (N, 3, S, S)."""
        import torch

        from gan2shape.render import reproject, shade

        scene, camera = saved.result.scene, saved.result.camera
        loaded = self.runtime.load(saved.config.projection.offset_layers)
        project = projection(saved, loaded)
        texture = torch.cat([shade(scene.albedo, scene.normals(camera), lights[i]) for i in range(poses.batch)])
        crude = reproject(texture, scene.depth, poses, camera, depth_range=saved.depth_range).image
        return project(crude.clamp(-1, 1))


def projection(saved: Saved, loaded):  # type: ignore[no-untyped-def]
    """The GAN projection of a saved result.

    Raises:
        UserError: the generator is not the one that made the result.
    """
    from gan2shape.reconstruct.pipeline import gan_projection

    if loaded.sha256 != saved.result.generator.sha256:
        raise UserError(
            f"the result was made with the generator {saved.result.generator.name}; name its file with --generator"
        )
    return gan_projection(saved.result, loaded, saved.config)
