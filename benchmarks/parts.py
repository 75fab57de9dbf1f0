"""Which part of the preset ellipsoid limits it: one part at a time is replaced by the truth.

    python benchmarks/parts.py --truth synface64_val.npz --model ict_facekit_light.npz --pictures 0-2 --threads 2

- "shape prior": before any refinement.
- "as it is": the whole preset.
- "exact inversion": the picture to explain is replaced by the generator's own picture of the inverted latent, so that
  the latent is exact (scored against the same truth, which that picture shows about as well as it was inverted).
- "true samples": the GAN's pictures of drawn poses and lights are replaced by true renders of the same head.
- "true samples, longer": the same with three times the iterations of step 3.

Writes benchmarks/results/parts.json.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from common import machine, write_result
from gan2shape.evaluate.score import Score, score_depth, summary
from gan2shape.evaluate.truth import Truth, read_truth
from gan2shape.generators import LoadedGenerator, load_generator
from gan2shape.priors.masks import auto_mask
from gan2shape.reconstruct import reconstructor as loop
from gan2shape.reconstruct.config import ReconstructConfig, Stage
from gan2shape.reconstruct.pipeline import find_latent
from gan2shape.reconstruct.presets import ELLIPSOID
from gan2shape.reconstruct.step2_projection import ProjectedSamples
from gan2shape.reconstruct.target import Target
from gan2shape.render import render
from reconstruct import picture_numbers
from true_views import TrueHead


def score(
    target: Target, loaded: LoadedGenerator, config: ReconstructConfig, truth: Truth, index: int, seed: int
) -> Score:
    """Run a configuration and score its input view."""
    reconstructor = loop.Reconstructor(loaded, config)
    result = reconstructor(target, seed=seed)
    view = render(result.scene, result.camera, depth_range=reconstructor.depth_range)
    return score_depth(index, view.depth, view.mask, truth)


def true_projection(head: TrueHead) -> Callable[..., ProjectedSamples]:
    """What stands in for step 2's `project`: the same draws, painted truly."""

    def project(projector, scene, target, *, sample, steps, batch_size, rng, **_):  # type: ignore[no-untyped-def]
        return head.samples(scene, sample, steps * batch_size, rng=rng)

    return project


def stages_of(config: ReconstructConfig, **changes: int) -> ReconstructConfig:
    """The configuration with a changed first stage and nothing after it: later ones only polish the albedo."""
    return dataclasses.replace(config, stages=(dataclasses.replace(config.stages[0], **changes),))


def main() -> None:
    """Run all variants on all pictures and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--pictures", default="0-2")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    truth, config = read_truth(options.truth), stages_of(ELLIPSOID)
    loaded = load_generator(offset_layers=config.projection.offset_layers)
    longer = stages_of(config, refine=3 * config.stages[0].refine)
    prior_only = dataclasses.replace(config, stages=(Stage(0, 0, 0),))
    scores: dict[str, list[Score]] = {}

    def run(name: str, index: int, target: Target, chosen: ReconstructConfig) -> None:
        scores.setdefault(name, []).append(score(target, loaded, chosen, truth, index, options.seed))
        print(name, scores[name][-1], flush=True)

    with np.load(options.truth) as archive:
        for index in picture_numbers(options.pictures):
            picture: Tensor = torch.from_numpy(archive["image"][index]).permute(2, 0, 1)[None].float() / 127.5 - 1
            latent, _ = find_latent(picture, loaded, config.inversion, seed=options.seed)
            target = Target(picture, latent, auto_mask(picture))
            with torch.no_grad():
                own = loaded.generator.synthesize(latent).clamp(-1, 1)
            run("shape prior", index, target, prior_only)
            run("as it is", index, target, config)
            run("exact inversion", index, dataclasses.replace(target, image=own), config)
            # Step 2's encoder learns nothing that the true renders would use.
            with mock.patch.object(loop, "project", true_projection(TrueHead(options.model, archive, index))):
                run("true samples", index, target, stages_of(config, project=0))
                run("true samples, longer", index, target, stages_of(longer, project=0))
    rows = [
        {"row": name, **summary(some), "pictures": [dataclasses.asdict(one) for one in some]}
        for name, some in scores.items()
    ]
    write_result("parts", {"machine": machine(), "preset": config.to_dict(), "seed": options.seed, "rows": rows})


if __name__ == "__main__":
    main()
