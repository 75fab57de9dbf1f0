"""How well a generator's turning direction turns: the coordinate and its views beside the yaw that the probe reads.

    python benchmarks/turning.py --truth benchmarks/data/synface64_val.npz

The probe knows poses from truth; the direction does not (gan2shape.train.turning). The last lines scan the depth that
the crude shape turns about: how well pictures agree with their turned views there. Writes results/turning.json.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common import machine, write_result
from gan2shape.evaluate.truth import read_truth
from gan2shape.generators import load_generator
from gan2shape.networks.latents import encoder_of
from gan2shape.networks.probe import NUMBERS, load_probe
from gan2shape.networks.turned import camera_of
from gan2shape.priors.masks import auto_mask
from gan2shape.reconstruct.presets import PRESETS
from gan2shape.render import Camera, Pose, reproject
from gan2shape.train.turned import WIDEST_DEG, YAW_STD_DEG, TurnedViews

PROBE = Path(__file__).parent / "weights" / "probe.safetensors"
PIVOTS = (0.98, 1.0, 1.01, 1.02, 1.03, 1.04, 1.06)


def main() -> None:
    """Measure, and write."""
    options = parsed()
    torch.set_num_threads(options.threads)
    loaded = load_generator()
    encoder = encoder_of(loaded.identity)
    assert encoder is not None, "the bundled generator has its encoder bundled"
    prior = PRESETS["default"].prior
    pictures = TurnedViews(
        loaded,
        encoder,
        masker=auto_mask,
        prior=prior,
        camera=camera_of(encoder.image_size),
        count=options.count,
        views=4,
        seed=options.seed,
    )
    batch = pictures(0, options.count)
    own, views = yaw_deg(batch["image"]), yaw_deg(batch["view"].flatten(0, 1))
    turns, view_turns = batch["turn"], batch["view_turn"].flatten()
    by = (view_turns.unflatten(0, (-1, 4)) - turns[:, None]).flatten()
    turned = (views.unflatten(0, (-1, 4)) - own[:, None]).flatten()
    truth = read_truth(options.truth)
    assert truth.image is not None
    assert truth.pose is not None
    true_yaw = torch.rad2deg(truth.pose.euler()[:, 1])
    result = {
        "machine": machine("cpu"),
        "count": options.count,
        "seed": options.seed,
        "own pictures: coordinate and yaw by the probe": fit(turns, own),
        "turned views: coordinate and yaw by the probe": fit(view_turns, views),
        "turned views: change of coordinate and of yaw": fit(by, turned),
        "validation pictures: coordinate and true yaw": fit(pictures.turning.coordinate(truth.image), true_yaw),
        "pivot scan: mean difference of pictures and views": {
            f"{pivot:g}": round(disagreement(batch, pivot), 5) for pivot in PIVOTS
        },
    }
    for name, value in result.items():
        print(f"{name}: {value}")
    print(f"written: {write_result('turning', result)}")


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("--count", type=int, default=256, help="pictures, each with four views")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


@torch.no_grad()
def yaw_deg(images: Tensor) -> Tensor:
    """The yaw (N,) in degrees that the probe reads in signed pictures (N, 3, S, S)."""
    probe = load_probe(PROBE)
    return torch.cat([probe.read(chunk)[1][:, NUMBERS.index("yaw")] for chunk in images.split(250)])


def fit(coordinate: Tensor, yaw: Tensor) -> dict[str, Any]:
    """Correlation of a coordinate (N,) with a yaw (N,), and degrees for each standard deviation by least squares."""
    x, y = (values - values.mean() for values in (coordinate, yaw))
    correlation = (x * y).sum() / (x.norm() * y.norm())
    return {"correlation": round(float(correlation), 3), "degrees": round(float((x * y).sum() / x.square().sum()), 2)}


@torch.no_grad()
def disagreement(batch: dict[str, Tensor], pivot_depth: float) -> float:
    """Mean absolute difference, of colours less their local mean, between turned pictures and views, on the object."""
    turn = batch["view_turn"] - batch["turn"][:, None]
    yaw = (turn * math.radians(YAW_STD_DEG)).flatten()
    used = (yaw.abs() < math.radians(WIDEST_DEG)) & (yaw.abs() > math.radians(WIDEST_DEG / 4))
    owner = torch.arange(len(turn)).repeat_interleave(turn.shape[1])[used]
    view = batch["view"].flatten(0, 1)[used]
    zero = torch.zeros_like(yaw[used])
    pose = Pose.from_euler(torch.stack([zero, yaw[used], zero], dim=1))
    texture = torch.cat([batch["image"], batch["mask"]], dim=1)[owner]
    camera = Camera(view.shape[-1], pivot_depth=pivot_depth)
    seen = reproject(texture, batch["ellipsoid"][owner], pose, camera)
    mask = seen.mask * (seen.image[:, 3:] > 0.5)
    difference = (details(seen.image[:, :3]) - details(view)).abs()
    return float((difference * mask).sum() / (3 * mask.sum()))


def details(image: Tensor) -> Tensor:
    """Pictures less their mean over 9 x 9 pixels, so that slow changes of light do not count."""
    return image - torch.nn.functional.avg_pool2d(
        torch.nn.functional.pad(image, (4, 4, 4, 4), mode="replicate"), 9, stride=1
    )


if __name__ == "__main__":
    main()
