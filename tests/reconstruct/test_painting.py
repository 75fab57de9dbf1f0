"""Which painter a result gets, and what the one with an encoder of crude renderings paints."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gan2shape.errors import CheckpointError, InputError
from gan2shape.generators import LoadedGenerator
from gan2shape.reconstruct.painting import gan_projection
from gan2shape.reconstruct.progress import load_weights
from gan2shape.reconstruct.reconstructor import Reconstructor, reconstructor_for
from gan2shape.reconstruct.target import Target
from gan2shape.reconstruct.turned import TurnedPainter, coloured_as
from gan2shape.result import ReconstructionResult
from tests.reconstruct.bundled import QUICK, bundled, own_target
from tests.reconstruct.small import SIZE, TINY, small_generator, small_target


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedGenerator:
    return small_generator(tmp_path_factory.mktemp("generator"))


@pytest.fixture(scope="module")
def stepwise(loaded: LoadedGenerator) -> ReconstructionResult:
    return Reconstructor(loaded, TINY)(small_target(loaded))


def test_the_result_s_encoder_reads_what_crude_pictures_show(
    stepwise: ReconstructionResult, loaded: LoadedGenerator
) -> None:
    """Seven pictures more than go at once; each on its own, by a trained encoder that is put together here."""
    crude = torch.rand(17, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    shown = (stepwise.scene.pose, stepwise.scene.lighting)
    painted = gan_projection(stepwise, loaded, TINY)(crude, *shown)
    _, encoder = Reconstructor(loaded, TINY).new_networks(0)
    load_weights({"encoder": encoder}, stepwise.networks)
    assert stepwise.latent is not None
    with torch.no_grad():
        own = loaded.generator.synthesize(stepwise.latent).clamp(-1, 1)
        codes = encoder(crude) - encoder(own)
        one_by_one = [loaded.generator.synthesize(stepwise.latent + loaded.offset(code[None])) for code in codes]
    torch.testing.assert_close(painted, torch.cat(one_by_one).clamp(-1, 1), atol=2e-4, rtol=0)
    assert painted.std(dim=0).mean() > 1e-4, "it does depend on the crude pictures"


def test_a_result_from_turned_views_moves_its_latent() -> None:
    target = own_target()
    result = reconstructor_for(bundled(), QUICK)(target)
    paint = gan_projection(result, bundled(), QUICK)
    assert isinstance(paint, TurnedPainter)
    shown = (result.scene.pose, result.scene.lighting)
    first, plain = paint(target.image, *shown), paint(torch.zeros_like(target.image), *shown)
    # It is told poses and lights; of the crude picture it takes the mean colours alone, of a grey one nothing.
    torch.testing.assert_close(first, coloured_as(plain, target.image), atol=1e-5, rtol=0)
    dark = (target.image / 2 + 0.5) * 0.8 * 2 - 1
    assert paint(dark, *shown).mean() < first.mean()
    with pytest.raises(CheckpointError, match="got those of another GAN"):
        gan_projection(result, replace(bundled(), sha256="f" * 64), QUICK)


def test_a_result_without_a_latent_has_no_painter(stepwise: ReconstructionResult, loaded: LoadedGenerator) -> None:
    for config in (TINY, QUICK):
        with pytest.raises(InputError, match="made by unsup3d, which has no GAN to paint views with"):
            gan_projection(replace(stepwise, latent=None, method="unsup3d"), loaded, config)


def test_weights_of_other_settings_are_refused(stepwise: ReconstructionResult, loaded: LoadedGenerator) -> None:
    wider = replace(TINY, networks=replace(TINY.networks, offset_base_width=8))
    with pytest.raises(InputError, match="weights of the encoder network do not fit this configuration"):
        gan_projection(stepwise, loaded, wider)


def test_a_result_that_was_written_and_loaded_paints_the_same(
    stepwise: ReconstructionResult, loaded: LoadedGenerator, tmp_path: Path
) -> None:
    stepwise.save(tmp_path)
    again = ReconstructionResult.load(tmp_path)
    target = Target(stepwise.image, torch.zeros(1, 6), stepwise.mask)
    first, second = (
        gan_projection(result, loaded, TINY)(target.image, result.scene.pose, result.scene.lighting)
        for result in (stepwise, again)
    )
    assert torch.equal(first, second)
