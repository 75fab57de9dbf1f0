"""Networks are found under every naming, wherever they lie in a file, and draw the same pictures."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from gan2shape.errors import CheckpointError
from gan2shape.generators import load_generator
from gan2shape.generators.checkpoint import COMMON, NVIDIA, PICKLE, SETTINGS, open_checkpoint
from gan2shape.generators.origin import HEADER
from tests.generators import common_layout, test_nvidia, test_nvidia_discriminator, test_stylegan3
from tests.generators.test_nvidia import State
from tests.generators.test_nvidia_load import stored

NORMAL = test_nvidia.normals(5)


def prefixed(prefix: str, state: State) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


@pytest.mark.parametrize(
    ("own", "scoring", "nested"),
    [
        ("", None, False),
        ("", "D.", False),
        ("G_ema.", "D.", False),
        ("G_ema", "D", True),
        ("generator.module.", "d/", False),
    ],
)
def test_nvidia_names_with_any_prefix(own: str, scoring: str | None, nested: bool, tmp_path: Path) -> None:
    generator, discriminator = test_nvidia.generator_tensors(), test_nvidia_discriminator.discriminator_tensors()
    content: dict[str, object] = {own: generator} if nested else dict(prefixed(own, generator))
    if scoring is not None:
        content |= {scoring: discriminator} if nested else prefixed(scoring, discriminator)
    torch.save(content, tmp_path / "a.pt")
    checkpoint = open_checkpoint(tmp_path / "a.pt")
    assert (checkpoint.layout, checkpoint.classes) == (NVIDIA, 0)
    networks = checkpoint.networks()
    assert networks.has_noise
    ws = NORMAL(2, 6, test_nvidia.W).double()
    expected = test_nvidia.slow_picture(generator, ws)
    torch.testing.assert_close(networks.generator.double().synthesize(ws), expected, rtol=1e-5, atol=1e-5)
    assert networks.w_mean is not None
    torch.testing.assert_close(networks.w_mean, generator["mapping.w_avg"])
    assert (networks.discriminator is None) == (scoring is None)
    if networks.discriminator is not None:
        images = NORMAL(2, 3, 16, 16).double()
        slow = test_nvidia_discriminator.slow_score(discriminator, images)
        torch.testing.assert_close(networks.discriminator.double()(images), slow, rtol=1e-5, atol=1e-5)


def test_the_average_is_taken_where_both_generators_are_there(tmp_path: Path) -> None:
    average, other = test_nvidia.generator_tensors(), test_nvidia.generator_tensors(noise=False)
    save_file(prefixed("G.", other) | prefixed("G_ema.", average), tmp_path / "a.safetensors")
    assert open_checkpoint(tmp_path / "a.safetensors").networks().has_noise


def test_a_conditional_state_dict(tmp_path: Path) -> None:
    state = test_nvidia.generator_tensors(classes=3)
    torch.save({"G_ema": state}, tmp_path / "a.pt")
    checkpoint = open_checkpoint(tmp_path / "a.pt")
    assert checkpoint.classes == 3
    z = NORMAL(3, test_nvidia.Z).double()
    slow = test_nvidia.mapped({name: t.double() for name, t in state.items()}, z, test_nvidia.one_hot(2, 3))
    torch.testing.assert_close(checkpoint.networks(2).generator.double().map(z), slow, rtol=1e-5, atol=1e-5)
    for index, message in ((None, "from 0 to 2 .--class.; none was chosen"), (3, "got 3"), (-1, "got -1")):
        with pytest.raises(CheckpointError, match=message) as caught:
            checkpoint.networks(index)
        assert "\n" not in str(caught.value)


def test_stylegan3_under_a_prefix_with_its_discriminator(tmp_path: Path) -> None:
    state = test_stylegan3.random_state(1, True)
    content = {"G_ema": state, "D": test_nvidia_discriminator.discriminator_tensors("skip")}
    torch.save(content, tmp_path / "a.pt")
    loaded = load_generator(tmp_path / "a.pt")
    assert loaded.about["kind"] == "StyleGAN3-R"
    assert loaded.about["missing"] == []
    assert loaded.features is not None
    assert [tuple(one.shape) for one in loaded.features(torch.zeros(1, 3, 64, 64))] == [(1, 5, 32, 32), (1, 6, 16, 16)]


def test_the_kind_of_a_file_is_not_in_its_name(tmp_path: Path) -> None:
    state = common_layout.generator_state({4: 4, 8: 3}, z_dim=4, w_dim=4, layers=2)
    torch.save({"g_ema": state}, tmp_path / "torch.pkl")
    assert open_checkpoint(tmp_path / "torch.pkl").layout == COMMON
    tree = {"G_ema": test_nvidia.record(test_nvidia.generator_tensors())}
    assert open_checkpoint(stored(tmp_path, tree)).layout == PICKLE


def test_a_pickle_of_tensorflow_says_how_to_convert_it(tmp_path: Path) -> None:
    file = tmp_path / "stylegan2-ffhq-config-f.pkl"
    file.write_bytes(b"\x80\x02(cdnnlib.tflib.network\nNetwork\n)\x81}bcdnnlib.tflib.network\nNetwork\n)\x81}bNt.")
    with pytest.raises(CheckpointError, match=r"TensorFlow.*legacy\.py --source=") as caught:
        load_generator(file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "header", ["[]", "{", '{"settings": 3}', '{"settings": {"a": "x"}}', '{"settings": {"a": Infinity}}']
)
def test_a_damaged_header_is_told(header: str, tmp_path: Path) -> None:
    save_file(test_nvidia.generator_tensors(), tmp_path / "a.safetensors", metadata={HEADER: header})
    with pytest.raises(CheckpointError, match="header's entry 'generator' is damaged"):
        open_checkpoint(tmp_path / "a.safetensors")


def test_settings_of_the_header_are_followed(tmp_path: Path) -> None:
    header = json.dumps({SETTINGS: {"synthesis.output_scale": 0.5, "synthesis.L0_36_6.conv_clamp": None}})
    save_file(test_stylegan3.random_state(), tmp_path / "a.safetensors", metadata={HEADER: header})
    config = open_checkpoint(tmp_path / "a.safetensors").networks().generator.config
    assert (config.output_scale, config.clamp) == (0.5, None)  # type: ignore[union-attr]


@pytest.mark.parametrize("mean", [torch.zeros(4), torch.full((8,), math.nan)])
def test_a_mean_that_does_not_fit(mean: torch.Tensor, tmp_path: Path) -> None:
    torch.save(test_nvidia.generator_tensors() | {"w_mean": mean}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="mean latent must be 8 finite numbers"):
        open_checkpoint(tmp_path / "a.pt").networks()
