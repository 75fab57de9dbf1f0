"""``gan2shape pretrain``: networks and priors for all pictures of one generator."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, arg

from gan2shape.cli.runtime import Runtime, say
from gan2shape.cli.settings import check_settings
from gan2shape.errors import InputError, UserError
from gan2shape.reconstruct.config import ReconstructConfig
from gan2shape.reconstruct.presets import PRESETS

if TYPE_CHECKING:
    from torch import Tensor

    from gan2shape.generators import LoadedGenerator
    from gan2shape.networks.one_pass import TurnedStart
    from gan2shape.reconstruct.pretrain import Pretrained
    from gan2shape.reconstruct.progress import Progress
    from gan2shape.reconstruct.target import Target

PROGRESS_FILE, WEIGHTS_FILE, SHEET_FILE = ".progress.safetensors", "pretrained.safetensors", "sheet.png"
_SHOWN = 6


@dataclass(frozen=True)
class Pretrain:
    """Train the method's networks on many of a generator's own pictures, and estimate its priors of pose and light.

    Afterwards every picture of the category starts from them: gan2shape reconstruct --pretrained FILE.
    Several GPUs share the pictures under torchrun: torchrun --nproc-per-node 4 -m gan2shape pretrain.

    For example:
      $ gan2shape pretrain -o pretrained
      $ gan2shape pretrain --generator mine.pt -o pretrained/mine
      $ gan2shape pretrain --preset paper-synface-pretrain
      $ gan2shape pretrain --preset pretrain-one-pass --generator mine.pt --init net.safetensors --encoder e.safetensors
    """

    resumable: ClassVar[bool] = True
    default_preset: ClassVar[str] = "pretrain"
    memory_advice: ClassVar[str] = (
        "close other programs, or start anew with a smaller --config.optimizer.batch-size or --config.images"
    )

    output: Annotated[Path, arg(aliases=("-o",), metavar="FOLDER")] = Path("pretrained")
    """Folder for pretrained.safetensors, sheet.png and config.json."""
    preset: Annotated[str, arg(metavar="NAME")] = default_preset
    """Settings to start from; gan2shape info lists all."""
    init: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(default: the bundled ones)")] = None
    """With --preset pretrain-one-pass: networks of the same generator that the factor networks learn from, of gan2shape
    train turned, distill or align."""
    encoder: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(default: the bundled generator's)")] = None
    """With it: the generator's inverse that they were made with, as gan2shape train encoder writes it."""
    truncation: float = 0.7
    """Of the pictures of the steps: 1 draws as the GAN was trained; smaller values stay nearer to the mean picture. One
    pass is asked about pictures drawn with 1, and priors are seen in such."""
    mask: Annotated[str, arg(metavar="auto|none")] = "auto"
    """The objects: "auto" (a classical method), or "none" (everything)."""
    resume: FlagCreatePairsOff[bool] = False
    """Go on after the last finished step of an interrupted run."""
    dry_run: FlagCreatePairsOff[bool] = False
    """Print what would be done, all settings included, as JSON, and stop."""
    runtime: OmitArgPrefixes[Runtime] = field(default_factory=Runtime)
    """With what to compute."""
    config: ReconstructConfig = field(default_factory=lambda: PRESETS["pretrain"])
    """All settings of the method; their defaults are those of --preset."""

    def run(self) -> None:
        """Train, and write the weights.

        Raises:
            UserError: settings, generator or folder that cannot be used, or pictures without objects.
        """
        check_settings(self.config)
        self.runtime.check_runtime()
        if self.config.start == "turned":
            raise UserError(f"--preset {self.config.name}: nothing in it can be pre-trained; take --preset pretrain")
        if self.config.start != "one-pass" and (self.init or self.encoder):
            flag = "--init" if self.init else "--encoder"
            raise UserError(f"{flag}: the start {self.config.start} has no use for it; take --preset pretrain-one-pass")
        if self.mask not in ("auto", "none"):
            raise UserError(f'--mask must be "auto" or "none" here; got {self.mask}')
        if not 0 < self.truncation <= 10:
            raise UserError(f"--truncation must be above 0 and at most 10; got {self.truncation}")
        if not 1 <= self.config.images <= 100_000:
            raise UserError(f"--config.images must be from 1 to 100000; got {self.config.images}")
        if self.dry_run:
            plan = {"output": str(self.output), "truncation": self.truncation, "mask": self.mask}
            say(json.dumps({**plan, "config": self.config.to_dict()}, indent=2))
            return
        from gan2shape.distributed import process_group, world
        from gan2shape.io.files import FolderLock

        with process_group(self.runtime.torch_device()):
            loaded = self.runtime.load(self.config.projection.offset_layers)
            start = self._start(loaded)
            if self._is_finished(loaded):
                say(f"finished already: {self.output / WEIGHTS_FILE}")
                return
            if world()[0] == 0:
                with FolderLock(self.output):
                    self._train(loaded, start)
            else:
                self._train(loaded, start)

    def _is_finished(self, loaded: LoadedGenerator) -> bool:
        """Whether --resume finds nothing left to do.

        Raises:
            InputError: the finished weights are those of another run.
        """
        from gan2shape.reconstruct.pretrain import load_pretrained

        file = self.output / WEIGHTS_FILE
        if not self.resume or not file.exists() or (self.output / PROGRESS_FILE).exists():
            return False
        if load_pretrained(file).about.get("run") != self._mark(loaded):
            raise InputError(
                f"{self.output} holds the finished weights of other settings; name another folder or leave out --resume"
            )
        return True

    def _train(self, loaded: LoadedGenerator, start: TurnedStart | None) -> None:
        """Train this process's share; the first process writes."""
        from gan2shape.cli.progress import ProgressBars
        from gan2shape.distributed import world
        from gan2shape.reconstruct.pretrain import pretrain
        from gan2shape.reconstruct.reconstructor import Reconstructor

        reconstructor = Reconstructor(loaded, self.config, start=start)
        target = self._targets(loaded, reconstructor)
        rank, count = world()
        chief = rank == 0
        with ProgressBars(f"{target.count} pictures of {loaded.name}: preset {self.config.name}") as bars:
            pretrained = pretrain(
                reconstructor,
                target[rank::count],
                seed=self.runtime.seed,
                on_event=bars if chief else (lambda event: None),
                resume=self._kept(loaded),
                keep=self._keeper(loaded) if chief else (lambda progress: None),
            )
        if chief:
            marked = replace(pretrained, about={**pretrained.about, "run": self._mark(loaded)})
            self._write(marked, reconstructor, target)

    def _start(self, loaded: LoadedGenerator) -> TurnedStart | None:
        """One pass, where the networks learn from it."""
        from gan2shape.cli.start import start_of

        if self.config.start != "one-pass":
            return None
        return start_of(loaded, self.init, self.encoder, made_by="gan2shape train turned")[1]

    def _targets(self, loaded: LoadedGenerator, reconstructor: Any) -> Target:
        """The pictures to learn from: the same in every process."""
        from gan2shape.priors.masks import auto_mask, no_mask
        from gan2shape.reconstruct.pretrain import draw_targets
        from gan2shape.reconstruct.progress import step_rng

        return draw_targets(
            loaded,
            reconstructor.framing,
            auto_mask if self.mask == "auto" else no_mask,
            count=self.config.images,
            truncation=self.truncation,
            rng=step_rng(self.runtime.seed, "pictures", reconstructor.device, shared=True),
        )

    def _identity(self, loaded: LoadedGenerator) -> dict[str, Any]:
        """What must be the same for a run to go on."""
        return {
            "generator": loaded.identity,
            "features": loaded.features_from,
            "configuration": self.config.to_dict(),
            "seed": self.runtime.seed,
            "truncation": self.truncation,
            "mask": self.mask,
            **self._learned_from(),
        }

    def _learned_from(self) -> dict[str, str]:
        """Which networks of one pass the run learns from."""
        from gan2shape.io.checkpoints import sha256
        from gan2shape.networks.turned import bundled_turned

        return {"one pass": sha256(self.init or bundled_turned())} if self.config.start == "one-pass" else {}

    def _mark(self, loaded: LoadedGenerator) -> str:
        """The run's identity as a short text."""
        from gan2shape.reconstruct.progress import identity_hash

        return identity_hash(json.dumps(self._identity(loaded), sort_keys=True))

    def _kept(self, loaded: LoadedGenerator) -> Progress | None:
        from gan2shape.reconstruct.progress import load_progress

        file = self.output / PROGRESS_FILE
        if not self.resume or not file.exists():
            return None
        return load_progress(file, self._identity(loaded), loaded.w_mean.device)

    def _keeper(self, loaded: LoadedGenerator) -> Callable[[Progress], None]:
        from gan2shape.reconstruct.progress import save_progress

        return partial(save_progress, self.output / PROGRESS_FILE, identity=self._identity(loaded))

    def _write(self, pretrained: Pretrained, reconstructor: Any, target: Target) -> None:
        from gan2shape.export.sheet import write_contact_sheet
        from gan2shape.io.files import write_json
        from gan2shape.reconstruct.pretrain import save_pretrained

        bands = sheet_bands(reconstructor, target[:_SHOWN], pretrained.weights)
        save_pretrained(self.output / WEIGHTS_FILE, pretrained)
        write_contact_sheet(self.output / SHEET_FILE, bands)
        write_json(self.output / "config.json", pretrained.config.to_dict())
        (self.output / PROGRESS_FILE).unlink(missing_ok=True)
        for warning in filter(None, [pretrained.about.get("warnings")]):
            say(f"warning: {warning}")
        say(f"weights and priors: {self.output / WEIGHTS_FILE}")
        say(f"what they see:      {self.output / SHEET_FILE}")


def sheet_bands(reconstructor: Any, target: Target, weights: Any) -> list[Any]:
    """A few of the pictures with what the networks see in them."""
    import torch

    from gan2shape.export.sheet import Band, Cell
    from gan2shape.reconstruct.progress import load_weights
    from gan2shape.render import Pose, render

    nets, encoder = reconstructor.new_networks(0)
    load_weights({"factors": nets, "encoder": encoder}, weights)
    with torch.no_grad():
        scene = nets(target.image)
        draw = partial(render, camera=reconstructor.camera, depth_range=reconstructor.depth_range)
        turn = Pose.from_euler(torch.tensor([[0.0, 0.6, 0.0]], device=target.image.device))
        rows: list[tuple[str, Tensor]] = [
            ("pictures", target.image),
            ("reconstructions", draw(scene).image),
            ("normals", scene.normals(reconstructor.camera) * target.image.new_tensor([1, 1, -1])[:, None, None]),
            ("turned by 34°", draw(scene.with_(pose=turn.expand(target.count))).image),
            ("albedo", scene.albedo),
        ]
    return [Band(title, [Cell("", image.cpu()) for image in images]) for title, images in rows]
