"""How well a generator's directions turn, light and nod its object, beside what the probe reads in the pictures.

    python benchmarks/turning.py --truth benchmarks/data/synface64_val.npz

The probe knows poses and lights from truth; the directions do not (gan2shape.train.turning). Fronts are objects turned
until they face the camera. The last lines scan the depth that the crude shape turns about: how well fronts agree with
their turned views there. Writes results/turning.json.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common import machine, write_result
from gan2shape.evaluate.truth import read_truth
from gan2shape.generators import LoadedGenerator, latent_rng, load_generator
from gan2shape.networks.agreement import WIDEST_DEG
from gan2shape.networks.latents import encoder_of
from gan2shape.networks.probe import NUMBERS, load_probe
from gan2shape.networks.turned import camera_of
from gan2shape.networks.turning import TURN_DEG, Turning
from gan2shape.priors.masks import auto_mask
from gan2shape.reconstruct.presets import PRESETS
from gan2shape.render import Camera, Pose, reproject
from gan2shape.train.turned_views import TurnedViews

PROBE = Path(__file__).parent / "weights" / "probe.safetensors"
PIVOTS = (0.98, 1.0, 1.01, 1.02, 1.03, 1.04, 1.06)
VIEWS = 4
MOVED = ("pitch", "yaw", "light x", "light y")
LIT, NODDED_DEG = (-2.0, -1.0, 1.0, 2.0), (-10.0, -5.0, 5.0, 10.0)
"""How far own pictures are lit from the side and from above, in standard deviations, and nodded, in degrees."""


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
        views=VIEWS,
        seed=options.seed,
        truncation=options.truncation,
    )
    batch = pictures(0, options.count)
    asked = {"count": options.count, "seed": options.seed, "truncation": options.truncation}
    result: dict[str, Any] = {"machine": machine("cpu"), **asked, **turns(batch)}
    rng = latent_rng(options.seed)
    result |= moves(loaded, pictures.turning, loaded.sample_latents(options.count, rng=rng))
    truth = read_truth(options.truth)
    assert truth.image is not None
    assert truth.pose is not None
    true_yaw = torch.rad2deg(truth.pose.euler()[:, 1])
    coordinate = pictures.turning.coordinate(truth.image)
    result["validation pictures: coordinate and true yaw"] = fit(coordinate, true_yaw)
    scan = {f"{pivot:g}": round(mean_difference(batch, pivot), 5) for pivot in PIVOTS}
    result["pivot scan: mean difference of fronts and views"] = scan
    for name, value in result.items():
        print(f"{name}: {value}")
    print(f"written: {write_result('turning', result)}")


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("--count", type=int, default=256, help="objects, each with four views")
    parser.add_argument("--truncation", type=float, default=1.0, help="of the objects whose fronts and views are made")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def turns(batch: Mapping[str, Tensor]) -> dict[str, Any]:
    """The coordinate of fronts and views beside the yaw that the probe reads."""
    front, views = read(batch["front"])["yaw"], read(batch["view"].flatten(0, 1))["yaw"].unflatten(0, (-1, 1 + VIEWS))
    turn, view_turns = batch["turn"], batch["view_turn"]
    # The first is the picture as it was drawn, and every second view is hardly turned.
    told, turned = view_turns[:, 1::2], views[:, 1::2]
    return {
        "own pictures: coordinate and yaw by the probe": fit(view_turns[:, 0], views[:, 0]),
        "turned views: coordinate and yaw by the probe": fit(told.flatten(), turned.flatten()),
        "turned views: change of coordinate and of yaw": fit(
            (told - turn[:, None]).flatten(), (turned - front[:, None]).flatten()
        ),
        "mean absolute yaw in degrees": {
            "own pictures": mean_size(views[:, 0]),
            "fronts": mean_size(front),
            "change from fronts to views that are hardly turned": mean_size(views[:, 2::2] - front[:, None]),
        },
    }


@torch.no_grad()
def moves(loaded: LoadedGenerator, turning: Turning, latents: Tensor) -> dict[str, Any]:
    """What the probe reads after pictures were moved by light, its height and pitch, for each unit asked."""
    still = torch.zeros(len(latents))

    def shown(**by: float) -> dict[str, Tensor]:
        moved = turning.moved(latents, still, **{name: still + amount for name, amount in by.items()})
        pictures = [loaded.generator.synthesize(chunk).clamp(-1, 1) for chunk in moved.split(64)]
        return read(torch.cat([turning.encoder.shrunk(chunk) for chunk in pictures]))

    before = shown()

    def changes(move: str, asked: Sequence[float]) -> dict[str, Any]:
        after = [shown(**{move: by}) for by in asked]
        steps = torch.tensor(asked).repeat_interleave(len(latents))
        return {name: fit(steps, torch.cat([one[name] - before[name] for one in after])) for name in MOVED}

    return {
        "light, by its standard deviations: what changes": changes("lit", LIT),
        "light's height, by its standard deviations: what changes": changes("above", LIT),
        "pitch, by its degrees: what changes": changes("pitch_deg", NODDED_DEG),
    }


@torch.no_grad()
def read(images: Tensor) -> dict[str, Tensor]:
    """What the probe reads (N,) in signed pictures (N, 3, S, S), by name; angles are in degrees."""
    probe = load_probe(PROBE)
    numbers = torch.cat([probe.read(chunk)[1] for chunk in images.split(250)])
    return {name: numbers[:, NUMBERS.index(name)] for name in NUMBERS}


def mean_size(values: Tensor) -> float:
    """The mean absolute value."""
    return round(float(values.abs().mean()), 2)


def fit(coordinate: Tensor, shown: Tensor) -> dict[str, Any]:
    """Correlation of a coordinate (N,) with what is shown (N,), and how much of it a unit is by least squares."""
    x, y = (values - values.mean() for values in (coordinate, shown))
    correlation = (x * y).sum() / (x.norm() * y.norm())
    return {"correlation": round(float(correlation), 3), "per unit": round(float((x * y).sum() / x.square().sum()), 3)}


@torch.no_grad()
def mean_difference(batch: Mapping[str, Tensor], pivot_depth: float) -> float:
    """Mean absolute difference, of colours less their local mean, between turned fronts and views, on the object."""
    turn = batch["view_turn"] - batch["turn"][:, None]
    yaw = (turn * math.radians(TURN_DEG)).flatten()
    used = (yaw.abs() < math.radians(WIDEST_DEG)) & (yaw.abs() > math.radians(WIDEST_DEG / 4))
    owner = torch.arange(len(turn)).repeat_interleave(turn.shape[1])[used]
    view = batch["view"].flatten(0, 1)[used]
    zero = torch.zeros_like(yaw[used])
    pose = Pose.from_euler(torch.stack([zero, yaw[used], zero], dim=1))
    texture = torch.cat([batch["front"], batch["mask"]], dim=1)[owner]
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
