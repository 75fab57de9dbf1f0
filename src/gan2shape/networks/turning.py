"""Moving a generator's object by its latents: turn, nod and light. How the directions are found: `train.turning`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gan2shape.errors import CheckpointError
from gan2shape.io.checkpoints import read_tensors, write_tensors
from gan2shape.networks.latents import LatentEncoder
from gan2shape.networks.pose_net import MIRRORED_POSE, POSE_NUMBERS, PoseNetwork
from gan2shape.networks.readings import PARTS, product
from gan2shape.networks.template import Template, template_of
from gan2shape.networks.trained import check_tensors
from gan2shape.render.units import PoseRange

TURN_DEG = 25.0
"""The unit of turns in degrees."""
LIT = 1.5
"""Standard deviation of the lights of views, sideways and in height, in those that the generator's pictures have."""
NOD_DEG = 8.0
"""Standard deviation of the pitch of views in degrees: the generic pose prior's."""
_STILL = 0.2
"""Turn of every second view as a part of the others': they show the front nearly pixel by pixel."""
_FACING = 4
"""How often an object is turned by what is left of its turn and nod, until it faces the camera."""
_CHUNK = 64
_PREFIX = "turning."
_DIRECTIONS = ("direction", "light", "height", "pitch")
_POSE, _SHAPE, _POSE_NET, _TEMPLATE = "pose", "shape", "pose_net.", "template."
_RIDGE = 30.0
"""Of the linear reading of poses, in squared units of the latents."""


@dataclass(frozen=True, eq=False)
class Turning:
    """Turn, nod, side and height of the light of a generator's object as directions of its latents.

    Attributes:
        direction: unit latent direction (latent_dim,) towards positive yaw.
        light: unit latent direction (latent_dim,) of sideways light, orthogonal to ``direction``; towards light that
            travels to image-right.
        height: unit latent direction (latent_dim,) of the light's height; towards light that travels down.
        pitch: latent change (latent_dim,) for a degree of pitch.
        spread: latent units of a turn of `TURN_DEG`.
        light_spread: that of their latents along ``light``.
        height_spread: that of their latents along ``height``.
        encoder: pictures to latents.
        pose: linear reading (latent_dim + 1, 6) of poses, in network units, from latents less their mean and a one;
            None where none was fitted (the first ``gan2shape train distill`` does: `train.pose_reading`).
        shape: linear reading (latent_dim + 1, S * S) of canonical depth, in scene units, from what the latents of a
            picture and of its mirror image have in common; None where none was fitted (`train.shape_reading`).
        pose_net: tells poses in place of the linear reading; None where there is none (`train.distill` makes it).
        template: what pictures of the category have in common; None where none was fitted (`train.template`).
    """

    direction: Tensor
    light: Tensor
    height: Tensor
    pitch: Tensor
    spread: float
    light_spread: float
    height_spread: float
    encoder: LatentEncoder
    pose: Tensor | None = None
    shape: Tensor | None = None
    pose_net: PoseNetwork | None = None
    template: Template | None = None

    @property
    def tells_poses(self) -> bool:
        """Whether poses are known, not turns alone."""
        return self.pose is not None or self.pose_net is not None

    @torch.no_grad()
    def pose_units(self, images: Tensor) -> Tensor:
        """The poses (N, 6) of signed pictures (N, 3, S, S) in network units, from the pictures and their mirror images:
        as the network tells them, or as they are read off latents.

        Raises:
            ValueError: there is neither.
        """
        if self.pose_net is not None:
            return torch.cat([self.pose_net.both_ways(chunk) for chunk in images.split(_CHUNK)])
        if self.pose is None:
            raise ValueError("no reading of poses was fitted to these directions")
        own, mirrored = (latent_features(self.encoder, image) @ self.pose for image in (images, images.flip(-1)))
        return (own + mirrored * own.new_tensor(MIRRORED_POSE)) / 2

    @torch.no_grad()
    def depth(self, images: Tensor, features: Tensor | None = None) -> Tensor | None:
        """The canonical depths (N, 1, S, S), in scene units, that latents of signed pictures (N, 3, S, S) tell, perhaps
        by their `even_features`, if these are known; None where no reading was fitted."""
        if self.shape is None:
            return None
        features = even_features(self.encoder, images) if features is None else features
        return (features @ self.shape).unflatten(1, (1, *images.shape[-2:]))

    @torch.no_grad()
    def known_units(self, images: Tensor) -> Tensor:
        """What is known of the poses (N, 6) of signed pictures (N, 3, S, S), in network units: all that a network
        tells; pitch, yaw and roll where they are read off latents, which know no shifts; else the yaw alone."""
        if not self.tells_poses:
            return pose_of_moves(self.coordinate(images))
        units = self.pose_units(images)
        return units if self.pose_net is not None else F.pad(units[:, :3], (0, units.shape[1] - 3))

    @torch.no_grad()
    def facing(self, latents: Tensor, paint: Callable[[Tensor], Tensor]) -> Tensor:
        """Latents (N, latent_dim) of the same objects, turned until they face the camera; where poses are told, they
        neither look up nor down either.

        Args:
            latents: of the objects.
            paint: latents (N, latent_dim) to signed pictures.
        """
        for _ in range(_FACING):
            image = paint(latents)
            nod_deg = None if not self.tells_poses else -self.pose_units(image)[:, 0] * PoseRange().rotation_deg
            latents = self.moved(latents, -self.coordinate(image), None, nod_deg)
        return latents

    @torch.no_grad()
    def coordinate(self, images: Tensor) -> Tensor:
        """The turn (N,) that signed pictures (N, 3, S, S) show, in units of `TURN_DEG`; 0 is frontal."""
        odd = [mirror_difference(self.encoder, chunk) for chunk in images.split(_CHUNK)]
        return without(torch.cat(odd), self.light) @ self.direction / self.spread

    def moved(
        self,
        latents: Tensor,
        by: Tensor,
        lit: Tensor | None = None,
        pitch_deg: Tensor | None = None,
        above: Tensor | None = None,
    ) -> Tensor:
        """Latents (N, latent_dim) turned by ``by`` (N,) units of `TURN_DEG`, lit from the side by ``lit`` (N,) and from
        above by ``above`` (N,) standard deviations, and nodding by ``pitch_deg`` (N,) degrees."""
        moved = latents + (by * self.spread)[:, None] * self.direction
        if lit is not None:
            moved = moved + (lit * self.light_spread)[:, None] * self.light
        if above is not None:
            moved = moved + (above * self.height_spread)[:, None] * self.height
        return moved if pitch_deg is None else moved + pitch_deg[:, None] * self.pitch

    def tensors(self) -> dict[str, Tensor]:
        """Everything but the encoder, to be kept in a file of networks."""
        parts = {"direction": self.direction, "light": self.light, "height": self.height, "pitch": self.pitch}
        parts["spreads"] = torch.tensor([self.spread, self.light_spread, self.height_spread])
        readings = {_POSE: self.pose, _SHAPE: self.shape}
        parts |= {name: tensor for name, tensor in readings.items() if tensor is not None}
        if self.pose_net is not None:
            parts |= {f"{_POSE_NET}{name}": tensor.half() for name, tensor in self.pose_net.state_dict().items()}
        if self.template is not None:
            parts |= {f"{_TEMPLATE}{name}": tensor for name, tensor in self.template.tensors().items()}
        return {f"{_PREFIX}{name}": tensor.cpu() for name, tensor in parts.items()}


def drawn_moves(shape: tuple[int, ...], *, rng: torch.Generator, lit: float = LIT) -> tuple[Tensor, ...]:
    """Random moves of views as `Turning.moved` takes them, each (..., V): turn, light from the side, pitch in degrees,
    light from above. Turns alone, or lights from the side alone, would leave every row of the picture to itself."""
    turn, side, nod, above = torch.randn((4, *shape), generator=rng, device=rng.device)
    turn[..., 1::2] *= _STILL
    return turn, lit * side, NOD_DEG * nod, lit * above


def pose_of_moves(turn: Tensor, nod_deg: Tensor | None = None, roll_deg: Tensor | None = None) -> Tensor:
    """Poses (N, 6) in network units of turns (N,) in units of `TURN_DEG`, nods and rolls (N,) in degrees; no shifts."""
    none = torch.zeros_like(turn)
    angles = [none if nod_deg is None else nod_deg, TURN_DEG * turn, none if roll_deg is None else roll_deg]
    return torch.stack([*(angle / PoseRange().rotation_deg for angle in angles), none, none, none], dim=-1)


@torch.no_grad()
def latent_features(encoder: LatentEncoder, images: Tensor) -> Tensor:
    """What poses are linear in (N, latent_dim + 1), of signed pictures (N, 3, S, S): latents less their mean, a 1."""
    latents = torch.cat([encoder(chunk) for chunk in images.split(_CHUNK)]) - encoder.mean
    return F.pad(latents, (0, 1), value=1.0)


@torch.no_grad()
def even_features(encoder: LatentEncoder, images: Tensor) -> Tensor:
    """What of `latent_features` (N, latent_dim + 1) signed pictures (N, 3, S, S) share with their mirror images."""
    return (latent_features(encoder, images) + latent_features(encoder, images.flip(-1))) / 2


def with_pose_reading(turning: Turning, known: Iterable[tuple[Tensor, Tensor]]) -> Turning:
    """The same directions with the reading of poses that fits known ones best: ridge regression on pictures and their
    mirror images.

    Args:
        turning: directions and encoder.
        known: signed pictures (N, 3, S, S) and their poses (N, 6), in network units, some at a time.
    """
    like = turning.direction
    signs = like.new_tensor(MIRRORED_POSE)
    square = _RIDGE * torch.eye(len(like) + 1, dtype=torch.float64, device=like.device)
    product = torch.zeros(len(like) + 1, len(MIRRORED_POSE), dtype=torch.float64, device=like.device)
    for images, poses in known:
        for seen, wanted in ((images, poses), (images.flip(-1), poses * signs)):
            features = latent_features(turning.encoder, seen).double()
            square, product = square + features.T @ features, product + features.T @ wanted.double()
    return replace(turning, pose=torch.linalg.solve(square, product).to(like))


def mirror_difference(encoder: LatentEncoder, image: Tensor) -> Tensor:
    """Half the difference (N, latent_dim) between the latents of signed pictures (N, 3, S, S) and of their mirror
    images: what is odd under mirroring."""
    return (encoder(image) - encoder(image.flip(-1))) / 2


def without(values: Tensor, direction: Tensor) -> Tensor:
    """Vectors (..., C) without their part along a unit direction (C,)."""
    return values - (values @ direction)[..., None] * direction


def load_turning(file: Path, encoder: LatentEncoder) -> Turning:
    """The directions in a file that ``gan2shape train turned`` wrote, for the encoder they were found with.

    Raises:
        CheckpointError: a file without them, or with others.
    """
    tensors = read_tensors(file)
    found = {name.removeprefix(_PREFIX): t.float() for name, t in tensors.items() if name.startswith(_PREFIX)}
    _check(file, found, encoder.mean.shape)
    direction, light, height, pitch = (found[name].to(encoder.mean.device) for name in _DIRECTIONS)
    spread, light_spread, height_spread = found["spreads"].tolist()
    pose = found[_POSE].to(direction) if _POSE in found else None
    shape = _shape(file, found, encoder)
    told: dict[str, Any] = {"pose": pose, "shape": shape, "pose_net": _pose_net(file, found, encoder)}
    told["template"] = _template(file, found, encoder)
    return Turning(direction, light, height, pitch, spread, light_spread, height_spread, encoder, **told)


def _shape(file: Path, found: Mapping[str, Tensor], encoder: LatentEncoder) -> Tensor | None:
    """The reading of shapes: whole, or in its parts."""
    own = {name: found[f"{_SHAPE}.{name}"] for name in PARTS if f"{_SHAPE}.{name}" in found}
    width, places = len(encoder.mean), encoder.image_size**2
    if _SHAPE in found:
        check_tensors(file, found, {_SHAPE: (width + 1, places)}, _PREFIX)
        return found[_SHAPE].to(encoder.mean)
    if not own:
        return None
    count = own["maps"].shape[0] if "maps" in own and own["maps"].ndim == 2 else 1
    expected = {"maps": (count, places), "numbers": (width, count), "mean": (places,)}
    check_tensors(file, own, expected, f"{_PREFIX}{_SHAPE}.")
    return product({name: part.to(encoder.mean) for name, part in own.items()})


def _pose_net(file: Path, found: Mapping[str, Tensor], encoder: LatentEncoder) -> PoseNetwork | None:
    own = {name.removeprefix(_POSE_NET): tensor for name, tensor in found.items() if name.startswith(_POSE_NET)}
    if not own:
        return None
    network = PoseNetwork.like(encoder)
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    check_tensors(file, own, expected, f"{_PREFIX}{_POSE_NET}")
    network.load_state_dict({name: own[name] for name in expected})
    return network.to(encoder.mean.device).eval().requires_grad_(False)


def _template(file: Path, found: Mapping[str, Tensor], encoder: LatentEncoder) -> Template | None:
    own = {name.removeprefix(_TEMPLATE): tensor for name, tensor in found.items() if name.startswith(_TEMPLATE)}
    if not own:
        return None
    size, width = encoder.image_size, len(encoder.mean)
    basis = own.get("basis")
    count = basis.shape[1] if basis is not None and basis.ndim == 2 else 0
    expected = {"weights": (size**2, count + 1, 3), "mask": (1, 1, size, size)}
    expected |= {"mean": (width,), "basis": (width, count)}
    check_tensors(file, own, expected, f"{_PREFIX}{_TEMPLATE}")
    return template_of({name: tensor.to(encoder.mean.device) for name, tensor in own.items()})


def save_turning(file: Path, turning: Turning) -> None:
    """Keep directions without networks; `load_turning` reads them.

    Raises:
        OutputError: the place cannot be written.
    """
    write_tensors(file, turning.tensors(), {})


def _check(file: Path, found: Mapping[str, Tensor], of_latents: torch.Size) -> None:
    expected = {**dict.fromkeys(_DIRECTIONS, of_latents), "spreads": torch.Size([3])}
    if _POSE in found:
        expected[_POSE] = torch.Size([of_latents[0] + 1, POSE_NUMBERS])
    check_tensors(file, found, expected, _PREFIX)
    if not bool((found["spreads"] > 0).all()):
        raise CheckpointError(f"{file}: expected positive {_PREFIX}spreads; got {found['spreads'].tolist()}")
