"""What a generator's pictures have in common, and the poses that suit it: what ``gan2shape train align`` learns.

Every picture is brought to the canonical frame under its pose, as one pass tells it, and the template is fitted to all
of them. Errors of the poses differ from picture to picture and only blur it; so it tells every picture's pose better.
(Pictures laid upon each other, Learned-Miller 2006.)
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gan2shape.networks.agreement import WIDEST_DEG, shading_of
from gan2shape.networks.one_pass import TurnedStart
from gan2shape.networks.template import Looks, Posed, Template
from gan2shape.networks.turning import even_features
from gan2shape.render import Camera, normals_from_depth
from gan2shape.render.units import PoseRange, pose_from_units
from gan2shape.render.warp import forward_grid, sample_image, visible

COMPONENTS = 48
"""Of what the generator's inverse sees, how many numbers the template is linear in at most."""
STEPS = 12
"""How often the poses move that are learned from: twice as often as in one pass."""
_RIDGE = 30.0
"""Of the template's regression, in pictures."""
_BEHIND = 0.006
"""How far behind the surface that the camera meets a place may be and still count as seen, in scene units."""
_LEAST_SHADING, _MOST_ALBEDO = 0.15, 2.0
"""Darker places tell no albedo; and the largest that is believed."""
_LEAST_SEEN = 0.1
"""Share of the pictures that must show a place of the template."""
_CHUNK = 40
_YAW = 1


@torch.no_grad()
def posed_pictures(start: TurnedStart, image: Tensor) -> tuple[Posed, Tensor]:
    """What the networks tell of signed pictures (N, 3, S, S), a template aside, and the even part (N, latent_dim) of
    the latents that the generator's inverse sees.

    Raises:
        ValueError: ``start`` reads no shapes or no poses.
    """
    parts, even = [], []
    for chunk in image.split(_CHUNK):
        features, units = even_features(start.turning.encoder, chunk), start.turning.pose_units(chunk)
        depth = start.turning.depth(chunk, features)
        if depth is None:
            raise ValueError("no reading of shapes was fitted to these directions")
        parts.append(start.posed(chunk, depth, units))
        even.append(features[:, :-1])
    depth, units, light = (torch.cat([getattr(part, name) for part in parts]) for name in ("depth", "units", "light"))
    return Posed(image, depth, units, light), torch.cat(even)


def find_looks(even: Tensor) -> Looks:
    """The numbers that vary most in the even parts (N, latent_dim) of pictures' latents."""
    mean = even.mean(dim=0)
    _, strength, directions = torch.linalg.svd(even - mean, full_matrices=False)
    count = min(COMPONENTS, len(even) - 1, int((strength > 1e-5 * strength[0]).sum()))
    return Looks(mean, directions[:count].T * (len(even) ** 0.5 / strength[:count]))


@torch.no_grad()
def fit_template(posed: Posed, even: Tensor, mask: Tensor, camera: Camera) -> Template:
    """The template of pictures under their poses: ridge regression for every place, on those of the pictures that show
    it and on their mirror images. Objects that are turned farther than `WIDEST_DEG` are left out.

    Args:
        posed: the pictures.
        even: the even parts (N, latent_dim) of their latents.
        mask: where the canonical frame shows the object in (nearly) every picture (1, 1, S, S).
        camera: what they are seen with.
    """
    size, looks = camera.image_size, find_looks(even)
    numbers = looks(even)
    width = numbers.shape[1]
    square, product = numbers.new_zeros(size**2, width * width), numbers.new_zeros(size**2, width * 3)
    near = (posed.units[:, _YAW].abs() * PoseRange().rotation_deg < WIDEST_DEG).nonzero()[:, 0]
    for chosen in near.split(_CHUNK) if len(near) else ():
        (albedo, seen), own = _unshaded(posed[chosen], camera), numbers[chosen]
        weight = seen.flatten(2)  # (B, 1, S * S)
        square += weight[:, 0].T @ (own[:, :, None] * own[:, None, :]).flatten(1)
        shown = (weight * albedo.flatten(2)).flatten(1)
        product += (shown.T @ own).unflatten(0, (3, size**2)).permute(1, 2, 0).flatten(1)
    square, product = (_both_sides(total, size) for total in (square, product))
    square, product = square.unflatten(1, (width, width)), product.unflatten(1, (width, 3))
    ridge = _RIDGE * torch.eye(width).to(square)
    ridge[-1, -1] = 1e-3  # The mean is not held at zero.
    counts = (square[:, -1, -1] > _LEAST_SEEN * 2 * len(near)).to(mask).view(1, 1, size, size)
    return Template(torch.linalg.solve(square + ridge, product), mask * counts, looks)


def _unshaded(posed: Posed, camera: Camera) -> tuple[Tensor, Tensor]:
    """Albedos (B, 3, S, S), from 0, of pictures in the canonical frame, and where they show it (B, 1, S, S)."""
    pose = pose_from_units(posed.units, PoseRange())
    colours = sample_image(posed.image / 2 + 0.5, forward_grid(posed.depth, pose, camera))
    lit = shading_of(posed.light, normals_from_depth(posed.depth, camera))
    seen = visible(posed.depth, pose, camera, behind=_BEHIND) & (lit > _LEAST_SHADING)
    return (colours / lit.clamp(min=_LEAST_SHADING)).clamp(max=_MOST_ALBEDO), seen.to(colours)


def _both_sides(values: Tensor, size: int) -> Tensor:
    """Sums (S · S, ...) with those of the mirrored places added."""
    maps = values.unflatten(0, (size, size))
    return (maps + maps.flip(1)).flatten(0, 1)


def aligned_units(
    posed: Posed,
    even: Tensor,
    template: Template,
    camera: Camera,
    *,
    on_done: Callable[[int], None] = lambda count: None,
) -> Tensor:
    """The poses (N, 6), in network units, under which the template suits pictures best, near those that are known.

    What all of them change by in the mean is taken back: the template does not know where ahead is.

    Args:
        posed: the pictures.
        even: the even parts (N, latent_dim) of their latents.
        template: theirs.
        camera: what they are seen with.
        on_done: told how many pictures are done.
    """
    looks, found, done = template.looks(even), [], 0
    for chosen in torch.arange(len(posed), device=posed.units.device).split(_CHUNK):
        found.append(template.corrections(posed[chosen], looks[chosen], camera, steps=STEPS))
        done += len(chosen)
        on_done(done)
    corrections = torch.cat(found)
    return posed.units + corrections - corrections.mean(dim=0)
