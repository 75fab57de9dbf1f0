"""What inversion reaches on pictures with known truth, and what it costs the shape.

    python benchmarks/inversion.py                              # pictures 0-9, modes w, w+ and tuned
    python benchmarks/inversion.py --pictures 0-99 --modes w    # more of them
    python benchmarks/inversion.py --shape --pictures 0-4       # then: reconstructs each, some minutes a piece

Modes: "w" one latent, "w+" one per layer after that, "tuned" w with a generator tuned to the picture. With --shape
every picture is reconstructed once from each mode's latent (and generator), and once more with the generator's own
picture of the w latent in place of the photo ("own picture"): its inversion is exact, so the difference to "w" is what
inversion costs. All are scored against the truth of the photo.

The search is not quite that of `gan2shape invert`, which also starts from an encoder's proposal and ends early where
nothing is gained: here all starts are random latents or their mean, and every step of the search is taken.

Every finished picture is kept in benchmarks/results/inversion.json at once: a run that was stopped goes on, and a run
with other settings (truth, generator, preset, steps, seed) begins anew. Seconds are those of one thread, and processor
seconds stand beside them.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common import RESULTS, machine, write_result
from gan2shape.evaluate.pictures import psnr, ssim
from gan2shape.evaluate.score import score_depth
from gan2shape.evaluate.truth import Truth, read_truth
from gan2shape.generators import (
    InvertConfig,
    LoadedGenerator,
    StyleGAN2Generator,
    invert,
    load_generator,
    save_generator,
)
from gan2shape.generators.load import load_networks
from gan2shape.generators.tuning import TuningConfig, tune
from gan2shape.generators.typicality import likeness_of
from gan2shape.io.checkpoints import sha256
from gan2shape.priors.masks import auto_mask
from gan2shape.reconstruct.presets import PRESETS
from gan2shape.reconstruct.reconstructor import Reconstructor
from gan2shape.reconstruct.target import Target
from gan2shape.render import render

MODES = ("w", "w+", "tuned")
OWN = "own picture"
ROWS_STEPS = 200


def config_of(mode: str, steps: int) -> InvertConfig:
    """The search of a mode: `steps` with one latent, shared out as the default preset does."""
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
    rng = torch.Generator(loaded.w_mean.device).manual_seed(options.seed)
    latent = invert(loaded, picture, rng=rng, config=config_of(mode, options.steps)).latent
    if mode == "tuned":
        networks = load_networks(options.generator)
        assert isinstance(networks.generator, StyleGAN2Generator)
        generator = networks.generator.to(picture.device)
        tuned = tune(generator, loaded.features, picture, latent, rng=rng, config=TuningConfig())
        with tempfile.TemporaryDirectory() as folder:
            file, critic = Path(folder) / "tuned.safetensors", networks.discriminator
            save_generator(file, tuned.generator.cpu(), critic, w_mean=loaded.w_mean.cpu(), dtype=torch.float32)
            offset_layers = PRESETS["default"].projection.offset_layers
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


def shape(picture: Tensor, found: Found, truth: Truth, index: int, seed: int) -> dict[str, float]:
    """SIDE and MAD of a reconstruction by the default preset, and what it took."""
    began = time.process_time()
    reconstructor = Reconstructor(found.loaded, PRESETS["default"])
    result = reconstructor(Target(picture, found.latent, auto_mask(picture)), seed=seed)
    view = render(result.scene, result.camera, depth_range=reconstructor.depth_range)
    score = score_depth(index, view.depth, view.mask, truth)
    numbers = {name: value for name, value in dataclasses.asdict(score).items() if value is not None}
    return {**numbers, "cpu_seconds": round(time.process_time() - began, 1)}


def summary(pictures: dict[str, dict[str, dict[str, float]]]) -> dict[str, dict[str, Any]]:
    """Mean of every number of every mode over its pictures, with their count."""
    means: dict[str, dict[str, Any]] = {}
    for mode in {mode for entries in pictures.values() for mode in entries}:
        entries = [modes[mode] for modes in pictures.values() if mode in modes]
        names = [name for name in entries[0] if name != "picture"]
        means[mode] = {name: round(statistics.mean(float(one[name]) for one in entries), 4) for name in names}
        means[mode]["pictures"] = len(entries)
    return dict(sorted(means.items()))


class Kept:
    """The results file: what is done already, and every picture written as soon as it is done."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        file = RESULTS / "inversion.json"
        earlier = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        same = earlier.get("settings") == json.loads(json.dumps(settings))
        self.parts: dict[str, dict[str, dict[str, dict[str, float]]]] = {
            part: earlier[part]["pictures"] if same and part in earlier else {} for part in ("fit", "shape")
        }

    def has(self, part: str, index: int, mode: str) -> bool:
        """Whether a picture is done."""
        return mode in self.parts[part].get(str(index), {})

    def add(self, part: str, index: int, mode: str, entry: dict[str, float]) -> None:
        """Keep a picture's numbers and write everything."""
        self.parts[part].setdefault(str(index), {})[mode] = entry
        print(part, index, mode, entry, flush=True)
        tables = {name: {"mean": summary(pictures), "pictures": pictures} for name, pictures in self.parts.items()}
        write_result("inversion", {"machine": machine(), "settings": self.settings, **tables})


def settings_of(options: argparse.Namespace, loaded: LoadedGenerator) -> dict[str, Any]:
    """What numbers depend on: a run goes on only with the same."""
    return {
        "truth": sha256(options.truth),
        "generator": loaded.sha256,
        "features": None if loaded.features is None else loaded.features_from or "discriminator",
        "preset": PRESETS["default"].to_dict(),
        "steps": options.steps,
        "rows_steps": ROWS_STEPS,
        "tuning": dataclasses.asdict(TuningConfig()),
        "seed": options.seed,
    }


def main() -> None:
    """Invert all pictures by all modes, and with --shape reconstruct from each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--truth", type=Path, default=Path(__file__).parent / "data" / "synface64_val.npz")
    parser.add_argument("--generator", default="bundled")
    parser.add_argument("--pictures", default="0-9")
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--shape", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    loaded = load_generator(options.generator, offset_layers=PRESETS["default"].projection.offset_layers)
    kept = Kept(settings_of(options, loaded))
    chosen = [mode for mode in MODES if mode in options.modes.split(",")]
    first, _, last = options.pictures.partition("-")
    truth = read_truth(options.truth) if options.shape else None
    with np.load(options.truth, allow_pickle=False) as archive:
        for index in range(int(first), int(last or first) + 1):
            picture = torch.from_numpy(archive["image"][index]).permute(2, 0, 1)[None].float() / 127.5 - 1
            for mode in chosen:
                wanted = [mode, OWN] if mode == "w" else [mode]
                shapes = [row for row in wanted if truth is not None and not kept.has("shape", index, row)]
                if kept.has("fit", index, mode) and not shapes:
                    continue
                found = find(picture, loaded, mode, options)
                if not kept.has("fit", index, mode):
                    kept.add("fit", index, mode, fit(picture, found, loaded))
                for row in shapes:
                    assert truth is not None
                    with torch.no_grad():
                        own = loaded.generator.synthesize(found.latent).clamp(-1, 1)
                    shown = own if row == OWN else picture
                    kept.add("shape", index, row, shape(shown, found, truth, index, options.seed))


if __name__ == "__main__":
    main()
