"""``gan2shape render``: new views and lights of a saved result."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, Positional, arg

from gan2shape.cli.runtime import Compute, say
from gan2shape.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from gan2shape.cli.saved import Saved
    from gan2shape.generators import LoadedGenerator
    from gan2shape.render import Lighting, Pose

_MOST_VIEWS = 10_000


@dataclass(frozen=True)
class View:
    """One picture to render: angles in degrees, and the x of a new light's direction (None keeps the light)."""

    yaw: float
    pitch: float
    light_x: float | None

    @property
    def name(self) -> str:
        """File name without its ending, different for every view."""
        light = "" if self.light_x is None else f"_light{self.light_x:+g}"
        return f"yaw{self.yaw:+g}_pitch{self.pitch:+g}{light}"


@dataclass(frozen=True)
class Render:
    """Show a saved result from new viewpoints and under new lights, one picture for each yaw, pitch and light.

    For example:
      $ gan2shape render results/face --yaw -30 0 30 -o views
      $ gan2shape render results/face --light-x -1 1 --gan
    """

    result: Annotated[Positional[Path], arg(metavar="RESULT")]
    """Result folder, as reconstruct wrote it."""
    output: Annotated[Path, arg(aliases=("-o",), metavar="FOLDER")] = Path("views")
    """Folder for the pictures."""
    yaw: Annotated[tuple[float, ...], arg(metavar="DEG [DEG ...]")] = (0.0,)
    """Yaws of the canonical object, in degrees; positive turns near points to the left."""
    pitch: Annotated[tuple[float, ...], arg(metavar="DEG [DEG ...]")] = (0.0,)
    """Pitches of the canonical object, in degrees; positive turns near points down."""
    light_x: Annotated[
        tuple[float, ...], arg(metavar="X [X ...]", help_behavior_hint="(default: the light as it is)")
    ] = ()
    """Light directions (x, y, 1), before normalising: x; positive lights surfaces that face left."""
    light_y: Annotated[float, arg(metavar="Y")] = 0.0
    """Light directions (x, y, 1), before normalising: y; positive lights surfaces that face up."""
    strength: float = 0.3
    """How much the new light adds to the diffuse term (a fraction of full light); 0.6 of it leaves the ambient term."""
    size: Annotated[int, arg(metavar="PX")] = 256
    """Side of the pictures, in pixels; with --gan it is the result's own working size."""
    gan: FlagCreatePairsOff[bool] = False
    """Let the GAN paint the views, as photo-realistic as it can."""
    generator: Annotated[str, arg(metavar="SOURCE")] = "bundled"
    """With --gan: the GAN that the result was made with, "bundled", a checkpoint file or module:function; its class is
    known from the result."""
    compute: OmitArgPrefixes[Compute] = field(default_factory=Compute)
    """Where to compute."""

    def run(self) -> None:
        """Write the pictures.

        Raises:
            UserError: not a result folder, no view, or another generator than the result's.
        """
        from gan2shape.cli.progress import tracked
        from gan2shape.cli.saved import load_saved
        from gan2shape.io.files import FolderLock
        from gan2shape.io.images import write_image

        views = self._views()
        self.compute.torch_device()
        saved = load_saved(self.result)
        picture_of = self._painter(saved) if self.gan else self._renderer(saved)
        with FolderLock(self.output):
            for view in tracked(views, "views"):
                write_image(self.output / f"{view.name}.png", picture_of(view))
        say(f"{len(views)} pictures: {self.output}")

    def _views(self) -> list[View]:
        """All pictures to make.

        Raises:
            UserError: a number that is not possible.
        """
        if not self.yaw or not self.pitch:
            raise UserError("expected at least one --yaw and one --pitch, in degrees")
        for flag, values, most in (("--yaw", self.yaw, 180), ("--pitch", self.pitch, 180)):
            for value in values:
                if not -most <= value <= most:
                    raise UserError(f"{flag} must be from -{most} to {most} degrees; got {value}")
        for value in (*self.light_x, self.light_y, self.strength):
            if not math.isfinite(value):
                raise UserError(f"--light-x, --light-y and --strength must be finite numbers; got {value}")
        if not 16 <= self.size <= 4096:
            raise UserError(f"--size must be from 16 to 4096 pixels; got {self.size}")
        lights: tuple[float | None, ...] = self.light_x or (None,)
        views = [View(yaw, pitch, x) for yaw in self.yaw for pitch in self.pitch for x in lights]
        if len(views) > _MOST_VIEWS:
            raise UserError(f"expected at most {_MOST_VIEWS} pictures; got {len(views)}")
        return list({view.name: view for view in views}.values())

    def _light(self, saved: Saved, view: View) -> Lighting:
        """The view's light on the canonical object, batch 1."""
        from gan2shape.export.views import Relight, relit

        light = saved.result.scene.lighting
        if view.light_x is None:
            return light
        return relit(light, (Relight(self.strength, view.light_x, self.light_y),))

    def _renderer(self, saved: Saved) -> Callable[[View], Tensor]:
        """Views to renderings of the cut surface before white, (3, size, size)."""
        from gan2shape.export.surface import render_surface

        camera = saved.result.camera.resized(self.size)

        def picture_of(view: View) -> Tensor:
            colours = saved.surface.pick(lit(saved, self._light(saved, view)))[None]
            return render_surface(saved.surface, colours, pose_of(view, saved), camera, supersample=2)[0]

        return picture_of

    def _painter(self, saved: Saved) -> Callable[[View], Tensor]:
        """Views to the GAN's pictures of crude renderings, (3, S, S).

        Raises:
            UserError: the generator is another one than the result's, or the result is of a method without one.
        """
        from gan2shape.cli.runtime import load_again
        from gan2shape.reconstruct.painting import gan_projection
        from gan2shape.render import reproject

        scene, camera = saved.result.scene, saved.result.camera
        if saved.result.latent is None:
            raise UserError(f"the result was made by {saved.result.method}, which has no GAN; leave --gan out")
        tail = saved.config.projection.offset_layers
        loaded = load_again(self.generator, saved.result, device=self.compute.torch_device(), offset_layers=tail)
        check_same_generator(saved, loaded)
        project = gan_projection(saved.result, loaded, saved.config)

        def picture_of(view: View) -> Tensor:
            pose, light = pose_of(view, saved), self._light(saved, view)
            crude = reproject(lit(saved, light), scene.depth, pose, camera, depth_range=saved.depth_range)
            return project(crude.image.clamp(-1, 1), pose, light)[0].cpu()

        return picture_of


def pose_of(view: View, saved: Saved) -> Pose:
    """The view as a pose of the canonical object, batch 1."""
    from gan2shape.export.views import Turn, turn_poses

    return turn_poses((Turn(view.yaw, view.pitch),), saved.result.scene.depth)


def lit(saved: Saved, light: Lighting) -> Tensor:
    """The canonical picture (1, 3, S, S) under a light of batch 1, signed."""
    return saved.result.scene.with_(lighting=light).texture(saved.result.camera).clamp(-1, 1)


def check_same_generator(saved: Saved, loaded: LoadedGenerator) -> None:
    """Refuse another generator than the one that made the result.

    Raises:
        UserError: it is another one.
    """
    from gan2shape.reconstruct.pipeline import check_latent

    record = saved.result.generator
    if loaded.identity != record.identity:
        advice = (
            "leave --generator out (if that is what you did, another version of gan2shape made the result: "
            "reconstruct again)"
            if record.name == "bundled"
            else f"name {'its file' if record.sha256 else 'it'} with --generator"
        )
        raise UserError(f"the result was made with the generator {record.name}, this is another one; {advice}")
    if saved.result.latent is not None:
        check_latent(saved.result.latent, loaded)  # A converted file may claim to be another generator than it is.
