"""Depth and light from turned views: networks that learn from a generator's own pictures, turned by the generator.

Every picture comes with views of the same object that differ in their yaw, which is read off their latents (`turning`).
The depth network says the surface of the picture, whose colours, divided by their shading, are the albedo; turned and
lit anew, that must be the other view. Nothing else is known: no pose, no depth, no symmetry of an object. This is ours,
not the paper's, which asks the generator for views through an encoder of crude renderings (docs/deviations.md).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan2shape.errors import InputError
from gan2shape.generators import LoadedGenerator
from gan2shape.losses import photometric, smoothness
from gan2shape.networks.encoder import Encoder
from gan2shape.networks.latents import LatentEncoder
from gan2shape.networks.trained import NetworkSizes
from gan2shape.networks.turned import TURNED, TurnedNetworks
from gan2shape.priors.ellipsoid import EllipsoidPrior
from gan2shape.render import Camera, Lighting, Pose, diffuse_shading, normals_from_depth, reproject, shade, unshade
from gan2shape.render.units import PoseRange, lighting_from_units, lighting_to_units, pose_from_units
from gan2shape.train.gallery import normal_picture, turned_picture
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
"""Light and residual pose learn this much slower than the depth, so that they do not explain away its errors."""
_RESIDUAL = (1.0, 0.5, 0.3, 1.0, 1.0, 0.0)
"""How far the residual pose may go, in parts of `PoseRange`: pitch, yaw, roll, x, y, z."""
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
        numbers = torch.arange(start, start + count)
        chosen = torch.stack([self._order(int(number) // self.count)[number % self.count] for number in numbers])
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
        settle: first iterations, in which depth and light network learn the crude shape, and the lights of pictures
            that were relit on it.
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
        """Depth and light network, and the residual pose's, which is not kept."""
        residual = Encoder(3, 6, self.sizes.image_size, max(1, self.sizes.vector_width // 2))
        return nn.ModuleDict({"turned": TurnedNetworks(self.sizes), "residual": residual})

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The depth network; and light and residual pose, which learn slower."""
        slow = [*self.network.light_net.parameters(), *self.networks["residual"].parameters()]
        return [{"params": list(self.network.depth_net.parameters())}, {"params": slow, "share": _SLOW_SHARE}]

    @property
    def network(self) -> TurnedNetworks:
        """The networks that are kept."""
        return cast(TurnedNetworks, self.networks["turned"])

    def step(self, index: int) -> dict[str, float]:
        """Iteration ``index``: one batch, every second one mirrored, one update."""
        batch = {name: values.to(self.device) for name, values in self.batch(index).items()}
        if torch.rand(1, generator=self.rng(index, "mirror"), device=self.device) < 0.5:
            batch = {name: -values if "turn" in name else values.flip(-1) for name, values in batch.items()}
        if index < self.settle:
            return self.update(self.settling(batch, index), index)
        return self.update(self.losses(batch, index), index)

    def settling(self, batch: Mapping[str, Tensor], index: int) -> dict[str, Tensor]:
        """The terms of the first iterations: the crude shape, lights of pictures relit on it, even light elsewhere."""
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
        return {"total": terms["shape"] + terms["light"], **terms}

    def losses(self, batch: Mapping[str, Tensor], index: int) -> dict[str, Tensor]:
        """The terms of a batch of K pictures, each with `USED_VIEWS` of its views; ``total`` among them."""
        image, mask = batch["image"], batch["mask"]
        owner, view, yaw = self._choose(batch, index)
        depth = self._depth(image)
        normals = normals_from_depth(depth, self.camera)
        both = torch.cat([image, view])
        lights = lighting_from_units(self.network.light_net(both))
        own, other = lights[: len(image)], lights[len(image) :]
        pose = self._relative_pose(both, owner, yaw)
        texture = shade(unshade(image, normals, own)[owner], normals[owner], in_object_frame(other, pose))
        seen = reproject(torch.cat([texture.clamp(-1, 1), mask[owner]], dim=1), depth[owner], pose, self.camera)
        near = (yaw.abs() < math.radians(WIDEST_DEG)).to(mask)[:, None, None, None]
        shown = (seen.mask * (seen.image[:, 3:] > 0.5) * near).detach()
        views = photometric(equally_bright(seen.image[:, :3], view, shown), view, shown)
        rough = _SMOOTH * (smoothness(depth) + smoothness(diffuse_shading(normals, own)))
        rough = rough + _DEPTH_SMOOTH * smoothness(depth)
        return {"total": views + rough, "views": views, "roughness": rough}

    def _depth(self, image: Tensor) -> Tensor:
        with low_precision(self.device, self.settings.bfloat16):
            return self.network.depth(image)

    def _choose(self, batch: Mapping[str, Tensor], index: int) -> tuple[Tensor, Tensor, Tensor]:
        """Owners (N,), pictures (N, 3, S, S) and yaws (N,), in radians from their owners', of the views to explain."""
        count, views = batch["view_turn"].shape
        used = min(USED_VIEWS, views)
        order = torch.rand(count, views, generator=self.rng(index, "views"), device=self.device).argsort(dim=1)
        chosen = order[:, :used].flatten()
        owner = torch.arange(count, device=self.device).repeat_interleave(used)
        turn = batch["view_turn"][owner, chosen] - batch["turn"][owner]
        return owner, batch["view"][owner, chosen], turn * math.radians(YAW_STD_DEG)

    def _relative_pose(self, both: Tensor, owner: Tensor, yaw: Tensor) -> Pose:
        """The motion from pictures to views: the yaw that was read, and what else the residual network sees."""
        ranges = PoseRange()
        count = len(both) - len(owner)
        residual = self.networks["residual"](both) * both.new_tensor(_RESIDUAL)
        units = residual[count:] - residual[:count][owner]
        limit = math.radians(WIDEST_DEG)
        turn = F.pad((yaw.clamp(-limit, limit) / math.radians(ranges.rotation_deg))[:, None], (1, 4))
        return pose_from_units(units + turn, ranges)

    @torch.no_grad()
    def predict(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Depth of the view and what was hit (everything), each (B, 1, S, S)."""
        depth = self.network.depth(image.to(self.device))
        return depth, torch.ones_like(depth)

    @torch.no_grad()
    def snapshot(self, folder: Path, index: int) -> dict[str, float]:
        """Write a sheet (pictures, a view of each, normals, albedo, two turns) and the weights; returns the scores.

        Raises:
            OutputError: the folder cannot be written.
        """
        batch = self.pictures(0, SHOWN)
        image, view = batch["image"].to(self.device), batch["view"][:, 0].to(self.device)
        scene = self.network(image)
        columns = [image, view, normal_picture(scene.depth, self.camera), scene.albedo]
        columns += [turned_picture(image, scene.depth, self.camera, yaw_deg) for yaw_deg in (35.0, -35.0)]
        return write_snapshot(self, self.network, columns, folder, index)


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


def in_object_frame(lighting: Lighting, pose: Pose) -> Lighting:
    """Lights of views, attached to the object that the poses turned; they keep coming from the front."""
    direction = (pose.rotation.transpose(1, 2) @ lighting.direction[:, :, None])[:, :, 0]
    direction = torch.cat([direction[:, :2], direction[:, 2:].clamp(min=0.2)], dim=1)
    return Lighting(lighting.ambient, lighting.diffuse, F.normalize(direction, dim=1))


def equally_bright(image: Tensor, like: Tensor, mask: Tensor) -> Tensor:
    """Signed pictures (N, 3, S, S), each times the factor that makes its mean colour within the mask that of ``like``;
    no gradient goes through the factor."""
    with torch.no_grad():
        wanted, got = (((values / 2 + 0.5) * mask).sum((2, 3), keepdim=True) for values in (like, image))
        factor = wanted / got.clamp(min=1.0)
    return (image / 2 + 0.5) * factor * 2 - 1
