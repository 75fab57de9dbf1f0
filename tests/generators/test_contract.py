"""One suite for every generator: what the reconstruction relies on, whatever the GAN."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gan2shape.generators import FeatureExtractor, Generator, LatentOffset, LoadedGenerator, load_generator
from tests.generators import common_layout as slow
from tests.generators import test_nvidia, test_nvidia_discriminator, test_stylegan3
from tests.generators.test_nvidia_load import stored


def _common(folder: Path) -> LoadedGenerator:
    channels = {4: 8, 8: 6, 16: 4}
    path = folder / "small.pt"
    g_ema = slow.generator_state(channels, z_dim=6, w_dim=5, layers=3)
    torch.save({"g_ema": g_ema, "d": slow.discriminator_state(channels)}, path)
    return load_generator(path, compute_dtype=torch.float32)


def _bare(folder: Path) -> LoadedGenerator:
    path = folder / "bare.pth"
    torch.save(slow.generator_state({4: 4, 8: 3}, z_dim=4, w_dim=4, layers=2, with_buffers=False), path)
    return load_generator(path, compute_dtype=torch.float32)


def _nvidia(folder: Path) -> LoadedGenerator:
    generator = test_nvidia.record(test_nvidia.generator_tensors("resnet", classes=3))
    discriminator = test_nvidia.record(test_nvidia_discriminator.discriminator_tensors("skip", classes=3))
    path = stored(folder, {"G_ema": generator, "D": discriminator})
    return load_generator(path, compute_dtype=torch.float32, class_index=1)


def _alias_free(folder: Path) -> LoadedGenerator:
    torch.save(test_stylegan3.random_state(1, True), folder / "free.pt")
    return load_generator(folder / "free.pt")


SOURCES: dict[str, Callable[[Path], LoadedGenerator]] = {
    "bundled": lambda _: load_generator(compute_dtype=torch.float32),
    "bundled bfloat16": lambda _: load_generator(compute_dtype=torch.bfloat16),
    "common layout": _common,
    "bare state dict": _bare,
    "NVIDIA, conditional": _nvidia,
    "StyleGAN3": _alias_free,
    "callable": lambda _: load_generator("tests.generators.own_gan:build"),
}


@pytest.fixture(params=SOURCES)
def loaded(request: pytest.FixtureRequest, tmp_path: Path) -> LoadedGenerator:
    return SOURCES[request.param](tmp_path)


def test_protocols_are_met(loaded: LoadedGenerator) -> None:
    assert isinstance(loaded.generator, Generator)
    assert isinstance(loaded.offset, LatentOffset)
    assert loaded.features is None or isinstance(loaded.features, FeatureExtractor)
    assert loaded.w_mean.shape == (loaded.generator.latent_dim,)
    assert len(loaded.sha256) == (0 if loaded.about["kind"] == "callable" else 64)


def test_pictures_have_the_promised_shape_and_are_finite(loaded: LoadedGenerator, rng: torch.Generator) -> None:
    w = loaded.sample_latents(3, rng=rng)
    images = loaded.generator.synthesize(w)
    side = loaded.generator.resolution
    assert w.shape == (3, loaded.generator.latent_dim)
    assert images.shape == (3, 3, side, side)
    assert bool(torch.isfinite(images).all())
    assert images.std() > 1e-3


def test_rows_per_layer_are_accepted(loaded: LoadedGenerator, rng: torch.Generator) -> None:
    if "num_ws" not in loaded.about:
        pytest.skip("a callable takes one latent for all")
    w = loaded.sample_latents(2, rng=rng)
    rows = w[:, None].repeat(1, loaded.about["num_ws"], 1)
    torch.testing.assert_close(loaded.generator.synthesize(rows), loaded.generator.synthesize(w))


def test_same_seed_and_same_latent_give_the_same_result(loaded: LoadedGenerator) -> None:
    first, second = (loaded.sample_latents(2, rng=torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(loaded.generator.synthesize(first), loaded.generator.synthesize(second))


def test_truncation_moves_latents_to_the_mean(loaded: LoadedGenerator) -> None:
    full, half, none = (
        loaded.sample_latents(4, rng=torch.Generator().manual_seed(1), truncation=psi) for psi in (1.0, 0.5, 0.0)
    )
    torch.testing.assert_close(half - loaded.w_mean, 0.5 * (full - loaded.w_mean))
    assert torch.equal(none, loaded.w_mean.expand(4, -1))


def test_gradient_reaches_the_latent_and_nothing_else(loaded: LoadedGenerator, rng: torch.Generator) -> None:
    w = loaded.sample_latents(2, rng=rng).requires_grad_()
    code = torch.zeros(2, loaded.offset.code_dim).requires_grad_()
    images = loaded.generator.synthesize(w + loaded.offset(code))
    loss = images.square().mean()
    if loaded.features is not None:
        loss = loss + sum(feature.square().mean() for feature in loaded.features(images))
    loss.backward()
    assert w.grad is not None
    assert code.grad is not None
    assert w.grad.abs().max() > 0
    assert code.grad.abs().max() > 0
    for module in (loaded.generator, loaded.offset, loaded.features):
        parameters = module.parameters() if isinstance(module, torch.nn.Module) else []
        assert not [parameter for parameter in parameters if parameter.requires_grad]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_follows_the_latent(loaded: LoadedGenerator, dtype: torch.dtype, rng: torch.Generator) -> None:
    assert loaded.generator.synthesize(loaded.sample_latents(1, rng=rng).to(dtype)).dtype == dtype


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_cuda_gives_the_same_picture(rng: torch.Generator) -> None:
    on_cpu = load_generator(compute_dtype=torch.float32)
    on_gpu = load_generator(device="cuda", compute_dtype=torch.float32)
    w = on_cpu.sample_latents(2, rng=rng)
    images = on_gpu.generator.synthesize(w.to("cuda"))
    assert images.device.type == "cuda"
    torch.testing.assert_close(images.cpu(), on_cpu.generator.synthesize(w), atol=2e-2, rtol=0.0)
