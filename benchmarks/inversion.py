"""What inversion reaches on pictures with known truth, and what it costs the shape.

    python benchmarks/inversion.py                              # pictures 0-9, modes w, w+ and tuned
    python benchmarks/inversion.py --pictures 0-99 --modes w    # more of them
    python benchmarks/inversion.py --shape                      # then: the default preset from each, half an hour
    python benchmarks/inversion.py --shape --preset ellipsoid --pictures 0-2   # the paper's steps, hours

Modes: "w" one latent, "w+" one per layer after that, "tuned" w with a generator tuned to the picture. With --shape
every picture is reconstructed from each mode's latent (and generator), and so is the generator's own picture of that
latent in place of the photo ("w, own picture"): there inversion is exact, so the difference is what inversion costs.
All are scored against the truth of the photo. Where a preset starts from turned views, as the default does, the shape
depends on picture and generator alone: no latent is read, and the rows "w" and "w+" are one.

The search is not quite that of `gan2shape invert`, which also starts from an encoder's proposal and ends early where
nothing is gained: here all starts are random latents or their mean, and every step of the search is taken.

Every finished picture is kept in benchmarks/results/inversion.json at once: a run that was stopped goes on, and a run
with other settings (truth, generator, steps, seed; for shapes the preset and its networks) begins its table anew.
Seconds are those of one thread, and processor seconds stand beside them.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gan2shape.evaluate.pictures import psnr, ssim
from gan2shape.evaluate.score import as_row, score_depth
from gan2shape.evaluate.truth import Truth, read_truth
from gan2shape.generators import (
    InvertConfig,
    LoadedGenerator,
    StyleGAN2Generator,
    invert,
    latent_rng,
    load_generator,
    save_generator,
)
from gan2shape.generators.load import load_networks
from gan2shape.generators.tuning import TuningConfig, tune
from gan2shape.generators.typicality import likeness_of
from gan2shape.io.checkpoints import sha256
from gan2shape.networks.one_pass import TurnedStart
from gan2shape.networks.turned import bundled_turned
from gan2shape.priors.masks import auto_mask
from gan2shape.reconstruct.config import ReconstructConfig
from gan2shape.reconstruct.presets import PRESETS
from gan2shape.reconstruct.reconstructor import Reconstructor
from gan2shape.reconstruct.target import Target
from gan2shape.reconstruct.turned import TurnedReconstructor, load_start
from gan2shape.render import render
from kept import Kept, Table
from reconstruct import picture_numbers

MODES = ("w", "w+", "tuned")
OWN = "own picture"
NAME = "inversion"
ROWS_STEPS = 200


def config_of(mode: str, steps: int) -> InvertConfig:
    """The search of a mode: `steps` with one latent, shared out as `gan2shape invert` does."""
    fifth = steps // 5
    rows = ROWS_STEPS if mode == "w+" else 0
    return InvertConfig(survey_steps=fifth, narrow_steps=fifth, final_steps=steps - 2 * fifth, rows_steps=rows)


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """What a mode found for a picture."""

    latent: Tensor
    loaded: LoadedGenerator
    seconds: float
    cpu_seconds: float


def find(picture: Tensor, loaded: LoadedGenerator, mode: str, options: argparse.Namespace) -> Found:
    """Invert a picture (1, 3, R, R) by a mode."""
    wall, cpu = time.perf_counter(), time.process_time()
    rng = latent_rng(options.seed, loaded.w_mean.device)
    latent = invert(loaded, picture, rng=rng, config=config_of(mode, options.steps)).latent
    if mode == "tuned":
        networks = load_networks(options.generator)
        assert isinstance(networks.generator, StyleGAN2Generator)
        generator = networks.generator.to(picture.device)
        tuned = tune(generator, loaded.features, picture, latent, rng=rng, config=TuningConfig())
        with tempfile.TemporaryDirectory() as folder:
            file, critic = Path(folder) / "tuned.safetensors", networks.discriminator
            save_generator(file, tuned.generator.cpu(), critic, w_mean=loaded.w_mean.cpu(), dtype=torch.float32)
            offset_layers = PRESETS[options.preset].projection.offset_layers
            loaded = load_generator(file, device=picture.device, offset_layers=offset_layers)
    return Found(latent, loaded, time.perf_counter() - wall, time.process_time() - cpu)


@torch.no_grad()
def fit(picture: Tensor, found: Found, untouched: LoadedGenerator) -> dict[str, float]:
    """How well a latent shows its picture, how typical it is, and how long it took."""
    image = found.loaded.generator.synthesize(found.latent).clamp(-1, 1)
    a, b = (one.cpu() / 2 + 0.5 for one in (image, picture))
    everywhere = torch.ones_like(a[:, :1], dtype=torch.bool)
    likeness = likeness_of(found.loaded, picture, found.latent)
    typical = likeness_of(untouched, picture, found.latent)
    return {
        "psnr_db": round(float(psnr(a, b, everywhere)), 2),
        "ssim": round(float(ssim(a, b, everywhere)), 4),
        "feature_share": round(likeness.share or 0.0, 4),
        "latent_distance": round(typical.latent_distance or 0.0, 3),
        "seconds": round(found.seconds, 1),
        "cpu_seconds": round(found.cpu_seconds, 1),
    }


def own_picture(found: Found) -> Tensor:
    """The picture (1, 3, R, R) that the generator makes of a latent."""
    with torch.no_grad():
        return found.loaded.generator.synthesize(found.latent).clamp(-1, 1)


@dataclasses.dataclass(frozen=True, eq=False)
class Shapes:
    """What reconstructs, and what it is scored against.

    Attributes:
        config: a preset.
        start: where it begins, if from turned views: of the untouched generator, for tuned ones have its latents.
        truth: of the photos.
        seed: of the reconstruction.
    """

    config: ReconstructConfig
    start: TurnedStart | None
    truth: Truth
    seed: int

    @staticmethod
    def of(options: argparse.Namespace, loaded: LoadedGenerator) -> Shapes:
        """As the command line says."""
        config = PRESETS[options.preset]
        start = load_start(loaded) if config.start == "turned" else None
        return Shapes(config, start, read_truth(options.truth), options.seed)

    def score(self, shown: Tensor, found: Found, index: int) -> dict[str, float]:
        """SIDE and MAD of the reconstruction of a picture (1, 3, R, R) with this latent, and what it took."""
        began = time.process_time()
        reconstructor = (
            Reconstructor(found.loaded, self.config)
            if self.start is None
            else TurnedReconstructor(found.loaded, self.config, self.start)
        )
        image = reconstructor.framing.to_working(shown)
        result = reconstructor(Target(image, found.latent, auto_mask(image)), seed=self.seed)
        view = render(result.scene, result.camera, depth_range=reconstructor.depth_range)
        score = as_row(score_depth(index, view.depth, view.mask, self.truth))
        del score["picture"]
        numbers = {name: round(value, 4) for name, value in score.items()}
        return {**numbers, "cpu_seconds": round(time.process_time() - began, 1)}

    def keep_missing(self, kept: Kept, picture: Tensor, found: Found, index: int, mode: str) -> None:
        """Reconstruct the photo and the generator's own picture, each unless it is done."""
        if not kept.has(index, mode):
            # The same picture, views by the same generator.
            known = self.start is not None and mode == "w+" and kept.has(index, "w")
            photo = kept.table[str(index)]["w"] if known else self.score(picture, found, index)
            kept.add(index, mode, photo)
        if not kept.has(index, own_row(mode)):
            kept.add(index, own_row(mode), self.score(own_picture(found), found, index))


def own_row(mode: str) -> str:
    """Name of the row of the generator's own pictures."""
    return f"{mode}, {OWN}"


def costs(table: Table) -> dict[str, dict[str, float]]:
    """For every mode, by how much the photos' shapes are worse than the own pictures': mean, and how many pictures."""
    found: dict[str, dict[str, float]] = {}
    for mode in MODES:
        pairs = [(rows[mode], rows[own_row(mode)]) for rows in table.values() if mode in rows and own_row(mode) in rows]
        if pairs:
            mean = {name: sum(photo[name] - own[name] for photo, own in pairs) / len(pairs) for name in ("side", "mad")}
            found[mode] = {**{name: round(value, 4) for name, value in mean.items()}, "pictures": len(pairs)}
    return found


def settings_of(options: argparse.Namespace, loaded: LoadedGenerator) -> dict[str, Any]:
    """What the fit depends on: a run goes on only with the same."""
    return {
        "truth": sha256(options.truth),
        "generator": loaded.sha256,
        "features": None if loaded.features is None else loaded.features_from or "discriminator",
        "steps": options.steps,
        "rows_steps": ROWS_STEPS,
        "tuning": dataclasses.asdict(TuningConfig()),
        "seed": options.seed,
    }


def shape_settings(options: argparse.Namespace, loaded: LoadedGenerator) -> dict[str, Any]:
    """What the shapes depend on."""
    config = PRESETS[options.preset]
    networks = sha256(bundled_turned()) if config.start == "turned" else None
    return {**settings_of(options, loaded), "preset": config.to_dict(), "networks": networks}


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--truth", type=Path, default=Path(__file__).parent / "data" / "synface64_val.npz")
    parser.add_argument("--generator", default="bundled")
    parser.add_argument("--pictures", default="0-9")
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--shape", action="store_true")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="default", help="with --shape: what reconstructs")
    parser.add_argument("--result", default=NAME, help="name of the result file")
    return parser.parse_args()


def main() -> None:
    """Invert all pictures by all modes, and with --shape reconstruct from each."""
    options = parsed()
    torch.set_num_threads(options.threads)
    loaded = load_generator(options.generator, offset_layers=PRESETS[options.preset].projection.offset_layers)
    fits = Kept(options.result, settings_of(options, loaded), ("fit",))
    chosen = [mode for mode in MODES if mode in options.modes.split(",")]
    shapes = Shapes.of(options, loaded) if options.shape else None
    shaped = Kept(options.result, shape_settings(options, loaded), ("shape", options.preset))
    with np.load(options.truth, allow_pickle=False) as archive:
        images = archive["image"]
    for index in picture_numbers(options.pictures):
        picture = torch.from_numpy(images[index]).permute(2, 0, 1)[None].float() / 127.5 - 1
        for mode in chosen:
            done = shapes is None or all(shaped.has(index, row) for row in (mode, own_row(mode)))
            if fits.has(index, mode) and done:
                continue
            found = find(picture, loaded, mode, options)
            if not fits.has(index, mode):
                fits.add(index, mode, fit(picture, found, loaded))
            if shapes is not None:
                shapes.keep_missing(shaped, picture, found, index, mode)
    if shapes is not None:
        print("what inversion costs:", costs(shaped.table))


if __name__ == "__main__":
    main()
