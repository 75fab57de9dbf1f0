"""Pictures, latents, masks and checkpoints that cannot be used: one line each, and no trace on the disk."""

from __future__ import annotations

import os
import pickle
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.cli.conftest import LATENT_DIM, Command, check_one_line

Mistake = Callable[..., str]


def empty_png(path: Path, width: int, height: int) -> Path:
    """A whole, black PNG of one bit a pixel, written without holding its pixels in memory more than once."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(1)
    row = bytes((width + 7) // 8 + 1)
    data = b"".join(packer.compress(row * 100) for _ in range(height // 100)) + packer.compress(row * (height % 100))
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    packed = chunk(b"IDAT", data + packer.flush())
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + packed + chunk(b"IEND", b""))
    return path


def truncated(path: Path) -> Path:
    levels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(levels).save(path)
    path.write_bytes(path.read_bytes()[:1000])
    return path


def text(path: Path) -> Path:
    path.write_text("this is no picture\n" * 20)
    return path


def not_a_number(path: Path) -> Path:
    Image.fromarray(np.full((16, 16), np.nan, np.float32)).save(path)
    return path


def single(path: Path) -> Path:
    Image.new("RGB", (1, 1)).save(path)
    return path


def nothing(path: Path) -> Path:
    path.touch()
    return path


PICTURES = {
    "text.png": (text, "got another kind of file"),
    "cut.png": (truncated, "got a damaged one"),
    "cut.jpg": (truncated, "got a damaged one"),
    "one.png": (single, "got 1 x 1 px"),
    "empty.png": (nothing, "got another kind of file"),
    "wide.png": (lambda path: empty_png(path, 20_000, 20_000), "at most 100 million pixels; got a much larger one"),
    "line.png": (lambda path: empty_png(path, 20_000, 4), "got 20000 x 4 px"),
    "nan.tif": (not_a_number, "got a damaged one"),
    "missing.png": (lambda path: path, "got no such file"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_bad_picture_is_one_line_and_leaves_nothing(
    name: str, tmp_path: Path, tiny: list[str], picture: Path, mistake: Mistake
) -> None:
    make, said = PICTURES[name]
    bad = make(tmp_path / name)
    out = tmp_path / "out"
    # The good picture before it must not be worked on for minutes before the mistake shows.
    message = mistake("reconstruct", picture, bad, "-o", out, *tiny)
    assert said in message
    assert name in message
    assert not out.exists()


def test_a_folder_for_a_picture(tmp_path: Path, tiny: list[str], mistake: Mistake) -> None:
    assert "got a folder" in mistake("reconstruct", tmp_path, "-o", tmp_path / "out", *tiny)


def test_the_real_command_too(command: Command, tmp_path: Path, tiny: list[str]) -> None:
    ended = command("reconstruct", truncated(tmp_path / "cut.png"), "-o", "out", *tiny)
    assert ended.returncode == 2
    check_one_line(ended.stderr)
    assert ended.stdout == ""
    assert not (tmp_path / "out").exists()


def latent(tmp_path: Path, *shape: int, value: float = 0.0) -> Path:
    file = tmp_path / "latent.safetensors"
    save_file({"latent": torch.full(shape, value)}, file)
    return file


@pytest.mark.parametrize(
    "make, said",
    [
        (lambda folder: latent(folder, 1, LATENT_DIM, value=float("nan")), "NaN or infinite"),
        (lambda folder: latent(folder, 1, LATENT_DIM, value=float("-inf")), "NaN or infinite"),
        (lambda folder: latent(folder, 1, LATENT_DIM + 1), "must be 8 numbers"),
        (lambda folder: latent(folder, 2, LATENT_DIM), "must be 8 numbers"),
        (lambda folder: latent(folder, 1, 3, LATENT_DIM), "must be 8 numbers"),
        (lambda folder: latent(folder, 0), "must be 8 numbers"),
        (lambda folder: text(folder / "latent.pt"), "not a checkpoint"),
        (lambda folder: folder / "none.safetensors", "No such file"),
    ],
)
def test_a_bad_latent(
    make: Callable[[Path], Path], said: str, tmp_path: Path, tiny: list[str], picture: Path, mistake: Mistake
) -> None:
    out = tmp_path / "out"
    assert said in mistake("reconstruct", picture, "--latent", make(tmp_path), "-o", out, *tiny)
    assert not out.exists()


def test_a_latent_file_of_several_tensors(tmp_path: Path, tiny: list[str], picture: Path, mistake: Mistake) -> None:
    file = tmp_path / "several.safetensors"
    save_file({"a": torch.zeros(1, LATENT_DIM), "b": torch.zeros(1)}, file)
    assert "one called latent; got a, b" in mistake("reconstruct", picture, "--latent", file, *tiny)


def test_a_latent_goes_with_one_picture(tmp_path: Path, tiny: list[str], picture: Path, mistake: Mistake) -> None:
    other = tmp_path / "other.png"
    other.write_bytes(picture.read_bytes())
    file = latent(tmp_path, 1, LATENT_DIM)
    assert "exactly one picture; got 2" in mistake("reconstruct", picture, other, "--latent", file, *tiny)
    assert "exactly one picture; got 0" in mistake("reconstruct", "--sample", "1", "--latent", file, *tiny)


@pytest.mark.parametrize(
    "make, said",
    [
        (lambda folder: empty_png(folder / "black.png", 16, 16), "the mask is empty"),
        (lambda folder: text(folder / "mask.png"), "got another kind of file"),
        (lambda folder: folder / "no-such-mask.png", "got no such file"),
    ],
)
def test_a_bad_mask(
    make: Callable[[Path], Path], said: str, tmp_path: Path, tiny: list[str], picture: Path, mistake: Mistake
) -> None:
    out = tmp_path / "out"
    assert said in mistake("reconstruct", picture, "-o", out, *tiny, "--mask", make(tmp_path))
    assert not out.exists()


def test_a_picture_without_an_object_says_what_to_do(tmp_path: Path, tiny: list[str], mistake: Mistake) -> None:
    flat = tmp_path / "flat.png"
    Image.new("RGB", (32, 32), (90, 90, 90)).save(flat)
    said = mistake("reconstruct", flat, "-o", tmp_path / "out", *tiny, "--mask", "auto")
    assert "flat.png: no object stands out" in said
    assert "--mask none" in said


class _Malicious:
    """Unpickling it would run a command."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.system, (f"touch {self.proof}",))


def pickled(folder: Path) -> Path:
    file = folder / "malicious.pkl"
    file.write_bytes(pickle.dumps({"g_ema": _Malicious(folder / "ran")}))
    return file


def saved_by_torch(folder: Path) -> Path:
    file = folder / "malicious.pt"
    torch.save({"g_ema": _Malicious(folder / "ran")}, file)
    return file


def of_something_else(folder: Path) -> Path:
    file = folder / "else.safetensors"
    save_file({"weight": torch.zeros(3)}, file)
    return file


def cut_checkpoint(folder: Path) -> Path:
    file = folder / "cut.safetensors"
    save_file({"weight": torch.zeros(30_000)}, file)
    file.write_bytes(file.read_bytes()[:50_000])
    return file


CHECKPOINTS = {
    "text": (lambda folder: text(folder / "text.pt"), "not a checkpoint"),
    "empty": (lambda folder: nothing(folder / "empty.pt"), "not a checkpoint"),
    "cut": (cut_checkpoint, "not a whole safetensors file"),
    "else": (of_something_else, "holds no StyleGAN generator"),
    "pickle": (pickled, "refused: it names"),
    "code": (saved_by_torch, "refused: it names posix.system, and only tensors, numbers and texts are read"),
    "missing": (lambda folder: folder / "missing.pt", "no generator at"),
    "folder": (lambda folder: folder, "Is a directory"),
}


@pytest.mark.parametrize("verb", ["reconstruct", "sample"])
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_wrong_checkpoint(verb: str, name: str, tmp_path: Path, picture: Path, mistake: Mistake) -> None:
    make, said = CHECKPOINTS[name]
    file = make(tmp_path)
    what = [picture] if verb == "reconstruct" else []
    assert said in mistake(verb, *what, "--generator", file, "-o", tmp_path / "out", "--threads", "1")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "ran").exists(), "code of a checkpoint was run"


def test_a_generator_of_nan(tmp_path: Path, checkpoint: Path, picture: Path, mistake: Mistake) -> None:
    from safetensors.torch import load_file

    tensors = load_file(checkpoint)
    tensors["g_ema/style.1.weight"] = torch.full_like(tensors["g_ema/style.1.weight"], torch.nan)
    file = tmp_path / "nan.safetensors"
    save_file(tensors, file)
    assert "NaN" in mistake("reconstruct", picture, "--generator", file, "-o", tmp_path / "out", "--threads", "1")


@pytest.mark.parametrize("flag, said", [("--vgg", "no tensor 'features.0.weight'"), ("--lpips", "goes with --vgg")])
def test_wrong_weights_of_the_perceptual_term(
    flag: str, said: str, tmp_path: Path, tiny: list[str], picture: Path, mistake: Mistake
) -> None:
    flags = (*tiny, "--config.objective.perceptual", "0.5")
    assert said in mistake("reconstruct", picture, flag, of_something_else(tmp_path), "-o", tmp_path / "out", *flags)


@pytest.mark.parametrize("flag", ["--vgg", "--download-vgg"])
def test_a_perceptual_term_of_weight_0_wants_no_vgg(
    flag: str, tmp_path: Path, tiny: list[str], picture: Path, mistake: Mistake
) -> None:
    flags = (*tiny, "--config.objective.perceptual", "0")
    said = mistake("reconstruct", picture, flag, tmp_path / "vgg", "-o", tmp_path / "out", *flags)
    assert "--config.objective.perceptual" in said
    assert not (tmp_path / "vgg").exists(), "nothing is downloaded for it"


def test_a_generator_without_discriminator_asks_for_vgg(
    tmp_path: Path, checkpoint: Path, picture: Path, mistake: Mistake
) -> None:
    from safetensors.torch import load_file

    file = tmp_path / "alone.safetensors"
    save_file({name: t for name, t in load_file(checkpoint).items() if not name.startswith("d/")}, file)
    said = mistake("reconstruct", picture, "--generator", file, "-o", tmp_path / "out", "--threads", "1")
    assert "has no discriminator" in said
    assert "--vgg" in said
