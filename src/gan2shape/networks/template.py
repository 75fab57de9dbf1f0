"""What a category's pictures have in common, and poses that suit it (``gan2shape train align``).

In the canonical frame, the albedo of a category is nearly linear in what the generator's inverse sees in a picture.
This template, under the pose and the light that suit a picture best, is the picture but for what is the picture's own:
a pose that was known roughly is known better then, shifts above all. (Analysis by synthesis, as active appearance
models are fitted, Cootes et al. 1998.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from gan2shape.networks.agreement import equally_bright, shading_of, solve_lights
from gan2shape.render import Camera, normals_from_depth, reproject
from gan2shape.render.units import PoseRange, pose_from_units

STEPS = 6
"""Iterations of Adam for a picture's pose. Many more would follow what the template has wrong."""
_RATE = 0.004
"""Adam's rate at first, in network units: a quarter of a degree. It falls with the square root of what is left."""
_BETAS = (0.9, 0.999)
_SHARE = (1.0, 1.0, 1.0, 0.5, 0.5, 1.0)
"""How fast angles and shifts move: in relation, shifts are known better."""
_LEAST_PIXELS = 50.0


@dataclass(frozen=True, eq=False)
class Looks:
    """The numbers of a picture that the template is linear in: what varies most of what the latents of pictures share
    with those of their mirror images.

    Attributes:
        mean: of the latents' even part (latent_dim,).
        basis: (latent_dim, K): from there to numbers of variance 1.
    """

    mean: Tensor
    basis: Tensor

    def __call__(self, even: Tensor) -> Tensor:
        """Even parts of latents (N, latent_dim) → looks (N, K + 1), the last one 1."""
        return F.pad((even - self.mean) @ self.basis, (0, 1), value=1.0)


@dataclass(frozen=True, eq=False)
class Posed:
    """N pictures, and what is known of what they show.

    Attributes:
        image: pictures (N, 3, S, S), signed.
        depth: canonical depths (N, 1, S, S), scene units.
        units: poses (N, 6), in network units.
        light: lights (N, 4) in the object's frame, as `networks.agreement.as_vectors` has them.
    """

    image: Tensor
    depth: Tensor
    units: Tensor
    light: Tensor

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, chosen: Tensor) -> Posed:
        parts = (self.image, self.depth, self.units, self.light)
        return Posed(*(part[chosen] for part in parts))


@dataclass(frozen=True, eq=False)
class Template:
    """Albedo of a category in the canonical frame, alike on both sides.

    Attributes:
        weights: (S · S, K + 1, 3): the albedo, from 0, of every place as a linear function of a picture's looks.
        mask: the places that count (1, 1, S, S), 1 = object.
        looks: the looks of pictures.
    """

    weights: Tensor
    mask: Tensor
    looks: Looks

    def albedo(self, looks: Tensor) -> Tensor:
        """Albedos (B, 3, S, S), from 0, of looks (B, K + 1)."""
        return torch.einsum("bk,pkc->bcp", looks, self.weights).unflatten(2, self.mask.shape[-2:])

    @torch.enable_grad()
    def corrections(self, posed: Posed, looks: Tensor, camera: Camera, *, steps: int = STEPS) -> Tensor:
        """What poses change by (N, 6), in network units, each by itself, until the template suits its picture.

        Args:
            posed: the pictures.
            looks: theirs (N, K + 1).
            camera: what they are seen with.
            steps: how often they move.
        """
        image, mask = posed.image, self.mask.expand(len(posed), -1, -1, -1)
        known = torch.cat([self.albedo(looks), normals_from_depth(posed.depth, camera), mask], dim=1)
        found, share = torch.zeros_like(posed.units), posed.units.new_tensor(_SHARE)
        mean = square = found
        for step in range(steps):  # Adam (Kingma and Ba, 2015), every picture by itself.
            found.requires_grad_()
            pose = pose_from_units(posed.units + share * found, PoseRange())
            seen = reproject(known, posed.depth, pose, camera)
            albedo, normals, here = seen.image.split([3, 3, 1], dim=1)
            kept = (seen.mask * (here > 0.9)).detach()
            light = solve_lights(albedo, normals, image, kept, posed.light)
            guess = equally_bright(albedo * shading_of(light, normals) * 2 - 1, image, kept)
            count = kept.flatten(1).sum(1).clamp(min=_LEAST_PIXELS)
            apart = ((guess - image).abs().mean(dim=1, keepdim=True) * kept).flatten(1).sum(1) / count
            (gradient,) = torch.autograd.grad(apart.sum(), found)
            mean = _BETAS[0] * mean + (1 - _BETAS[0]) * gradient
            square = _BETAS[1] * square + (1 - _BETAS[1]) * gradient.square()
            spread = (square / (1 - _BETAS[1] ** (step + 1))).sqrt() + 1e-8
            rate = _RATE * (1 - step / steps) ** 0.5
            found = found.detach() - rate * mean / (1 - _BETAS[0] ** (step + 1)) / spread
        return share * found

    def tensors(self) -> dict[str, Tensor]:
        """Everything, to be kept in a file of networks; see `template_of`."""
        looks = {"mean": self.looks.mean, "basis": self.looks.basis}
        return {"weights": self.weights.half(), "mask": self.mask, **looks}


def template_of(tensors: Mapping[str, Tensor]) -> Template:
    """The template that `Template.tensors` gave."""
    found = {name: tensor.float() for name, tensor in tensors.items()}
    return Template(found["weights"], found["mask"], Looks(found["mean"], found["basis"]))
