"""Procedural colours of heads: skin, lips, brows, eyes, hair and beard at any points of the surface.

Colours are linear RGB. They are evaluated at the samples of the picture, not at vertices, so that they are as sharp as
the picture at every size. Fields are (B, N); colours (B, 3, N); random numbers (B, k) of `gan2shape.data.draws`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gan2shape.data.draws import Drawn
from gan2shape.data.look import Look

DARKEST, BRIGHTEST = 0.01, 1.0
_EYE_WHITE = (0.82, 0.80, 0.78)
_CHEEK = (0.10, -0.02, -0.02)
_IRIS_CM, _PUPIL_CM, _EDGE_CM = 0.59, 0.21, 0.06
_PUPIL = 0.02


@dataclass(frozen=True, eq=False)
class Places:
    """Where points of the surface lie."""

    chart: Tensor
    """(B, 6, N), the rows of `HeadMesh.chart`."""
    point_cm: Tensor
    """(B, 3, N) in the model's axes: x to the side, y up, z forward."""


def albedo(places: Places, heads: Drawn, look: Look) -> Tensor:
    """Colours (B, 3, N) of the points of B heads, in [`DARKEST`, `BRIGHTEST`]."""
    across, height, on_face, eye_x, eye_y, eye = places.chart.unbind(1)
    # Triangles between two charts of the texture have no sensible coordinates.
    face = (on_face > 0.999).to(across.dtype)
    noise = _waves(places.point_cm, heads)
    strands = _strands(places.point_cm, heads) * look.strands
    colour = heads["skin"].unsqueeze(2) * (1 + 0.03 * noise).unsqueeze(1)
    cheek = torch.exp(-(((across - 0.2) / 0.08).square() + ((height - 0.52) / 0.07).square())) * face * heads["cheeks"]
    colour = colour + cheek.unsqueeze(1) * colour.new_tensor(_CHEEK).view(1, 3, 1)
    lips = _lips(across, height, heads["lips_extent"])
    colour = _over(colour, heads["lips"].unsqueeze(2), lips * face * heads["lips_weight"])
    hair = heads["hair"].unsqueeze(2) * (1 + strands).unsqueeze(1)
    colour = _over(colour, hair, _brows(across, height, heads) * face * heads["brow_weight"])
    rims = (((across - 0.155) / 0.045).square() + ((height - 0.72) / 0.012).square()).square()
    colour = colour * (1 - 0.275 * torch.exp(-rims) * face).unsqueeze(1)
    skin_part = (eye == 0).to(across.dtype)
    cap = hair_cover(places.point_cm, face, heads, noise)
    colour = _over(colour, hair * (1 + 0.08 * noise).unsqueeze(1), cap * skin_part)
    beard = _smooth((0.46 - height) / 0.05) * _smooth((across + 0.1) / 0.2) * (1 - lips)
    beard = beard * _smooth((height - 0.12) / 0.18) * face * heads["beard_weight"]
    colour = _over(colour, hair, beard)
    ball = _eyeballs(torch.hypot(eye_x, eye_y), eye, heads)
    return torch.where((eye > 0).unsqueeze(1), ball, colour).clamp(DARKEST, BRIGHTEST)


def hair_cover(point_cm: Tensor, face: Tensor, heads: Drawn, noise: Tensor | None = None) -> Tensor:
    """How much of the skin is under hair, (B, N) in [0, 1], of points (B, 3, N) in cm; ``face`` (B, N) is 1 on it.

    ``noise`` (B, N) roughens the hair line a little.
    """
    x, y, z = point_cm[:, 0].abs(), point_cm[:, 1], point_cm[:, 2]
    line, slope, side = heads["hair_line"].unsqueeze(2).unbind(1)
    above = y - (line + slope * 1.2 * (z - 4)) - side * x
    if noise is not None:
        above = above + 0.04 * noise
    cap = _smooth(above / 0.7) * ((y > -8) & ((x < 8.3) | (y > 2.5)))
    ears = (face > 0) & (x > 7.6) & (y < 3)
    return torch.where(ears, 0.0, cap) * heads["hair_weight"]


def _waves(point_cm: Tensor, heads: Drawn) -> Tensor:
    phases = torch.baddbmm(heads["wave_phases"].unsqueeze(2), heads["waves"], point_cm)  # (B, WAVES, N)
    return phases.sin_().sum(1)


def _strands(point_cm: Tensor, heads: Drawn) -> Tensor:
    """A fine pattern (B, N) about 0 that runs from the crown down."""
    x, y, z = point_cm.unbind(1)
    around = torch.atan2(x, 2.0 - z)
    first, second, third, fourth = heads["strand_phases"].unsqueeze(2).unbind(1)
    bend = 0.12 * torch.sin(0.7 * y + first) + 0.04 * torch.sin(1.9 * y + 7 * around + third)
    coarse = torch.sin(29 * (around + bend) + second) + torch.sin(53 * (around - bend) + third)
    return 0.7 * coarse + 0.7 * torch.sin(91 * (around + 0.5 * bend) + 0.9 * y + fourth)


def _lips(across: Tensor, height: Tensor, extent: Tensor) -> Tensor:
    """From a line along the mouth (extent 0) to the whole of the lips (extent 1)."""
    ring = (across / torch.lerp(extent.new_tensor(0.075), extent.new_tensor(0.095), extent)).square()
    ring = ring + ((height - 0.432) / torch.lerp(extent.new_tensor(0.036), extent.new_tensor(0.066), extent)).square()
    return torch.exp(-((ring - 0.8).clamp_(min=0) / 0.4).square())


def _brows(across: Tensor, height: Tensor, heads: Drawn) -> Tensor:
    along = (across - 0.16) / 0.075
    above = height - (0.775 + 0.02 * (1 - along.square()) + heads["brow_height"])
    return torch.exp(-along.square().square() - (above / heads["brow_width"]).square())


def _eyeballs(radius: Tensor, eye: Tensor, heads: Drawn) -> Tensor:
    """White, iris with a darker rim, pupil: (B, 3, N)."""
    front = (eye < 1.5).to(radius.dtype)
    white = radius.new_tensor(_EYE_WHITE).view(1, 3, 1)
    shade = 1.15 - 0.5 * _smooth((radius - 0.35) / (_IRIS_CM - 0.35))
    iris = heads["iris"].unsqueeze(2) * shade.unsqueeze(1)
    colour = _over(white.expand_as(iris), iris, front * _smooth((_IRIS_CM + _EDGE_CM - radius) / (2 * _EDGE_CM)))
    pupil = front * _smooth((_PUPIL_CM + _EDGE_CM - radius) / (2 * _EDGE_CM))
    return _over(colour, radius.new_full((1, 1, 1), _PUPIL), pupil)


def _over(below: Tensor, above: Tensor, weight: Tensor) -> Tensor:
    return torch.lerp(below, above.expand_as(below), weight.unsqueeze(1).expand_as(below))


def _smooth(t: Tensor) -> Tensor:
    t = t.clamp(0, 1)
    return t * t * (3 - 2 * t)
