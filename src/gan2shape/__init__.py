"""gan2shape: one picture and a 2D GAN in, the object in 3D out.

An installable implementation of "Do 2D GANs Know 3D Shape? Unsupervised 3D Shape Reconstruction from 2D Image GANs"
(Pan, Dai, Liu, Loy, Luo, ICLR 2021). Names are imported when first used: ``import gan2shape`` loads nothing heavy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gan2shape._version import __version__ as __version__

if TYPE_CHECKING:
    from gan2shape.errors import UserError as UserError
    from gan2shape.generators import LoadedGenerator as LoadedGenerator
    from gan2shape.generators import load_generator as load_generator
    from gan2shape.generators.invert import InvertConfig as InvertConfig
    from gan2shape.generators.invert import invert as invert
    from gan2shape.io.images import read_image as read_image
    from gan2shape.priors.masks import auto_mask as auto_mask
    from gan2shape.priors.masks import no_mask as no_mask
    from gan2shape.priors.masks import read_mask as read_mask
    from gan2shape.reconstruct.config import ReconstructConfig as ReconstructConfig
    from gan2shape.reconstruct.config import Stage as Stage
    from gan2shape.reconstruct.pipeline import Job as Job
    from gan2shape.reconstruct.pipeline import reconstruct_job as reconstruct_job
    from gan2shape.reconstruct.presets import PRESETS as PRESETS
    from gan2shape.reconstruct.reconstructor import Reconstructor as Reconstructor
    from gan2shape.reconstruct.target import Target as Target
    from gan2shape.render.camera import Camera as Camera
    from gan2shape.render.pose import Pose as Pose
    from gan2shape.render.scene import Scene as Scene
    from gan2shape.render.shading import Lighting as Lighting
    from gan2shape.result import ReconstructionResult as ReconstructionResult

_PLACES = {
    "Camera": "render.camera",
    "InvertConfig": "generators.invert",
    "Job": "reconstruct.pipeline",
    "Lighting": "render.shading",
    "LoadedGenerator": "generators.load",
    "PRESETS": "reconstruct.presets",
    "Pose": "render.pose",
    "ReconstructConfig": "reconstruct.config",
    "ReconstructionResult": "result",
    "Reconstructor": "reconstruct.reconstructor",
    "Scene": "render.scene",
    "Stage": "reconstruct.config",
    "Target": "reconstruct.target",
    "UserError": "errors",
    "auto_mask": "priors.masks",
    "invert": "generators.invert",
    "load_generator": "generators.load",
    "no_mask": "priors.masks",
    "read_image": "io.images",
    "read_mask": "priors.masks",
    "reconstruct_job": "reconstruct.pipeline",
}
__all__ = ["__version__", *_PLACES]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    place = _PLACES[name]
    return getattr(import_module(f"{__name__}.{place}"), name)
