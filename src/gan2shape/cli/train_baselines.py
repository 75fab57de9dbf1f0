"""``gan2shape train unsup3d`` and ``gan2shape train supervised``: the methods that GAN2Shape is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import FlagCreatePairsOff, arg

from gan2shape.cli.training import AdamFlags, TrainingFlags
from gan2shape.errors import InputError, UserError

if TYPE_CHECKING:
    import torch

    from gan2shape.train.unsup3d import Features


WEIGHT_DECAY = 5e-4
"""Unsup3D's."""


@dataclass(frozen=True)
class BaselineFlags(TrainingFlags, AdamFlags):
    """Flags of both baselines."""

    width: Annotated[float, arg(metavar="FACTOR")] = 1.0
    """Factor on the widths of all networks; 1 is the paper's, 0.5 fits a CPU."""
    validate: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(optional)")] = None
    """Truth file (.npz) whose pictures are scored at every snapshot; nothing is learned from it."""

    def common(self, device: torch.device) -> dict[str, Any]:
        """The arguments that both trainings take by name.

        Raises:
            UserError: processes that cannot share a batch evenly, or a truth file that cannot be used.
        """
        self.check_share()
        if self.validate is None:
            return {"device": device}
        from gan2shape.cli.validation import read_validation

        return {"device": device, "validate": read_validation(self.validate, self.size)}


@dataclass(frozen=True)
class Unsup3d(BaselineFlags):
    """Train Unsup3D on single pictures, without any truth: depth, albedo, view and light from symmetry alone.

    For example:
      $ gan2shape train unsup3d --data faces.zip -o unsup3d --vgg vgg16-397923af.pth
      $ gan2shape train unsup3d --data heads.npz --width 0.25 --bfloat16 --flat-start --depth-smoothness 0.03
    """

    vgg: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(optional)")] = None
    """File of VGG-16 weights (torchvision's) for the perceptual term; without it there is none."""
    depth_smoothness: Annotated[float, arg(metavar="WEIGHT")] = 0.0
    """Weight of the depth's second differences; 0 is the paper's, 0.03 suits a training of few thousand iterations."""
    flat_start: FlagCreatePairsOff[bool] = False
    """Start from a nearly flat surface instead of a random one; for short trainings."""

    def run(self) -> None:
        """Train.

        Raises:
            UserError: flags, pictures, weights or a folder that cannot be used.
        """
        from gan2shape.cli.runtime import say
        from gan2shape.distributed import process_group
        from gan2shape.train.unsup3d import Unsup3DTask

        settings = self.settings(self.seed, weight_decay=WEIGHT_DECAY)
        if not 0 <= self.depth_smoothness <= 1e6:
            raise UserError(f"--depth-smoothness must be from 0 to 1e6; got {self.depth_smoothness}")
        with process_group(self.torch_device()) as device:
            task = Unsup3DTask(
                self.open(device),
                settings,
                features=self._features(device),
                depth_smoothness=self.depth_smoothness,
                flat_start=self.flat_start,
                **self.common(device),
            )
            if task.features is None:
                say("no --vgg: training without the perceptual term")
            self.train(task)

    def _features(self, device: torch.device) -> Features | None:
        if self.vgg is None:
            return None
        from gan2shape.networks.vgg import load_vgg

        vgg = load_vgg(self.vgg).to(device).eval()
        return lambda image: vgg(image, 3)[-1]


@dataclass(frozen=True)
class Supervised(BaselineFlags):
    """Train a depth network with true depth: the upper bound of what its architecture can do.

    For example:
      $ gan2shape train supervised --data synface.npz -o supervised --validate synface64_val.npz
      $ gan2shape train supervised --data synface.npz -o supervised --width 0.5 --batch-size 32 --learning-rate 1e-3
    """

    normal_weight: Annotated[float, arg(metavar="WEIGHT")] = 1.0
    """Weight of the error of normals beside that of depth; 0 learns from depth alone."""

    def run(self) -> None:
        """Train.

        Raises:
            UserError: flags, pictures or a folder that cannot be used.
        """
        from gan2shape.distributed import process_group
        from gan2shape.train.supervised import SupervisedTask

        settings = self.settings(self.seed, weight_decay=WEIGHT_DECAY)
        if not 0 <= self.normal_weight <= 1e6:
            raise UserError(f"--normal-weight must be from 0 to 1e6; got {self.normal_weight}")
        with process_group(self.torch_device()) as device:
            pictures = self.open(device)
            missing = sorted({"depth", "mask"} - set(pictures(0, 1)))
            if missing:
                raise InputError(f"{self.data}: expected pictures with true depth and mask; {missing[0]} is missing")
            self.train(SupervisedTask(pictures, settings, normal_weight=self.normal_weight, **self.common(device)))
