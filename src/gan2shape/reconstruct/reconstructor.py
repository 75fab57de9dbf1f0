"""The method as one loop: step 0 once, then stages of steps 1, 2 and 3, values passed from each to the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gan2shape.errors import InputError
from gan2shape.generators import LoadedGenerator
from gan2shape.generators.protocol import FeatureExtractor
from gan2shape.networks import FactorNetworks, ResidualEncoder
from gan2shape.networks.one_pass import TurnedStart
from gan2shape.reconstruct.config import Geometry, ReconstructConfig, Stage
from gan2shape.reconstruct.optimize import Adam, DivergedError
from gan2shape.reconstruct.progress import Progress, StepRunner, gather_weights, load_weights
from gan2shape.reconstruct.step0_one_pass import fit_one_pass
from gan2shape.reconstruct.step0_prior import fit_shape_prior
from gan2shape.reconstruct.step1_albedo import fit_albedo, scenes_of
from gan2shape.reconstruct.step2_projection import Polish, Projector, Sampler, fit_encoder, project
from gan2shape.reconstruct.step3_refinement import refine
from gan2shape.reconstruct.target import Framing, Target
from gan2shape.reconstruct.turned import TurnedReconstructor, is_bundled, load_start
from gan2shape.reconstruct.warmup import fit_pose_and_light
from gan2shape.reconstruct.watch import OnEvent, ignore
from gan2shape.render import Camera, DepthRange, render
from gan2shape.render.units import PoseRange
from gan2shape.result import ReconstructionResult

ONE_PASS_PICTURES = 1500
"""Of the generator's pictures, those that step 0 hears of from one pass, in every process."""
_CHUNK = 32


class Reconstructor:
    """Reconstructs pictures with one generator and one configuration.

    Args:
        loaded: the GAN with its latent offset and discriminator features.
        config: a preset that starts from the ellipsoid, or one derived from it (see `reconstructor_for`).
        features: what the perceptual term compares; the GAN's discriminator features if None.
        initial_weights: weights to start from, named as in `ReconstructionResult.networks`: of the encoder, or of the
            factor networks too; step 0 is left out then.
        start: one pass, which step 0 learns from where ``config.start`` is "one-pass".

    Raises:
        InputError: neither the generator nor the caller offers features, or a configuration that has none of the steps.
    """

    def __init__(
        self,
        loaded: LoadedGenerator,
        config: ReconstructConfig,
        *,
        features: FeatureExtractor | None = None,
        initial_weights: Mapping[str, Tensor] | None = None,
        start: TurnedStart | None = None,
    ) -> None:
        if config.start == "turned":
            raise InputError(f"the preset {config.name} has no steps from the ellipsoid; take the preset ellipsoid")
        if (config.start == "one-pass") != (start is not None):
            raise InputError("expected networks of one pass where, and only where, the start is one-pass")
        if start is not None and start.networks.image_size != config.geometry.working_size_px:
            raise InputError(
                f"expected networks for pictures of {config.geometry.working_size_px} px (--config.geometry."
                f"working-size-px); got some for {start.networks.image_size}"
            )
        if start is not None and not _sees_as(config.geometry, start):
            raise InputError("settings that learn from one pass have its camera and no border (--config.geometry)")
        perceptual = features if features is not None else loaded.features
        if perceptual is None:
            raise InputError(
                f"{loaded.name} has no discriminator; hand in a feature extractor, for example VGG-16 (--features FILE)"
            )
        geometry = config.geometry
        self.loaded, self.config, self.start = loaded, config, start
        self.perceptual_features: FeatureExtractor = perceptual
        self.projection_features: FeatureExtractor = loaded.features or perceptual
        self.initial_weights = initial_weights
        self.device = loaded.w_mean.device
        self.camera = Camera(geometry.working_size_px, geometry.fov_deg, geometry.pivot_depth)
        self.depth_range = depth_range_of(geometry)
        self.ranges = PoseRange(geometry.rotation_deg, geometry.xy_translation, geometry.z_translation)
        self.framing = framing_of(loaded, config)

    def __call__(
        self,
        target: Target,
        *,
        seed: int = 0,
        on_event: OnEvent = ignore,
        resume: Progress | None = None,
        keep: Callable[[Progress], None] = lambda progress: None,
    ) -> ReconstructionResult:
        """Reconstruct one target.

        Args:
            target: picture, latent and mask.
            seed: same seed, machine and thread count: same result, bit for bit on a CPU; a GPU adds in no fixed order.
            on_event: told about every step and iteration.
            resume: what an interrupted run of the same target, configuration and seed had kept.
            keep: called after each finished step with what a later run needs to go on from there.

        Returns:
            The result; its ``warnings`` say so when an optimisation diverged and the last good state was taken.

        Raises:
            InputError: the mask shows no object, or weights that were handed in belong to other networks.
        """
        if target.count != 1:
            raise ValueError(f"a reconstruction has one picture; got {target.count} (see pretrain for several)")
        target = target.to(self.device)
        nets, encoder, run = self.fit(target, seed=seed, on_event=on_event, resume=resume, keep=keep)
        return ReconstructionResult(
            scene=scenes_of(nets, target),
            camera=self.camera,
            mask=target.mask,
            image=target.image,
            latent=target.latent,
            networks=gather_weights({"factors": nets, "encoder": encoder}),
            generator=self.loaded.record,
            config=self.config.to_dict(),
            seed=seed,
            history=tuple(run.history),
            warnings=tuple(run.warnings),
        )

    def fit(
        self,
        target: Target,
        *,
        seed: int,
        on_event: OnEvent,
        resume: Progress | None,
        keep: Callable[[Progress], None],
    ) -> tuple[FactorNetworks, ResidualEncoder, StepRunner]:
        """All steps of all stages on one or many pictures: the networks, and what the run told (see `__call__`)."""
        config = self.config
        nets, encoder = self.new_networks(seed)
        modules = {"factors": nets, "encoder": encoder}
        run = StepRunner(modules, seed=seed, device=self.device, on_event=on_event, keep=keep, resume=resume)
        projector = projector_with(encoder, self.loaded, config)
        try:
            if not self._has_start("factors"):
                self._run_step_0(run, nets, target)
            for index, stage in enumerate(config.stages, start=1):
                self._run_stage(run, f"stage {index}", stage, nets, projector, target)
        except DivergedError as stop:
            run.stop(str(stop))
        return nets, encoder, run

    def _run_step_0(self, run: StepRunner, nets: FactorNetworks, target: Target) -> None:
        """What the networks begin with: the ellipsoid, or what one pass tells of the generator's pictures."""
        config = self.config
        prior: dict[str, Any] = {"adam": self._adam(config.optimizer.prior_learning_rate)}
        if self.start is None:
            prior["together"] = config.optimizer.together
            run("shape prior", config.prior_steps, fit_shape_prior, nets, target, config.prior, **prior)
            return
        name = "one pass"
        prior |= {"batch_size": config.optimizer.batch_size, "rng": run.rng(name)}
        draw = partial(self._own_pictures, run.rng(f"pictures of {name}"))
        run(name, config.prior_steps, fit_one_pass, nets, self.start, draw, **prior)

    @torch.no_grad()
    def _own_pictures(self, rng: torch.Generator) -> Tensor:
        """`ONE_PASS_PICTURES` of the generator's own pictures (N, 3, S, S), signed, at working size."""
        latents = self.loaded.sample_latents(ONE_PASS_PICTURES, rng=rng)
        paint = self.loaded.generator.synthesize
        return torch.cat([self.framing.to_working(paint(chunk)) for chunk in latents.split(_CHUNK)])

    def _run_stage(
        self, run: StepRunner, title: str, stage: Stage, nets: FactorNetworks, projector: Projector, target: Target
    ) -> None:
        """Steps 1, 2 and 3 once; a stage without refinement ends before new views would be drawn to learn from."""
        rates, weights = self.config.optimizer, self.config.objective
        several: dict[str, Any] = {"together": rates.together}
        drawing: dict[str, Any] = {"sample": self._sampler(), "batch_size": rates.batch_size, **several}
        explaining: dict[str, Any] = {
            "render": partial(
                render, camera=self.camera, depth_range=self.depth_range, compat=self.config.geometry.compat
            ),
            "features": self.perceptual_features,
            "weights": weights,
        }
        name = f"{title}: albedo"
        albedo: dict[str, Any] = {"adam": self._adam(rates.albedo_learning_rate), "mirrored": stage.mirror_albedo}
        albedo |= several
        last = not stage.refine and not stage.project
        scene = run(name, stage.albedo, fit_albedo, nets, target, forget=last, **albedo, **explaining)
        if last:
            return

        name = f"{title}: encoder"
        matching: dict[str, Any] = {"features": self.projection_features, "weights": weights, "rng": run.rng(name)}
        matching["adam"] = self._adam(rates.encoder_learning_rate)
        last = not stage.refine
        run(name, stage.project, fit_encoder, projector, scene, target, forget=last, **matching, **drawing)
        if last:
            return

        name = f"{title}: projection"
        polish = self._polish() if self.config.projection.polish else None
        drawing |= {"rng": run.rng(name), "polish": polish}
        samples = run(name, stage.batches, project, projector, scene, target, **drawing)

        if stage.warmup:
            name = f"{title}: pose and light"
            poses: dict[str, Any] = {"rng": run.rng(name), "batch_size": rates.batch_size}
            poses["adam"] = self._adam(rates.warmup_learning_rate)
            run(name, stage.warmup, fit_pose_and_light, nets, samples, target=target, **poses)

        name = f"{title}: shape"
        shape: dict[str, Any] = {"rng": run.rng(name), "batch_size": rates.batch_size, "camera": self.camera}
        shape |= {"adam": self._adam(rates.refine_learning_rate), "mirrored": stage.mirror_refine, **several}
        shape["hold"] = stage.hold
        run(name, stage.refine, refine, nets, target, samples, forget=True, **shape, **explaining)

    def _adam(self, learning_rate: float) -> Adam:
        optimizer = self.config.optimizer
        return Adam(learning_rate, optimizer.weight_decay, optimizer.final_rate)

    def _polish(self) -> Polish:
        """What optimises the projected samples' own codes; codes are no weights and do not decay."""
        config = self.config
        adam = Adam(config.optimizer.polish_learning_rate, 0.0, config.optimizer.final_rate)
        return Polish(config.projection.polish, adam, self.projection_features, config.objective)

    def _sampler(self) -> Sampler:
        """What draws pseudo samples."""
        config = self.config
        return Sampler(
            self.camera,
            self.depth_range,
            self.ranges,
            config.pose,
            config.lighting,
            use_mask=config.objective.use_mask,
            compat=config.geometry.compat,
        )

    def new_networks(self, seed: int) -> tuple[FactorNetworks, ResidualEncoder]:
        """Factor networks and latent encoder, initialised from ``seed`` or from the weights that were handed in."""
        config = self.config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            nets = FactorNetworks(
                config.geometry.working_size_px,
                self.depth_range,
                config=config.networks,
                ranges=self.ranges,
                pose_mean=config.pose.mean if config.add_prior_means else None,
                lighting_mean=config.lighting.mean_units if config.add_prior_means else None,
            )
            encoder = new_encoder(self.loaded, config)
        nets, encoder = nets.to(self.device), encoder.to(self.device)
        modules = {name: net for name, net in (("factors", nets), ("encoder", encoder)) if self._has_start(name)}
        load_weights(modules, self.initial_weights or {})
        return nets, encoder

    def _has_start(self, name: str) -> bool:
        """Whether weights to start from were handed in for the factor networks or the encoder."""
        return any(key.startswith(f"{name}.") for key in self.initial_weights or {})


def reconstructor_for(
    loaded: LoadedGenerator,
    config: ReconstructConfig,
    *,
    features: FeatureExtractor | None = None,
    initial_weights: Mapping[str, Tensor] | None = None,
) -> Reconstructor | TurnedReconstructor:
    """What reconstructs with this configuration; arguments are those of `Reconstructor`.

    Raises:
        InputError: as `Reconstructor` does; or a configuration that starts from networks of another generator, or from
            others than those that are handed in.
    """
    if config.start == "one-pass":
        raise InputError(
            "the start one-pass is for gan2shape pretrain; to start from what that made, take --preset ellipsoid or "
            "paper-synface with --pretrained FILE"
        )
    if config.start == "ellipsoid":
        return Reconstructor(loaded, config, features=features, initial_weights=initial_weights)
    if not is_bundled(loaded):
        raise InputError(
            f"the preset {config.name} starts from networks that belong to the bundled generator; "
            f"with {loaded.name} take the preset ellipsoid"
        )
    if initial_weights is not None:
        raise InputError(f"the preset {config.name} has networks of its own to start from; take the preset ellipsoid")
    return TurnedReconstructor(loaded, config, load_start(loaded))


def _sees_as(geometry: Geometry, start: TurnedStart) -> bool:
    """Whether depths and poses of one pass mean the same under this geometry."""
    camera = Camera(geometry.working_size_px, geometry.fov_deg, geometry.pivot_depth)
    return camera == start.camera and geometry.border_columns == 0


def depth_range_of(geometry: Geometry) -> DepthRange:
    """The depth range that a configuration's geometry describes."""
    return DepthRange(
        geometry.near, geometry.far, border_columns=geometry.border_columns, border_weight=geometry.border_weight
    )


def framing_of(loaded: LoadedGenerator, config: ReconstructConfig) -> Framing:
    """From the pixels of this generator to the working pixels of this configuration."""
    resolution = loaded.generator.resolution
    return Framing(resolution, config.geometry.working_size_px, round(config.crop * resolution))


def new_encoder(loaded: LoadedGenerator, config: ReconstructConfig) -> ResidualEncoder:
    """An untrained latent encoder, initialised from torch's current random state, which stays as it is."""
    with torch.random.fork_rng(devices=[]):
        width = config.networks.offset_base_width
        return ResidualEncoder(loaded.offset.code_dim, config.geometry.working_size_px, width)


def projector_with(encoder: ResidualEncoder, loaded: LoadedGenerator, config: ReconstructConfig) -> Projector:
    """What takes pseudo samples to the GAN's pictures, with this encoder."""
    return Projector(encoder, loaded.offset, loaded.generator, framing_of(loaded, config), config.projection.relative)
