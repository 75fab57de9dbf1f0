"""The paper: one file per step, one loop over stages, values passed from each to the next.

Names are imported when first used, so that configurations and presets can be read without loading torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gan2shape.reconstruct.config import ReconstructConfig as ReconstructConfig
    from gan2shape.reconstruct.config import Stage as Stage
    from gan2shape.reconstruct.config import config_from_dict as config_from_dict
    from gan2shape.reconstruct.pipeline import Job as Job
    from gan2shape.reconstruct.pipeline import reconstruct_job as reconstruct_job
    from gan2shape.reconstruct.presets import PRESETS as PRESETS
    from gan2shape.reconstruct.reconstructor import Reconstructor as Reconstructor
    from gan2shape.reconstruct.target import Target as Target

_MODULES = {
    "Job": "pipeline",
    "PRESETS": "presets",
    "ReconstructConfig": "config",
    "Reconstructor": "reconstructor",
    "Stage": "config",
    "Target": "target",
    "config_from_dict": "config",
    "reconstruct_job": "pipeline",
}
__all__ = [
    "PRESETS",
    "Job",
    "ReconstructConfig",
    "Reconstructor",
    "Stage",
    "Target",
    "config_from_dict",
    "reconstruct_job",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
