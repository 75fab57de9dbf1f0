"""``gan2shape info``: versions, device, what is bundled, what a checkpoint holds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import FlagCreatePairsOff, Positional, arg

from gan2shape._version import __version__
from gan2shape.cli.runtime import say
from gan2shape.reconstruct.presets import PRESETS

if TYPE_CHECKING:
    from gan2shape.errors import CheckpointError

_SHOWN_TENSORS = 20
_KINDS = {"Gaussian": "Gaussian of the original program", "latent": "latent"}
"""By `gan2shape.io.official.kind_of_release`, of what is not networks."""


@dataclass(frozen=True)
class Info:
    """Tell versions and device, what is bundled, and what a checkpoint holds.

    For example:
      $ gan2shape info
      $ gan2shape info ffhq.pt --json
      $ gan2shape info cifar10.pkl --class 3
    """

    file: Annotated[
        Positional[str | None], arg(metavar="[FILE]", help_behavior_hint="(default: the bundled generator)")
    ] = None
    """File to look into: a generator, networks or any tensors (.safetensors, .pt, .pth, .pkl); the original program's
    lists and configurations (.txt, .yml); or module:function."""
    class_index: Annotated[int | None, arg(name="class", metavar="N", help_behavior_hint="(optional)")] = None
    """Check that a conditional generator has this class."""
    latent_dim: Annotated[int | None, arg(metavar="COUNT", help_behavior_hint="(optional)")] = None
    """Count of numbers in a latent of module:function that does not say so itself."""
    json: FlagCreatePairsOff[bool] = False
    """Print JSON."""

    def run(self) -> None:
        """Print what is known.

        Raises:
            UserError: a checkpoint that cannot be read.
        """
        facts = {**_machine(), **_bundle(), **self._source()}
        if self.json:
            say(json.dumps(facts, indent=2))
            return
        width = max(len(name) for name in facts)
        for name, value in facts.items():
            say(f"{name:<{width}}  {_text(value)}")

    def _source(self) -> dict[str, Any]:
        """What a generator is like; of another file of tensors, their names and shapes."""
        from gan2shape.cli.runtime import see_own_code
        from gan2shape.errors import CheckpointError
        from gan2shape.generators.functional import is_reference
        from gan2shape.generators.load import BUNDLED, describe_generator
        from gan2shape.io.checkpoints import sha256
        from gan2shape.io.official import CONFIGURATION_SUFFIXES, LIST_SUFFIX
        from gan2shape.networks.trained import describe

        source = self.file or BUNDLED
        see_own_code(source)
        plain = source == BUNDLED or is_reference(source)
        path = Path(source).expanduser()
        if not plain and path.suffix.lower() in (LIST_SUFFIX, *CONFIGURATION_SUFFIXES):
            return _text_file(path)
        trained = {} if plain or path.suffix.lower() == ".pkl" else describe(path)
        if trained:
            return {"networks": path.name, "sha256": sha256(path), **trained}
        try:
            about = describe_generator(source, class_index=self.class_index, latent_dim=self.latent_dim)
        except CheckpointError as error:
            if plain or self.class_index is not None or path.suffix.lower() == ".pkl":
                raise
            return _other_file(path, error)
        metadata = about.pop("metadata", {})
        return {**about, **_named(metadata)}


def _machine() -> dict[str, Any]:
    import platform

    import torch

    cuda = torch.cuda.is_available()
    return {
        "gan2shape": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if cuda else f"cpu, {torch.get_num_threads()} threads",
    }


def _bundle() -> dict[str, Any]:
    from importlib import resources

    files = sorted(entry.name for entry in (resources.files("gan2shape") / "assets").iterdir())
    return {"bundled": [name for name in files if not name.startswith((".", "_"))], "presets": list(PRESETS)}


def _other_file(file: Path, reason: CheckpointError) -> dict[str, Any]:
    """Sizes of the original program's networks; names and shapes of any other file's tensors."""
    from gan2shape.errors import CheckpointError
    from gan2shape.io.checkpoints import read_metadata, read_one_tensor, read_tensors, sha256
    from gan2shape.io.official import RELEASED_LATENT, is_networks, kind_of_release
    from gan2shape.reconstruct.official import describe_networks

    kind = kind_of_release(file)
    if kind == RELEASED_LATENT:
        tensors = {"latent": read_one_tensor(file, "latent")}  # A bare one has no name in its file.
    else:
        tensors = read_tensors(file)  # Raises again what is wrong with a file that is no checkpoint at all.
    metadata = _named(read_metadata(file))
    if is_networks(tensors):
        try:
            return {"networks": file.name, "sha256": sha256(file), **describe_networks(file, tensors), **metadata}
        except CheckpointError as wrong:
            reason = wrong
    shapes = {name: list(tensor.shape) for name, tensor in sorted(tensors.items())[:_SHOWN_TENSORS]}
    facts: dict[str, Any] = {"file": file.name, "sha256": sha256(file)}
    facts |= {"kind": _KINDS[kind]} if kind in _KINDS else {}
    return {**facts, "no generator": str(reason), "tensors": len(tensors), "shapes": shapes, **metadata}


def _text_file(file: Path) -> dict[str, Any]:
    """What a list of pictures or a configuration of the original program names."""
    from gan2shape.io.official import LIST_SUFFIX, read_list
    from gan2shape.reconstruct.official_config import read_official_config

    if file.suffix.lower() == LIST_SUFFIX:
        listed = read_list(file)
        latents = sum(one.latent is not None for one in listed)
        return {"file": file.name, "kind": "list of pictures", "pictures": len(listed), "latents": latents}
    found = read_official_config(file)
    facts = {"file": file.name, "kind": "configuration of the original program"}
    same = [name for name, preset in PRESETS.items() if preset == found.config]
    named = {what: str(place) for what, place in found.files.items()}
    return {**facts, "preset": same[0] if same else "none has these settings", "names": named}


def _named(metadata: dict[str, str]) -> dict[str, str]:
    return {f"file: {key}": text for key, text in metadata.items() if len(text) < 1000}


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {entry}" for key, entry in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(str(entry) for entry in value) or "nothing"
    return str(value)
