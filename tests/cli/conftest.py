"""A small random generator, settings of a few iterations, and the real command in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan2shape.cli import main
from gan2shape.generators.discriminator import DiscriminatorConfig, StyleGAN2Discriminator
from gan2shape.generators.load import save_generator
from gan2shape.generators.stylegan2 import StyleGAN2Config, StyleGAN2Generator
from gan2shape.result import ReconstructionResult

RESOLUTION = 16
LATENT_DIM = 8
FEW_STEPS = [
    *("--threads", "1"),
    *("--mask", "none"),
    *("--config.geometry.working-size-px", "16"),
    *("--config.geometry.border-columns", "1"),
    *("--config.networks.map-base-width", "4"),
    *("--config.networks.vector-base-width", "4"),
    *("--config.networks.offset-base-width", "4"),
    *("--config.networks.code-size", "8"),
    *("--config.prior-steps", "2"),
    *("--config.stages.0.albedo", "2"),
    *("--config.stages.0.project", "2"),
    *("--config.stages.0.refine", "2"),
    *("--config.stages.0.warmup", "2"),
    *("--config.stages.0.batches", "2"),
    *("--config.stages.1.albedo", "2"),
    *("--config.projection.polish", "2"),
    *("--config.optimizer.batch-size", "2"),
    *("--config.inversion.samples", "4"),
    *("--config.inversion.restarts", "2"),
    *("--config.inversion.survey-steps", "1"),
    *("--config.inversion.narrow-steps", "1"),
    *("--config.inversion.final-steps", "2"),
]

Command = Callable[..., subprocess.CompletedProcess[str]]
"""Arguments to the finished process of ``gan2shape``."""


def environment() -> dict[str, str]:
    """This process's own, with one thread, eighty columns and the package under test."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "80", "PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator of 16 px with a discriminator, of random weights."""
    widths = {4: 8, 8: 8, 16: 8}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        generator = StyleGAN2Generator(
            StyleGAN2Config(RESOLUTION, channels=widths, z_dim=LATENT_DIM, w_dim=LATENT_DIM, mapping_layers=2)
        )
        discriminator = StyleGAN2Discriminator(DiscriminatorConfig(resolution=RESOLUTION, channels=widths))
    file = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
    save_generator(file, generator, discriminator)
    return file


@pytest.fixture(scope="session")
def tiny(checkpoint: Path) -> list[str]:
    """The flags of a reconstruction that takes a moment."""
    return ["--generator", str(checkpoint), *FEW_STEPS]


@pytest.fixture(scope="session")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture with four different quarters."""
    levels = np.zeros((RESOLUTION, RESOLUTION, 3), np.uint8)
    half = RESOLUTION // 2
    levels[:half, :half], levels[:half, half:], levels[half:, :half] = (200, 40, 40), (40, 200, 40), (40, 40, 200)
    file = tmp_path_factory.mktemp("picture") / "quarters_0.png"
    Image.fromarray(levels).save(file)
    return file


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny: list[str], picture: Path) -> Path:
    """A result folder that the command has made."""
    folder = tmp_path_factory.mktemp("finished")
    assert main(["reconstruct", str(picture), "-o", str(folder), *tiny]) == 0
    return folder / "quarters_0"


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Runs ``gan2shape`` in a process of its own, in an empty folder."""

    def run(*arguments: str | Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "gan2shape", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=tmp_path,
            env=environment(),
            check=False,
        )

    return run


@pytest.fixture
def mistake(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs the command here, expects a mistake told in one line on standard error, and returns that line."""

    def run(*arguments: str | Path) -> str:
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        said = capsys.readouterr().err
        assert status == 2, said
        check_one_line(said)
        return said

    return run


def check_one_line(said: str) -> None:
    """One line of the program's own, and no traceback."""
    assert said.startswith("gan2shape: "), said
    assert said.count("\n") == 1, said
    assert said.endswith("\n"), said


def leftovers(folder: Path) -> list[str]:
    """Temporary files and locks anywhere below a folder."""
    return sorted(str(file.relative_to(folder)) for file in folder.rglob(".gan2shape*"))


def save_numbers(result: ReconstructionResult, folder: Path, *, on_progress: Callable[..., None], **_: object) -> None:
    """Stands in for `export_result` where its pictures and meshes would take longer than a tiny reconstruction."""
    on_progress("numbers", 0, 1)
    result.save(folder)


@pytest.fixture
def numbers_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the numbers of a result only."""
    monkeypatch.setattr("gan2shape.reconstruct.pipeline.export_result", save_numbers)
