"""Polishing of projected samples (step 2): codes alone move, and only towards their own pseudo samples."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gan2shape.reconstruct.config import Objective
from gan2shape.reconstruct.optimize import Adam
from gan2shape.reconstruct.step2_projection import Polish, ProjectedSamples, Projector, PseudoSamples, project
from tests.reconstruct.affine import affine_projector, affine_target, sampler, seeded
from tests.reconstruct.small import SIZE, bumpy_scene, disc, grey_levels, moved, weights_of


def mismatch(images: Tensor, pseudo: PseudoSamples) -> float:
    """Masked L1 and masked difference of features between pictures and the pseudo samples they are to match."""
    mask = pseudo.masks.double()
    total = float(((images - pseudo.images).double().abs() * mask).sum() / (3 * mask.sum()))
    for a, b in zip(grey_levels(images.double()), grey_levels(pseudo.images.double()), strict=True):
        pooled = nn.functional.avg_pool2d(mask, SIZE // a.shape[-1])
        total += float(((a - b).abs() * pooled).sum() / (a.shape[1] * pooled.sum()))
    return total


def polished(projector: Projector, steps: int, rate: float = 0.05) -> ProjectedSamples:
    return project(
        projector,
        bumpy_scene(),
        affine_target(),
        sample=sampler(use_mask=True),
        steps=2,
        batch_size=3,
        rng=seeded(9),
        on_iteration=lambda iteration, record: None,
        polish=Polish(steps, Adam(rate), grey_levels, Objective(offset=0.0)),
    )


@pytest.mark.parametrize("relative", [False, True])
def test_polished_samples_match_their_own_pseudo_samples_better_and_no_network_moves(relative: bool) -> None:
    projector, target = affine_projector(relative), affine_target()
    encoder, basis = weights_of(projector.encoder), projector.generator.basis.clone()  # type: ignore[attr-defined]
    plain, better = polished(projector, 0), polished(projector, 60)
    assert not moved(projector.encoder, encoder)
    assert all(parameter.grad is None for parameter in projector.encoder.parameters())
    assert torch.equal(projector.generator.basis, basis)  # type: ignore[attr-defined]
    assert not better.images.requires_grad
    rng = seeded(9)
    for batch in range(2):
        drawn = sampler(use_mask=True)(bumpy_scene(), disc(), 3, rng=rng)
        part = slice(3 * batch, 3 * batch + 3)
        expected, _ = projector(drawn.images, target, projector.own_pictures(target))
        torch.testing.assert_close(plain.images[part], expected)
        assert torch.equal(better.masks[part], drawn.masks)
        assert torch.equal(better.pose.rotation[part], drawn.pose.rotation)
        assert mismatch(better.images[part], drawn) < 0.9 * mismatch(plain.images[part], drawn)


def test_codes_are_polished_within_their_batch_alone() -> None:
    """The same batch ends the same whatever was polished before it, and twice the same seed is twice the same."""
    projector = affine_projector(True)
    first, again = polished(projector, 5), polished(projector, 5)
    assert torch.equal(first.images, again.images)
    own, rng = projector.own_pictures(affine_target()), seeded(9)
    polish = Polish(5, Adam(0.05), grey_levels, Objective(offset=0.0))
    for batch in range(2):
        drawn = sampler(use_mask=True)(bumpy_scene(), disc(), 3, rng=rng)
        if batch == 1:
            torch.testing.assert_close(polish(projector, drawn, affine_target(), own), first.images[3:])


def test_the_weight_of_the_offset_holds_polished_codes_back() -> None:
    projector, target = affine_projector(True), affine_target()
    own, drawn = projector.own_pictures(target), sampler(use_mask=True)(bumpy_scene(), disc(), 3, rng=seeded(9))
    ways = []
    for weight in (0.0, 100.0):
        images = Polish(60, Adam(0.05), grey_levels, Objective(offset=weight))(projector, drawn, target, own)
        ways.append(float((images - own).abs().mean()))
    assert ways[1] < 0.5 * ways[0]
