"""An endless, deterministic sequence of rendered heads."""

from __future__ import annotations

import torch
from torch import Tensor

from gan2shape.data.draws import Drawn, draw_heads, draw_views
from gan2shape.data.look import PLAIN, Look
from gan2shape.data.mesh import BLEND_GROUP, HeadMesh
from gan2shape.data.model import HeadModel
from gan2shape.data.rendering import render_heads
from gan2shape.render import Camera

_GPU_CHUNK = 64
"""Pictures rendered at once on a GPU; on a CPU fewer stay in its cache."""


class SynFace:
    """Rendered heads: call with the number of the first picture and how many.

    Args:
        model: the head model.
        size: side of the pictures in pixels, at least 2.
        seed: picture i depends on (seed, i) alone.
        views: that many consecutive pictures show the same head.
        device: where to render.
        look: what is done for the eye.

    Attributes:
        size: side of the pictures in pixels.
        description: one line for logs.
    """

    def __init__(
        self,
        model: HeadModel,
        *,
        size: int = 64,
        seed: int = 0,
        views: int = 1,
        device: torch.device | str = "cpu",
        look: Look = PLAIN,
    ) -> None:
        if views < 1:
            raise ValueError(f"views must be at least 1; got {views}")
        self.size = size
        self.description = f"rendered heads of {size} px, seed {seed}, {views} per head, {look.name}"
        self.camera = Camera(size)
        self.seed = seed
        self.views = views
        self.look = look
        self.mesh = HeadMesh.of(model, device)

    def __call__(self, start: int, count: int) -> dict[str, Tensor]:
        """Pictures ``start`` to ``start + count - 1``.

        Returns:
            What `render_heads` returns, and ``view`` (B, 3) degrees, ``translation`` (B, 3), ``ambient`` (B, 1),
            ``diffuse`` (B, 1), ``light`` (B, 3).

        Raises:
            ValueError: a negative number, or no picture asked for.
        """
        heads, owner, views = self.draw(start, count)
        device = self.mesh.basis.device
        heads, owner, views = heads.to(device), owner.to(device), views.to(device)
        parts = []
        chunk = BLEND_GROUP if device.type == "cpu" else _GPU_CHUNK
        for first in range(0, count, chunk):
            here = slice(first, first + chunk)
            used, local = owner[here].unique(return_inverse=True)
            parts.append(render_heads(self.mesh, heads.select(used), local, views.select(here), self.camera, self.look))
        joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        return joined | {name: views[name] for name in ("view", "translation", "ambient", "diffuse", "light")}

    def draw(self, start: int, count: int) -> tuple[Drawn, Tensor, Drawn]:
        """The random numbers of pictures: their heads, which of these each shows (B,), and their views.

        Raises:
            ValueError: a negative number, or no picture asked for.
        """
        if start < 0 or count < 1:
            raise ValueError(f"pictures are numbered from 0 and asked for one at least; got {start} and {count}")
        numbers = range(start, start + count)
        first = start // self.views
        wanted = range(first, (start + count - 1) // self.views + 1)
        heads = draw_heads(self.seed, wanted, self.mesh.identity_count, self.mesh.names)
        return heads, torch.tensor([i // self.views - first for i in numbers]), draw_views(self.seed, numbers)
