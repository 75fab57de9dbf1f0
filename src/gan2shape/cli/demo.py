"""``gan2shape demo``: the whole method on a bundled picture with the bundled generator."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Annotated

from tyro.conf import OmitArgPrefixes, arg

from gan2shape.cli.reconstruct import Reconstruct
from gan2shape.cli.runtime import Runtime

SAMPLE_PICTURE = "sample_head.png"


@dataclass(frozen=True)
class Demo:
    """Reconstruct the bundled sample picture with the bundled generator; a few minutes on two CPU cores.

    Example: gan2shape demo
    """

    output: Annotated[Path, arg(aliases=("-o",))] = Path("results/demo")
    """Folder that gets the result folder."""
    resume: bool = False
    """Go on after the last finished step of an interrupted run."""
    runtime: OmitArgPrefixes[Runtime] = field(default_factory=Runtime)
    """Where to compute."""

    def run(self) -> None:
        """Reconstruct the sample picture with the default preset."""
        with resources.as_file(resources.files("gan2shape") / "assets" / SAMPLE_PICTURE) as picture:
            replace(
                Reconstruct(), pictures=(picture,), output=self.output, resume=self.resume, runtime=self.runtime
            ).run()
