"""From a picture to a folder: the files, the latent, interruptions of every kind, and folders of other jobs."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gan2shape.errors import InputError, OutputError
from gan2shape.generators import LoadedGenerator
from gan2shape.io.files import FolderLock
from gan2shape.priors.masks import no_mask
from gan2shape.reconstruct import pipeline
from gan2shape.reconstruct.config import Inversion
from gan2shape.reconstruct.pipeline import (
    PROGRESS_FILE,
    TARGET_FILE,
    Job,
    check_latent,
    find_latent,
    reconstruct_job,
)
from gan2shape.reconstruct.presets import PRESETS
from gan2shape.reconstruct.watch import Event, IterationDone, StepFinished, StepStarted
from gan2shape.result import ReconstructionResult
from tests.reconstruct.small import TINY, disc, grey_levels, small_generator, small_target

ONE_STAGE = dataclasses.replace(TINY, stages=(dataclasses.replace(TINY.stages[0], warmup=0),))

# The result folder of the design, written down once more.
FILES = {
    *("input.png", "mask.png", "reconstruction.png", "depth.npy", "depth.png", "normal.png", "normal.npy"),
    *("canonical_depth.npy", "albedo.png", "shading.png", "canonical.png"),
    *("scene.safetensors", "networks.safetensors", "target.safetensors", "scene.json"),
    *(f"rotate/{index:02d}.png" for index in range(14)),
    *(f"gan_rotate/{index:02d}.png" for index in range(14)),
    "rotate/cameras.json",
    *(f"relight/{index:02d}.png" for index in range(20)),
    *(f"gan_relight/{index:02d}.png" for index in range(20)),
    *("mesh.glb", "mesh.obj", "mesh.mtl", "mesh.png", "points.ply", "voxels.npz", "turntable.webp"),
    *("contact_sheet.png", "config.json", "environment.json", "history.jsonl", "log.txt"),
}
NUMBERS = {
    *("input.png", "mask.png", "scene.safetensors", "networks.safetensors", "target.safetensors", "scene.json"),
    *("config.json", "environment.json", "history.jsonl", "log.txt"),
}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedGenerator:
    return small_generator(tmp_path_factory.mktemp("generator"))


def disc_mask(image: Tensor) -> Tensor:
    return disc(image.shape[-1])


def a_job(loaded: LoadedGenerator, folder: Path, *, known: bool = True, seed: int = 0, **changed: Any) -> Job:
    target = small_target(loaded, seed)
    return dataclasses.replace(Job(target.image, folder, disc_mask, target.latent if known else None), **changed)


def files_below(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if not file.is_dir()}


def contents(folder: Path) -> dict[str, bytes]:
    """All files but those that tell seconds and the commit."""
    return {name: (folder / name).read_bytes() for name in files_below(folder) - {"log.txt", "environment.json"}}


@pytest.fixture
def numbers_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes the numbers of results without their pictures, which take most of the time of so small a job."""

    def save(result: ReconstructionResult, folder: Path, *, on_progress: Any, **_: Any) -> None:
        result.save(folder)
        on_progress("numbers", 0, 1)

    monkeypatch.setattr(pipeline, "export_result", save)


@pytest.fixture(scope="module")
def whole(loaded: LoadedGenerator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an uninterrupted job whose latent had to be found."""
    folder = tmp_path_factory.mktemp("whole") / "picture"
    reconstruct_job(a_job(loaded, folder, known=False), loaded, ONE_STAGE)
    return folder


def test_the_folder_holds_exactly_the_promised_files(whole: Path) -> None:
    assert files_below(whole) == FILES
    assert {entry.name for entry in whole.parent.iterdir()} == {"picture"}


def test_the_folder_can_be_loaded_and_says_what_happened(whole: Path, loaded: LoadedGenerator) -> None:
    result = ReconstructionResult.load(whole)
    assert result.config == json.loads(json.dumps(ONE_STAGE.to_dict()))
    assert torch.equal(result.image, small_target(loaded).image)
    assert torch.equal(result.mask, disc())
    lines = (whole / "log.txt").read_text().splitlines()
    steps = [
        "inversion",
        "shape prior",
        *(f"stage 1: {s}" for s in ("albedo", "encoder", "projection", "shape")),
        "files",
    ]
    for step in steps:
        assert any(line.startswith(f"{step}: ") for line in lines), step
    assert any(line.startswith("inversion reached ") for line in lines)


def test_a_finished_folder_is_returned_as_it_is(whole: Path, loaded: LoadedGenerator) -> None:
    before, events = contents(whole), list[Event]()
    times = {name: (whole / name).stat().st_mtime_ns for name in before}
    result = reconstruct_job(a_job(loaded, whole, known=False), loaded, ONE_STAGE, resume=True, on_event=events.append)
    assert torch.equal(result.scene.depth, ReconstructionResult.load(whole).scene.depth)
    assert events == []
    assert {name: (whole / name).stat().st_mtime_ns for name in before} == times
    assert files_below(whole) == FILES


@pytest.mark.parametrize(
    ("what", "settings", "job"),
    [
        ("other settings", {"config": dataclasses.replace(ONE_STAGE, crop=0.75)}, {}),
        ("another seed", {"seed": 1}, {}),
        ("another picture", {}, {"seed": 5}),
        ("another mask", {}, {"masker": no_mask}),
        ("another latent", {}, {"latent": torch.zeros(1, 6)}),
        ("another generator", {"loaded": "renamed"}, {}),
    ],
)
def test_a_finished_folder_of_another_job_is_refused(
    whole: Path, loaded: LoadedGenerator, what: str, settings: dict[str, Any], job: dict[str, Any]
) -> None:
    before = contents(whole)
    other = dataclasses.replace(loaded, sha256="f" * 64) if settings.pop("loaded", None) else loaded
    with pytest.raises(InputError, match=f"holds a finished result with {what}; repeat its command") as caught:
        reconstruct_job(
            a_job(loaded, whole, known=False, **job), other, settings.pop("config", ONE_STAGE), resume=True, **settings
        )
    assert "\n" not in str(caught.value)
    assert contents(whole) == before


def test_a_finished_folder_of_another_version_is_refused(whole: Path, loaded: LoadedGenerator, tmp_path: Path) -> None:
    folder = tmp_path / "old"
    folder.mkdir()
    for name in NUMBERS:
        (folder / name).write_bytes((whole / name).read_bytes())
    settings = json.loads((folder / "config.json").read_text())
    settings["config"]["a_setting_of_another_version"] = 1
    (folder / "config.json").write_text(json.dumps(settings))
    with pytest.raises(InputError, match="with other settings"):
        reconstruct_job(a_job(loaded, folder, known=False), loaded, ONE_STAGE, resume=True)


class _Interrupt:
    """Presses Ctrl-C at an iteration of a step, or at the end of it."""

    def __init__(self, step: str, *, at_end: bool = False) -> None:
        self.step, self.at_end = step, at_end

    def __call__(self, event: Event) -> None:
        kind = StepFinished if self.at_end else IterationDone
        if isinstance(event, kind) and event.name == self.step:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("step", "at_end"),
    [
        ("inversion", False),
        ("inversion", True),
        ("shape prior", False),
        ("stage 1: albedo", False),
        ("stage 1: encoder", False),
        ("stage 1: projection", True),
        ("stage 1: shape", False),
        ("files", True),
    ],
)
@pytest.mark.usefixtures("numbers_only")
def test_an_interrupted_job_resumes_to_the_identical_numbers(
    whole: Path, loaded: LoadedGenerator, tmp_path: Path, step: str, at_end: bool
) -> None:
    job, events = a_job(loaded, tmp_path / "picture", known=False), list[Event]()
    with pytest.raises(KeyboardInterrupt):
        reconstruct_job(job, loaded, ONE_STAGE, on_event=_Interrupt(step, at_end=at_end))
    assert not [name for name in files_below(job.folder) if "tmp" in name or "lock" in name]
    reconstruct_job(job, loaded, ONE_STAGE, resume=True, on_event=events.append)
    numbers = contents(job.folder)
    assert numbers.keys() == {name for name in NUMBERS if name not in ("log.txt", "environment.json")}
    expected = contents(whole)
    assert [name for name in numbers if numbers[name] != expected[name]] == []
    begun = [event.name for event in events if isinstance(event, StepStarted)]
    assert at_end or begun[0] == step


def test_a_job_interrupted_between_its_files_resumes_to_the_identical_folder(
    whole: Path, loaded: LoadedGenerator, tmp_path: Path
) -> None:
    job = a_job(loaded, tmp_path / "picture", known=False)
    with pytest.raises(KeyboardInterrupt):
        reconstruct_job(job, loaded, ONE_STAGE, on_event=_Interrupt("files"))
    assert (job.folder / PROGRESS_FILE).exists()
    assert (job.folder / TARGET_FILE).exists()
    reconstruct_job(job, loaded, ONE_STAGE, resume=True)
    assert files_below(job.folder) == FILES
    first, second = contents(whole), contents(job.folder)
    assert [name for name in first if first[name] != second[name]] == []


@pytest.mark.usefixtures("numbers_only")
def test_without_resume_an_interrupted_job_starts_anew(loaded: LoadedGenerator, tmp_path: Path) -> None:
    job, events = a_job(loaded, tmp_path / "picture"), list[Event]()
    with pytest.raises(KeyboardInterrupt):
        reconstruct_job(job, loaded, ONE_STAGE, on_event=_Interrupt("stage 1: encoder"))
    assert (job.folder / PROGRESS_FILE).exists()
    reconstruct_job(job, loaded, ONE_STAGE, on_event=events.append)
    assert not [event for event in events if isinstance(event, StepFinished) and event.resumed]
    assert files_below(job.folder) == NUMBERS


@pytest.mark.usefixtures("numbers_only")
@pytest.mark.parametrize(
    ("what", "settings", "changed"),
    [
        ("configuration", {"config": dataclasses.replace(ONE_STAGE, crop=0.75)}, {}),
        ("seed", {"seed": 1}, {}),
        ("picture", {}, {"picture": torch.zeros(1, 3, 32, 32)}),
        ("mask", {}, {"masker": no_mask}),
        ("latent", {}, {"latent": torch.zeros(1, 6)}),
        ("perceptual features", {"features": grey_levels}, {}),
    ],
)
def test_progress_of_another_job_is_refused_in_one_line_and_left_alone(
    loaded: LoadedGenerator, tmp_path: Path, what: str, settings: dict[str, Any], changed: dict[str, Any]
) -> None:
    job = a_job(loaded, tmp_path / "picture", known=what != "picture")
    with pytest.raises(KeyboardInterrupt):
        reconstruct_job(job, loaded, ONE_STAGE, on_event=_Interrupt("stage 1: encoder"))
    before = contents(job.folder)
    settings = {"config": ONE_STAGE, **settings}
    with pytest.raises(InputError, match=f"kept by a run with another {what}; repeat") as caught:
        reconstruct_job(dataclasses.replace(job, **changed), loaded, settings.pop("config"), resume=True, **settings)
    assert "\n" not in str(caught.value)
    assert contents(job.folder) == before


def test_a_folder_in_use_is_refused(loaded: LoadedGenerator, tmp_path: Path) -> None:
    job = a_job(loaded, tmp_path / "picture")
    with FolderLock(job.folder), pytest.raises(OutputError, match="locked by process"):
        reconstruct_job(job, loaded, ONE_STAGE)


def test_a_mask_that_finds_nothing_leaves_no_folder(loaded: LoadedGenerator, tmp_path: Path) -> None:
    def nothing(image: Tensor) -> Tensor:
        raise InputError("no object stands out")

    job = a_job(loaded, tmp_path / "picture", masker=nothing)
    with pytest.raises(InputError, match="no object stands out"):
        reconstruct_job(job, loaded, ONE_STAGE)
    assert not job.folder.exists()


def test_an_empty_mask_is_the_user_s_mistake(loaded: LoadedGenerator, tmp_path: Path) -> None:
    job = a_job(loaded, tmp_path / "picture", masker=lambda image: torch.zeros_like(image[:, :1]))
    with pytest.raises(InputError, match="the mask shows no object"):
        reconstruct_job(job, loaded, ONE_STAGE)


def test_a_generator_without_discriminator_gets_all_files_too(tmp_path: Path) -> None:
    alone = small_generator(tmp_path, discriminator=False)
    job = a_job(alone, tmp_path / "picture")
    reconstruct_job(job, alone, ONE_STAGE, features=grey_levels)
    assert files_below(job.folder) == FILES


@pytest.mark.usefixtures("numbers_only")
def test_a_picture_that_the_gan_cannot_make_is_warned_about(loaded: LoadedGenerator, tmp_path: Path) -> None:
    stripes = torch.ones(1, 3, 32, 32)
    stripes[:, :, ::2] = -1
    result = reconstruct_job(a_job(loaded, tmp_path / "p", known=False, picture=stripes), loaded, ONE_STAGE)
    assert any("the generator reproduces this picture poorly" in warning for warning in result.warnings)
    assert "warning: the generator reproduces" in (tmp_path / "p" / "log.txt").read_text()
    assert list(ReconstructionResult.load(tmp_path / "p").warnings) == list(result.warnings)


@pytest.mark.usefixtures("numbers_only")
def test_a_preset_that_starts_from_less_than_its_published_schedule_says_so(
    loaded: LoadedGenerator, tmp_path: Path
) -> None:
    job = a_job(loaded, tmp_path / "p")
    assumes = PRESETS["paper-cat"].assumes
    config = dataclasses.replace(ONE_STAGE, name="paper-cat", assumes=assumes)
    (warning,) = reconstruct_job(job, loaded, config).warnings
    assert warning.startswith(f"the preset paper-cat is published with {assumes}; without them")
    assert f"warning: {warning}\n" in (job.folder / "log.txt").read_text()
    assert ReconstructionResult.load(job.folder).warnings == (warning,)
    assert reconstruct_job(job, loaded, config, resume=True).warnings == (warning,)
    assert not reconstruct_job(a_job(loaded, tmp_path / "q"), loaded, ONE_STAGE).warnings


def test_a_found_latent_reproduces_the_picture(loaded: LoadedGenerator) -> None:
    target = small_target(loaded, seed=3)
    settings = Inversion(samples=32, restarts=2, survey_steps=20, narrow_steps=20, final_steps=80)
    latent, psnr = find_latent(target.image, loaded, settings, seed=0)
    with torch.no_grad():
        error = (loaded.generator.synthesize(latent).clamp(-1, 1) - target.image).double()
    assert psnr == pytest.approx(10 * float(torch.log10(4 / error.square().mean())), abs=0.2)
    again, _ = find_latent(target.image, loaded, settings, seed=0)
    assert torch.equal(latent, again)


def test_latents_that_fit(loaded: LoadedGenerator) -> None:
    assert check_latent(torch.ones(6), loaded).shape == (1, 6)
    assert check_latent(torch.ones(1, 6, dtype=torch.float64), loaded).dtype == torch.float32
    rows = loaded.generator.num_ws  # type: ignore[attr-defined]
    assert check_latent(torch.ones(1, rows, 6), loaded).shape == (1, rows, 6)


@pytest.mark.parametrize("shape", [(5,), (2, 6), (1, 3, 6), (1, 1, 1, 6), ()])
def test_latents_of_another_shape_are_refused(loaded: LoadedGenerator, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="the latent must be 6 numbers"):
        check_latent(torch.ones(shape), loaded)


def test_latents_that_are_not_finite_are_refused(loaded: LoadedGenerator) -> None:
    with pytest.raises(InputError, match="the latent holds NaN or infinite numbers"):
        check_latent(torch.full((6,), torch.nan), loaded)


CHILD = """
import sys, time, torch
from pathlib import Path
from gan2shape.generators import load_generator
from gan2shape.reconstruct.pipeline import reconstruct_job
from gan2shape.reconstruct.watch import IterationDone
from tests.reconstruct.test_pipeline import ONE_STAGE, a_job

torch.set_num_threads(1)
loaded = load_generator(sys.argv[1], compute_dtype=torch.float32)

def on_event(event):
    if isinstance(event, IterationDone) and event.name == sys.argv[3]:
        print("now", flush=True)
        time.sleep(100)

reconstruct_job(a_job(loaded, Path(sys.argv[2]), known=False), loaded, ONE_STAGE, on_event=on_event)
"""


@pytest.mark.slow
@pytest.mark.parametrize("step", ["inversion", "shape prior", "stage 1: projection", "stage 1: shape", "files"])
def test_a_killed_process_resumes_to_the_identical_folder(whole: Path, tmp_path: Path, step: str) -> None:
    generator = small_generator(tmp_path)
    folder = tmp_path / "results" / "picture"
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root / "src"), str(root)])}
    command = [sys.executable, "-c", CHILD, str(tmp_path / "small32.pt"), str(folder), step]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=root) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "now\n"
        os.kill(child.pid, signal.SIGKILL)
    reconstruct_job(a_job(generator, folder, known=False), generator, ONE_STAGE, resume=True)
    assert files_below(folder) == FILES
    first, second = contents(whole), contents(folder)
    assert [name for name in first if first[name] != second[name]] == []
