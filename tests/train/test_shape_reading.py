"""What refined shapes have in common with the latents of their pictures: planted, with noise."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gan2shape.networks.turning import even_features
from gan2shape.train.shape_reading import RELIEF, read_shapes

SIZE, OBJECTS, VIEWS = 8, 400, 3


class Colours(nn.Module):
    """Latents (N, 3): the mean colour, and how much brighter the right half is, which a mirror reverses."""

    mean = torch.full((3,), 0.1)

    def forward(self, image: Tensor) -> Tensor:
        """Latents of signed pictures (N, 3, S, S)."""
        left, right = (half.mean((1, 2, 3)) for half in image.chunk(2, dim=-1))
        return torch.stack([10 * image[:, 0].mean((1, 2)), 10 * image[:, 1].mean((1, 2)), 10 * (right - left)], 1)


def planted(noise: float, seed: int = 0) -> tuple[list[dict[str, Tensor]], Tensor, Tensor]:
    """Objects whose depth is 1 + red x a bump, red and green (OBJECTS, 2), and that bump (1, S, S), symmetric."""
    rng = torch.Generator().manual_seed(seed)
    bump = torch.rand(1, SIZE, SIZE, generator=rng)
    bump = 0.05 * (bump + bump.flip(-1))
    colours = 0.3 * torch.randn(OBJECTS, 2, generator=rng)
    found = []
    for own in colours.clamp(-0.9, 0.9):
        view = torch.zeros(1 + VIEWS, 3, SIZE, SIZE) + torch.cat([own, own[:1]])[None, :, None, None]
        side = 0.1 * torch.randn(1 + VIEWS, generator=rng)
        view[..., SIZE // 2 :] += side[:, None, None, None]
        view[..., : SIZE // 2] -= side[:, None, None, None]
        depth = 1 + own[0] * bump + noise * torch.randn(1, SIZE, SIZE, generator=rng)
        found.append({"view": ((view.clamp(-1, 1) + 1) * 127.5).round().byte(), "depth": depth})
    return found, colours.clamp(-0.9, 0.9), bump


def flattened(depth: Tensor) -> Tensor:
    """Depths (N, 1, S, S) with the part of their relief that is believed."""
    nearest = depth.mean(dim=0).min()
    return nearest + RELIEF * (depth - nearest)


def told(reading: Tensor, objects: list[dict[str, Tensor]], which: Tensor, view: Tensor) -> Tensor:
    """The depths (N, 1, S, S) that views number ``view`` of objects ``which`` tell."""
    images = torch.stack([objects[int(k)]["view"][int(v)] for k, v in zip(which, view, strict=True)])
    features = even_features(Colours(), images.float() / 127.5 - 1)  # type: ignore[arg-type]
    return (features @ reading).unflatten(1, (1, SIZE, SIZE))


def test_what_varies_with_latents_is_found_and_noise_is_not() -> None:
    objects, colours, bump = planted(noise=0.02)
    read = read_shapes(Colours(), objects)  # type: ignore[arg-type]
    which, view = torch.arange(OBJECTS), torch.arange(OBJECTS) % (1 + VIEWS)
    depth = told(read, objects, which, view)
    assert depth.shape == (OBJECTS, 1, SIZE, SIZE)
    true = flattened(1 + colours[:, :1, None, None] * bump)
    single = torch.stack([one["depth"] for one in objects])
    assert float((depth - true).square().mean()) < 0.03 * float((single - true).square().mean())
    assert torch.allclose(depth, depth.flip(-1), atol=1e-6)


def test_views_from_either_side_show_the_same_shape() -> None:
    objects, _, _ = planted(noise=0.0)
    read = read_shapes(Colours(), objects)  # type: ignore[arg-type]
    some = torch.arange(20)
    first, second = (told(read, objects, some, torch.full((20,), view)) for view in (0, 1))
    assert float((first - second).abs().max()) < 2e-3


@pytest.mark.parametrize("count", [1, 2])
def test_few_objects_give_about_their_mean(count: int) -> None:
    objects, _, _ = planted(noise=0.0)
    some = objects[:count]
    read = read_shapes(Colours(), some)  # type: ignore[arg-type]
    mean = torch.stack([one["depth"] for one in some]).mean(0)
    depth = told(read, some, torch.arange(count), torch.zeros(count, dtype=torch.long)).mean(0)
    assert torch.allclose(depth, flattened(mean[None])[0], atol=2e-3)
