"""VGG-16 features and LPIPS heads: thirteen convolutions of our own that read the published weights from files.

Weights: torchvision's `vgg16` state dict (names `features.N.weight`) and, optionally, the LPIPS 0.1 heads
(`lin{k}.model.1.weight`). Nothing is downloaded unless `download_vgg_weights` is called.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import torch
from torch import Tensor, nn

from gan2shape.errors import CheckpointError, InputError
from gan2shape.io.checkpoints import read_tensors, sha256
from gan2shape.io.files import atomic_write

# (layers of 3×3 convolutions, channels) of the five blocks; a 2×2 max pool stands between two blocks.
BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))

# LPIPS normalises [-1, 1] pictures by these, which is ImageNet's mean and deviation turned to that range.
LPIPS_SHIFT = (-0.030, -0.088, -0.188)
LPIPS_SCALE = (0.458, 0.448, 0.450)

VGG16_URL = "https://download.pytorch.org/models/vgg16-397923af.pth"


class VGG16(nn.Module):
    """VGG-16's five feature maps after relu 1_2, 2_2, 3_3, 4_3 and 5_3: a `FeatureExtractor`.

    Parameters bear the published names, are frozen, and are PyTorch's random defaults until weights are loaded.

    Args:
        with_heads: whether to hold LPIPS heads, one weight per channel of each map (ones until loaded).
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, *, with_heads: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        taps: list[int] = []
        channels = 3
        for depth, width in BLOCKS:
            for _ in range(depth):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
            taps.append(len(layers))
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers[:-1])
        self._taps = tuple(taps)
        self.heads = nn.ParameterList([nn.Parameter(torch.ones(width)) for _, width in BLOCKS] if with_heads else [])
        self.register_buffer("shift", torch.tensor(LPIPS_SHIFT).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(LPIPS_SCALE).reshape(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)

    @property
    def weights(self) -> list[Tensor] | None:
        """What `perceptual_distance` takes as `weights`: the LPIPS heads, or None where there are none."""
        return list(self.heads) or None

    def forward(self, image: Tensor, count: int = len(BLOCKS)) -> list[Tensor]:
        """Signed pictures (B, 3, H, W), at least 16×16, → five maps of 64 to 512 channels, each half the size before.

        With a smaller `count` only the first maps, and no layer behind them is computed.

        Raises:
            ValueError: if the pictures are no such batch.
        """
        if image.ndim != 4 or image.shape[1] != 3 or min(image.shape[2:]) < 16:
            raise ValueError(f"image must be (B, 3, H, W) with at least 16×16 px; got {tuple(image.shape)}")
        maps = []
        features = (image - self.shift) / self.scale
        for index, layer in enumerate(list(self.features)[: self._taps[count - 1]], start=1):
            features = layer(features)
            if index in self._taps:
                maps.append(features)
        return maps


def load_vgg(vgg_file: str | Path, lpips_file: str | Path | None = None) -> VGG16:
    """VGG-16 with published weights.

    Args:
        vgg_file: torchvision's `vgg16` weights, .pth or .safetensors.
        lpips_file: the LPIPS 0.1 heads for VGG, .pth or .safetensors; None leaves the features unweighted.

    Raises:
        CheckpointError: if a file cannot be read or holds other weights.
    """
    model = VGG16(with_heads=lpips_file is not None)
    _copy(dict(model.features.named_parameters(prefix="features")), read_tensors(vgg_file), vgg_file)
    if lpips_file is not None:
        heads = {f"lin{index}.model.1.weight": head for index, head in enumerate(model.heads)}
        _copy(heads, read_tensors(lpips_file), lpips_file)
    return model


def download_vgg_weights(folder: str | Path) -> Path:
    """Fetch PyTorch's public VGG-16 weights (528 MB) into `folder`, unless they are there already.

    The file's name holds the first digits of its SHA-256, which are checked.

    Returns:
        The path, for `load_vgg`.

    Raises:
        InputError: if the download fails or is not the expected file.
        OutputError: if the folder cannot be written.
    """
    path = Path(folder) / VGG16_URL.rsplit("/", 1)[1]
    expected = path.stem.rsplit("-", 1)[1]
    if path.exists() and sha256(path).startswith(expected):
        return path
    with atomic_write(path) as temporary:
        try:
            with urlopen(VGG16_URL, timeout=60) as response, open(temporary, "wb") as file:
                while chunk := response.read(1 << 20):
                    file.write(chunk)
        except (URLError, TimeoutError, ConnectionError) as error:
            raise InputError(f"cannot download {VGG16_URL}: {error}; fetch it yourself and name the file") from error
        if not sha256(temporary).startswith(expected):
            raise InputError(f"the download of {VGG16_URL} is damaged: its SHA-256 does not begin with {expected}")
    return path


def _copy(parameters: Mapping[str, Tensor], tensors: Mapping[str, Tensor], file: str | Path) -> None:
    for name, parameter in parameters.items():
        if name not in tensors:
            raise CheckpointError(f"{file}: no tensor {name!r}; these are not the weights that were expected")
        # LPIPS keeps its heads as 1×1 convolutions (1, C, 1, 1).
        if tensors[name].numel() != parameter.numel() or tensors[name].squeeze().shape != parameter.squeeze().shape:
            raise CheckpointError(
                f"{file}: {name!r} must have shape {tuple(parameter.shape)}; got {tuple(tensors[name].shape)}"
            )
        with torch.no_grad():
            parameter.copy_(tensors[name].reshape(parameter.shape))
