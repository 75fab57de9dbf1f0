"""Training of the probe: pose, light and looks regressed from pictures with their truth.

Half of the pictures are blurred and all get a little noise, so that the probe reads what is seen and not how sharp it
is: a generator's pictures are softer than rendered ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan2shape.errors import InputError
from gan2shape.networks.probe import COLOUR_SIDE, NUMBERS, PROBE, SHAPE_SIDE, Probe
from gan2shape.networks.trained import NetworkSizes
from gan2shape.train.pictures import Pictures
from gan2shape.train.settings import AdamTask, TrainSettings, low_precision

BASE_WIDTH, FEATURES = 24, 64
"""Channels after the first convolution, and features, at width 1: 0.5 MB of weights in half precision."""
TRUTH = ("image", "view", "light", "ambient", "diffuse", "depth", "mask")
"""What the pictures must come with."""
_HELD_OUT_AT_ONCE = 250
_MEASURED, _MEASURED_AT_ONCE = 1024, 256
"""Pictures whose truth gives the mean and the spread of every target."""
_LEAST_SPREAD = 0.05
"""A corner of the picture that always shows background must not be blown up to one."""
_DEPTH_SCALE = 10.0
"""From scene units to numbers of the order of one: a head is some 0.1 deep."""
_NOISE = 0.03
_NUMBERS_WEIGHT = 3.0
"""Of the error of pose and light beside that of the looks, which are easier."""


class ProbeTask(AdamTask):
    """One training of the probe, a `Task`.

    Args:
        pictures: with all of `TRUTH`.
        settings: of the training.
        device: where it computes.
        held_out: other pictures with truth, scored at every snapshot; None scores nothing.
        held_out_count: how many of them.

    Raises:
        InputError: pictures without truth.
        ValueError: if a size cannot be.
    """

    kind = PROBE

    def __init__(
        self,
        pictures: Pictures,
        settings: TrainSettings,
        *,
        device: torch.device,
        held_out: Pictures | None = None,
        held_out_count: int = 1000,
    ) -> None:
        self.held_out, self.held_out_count = held_out, held_out_count
        for source in (pictures, held_out):
            if source is not None:
                check_truth(source)
        width = max(1, round(BASE_WIDTH * settings.width_multiplier))
        super().__init__(pictures, settings, NetworkSizes(pictures.size, 1, width, FEATURES), device=device)
        self._measure()

    def new_networks(self) -> nn.ModuleDict:
        """The probe."""
        network = Probe(self.sizes)
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight, a=0.2)
        return nn.ModuleDict({PROBE: network})

    @torch.no_grad()
    def _measure(self) -> None:
        """Set the mean and the spread of every target from the first pictures."""
        parts = [targets(self.pictures(start, _MEASURED_AT_ONCE)) for start in range(0, _MEASURED, _MEASURED_AT_ONCE)]
        values = torch.cat(parts)
        self.network.mean.copy_(values.mean(0))
        self.network.spread.copy_(values.std(0).clamp(min=_LEAST_SPREAD))

    @property
    def network(self) -> Probe:
        """The network that is trained."""
        return cast(Probe, self.networks[PROBE])

    def step(self, index: int) -> dict[str, float]:
        """Iteration ``index``: one batch, one update."""
        batch = self.batch(index)
        image = sample_soft(batch["image"].to(self.device), rng=self.rng(index, "soften"))
        terms = self.losses(image, targets(batch).to(self.device))
        return self.update(terms, index)

    def losses(self, image: Tensor, wanted: Tensor) -> dict[str, Tensor]:
        """Mean squared error, in units of the spread, of numbers and looks (B, 8 + 176); ``total`` is 3 times the first
        plus the second."""
        with low_precision(self.device, self.settings.bfloat16):
            guess = self.network(image)
        error = guess.float() - (wanted - self.network.mean) / self.network.spread
        numbers, looks = (
            part.square().mean() for part in error.split((len(NUMBERS), error.shape[1] - len(NUMBERS)), 1)
        )
        return {"total": _NUMBERS_WEIGHT * numbers + looks, "numbers": numbers, "looks": looks}

    def snapshot(self, folder: Path, index: int) -> dict[str, float]:
        """Write the weights; returns the root mean squared errors on the held-out pictures, if there are any.

        Raises:
            OutputError: the folder cannot be written.
        """
        scores = {} if self.held_out is None else self._errors(self.held_out)
        self.save(self.network, folder, index, scores)
        return scores

    @torch.no_grad()
    def _errors(self, pictures: Pictures) -> dict[str, float]:
        self.networks.eval()
        squared = torch.zeros(len(NUMBERS), dtype=torch.float64)
        for start in range(0, self.held_out_count, _HELD_OUT_AT_ONCE):
            batch = pictures(start, min(_HELD_OUT_AT_ONCE, self.held_out_count - start))
            read = self.network.read(batch["image"].to(self.device))[1].cpu()
            squared += (read - targets(batch)[:, : len(NUMBERS)].cpu()).double().square().sum(0)
        self.networks.train()
        return dict(zip(NUMBERS, (squared / self.held_out_count).sqrt().tolist(), strict=True))


def check_truth(pictures: Pictures) -> None:
    """Refuse pictures that do not come with all of `TRUTH`.

    Raises:
        InputError: naming what is missing.
    """
    known = pictures(0, 1)
    missing = [name for name in TRUTH if name not in known]
    if missing:
        raise InputError(f"{pictures.description}: expected pictures with {', '.join(TRUTH)}; {missing[0]} is missing")


def targets(batch: Mapping[str, Tensor]) -> Tensor:
    """What the probe is to read of pictures with `TRUTH`: (B, 8 + 176), in the order of `NUMBERS`, then the looks.

    The looks are maps of 8×8 (share of the object; depth nearer than 1, times 10, where it is) and of 4×4 (its colours
    in [0, 1]), each the mean over a cell with background counting as 0.
    """
    mask, image = (batch["mask"] > 0).float(), batch["image"]
    height = torch.where(mask > 0, _DEPTH_SCALE * (1 - batch["depth"]), 0.0)
    colours = (image + 1) / 2 * mask
    shape = F.adaptive_avg_pool2d(torch.cat([mask, height], 1), SHAPE_SIDE)
    looks = (shape.flatten(1), F.adaptive_avg_pool2d(colours, COLOUR_SIDE).flatten(1))
    return torch.cat([batch["view"], batch["light"], batch["ambient"], batch["diffuse"], *looks], 1)


def sample_soft(image: Tensor, *, rng: torch.Generator) -> Tensor:
    """Pictures (B, 3, S, S), each blurred over 3×3 pixels with probability one half, with noise of 0.03 added."""
    soft = F.avg_pool2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), 3, 1)
    chosen = torch.rand(len(image), 1, 1, 1, generator=rng, device=rng.device) < 0.5
    return torch.where(chosen, soft, image) + _NOISE * torch.randn(image.shape, generator=rng, device=rng.device)
