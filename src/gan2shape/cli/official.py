"""Flags for the original program's releases: its configurations, lists, latents, Gaussians and quirks."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import FlagCreatePairsOff, arg

from gan2shape.errors import UserError

if TYPE_CHECKING:
    from gan2shape.cli.reconstruct import Reconstruct
    from gan2shape.reconstruct.config import ReconstructConfig
    from gan2shape.reconstruct.official_config import OfficialConfig

LIST_SUFFIX = ".txt"
_FLAG = "--config"
_FOLDERS_ABOVE = 3
_WHAT = {
    "networks": "pre-trained networks",
    "view": "a Gaussian of pose",
    "light": "a Gaussian of light",
    "generator": "a GAN",
    "pictures": "a list of pictures",
    "picture_root": "a folder of pictures",
    "latent_root": "a folder of latents",
}


@dataclass(frozen=True)
class OfficialFlags:
    """Files of the original program."""

    official_config: Annotated[Path | None, arg(name="config", metavar="FILE.yml", help_behavior_hint="(optional)")] = (
        None
    )
    """A configuration of the original program, such as celeba.yml, in place of a preset. Files that it names are used
    if they are there, seen from here or from a folder above it; flags given beside it count more."""
    latents: Annotated[Path | None, arg(metavar="FOLDER", help_behavior_hint="(optional)")] = None
    """Folder of latents with the pictures' names (0001.pt for 0001.png); what is not there is found by optimisation."""
    view_mvn: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(optional)")] = None
    """The original's Gaussian of poses, in place of the settings' pose prior."""
    light_mvn: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(optional)")] = None
    """The original's Gaussian of lights; its mean takes the place of the settings' mean light."""
    compat: FlagCreatePairsOff[bool] = False
    """Compute as the original program does, half a pixel off, with short normals, an overshooting border and a
    displaced ellipsoid: its networks learned with that."""


@dataclass(frozen=True)
class Resolved:
    """A verb whose files are all known."""

    verb: Reconstruct
    latents: dict[Path, Path]
    """Of the pictures, where there are any."""
    notes: tuple[str, ...]
    """What a configuration names and is not there."""


def config_named_in(arguments: Sequence[str]) -> ReconstructConfig | None:
    """The settings of the file that ``--config`` names, which have to be known before arguments can be parsed.

    Raises:
        UserError: a file that is no such configuration, or a preset beside it.
    """
    file = argument_of(arguments, _FLAG)
    if file is None:
        return None
    if argument_of(arguments, "--preset") is not None:
        raise UserError("--config and --preset both say what to start from; leave one out")
    from gan2shape.reconstruct.official_config import read_official_config

    return read_official_config(Path(file)).config


def resolved(verb: Reconstruct) -> Resolved:
    """The verb with lists of pictures replaced by what they name, and with the files and crop of ``--config``.

    Raises:
        UserError: a list, Gaussian or configuration that cannot be used.
    """
    flags = verb.original
    notes: list[str] = []
    listed: dict[Path, Path | None] = {}
    if flags.official_config is not None:
        verb, listed = _with_files(verb, flags.official_config, notes)
    verb, latents = _with_listed(verb, listed)
    flags = verb.original
    config = verb.config
    if flags.official_config is not None and verb.pictures:
        config = _cropped(config, flags.official_config, verb.pictures)
    if flags.view_mvn is not None or flags.light_mvn is not None:
        from gan2shape.reconstruct.official import with_gaussians

        config = with_gaussians(config, flags.view_mvn, flags.light_mvn)
        if flags.view_mvn is not None and flags.light_mvn is not None:
            rest = [part for part in config.assumes.split(", and ") if not part.startswith("Gaussians")]
            config = dataclasses.replace(config, assumes=", and ".join(rest))
    if flags.compat:
        from gan2shape.reconstruct.official import with_quirks

        config = with_quirks(config)
    return Resolved(dataclasses.replace(verb, config=config), latents, tuple(notes))


def argument_of(arguments: Sequence[str], flag: str) -> str | None:
    """The value of a flag in arguments that are not parsed yet."""
    found = None
    for index, argument in enumerate(arguments):
        if argument == flag and index + 1 < len(arguments):
            found = arguments[index + 1]
        elif argument.startswith(f"{flag}="):
            found = argument.removeprefix(f"{flag}=")
    return found


def _with_files(verb: Reconstruct, file: Path, notes: list[str]) -> tuple[Reconstruct, dict[Path, Path | None]]:
    """The verb with the files that a configuration names, where no flag names others; and of the pictures that its list
    names, their latents."""
    found, missing = _files_of(_read(file), file)
    flags, runtime = verb.original, verb.runtime
    wanted = {
        "networks": verb.pretrained is None,
        "view": flags.view_mvn is None,
        "light": flags.light_mvn is None,
        "generator": runtime.generator == "bundled",
        "pictures": not verb.pictures and not verb.sample,
        "picture_root": not verb.pictures and not verb.sample,
        "latent_root": flags.latents is None,
    }
    for what, path in missing.items():
        if wanted.get(what):
            notes.append(f"{file} names {_WHAT[what]} at {path}, which is not there; going on without")
    use = {what: path for what, path in found.items() if wanted.get(what)}
    flags = dataclasses.replace(
        flags,
        view_mvn=use.get("view", flags.view_mvn),
        light_mvn=use.get("light", flags.light_mvn),
        latents=use.get("latent_root", flags.latents),
    )
    pictures, listed = verb.pictures, {}
    if "pictures" in use:
        from gan2shape.io.official import read_list

        items = read_list(use["pictures"], found.get("picture_root"), flags.latents)
        pictures, listed = tuple(item.picture for item in items), {item.picture: item.latent for item in items}
    runtime = dataclasses.replace(runtime, generator=str(use.get("generator", runtime.generator)))
    pretrained = use.get("networks", verb.pretrained)
    verb = dataclasses.replace(verb, original=flags, runtime=runtime, pictures=pictures, pretrained=pretrained)
    return verb, listed


def _files_of(official: OfficialConfig, file: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """The files that a configuration names: those that are there, and where, and those that are not."""
    found, missing = {}, {}
    for what, named in official.files.items():
        place = next((root / named for root in _roots(file) if os.path.exists(root / named)), None)
        if place is None:
            missing[what] = named
        else:
            found[what] = place
    return found, missing


def _roots(file: Path) -> Iterator[Path]:
    """Where a configuration's files may be: here, or in a folder above it."""
    yield Path()
    folder = file.resolve().parent
    yield from (folder, *list(folder.parents)[:_FOLDERS_ABOVE])


def _with_listed(verb: Reconstruct, listed: dict[Path, Path | None]) -> tuple[Reconstruct, dict[Path, Path]]:
    """The verb with the pictures that lists name, and all latents that are there.

    Those of `listed` were found by their names in a list, which may begin with a folder.
    """
    folder = verb.original.latents
    if folder is not None and not os.path.isdir(folder):
        raise UserError(f"--latents {folder}: expected a folder of latents; got no such folder")
    pictures: list[Path] = []
    latents = {picture: latent for picture, latent in listed.items() if latent is not None}
    for picture in verb.pictures:
        if picture in listed:
            pictures.append(picture)
        elif picture.suffix.lower() == LIST_SUFFIX:
            from gan2shape.io.official import read_list

            for item in read_list(picture, latents=folder):
                pictures.append(item.picture)
                if item.latent is not None:
                    latents[item.picture] = item.latent
        else:
            pictures.append(picture)
            if folder is not None:
                from gan2shape.io.official import latent_beside

                place = latent_beside(folder, picture.name)
                latents |= {} if place is None else {picture: place}
    return dataclasses.replace(verb, pictures=tuple(pictures)), latents


def _cropped(config: ReconstructConfig, file: Path, pictures: Sequence[Path]) -> ReconstructConfig:
    """The settings with the crop for pictures as large as these, unless another was asked for.

    Raises:
        UserError: pictures of which the crop would be unlike parts: the settings are the same for all.
    """
    from gan2shape.io.images import upright_size

    official = _read(file)
    if config.crop != official.config.crop or official.crop_px is None:
        return config
    crops: dict[float, Path] = {}
    for picture in pictures:
        crops.setdefault(official.cropped(min(upright_size(picture))).crop, picture)
    if len(crops) > 1:
        one, other = list(crops.values())[:2]
        raise UserError(
            f"{file}: crop: {official.crop_px} px are unlike parts of {one} and of {other}, whose sizes differ; "
            "reconstruct them by separate commands, or say which part with --config.crop"
        )
    return dataclasses.replace(config, crop=next(iter(crops)))


def _read(file: Path) -> OfficialConfig:
    from gan2shape.reconstruct.official_config import read_official_config

    return read_official_config(file)
