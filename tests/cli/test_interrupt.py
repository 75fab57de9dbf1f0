"""Ctrl-C and kill in the middle of a run, and going on afterwards."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gan2shape.cli import main
from gan2shape.reconstruct.pipeline import PROGRESS_FILE
from tests.cli.conftest import check_one_line, environment, leftovers, save_numbers

LONG_ENOUGH = ["--config.stages.0.project", "200"]
"""The step after the first ones takes seconds, so that a signal sent once their progress is kept falls into it."""


pytestmark = pytest.mark.usefixtures("numbers_only")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, tiny: list[str], picture: Path) -> dict[str, torch.Tensor]:
    """The networks after a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gan2shape.reconstruct.pipeline.export_result", save_numbers)
        assert main(["reconstruct", str(picture), "-o", str(folder), *tiny, *LONG_ENOUGH]) == 0
    return load_file(folder / picture.stem / "networks.safetensors")


def stopped(arguments: list[str], folder: Path, number: signal.Signals) -> tuple[int, str]:
    """Exit status and message of the command after a signal that it got when a step was kept in ``folder``."""
    with subprocess.Popen(
        [sys.executable, "-m", "gan2shape", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        # A background job of a shell hands down an ignored interrupt.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        limit = time.monotonic() + 100
        while not (folder / PROGRESS_FILE).exists():
            assert process.poll() is None
            assert time.monotonic() < limit
            time.sleep(0.02)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    return process.returncode, said


def check_resumed(folder: Path, expected: dict[str, torch.Tensor]) -> None:
    networks = load_file(folder / "networks.safetensors")
    assert networks.keys() == expected.keys()
    assert all(torch.equal(networks[name], expected[name]) for name in expected)
    assert not (folder / PROGRESS_FILE).exists()
    assert leftovers(folder) == []


def test_after_ctrl_c_the_printed_command_goes_on_to_the_same_result(
    tmp_path: Path,
    tiny: list[str],
    picture: Path,
    uninterrupted: dict[str, torch.Tensor],
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "out put" / picture.stem  # A space, which the printed command has to quote.
    arguments = ["reconstruct", str(picture), "-o", str(folder.parent), *tiny, *LONG_ENOUGH]
    status, said = stopped(arguments, folder, signal.SIGINT)
    assert status == 130
    check_one_line(said)
    assert leftovers(folder) == []
    assert not (folder / "config.json").exists()
    advice = "interrupted; to go on after the last finished step: gan2shape "
    assert advice in said
    again = shlex.split(said.partition(advice)[2])
    assert again == [*arguments, "--resume"]
    assert main(again) == 0
    kept = [line for line in capsys.readouterr().out.splitlines() if line.endswith("kept from the earlier run")]
    assert kept, "the resumed run began from the start"
    check_resumed(folder, uninterrupted)


def test_after_a_kill_the_same_command_with_resume_goes_on(
    tmp_path: Path, tiny: list[str], picture: Path, uninterrupted: dict[str, torch.Tensor]
) -> None:
    folder = tmp_path / picture.stem
    arguments = ["reconstruct", str(picture), "-o", str(tmp_path), *tiny, *LONG_ENOUGH]
    status, _ = stopped(arguments, folder, signal.SIGKILL)
    assert status == -signal.SIGKILL
    assert not (folder / "config.json").exists()
    assert main([*arguments, "--resume"]) == 0
    check_resumed(folder, uninterrupted)


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_ctrl_c_of_a_resumed_run_does_not_repeat_the_flag(
    picture: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gan2shape.generators.load_generator", interrupt)
    assert main(["reconstruct", str(picture), "--resume"]) == 130
    assert capsys.readouterr().err.count("--resume") == 1


@pytest.mark.parametrize(
    ("verb", "asks"),
    [("sample", "gan2shape.generators.load_generator"), ("info", "gan2shape.generators.load.describe_generator")],
)
def test_a_verb_that_cannot_resume_does_not_say_so(
    verb: str, asks: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asks, interrupt)
    assert main([verb]) == 130
    said = capsys.readouterr().err
    check_one_line(said)
    assert "resume" not in said
    assert "starts again from the beginning" in said


def test_a_run_over_an_older_result_can_be_resumed_from_its_very_beginning(
    tmp_path: Path, tiny: list[str], picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupt before the first step is kept; the older result was made with another seed."""
    arguments = ["reconstruct", str(picture), "-o", str(tmp_path), *tiny]
    assert main(arguments) == 0
    again = [*arguments, "--seed", "1"]
    with monkeypatch.context() as patch:
        patch.setattr("gan2shape.reconstruct.pipeline.find_latent", interrupt)
        assert main(again) == 130
    assert not (tmp_path / picture.stem / "config.json").exists(), "it looks finished"
    assert main([*again, "--resume"]) == 0
    assert (tmp_path / picture.stem / "config.json").exists()
