"""Frozen layers against the trainable ones that they were made of, in float64."""

from __future__ import annotations

import torch

from gan2shape.generators.stylegan2_layers import (
    FrozenLayer,
    FrozenShortcut,
    FrozenToRGB,
    Shortcut,
    StyledLayer,
    ToRGB,
)


def test_a_frozen_layer_computes_the_same(rng: torch.Generator) -> None:
    x, w = (torch.randn(shape, generator=rng, dtype=torch.float64) for shape in ((2, 4, 8, 8), (2, 6)))
    for up, side in ((False, 8), (True, 16)):
        layer = StyledLayer(4, 5, 6, up=up).double()
        torch.nn.init.constant_(layer.noise.weight, 0.3)
        noise = torch.randn(1, 1, side, side, generator=rng, dtype=torch.float64)
        frozen = FrozenLayer(layer, noise, torch.float64)
        torch.testing.assert_close(frozen(x, w), layer(x, w, noise))


def test_frozen_colours_and_shortcuts_are_the_same(rng: torch.Generator) -> None:
    x, w = (torch.randn(shape, generator=rng, dtype=torch.float64) for shape in ((2, 4, 8, 8), (2, 6)))
    colours, shortcut = ToRGB(4, 6).double(), Shortcut(4, 5).double()
    small = torch.randn(2, 3, 4, 4, generator=rng, dtype=torch.float64)
    torch.testing.assert_close(FrozenToRGB(colours, torch.float64)(x, w, small), colours(x, w, small))
    torch.testing.assert_close(FrozenShortcut(shortcut, torch.float64)(x), shortcut(x))
    assert shortcut(x).shape == (2, 5, 16, 16)


def test_a_shortcut_keeps_a_constant() -> None:
    """The filter's weights at either phase sum to one, so that the middle of a constant map stays what it was."""
    shortcut = Shortcut(1, 1)
    torch.nn.init.constant_(shortcut.weight, 0.7)
    middle = shortcut(torch.full((1, 1, 8, 8), 2.0))[0, 0, 4:-4, 4:-4]
    torch.testing.assert_close(middle, torch.full_like(middle, 1.4))
