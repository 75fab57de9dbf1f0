"""Networks: modules that own parameters and compute no loss.

Names are imported when first used, so that reading a configuration does not load torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gan2shape.networks.autoencoder import Autoencoder as Autoencoder
    from gan2shape.networks.encoder import Encoder as Encoder
    from gan2shape.networks.encoder import ResidualEncoder as ResidualEncoder
    from gan2shape.networks.factors import FactorNetworks as FactorNetworks
    from gan2shape.networks.vgg import VGG16 as VGG16
    from gan2shape.networks.vgg import download_vgg_weights as download_vgg_weights
    from gan2shape.networks.vgg import load_vgg as load_vgg
    from gan2shape.networks.widths import NetworkConfig as NetworkConfig

_MODULES = {
    "Autoencoder": "autoencoder",
    "Encoder": "encoder",
    "FactorNetworks": "factors",
    "NetworkConfig": "widths",
    "ResidualEncoder": "encoder",
    "VGG16": "vgg",
    "download_vgg_weights": "vgg",
    "load_vgg": "vgg",
}
__all__ = [
    "VGG16",
    "Autoencoder",
    "Encoder",
    "FactorNetworks",
    "NetworkConfig",
    "ResidualEncoder",
    "download_vgg_weights",
    "load_vgg",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
