"""Checkpoints of the common layout: round trips, what is read from them, and files that are not what they should be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gan2shape.errors import CheckpointError
from gan2shape.generators import load_generator, save_generator
from gan2shape.generators.load import latent_mean
from gan2shape.generators.rosinality import read_discriminator, read_generator
from gan2shape.io.checkpoints import read_tensors
from tests.generators import common_layout as slow

CHANNELS = {4: 6, 8: 5, 16: 4}
KNOWN_VALUES = (0.2411, 0.0478, 0.1734, 0.1814)


def _content(*, with_buffers: bool = True, layers: int = 3) -> dict[str, dict[str, torch.Tensor]]:
    return {
        "g_ema": slow.generator_state(CHANNELS, z_dim=7, w_dim=5, layers=layers, with_buffers=with_buffers),
        "d": slow.discriminator_state(CHANNELS, with_buffers=with_buffers),
    }


@pytest.mark.parametrize("with_buffers", [True, False])
def test_sizes_are_read_from_the_tensors(with_buffers: bool, tmp_path: Path) -> None:
    torch.save(_content(with_buffers=with_buffers), tmp_path / "a.pt")
    loaded = load_generator(tmp_path / "a.pt")
    expected = {
        "kind": "StyleGAN2",
        "resolution": 16,
        "channels": CHANNELS,
        "discriminator_channels": CHANNELS,
        "z_dim": 7,
        "w_dim": 5,
        "num_ws": 6,
        "mapping_layers": 3,
    }
    assert {key: loaded.about[key] for key in expected} == expected
    assert loaded.name == "a.pt"
    assert len(loaded.about["missing"]) == (1 if with_buffers else 2)


def test_pictures_and_features_equal_the_slow_networks(tmp_path: Path, rng: torch.Generator) -> None:
    content = _content()
    torch.save(content, tmp_path / "a.pt")
    loaded = load_generator(tmp_path / "a.pt", compute_dtype=torch.float32)
    w = torch.randn(2, 6, 5, generator=rng)
    noises = [content["g_ema"][f"noises.noise_{index}"] for index in range(5)]
    images = loaded.generator.synthesize(w)
    expected = slow.slow_synthesis(content["g_ema"], w, noises)
    torch.testing.assert_close(images.double(), expected, rtol=1e-4, atol=1e-4)
    assert loaded.features is not None
    for ours, theirs in zip(loaded.features(images), slow.slow_features(content["d"], expected), strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_saved_generator_loads_again(dtype: torch.dtype, tmp_path: Path, rng: torch.Generator) -> None:
    content = _content()
    generator, discriminator = read_generator(content["g_ema"]), read_discriminator(content["d"])
    path = tmp_path / "a.safetensors"
    save_generator(path, generator, discriminator, metadata={"licence": "MIT", "sizes": [4, 8]}, dtype=dtype)
    loaded = load_generator(path, compute_dtype=torch.float32)
    w = torch.randn(2, 5, generator=rng)
    expected = generator.synthesize(w)
    tolerance = 1e-5 if dtype == torch.float32 else 5e-3
    assert (loaded.generator.synthesize(w) - expected).abs().max() < tolerance * expected.abs().max()
    torch.testing.assert_close(loaded.w_mean, latent_mean(generator).detach())
    assert loaded.about["metadata"] == {"licence": "MIT", "sizes": "[4, 8]"}
    assert loaded.about["missing"] == []


def test_weights_too_large_for_half_precision_are_refused(tmp_path: Path) -> None:
    generator = read_generator(_content()["g_ema"])
    with torch.no_grad():
        generator.input.input.fill_(1e6)
    with pytest.raises(CheckpointError, match=r"input\.input does not fit"):
        save_generator(tmp_path / "a.safetensors", generator)
    assert list(tmp_path.iterdir()) == []


def test_stored_mean_is_used(tmp_path: Path) -> None:
    mean = torch.arange(5.0)
    torch.save({**_content(), "latent_avg": mean[None]}, tmp_path / "a.pt")
    loaded = load_generator(tmp_path / "a.pt")
    assert torch.equal(loaded.w_mean, mean)
    assert loaded.about["missing"] == []


def test_mean_equals_that_of_many_samples(tmp_path: Path) -> None:
    torch.save(_content(), tmp_path / "a.pt")
    loaded = load_generator(tmp_path / "a.pt")
    samples = loaded.sample_latents(20000, rng=torch.Generator().manual_seed(9))
    error = (samples.mean(0) - loaded.w_mean).abs() / samples.std(0)
    assert error.max() < 5 * (1 / 4096 + 1 / 20000) ** 0.5


def test_training_settings_beside_the_weights_do_no_harm(tmp_path: Path) -> None:
    import argparse

    torch.save({**_content(), "args": argparse.Namespace(size=16), "iter": 3}, tmp_path / "a.pt")
    if hasattr(torch.serialization, "safe_globals"):
        assert load_generator(tmp_path / "a.pt").generator.resolution == 16


def test_bundled_generator_makes_the_pictures_that_it_made() -> None:
    """What the bundled weights (phase 5, iteration 12,000) gave in float32 at the mean of their latents on 2026-11-28:
    corner, centre, mean and deviation."""
    loaded = load_generator(compute_dtype=torch.float32)
    image = loaded.generator.synthesize(loaded.w_mean[None])[0]
    expected = torch.tensor(KNOWN_VALUES)
    values = torch.stack([image[0, 0, 0], image[1, 32, 32], image.mean(), image.std()])
    torch.testing.assert_close(values, expected, rtol=0.0, atol=3e-3)
    assert loaded.about["metadata"]["licence"] == "MIT"
    assert "ICT FaceKit" in loaded.about["metadata"]["credit"]


def test_bfloat16_costs_about_a_hundredth_of_the_range(rng: torch.Generator) -> None:
    exact, quick = (load_generator(compute_dtype=dtype) for dtype in (torch.float32, torch.bfloat16))
    w = exact.sample_latents(4, rng=rng)
    difference = (exact.generator.synthesize(w) - quick.generator.synthesize(w)).abs()
    assert difference.mean() < 0.005
    assert difference.max() < 0.1


@pytest.mark.parametrize("layers, expected", [(None, 5), (1, 5), (2, 7), (3, 7), (8, 7)])
def test_offset_layers_are_chosen_and_cut(layers: int | None, expected: int, tmp_path: Path) -> None:
    """z has 7 numbers, w 5, and three layers: F1 = 2 begins at layer 1, F1 = 3 at PixelNorm."""
    torch.save(_content(layers=4 if layers is None else 3), tmp_path / "a.pt")
    assert load_generator(tmp_path / "a.pt", offset_layers=layers).offset.code_dim == expected


def _without(name: str) -> Callable[[dict], None]:
    return lambda content: content["g_ema"].pop(name)


def _replaced(part: str, name: str, tensor: torch.Tensor) -> Callable[[dict], None]:
    return lambda content: content[part].__setitem__(name, tensor)


@pytest.mark.parametrize(
    "damage, message",
    [
        (_without("conv1.conv.weight"), "missing conv1.conv.weight"),
        (_without("style.1.weight"), "no StyleGAN2 generator"),
        (_without("input.input"), "lacks the tensor input.input"),
        (_replaced("g_ema", "odd", torch.zeros(2)), "unknown odd"),
        (_replaced("g_ema", "conv1.conv.weight", torch.zeros(1, 6, 6, 5, 5)), r"must be \(1, 6, 6, 3, 3\); got"),
        (_replaced("g_ema", "convs.0.conv.weight", torch.zeros(5, 6, 3, 3)), "must have 5 dimensions"),
        (_replaced("g_ema", "input.input", torch.zeros(1, 0, 4, 4)), "none empty"),
        (_replaced("g_ema", "to_rgb1.bias", torch.full((1, 3, 1, 1), torch.nan)), "to_rgb1.bias holds NaN"),
        (_replaced("g_ema", "conv1.noise.weight", torch.zeros(1, dtype=torch.int32)), "floating-point"),
        (_replaced("g_ema", "noises.noise_1", torch.zeros(1, 1, 4, 4)), r"noises.noise_1 must be \(1, 1, 8, 8\)"),
        (_replaced("g_ema", "convs.0.conv.blur.kernel", torch.ones(4, 4)), r"not the filter \[1, 3, 3, 1\]"),
        (_replaced("d", "convs.1.conv2.0.kernel", torch.ones(2, 2)), r"not the filter \[1, 3, 3, 1\]"),
        (_replaced("d", "final_linear.1.weight", torch.zeros(2, 6)), r"must be \(1, 6\); got \(2, 6\)"),
        (lambda content: content.pop("g_ema"), "expected 'g_ema'; found d"),
        (lambda content: content.__setitem__("d", {"x": torch.zeros(1)}), "no StyleGAN2 discriminator"),
        (lambda content: content.__setitem__("latent_avg", torch.zeros(4)), "mean latent must be 5 finite numbers"),
    ],
)
def test_wrong_checkpoints_are_told_in_one_line(damage: Callable, message: str, tmp_path: Path) -> None:
    content = _content()
    damage(content)
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=message) as caught:
        load_generator(tmp_path / "a.pt")
    assert "\n" not in str(caught.value)
    assert "a.pt" in str(caught.value)


def test_sources_that_do_not_exist_are_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="expected 'bundled' or a"):
        load_generator("bundeld")
    for name in ("n" * 300 + ".pt", "~no-such-user/a.pt"):
        with pytest.raises(CheckpointError, match="no generator at"):
            load_generator(name)
    with pytest.raises(CheckpointError):
        load_generator(tmp_path)


def test_flat_names_with_slashes_are_what_the_bundle_holds() -> None:
    from gan2shape.generators.load import BUNDLED_FILE

    path = Path(__file__).parents[2] / "src" / "gan2shape" / "assets" / BUNDLED_FILE
    tensors = read_tensors(path)
    assert {name.split("/")[0] for name in tensors} == {"g_ema", "d", "w_mean"}
    assert tensors["g_ema/conv1.conv.weight"].dtype == torch.float16


def test_sampling_needs_a_positive_count() -> None:
    with pytest.raises(ValueError, match="count must be positive"):
        load_generator().sample_latents(0, rng=torch.Generator())
