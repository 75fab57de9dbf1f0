"""Reconstruction where the generator's object is known to turn along its latents (``gan2shape train turned``).

The networks see shape, pose and light in one pass. The generator paints the object's views by moving its latent: no
encoder has to be trained for the picture. This is ours, not the paper's (docs/deviations.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gan2shape.errors import CheckpointError
from gan2shape.generators import LoadedGenerator
from gan2shape.networks.latents import LatentEncoder, encoder_beside, encoder_of
from gan2shape.networks.one_pass import TurnedStart
from gan2shape.networks.trained import fingerprint, read_about
from gan2shape.networks.turned import TurnedNetworks, bundled_turned, in_object_frame, load_turned, of_strength_one
from gan2shape.networks.turning import TURN_DEG, load_turning
from gan2shape.reconstruct.config import ReconstructConfig
from gan2shape.reconstruct.hidden_side import completed
from gan2shape.reconstruct.optimize import DivergedError
from gan2shape.reconstruct.progress import Progress, StepRunner, gather_weights
from gan2shape.reconstruct.target import Framing, Target
from gan2shape.reconstruct.turned_refinement import ViewPoses, mean_scene, object_in, paint_views, refine_turned
from gan2shape.reconstruct.watch import OnEvent, ignore
from gan2shape.render import DepthRange, Lighting, Pose, Scene
from gan2shape.render.units import PoseRange, pose_to_units
from gan2shape.result import ReconstructionResult

_CORRECTIONS = 2
"""How often the painter looks at what it has painted, and asks for the rest."""
_MOST_TURN, _MOST_LIT, _MOST_NOD_DEG = 2.2, 2.0, 12.0
"""Moves that are asked for at most, in units of `TURN_DEG`, standard deviations, degrees: farther out is no object."""
_LIT_PER_SLOPE = 3.5
"""Moves along the light for a sideways slope of the light of 1, at first."""
_MOST_RECOLOURED = 1.6
"""Factor on the colours of painted pictures, at most."""
_NOD_DEG = 10.0
"""A nod that counts as much as a turn of `TURN_DEG`."""
_CHUNK = 16
REFINEMENT = "refinement"
"""The name of the first one, see `refinement_name`."""


def load_start(loaded: LoadedGenerator, file: Path | None = None, *, encoder: Path | None = None) -> TurnedStart:
    """The networks and directions of a file of ``gan2shape train turned``, for the generator that they were made for.

    Args:
        loaded: the generator.
        file: the bundled one if None.
        encoder: file of the encoder that its directions were found with; the bundled one if None.

    Raises:
        CheckpointError: files that cannot be used, or that belong to another generator.
    """
    file = bundled_turned() if file is None else file
    about = read_about(file)
    if about.get("generator") != loaded.identity:
        raise CheckpointError(
            f"{file.name}: expected networks that learned from {loaded.name}; got those of another GAN"
        )
    device = loaded.w_mean.device
    inverse = encoder_of(loaded.identity, encoder, latent_dim=loaded.generator.latent_dim)
    if inverse is None:
        raise CheckpointError(f"{file.name}: expected the encoder of {loaded.name} that it was made with; got none")
    if not _made_with(about, inverse):
        raise CheckpointError(
            f"{file.name}: expected the encoder that it was made with; got another one of {loaded.name}"
        )
    networks = load_turned(file).to(device)
    return TurnedStart(networks, load_turning(file, inverse.to(device)))


def load_one_pass(file: Path, device: torch.device | str = "cpu") -> TurnedNetworks | TurnedStart:
    """What sees pictures in one pass: the networks of a file of ``gan2shape train turned`` or ``train distill``, with
    the latent directions where the encoder that they were made with is in the file or is the bundled one.

    Raises:
        CheckpointError: files that cannot be used.
    """
    networks, about = load_turned(file).to(device), read_about(file)
    inverse = encoder_beside(file, networks.image_size) or encoder_of(str(about.get("generator")))
    if inverse is None or not _made_with(about, inverse):
        return networks
    return TurnedStart(networks, load_turning(file, inverse.to(device)))


def _made_with(about: Mapping[str, Any], encoder: LatentEncoder) -> bool:
    """Whether networks were made with this encoder; files that do not tell were made with the bundled one."""
    return bool(about.get("encoder", fingerprint(encoder)) == fingerprint(encoder))


def is_bundled(loaded: LoadedGenerator) -> bool:
    """Whether the networks that come with this package belong to this generator."""
    return bool(read_about(bundled_turned()).get("generator") == loaded.identity)


class TurnedReconstructor:
    """Reconstructs pictures in one pass; has what a `Reconstructor` has.

    Args:
        loaded: the GAN.
        config: a preset with ``start`` "turned".
        start: its networks and directions.
    """

    def __init__(self, loaded: LoadedGenerator, config: ReconstructConfig, start: TurnedStart) -> None:
        self.loaded, self.config, self.start = loaded, config, start
        self.device = loaded.w_mean.device
        self.camera = start.networks.camera
        self.depth_range = DepthRange()
        self.framing = framing_for(loaded, start.networks)
        self.initial_weights = gather_weights({"factors": start.networks}) | start.turning.tensors()

    def __call__(
        self,
        target: Target,
        *,
        seed: int = 0,
        on_event: OnEvent = ignore,
        resume: Progress | None = None,
        keep: Callable[[Progress], None] = lambda progress: None,
    ) -> ReconstructionResult:
        """Reconstruct one target: one pass, and its refinements. Arguments, result and errors are those of
        `Reconstructor.__call__`."""
        if target.count != 1:
            raise ValueError(f"a reconstruction has one picture; got {target.count}")
        self.config.prior.box(target.mask)  # Refuses a mask without an object.
        target, nets = target.to(self.device), deepcopy(self.start.networks).requires_grad_(True)
        run = StepRunner({"factors": nets}, seed=seed, device=self.device, on_event=on_event, keep=keep, resume=resume)
        scene = self.start(target.image)
        if self.config.turned.refine:
            scene = self._refined(run, nets, target, scene) or scene
        scene, outline = self._completed(scene, target)
        return ReconstructionResult(
            scene=scene,
            camera=self.camera,
            mask=target.mask,
            image=target.image,
            latent=target.latent,
            networks=gather_weights({"factors": nets}),
            generator=self.loaded.record,
            config=self.config.to_dict(),
            seed=seed,
            history=tuple(run.history),
            warnings=tuple(run.warnings),
            outline=outline,
        )

    def _refined(self, run: StepRunner, nets: TurnedNetworks, target: Target, one_pass: Scene) -> Scene | None:
        """The mean of all refinements, each of which starts anew, and of one pass where that reads shapes; None where
        the first one diverges."""
        scenes: list[Scene] = []
        settings, told = self.config.turned, None if self.start.turning.shape is None else one_pass
        own_pose = own_pose_of(self.start, one_pass)
        for number in range(1, settings.refinements + 1):
            name = refinement_name(number)
            if name not in run.finished:
                nets.load_state_dict(self.start.networks.state_dict())
            views: dict[str, Any] = {"settings": settings, "rng": run.rng(f"views of {name}"), "own_pose": own_pose}
            shown = paint_views(target.image, self.loaded, self.start.turning, self.framing, **views)
            refining: dict[str, Any] = {"poses": ViewPoses(shown), "settings": settings, "rng": run.rng(name)}
            refining |= {"told": None if told is None else told.depth, "mask": target.mask}
            try:
                scenes.append(run(name, settings.refine, refine_turned, nets, target.image, shown, **refining))
            except DivergedError as stop:
                run.stop(str(stop))
                break
        if not scenes:
            return None
        return mean_scene(nets, target.image, scenes, told=told)

    def _completed(self, scene: Scene, target: Target) -> tuple[Scene, Tensor]:
        """The scene with colours on the side that the picture does not show, and its outline (see `completed`)."""
        facing = Pose.identity(1, like=scene.depth)
        paint = TurnedPainter(self.loaded, self.start, target.latent, image=target.image, pose=scene.pose)
        front = paint(target.image, facing, scene.lighting)
        with torch.no_grad():
            lighting = in_object_frame(of_strength_one(self.start.networks.lighting(front)), facing)
        return completed(scene, target.mask, front, object_in(front), lighting, self.camera)


def own_pose_of(start: TurnedStart, one_pass: Scene) -> Tensor | None:
    """What a refinement is told of the picture's own pose (1, 6), in network units: that of one pass, where it was laid
    upon a template."""
    return pose_to_units(one_pass.pose, PoseRange()) if start.lays_upon_template else None


def refinement_name(number: int) -> str:
    """What refinement ``number`` (from 1) is called; the random numbers of its views belong to ``views of <name>``."""
    return REFINEMENT if number == 1 else f"{REFINEMENT} {number}"


def framing_for(loaded: LoadedGenerator, networks: TurnedNetworks) -> Framing:
    """From the pixels of this generator to those of the networks."""
    return Framing(loaded.generator.resolution, networks.image_size, loaded.generator.resolution)


class TurnedPainter:
    """The GAN's pictures of an object under poses and lights that are asked for, by moving its latent.

    It looks at what it has painted, and asks for what is missing. Yaw, pitch and the side that the light comes from
    follow; roll, shifts, height and strength of the light stay as they are.

    Args:
        loaded: the GAN.
        start: networks and directions.
        latent: of the object's picture, (1, latent_dim) or (1, num_ws, latent_dim).
        image: that picture, (1, 3, S, S).
        pose: the object's pose in it, batch 1.
    """

    def __init__(
        self, loaded: LoadedGenerator, start: TurnedStart, latent: Tensor, *, image: Tensor, pose: Pose
    ) -> None:
        self.loaded, self.start, self.latent = loaded, start, latent.to(loaded.w_mean.device)
        self.framing = framing_for(loaded, start.networks)
        self.pitch_deg = pose.euler()[:, 0].rad2deg().to(self.latent)
        with torch.no_grad():
            seen = start.turning.encoder(image.to(self.latent))
        self.seen = seen if self.latent.ndim == 2 else seen[:, None].expand_as(self.latent)

    @torch.no_grad()
    def __call__(self, images: Tensor, poses: Pose, lights: Lighting) -> Tensor:
        """The GAN's pictures (N, 3, S, S), signed, of crude renderings (N, 3, S, S) under these poses and lights."""
        count, device = len(images), self.latent.device
        poses, lights = poses.to(device), lights.to(device)
        angles = (poses.expand(count) if poses.batch == 1 else poses).euler().rad2deg().float()
        lights = lights.expand(count) if lights.batch == 1 else lights
        wanted = sideways(lights, poses)
        turning, networks = self.start.turning, self.start.networks
        turn, nod = (
            (angles[:, 1] / TURN_DEG).clamp(-_MOST_TURN, _MOST_TURN),
            (angles[:, 0] - self.pitch_deg).clamp(-_MOST_NOD_DEG, _MOST_NOD_DEG),
        )
        by, lit = torch.zeros_like(turn), torch.zeros_like(turn)
        painted = self._paint(by[:1], lit[:1], nod[:1] * 0).expand(count, -1, -1, -1)
        for _ in range(_CORRECTIONS + 1):
            by = (by + turn - turning.coordinate(painted)).clamp(-2 * _MOST_TURN, 2 * _MOST_TURN)
            lit = (lit + _LIT_PER_SLOPE * (wanted - slope_of(networks.lighting(painted)))).clamp(-_MOST_LIT, _MOST_LIT)
            painted = self._paint(by, lit, nod)
        return coloured_as(painted, images.to(painted))

    def _paint(self, by: Tensor, lit: Tensor, nod_deg: Tensor) -> Tensor:
        """The farther a move, the more the latent becomes that which the encoder sees: it shows the picture less
        exactly, and turns better."""
        move = self.start.turning.moved(by.new_zeros(len(by), self.seen.shape[-1]), by, lit, nod_deg)
        far = by.square() + lit.square() + (nod_deg / _NOD_DEG).square()
        exact = torch.exp(-far / 2)[:, None]
        if self.latent.ndim == 3:
            move, exact = move[:, None], exact[:, None]
        latents = self.seen + exact * (self.latent - self.seen) + move
        paint = self.loaded.generator.synthesize
        return torch.cat([self.framing.to_working(paint(chunk)) for chunk in latents.split(_CHUNK)])


def coloured_as(painted: Tensor, crude: Tensor) -> Tensor:
    """Painted pictures (N, 3, S, S), signed, each channel times the factor that gives it the mean of the crude one
    (N, 3, S, S), where that shows anything (grey is nothing): moved latents keep the object better than its colours."""
    shown = (crude.abs().sum(dim=1, keepdim=True) > 0).to(crude)
    wanted, got = (((images / 2 + 0.5) * shown).sum((2, 3), keepdim=True) for images in (crude, painted))
    factor = torch.where(got > 0, wanted / got.clamp(min=1e-6), 1.0).clamp(1 / _MOST_RECOLOURED, _MOST_RECOLOURED)
    return ((painted / 2 + 0.5) * factor).clamp(0, 1) * 2 - 1


def slope_of(lighting: Lighting) -> Tensor:
    """How far lights in the camera's axes come from the side (N,): x for z = 1."""
    return lighting.direction[:, 0] / lighting.direction[:, 2].clamp(min=0.2)


def sideways(lights: Lighting, poses: Pose) -> Tensor:
    """`slope_of` lights that are attached to the object (batch N), seen under these poses (batch N or 1)."""
    direction = (poses.rotation @ lights.direction[:, :, None])[:, :, 0]
    return direction[:, 0] / direction[:, 2].clamp(min=0.2)
