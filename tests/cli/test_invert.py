"""The verb ``invert`` and the flags that frame a photo, on a small random generator."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from gan2shape.cli import main
from gan2shape.generators import load_generator, save_generator, typicality
from gan2shape.generators.stylegan2 import StyleGAN2Config, StyleGAN2Generator
from gan2shape.io.images import read_image
from tests.cli.conftest import LATENT_DIM, RESOLUTION, leftovers
from tests.generators.test_stylegan3 import reader

Mistake = Callable[..., str]
FEW = ["--threads", "1", "--steps", "10", "--samples", "4", "--restarts", "2", "--extra-steps", "6"]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """40 x 30 pixels: a grey background with a red square, 16 px from (20, 10) on."""
    levels = np.full((30, 40, 3), 90, np.uint8)
    levels[10:26, 20:36] = (200, 30, 30)
    Image.fromarray(levels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def flags(checkpoint: Path, tmp_path: Path) -> list[str]:
    return ["--generator", str(checkpoint), "-o", str(tmp_path / "out"), *FEW]


def latent_of(folder: Path) -> torch.Tensor:
    return load_file(folder / "latent.safetensors")["latent"]


def shown(file: Path) -> torch.Tensor:
    return read_image(file)


def test_a_photo_becomes_a_latent_with_numbers(
    photo: Path, flags: list[str], tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["invert", str(photo), *flags, "--reference", "1"]) == 0
    folder = tmp_path / "out" / "photo"
    assert {file.name for file in folder.iterdir()} == {
        "before_after.png",
        "latent.safetensors",
        "photo.png",
        "picture.png",
        "report.json",
    }
    assert leftovers(tmp_path) == []
    loaded = load_generator(checkpoint)
    latent = latent_of(folder)
    assert latent.shape == (1, LATENT_DIM)
    picture = loaded.generator.synthesize(latent).clamp(-1, 1)
    assert (shown(folder / "picture.png") - picture).abs().max() <= 1 / 255 + 1e-6
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    error = (picture - read_image(photo, size=RESOLUTION)).double().square().mean() / 4
    assert report["fit"]["w"]["psnr_db"] == pytest.approx(float(-10 * torch.log10(error)), abs=0.02)
    assert -1 <= report["fit"]["w"]["ssim"] <= 1
    assert 0 <= report["likeness"]["percentile"] <= 100
    assert report["own_pictures"]["count"] == 1
    assert report["generator"]["sha256"] == report["use_with"]["sha256"] == loaded.sha256
    said = capsys.readouterr().out
    assert f"w         {report['fit']['w']['psnr_db']:.1f} dB PSNR" in said
    assert "warning: the generator reproduces this picture poorly" in said
    assert report["likeness"]["poor"] is True


def test_equal_pictures_have_a_finite_ratio_in_the_report(photo: Path, flags: list[str], tmp_path: Path) -> None:
    """A generator whose every picture is grey makes its own pictures again without any error."""
    torch.manual_seed(0)
    widths = {4: 8, 8: 8, 16: 8}
    config = StyleGAN2Config(RESOLUTION, channels=widths, z_dim=LATENT_DIM, w_dim=LATENT_DIM, mapping_layers=2)
    state = StyleGAN2Generator(config).state_dict()
    grey = {name: value * 0 if name.startswith("to_rgb") else value for name, value in state.items()}
    generator = StyleGAN2Generator(config)
    generator.load_state_dict(grey)
    save_generator(tmp_path / "grey.safetensors", generator)
    assert (
        main(["invert", str(photo), *flags, "--generator", str(tmp_path / "grey.safetensors"), "--reference", "2"]) == 0
    )
    report = json.loads((tmp_path / "out" / "photo" / "report.json").read_text(encoding="utf-8"))
    assert report["own_pictures"]["psnr"] == 100


def test_the_scale_is_drawn_once_for_all_pictures(
    photo: Path, flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn, scale_of = [], typicality.scale_of
    monkeypatch.setattr(typicality, "scale_of", lambda loaded: drawn.append(loaded) or scale_of(loaded))
    (tmp_path / "other.png").write_bytes(photo.read_bytes())
    assert main(["invert", str(photo), str(tmp_path / "other.png"), *flags]) == 0
    assert len(drawn) == 1


def test_the_same_seed_finds_the_same_latent(photo: Path, flags: list[str], tmp_path: Path) -> None:
    found = []
    for seed in ("3", "3", "4"):
        assert main(["invert", str(photo), *flags, "--seed", seed, "--jitter", "0.1"]) == 0
        found.append(latent_of(tmp_path / "out" / "photo"))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


@pytest.mark.usefixtures("numbers_only")
def test_layers_and_tuned_generators_are_used_by_reconstruct(
    photo: Path, flags: list[str], tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out" / "photo"
    assert main(["invert", str(photo), *flags, "--space", "w+"]) == 0
    assert latent_of(folder).shape == (1, 2 * 4 - 2, LATENT_DIM)
    again = ["reconstruct", str(photo), "--latent", str(folder / "latent.safetensors"), "-o", str(tmp_path / "results")]
    assert main([*again, *tiny]) == 0
    assert main(["invert", str(photo), *flags, "--space", "tuned"]) == 0
    tuned = load_generator(folder / "generator.safetensors")
    picture = tuned.generator.synthesize(latent_of(folder)).clamp(-1, 1)
    assert (shown(folder / "picture.png") - picture).abs().max() <= 1 / 255 + 1e-6
    assert tuned.about["metadata"]["tuned_to"] == "photo.png"
    fits = json.loads((folder / "report.json").read_text(encoding="utf-8"))["fit"]
    assert list(fits) == ["w", "tuned"]
    capsys.readouterr()
    assert main([*again, *tiny, "--generator", str(folder / "generator.safetensors")]) == 0
    assert main(["invert", str(photo), *flags]) == 0
    assert not (folder / "generator.safetensors").exists()  # That of an earlier command does not stay beside.


def test_what_cannot_be_tuned_is_told_before_the_search(photo: Path, tmp_path: Path, mistake: Mistake) -> None:
    save_generator(tmp_path / "sg3.safetensors", reader(1, False))
    for source in ("tests.generators.own_gan:build", str(tmp_path / "sg3.safetensors")):
        flags = ["--generator", source, "-o", tmp_path / "out", *FEW, "--space", "tuned"]
        assert f"only the file of a StyleGAN2 can be tuned; {source} is none" in mistake("invert", photo, *flags)
        assert not (tmp_path / "out").exists()


def test_crop_landmarks_and_masks_cut_alike(
    photo: Path, flags: list[str], tiny: list[str], tmp_path: Path, numbers_only: None
) -> None:
    assert main(["invert", str(photo), *flags, "--crop", "20,10,16,16"]) == 0
    cropped = shown(tmp_path / "out" / "photo" / "photo.png")
    red = torch.tensor([200.0, 30.0, 30.0]) / 127.5 - 1
    assert torch.allclose(cropped, red.view(1, 3, 1, 1).expand_as(cropped), atol=1e-6)
    # Landmarks about the same square: eyes 4 px apart give a side of 16, with the centre 0.1 below their line.
    (tmp_path / "five.txt").write_text("26 17.8\n30 17.8\n28 19\n27 19.8\n29 19.8\n", encoding="utf-8")
    assert main(["invert", str(photo), *flags, "--landmarks", str(tmp_path / "five.txt")]) == 0
    aligned = shown(tmp_path / "out" / "photo" / "photo.png")
    assert (aligned - cropped).abs().max() <= 3 / 127.5
    mask = np.zeros((30, 40), np.uint8)
    mask[:, 28:] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    few = [*tiny, "-o", str(tmp_path / "results"), "--crop", "20,10,16,16"]
    assert main(["reconstruct", str(photo), *few, "--mask", str(tmp_path / "mask.png")]) == 0
    kept = np.asarray(Image.open(tmp_path / "results" / "photo" / "mask.png"))
    assert np.array_equal(kept, mask[10:26, 20:36])


def test_opacity_is_a_mask(tiny: list[str], tmp_path: Path, numbers_only: None, mistake: Mistake) -> None:
    levels = np.full((16, 16, 4), 255, np.uint8)
    levels[:, :4, 3] = 0
    Image.fromarray(levels).save(tmp_path / "cut.png")
    Image.fromarray(levels[..., :3]).save(tmp_path / "whole.png")
    few = [*tiny, "--mask", "alpha", "-o", str(tmp_path / "results")]
    assert main(["reconstruct", str(tmp_path / "cut.png"), *few]) == 0
    assert "whole.png: the picture has no transparency" in mistake("reconstruct", tmp_path / "whole.png", *few)


def test_mistakes_are_told_in_one_line(photo: Path, flags: list[str], tmp_path: Path, mistake: Mistake) -> None:
    assert "expected a picture" in mistake("invert", *flags)
    two = [photo, tmp_path / "second.png"]
    assert "--crop goes with exactly one" in mistake("invert", *two, "--crop", "0,0,9,9", *flags)
    cases = {
        "say both where to cut": ["--crop", "0,0,9,9", "--align", "face"],
        "x,y,width,height": ["--crop", "0,0,9"],
        "inside the picture of 40 x 30 px": ["--crop", "30,0,20,20"],
        "No such file": ["--landmarks", tmp_path / "none.txt"],
        "--align-scale goes with": ["--align-scale", "1.5"],
        "--align-scale must be from 0.25 to 4": ["--align", "face", "--align-scale", "9"],
        "--steps must be from 1": ["--steps", "0"],
        "--jitter must be from 0": ["--jitter", "-1"],
    }
    for words, arguments in cases.items():
        assert words in mistake("invert", photo, *flags, *arguments), words
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "photo.png").write_bytes(photo.read_bytes())
    assert "would share a folder" in mistake("invert", photo, tmp_path / "other" / "photo.png", *flags)
    assert not (tmp_path / "out").exists()
