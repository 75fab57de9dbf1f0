"""Training of a StyleGAN2 (Karras et al., CVPR 2020) as a task of `gan2shape.train.run`.

An iteration draws one batch of latents; its pictures serve the discriminator's step (detached) and then, scored again
by the updated discriminator, the generator's. Regularisations are lazy: R1 has a step of its own every 16th iteration,
on a part of the batch, and path length every 4th if it is on.

With a warm start the first iterations train an autoencoder (`gan2shape.train.autoencode`) whose decoder the generator
is; a little of its loss can be kept beside the adversarial one, against forgetting what pictures there are.

Everything random at an iteration comes from (seed, iteration, process), pictures are asked for by number, and rates
depend on the iteration alone: a resumed training goes on exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gan2shape.distributed import average, average_gradients, world
from gan2shape.errors import InputError
from gan2shape.generators.load import fast_dtype, save_generator
from gan2shape.generators.loaded import latent_rng, normals
from gan2shape.generators.stylegan2 import StyleGAN2Generator
from gan2shape.io.images import write_image
from gan2shape.train.augment import sample_mirror, sample_shift
from gan2shape.train.autoencode import DIVERGENCE_WEIGHTS, PICTURE_WEIGHT, Encoder, autoencoder_loss, new_encoder
from gan2shape.train.pictures import Pictures
from gan2shape.train.run import iteration_rng
from gan2shape.train.stylegan2_config import Networks, StyleGAN2Settings
from gan2shape.train.stylegan2_forward import score, synthesize
from gan2shape.train.stylegan2_losses import (
    average_decay,
    critic_loss,
    generator_loss,
    path_lengths,
    path_penalty,
    r1_penalty,
    update_average,
)

GRID_SIDE = 8
_GRID_CHUNK = 16
_BETA2 = 0.99
_MOMENTS = (0.9, 0.99)
"""Of the autoencoder's Adam, which has no opponent to oscillate with."""
_KEPT_SHARE = 0.25
"""Part of a batch that is reconstructed beside the adversarial training."""


class StyleGAN2Task:
    """Adversarial training of a generator and a discriminator.

    Args:
        networks: where to start; they are moved to ``device`` and trained in place.
        pictures: what to learn from.
        settings: how to train.
        seed: of everything random.
        device: where to compute.
        dtype: arithmetic of convolutions; None means bfloat16 on CPUs that have it and on GPUs, else float32.
        start: JSON-able words about where the networks come from; part of the configuration.

    Raises:
        InputError: the pictures have another size than the generator.
        ValueError: the batch does not divide among the processes into multiples of 4.
    """

    kind = "stylegan2"

    def __init__(
        self,
        networks: Networks,
        pictures: Pictures,
        settings: StyleGAN2Settings,
        *,
        seed: int = 0,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
        start: str = "random weights",
    ) -> None:
        self.rank, self.processes = world()
        if pictures.size != networks.generator.resolution:
            raise InputError(
                f"{pictures.description}: expected pictures of {networks.generator.resolution} px, "
                f"the generator's size; got {pictures.size} px"
            )
        if settings.batch % (4 * self.processes):
            raise ValueError(f"batch must be a multiple of 4 per process ({self.processes}); got {settings.batch}")
        self.device = torch.device("cpu") if device is None else device
        self.dtype = training_dtype(self.device) if dtype is None else dtype
        self.pictures, self.settings, self.seed = pictures, settings, seed
        self.batch = settings.batch // self.processes
        self.generator = networks.generator.to(self.device)
        self.average = networks.average.to(self.device).eval().requires_grad_(False)
        self.discriminator = networks.discriminator.to(self.device)
        self.noisy = settings.noise or any(bool(strength.any()) for strength in _noise_strengths(self.generator))
        for strength in _noise_strengths(self.generator):
            strength.requires_grad_(settings.noise)
        self.path_mean = torch.zeros((), device=self.device)
        path_every = settings.path_every if settings.path_weight > 0 else 0
        self.generator_optimizer = lazy_adam(self.generator, path_every)
        self.discriminator_optimizer = lazy_adam(self.discriminator, settings.r1_every if settings.r1_gamma > 0 else 0)
        self.encoder: Encoder | None = None
        self.warm_optimizers: dict[str, torch.optim.Optimizer] = {}
        if settings.warm_start or settings.reconstruction:
            self.encoder = new_encoder(self.generator, seed).to(self.device)
            trained = {"encoder": self.encoder, "decoder": self.generator}
            self.warm_optimizers = {name: _adam(network, _MOMENTS) for name, network in trained.items()}
        self.config: dict[str, Any] = {
            **asdict(settings),
            "seed": seed,
            "size": pictures.size,
            "channels": {str(side): count for side, count in networks.generator.config.channels.items()},
            "data": pictures.description,
            "start": start,
            "dtype": str(self.dtype).removeprefix("torch."),
            "processes": self.processes,
        }

    def step(self, index: int) -> dict[str, float]:
        """One iteration of both networks; returns losses and mean scores."""
        settings = self.settings
        rng = iteration_rng(self.seed, index, self.device, f"process {self.rank}")
        real = self._real(index, rng)
        if index < settings.first:
            numbers = self._warm_step(index, real, rng)
        else:
            numbers = self._adversarial_step(index - settings.first, real, rng)
        learned = index + 1 if index < settings.first else index + 1 - settings.critic_first
        half_life, done = 1000 * settings.average_kimg, max(learned, 0) * settings.batch
        update_average(
            self.average, self.generator, average_decay(settings.batch, half_life, done, settings.average_ramp)
        )
        return numbers

    def modules(self) -> dict[str, nn.Module]:
        """Both networks, the generator's average, and the encoder if there is one."""
        networks = {"generator": self.generator, "average": self.average, "discriminator": self.discriminator}
        return networks if self.encoder is None else {**networks, "encoder": self.encoder}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam of each network; the generator has one as a decoder and one as an adversary."""
        adversaries = {"generator": self.generator_optimizer, "discriminator": self.discriminator_optimizer}
        return {**adversaries, **self.warm_optimizers}

    def extra_state(self) -> dict[str, Tensor]:
        """The running mean of path lengths."""
        return {"path_mean": self.path_mean}

    def load_extra_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `extra_state` gave."""
        self.path_mean = tensors["path_mean"].to(self.device)

    def snapshot(self, folder: Path, index: int) -> dict[str, float]:
        """Write ``samples_NNNNNNN.png`` and ``weights_NNNNNNN.safetensors``, both of the average, after ``index``.

        The latents of the grid are the same every time. Returns nothing to validate by.
        """
        write_image(folder / f"samples_{index:07d}.png", self.samples(GRID_SIDE))
        metadata = {
            "kind": "StyleGAN2",
            "resolution": self.generator.resolution,
            "channels": {str(side): count for side, count in self.generator.config.channels.items()},
            "iterations": index,
            "pictures": index * self.settings.batch,
            "training": self.config,
        }
        weights = folder / f"weights_{index:07d}.safetensors"
        save_generator(weights, self.average, self.discriminator, metadata=metadata, dtype=torch.float32)
        return {}

    @torch.no_grad()
    def samples(self, side: int) -> Tensor:
        """A grid (3, side R, side R) of pictures of fixed latents, untruncated, of the averaged generator."""
        z = normals(side * side, self.generator.config.z_dim, latent_rng(self.seed)).to(self.device)
        frozen = self.average.frozen(self.dtype)
        images = torch.cat([frozen.synthesize(frozen.map(part)) for part in z.split(_GRID_CHUNK)]).clamp(-1, 1)
        size = images.shape[-1]
        return images.view(side, side, 3, size, size).permute(2, 0, 3, 1, 4).reshape(3, side * size, side * size)

    def _real(self, index: int, rng: torch.Generator) -> Tensor:
        images = self.pictures(index * self.settings.batch + self.rank * self.batch, self.batch)["image"]
        images = images.to(self.device)
        if self.settings.mirror:
            images = sample_mirror(images, rng=rng)
        return sample_shift(images, self.settings.shift, rng=rng)

    def _fake(self, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Pictures (count, 3, R, R) of random latents, and the latents (count, num_ws, w_dim)."""
        rows = sample_rows(self.generator, count, self.settings.mixing, rng=rng)
        noise = self._noise(count, rng) if self.noisy else None
        return synthesize(self.generator, rows, dtype=self.dtype, noise=noise), rows

    def _noise(self, count: int, rng: torch.Generator) -> Sequence[Tensor]:
        if not self.settings.noise:
            return self.generator.fixed_noise()
        sides = self.generator.config.noise_sides
        return [torch.randn(count, 1, side, side, generator=rng, device=self.device) for side in sides]

    def _warm_step(self, index: int, real: Tensor, rng: torch.Generator) -> dict[str, float]:
        assert self.encoder is not None
        weight = DIVERGENCE_WEIGHTS[0 if 2 * index < self.settings.first else 1]
        for optimizer in self.warm_optimizers.values():
            self._set_rate(optimizer, index)
        loss, *parts = autoencoder_loss(self.encoder, self.generator, real, weight, dtype=self.dtype, rng=rng)
        self._descend(loss, *self.warm_optimizers.values())
        return dict(zip(("distance", "divergence"), torch.stack(parts).tolist(), strict=True))

    def _adversarial_step(self, index: int, real: Tensor, rng: torch.Generator) -> dict[str, float]:
        """Adversarial iteration ``index``, counted from its beginning."""
        settings = self.settings
        learning = index >= settings.critic_first
        self._set_rate(self.discriminator_optimizer, index)
        # The generator's rate rises from where the generator begins to learn.
        self._set_rate(self.generator_optimizer, index - settings.critic_first)
        with torch.set_grad_enabled(learning):
            fake = self._fake(self.batch, rng)[0]
        numbers = self._critic_step(real, fake.detach())
        if settings.r1_gamma > 0 and index % settings.r1_every == 0:
            numbers["r1"] = self._r1_step(real)
        if learning:
            numbers.update(self._generator_step(fake, real, rng))
            if settings.path_weight > 0 and index % settings.path_every == 0:
                numbers["path"] = self._path_step(rng)
        return numbers

    def _critic_step(self, real: Tensor, fake: Tensor) -> dict[str, float]:
        self.discriminator.requires_grad_(True)
        real_score, fake_score = self._score(real), self._score(fake)
        loss = critic_loss(real_score, fake_score)
        self._descend(loss, self.discriminator_optimizer)
        means = torch.stack([loss.detach(), real_score.detach().mean(), fake_score.detach().mean()]).tolist()
        return dict(zip(("critic", "real", "fake"), means, strict=True))

    def _r1_step(self, real: Tensor) -> float:
        settings = self.settings
        count = max(4, int(settings.r1_share * self.batch) // 4 * 4)
        penalty = r1_penalty(self._score, real[:count])
        self._descend(0.5 * settings.r1_gamma * settings.r1_every * penalty, self.discriminator_optimizer)
        return penalty.item()

    def _generator_step(self, fake: Tensor, real: Tensor, rng: torch.Generator) -> dict[str, float]:
        self.discriminator.requires_grad_(False)
        loss = generator_loss(self._score(fake))
        numbers = {"generator": loss.detach()}
        optimizers: list[torch.optim.Optimizer] = [self.generator_optimizer]
        if self.encoder is not None and self.settings.reconstruction > 0:
            self._set_rate(self.warm_optimizers["encoder"], 0)
            kept = real[: max(1, int(_KEPT_SHARE * self.batch))]
            weight = DIVERGENCE_WEIGHTS[1]
            total, distance, _ = autoencoder_loss(self.encoder, self.generator, kept, weight, dtype=self.dtype, rng=rng)
            loss = loss + self.settings.reconstruction / PICTURE_WEIGHT * total
            numbers["distance"] = distance.detach()
            optimizers.append(self.warm_optimizers["encoder"])
        self._descend(loss, *optimizers)
        self.discriminator.requires_grad_(True)
        return {name: value.item() for name, value in numbers.items()}

    def _path_step(self, rng: torch.Generator) -> float:
        settings = self.settings
        images, rows = self._fake(max(1, self.batch // 2), rng)
        noise = torch.randn(images.shape, generator=rng, device=self.device)
        penalty, mean = path_penalty(path_lengths(images, rows, noise), self.path_mean)
        self._descend(settings.path_weight * settings.path_every * penalty, self.generator_optimizer)
        # One mean for all processes: a checkpoint keeps the first one's, and every process goes on from it.
        self.path_mean = average(mean)
        return penalty.item()

    def _score(self, images: Tensor) -> Tensor:
        return score(self.discriminator, images, dtype=self.dtype)

    def _descend(self, loss: Tensor, *optimizers: torch.optim.Optimizer) -> None:
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for optimizer in optimizers:
            average_gradients(parameter for group in optimizer.param_groups for parameter in group["params"])
            optimizer.step()

    def _set_rate(self, optimizer: torch.optim.Optimizer, index: int) -> None:
        """The learning rate of the optimiser's iteration ``index``, 0 before."""
        settings = self.settings
        rise = min(1.0, max(0, index + 1) / settings.warm_up) if settings.warm_up else 1.0
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * group["lazy_factor"] * rise


def training_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where it is faster: on GPUs, and on CPUs with instructions for it; else float32."""
    return torch.bfloat16 if device.type == "cuda" else fast_dtype(device)


def sample_rows(generator: StyleGAN2Generator, count: int, mixing: float, *, rng: torch.Generator) -> Tensor:
    """Latents (count, num_ws, w_dim) of random normals; with probability ``mixing`` two, changing at a random row."""
    config = generator.config
    z = torch.randn(2 * count, config.z_dim, generator=rng, device=rng.device)
    mixed = torch.rand(count, generator=rng, device=rng.device) < mixing
    change = torch.randint(1, config.num_ws, (count,), generator=rng, device=rng.device)
    change = torch.where(mixed, change, config.num_ws)
    first, second = generator.map(z).chunk(2)
    rows = torch.arange(config.num_ws, device=rng.device)[None, :, None]
    return torch.where(rows < change[:, None, None], first[:, None], second[:, None])


def lazy_adam(network: nn.Module, every: int) -> torch.optim.Adam:
    """Adam with the corrections for a regularisation step every so many iterations (Karras et al., appendix B).

    One more step per ``every`` iterations: rate and moments take the power ``every / (every + 1)``; 0 = no such step.
    The rate is set from outside, times the group's ``lazy_factor``.
    """
    factor = every / (every + 1) if every else 1.0
    return _adam(network, (0.0, _BETA2**factor), factor)


def _adam(network: nn.Module, moments: tuple[float, float], factor: float = 1.0) -> torch.optim.Adam:
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [{"params": parameters, "lazy_factor": factor}]
    return torch.optim.Adam(groups, lr=0.0, betas=moments, eps=1e-8, fused=True)


def _noise_strengths(generator: StyleGAN2Generator) -> list[nn.Parameter]:
    return [parameter for name, parameter in generator.named_parameters() if name.endswith("noise.weight")]
