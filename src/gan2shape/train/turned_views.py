"""A generator's own objects, each from the front and under other turns and lights, painted by the generator itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Sized

import torch
from torch import Tensor
from torch.nn import functional as F

from gan2shape.errors import InputError
from gan2shape.generators import LoadedGenerator
from gan2shape.networks.latents import LatentEncoder
from gan2shape.networks.turning import drawn_moves
from gan2shape.priors.ellipsoid import EllipsoidPrior
from gan2shape.render import Camera
from gan2shape.train.run import iteration_rng
from gan2shape.train.turning import PROBED, calibrated, find_turning

_TRIES, _CHUNK, _CALIBRATING = 4, 16, 96


class TurnedViews:
    """A generator's own objects, turned and lit by itself. A `Pictures`, the same ``count`` ones in ever new orders.

    Every object is drawn as a picture, then its latent is turned until it faces the camera (its ``front``), and from
    there turned and lit anew; every second view is hardly turned, so that it shows the front nearly pixel by pixel.
    All nod and are lit from other sides and heights: turns alone leave every row of the picture to itself.

    Keys: ``front`` (B, 3, S, S) signed, ``turn`` (B,) what is left of its turn in units of `TURN_DEG`, ``mask`` and
    ``ellipsoid`` (B, 1, S, S) of the front; ``view`` (B, 1 + V, 3, S, S) signed, the picture as it was drawn and V
    views, ``view_turn`` (B, 1 + V), ``view_nod`` (B, 1 + V) the nods that were asked for, in degrees.

    Args:
        loaded: the generator, with a prior to draw from.
        encoder: its inverse; pictures are at its size.
        masker: finds the object; objects in whose front it finds none are left out.
        prior: crude shape of the category.
        camera: of the depths.
        count: objects.
        views: views of each, beside its picture.
        truncation: of the objects: typical ones turn better. The directions are found without.
        seed: which objects.

    Raises:
        InputError: the masker finds no object in most pictures.
    """

    def __init__(
        self,
        loaded: LoadedGenerator,
        encoder: LatentEncoder,
        *,
        masker: Callable[[Tensor], Tensor],
        prior: EllipsoidPrior,
        camera: Camera,
        count: int,
        views: int,
        seed: int,
        truncation: float = 1.0,
    ) -> None:
        self.loaded, self.encoder, self.seed, self.count = loaded, encoder, seed, count
        self.masker, self.prior = masker, prior
        self.size = encoder.image_size
        self.masker_name = getattr(masker, "__name__", type(masker).__name__)
        self.description = (
            f"{count} objects of {loaded.name} with {views} views each, seed {seed}, truncation {truncation:g}"
        )
        place = loaded.w_mean.device
        pictures = self._painted(loaded.sample_latents(count, rng=iteration_rng(seed, 0, place, "pictures")))
        self.turning = find_turning(encoder, pictures, self._probed(pictures), camera)
        rng, most = iteration_rng(seed, 0, place, "latents"), _TRIES * -(-count // _CHUNK)
        drawn = (loaded.sample_latents(_CHUNK, rng=rng, truncation=truncation) for _ in range(most))
        latents, objects = self._fronts(drawn)
        some = {name: values[:_CALIBRATING] for name, values in objects.items()}
        self.turning = calibrated(self.turning, latents[:_CALIBRATING], self._painted, some, camera)
        self._maps = self._views(latents, objects, views)

    def __call__(self, start: int, count: int) -> Mapping[str, Tensor]:
        """Objects number ``start`` … ``start + count - 1``."""
        epochs = range(start // self.count, (start + count - 1) // self.count + 1)
        orders = torch.cat([self._order(epoch) for epoch in epochs])
        first = start - epochs[0] * self.count
        chosen = orders[first : first + count]
        return {name: values[chosen] for name, values in self._maps.items()}

    def _order(self, epoch: int) -> Tensor:
        return torch.randperm(self.count, generator=iteration_rng(self.seed, epoch, torch.device("cpu"), "order"))

    @torch.no_grad()
    def _painted(self, latents: Tensor) -> Tensor:
        synthesize = self.loaded.generator.synthesize
        return torch.cat([self.encoder.shrunk(synthesize(chunk).clamp(-1, 1)) for chunk in latents.split(_CHUNK)])

    def _crude(self, image: Tensor) -> dict[str, Tensor]:
        """Mask and crude shape of one picture; nothing where the masker finds no object."""
        try:
            mask = self.masker(image).to(image)
            return {"mask": mask, "ellipsoid": self.prior.depth(mask)}
        except InputError:
            return {}

    def _probed(self, pictures: Tensor) -> dict[str, Tensor]:
        """The first pictures in which there is an object, with its mask and crude shape."""
        found: list[dict[str, Tensor]] = []
        for image in pictures.split(1):
            if crude := self._crude(image):
                found.append({"image": image, **crude})
            if len(found) == PROBED:
                break
        self._expect(found, min(len(pictures) // _TRIES, PROBED), len(pictures))
        return _together(found)

    def _fronts(self, chunks: Iterator[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Latents of objects that face the camera, and the objects: their picture as drawn, their front, its mask and
        crude shape."""
        found: list[dict[str, Tensor]] = []
        tried = 0
        for latents in chunks:
            drawn = self._painted(latents)
            facing = self.turning.moved(latents, -self.turning.coordinate(drawn))
            facing = self.turning.moved(facing, -self.turning.coordinate(self._painted(facing)))
            tried += len(latents)
            for latent, image, front in zip(
                facing.split(1), drawn.split(1), self._painted(facing).split(1), strict=True
            ):
                if crude := self._crude(front):
                    found.append({"latent": latent, "picture": image, "front": front, **crude})
            if len(found) >= self.count:
                break
        self._expect(found, self.count, tried)
        objects = _together(found[: self.count])
        return objects.pop("latent"), objects

    def _expect(self, found: Sized, least: int, tried: int) -> None:
        if len(found) < max(least, 1):
            raise InputError(
                f"expected objects in the pictures of {self.loaded.name}; the masker found {len(found)} in "
                f"{tried} pictures"
            )

    def _views(self, latents: Tensor, objects: dict[str, Tensor], views: int) -> dict[str, Tensor]:
        """Fronts with their views under normally distributed turns and lights, and the turns that all of them show."""
        moves = drawn_moves((self.count, views), rng=iteration_rng(self.seed, 0, latents.device, "turns"))
        moved = self.turning.moved(latents.repeat_interleave(views, dim=0), *(move.flatten() for move in moves))
        images = torch.cat([objects.pop("picture")[:, None], self._painted(moved).unflatten(0, moves[0].shape)], dim=1)
        shown = self.turning.coordinate(images.flatten(0, 1)).unflatten(0, images.shape[:2])
        nod = F.pad(moves[2], (1, 0))
        own = {"turn": self.turning.coordinate(objects["front"]), "view_turn": shown, "view_nod": nod}
        return {**objects, **own, "view": images}


def _together(found: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([one[name] for one in found]) for name in found[0]}
