"""What is assumed before the picture is seen: a weak shape, likely poses and lights, and where the object is.

Names are imported when first used, so that reading a configuration does not load torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gan2shape.priors.distributions import GENERIC_LIGHTING as GENERIC_LIGHTING
    from gan2shape.priors.distributions import GENERIC_POSE as GENERIC_POSE
    from gan2shape.priors.distributions import SYNFACE_LIGHTING as SYNFACE_LIGHTING
    from gan2shape.priors.distributions import LightingPrior as LightingPrior
    from gan2shape.priors.distributions import PosePrior as PosePrior
    from gan2shape.priors.ellipsoid import EllipsoidPrior as EllipsoidPrior
    from gan2shape.priors.masks import Masker as Masker
    from gan2shape.priors.masks import auto_mask as auto_mask
    from gan2shape.priors.masks import no_mask as no_mask
    from gan2shape.priors.masks import read_mask as read_mask

_MODULES = {
    "EllipsoidPrior": "ellipsoid",
    "GENERIC_LIGHTING": "distributions",
    "GENERIC_POSE": "distributions",
    "LightingPrior": "distributions",
    "Masker": "masks",
    "PosePrior": "distributions",
    "SYNFACE_LIGHTING": "distributions",
    "auto_mask": "masks",
    "no_mask": "masks",
    "read_mask": "masks",
}
__all__ = [
    "GENERIC_LIGHTING",
    "GENERIC_POSE",
    "SYNFACE_LIGHTING",
    "EllipsoidPrior",
    "LightingPrior",
    "Masker",
    "PosePrior",
    "auto_mask",
    "no_mask",
    "read_mask",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
