"""What all trainings share on the command line: ranges, the end by a signal, resumption."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gan2shape.cli import main
from tests.cli.conftest import check_one_line, environment

Mistake = Callable[..., str]
SMALL = ["--size", "16", "--batch-size", "2", "--width", "0.125", "--threads", "1", "--device", "cpu"]


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random pictures with a depth, as a packed file."""
    rng = np.random.default_rng(0)
    file = tmp_path_factory.mktemp("heads") / "heads.npz"
    mask = np.ones((6, 16, 16), bool)
    np.savez(
        file,
        image=rng.integers(0, 255, (6, 16, 16, 3), np.uint8),
        depth=rng.uniform(0.95, 1.05, (6, 16, 16)).astype(np.float32),
        mask=mask,
    )
    return file


@pytest.mark.parametrize(
    "flags, said",
    [
        (["--steps", "0"], "--steps must be from 1"),
        (["--minutes", "-1"], "--minutes must be 0 (no limit) or more"),
        (["--size", "48"], "--size must be a power of two from 16 to 1024; got 48"),
        (["--save-every", "0"], "--save-every must be from 1"),
        (["--data", "nowhere"], "nowhere"),
    ],
)
def test_numbers_that_cannot_be_are_one_line(
    flags: list[str], said: str, heads: Path, tmp_path: Path, mistake: Mistake
) -> None:
    assert said in mistake("train", "supervised", "--data", heads, "-o", tmp_path, *SMALL, *flags)


def test_a_killed_training_keeps_its_state_and_goes_on(heads: Path, tmp_path: Path) -> None:
    arguments = ["train", "supervised", "--data", str(heads), "-o", str(tmp_path), *SMALL]
    command = [sys.executable, "-m", "gan2shape", *arguments, "--steps", "100000", "--save-every", "99999"]
    with subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True) as process:
        history = tmp_path / "history.jsonl"
        for _ in range(600):
            if history.exists() and history.read_text().count("\n") > 0:
                break
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    check_one_line(said)
    logged = last_iteration(history)
    assert main([*arguments, "--resume", "--steps", str(logged + 300)]) == 0
    assert last_iteration(history) == logged + 300


def last_iteration(history: Path) -> int:
    """The iteration of a history's last line."""
    return int(json.loads(history.read_text().splitlines()[-1])["iteration"])
