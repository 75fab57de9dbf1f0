"""VGG-16 and LPIPS with random weights: against a functional re-derivation, from files, and with wrong files."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import gan2shape.networks.vgg as vgg
from gan2shape.errors import CheckpointError, InputError
from gan2shape.losses import perceptual_distance
from gan2shape.networks import VGG16, download_vgg_weights, load_vgg

# Index and channels of the published file's convolutions; blocks end after these convolutions.
LAYERS = ((0, 3, 64), (2, 64, 64), (5, 64, 128), (7, 128, 128), (10, 128, 256), (12, 256, 256), (14, 256, 256))
LAYERS += ((17, 256, 512), (19, 512, 512), (21, 512, 512), (24, 512, 512), (26, 512, 512), (28, 512, 512))
BLOCK_ENDS = (2, 7, 14, 21, 28)


def _published(rng: torch.Generator) -> dict[str, Tensor]:
    state = {}
    for index, before, after in LAYERS:
        state[f"features.{index}.weight"] = torch.randn(after, before, 3, 3, generator=rng) * (2 / (9 * before)) ** 0.5
        state[f"features.{index}.bias"] = torch.randn(after, generator=rng) * 0.1
    state["classifier.0.weight"] = torch.zeros(2, 2)  # the published file holds more than the features
    return state


def _heads(rng: torch.Generator) -> dict[str, Tensor]:
    widths = (64, 128, 256, 512, 512)
    return {f"lin{k}.model.1.weight": torch.rand(1, width, 1, 1, generator=rng) for k, width in enumerate(widths)}


def _reference(state: dict[str, Tensor], image: Tensor) -> list[Tensor]:
    shift = torch.tensor([-0.030, -0.088, -0.188])[:, None, None]
    x = (image - shift) / torch.tensor([0.458, 0.448, 0.450])[:, None, None]
    maps = []
    for index, _, _ in LAYERS:
        x = F.relu(F.conv2d(x, state[f"features.{index}.weight"], state[f"features.{index}.bias"], padding=1))
        if index in BLOCK_ENDS:
            maps.append(x)
            x = F.max_pool2d(x, 2)
    return maps


def test_features_and_lpips_equal_their_description(tmp_path: Path, rng: torch.Generator) -> None:
    state, heads = _published(rng), _heads(rng)
    torch.save(state, tmp_path / "vgg.pth")
    torch.save(heads, tmp_path / "lpips.pth")
    model = load_vgg(tmp_path / "vgg.pth", tmp_path / "lpips.pth")
    a, b = torch.rand(2, 2, 3, 32, 32, generator=rng) * 2 - 1
    maps_a, maps_b = _reference(state, a), _reference(state, b)
    assert all(torch.allclose(x, y, atol=1e-4) for x, y in zip(model(a), maps_a, strict=True))
    assert all(torch.equal(x, y) for x, y in zip(model(a, 3), model(a)[:3], strict=True))
    expected = torch.zeros(())
    for index, (fa, fb) in enumerate(zip(maps_a, maps_b, strict=True)):
        unit_a = fa / (fa.square().sum(1, keepdim=True).sqrt() + 1e-10)
        unit_b = fb / (fb.square().sum(1, keepdim=True).sqrt() + 1e-10)
        distance = F.conv2d((unit_a - unit_b) ** 2, heads[f"lin{index}.model.1.weight"])  # (N, 1, h, w)
        expected = expected + distance.mean()
    assert perceptual_distance(model(a), model(b), model.weights).item() == pytest.approx(expected.item(), rel=1e-5)


def test_without_heads_there_are_no_weights_and_nothing_trains(tmp_path: Path, rng: torch.Generator) -> None:
    torch.save(_published(rng), tmp_path / "vgg.pth")
    model = load_vgg(tmp_path / "vgg.pth")
    assert model.weights is None
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_gradient_reaches_the_picture() -> None:
    image = torch.zeros(1, 3, 16, 16, requires_grad=True)
    VGG16()(image)[-1].sum().backward()
    assert image.grad is not None
    assert image.grad.abs().max() > 0


def test_other_weights_are_refused(tmp_path: Path, rng: torch.Generator) -> None:
    state = _published(rng)
    torch.save({"g_ema": {"x": torch.zeros(1)}}, tmp_path / "gan.pt")
    with pytest.raises(CheckpointError, match=r"no tensor 'features\.0\.weight'"):
        load_vgg(tmp_path / "gan.pt")
    torch.save(state | {"features.5.weight": torch.zeros(128, 64, 1, 1)}, tmp_path / "odd.pth")
    with pytest.raises(CheckpointError, match=r"'features\.5\.weight' must have shape"):
        load_vgg(tmp_path / "odd.pth")
    with pytest.raises(CheckpointError):
        load_vgg(tmp_path / "missing.pth")


def test_small_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 16×16"):
        VGG16()(torch.zeros(1, 3, 8, 8))


class _Response(io.BytesIO):
    pass


def test_download_checks_the_digest_and_keeps_nothing_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network is replaced: no test downloads."""
    content = b"weights"
    digest = hashlib.sha256(content).hexdigest()[:8]
    monkeypatch.setattr(vgg, "VGG16_URL", f"https://example.invalid/vgg16-{digest}.pth")
    monkeypatch.setattr(vgg, "urlopen", lambda url, timeout: _Response(b"something else"))
    with pytest.raises(InputError, match="damaged"):
        download_vgg_weights(tmp_path)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(vgg, "urlopen", lambda url, timeout: _Response(content))
    path = download_vgg_weights(tmp_path)
    assert path.read_bytes() == content

    def refuse(url: str, timeout: float) -> _Response:
        raise URLError("no network")

    monkeypatch.setattr(vgg, "urlopen", refuse)
    assert download_vgg_weights(tmp_path) == path  # already there, nothing is fetched
    with pytest.raises(InputError, match="cannot download"):
        download_vgg_weights(tmp_path / "elsewhere")
