"""From a picture to a folder where a reconstruction starts from turned views: its latent, files and interruptions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gan2shape.errors import InputError
from gan2shape.networks.latents import encoder_of
from gan2shape.reconstruct.pipeline import PROGRESS_FILE, TARGET_FILE, find_latent, reconstruct_job
from gan2shape.reconstruct.turned import REFINEMENT
from gan2shape.reconstruct.watch import Event, IterationDone, StepFinished, StepStarted
from gan2shape.result import ReconstructionResult
from tests.reconstruct.bundled import QUICK, bundled, own_job, own_target
from tests.reconstruct.test_pipeline import FILES, NUMBERS, _Interrupt, contents, files_below
from tests.reconstruct.test_pipeline import numbers_only as numbers_only


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an uninterrupted job whose latent had to be found, with all its files."""
    folder = tmp_path_factory.mktemp("whole") / "picture"
    reconstruct_job(own_job(folder, known=False), bundled(), QUICK)
    return folder


def test_the_folder_holds_exactly_the_promised_files(whole: Path) -> None:
    assert files_below(whole) == FILES
    lines = (whole / "log.txt").read_text().splitlines()
    for step in ("inversion", REFINEMENT, "files"):
        assert any(line.startswith(f"{step}: ") for line in lines), step
    assert not [line for line in lines if line.startswith(("shape prior", "stage"))]


def test_a_finished_folder_is_returned_as_it_is(whole: Path) -> None:
    before = {name: (whole / name).stat().st_mtime_ns for name in files_below(whole)}
    events: list[Event] = []
    job = own_job(whole, known=False)
    result = reconstruct_job(job, bundled(), QUICK, resume=True, on_event=events.append)
    assert events == []
    assert torch.equal(result.scene.depth, ReconstructionResult.load(whole).scene.depth)
    assert {name: (whole / name).stat().st_mtime_ns for name in files_below(whole)} == before
    others = (replace(QUICK.turned, refine=4), replace(QUICK.turned, views=5))
    for settings in others:
        with pytest.raises(InputError, match="holds a finished result with other settings"):
            reconstruct_job(job, bundled(), replace(QUICK, turned=settings), resume=True)


@pytest.mark.parametrize(
    ("step", "at_end"),
    [("inversion", False), ("inversion", True), (REFINEMENT, False), (REFINEMENT, True), ("files", True)],
)
@pytest.mark.usefixtures("numbers_only")
def test_an_interrupted_job_resumes_to_the_identical_numbers(
    whole: Path, tmp_path: Path, step: str, at_end: bool
) -> None:
    job, events = own_job(tmp_path / "picture", known=False), list[Event]()
    with pytest.raises(KeyboardInterrupt):
        reconstruct_job(job, bundled(), QUICK, on_event=_Interrupt(step, at_end=at_end))
    assert not [name for name in files_below(job.folder) if "tmp" in name or "lock" in name]
    reconstruct_job(job, bundled(), QUICK, resume=True, on_event=events.append)
    numbers, expected = contents(job.folder), contents(whole)
    assert numbers.keys() == NUMBERS - {"log.txt", "environment.json"}
    assert [name for name in numbers if numbers[name] != expected[name]] == []
    begun = [event.name for event in events if isinstance(event, StepStarted)]
    assert at_end or begun[0] == step
    assert not (job.folder / PROGRESS_FILE).exists()
    assert not (job.folder / TARGET_FILE).exists()


@pytest.mark.usefixtures("numbers_only")
def test_a_resumed_job_repeats_no_step_that_was_finished(tmp_path: Path) -> None:
    job, events = own_job(tmp_path / "picture"), list[Event]()
    with pytest.raises(KeyboardInterrupt):
        reconstruct_job(job, bundled(), QUICK, on_event=_Interrupt("files", at_end=True))
    reconstruct_job(job, bundled(), QUICK, resume=True, on_event=events.append)
    assert [event.name for event in events if isinstance(event, StepFinished) and event.resumed] == [REFINEMENT]
    assert not [event for event in events if isinstance(event, IterationDone) and event.name == REFINEMENT]


@pytest.mark.usefixtures("numbers_only")
def test_a_divergence_is_a_warning_of_the_result(tmp_path: Path) -> None:
    config = replace(QUICK, turned=replace(QUICK.turned, smoothness=float("inf")))
    result = reconstruct_job(own_job(tmp_path / "p"), bundled(), config)
    assert any(warning.startswith("stopped early in refinement: the loss became") for warning in result.warnings)
    assert "refinement: stopped early: the loss became" in (tmp_path / "p" / "log.txt").read_text()
    assert bool(torch.isfinite(result.scene.depth).all())


def test_inversion_starts_from_what_the_encoder_proposes() -> None:
    """The best of four random latents and the mean is far off after one step; the encoder's proposal needs none."""
    target, quick = own_target(), replace(QUICK.inversion, final_steps=0)
    encoder = encoder_of(bundled().identity)
    assert encoder is not None
    with torch.no_grad():
        proposed = bundled().generator.synthesize(encoder(target.image)).clamp(-1, 1)
    reached = float(10 * torch.log10(4 / (proposed - target.image).square().mean()))
    (_, without), (_, started) = (
        find_latent(target.image, bundled(), settings, seed=0) for settings in (replace(quick, encoder=False), quick)
    )
    assert started > without + 5
    assert started > reached - 0.5


def test_another_generator_has_no_encoder_and_is_inverted_all_the_same() -> None:
    other, settings = replace(bundled(), sha256="f" * 64), QUICK.inversion
    found, _ = find_latent(own_target().image, other, settings, seed=0)
    alone, _ = find_latent(own_target().image, other, replace(settings, encoder=False), seed=0)
    assert torch.equal(found, alone)


def test_the_default_is_refused_for_another_generator_before_anything_is_written(tmp_path: Path) -> None:
    other = replace(bundled(), sha256="f" * 64)
    with pytest.raises(InputError, match="take the preset ellipsoid") as caught:
        reconstruct_job(own_job(tmp_path / "p"), other, QUICK)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "p").exists()
