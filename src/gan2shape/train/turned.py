"""Shape, pose and light from turned views: networks that learn from a generator's own pictures, turned by itself.

Every picture comes with views of the same object that differ in their yaw, which is read off their latents (`turning`);
so each of them shows the object under a known yaw. The depth network says the object's shape as seen from the front.
The picture's colours on it, divided by their shading, are the albedo; turned and lit as in another view, that must be
the other view. Nothing else is known: no truth, no symmetry of an object. This is ours, not the paper's, which asks the
generator for views through an encoder of crude renderings (docs/deviations.md).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan2shape.errors import InputError
from gan2shape.generators import LoadedGenerator
from gan2shape.losses import photometric, smoothness
from gan2shape.networks.latents import LatentEncoder
from gan2shape.networks.trained import NetworkSizes
from gan2shape.networks.turned import TURNED, TurnedNetworks, canonical_albedo, in_object_frame
from gan2shape.priors.ellipsoid import EllipsoidPrior
from gan2shape.render import Camera, Lighting, diffuse_shading, normals_from_depth, render, reproject, shade
from gan2shape.render.units import PoseRange, lighting_to_units, pose_from_units
from gan2shape.render.warp import forward_grid, sample_image
from gan2shape.train.gallery import normal_picture, turned_scene
from gan2shape.train.run import iteration_rng
from gan2shape.train.settings import SHOWN, AdamTask, TrainSettings, Validate, low_precision, write_snapshot
from gan2shape.train.turning import even_light, find_turning, relit

YAW_STD_DEG = 20.0
"""Standard deviation of the yaw in a category's pictures, in degrees (the generic pose prior's). Only this number says
how many degrees a turn along the latents is."""
WIDEST_DEG = 40.0
"""Views that are farther from their picture are left out: too little of it is left in them."""
USED_VIEWS = 2
"""Views of a picture in one iteration."""
_SMOOTH, _DEPTH_SMOOTH = 0.02, 2.0
_SETTLING_SCALE = 100.0
_EVEN_WEIGHT = 0.3
_SIDEWAYS, _WEAKEST, _STRONGEST = 0.9, 0.4, 0.8
_SLOW_SHARE = 0.4
"""Pose and light learn this much slower than the depth, so that they do not explain away its errors."""
_YAW = 1
"""Place of the yaw among the view network's numbers."""
_REST_WEIGHT = 0.1
"""Of all other numbers of the pose, which a category is taken to have about zero."""
_TRIES, _CHUNK = 4, 16


class TurnedViews:
    """A generator's own pictures with turned views of each. A `Pictures`, the same ``count`` ones in ever new orders.

    Keys: ``image`` (B, 3, S, S) signed, ``mask`` and ``ellipsoid`` (B, 1, S, S), ``turn`` (B,) and ``view_turn`` (B, V)
    in standard deviations, ``view`` (B, V, 3, S, S) signed.

    Args:
        loaded: the generator, with a prior to draw from.
        encoder: its inverse; pictures are at its size.
        masker: finds the object; pictures in which it finds none are left out.
        prior: crude shape of the category.
        camera: of the depths.
        count: pictures.
        views: views of each.
        seed: which pictures.

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
    ) -> None:
        self.loaded, self.encoder, self.seed, self.count = loaded, encoder, seed, count
        self.size = encoder.image_size
        self.masker_name = getattr(masker, "__name__", type(masker).__name__)
        self.description = f"{count} pictures of {loaded.name} with {views} turned views each, seed {seed}"
        latents, self._maps = self._pictures(masker, prior)
        self.turning = find_turning(encoder, self._maps, camera)
        self._maps |= self._views(latents, views)

    def __call__(self, start: int, count: int) -> Mapping[str, Tensor]:
        """Pictures number ``start`` … ``start + count - 1``."""
        epochs = range(start // self.count, (start + count - 1) // self.count + 1)
        orders = torch.cat([self._order(epoch) for epoch in epochs])
        first = start - epochs[0] * self.count
        chosen = orders[first : first + count]
        return {name: values[chosen] for name, values in self._maps.items()}

    def _order(self, epoch: int) -> Tensor:
        return torch.randperm(self.count, generator=iteration_rng(self.seed, epoch, torch.device("cpu"), "order"))

    @torch.no_grad()
    def _pictures(self, masker: Callable[[Tensor], Tensor], prior: EllipsoidPrior) -> tuple[Tensor, dict[str, Tensor]]:
        """Latents and pictures in which the masker finds an object."""
        rng = iteration_rng(self.seed, 0, self.loaded.w_mean.device, "latents")
        latents: list[Tensor] = []
        found: list[tuple[Tensor, Tensor, Tensor]] = []
        for _ in range(_TRIES * self.count):
            latent = self.loaded.sample_latents(1, rng=rng)
            image = self.encoder.shrunk(self.loaded.generator.synthesize(latent).clamp(-1, 1)).to(rng.device)
            try:
                mask = masker(image).to(image)
                crude = prior.depth(mask)
            except InputError:
                continue
            latents.append(latent)
            found.append((image, mask, crude))
            if len(found) == self.count:
                images, masks, depths = (torch.cat(parts) for parts in zip(*found, strict=True))
                return torch.cat(latents), {"image": images, "mask": masks, "ellipsoid": depths}
        raise InputError(
            f"expected objects in the pictures of {self.loaded.name}; the masker found {len(found)} in "
            f"{_TRIES * self.count} pictures"
        )

    @torch.no_grad()
    def _views(self, latents: Tensor, views: int) -> dict[str, Tensor]:
        """Views under normally distributed turns, and the turns that they and the pictures really show."""
        turn = self.turning.coordinate(self._maps["image"])
        rng = iteration_rng(self.seed, 0, latents.device, "turns")
        by = torch.randn(len(latents), views, generator=rng, device=latents.device) - turn[:, None]
        moved = self.turning.moved(latents.repeat_interleave(views, dim=0), by.flatten())
        synthesize = self.loaded.generator.synthesize
        images = torch.cat([self.encoder.shrunk(synthesize(chunk).clamp(-1, 1)) for chunk in moved.split(_CHUNK)])
        shown = self.turning.coordinate(images)
        return {"turn": turn, "view": images.unflatten(0, (-1, views)), "view_turn": shown.unflatten(0, (-1, views))}


class TurnedTask(AdamTask):
    """One training of `TurnedNetworks`, a `Task`.

    Args:
        pictures: of the generator, with turned views.
        settings: of the training.
        device: where it computes.
        settle: first iterations, in which the networks learn the crude shape, the turns that were read, and the
            lights of pictures that were relit on it.
        validate: scores the predicted depth of views at every snapshot.
    """

    kind = TURNED

    def __init__(
        self,
        pictures: TurnedViews,
        settings: TrainSettings,
        *,
        device: torch.device,
        settle: int = 600,
        validate: Validate | None = None,
    ) -> None:
        self.settle, self.validate = settle, validate
        sizes = NetworkSizes.scaled(pictures.size, settings.width_multiplier)
        own: dict[str, Any] = {"settle": settle, "generator": pictures.loaded.identity, "yaw_std_deg": YAW_STD_DEG}
        own |= {"masker": pictures.masker_name, "encoder": _fingerprint(pictures.encoder)}
        super().__init__(pictures, settings, sizes, device=device, **own)
        self.camera = self.network.camera

    def new_networks(self) -> nn.ModuleDict:
        """Depth, view and light network."""
        return nn.ModuleDict({"turned": TurnedNetworks(self.sizes)})

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The depth network; and those of pose and light, which learn slower."""
        slow = [*self.network.light_net.parameters(), *self.network.view_net.parameters()]
        return [{"params": list(self.network.depth_net.parameters())}, {"params": slow, "share": _SLOW_SHARE}]

    @property
    def network(self) -> TurnedNetworks:
        """The networks that are kept."""
        return cast(TurnedNetworks, self.networks["turned"])

    def step(self, index: int) -> dict[str, float]:
        """Iteration ``index``: one batch, half of them mirrored as a whole, one update."""
        batch = {name: values.to(self.device) for name, values in self.batch(index).items()}
        if torch.rand(1, generator=self.rng(index, "mirror"), device=self.device) < 0.5:
            batch = {name: -values if "turn" in name else values.flip(-1) for name, values in batch.items()}
        if index < self.settle:
            return self.update(self.settling(batch, index), index)
        return self.update(self.losses(batch, index), index)

    def settling(self, batch: Mapping[str, Tensor], index: int) -> dict[str, Tensor]:
        """The terms of the first iterations: the crude shape, the yaws that were read, lights of pictures relit on the
        crude shape, even light elsewhere."""
        image, crude = batch["image"], batch["ellipsoid"]
        lighting = drawn_lights(image, self.rng(index, "lights"))
        lit = torch.where(batch["mask"] > 0.5, relit(image, normals_from_depth(crude, self.camera), lighting), image)
        guess = self.network.light_net(torch.cat([lit, image]))
        even = lighting_to_units(even_light(image, len(image)))
        terms = {
            "shape": _SETTLING_SCALE * (self._depth(image) - crude).abs().mean(),
            "light": (guess[: len(image)] - lighting_to_units(lighting)).abs().mean()
            + _EVEN_WEIGHT * (guess[len(image) :] - even).abs().mean(),
        }
        _, view, turn, view_turn = self._choose(batch, index)
        terms["pose"] = pose_error(self.network.view_net(torch.cat([image, view])), torch.cat([turn, view_turn]))
        return {"total": sum(terms.values(), torch.zeros_like(terms["pose"])), **terms}

    def losses(self, batch: Mapping[str, Tensor], index: int) -> dict[str, Tensor]:
        """The terms of a batch of K pictures, each with `USED_VIEWS` of its views; ``total`` among them."""
        image, mask = batch["image"], batch["mask"]
        owner, view, turn, view_turn = self._choose(batch, index)
        both, turns, count = torch.cat([image, view]), torch.cat([turn, view_turn]), len(image)
        depth = self._depth(image)
        guess = self.network.view_net(both)
        poses = pose_from_units(with_yaw(guess, turns), PoseRange())
        lights = in_object_frame(self.network.lighting(both), poses)
        normals = normals_from_depth(depth, self.camera)
        albedo = canonical_albedo(image, depth, poses[:count], lights[:count], self.camera)
        shown = sample_image(mask, forward_grid(depth, poses[:count], self.camera))
        lit = shade(albedo[owner], normals[owner], lights[count:]).clamp(-1, 1)
        seen = reproject(torch.cat([lit, shown[owner]], dim=1), depth[owner], poses[count:], self.camera)
        near = ((view_turn - turn[owner]).abs() * YAW_STD_DEG < WIDEST_DEG).to(mask)[:, None, None, None]
        kept = (seen.mask * (seen.image[:, 3:] > 0.5) * near).detach()
        terms = {
            "views": photometric(equally_bright(seen.image[:, :3], view, kept), view, kept),
            "pose": pose_error(guess, turns),
            "roughness": (_SMOOTH + _DEPTH_SMOOTH) * smoothness(depth)
            + _SMOOTH * smoothness(diffuse_shading(normals, lights[:count])),
        }
        return {"total": sum(terms.values(), torch.zeros_like(terms["pose"])), **terms}

    def _depth(self, image: Tensor) -> Tensor:
        with low_precision(self.device, self.settings.bfloat16):
            return self.network.depth(image)

    def _choose(self, batch: Mapping[str, Tensor], index: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Owners (N,) and pictures (N, 3, S, S) of the views to explain, and the turns (K,) of all pictures and (N,)
        of these views."""
        count, views = batch["view_turn"].shape
        used = min(USED_VIEWS, views)
        order = torch.rand(count, views, generator=self.rng(index, "views"), device=self.device).argsort(dim=1)
        chosen = order[:, :used].flatten()
        owner = torch.arange(count, device=self.device).repeat_interleave(used)
        return owner, batch["view"][owner, chosen], batch["turn"], batch["view_turn"][owner, chosen]

    @torch.no_grad()
    def predict(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Depth of the view and what was hit, each (B, 1, S, S)."""
        seen = render(self.network(image.to(self.device)), self.camera)
        return seen.depth, seen.mask

    @torch.no_grad()
    def snapshot(self, folder: Path, index: int) -> dict[str, float]:
        """Write a sheet (pictures, a view of each, renderings, normals, albedo, both sides) and the weights; returns
        the scores.

        Raises:
            OutputError: the folder cannot be written.
        """
        batch = self.pictures(0, SHOWN)
        image, view = batch["image"].to(self.device), batch["view"][:, 0].to(self.device)
        scene = self.network(image)
        columns = [
            image,
            view,
            render(scene, self.camera).image,
            normal_picture(scene.depth, self.camera),
            scene.albedo,
        ]
        columns += [turned_scene(scene, self.camera, yaw_deg) for yaw_deg in (35.0, -35.0)]
        return write_snapshot(self, self.network, columns, folder, index)


def with_yaw(units: Tensor, turns: Tensor) -> Tensor:
    """Poses (N, 6) in network units with the yaws of turns (N,), in standard deviations, instead of their own."""
    yaw = turns * (YAW_STD_DEG / PoseRange().rotation_deg)
    return torch.cat([units[:, :_YAW], yaw[:, None], units[:, _YAW + 1 :]], dim=1)


def pose_error(units: Tensor, turns: Tensor) -> Tensor:
    """How far predicted poses (N, 6) are from the yaws that were read, and the rest of them from none."""
    difference = (units - with_yaw(torch.zeros_like(units), turns)).abs().mean(0)
    return difference[_YAW] + _REST_WEIGHT * (difference.sum() - difference[_YAW])


def _fingerprint(network: nn.Module) -> str:
    """Twelve digits that tell networks with other weights apart, so that a training goes on with its own encoder."""
    digest = hashlib.blake2b(digest_size=6)
    for tensor in network.state_dict().values():
        digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


def drawn_lights(like: Tensor, rng: torch.Generator) -> Lighting:
    """A random light for each of the pictures ``like`` (B, 3, S, S); strong ones, from every side."""
    draw = torch.rand(len(like), 3, generator=rng, device=like.device).to(like)
    side = (2 * draw[:, :2] - 1) * _SIDEWAYS
    diffuse = _WEAKEST + (_STRONGEST - _WEAKEST) * draw[:, 2:]
    return Lighting(1 - diffuse, diffuse, F.normalize(F.pad(side, (0, 1), value=1.0), dim=1))


def equally_bright(image: Tensor, like: Tensor, mask: Tensor) -> Tensor:
    """Signed pictures (N, 3, S, S), each times the factor that makes its mean colour within the mask that of ``like``;
    no gradient goes through the factor."""
    with torch.no_grad():
        wanted, got = (((values / 2 + 0.5) * mask).sum((2, 3), keepdim=True) for values in (like, image))
        factor = wanted / got.clamp(min=1.0)
    return (image / 2 + 0.5) * factor * 2 - 1
