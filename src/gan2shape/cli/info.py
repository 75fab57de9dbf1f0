"""``gan2shape info``: versions, device, what is bundled, what a checkpoint holds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import FlagCreatePairsOff, Positional, arg

from gan2shape._version import __version__
from gan2shape.cli.runtime import say
from gan2shape.reconstruct.presets import PRESETS

_SHOWN_TENSORS = 20


@dataclass(frozen=True)
class Info:
    """Tell versions and device, what is bundled, and what a checkpoint holds.

    For example:
      $ gan2shape info
      $ gan2shape info ffhq.pt --json
    """

    file: Annotated[
        Positional[Path | None], arg(metavar="[FILE]", help_behavior_hint="(default: the bundled generator)")
    ] = None
    """Checkpoint to look into (.safetensors, .pt): a generator, or any file of tensors."""
    json: FlagCreatePairsOff[bool] = False
    """Print JSON."""

    def run(self) -> None:
        """Print what is known.

        Raises:
            UserError: a checkpoint that cannot be read.
        """
        facts = {**_machine(), **_bundle(), **_checkpoint(self.file)}
        if self.json:
            say(json.dumps(facts, indent=2))
            return
        width = max(len(name) for name in facts)
        for name, value in facts.items():
            say(f"{name:<{width}}  {_text(value)}")


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


def _checkpoint(file: Path | None) -> dict[str, Any]:
    """What a generator is like; of another file of tensors, their names and shapes."""
    from gan2shape.errors import CheckpointError
    from gan2shape.generators import load_generator
    from gan2shape.io.checkpoints import read_metadata, read_tensors, sha256
    from gan2shape.networks.trained import describe

    trained = {} if file is None else describe(file)
    if file is not None and trained:
        return {"networks": file.name, "sha256": sha256(file), **trained}
    try:
        loaded = load_generator("bundled" if file is None else file)
    except CheckpointError as error:
        if file is None:
            raise
        tensors = read_tensors(file)  # Raises again what is wrong with a file that is no checkpoint at all.
        shapes = {name: list(tensor.shape) for name, tensor in sorted(tensors.items())[:_SHOWN_TENSORS]}
        facts = {"file": file.name, "sha256": sha256(file), "no generator": str(error), "tensors": len(tensors)}
        return {**facts, "shapes": shapes, **_named(read_metadata(file))}
    about = dict(loaded.about)
    metadata = about.pop("metadata", {})
    return {"generator": loaded.name, "sha256": loaded.sha256, **about, **_named(metadata)}


def _named(metadata: dict[str, str]) -> dict[str, str]:
    return {f"file: {key}": text for key, text in metadata.items() if len(text) < 1000}


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {entry}" for key, entry in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(str(entry) for entry in value) or "nothing"
    return str(value)
