"""A reading of poses off latents that nobody has to label: the generator's objects are moved, and rolled as pictures.

An object that faces the camera is turned and nodded by its latent and its picture is rolled in the plane: how far is
known, because it was asked for. What the generator's inverse sees in such pictures tells all three angles linearly.
Whether an object faces the camera is told by the reading itself, so reading and fronts are found in turns: an object's
own nod, which nothing tells at first, is taken away a little better every time. The generator's pictures are taken to
look straight ahead in the mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from gan2shape.networks.turning import Turning, drawn_moves, pose_of_moves, with_pose_reading
from gan2shape.render.warp import sample_image

MOVED_OBJECTS, VIEWS, ROUNDS = 600, 8, 3
"""Objects that are moved, views of each in a round, and rounds of fronts and reading."""
ROLL_DEG = 4.0
"""Standard deviation of the rolls, in degrees."""
_CHUNK = 64


def read_off_moves(
    turning: Turning,
    latents: Tensor,
    paint: Callable[[Tensor], Tensor],
    *,
    rng: torch.Generator,
    views: int = VIEWS,
    rounds: int = ROUNDS,
) -> Turning:
    """The same directions with a reading of poses; one that they had before is where it starts from.

    Args:
        turning: directions and encoder.
        latents: of the generator's pictures, (N, latent_dim); their objects are those that the encoder sees in them.
        paint: latents (N, latent_dim) to signed pictures at the encoder's size.
        rng: draws the moves.
        views: of each object, in each round.
        rounds: how often fronts and reading are found anew.
    """
    images = paint(latents)
    seen = torch.cat([turning.encoder(chunk) for chunk in images.split(_CHUNK)]).detach()
    for _ in range(rounds):
        facing = turning.facing(seen, paint)
        turning = _centred(with_pose_reading(turning, _moved(turning, facing, paint, views, rng)), images)
    return turning


def _centred(turning: Turning, images: Tensor) -> Turning:
    """The same reading, with a mean pitch of zero in signed pictures (N, 3, S, S). (What a mirror reverses has no
    constant part.)"""
    assert turning.pose is not None
    pose = turning.pose.clone()
    pose[-1] -= turning.pose_units(images).mean(0)
    return replace(turning, pose=pose)


@torch.no_grad()
def _moved(
    turning: Turning, facing: Tensor, paint: Callable[[Tensor], Tensor], views: int, rng: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Pictures of objects that were facing the camera, moved and rolled, and their poses, a view of each at a time."""
    left = turning.coordinate(paint(facing))
    moves = drawn_moves((len(facing), views), rng=rng)
    for turn, side, nod_deg, above in zip(*(move.T for move in moves), strict=True):
        roll_deg = ROLL_DEG * torch.randn(len(facing), generator=rng, device=rng.device)
        images = paint(turning.moved(facing, turn, side, nod_deg, above))
        yield rolled(images, roll_deg), pose_of_moves(turn + left, nod_deg, roll_deg)


def rolled(images: Tensor, roll_deg: Tensor, shift_px: Tensor | None = None) -> Tensor:
    """Pictures (N, C, S, S) turned clockwise about their centre by angles (N,) in degrees, and then perhaps shifted to
    the right and down (N, 2) in pixels; what comes in at the sides repeats the border."""
    angle = torch.deg2rad(roll_deg).to(images)[:, None, None]
    line = torch.linspace(-1, 1, images.shape[-1]).to(images)
    y, x = torch.meshgrid(line, line, indexing="ij")
    if shift_px is not None:
        right, down = (shift_px.to(images) * (2 / (images.shape[-1] - 1)))[:, :, None, None].unbind(1)
        x, y = x - right, y - down
    back = torch.stack([angle.cos() * x + angle.sin() * y, angle.cos() * y - angle.sin() * x], dim=-1)
    return sample_image(images, back.clamp(-1, 1))
