"""Training of a latent encoder: the latents of a generator's own pictures, which are known exactly.

The pictures are changed as photographs and crude renderings differ from a generator's pictures: in brightness and
contrast, under a further light from the side, cut off at the left or right, and with noise. Their latents stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from gan2shape.generators import LoadedGenerator, latent_rng
from gan2shape.networks.latents import LATENT_ENCODER, LatentEncoder
from gan2shape.networks.trained import NetworkSizes
from gan2shape.train.gallery import write_gallery
from gan2shape.train.run import iteration_rng
from gan2shape.train.settings import AdamTask, TrainSettings, low_precision

BASE_WIDTH = 32
"""Channels after the first convolution, at width 1."""
_CHUNK = 32
_SPREAD_SAMPLES, _SPREAD_SEED = 4096, 0
_HELD_OUT, _SHOWN = 256, 8
_CONTRAST, _BRIGHTNESS, _SIDE_LIGHT, _NOISE = 0.3, 0.1, 0.2, 0.03
_WIDEST_CUT = 14 / 64


class GeneratedPictures:
    """A generator's own pictures by number, ``image`` (B, 3, R, R) signed and ``latent`` (B, latent_dim).

    A `Pictures`. Blocks of ``block`` pictures are made at once and shown ``passes`` times in shuffled orders, since a
    picture costs more to make than to learn from.

    Args:
        loaded: a generator with a prior to draw from.
        seed: which pictures.
        block: pictures that are kept.
        passes: how often each is shown.
    """

    def __init__(self, loaded: LoadedGenerator, *, seed: int, block: int = 2048, passes: int = 4) -> None:
        self.loaded, self.seed, self.block, self.passes = loaded, seed, block, passes
        self.size = loaded.generator.resolution
        self.description = f"pictures of {loaded.name} with their latents, seed {seed}"
        self._made = -1
        self._images = self._latents = loaded.w_mean[:0]

    def __call__(self, start: int, count: int) -> Mapping[str, Tensor]:
        """Pictures number ``start`` … ``start + count - 1``."""
        images, latents = [], []
        for shown in range(start // self.block, (start + count - 1) // self.block + 1):
            first, last = max(start, shown * self.block), min(start + count, (shown + 1) * self.block)
            chosen = self._order(shown)[first - shown * self.block : last - shown * self.block]
            images.append(self._images[chosen])
            latents.append(self._latents[chosen])
        return {"image": torch.cat(images).float() / 127.5 - 1, "latent": torch.cat(latents)}

    def _order(self, shown: int) -> Tensor:
        """The order in which a block is shown the ``shown``-th time; the block is made if it is another one."""
        if shown // self.passes != self._made:
            self._make(shown // self.passes)
        return torch.randperm(self.block, generator=iteration_rng(self.seed, shown, torch.device("cpu"), "order"))

    @torch.no_grad()
    def _make(self, number: int) -> None:
        rng = iteration_rng(self.seed, number, self.loaded.w_mean.device, "latents")
        latents = self.loaded.sample_latents(self.block, rng=rng)
        pictures = (self.loaded.generator.synthesize(chunk).clamp(-1, 1) for chunk in latents.split(_CHUNK))
        self._images = torch.cat([((picture + 1) * 127.5).round().byte() for picture in pictures])
        self._latents, self._made = latents, number


class LatentEncoderTask(AdamTask):
    """One training of a latent encoder, a `Task`.

    Args:
        loaded: the generator, with a prior to draw from.
        settings: of the training.
        image_size: side of the pictures that the encoder looks at, in pixels.
        device: where it computes.
    """

    kind = LATENT_ENCODER

    def __init__(
        self, loaded: LoadedGenerator, settings: TrainSettings, *, image_size: int, device: torch.device
    ) -> None:
        self.loaded = loaded
        pictures = GeneratedPictures(loaded, seed=settings.seed)
        width = max(1, round(BASE_WIDTH * settings.width_multiplier))
        sizes = NetworkSizes(image_size, 1, width, loaded.generator.latent_dim)
        super().__init__(pictures, settings, sizes, device=device, generator=loaded.identity)
        self._measure()

    def new_networks(self) -> nn.ModuleDict:
        """The encoder."""
        return nn.ModuleDict({"encoder": LatentEncoder(self.sizes)})

    @torch.no_grad()
    def _measure(self) -> None:
        """Set mean and spread of the latents."""
        rng = latent_rng(_SPREAD_SEED, self.loaded.w_mean.device)
        latents = self.loaded.sample_latents(_SPREAD_SAMPLES, rng=rng)
        self.network.mean.copy_(latents.mean(0))
        self.network.spread.copy_((latents - latents.mean(0)).square().mean().sqrt())

    @property
    def network(self) -> LatentEncoder:
        """The network that is trained."""
        return cast(LatentEncoder, self.networks["encoder"])

    def step(self, index: int) -> dict[str, float]:
        """Iteration ``index``: one batch of changed pictures, one update; ``error`` is that of `snapshot`, on these."""
        batch = self.batch(index)
        image = self.network.shrunk(batch["image"].to(self.device))
        image = sample_changed(image, rng=self.rng(index, "change"))
        with low_precision(self.device, self.settings.bfloat16):
            guess = self.network.network(image)
        error = self._error(guess.float(), batch["latent"].to(self.device))
        return {"error": self.update({"total": error}, index)["total"]}

    def _error(self, guess: Tensor, latents: Tensor) -> Tensor:
        """Mean squared error of guesses (B, latent_dim) as a share of the latents' variance: 1 knows nothing."""
        return (guess - (latents - self.network.mean) / self.network.spread).square().mean()

    @torch.no_grad()
    def snapshot(self, folder: Path, index: int) -> dict[str, float]:
        """Write the weights and a sheet (the generator's pictures, and those of the proposed latents).

        Returns:
            ``error`` on pictures that are never learned from, unchanged ones.

        Raises:
            OutputError: the folder cannot be written.
        """
        rng = iteration_rng(self.settings.seed, 0, self.loaded.w_mean.device, "held out")
        latents = self.loaded.sample_latents(_HELD_OUT, rng=rng)
        synthesize = self.loaded.generator.synthesize
        images = torch.cat([synthesize(chunk).clamp(-1, 1) for chunk in latents.split(_CHUNK)])
        guesses = torch.cat([self.network(chunk) for chunk in images.to(self.device).split(_CHUNK)])
        error = self._error((guesses - self.network.mean) / self.network.spread, latents.to(self.device))
        shown = synthesize(guesses[:_SHOWN].to(latents)).clamp(-1, 1)
        write_gallery(folder / f"{index:07d}.png", [self.network.shrunk(part) for part in (images[:_SHOWN], shown)])
        scores = {"error": float(error)}
        self.save(self.network, folder, index, scores)
        return scores


def sample_changed(image: Tensor, *, rng: torch.Generator) -> Tensor:
    """Pictures (B, 3, S, S), signed, changed at random in everything that the module's first lines name."""
    size, device = image.shape[-1], image.device

    def draw(scale: float) -> Tensor:
        return scale * torch.randn(len(image), 1, 1, 1, generator=rng, device=device)

    line = torch.linspace(-1, 1, size, device=device)
    gain = 1 + draw(_CONTRAST) + draw(_SIDE_LIGHT) * line + draw(_SIDE_LIGHT) * line[:, None]
    image = ((image / 2 + 0.5) * gain + draw(_BRIGHTNESS)).clamp(0, 1) * 2 - 1
    cut = torch.rand(len(image), 1, 1, 1, generator=rng, device=device) * _WIDEST_CUT * size
    side = torch.randint(0, 4, (len(image), 1, 1, 1), generator=rng, device=device)  # Half of them stay whole.
    column = torch.arange(size, device=device)
    hidden = ((side == 0) & (column < cut)) | ((side == 1) & (column >= size - cut))
    image = torch.where(hidden, torch.zeros_like(image), image)
    return image + _NOISE * torch.randn(image.shape, generator=rng, device=device)
