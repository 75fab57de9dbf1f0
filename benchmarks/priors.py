"""Generic priors of pose and light against those that the generator itself shows.

    python benchmarks/priors.py --truth benchmarks/data/synface64_val.npz                  # pictures 0-2, 20 minutes
    python benchmarks/priors.py --truth benchmarks/data/synface64_val.npz --pictures 0-9   # goes on, an hour in all

With the preset "ellipsoid", which is for any generator: how much worse does a reconstruction become that draws its
pseudo samples from the generic priors? Rows: "generic" (`PosePrior()`, `LightingPrior()`), "preset" (the same poses,
and the lights that the original program has for synthetic faces) and "estimated": the bundled generator's own, as
`gan2shape train distill` reads them in its pictures (``--priors bundled``). The preset's factor on the drawn yaw stays
in all three. Latent, mask and seed are the same for all. The degrees of the estimate's yaw come from the generic
prior's (`TURN_DEG`), and its lights have strengths that add up to one.

Every finished reconstruction is kept in benchmarks/results/priors.json at once: a run that was stopped goes on, and a
run with other settings (truth, generator, networks, preset, priors, seed) begins anew. Seconds are processor time.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gan2shape.evaluate.score import as_row, score_depth
from gan2shape.evaluate.truth import Truth, read_truth
from gan2shape.generators import LoadedGenerator, load_generator
from gan2shape.io.checkpoints import sha256
from gan2shape.networks.turned import bundled_turned
from gan2shape.priors import LightingPrior, PosePrior
from gan2shape.priors.masks import auto_mask
from gan2shape.reconstruct.config import ReconstructConfig
from gan2shape.reconstruct.pipeline import find_latent
from gan2shape.reconstruct.presets import PRESETS
from gan2shape.reconstruct.pretrain import load_priors, with_priors
from gan2shape.reconstruct.reconstructor import Reconstructor
from gan2shape.reconstruct.target import Target
from gan2shape.render import render
from kept import Kept, Numbers
from reconstruct import picture_numbers

PRESET = "ellipsoid"
ROWS = ("generic", "preset", "estimated")
NAME = "priors"
_POSE = ("pitch", "yaw", "roll", "x", "y", "z")


@dataclass(frozen=True)
class Priors:
    """What poses and lights are drawn from."""

    pose: PosePrior
    lighting: LightingPrior

    def applied_to(self, config: ReconstructConfig) -> ReconstructConfig:
        """A configuration with these priors; its factor on the drawn yaw stays."""
        return with_priors(config, self.pose, self.lighting)


def described(priors: Priors, config: ReconstructConfig) -> list[str]:
    """Priors for people: degrees, and ranges of the light."""
    degrees, pose, light = config.geometry.rotation_deg, priors.pose, priors.lighting
    turns = ", ".join(
        f"{name} {mean * degrees:.1f} ± {std * degrees:.1f}"
        for name, mean, std in list(zip(_POSE, pose.mean, pose.std, strict=True))[:3]
    )
    return [
        f"pose in degrees, mean ± standard deviation: {turns} (drawn yaw x{config.pose.yaw_scale:g})",
        f"light x {light.x_min:.2f} to {light.x_max:.2f}, y {light.y_min:.2f} to {light.y_max:.2f}, strength "
        f"{light.strength_min:.2f} to {light.strength_max:.2f}, ambient per strength {light.ambient_per_strength:.2f}, "
        f"mean ambient {light.mean_ambient:.2f}, diffuse {light.mean_diffuse:.2f}",
    ]


@dataclass(frozen=True, eq=False)
class Setting:
    """What is the same for all rows."""

    truth: Truth
    loaded: LoadedGenerator
    config: ReconstructConfig
    seed: int

    def scores(self, index: int, rows: Mapping[str, Priors], kept: Kept) -> None:
        """Reconstruct a picture with each of these priors that is not done."""
        missing = [row for row in rows if not kept.has(index, row)]
        if not missing:
            return
        assert self.truth.image is not None, "the truth file has no pictures"
        picture = self.truth.image[index : index + 1]
        latent, _ = find_latent(picture, self.loaded, self.config.inversion, seed=self.seed)
        for row in missing:
            reconstructor = Reconstructor(self.loaded, rows[row].applied_to(self.config))
            image = reconstructor.framing.to_working(picture)
            kept.add(index, row, self._score(reconstructor, Target(image, latent, auto_mask(image)), index))

    def _score(self, reconstructor: Reconstructor, target: Target, index: int) -> Numbers:
        began = time.process_time()
        result = reconstructor(target, seed=self.seed)
        view = render(result.scene, result.camera, depth_range=reconstructor.depth_range)
        numbers = as_row(score_depth(index, view.depth, view.mask, self.truth))
        del numbers["picture"]
        rounded = {name: round(value, 4) for name, value in numbers.items()}
        more = {"cpu_seconds": round(time.process_time() - began, 1), "warnings": float(len(result.warnings))}
        return {**rounded, **more}


def settings_of(options: argparse.Namespace, setting: Setting, rows: Mapping[str, Priors]) -> dict[str, Any]:
    """What the numbers depend on, the priors themselves among it."""
    return {
        "truth": sha256(options.truth),
        "generator": setting.loaded.sha256,
        "networks": sha256(bundled_turned()),
        "preset": setting.config.to_dict(),
        "priors": {row: dataclasses.asdict(priors) for row, priors in rows.items()},
        "seed": options.seed,
    }


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("--pictures", default="0-2")
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--result", default=NAME, help="name of the result file")
    return parser.parse_args()


def main() -> None:
    """Estimate, print, reconstruct and keep."""
    options = parsed()
    torch.set_num_threads(options.threads)
    config = PRESETS[PRESET]
    loaded = load_generator(offset_layers=config.projection.offset_layers)
    setting = Setting(read_truth(options.truth), loaded, config, options.seed)
    rows = {
        "generic": Priors(PosePrior(), LightingPrior()),
        "preset": Priors(config.pose, config.lighting),
        "estimated": Priors(*load_priors(bundled_turned(), loaded)),
    }
    for row, priors in rows.items():
        print(row, *described(priors, config), sep="\n  ", flush=True)
    kept = Kept(options.result, settings_of(options, setting, rows))
    chosen = {row: rows[row] for row in options.rows.split(",")}
    for index in picture_numbers(options.pictures):
        setting.scores(index, chosen, kept)


if __name__ == "__main__":
    main()
