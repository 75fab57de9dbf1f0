"""A release of the original program, unpacked: one command with its configuration does the rest."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from gan2shape.cli import main
from gan2shape.io.checkpoints import read_tensors
from gan2shape.reconstruct.config import config_from_dict
from gan2shape.reconstruct.presets import PRESETS
from gan2shape.result import ReconstructionResult
from tests.cli.conftest import LATENT_DIM
from tests.io import official_files

Mistake = Callable[..., str]
FEW = """
## a configuration with few iterations
category: synface
num_stage: 1
stage_len_dict:
    step1: 2
    step2: 2
    step3: 2
flip1_cfg: [false]
flip3_cfg: [true]
image_size: 64
crop: 12
collect_iters: 2
batchsize: 2
lam_perc: 0
F1_d: 8
img_list_path: data/synface/list.txt
img_root: data/synface
latent_root: data/synface/latents
pretrain: checkpoints/gan2shape/synface_pretrain.pth
view_mvn_path: checkpoints/view_light/synface_view_mvn.pth
light_mvn_path: checkpoints/view_light/synface_light_mvn.pth
gan_ckpt: checkpoints/stylegan2/tiny.pt
gan_size: 16
"""
STATES = {"width": 8, "code": 8, "offset": 4, "latent": LATENT_DIM}


@pytest.fixture
def release(tmp_path: Path, checkpoint: Path, picture: Path) -> Path:
    """A folder as the download script leaves it, with a tiny GAN and two pictures."""
    rng = torch.Generator().manual_seed(0)
    pictures = {name: (picture.read_bytes(), torch.randn(LATENT_DIM, generator=rng)) for name in ("0200", "0201")}
    root = tmp_path / "release"
    official_files.unpack(root, "synface", states=official_files.networks(64, **STATES), pictures=pictures)
    (root / "configs" / "synface.yml").write_text(FEW)
    tensors = read_tensors(checkpoint)
    nested = {key: {n[len(key) + 1 :]: t.float() for n, t in tensors.items() if n.startswith(f"{key}/")}
              for key in ("g_ema", "d")}  # fmt: skip
    torch.save(nested, root / "checkpoints" / "stylegan2" / "tiny.pt", _use_new_zipfile_serialization=False)
    return root


def planned(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> dict:
    capsys.readouterr()
    assert main(["reconstruct", "--dry-run", *map(str, arguments)]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("name", ["celeba", "cat", "car", "church", "synface"])
def test_the_plan_of_a_configuration_is_that_of_its_preset(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / f"{name}.yml").write_text(official_files.yaml_text(name))
    plan = planned(capsys, "--config", tmp_path / f"{name}.yml")
    assert config_from_dict(plan["config"]) == PRESETS[f"paper-{name}"]
    assert any("names a GAN at checkpoints/stylegan2" in note for note in plan["notes"])
    changed = planned(capsys, f"--config={tmp_path / f'{name}.yml'}", "--config.geometry.fov-deg", "11", "--compat")
    geometry = config_from_dict(changed["config"]).geometry
    assert (geometry.fov_deg, geometry.compat, geometry.border_weight) == (11, True, 1.02)


def test_everything_that_a_configuration_names_is_used(
    release: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(capsys, "--config", release / "configs" / "synface.yml")
    names = [str(release / "data" / "synface" / f"0{number}.png") for number in (200, 201)]
    assert list(plan["inputs"]) == names
    assert list(plan["latents"].values()) == [
        str(release / "data" / "synface" / "latents" / f"020{n}.pt") for n in "01"
    ]
    assert plan["generator"] == str(release / "checkpoints" / "stylegan2" / "tiny.pt")
    assert plan["pretrained"] == str(release / "checkpoints" / "gan2shape" / "synface_pretrain.pth")
    assert plan["notes"] == []
    config = config_from_dict(plan["config"])
    assert config.crop == 12 / 16
    view, light = official_files.gaussians()
    torch.testing.assert_close(torch.tensor(config.pose.mean), view["mean"])
    torch.testing.assert_close(torch.tensor(config.lighting.mean_units), light["mean"], rtol=1e-5, atol=1e-6)
    monkeypatch.chdir(release)
    assert planned(capsys, "--config", "configs/synface.yml")["generator"] == "checkpoints/stylegan2/tiny.pt"
    one = planned(capsys, names[1], "--config", "configs/synface.yml", "--generator", "bundled")
    assert list(one["inputs"]) == [names[1]]


def test_names_longer_than_the_system_has_are_not_there(
    release: Path, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = release / "configs" / "synface.yml"
    file.write_text(file.read_text().replace("tiny.pt", "t" * 300 + ".pt"))
    (note,) = planned(capsys, picture, "--config", file)["notes"]
    assert f"names a GAN at checkpoints/stylegan2/{'t' * 300}.pt, which is not there" in note


@pytest.mark.usefixtures("numbers_only")
def test_a_release_is_reconstructed(release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--mask", "none", "--threads", "1", "--config.geometry.border-columns", "1", "--compat"]
    command = ["reconstruct", "--config", str(release / "configs" / "synface.yml"), "-o", str(tmp_path / "out"), *flags]
    assert main(command) == 0, capsys.readouterr().err
    for index, name in enumerate(("0200", "0201")):
        result = ReconstructionResult.load(tmp_path / "out" / name)
        latent = torch.load(release / "data" / "synface" / "latents" / f"{name}.pt", weights_only=True)
        torch.testing.assert_close(result.latent, (latent["latent"] if index == 0 else latent)[None])
        config = config_from_dict(result.config)
        assert config.geometry.working_size_px == 64
        assert (config.networks.map_base_width, config.networks.code_size) == (8, 8)
        assert config.geometry.compat
        assert not any("published with" in warning for warning in result.warnings)  # Nothing is missing.
        view, _ = official_files.gaussians()
        torch.testing.assert_close(result.networks["factors.pose_mean"], view["mean"])


def test_lists_and_folders_of_latents(release: Path, picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = release / "data" / "synface"
    plan = planned(capsys, folder / "list.txt")
    assert [Path(name).stem for name in plan["inputs"]] == ["0200", "0201"]
    assert len(plan["latents"]) == 2
    (folder / "latents" / "0201.pt").unlink()
    plan = planned(capsys, folder / "0200.png", folder / "0201.png", picture, "--latents", folder / "latents")
    assert plan["latents"] == {str(folder / "0200.png"): str(folder / "latents" / "0200.pt")}


def test_latents_of_a_configurations_list_have_its_names(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Names that begin with a folder; a latent with the last part of a name alone belongs to another picture."""
    folder, file = release / "data" / "synface", release / "configs" / "synface.yml"
    png, latent = (folder / "0200.png").read_bytes(), (folder / "latents" / "0200.pt").read_bytes()
    for name in ("one/0300", "two/0301", "three/0200"):
        for kind, content in (("latents", latent), ("", png)):
            place = folder / kind / name
            place.parent.mkdir(exist_ok=True)
            place.with_suffix(".pt" if kind else ".png").write_bytes(content)
    (folder / "latents" / "three" / "0200.pt").unlink()
    (folder / "list.txt").write_text("one/0300.png\ntwo/0301.png\nthree/0200.png\n")
    named = ("one/0300", "two/0301")
    expected = {str(folder / f"{name}.png"): str(folder / "latents" / f"{name}.pt") for name in named}
    plan = planned(capsys, "--config", file)
    assert len(plan["inputs"]) == 3
    assert plan["latents"] == expected
    file.write_text(file.read_text().replace("latent_root: data/synface/latents\n", ""))
    assert planned(capsys, "--config", file)["latents"] == expected  # Those beside the list.
    (release / "others" / "three").mkdir(parents=True)
    (release / "others" / "three" / "0200.pt").write_bytes(latent)
    plan = planned(capsys, "--config", file, "--latents", release / "others")
    assert plan["latents"] == {str(folder / "three" / "0200.png"): str(release / "others" / "three" / "0200.pt")}


def test_everything_that_a_configuration_names_and_is_not_there_is_told(
    release: Path, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = release / "configs" / "synface.yml"
    named = {
        "pre-trained networks": "checkpoints/gan2shape/synface_pretrain.pth",
        "a Gaussian of pose": "checkpoints/view_light/synface_view_mvn.pth",
        "a Gaussian of light": "checkpoints/view_light/synface_light_mvn.pth",
        "a GAN": "checkpoints/stylegan2/tiny.pt",
        "a list of pictures": "data/synface/list.txt",
        "a folder of pictures": "data/synface",
        "a folder of latents": "data/synface/latents",
    }
    for folder in ("checkpoints", "data"):
        (release / folder).rename(release / f"other_{folder}")
    notes = [f"{file} names {what} at {place}, which is not there; going on without" for what, place in named.items()]
    assert sorted(planned(capsys, "--config", file)["notes"]) == sorted(notes)
    flags = ["--latents", release / "other_data", "--generator", "other"]
    said = planned(capsys, picture, "--config", file, *flags)["notes"]
    assert sorted(said) == sorted(note for note in notes if "names a Gaussian" in note or "networks" in note)


def test_a_crop_in_pixels_goes_with_pictures_of_one_size(
    release: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], mistake: Mistake
) -> None:
    file, large = release / "configs" / "synface.yml", tmp_path / "large.png"
    with Image.open(picture) as opened:
        opened.resize((64, 48)).save(large)
    assert planned(capsys, large, "--config", file)["config"]["crop"] == 12 / 48
    assert (
        planned(capsys, picture, release / "data" / "synface" / "0200.png", "--config", file)["config"]["crop"] == 0.75
    )
    said = mistake("reconstruct", picture, large, "--config", file)
    assert f"crop: 12 px are unlike parts of {picture} and of {large}, whose sizes differ" in said
    assert planned(capsys, picture, large, "--config", file, "--config.crop", "0.5")["config"]["crop"] == 0.5
    file.write_text(file.read_text().replace("crop: 12\n", ""))
    assert planned(capsys, picture, large, "--config", file)["config"]["crop"] == 1


def test_mistakes_are_told_in_one_line(release: Path, picture: Path, tmp_path: Path, mistake: Mistake) -> None:
    file = release / "configs" / "synface.yml"
    assert "both say what to start from" in mistake("reconstruct", "--config", file, "--preset", "default")
    assert "got No such file" in mistake("reconstruct", picture, "--config", tmp_path / "none.yml")
    (tmp_path / "a.yml").write_text("batchsizes: 3\n")
    said = mistake("reconstruct", picture, "--config", tmp_path / "a.yml")
    assert "line 1: the original program has no key batchsizes; perhaps batchsize is meant" in said
    assert "no such folder" in mistake("reconstruct", picture, "--latents", tmp_path / "none")
    assert "no such folder" in mistake("reconstruct", picture, "--latents", "n" * 300)
    view = release / "checkpoints" / "view_light" / "synface_view_mvn.pth"
    assert "expected mean (4,)" in mistake("reconstruct", picture, "--light-mvn", view)
    said = mistake("reconstruct", picture, "--pretrained", view)
    assert "expected the weights of a joint pre-training" in said


def test_networks_for_another_latent_are_told(release: Path, mistake: Mistake) -> None:
    states = official_files.networks(64, **STATES | {"latent": 2 * LATENT_DIM})
    torch.save(states, release / "checkpoints" / "gan2shape" / "synface_pretrain.pth")
    file = release / "configs" / "synface.yml"
    said = mistake("reconstruct", "--config", file, "--mask", "none", "-o", release / "out")
    assert "weights of the encoder network do not fit" in said
