"""Heads from coefficients: vertices and normals of many heads at once, in scene units.

Scene axes are the camera's: x right, y down, z away from it. A head looks at the camera, and the point about which it
turns lies at the origin here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gan2shape.data.model import BACK, FACE, LEFT_EYE, RIGHT_EYE, HeadModel

SCENE_PER_CM = 0.008
"""Scene units of one centimetre."""
CENTRE_CM = (0.0, -0.3, 2.0)
"""The point of the head about which it turns, in the model's axes."""
BLEND_GROUP = 8
"""Heads per matrix product. A fixed number, since rounding may depend on the shape of a product."""
_FLIP = (1.0, -1.0, -1.0)


@dataclass(frozen=True, eq=False)
class HeadMesh:
    """A head model made ready for one device."""

    basis: Tensor
    """(1 + I + E, 3 V): mean, identity modes and expression shapes in scene units, one plane of V after the other."""
    faces: Tensor
    """(F, 3) int64."""
    chart: Tensor
    """(6, V): distance from the texture's middle line, height in the texture, 1 on the face, and the place relative
    to the middle of the eyeball in cm (x and y; 0 elsewhere), 1 on the front half of an eyeball and 2 on its back."""
    back: Tensor
    """(V,) bool: vertices of the back of the head."""
    names: tuple[str, ...]
    """Names of the expression shapes."""

    @staticmethod
    def of(model: HeadModel, device: torch.device | str = "cpu") -> HeadMesh:
        """Prepare a model."""
        scale = np.float32(SCENE_PER_CM) * np.array(_FLIP, np.float32)
        rows = np.concatenate([model.mean[None] - np.array(CENTRE_CM, np.float32), model.identity, model.expression])
        planes = (rows * scale).transpose(0, 2, 1).reshape(len(rows), -1)
        return HeadMesh(
            torch.from_numpy(np.ascontiguousarray(planes)).to(device),
            torch.from_numpy(model.faces).to(device),
            torch.from_numpy(_chart(model)).to(device),
            torch.from_numpy(model.part == BACK).to(device),
            model.names,
        )

    @property
    def vertex_count(self) -> int:
        """Vertices of a head."""
        return self.chart.shape[1]

    @property
    def identity_count(self) -> int:
        """Identity modes of the model."""
        return len(self.basis) - 1 - len(self.names)

    def vertices(self, identity: Tensor, expression: Tensor) -> Tensor:
        """Vertices (H, 3, V) in scene units of heads with coefficients (H, I) and weights (H, E)."""
        weights = torch.cat([identity.new_ones(len(identity), 1), identity, expression], 1)
        groups = []
        for group in weights.split(BLEND_GROUP):
            padded = F.pad(group, (0, 0, 0, BLEND_GROUP - len(group)))
            groups.append((padded @ self.basis)[: len(group)])
        return torch.cat(groups).view(len(weights), 3, -1)

    def normals(self, vertices: Tensor) -> Tensor:
        """Unit normals (H, 3, V) of vertices (H, 3, V), weighted by area, into the head (+z away from the camera)."""
        corners = [vertices.index_select(2, index).unbind(1) for index in self.faces.unbind(1)]
        (ax, ay, az), (bx, by, bz), (cx, cy, cz) = corners
        ux, uy, uz, wx, wy, wz = bx - ax, by - ay, bz - az, cx - ax, cy - ay, cz - az
        outward = torch.stack((uy * wz - uz * wy, uz * wx - ux * wz, ux * wy - uy * wx), 1)  # (H, 3, F)
        total = torch.zeros_like(vertices)
        for index in self.faces.unbind(1):
            total.index_add_(2, index, outward)
        return -unit(total)


def unit(vectors: Tensor) -> Tensor:
    """Vectors (B, 3, N) at length 1, or 0 where they have none; a third of the time of `F.normalize` along planes."""
    x, y, z = vectors.unbind(1)
    length = (x * x + y * y + z * z).sqrt_().clamp_(min=torch.finfo(vectors.dtype).tiny)
    return vectors / length.unsqueeze(1)


def _chart(model: HeadModel) -> np.ndarray:
    chart = np.zeros((6, len(model.mean)), np.float32)
    chart[0] = np.abs(model.uv[:, 0] % 1 - 0.5)
    chart[1] = model.uv[:, 1] % 1
    chart[2] = model.part == FACE
    for eye in (LEFT_EYE, RIGHT_EYE):
        place = np.flatnonzero(model.part == eye)
        if len(place):
            ball = model.mean[place]
            middle = (ball.max(0) + ball.min(0)) / 2
            chart[3, place], chart[4, place] = (ball - middle)[:, :2].T
            chart[5, place] = np.where(ball[:, 2] > middle[2], 1, 2)
    return chart
