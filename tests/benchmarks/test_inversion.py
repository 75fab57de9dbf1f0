"""The script benchmarks/inversion.py: what a run goes on with, and what it compares."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from types import ModuleType

import pytest
import torch

from gan2shape.generators import load_generator
from gan2shape.reconstruct.presets import PRESETS
from tests.benchmarks.conftest import BENCHMARKS, script
from tests.benchmarks.test_kept import with_results


@pytest.fixture
def inversion(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return script("inversion", monkeypatch)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    return with_results(script("kept", monkeypatch), tmp_path, monkeypatch)


def test_another_truth_begins_anew_and_another_preset_its_shapes_alone(
    inversion: ModuleType, kept: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_generator()
    options = argparse.Namespace(truth=tmp_path / "truth.npz", steps=300, seed=0, preset="default")
    options.truth.write_bytes(b"one")

    def fits() -> bool:
        return kept.Kept("inversion", inversion.settings_of(options, loaded), ("fit",)).has(0, "w")

    def shapes() -> bool:
        return kept.Kept("inversion", inversion.shape_settings(options, loaded), ("shape", "default")).has(0, "w")

    fit = kept.Kept("inversion", inversion.settings_of(options, loaded), ("fit",))
    fit.add(0, "w", {"psnr_db": 30.0})
    shape = kept.Kept("inversion", inversion.shape_settings(options, loaded), ("shape", "default"))
    shape.add(0, "w", {"side": 1.0})
    assert fits()
    assert shapes()
    options.truth.write_bytes(b"another")
    assert not fits()
    assert not shapes()
    options.truth.write_bytes(b"one")
    monkeypatch.setattr(inversion, "PRESETS", {"default": PRESETS["paper-celeba"]})
    assert fits()
    assert not shapes()


def test_the_results_in_the_repository_go_with_this_script(inversion: ModuleType) -> None:
    whole = json.loads((BENCHMARKS / "results" / "inversion.json").read_text(encoding="utf-8"))
    assert set(whole["fit"]["pictures"]["0"]) == set(inversion.MODES)
    options = argparse.Namespace(truth=BENCHMARKS / "data" / "synface64_val.npz", steps=300, seed=0)
    settings = json.loads(json.dumps(inversion.settings_of(options, load_generator())))
    assert set(settings) == set(whole["fit"]["settings"])


def test_costs_are_over_pictures_that_have_both(inversion: ModuleType) -> None:
    table = {
        "0": {"w": {"side": 1.5, "mad": 20.0}, "w, own picture": {"side": 1.0, "mad": 19.0}},
        "1": {"w": {"side": 1.0, "mad": 18.0}, "w, own picture": {"side": 1.25, "mad": 15.0}},
        "2": {"w": {"side": 9.0, "mad": 90.0}, "tuned": {"side": 1.0, "mad": 15.0}},
    }
    assert inversion.costs(table) == {"w": {"side": 0.125, "mad": 2.0, "pictures": 2}}


def test_one_latent_or_one_per_layer_is_one_shape_where_no_latent_is_read(
    inversion: ModuleType, kept: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row that is taken over without computing is what computing would give."""
    default = PRESETS["default"]
    few = dataclasses.replace(
        default, turned=dataclasses.replace(default.turned, views=4, batch_size=2, refine=2, hold=0)
    )
    monkeypatch.setattr(inversion, "PRESETS", {"default": few})
    truth = BENCHMARKS / "data" / "synface64_val.npz"
    options = argparse.Namespace(truth=truth, steps=300, seed=0, preset="default")
    loaded = load_generator()
    shapes = inversion.Shapes.of(options, loaded)
    picture = shapes.truth.image[:1]
    one = inversion.Found(loaded.sample_latents(1, rng=torch.Generator().manual_seed(0)), loaded, 0.0, 0.0)
    layers = inversion.Found(one.latent[:, None].repeat(1, loaded.generator.num_ws, 1) * 0.9, loaded, 0.0, 0.0)
    table = kept.Kept("inversion", {}, ("shape", "default"))
    shapes.keep_missing(table, picture, one, 0, "w")
    shapes.keep_missing(table, picture, layers, 0, "w+")
    rows = table.table["0"]
    assert rows["w+"] == rows["w"]
    computed = shapes.score(picture, layers, 0)
    assert {name: computed[name] for name in ("side", "mad")} == {name: rows["w"][name] for name in ("side", "mad")}
    assert rows["w, own picture"]["side"] != rows["w"]["side"]
