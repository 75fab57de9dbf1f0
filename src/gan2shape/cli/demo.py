"""``gan2shape demo``: the whole method on a bundled picture with the bundled generator."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, arg

from gan2shape.cli.reconstruct import ELLIPSOID, Reconstruct
from gan2shape.cli.runtime import Runtime
from gan2shape.reconstruct.presets import PRESETS

SAMPLE_PICTURES = {1: "sample_head.png", 2: "sample_head_2.png", 3: "sample_head_3.png"}


@dataclass(frozen=True)
class Demo:
    """Reconstruct a bundled picture with the bundled generator; half a minute on two CPU cores.

    For example:
      $ gan2shape demo
      $ gan2shape demo -o results/demo --resume
      $ gan2shape demo --picture 2
    """

    resumable: ClassVar[bool] = True
    memory_advice: ClassVar[str] = Reconstruct.memory_advice

    picture: Literal[1, 2, 3] = 1
    """Which of the three bundled pictures."""
    output: Annotated[Path, arg(aliases=("-o",), metavar="FOLDER")] = Path("results/demo")
    """Folder that gets the result folder."""
    resume: FlagCreatePairsOff[bool] = False
    """Go on after the last finished step of an interrupted run, or leave a finished result as it is."""
    dry_run: FlagCreatePairsOff[bool] = False
    """Print what would be done, all settings included, as JSON, and stop."""
    runtime: OmitArgPrefixes[Runtime] = field(default_factory=Runtime)
    """With what to compute."""

    def run(self) -> None:
        """Reconstruct the sample picture with the default preset, or with the one for other generators and features."""
        own = self.runtime.generator == "bundled" and self.runtime.features is None
        with resources.as_file(resources.files("gan2shape") / "assets" / SAMPLE_PICTURES[self.picture]) as picture:
            replace(
                Reconstruct(),
                pictures=(picture,),
                output=self.output,
                resume=self.resume,
                dry_run=self.dry_run,
                runtime=self.runtime,
                config=PRESETS[Reconstruct.default_preset if own else ELLIPSOID],
            ).run()
