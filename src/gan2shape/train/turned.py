"""Shape, pose and light from turned views: networks that learn from a generator's own objects, turned by itself.

Every object comes as seen from the front and in views that differ in yaw and light (`turned_views`); the yaw is read
off their latents (`turning`). The depth network sees any of them, and says the shape as seen from the front. The
colours of the front, divided by their shading, are the albedo; turned and lit as in a view, that must be the view.
Nothing else is known: no truth, no symmetry of an object. This is ours, not the paper's, which asks the generator for
views through an encoder of crude renderings (docs/deviations.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan2shape.networks.agreement import FrontsAndViews, disagreement, pose_error
from gan2shape.networks.trained import NetworkSizes, fingerprint
from gan2shape.networks.turned import TURNED, TurnedNetworks
from gan2shape.networks.turning import TURN_DEG, pose_of_moves
from gan2shape.priors.distributions import GENERIC_LIGHTING
from gan2shape.render import Lighting, normals_from_depth, render
from gan2shape.render.units import lighting_to_units
from gan2shape.train.gallery import normal_picture, turned_scene
from gan2shape.train.settings import SHOWN, AdamTask, TrainSettings, Validate, low_precision, write_snapshot
from gan2shape.train.turned_views import TurnedViews
from gan2shape.train.turning import even_light, relit

USED_VIEWS = 2
"""Views of an object in one iteration."""
AS_DRAWN = 0.5
"""How often the depth network sees the picture as the generator drew it; else it is any view."""
_SETTLING_SCALE = 100.0
_EVEN_WEIGHT = 0.3
_WEAKEST, _STRONGEST = 0.4, 0.8
_MEAN_LIGHT_WEIGHT = 0.3
"""The mean of all lights is held at the generic prior's: they come from above and from no side. Without that a shape
and its hollow, or its lean, explain the same shading."""
_SLOW_SHARE = 0.4
"""Pose and light learn this much slower than the depth, so that they do not explain away its errors."""


class TurnedTask(AdamTask):
    """One training of `TurnedNetworks`, a `Task`.

    Args:
        pictures: the generator's objects with their views.
        settings: of the training.
        device: where it computes.
        settle: first iterations, in which the networks learn the crude shape, the turns that were read, and the
            lights of fronts that were relit on it.
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
        own: dict[str, Any] = {"settle": settle, "generator": pictures.loaded.identity, "turn_deg": TURN_DEG}
        own |= {"masker": pictures.masker_name, "encoder": fingerprint(pictures.encoder)}
        self.pictures: TurnedViews
        super().__init__(pictures, settings, sizes, device=device, **own)
        self.camera = self.network.camera

    def new_networks(self) -> nn.ModuleDict:
        """Depth, view and light network."""
        return nn.ModuleDict({"turned": TurnedNetworks(self.sizes)})

    def beside(self) -> Mapping[str, Tensor]:
        """The latent directions that turn and light the object."""
        return self.pictures.turning.tensors()

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
            batch = {name: _mirrored(name, values) for name, values in batch.items()}
        if index < self.settle:
            return self.update(self.settling(batch, index), index)
        return self.update(self.losses(batch, index), index)

    def settling(self, batch: Mapping[str, Tensor], index: int) -> dict[str, Tensor]:
        """The terms of the first iterations: the crude shape, the yaws that were read, lights of fronts relit on the
        crude shape, even light elsewhere."""
        image, crude = batch["front"], batch["ellipsoid"]
        lighting = drawn_lights(image, self.rng(index, "lights"))
        lit = torch.where(batch["mask"] > 0.5, relit(image, normals_from_depth(crude, self.camera), lighting), image)
        lights = self.network.light_net(torch.cat([lit, image]))
        even = lighting_to_units(even_light(image, len(image)))
        terms = {
            "shape": _SETTLING_SCALE * (self._depth(self._seen(batch, index)) - crude).abs().mean(),
            "light": (lights[: len(image)] - lighting_to_units(lighting)).abs().mean()
            + _EVEN_WEIGHT * (lights[len(image) :] - even).abs().mean(),
        }
        chosen = self._choose(batch, index)
        terms["pose"] = pose_error(self._poses(chosen), chosen.pose_units())
        return {"total": sum(terms.values(), torch.zeros_like(terms["pose"])), **terms}

    def losses(self, batch: Mapping[str, Tensor], index: int) -> dict[str, Tensor]:
        """The terms of a batch of K objects, each with `USED_VIEWS` of its views; ``total`` among them."""
        chosen = self._choose(batch, index)
        depth = self._depth(self._seen(batch, index))
        terms = disagreement(self.network, depth, chosen, self._poses(chosen))
        lights = self.network.light_net(torch.cat([chosen.front, chosen.view])).mean(0)
        usual = lights.new_tensor(GENERIC_LIGHTING.mean_units)
        terms["mean light"] = _MEAN_LIGHT_WEIGHT * (lights - usual).abs().sum()
        return {**terms, "total": terms["total"] + terms["mean light"]}

    def _poses(self, shown: FrontsAndViews) -> Tensor:
        """Poses of fronts and views (K + N, 6) as the view network sees them, in network units."""
        return self.network.view_net(torch.cat([shown.front, shown.view]))

    def _depth(self, image: Tensor) -> Tensor:
        with low_precision(self.device, self.settings.bfloat16):
            return self.network.depth(image)

    def _seen(self, batch: Mapping[str, Tensor], index: int) -> Tensor:
        """What the depth network sees of each object (K, 3, S, S): its picture as drawn, or any of its views."""
        count, views = batch["view_turn"].shape
        rng = self.rng(index, "seen")
        number = torch.randint(views, (count,), generator=rng, device=self.device)
        drawn = torch.rand(count, generator=rng, device=self.device) < AS_DRAWN
        return batch["view"][torch.arange(count, device=self.device), torch.where(drawn, 0, number)]

    def _choose(self, batch: Mapping[str, Tensor], index: int) -> FrontsAndViews:
        """The fronts of a batch with the views that are to be explained."""
        count, views = batch["view_turn"].shape
        used = min(USED_VIEWS, views)
        order = torch.rand(count, views, generator=self.rng(index, "views"), device=self.device).argsort(dim=1)
        chosen = order[:, :used].flatten()
        owner = torch.arange(count, device=self.device).repeat_interleave(used)
        view, turn, nod = (batch[name][owner, chosen] for name in ("view", "view_turn", "view_nod"))
        front_pose, view_pose = pose_of_moves(batch["turn"]), pose_of_moves(turn, nod)
        return FrontsAndViews(batch["front"], batch["mask"], front_pose, view, view_pose, owner)

    @torch.no_grad()
    def predict(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Depth of the view and what was hit, each (B, 1, S, S)."""
        seen = render(self.network(image.to(self.device)), self.camera)
        return seen.depth, seen.mask

    @torch.no_grad()
    def snapshot(self, folder: Path, index: int) -> dict[str, float]:
        """Write a sheet (pictures, fronts, renderings, normals, albedo, both sides) and the weights; returns the
        scores.

        Raises:
            OutputError: the folder cannot be written.
        """
        batch = self.pictures(0, SHOWN)
        image, front = batch["view"][:, 0].to(self.device), batch["front"].to(self.device)
        scene = self.network(image)
        columns = [
            image,
            front,
            render(scene, self.camera).image,
            normal_picture(scene.depth, self.camera),
            scene.albedo,
        ]
        columns += [turned_scene(scene, self.camera, yaw_deg) for yaw_deg in (35.0, -35.0)]
        return write_snapshot(self, self.network, columns, folder, index)


def _mirrored(name: str, values: Tensor) -> Tensor:
    """What a mirror shows: turns the other way, the same nods, pictures and maps with their sides exchanged."""
    if "turn" in name:
        return -values
    return values if "nod" in name else values.flip(-1)


def drawn_lights(like: Tensor, rng: torch.Generator) -> Lighting:
    """A random light for each of the pictures ``like`` (B, 3, S, S); strong ones, from the sides that the generic prior
    has."""
    draw = torch.rand(len(like), 3, generator=rng, device=like.device).to(like)
    prior = GENERIC_LIGHTING
    x = prior.x_min + (prior.x_max - prior.x_min) * draw[:, 0]
    y = prior.y_min + (prior.y_max - prior.y_min) * draw[:, 1]
    diffuse = _WEAKEST + (_STRONGEST - _WEAKEST) * draw[:, 2:]
    return Lighting(1 - diffuse, diffuse, F.normalize(torch.stack([x, y, torch.ones_like(x)], dim=1), dim=1))
