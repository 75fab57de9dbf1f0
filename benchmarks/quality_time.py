"""How good the default preset's shape is after how many seconds of one CPU thread.

    python benchmarks/quality_time.py --truth benchmarks/data/synface64_val.npz              # pictures 0-9, 50 minutes
    python benchmarks/quality_time.py --truth benchmarks/data/synface64_val.npz --draw-only  # the plot again

After 0 seconds there is what the networks see in one pass. A budget of T seconds is what the pass and the inversion
leave of T, in as many refinements as fit in: their mean, or, where there is no time for one, as many iterations of the
first as fit in (to within one); a budget too small for these is the one pass. Each picture is refined on and scored on
its way. Seconds are the process's own processor time, after a warm-up, without scoring and without starting Python
and reading weights.

Every finished picture is kept in benchmarks/results/quality_time.json at once: a run that was stopped goes on, and one
with other settings (truth, weights, preset, budgets, seed) begins anew. Draws docs/images/quality_time.png, with the
rows "average" and "supervised" of benchmarks/results/synface.json as lines.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gan2shape.evaluate.score import score_depth
from gan2shape.evaluate.truth import Truth, read_truth
from gan2shape.generators import LoadedGenerator, load_generator
from gan2shape.io.checkpoints import sha256
from gan2shape.networks.one_pass import TurnedStart
from gan2shape.networks.turned import TurnedNetworks, bundled_turned
from gan2shape.priors.masks import auto_mask
from gan2shape.reconstruct.config import ReconstructConfig
from gan2shape.reconstruct.optimize import DivergedError, Record
from gan2shape.reconstruct.pipeline import find_latent
from gan2shape.reconstruct.presets import PRESETS
from gan2shape.reconstruct.progress import step_rng
from gan2shape.reconstruct.turned import framing_for, load_start, own_pose_of, refinement_name
from gan2shape.reconstruct.turned_refinement import ViewPoses, depth_from, mean_scene, paint_views, refine_turned
from gan2shape.reconstruct.watch import OnIteration
from gan2shape.render import Scene, render
from kept import Kept, Numbers, read
from quality_plot import Line, Panel, Point, write_plot
from reconstruct import picture_numbers

BUDGETS = (0.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Seconds."""
MOST_REFINEMENTS = 100
NAME = "quality_time"
FIGURE = Path(__file__).parents[1] / "docs" / "images" / "quality_time.png"
MEASURES = {"side": "SIDE x100", "mad": "MAD in degrees"}
LINES = {"average": "average true depth", "supervised": "supervised"}
"""Keys of the rows of the SynFace table that are drawn as lines, and their labels."""


class EnoughError(Exception):
    """No budget is left."""


class OnTheWay:
    """Told after every iteration of refinements, scores what the budgets allow.

    Args:
        budgets: seconds.
        setup: seconds that went before.
        score: what there is now.
        clock: seconds; scoring does not count.
    """

    def __init__(
        self,
        budgets: Sequence[float],
        setup: float,
        score: Callable[[], Numbers],
        clock: Callable[[], float] = time.process_time,
    ) -> None:
        self.setup, self.score, self.clock = setup, score, clock
        self.left = sorted(budgets)
        self.rows: dict[float, Numbers] = {}
        self.iterations: list[float] = []
        self.resumed = clock()

    def prepared(self) -> None:
        """What was done since the last call was no iteration."""
        self.setup += self.clock() - self.resumed
        while self.left and self.spent > self.left[0]:
            self.take(self.left[0])
        self.resumed = self.clock()

    def __call__(self, iteration: int, record: Record) -> None:
        """One iteration is over. Raises `EnoughError` when the last budget is used up."""
        self.iterations.append(self.clock() - self.resumed)
        usual = sum(self.iterations) / len(self.iterations)
        while self.left and self.spent + usual > self.left[0]:
            self.take(self.left[0])
        if not self.left:
            raise EnoughError
        self.resumed = self.clock()

    @property
    def spent(self) -> float:
        """Seconds so far."""
        return self.setup + sum(self.iterations)

    def take(self, budget: float) -> None:
        """Score this budget now."""
        self.left.remove(budget)
        self.rows[budget] = {**self.score(), "iterations": len(self.iterations), "seconds": round(self.spent, 2)}


@dataclass(frozen=True, eq=False)
class Setting:
    """What is the same for all pictures."""

    truth: Truth
    loaded: LoadedGenerator
    start: TurnedStart
    config: ReconstructConfig
    most: int
    """Refinements of a picture."""
    seed: int

    def picture(self, index: int) -> Tensor:
        """A picture (1, 3, R, R)."""
        assert self.truth.image is not None, "the truth file has no pictures"
        return self.truth.image[index : index + 1]

    def refine(self, picture: Tensor, number: int, before: Callable[[Callable[[], Scene]], OnIteration]) -> Scene:
        """Refinement ``number`` (from 1) of a picture, on views of its own, as `TurnedReconstructor` does it.

        ``before`` makes what listens to the iterations, after the views, of what tells the scene so far.

        Raises `DivergedError`, and what the listener raises."""
        framing, nets, name = framing_for(self.loaded, self.start.networks), self.copy(), refinement_name(number)
        settings, image, device = self.config.turned, framing.to_working(picture), picture.device
        rng = step_rng(self.seed, f"views of {name}", device)
        views: dict[str, Any] = {"rng": rng, "own_pose": own_pose_of(self.start, self.start(image))}
        shown = paint_views(image, self.loaded, self.start.turning, framing, settings=settings, **views)
        poses, rng = ViewPoses(shown), step_rng(self.seed, name, device)
        told = self.start.turning.depth(image)
        shape = depth_from(nets, image, told)
        listens: dict[str, Any] = {"on_iteration": before(lambda: poses.scene(nets, image, shown, shape())), "rng": rng}
        how: dict[str, Any] = {"poses": poses, "told": told, "steps": settings.refine, "settings": settings}
        how["mask"] = auto_mask(image)
        return refine_turned(nets, image, shown, **how, **listens)

    @torch.no_grad()
    def score(self, scene: Scene, index: int) -> Numbers:
        """SIDE and MAD of the scene that is seen in a picture."""
        view = render(scene, self.start.networks.camera)
        score = score_depth(index, view.depth, view.mask, self.truth)
        return {"side": round(score.side, 4), "mad": round(score.mad, 3)}

    def copy(self) -> TurnedNetworks:
        """The networks before any refinement, to be refined."""
        return deepcopy(self.start.networks).requires_grad_(True)


def rows_of(setting: Setting, index: int, budgets: Sequence[float] = BUDGETS) -> dict[float, Numbers]:
    """What a picture's shape is worth after each budget of seconds."""
    nets, picture, began = setting.copy(), setting.picture(index), time.process_time()
    image = framing_for(setting.loaded, nets).to_working(picture)
    told, on_the_way = setting.start(image), list[Scene]()
    one_pass = {**setting.score(told, index), "iterations": 0, "seconds": round(time.process_time() - began, 2)}
    began = time.process_time()
    find_latent(picture, setting.loaded, setting.config.inversion, seed=setting.seed)
    setup = one_pass["seconds"] + time.process_time() - began
    finished: list[Scene] = []

    def score() -> Numbers:
        refined = finished or on_the_way
        return setting.score(mean_scene(nets, image, refined, told=told) if refined else told, index)

    listener = OnTheWay([b for b in budgets if b > setup], setup, score)

    def before(so_far: Callable[[], Scene]) -> OnIteration:
        listener.prepared()

        def listen(iteration: int, record: Record) -> None:
            on_the_way[:] = [] if finished else [so_far()]
            listener(iteration, record)

        return listen

    try:
        for number in range(1, setting.most + 1):
            finished.append(setting.refine(picture, number, before))
    except EnoughError:
        pass
    except DivergedError as stop:
        print(stop, flush=True)
    for budget in list(listener.left):  # It was refined often enough, or it diverged.
        listener.take(budget)
    return {budget: listener.rows.get(budget, one_pass) for budget in budgets}


def panels(result: dict[str, Any], table: dict[str, Any]) -> list[Panel]:
    """What is drawn: means and spreads over pictures, and rows of the SynFace table as lines."""
    rows = {row["key"]: row["chosen"] for row in table.get("rows", [])}
    count = max(int(mean["pictures"]) for mean in result["mean"].values())
    below = f"seconds of one CPU thread; mean and standard deviation over {count} pictures"
    made = []
    for name, title in MEASURES.items():
        points = [Point(float(b), mean[name], mean.get(f"{name}_std", 0.0)) for b, mean in result["mean"].items()]
        lines = [Line(label, rows[key][name]["mean"]) for key, label in LINES.items() if key in rows]
        made.append(Panel(title, below, sorted(points, key=lambda p: p.x), lines))
    return made


def settings_of(options: argparse.Namespace, setting: Setting) -> dict[str, Any]:
    """What the numbers depend on."""
    return {
        "truth": sha256(options.truth),
        "generator": setting.loaded.sha256,
        "networks": sha256(bundled_turned()),
        "preset": setting.config.to_dict(),
        "most_refinements": options.most_refinements,
        "budgets": list(BUDGETS),
        "seed": options.seed,
    }


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("--pictures", default="0-9")
    parser.add_argument("--most-refinements", type=int, default=MOST_REFINEMENTS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--result", default=NAME, help="name of the result file")
    parser.add_argument("--figure", type=Path, default=FIGURE)
    parser.add_argument("--draw-only", action="store_true", help="draw what the result file has")
    return parser.parse_args()


def main() -> None:
    """Measure what is not yet measured, and draw."""
    options = parsed()
    torch.set_num_threads(1)
    if not options.draw_only:
        config, loaded = PRESETS["default"], load_generator()
        truth, start = read_truth(options.truth), load_start(loaded)
        setting = Setting(truth, loaded, start, config, options.most_refinements, options.seed)
        kept = Kept(options.result, settings_of(options, setting))
        todo = [i for i in picture_numbers(options.pictures) if not all(kept.has(i, f"{b:g}") for b in BUDGETS)]
        if todo:
            setting.refine(setting.picture(todo[0]), 1, lambda so_far: lambda iteration, record: None)
        for index in todo:
            for budget, numbers in rows_of(setting, index).items():
                kept.add(index, f"{budget:g}", numbers)
    write_plot(options.figure, panels(read(options.result), read("synface")))
    print(f"written: {options.figure}")


if __name__ == "__main__":
    main()
