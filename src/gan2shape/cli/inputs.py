"""What ``reconstruct`` reads beside the pictures: masks, latents, weights of the perceptual term."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from gan2shape.errors import InputError, UserError
from gan2shape.generators import LoadedGenerator
from gan2shape.generators.functional import is_reference, load_features
from gan2shape.generators.protocol import FeatureExtractor
from gan2shape.io.checkpoints import read_one_tensor, sha256
from gan2shape.io.framing import Frame, centre_frame, whole_frame
from gan2shape.io.images import read_alpha, read_image, upright_size
from gan2shape.networks.latents import encoder_of
from gan2shape.priors.cutout import SIDE_PX, cutout_mask
from gan2shape.priors.masks import auto_mask, no_mask, read_mask
from gan2shape.reconstruct.target import Framing

if TYPE_CHECKING:
    from gan2shape.cli.reconstruct import Reconstruct
    from gan2shape.reconstruct.config import ReconstructConfig

MOST_CONTEXT = 2.0
"""Side of what rembg is shown of a photo, in sides of the frame: more would leave the frame too few of its pixels."""


def fixed_masker(
    name: str, picture: Tensor, framing: Framing, source: Path | int, frame: Frame | None = None
) -> Callable[[Tensor], Tensor]:
    """The mask of one picture (1, 3, R, R) by ``--mask``: a way to find it, "none", or a file. It is found at once.

    Raises:
        UserError: no mask can be had; the message names the picture, ``source``, a file or a sample's seed.
    """
    if name == "none":
        return no_mask
    find: dict[str, Callable[[Tensor], Tensor]] = {
        "alpha": partial(_opacity, source, frame),
        "rembg": partial(_cut_out, source, frame),
    }
    where = f"sample {source}" if isinstance(source, int) else source
    try:
        if name == "auto":
            mask = auto_mask(framing.to_working(picture))
        else:
            whole = find[name](picture) if name in find else read_mask(name, picture.shape[-1], frame)
            mask = framing.to_working(whole)
    except InputError as error:
        if name != "auto" and name not in find:
            raise
        raise InputError(f"{where}: {error} (--mask FILE or --mask none)") from None
    if not bool((mask >= 0.5).any()):
        raise InputError(f"{where}: --mask {name} finds no object in the part of the picture that is used")
    return lambda image: mask.to(image)


def _opacity(source: Path | int, frame: Frame | None, picture: Tensor) -> Tensor:
    """How opaque the picture file is, at the size of the picture."""
    mask = None if isinstance(source, int) else read_alpha(source, size=picture.shape[-1], frame=frame)
    if mask is None or not bool((mask >= 0.5).any()):
        raise InputError("the picture has no transparency that leaves an object")
    return mask


def _cut_out(source: Path | int, frame: Frame | None, picture: Tensor) -> Tensor:
    """What rembg cuts out of the photograph, at the size of the picture.

    It is shown what lies around the frame too: of an object that fills the whole frame it finds a part only.
    """
    if isinstance(source, int):
        return cutout_mask(picture)
    picture_px = upright_size(source)
    frame = frame or centre_frame(picture_px)
    wider = max(1.0, min(MOST_CONTEXT, whole_frame(picture_px).side / frame.side))
    side = 2 * round(SIDE_PX / wider / 2)
    margin = (SIDE_PX - side) // 2
    found = cutout_mask(read_image(source, size=SIDE_PX, frame=frame.scaled(SIDE_PX / side)))
    inner = found[..., margin : margin + side, margin : margin + side]  # (1, 1, side, side)
    return F.interpolate(inner, picture.shape[2:], mode="bilinear", antialias=True)


def read_latent(file: Path) -> Tensor:
    """The one tensor of a file, bare or in a dictionary, or the one called "latent".

    Raises:
        CheckpointError: no such file, none that can be read as data, or several tensors, none of them called "latent".
    """
    return read_one_tensor(file, "latent")


def with_features(loaded: LoadedGenerator, source: str) -> LoadedGenerator:
    """The generator with other features: of a file of VGG-16 weights, or of ``module:function``.

    Raises:
        UserError: no such file or function, or one that makes no maps of pictures.
    """
    device = loaded.w_mean.device
    if is_reference(source):
        with torch.no_grad():
            picture = loaded.generator.synthesize(loaded.w_mean[None])
        return dataclasses.replace(loaded, features=load_features(source, picture), features_from=source)
    from gan2shape.networks.vgg import load_vgg

    vgg = load_vgg(source).to(device).eval().requires_grad_(False)
    return dataclasses.replace(loaded, features=vgg, features_from=f"{Path(source).name} {sha256(source)}")


def check_encoder(config: ReconstructConfig, loaded: LoadedGenerator) -> None:
    """Refuse a start from the bundled encoder where that belongs to another generator.

    Raises:
        UserError: naming the flag.
    """
    if config.inversion.encoder and encoder_of(loaded.identity, latent_dim=loaded.generator.latent_dim) is None:
        raise UserError(
            "--config.inversion.encoder: expected the bundled generator, to which the bundled encoder belongs; got "
            f"{loaded.name}; leave it out"
        )


def perceptual_features(verb: Reconstruct, loaded: LoadedGenerator) -> FeatureExtractor | None:
    """VGG-16 features if a file was named; else None, which means the discriminator's.

    Raises:
        UserError: the preset or the generator needs VGG and no file was named, heads without VGG, or VGG that nothing
            would use.
    """
    if verb.config.start == "turned" and verb.vgg is None and verb.download_vgg is None:
        return None
    if verb.vgg is not None or verb.download_vgg is not None:
        if not verb.config.objective.perceptual and loaded.features is not None:
            raise UserError(
                "--vgg and --download-vgg are for the perceptual term, whose weight is 0 in these settings; add "
                "--config.objective.perceptual 0.5 (the paper's), or leave them out"
            )
        from gan2shape.networks.vgg import download_vgg_weights, load_vgg

        file = verb.vgg or download_vgg_weights(verb.download_vgg or Path())
        return load_vgg(file, verb.lpips).to(loaded.w_mean.device).eval().requires_grad_(False)
    if verb.lpips is not None:
        raise UserError("--lpips goes with --vgg or --download-vgg")
    if verb.config.objective.features == "vgg":
        raise UserError(
            "the settings ask for VGG features: name a file of VGG-16 weights with --vgg, or a folder with "
            "--download-vgg"
        )
    if loaded.features is None:
        raise UserError(
            f"{loaded.name} has no discriminator: name other features with --features (a file of VGG-16 weights, or "
            "module:function), or --vgg"
        )
    return None
