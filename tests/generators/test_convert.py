"""A converted file draws the pictures of its source and says where it came from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gan2shape.errors import CheckpointError, OutputError
from gan2shape.generators import load_generator
from gan2shape.generators.convert import convert
from gan2shape.io.checkpoints import read_metadata, read_tensors, write_tensors
from tests.generators import common_layout, test_nvidia, test_nvidia_discriminator, test_stylegan3
from tests.generators.test_nvidia_load import stored

CHANNELS = {4: 6, 8: 5, 16: 4}


def common(folder: Path) -> Path:
    state = common_layout.generator_state(CHANNELS, z_dim=7, w_dim=5, layers=3)
    torch.save({"g_ema": state, "d": common_layout.discriminator_state(CHANNELS)}, folder / "a.pt")
    return folder / "a.pt"


def conditional(folder: Path) -> Path:
    state = test_nvidia.generator_tensors("resnet", classes=3)
    scoring = test_nvidia_discriminator.discriminator_tensors("skip", classes=3)
    return stored(folder, {"G_ema": test_nvidia.record(state), "D": test_nvidia.record(scoring)})


def alias_free(folder: Path) -> Path:
    settings = {"synthesis__margin_size": 10, "synthesis__output_scale": 0.5, "synthesis__L0_36_6__conv_clamp": None}
    state = test_stylegan3.random_state(1, True)
    return stored(folder, {"G_ema": test_nvidia.record(state, **settings)})


def safetensors(folder: Path) -> Path:
    state = common_layout.generator_state(CHANNELS, z_dim=7, w_dim=5, layers=3)
    write_tensors(folder / "b.safetensors", {f"g_ema/{name}": t for name, t in state.items()}, {"licence": "MIT"})
    return folder / "b.safetensors"


SOURCES: dict[str, tuple[Callable[[Path], Path], int | None]] = {
    "common": (common, None),
    "conditional pickle": (conditional, 2),
    "StyleGAN3": (alias_free, None),
    "safetensors": (safetensors, None),
}


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("kind", SOURCES)
def test_pictures_features_and_origin(kind: str, half: bool, tmp_path: Path) -> None:
    make, index = SOURCES[kind]
    source, target = make(tmp_path), tmp_path / "out" / "converted.safetensors"
    record = convert(source, target, class_index=index, half=half)
    before = load_generator(source, class_index=index, compute_dtype=torch.float32)
    after = load_generator(target, compute_dtype=torch.float32)
    w = before.sample_latents(2, rng=torch.Generator().manual_seed(1))
    if half:
        assert (after.sample_latents(2, rng=torch.Generator().manual_seed(1)) - w).abs().max() < 0.02 * w.std()
    else:
        assert torch.equal(after.sample_latents(2, rng=torch.Generator().manual_seed(1)), w)
    expected, found = before.generator.synthesize(w), after.generator.synthesize(w)
    assert (found - expected).abs().max() <= (0.01 if half else 0.0) * expected.abs().max()
    if before.features is not None:
        assert after.features is not None
        for ours, theirs in zip(after.features(expected), before.features(expected), strict=True):
            assert (ours - theirs).abs().max() <= (0.01 if half else 0.0) * theirs.abs().max()
    assert json.loads(read_metadata(target)["generator"]) | record == json.loads(read_metadata(target)["generator"])
    assert record["source"] == source.name
    assert record["source_sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert record.get("class") == index
    assert record["precision"] == ("float16" if half else "float32")
    assert after.class_index == index
    assert after.identity == before.identity != after.sha256
    if kind == "safetensors":
        assert read_metadata(target)["licence"] == "MIT"


def test_every_conversion_goes_back_to_the_first_file(tmp_path: Path) -> None:
    source, first, second = conditional(tmp_path), tmp_path / "1.safetensors", tmp_path / "2.safetensors"
    convert(source, first, class_index=2)
    for chosen in (None, 2):
        record = convert(first, second, class_index=chosen, half=True)
        assert record["source_sha256"] == hashlib.sha256(first.read_bytes()).hexdigest()
        loaded = load_generator(second, class_index=chosen)
        assert loaded.identity == load_generator(source, class_index=2).identity
        assert loaded.identity != load_generator(source, class_index=1).identity
    assert loaded.about["class"] == 2
    with pytest.raises(CheckpointError, match=r"holds class 2 alone; leave out the class 1 \(--class\)"):
        load_generator(second, class_index=1)


def test_a_converted_file_converts_again_to_the_same_tensors(tmp_path: Path) -> None:
    first, second = tmp_path / "1.safetensors", tmp_path / "2.safetensors"
    convert(alias_free(tmp_path), first)
    convert(first, second)
    before, after = read_tensors(first), read_tensors(second)
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_what_cannot_be_converted_leaves_everything_as_it_was(tmp_path: Path) -> None:
    source = safetensors(tmp_path)
    before = source.read_bytes()
    (tmp_path / "link.safetensors").symlink_to(source)
    for target, message in (
        (source, "file to convert itself"),
        (tmp_path / "link.safetensors", "file to convert itself"),
    ):
        with pytest.raises(OutputError, match=message):
            convert(source, target)
    with pytest.raises(OutputError, match=r"must end in \.safetensors; got out\.pt"):
        convert(source, tmp_path / "out.pt")
    with pytest.raises(OutputError, match="too long"):
        convert(source, tmp_path / ("n" * 300 + ".safetensors"))
    with pytest.raises(CheckpointError, match="long"):
        convert("n" * 300, tmp_path / "out.safetensors")
    with pytest.raises(CheckpointError, match="only files can be converted"):
        convert("module:function", tmp_path / "out.safetensors")
    with pytest.raises(CheckpointError, match="choose a class from 0 to 2"):
        convert(conditional(tmp_path), tmp_path / "out.safetensors")
    assert source.read_bytes() == before
    assert not (tmp_path / "out.safetensors").exists()


def test_weights_too_large_for_half_precision_are_named(tmp_path: Path) -> None:
    file = common(tmp_path)
    content = torch.load(file, weights_only=True)
    content["g_ema"]["input.input"] *= 1e6
    torch.save(content, file)
    with pytest.raises(CheckpointError, match=r"input\.input does not fit"):
        convert(file, tmp_path / "out.safetensors", half=True)
    assert not (tmp_path / "out.safetensors").exists()


def test_seeded_noise_is_said_to_be_seeded(tmp_path: Path) -> None:
    state = common_layout.generator_state(CHANNELS, z_dim=7, w_dim=5, layers=3, with_buffers=False)
    torch.save(state, tmp_path / "bare.pth")
    assert "seeded" in convert(tmp_path / "bare.pth", tmp_path / "a.safetensors")["noise"]
