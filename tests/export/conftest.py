"""An object that looks different from every side: a tilted plane with one bump, red, green and blue."""

from __future__ import annotations

import pytest
import torch

from gan2shape.render import Camera, DepthRange, Lighting, Pose, Scene
from gan2shape.result import GeneratorRecord, ReconstructionResult

SIZE = 24


@pytest.fixture
def camera() -> Camera:
    return Camera(SIZE)


@pytest.fixture
def depth_range() -> DepthRange:
    return DepthRange()


@pytest.fixture
def scene() -> Scene:
    """The left half is red; the right half green above and blue below. The bump is above on the left, towards us."""
    steps = torch.arange(SIZE, dtype=torch.float32)
    row, column = torch.meshgrid(steps, steps, indexing="ij")
    bump = torch.exp(-((row - 7) ** 2 + (column - 8) ** 2) / 12)
    depth = 1.0 + 0.001 * (column - SIZE / 2) + 0.0005 * row - 0.03 * bump
    albedo = torch.full((3, SIZE, SIZE), -1.0)
    half = SIZE // 2
    albedo[0, :, :half], albedo[1, :half, half:], albedo[2, half:, half:] = 1.0, 1.0, 1.0
    flat = Lighting(torch.ones(1, 1), torch.zeros(1, 1), torch.tensor([[0.0, 0.0, 1.0]]))
    return Scene(depth[None, None], albedo[None], Pose.identity(1, depth), flat)


@pytest.fixture
def mask() -> torch.Tensor:
    """An ellipse off the centre, (1, 1, S, S)."""
    steps = torch.arange(SIZE, dtype=torch.float32)
    row, column = torch.meshgrid(steps, steps, indexing="ij")
    return (((row - 11) / 9) ** 2 + ((column - 11) / 8) ** 2 <= 1).float()[None, None]


@pytest.fixture
def result(scene: Scene, mask: torch.Tensor, camera: Camera) -> ReconstructionResult:
    turned = scene.with_(
        pose=Pose.from_euler(torch.tensor([[0.1, 0.3, 0.0]]), torch.tensor([[0.01, 0.0, 0.0]])),
        lighting=Lighting(torch.tensor([[0.5]]), torch.tensor([[0.4]]), torch.tensor([[0.6, 0.0, 0.8]])),
    )
    return ReconstructionResult(
        scene=turned,
        camera=camera,
        mask=mask,
        image=scene.albedo,
        latent=torch.zeros(1, 8),
        networks={"weight": torch.ones(2)},
        generator=GeneratorRecord("tiny", "0" * 64),
        config={},
        seed=0,
    )
