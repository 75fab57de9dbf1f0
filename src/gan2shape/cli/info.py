"""``gan2shape info``: versions, device, what is bundled, what a checkpoint holds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tyro.conf import Positional

from gan2shape._version import __version__
from gan2shape.cli.runtime import say
from gan2shape.reconstruct.presets import PRESETS


@dataclass(frozen=True)
class Info:
    """Tell versions and device, what is bundled, and what a checkpoint holds.

    Example: gan2shape info ffhq.pt
    """

    file: Positional[Path | None] = None
    """Checkpoint to look into; the bundled generator if not given."""
    json: bool = False
    """Print JSON."""

    def run(self) -> None:
        """Print what is known.

        Raises:
            UserError: a checkpoint that cannot be read.
        """
        facts = {**_machine(), **_checkpoint("bundled" if self.file is None else str(self.file))}
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
        "presets": list(PRESETS),
    }


def _checkpoint(source: str) -> dict[str, Any]:
    from gan2shape.generators import load_generator

    loaded = load_generator(source)
    about = dict(loaded.about)
    metadata = about.pop("metadata", {})
    return {"generator": loaded.name, "sha256": loaded.sha256, **about, **{f"file: {k}": v for k, v in metadata.items()}}


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {entry}" for key, entry in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(str(entry) for entry in value) or "nothing"
    return str(value)
