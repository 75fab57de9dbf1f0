"""Pictures of every kind become results; plans, samples and several pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from gan2shape.cli import main
from gan2shape.cli.official import OfficialFlags
from gan2shape.cli.reconstruct import Reconstruct, started_from
from gan2shape.errors import UserError
from gan2shape.generators import latent_rng, load_generator
from gan2shape.networks.turned import bundled_turned
from gan2shape.reconstruct.config import config_from_dict
from gan2shape.reconstruct.presets import PRESETS
from gan2shape.reconstruct.pretrain import load_priors, with_priors
from tests.cli.conftest import LATENT_DIM, RESOLUTION, Command, leftovers

Mistake = Callable[..., str]
Quarters = list[tuple[int, ...]]

SIDE = 32
COLOURS: Quarters = [(220, 30, 30), (30, 220, 30), (30, 30, 220), (200, 200, 60)]
"""Top left, top right, bottom left, bottom right."""
GREYS = [20, 90, 160, 230]
GREY_QUARTERS: Quarters = [(level,) * 3 for level in GREYS]


def quarters(values: list[tuple[int, ...]] | list[int], side: int = SIDE) -> np.ndarray:
    first, second, third, fourth = (np.broadcast_to(np.uint8(v), (side // 2, side // 2, *np.shape(v))) for v in values)
    return np.concatenate([np.concatenate([first, second], axis=1), np.concatenate([third, fourth], axis=1)], axis=0)


def seen(file: Path) -> Quarters:
    """The colours in the middle of the four quarters of a picture."""
    levels = np.asarray(Image.open(file).convert("RGB"))
    assert levels.shape == (RESOLUTION, RESOLUTION, 3)
    low, high = RESOLUTION // 4, 3 * RESOLUTION // 4
    return [tuple(int(v) for v in levels[row, column]) for row in (low, high) for column in (low, high)]


def grey(path: Path) -> Quarters:
    Image.fromarray(quarters(GREYS)).save(path)
    return GREY_QUARTERS


def palette(path: Path) -> Quarters:
    picture = Image.fromarray(quarters(COLOURS)).quantize(4)
    assert picture.mode == "P"
    picture.save(path)
    return COLOURS


def transparent(path: Path) -> Quarters:
    """Half transparent over white; the last quarter is fully so."""
    alpha = quarters([255, 128, 255, 0])
    Image.fromarray(np.dstack([quarters(COLOURS), alpha])).save(path)
    mixed = tuple(round(255 - (255 - level) * 128 / 255) for level in COLOURS[1])
    return [COLOURS[0], mixed, COLOURS[2], (255, 255, 255)]


def deep_grey(path: Path) -> Quarters:
    Image.fromarray(quarters(GREYS).astype(np.uint16) * 257).save(path)
    assert Image.open(path).mode == "I;16"
    return GREY_QUARTERS


def turned_by_exif(path: Path) -> Quarters:
    """Stored lying on its side; orientation 6 says that it is to be turned by 90° to the right."""
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = Image.fromarray(quarters(COLOURS))
    upright.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif, quality=95)
    return COLOURS


def wide(path: Path) -> Quarters:
    """The square in the middle of a picture three times as wide."""
    side = np.zeros((SIDE, SIDE, 3), np.uint8)
    Image.fromarray(np.concatenate([side, quarters(COLOURS), side], axis=1)).save(path)
    return COLOURS


def very_wide(path: Path) -> Quarters:
    """20,000 pixels."""
    picture = np.full((64, 20_000), 128, np.uint8)
    picture[:, 9968:10_032] = quarters(GREYS, 64)
    Image.fromarray(picture).save(path)
    return GREY_QUARTERS


def tall(path: Path) -> Quarters:
    end = np.zeros((SIDE // 2, SIDE, 3), np.uint8)
    Image.fromarray(np.concatenate([end, quarters(COLOURS), end], axis=0)).save(path)
    return COLOURS


KINDS = {
    "grey.png": grey,
    "palette.gif": palette,
    "transparent.png": transparent,
    "deep.png": deep_grey,
    "turned.jpg": turned_by_exif,
    "wide.png": wide,
    "very_wide.png": very_wide,
    "tall.webp": tall,
}


@pytest.mark.usefixtures("numbers_only")
def test_every_kind_of_picture_comes_out_upright_and_in_its_colours(tmp_path: Path, tiny: list[str]) -> None:
    wanted = {tmp_path / name: make(tmp_path / name) for name, make in KINDS.items()}
    out = tmp_path / "out"
    assert main(["reconstruct", *map(str, wanted), "-o", str(out), *tiny]) == 0
    assert {folder.name for folder in out.iterdir()} == {file.stem for file in wanted}
    for file, colours in wanted.items():
        tolerance = 12 if file.suffix in (".jpg", ".webp") else 2  # These two blur colours.
        got = np.asarray(seen(out / file.stem / "input.png"))
        assert np.abs(got - np.asarray(colours)).max() <= tolerance, file.name


def test_the_real_command_says_where_everything_is(command: Command, tmp_path: Path, tiny: list[str]) -> None:
    colours = palette(tmp_path / "four [red].gif")  # Brackets are markup to the library that prints.
    ended = command("reconstruct", "four [red].gif", "-o", "out", *tiny)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    lines = ended.stdout.splitlines()
    assert lines[0] == "four [red]: preset ellipsoid, seed 0, on cpu, threads: 1"
    steps = ("inversion", "shape prior", "stage 1: albedo", "stage 1: encoder", "stage 1: projection")
    steps += ("stage 1: pose and light", "stage 1: shape", "stage 2: albedo", "files")
    assert [line[:26].strip() for line in lines[1:10]] == list(steps)
    assert lines[-2:] == [
        "results:       out/four [red]",
        "contact sheet: out/four [red]/contact_sheet.png",
    ]
    folder = tmp_path / "out" / "four [red]"
    assert (folder / "contact_sheet.png").exists()
    assert (folder / "mesh.glb").exists()
    assert np.abs(np.asarray(seen(folder / "input.png")) - np.asarray(colours)).max() <= 2
    assert leftovers(tmp_path) == []


@pytest.mark.usefixtures("numbers_only")
def test_a_sample_is_the_generators_own_picture(tmp_path: Path, tiny: list[str], checkpoint: Path) -> None:
    assert main(["reconstruct", "--sample", "3", "5", "-o", str(tmp_path), *tiny]) == 0
    loaded = load_generator(checkpoint)
    for seed in (3, 5):
        kept = load_file(tmp_path / f"sample_{seed}" / "target.safetensors")
        own = loaded.sample_latents(1, rng=latent_rng(seed), truncation=0.7)
        assert torch.equal(kept["latent"], own)
        assert torch.equal(kept["image"], loaded.generator.synthesize(own).clamp(-1, 1))


@pytest.mark.usefixtures("numbers_only")
def test_a_latent_from_a_file_is_used_as_it_is(tmp_path: Path, tiny: list[str], picture: Path) -> None:
    value = torch.linspace(-1, 1, LATENT_DIM)[None]
    save_file({"latent": value}, tmp_path / "latent.safetensors")
    flags = ["--latent", str(tmp_path / "latent.safetensors"), "-o", str(tmp_path)]
    assert main(["reconstruct", str(picture), *flags, *tiny]) == 0
    assert torch.equal(load_file(tmp_path / picture.stem / "target.safetensors")["latent"], value)


@pytest.mark.usefixtures("numbers_only")
def test_a_mask_from_a_file_is_used_as_it_is(tmp_path: Path, tiny: list[str], picture: Path) -> None:
    Image.fromarray(quarters([255, 0, 0, 0])).save(tmp_path / "mask.png")
    flags = [*tiny, "--mask", str(tmp_path / "mask.png"), "-o", str(tmp_path)]
    assert main(["reconstruct", str(picture), *flags]) == 0
    mask = load_file(tmp_path / picture.stem / "target.safetensors")["mask"][0, 0]
    half = RESOLUTION // 2
    assert mask[: half - 1, : half - 1].min() == 1
    assert mask[half + 1 :].max() == 0


@pytest.mark.usefixtures("numbers_only")
def test_resume_leaves_a_finished_result_alone(
    tmp_path: Path, tiny: list[str], picture: Path, mistake: Mistake
) -> None:
    arguments = ["reconstruct", str(picture), "-o", str(tmp_path), *tiny]
    assert main(arguments) == 0
    written = (tmp_path / picture.stem / "scene.safetensors").stat().st_mtime_ns
    assert main([*arguments, "--resume"]) == 0
    assert (tmp_path / picture.stem / "scene.safetensors").stat().st_mtime_ns == written
    assert "a finished result with another seed" in mistake(*arguments, "--resume", "--seed", "1")


def test_nothing_to_do(mistake: Mistake) -> None:
    assert "expected a picture, or --sample SEED" in mistake("reconstruct")


def test_two_inputs_of_one_name(tmp_path: Path, mistake: Mistake) -> None:
    said = mistake("reconstruct", tmp_path / "a.png", tmp_path / "b" / "a.jpg")
    assert "two inputs are called a" in said
    assert "two inputs are called sample_3" in mistake("reconstruct", "sample_3.png", "--sample", "3")
    assert "two inputs are called sample_3" in mistake("reconstruct", "--sample", "3", "3")


@pytest.mark.parametrize("flag", ["--seed", "--sample"])
def test_a_seed_that_is_too_large(flag: str, picture: Path, mistake: Mistake) -> None:
    assert f"{flag} must be a whole number of at most 64 bits" in mistake("reconstruct", picture, flag, 2**70)


@pytest.mark.parametrize("preset", list(PRESETS))
def test_a_dry_run_prints_the_resolved_settings_and_writes_nothing(
    preset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    flags = ["--preset", preset, "--config.yaw-limit-deg", "33", "--seed", "7", "--dry-run"]
    assert main(["reconstruct", "a/face.png", "--sample", "2", *flags]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["inputs"] == {"a/face.png": "results/face", "sample 2": "results/sample_2"}
    assert plan["seed"] == 7
    config = config_from_dict(plan["config"])
    assert (config.name, config.yaw_limit_deg) == (preset, 33)
    assert config.stages == PRESETS[preset].stages
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "name"),
    [([], "sample_head"), (["--picture", "2"], "sample_head_2"), (["--picture", "3"], "sample_head_3")],
)
def test_the_demo_is_a_reconstruction_of_a_bundled_picture(
    flags: list[str], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--dry-run", *flags]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert list(plan["inputs"].values()) == [f"results/demo/{name}"]
    assert Path(next(iter(plan["inputs"]))).exists()
    assert config_from_dict(plan["config"]) == PRESETS["default"]


def plan_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    capsys.readouterr()
    assert main([*arguments, "--dry-run"]) == 0
    plan: dict[str, Any] = json.loads(capsys.readouterr().out)
    return plan


@pytest.mark.parametrize(
    ("flags", "preset"),
    [
        ([], "default"),
        (["--generator", "bundled"], "default"),
        (["--seed", "3", "--mask", "none", "--threads", "1"], "default"),
        (["--config.turned.views", "5"], "default"),
        (["--config.turned.refine=0"], "default"),
        (["--config.inversion.final-steps", "9"], "default"),
        (["--config.yaw-limit-deg", "20"], "default"),
        (["--latent", "w.pt"], "default"),
        (["--generator", "own.safetensors"], "ellipsoid"),
        (["--generator=own.pkl"], "ellipsoid"),
        (["--generator", "my_gan:paint"], "ellipsoid"),
        (["--features", "vgg16.pth"], "ellipsoid"),
        (["--vgg", "vgg16.pth"], "ellipsoid"),
        (["--pretrained", "networks.safetensors"], "ellipsoid"),
        (["--priors", "bundled"], "ellipsoid"),
        (["--compat"], "ellipsoid"),
        (["--config.stages.0.albedo", "3"], "ellipsoid"),
        (["--config.prior-steps=3"], "ellipsoid"),
        (["--config.geometry.working-size-px", "32"], "ellipsoid"),
        (["--config.crop", "0.5"], "ellipsoid"),
        (["--config.start", "ellipsoid"], "ellipsoid"),
        (["--config.yaw_limit_deg", "45"], "default"),
        (["--config.optimizer.batch-size", "4"], "ellipsoid"),
        (["--preset", "ellipsoid"], "ellipsoid"),
        (["--preset", "paper-celeba", "--generator", "own.pt"], "paper-celeba"),
        (["--preset=paper-cat"], "paper-cat"),
        (["--preset", "default", "--config.turned.views", "5"], "default"),
    ],
)
def test_the_preset_is_the_one_that_fits_the_flags(
    flags: list[str], preset: str, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = plan_of(capsys, "reconstruct", "face.png", *flags)
    assert plan["config"]["name"] == preset
    assert plan["config"]["start"] == ("turned" if preset == "default" else "ellipsoid")


@pytest.mark.parametrize(
    "flags",
    [
        ["--generator", "own.safetensors"],
        ["--vgg", "vgg16.pth"],
        ["--pretrained", "networks.safetensors"],
        ["--priors", "bundled"],
        ["--compat"],
        ["--config.crop", "0.5"],
        ["--config.start", "ellipsoid"],
        ["--config.geometry.working-size-px", "32"],
    ],
)
def test_the_default_refuses_by_name_what_it_would_not_use(flags: list[str], mistake: Mistake) -> None:
    said = mistake("reconstruct", "face.png", "--preset", "default", *flags, "--dry-run")
    assert said.startswith(
        f"gan2shape: --preset default: for the bundled generator and its networks, which have no use for {flags[0]}; "
    )
    assert "take --preset ellipsoid" in said


def test_turned_views_are_for_other_files_of_the_bundled_generator_too(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--generator", "copy.safetensors", "--config.start", "turned", "--config.turned.views", "5"]
    config = plan_of(capsys, "reconstruct", "face.png", *flags)["config"]
    assert (config["start"], config["turned"]["views"]) == ("turned", 5)


def test_the_demo_with_another_generator_or_other_features_takes_the_steps(capsys: pytest.CaptureFixture[str]) -> None:
    for flags in (["--generator", "own.safetensors"], ["--features", "vgg16.pth"]):
        assert config_from_dict(plan_of(capsys, "demo", *flags)["config"]) == PRESETS["ellipsoid"]


@pytest.mark.usefixtures("numbers_only")
def test_the_default_preset_runs_and_goes_on_after_ctrl_c(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = [*("--config.turned.views", "4"), *("--config.turned.refine", "2"), *("--config.turned.batch-size", "2")]
    few += [word for part in ("survey", "final") for word in (f"--config.inversion.{part}-steps", "1")]
    arguments = ["reconstruct", "--sample", "3", *few, "--threads", "1", "-o"]
    assert main([*arguments, str(tmp_path / "whole")]) == 0
    assert "preset default" in capsys.readouterr().out

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("gan2shape.reconstruct.pipeline.write_result", interrupt)
        assert main([*arguments, str(tmp_path / "again")]) == 130
    assert "interrupted; to go on after the last finished step: gan2shape reconstruct" in capsys.readouterr().err
    assert main([*arguments, str(tmp_path / "again"), "--resume"]) == 0
    assert "refinement" in capsys.readouterr().out
    for name in ("scene.safetensors", "networks.safetensors"):
        first, second = (tmp_path / folder / "sample_3" / name for folder in ("whole", "again"))
        assert first.read_bytes() == second.read_bytes()


def test_priors_take_the_place_of_the_presets(mistake: Mistake, tmp_path: Path) -> None:
    loaded = load_generator()
    verb = Reconstruct(priors="bundled", config=PRESETS["ellipsoid"])
    config = started_from(verb, loaded)[0].config
    pose, lighting = load_priors(bundled_turned(), loaded)
    assert config == with_priors(PRESETS["ellipsoid"], pose, lighting)
    assert config.pose.yaw_scale == PRESETS["ellipsoid"].pose.yaw_scale
    assert config.lighting == lighting
    assert "Gaussians" in PRESETS["paper-synface"].assumes
    assert "Gaussians" not in with_priors(PRESETS["paper-synface"], pose, lighting).assumes
    arguments = ["reconstruct", "--sample", "3", "--preset", "ellipsoid", "-o", tmp_path / "run", "--priors"]
    both = Reconstruct(priors="bundled", original=OfficialFlags(view_mvn=Path("view.pth")))
    with pytest.raises(UserError, match="--priors: takes the place of --view-mvn"):
        started_from(both, loaded)
    assert "no such file" in mistake(*arguments, tmp_path / "nowhere.safetensors").lower()
    assert not (tmp_path / "run").exists()
