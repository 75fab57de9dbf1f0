"""The rows of the SynFace table: what each method says about one picture. See synface.py."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from gan2shape.evaluate.baselines import average_depth, constant_depth
from gan2shape.evaluate.results import Prediction
from gan2shape.evaluate.truth import Truth, read_truth
from gan2shape.export.views import Painter
from gan2shape.generators import LoadedGenerator, load_generator
from gan2shape.io.checkpoints import sha256
from gan2shape.networks.trained import SUPERVISED, read_about
from gan2shape.networks.turned import TURNED, bundled_turned
from gan2shape.priors import EllipsoidPrior
from gan2shape.priors.masks import auto_mask
from gan2shape.reconstruct.feedforward import load_method
from gan2shape.reconstruct.painting import gan_projection
from gan2shape.reconstruct.pipeline import find_latent
from gan2shape.reconstruct.presets import PRESETS
from gan2shape.reconstruct.pretrain import bundled_pretrained, load_pretrained
from gan2shape.reconstruct.reconstructor import reconstructor_for
from gan2shape.reconstruct.target import Target

PRETRAINED = "+pretrained"
"""Ends the names of presets whose networks start from the bundled ones of ``gan2shape pretrain``."""


@dataclass(frozen=True)
class Answer:
    """What a method says about one picture, with its GAN where it has one, and how long it took."""

    prediction: Prediction
    seconds: float
    paint: Painter | None = None
    notes: dict[str, float] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        name: as the table has it.
        key: for file names.
        answer: number of the picture and seed to what the method says.
        identity: text that tells whether a kept answer is still this method's.
        seeded: whether it depends on the seed.
        dear: whether it takes minutes for a picture.
        note: what the reader has to know.
    """

    name: str
    key: str
    answer: Callable[[int, int], Answer]
    identity: str
    seeded: bool = False
    dear: bool = False
    note: str = ""

    @property
    def folder(self) -> str:
        """Name of the folder of its answers: its key, and a short hash of `identity`."""
        return f"{self.key}-{hashlib.sha256(self.identity.encode()).hexdigest()[:16]}"


def all_rows(truth_file: Path, weights: dict[str, Path], presets: list[str], device: str = "cpu") -> list[Row]:
    """All rows, cheap ones first. ``weights`` names the files of trained baselines."""
    truth = cache(lambda: read_truth(truth_file))

    def shape(depth_of: Callable[[Truth, int], Tensor]) -> Callable[[int, int], Answer]:
        def answer(index: int, seed: int) -> Answer:
            began = time.perf_counter()
            depth = depth_of(truth(), index)
            return Answer(Prediction(depth, torch.ones_like(depth)), time.perf_counter() - began)

        return answer

    def prior(ellipsoid: EllipsoidPrior) -> Callable[[int, int], Answer]:
        return shape(lambda truth, index: ellipsoid.depth(auto_mask(picture_of(truth, index))))

    default = PRESETS["ellipsoid"].prior
    rows = [
        Row("constant depth", "constant", shape(lambda t, i: constant_depth(t.depth[i : i + 1])), "1"),
        Row("average true depth", "average", shape(average_depth_of), "1", note="knows all other true depths"),
        Row("ellipsoid prior", "ellipsoid", prior(EllipsoidPrior()), repr(EllipsoidPrior())),
        Row("ellipsoid prior of the preset ellipsoid", "ellipsoid_default", prior(default), repr(default)),
    ]
    names = {"supervised": "supervised (upper bound)", "unsup3d": "Unsup3D", "turned": "gan2shape, one pass (--fast)"}
    for method, file in weights.items():
        rows.append(trained_row(names[method], method, file, truth, device))
    titles = {
        "paper-synface": "GAN2Shape, paper schedule, from the ellipsoid",
        f"paper-synface{PRETRAINED}": "GAN2Shape, paper schedule, from bundled networks",
        "ellipsoid": "gan2shape, from the ellipsoid",
        "default": "gan2shape, default",
    }
    rows += [preset_row(titles.get(preset, preset), preset, truth, device) for preset in presets]
    pictures = sha256(truth_file)
    return [dataclasses.replace(row, identity=row.identity + pictures) for row in rows]


def picture_of(truth: Truth, index: int) -> Tensor:
    """Picture ``index`` (1, 3, S, S), signed."""
    assert truth.image is not None, "the truth file has no pictures"
    return truth.image[index : index + 1]


def average_depth_of(truth: Truth, index: int) -> Tensor:
    """The mean true depth of all other pictures."""
    return average_depth(truth.depth, truth.mask, leave_out=index)


def trained_row(name: str, method: str, file: Path, truth: Callable[[], Truth], device: str) -> Row:
    """A baseline with trained weights, one pass."""
    trained = cache(lambda: load_method(method, file, device))

    def answer(index: int, seed: int) -> Answer:
        image = picture_of(truth(), index)
        network = trained()
        began = time.perf_counter()
        scene = network.predict(image).to("cpu")  # Within the time: a GPU has computed only when its answer is here.
        seconds = time.perf_counter() - began
        return Answer(Prediction.of_scene(scene, network.camera), seconds)

    if method == TURNED:
        about = read_about(file)
        note = f"saw {about['pictures']}, {int(about['steps']):,} x {about['batch_size']} of them in random order"
        found = "; it learned what refining them had found" if "refine" in about else ""
        return Row(name, method, answer, sha256(file), note=f"{note}{found}")
    note = how_trained(file)
    if method == SUPERVISED:
        note += "; it predicts depth alone: its pose is none, its albedo the picture, its light even"
    return Row(name, method, answer, sha256(file), note=note)


def how_trained(file: Path) -> str:
    """Pictures seen, and the benchmark's rule: a baseline whose validation SIDE moved by 2 % or more over the last
    fifth of its training is under-trained. The history of the training stands beside the weights (.jsonl)."""
    about = read_about(file)
    steps = int(about["steps"])
    seen = f"saw {steps * int(about['batch_size']):,} pictures, width x {about['width_multiplier']:g}"
    if about.get("perceptual_term") is False:
        seen += ", without its perceptual term (published runs see some 4.8 million pictures)"
    history = file.with_suffix(".jsonl")
    if not history.exists():
        return f"{seen}; under-trained? (no history)"
    records = [json.loads(line) for line in history.read_text(encoding="utf-8").splitlines()]
    curve = [(r["iteration"], r["snapshot/side"]) for r in records if "snapshot/side" in r and r["iteration"] <= steps]
    early = [side for iteration, side in curve if iteration <= 0.8 * steps]
    if not early:
        return f"{seen}; under-trained (no validation)"
    moved = abs(curve[-1][1] - early[-1]) / curve[-1][1]
    verdict = "" if moved < 0.02 else "under-trained, "
    return f"{seen}; {verdict}SIDE moved {100 * moved:.1f} % over the last fifth"


def preset_row(name: str, preset: str, truth: Callable[[], Truth], device: str) -> Row:
    """A preset of the method on the picture alone: latent and mask are found as for any user. Its networks start from
    the bundled ones where its name ends in `PRETRAINED`."""
    config = PRESETS[preset.removesuffix(PRETRAINED)]
    begun = load_pretrained(bundled_pretrained()) if preset.endswith(PRETRAINED) else None
    config, weights = (config, None) if begun is None else (begun.applied_to(config), begun.weights)

    @cache
    def loaded() -> LoadedGenerator:
        return load_generator(device=device, offset_layers=config.projection.offset_layers)

    def answer(index: int, seed: int) -> Answer:
        picture, gan = picture_of(truth(), index).to(device), loaded()
        began = time.perf_counter()
        latent, psnr = find_latent(picture, gan, config.inversion, seed=seed)
        reconstructor = reconstructor_for(gan, config, initial_weights=weights)
        image = reconstructor.framing.to_working(picture)
        result = reconstructor(Target(image, latent, auto_mask(image)), seed=seed)
        seconds = time.perf_counter() - began
        prediction = Prediction.of_scene(result.scene.to("cpu"), result.camera, reconstructor.depth_range)
        painted = gan_projection(result, gan, config)
        notes = {"inversion_psnr_db": psnr, "warnings": float(len(result.warnings))}
        return Answer(prediction, seconds, lambda *shown: painted(*shown).cpu(), notes)

    identity = json.dumps(config.to_dict(), sort_keys=True) + load_generator().sha256
    if config.start == "turned":
        identity += sha256(bundled_turned())
    if begun is not None:
        identity += sha256(bundled_pretrained())
    key = "from_ellipsoid" if preset == "ellipsoid" else preset  # The ellipsoid itself is a row too.
    return Row(name, key, answer, identity, seeded=True, dear=True)
