"""The GAN's pictures of a result under other poses and lights."""

from __future__ import annotations

import torch
from torch import Tensor

from gan2shape.errors import InputError
from gan2shape.export.views import Painter
from gan2shape.generators import LoadedGenerator
from gan2shape.reconstruct.config import ReconstructConfig
from gan2shape.reconstruct.progress import load_weights
from gan2shape.reconstruct.reconstructor import new_encoder, projector_with
from gan2shape.reconstruct.target import Target
from gan2shape.reconstruct.turned import TurnedPainter, load_start
from gan2shape.render import Lighting, Pose
from gan2shape.result import ReconstructionResult


def gan_projection(result: ReconstructionResult, loaded: LoadedGenerator, config: ReconstructConfig) -> Painter:
    """What turns crude renderings of a result into the GAN's pictures of them.

    Where the reconstruction started from turned views, the latent is moved to the poses and lights; else the result's
    encoder reads them from the renderings.

    Raises:
        InputError: the result was made by a method without a GAN.
        CheckpointError: the result started from networks of another generator.
    """
    if result.latent is None:
        raise InputError(f"the result was made by {result.method}, which has no GAN to paint views with")
    if config.start == "turned":
        return TurnedPainter(loaded, load_start(loaded), result.latent, image=result.image, pose=result.scene.pose)
    return _by_encoder(result, loaded, config)


def _by_encoder(result: ReconstructionResult, loaded: LoadedGenerator, config: ReconstructConfig) -> Painter:
    assert result.latent is not None
    device = loaded.w_mean.device
    encoder = new_encoder(loaded, config).to(device)
    load_weights({"encoder": encoder}, result.networks)
    target = Target(result.image, result.latent, result.mask).to(device)
    projector = projector_with(encoder, loaded, config)
    own = projector.own_pictures(target)

    @torch.no_grad()
    def project(images: Tensor, poses: Pose, lights: Lighting) -> Tensor:
        chunks = [projector(chunk, target, own)[0] for chunk in images.to(device).split(10)]
        return torch.cat(chunks)

    return project
