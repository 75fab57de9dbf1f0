"""Joint pre-training: resumption, priors that give back what they were estimated from, files, several processes."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from gan2shape.errors import CheckpointError, InputError
from gan2shape.generators import LoadedGenerator
from gan2shape.io.checkpoints import write_tensors
from gan2shape.networks.trained import NetworkSizes, save_networks
from gan2shape.networks.turned import TURNED, TurnedNetworks
from gan2shape.priors import LightingPrior, PosePrior
from gan2shape.priors.masks import no_mask
from gan2shape.reconstruct import Reconstructor, Stage
from gan2shape.reconstruct.config import Optimizer
from gan2shape.reconstruct.pretrain import (
    PRIORS,
    Pretrained,
    bundled_pretrained,
    draw_targets,
    estimate_priors,
    lighting_prior,
    load_pretrained,
    load_priors,
    pose_prior,
    pretrain,
    priors_to_dict,
    save_pretrained,
)
from gan2shape.reconstruct.progress import Progress
from gan2shape.reconstruct.target import Target
from gan2shape.render import Lighting
from gan2shape.render.units import lighting_to_units
from tests.reconstruct.small import CAMERA, TINY, bumpy_scene, renderer_gan, small_generator

JOINT = replace(
    TINY, stages=(Stage(2, 2, 2, batches=3),), optimizer=Optimizer(batch_size=4, together=2), images=3, prior_steps=2
)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedGenerator:
    return small_generator(tmp_path_factory.mktemp("generator"))


def drawn(loaded: LoadedGenerator, count: int = 3) -> Target:
    framing = Reconstructor(loaded, JOINT).framing
    rng = torch.Generator().manual_seed(0)
    return draw_targets(loaded, framing, no_mask, count=count, truncation=1.0, rng=rng)


def test_drawn_pictures_are_the_generator_s_own_with_their_latents(loaded: LoadedGenerator) -> None:
    target = drawn(loaded, 4)
    with torch.no_grad():
        painted = loaded.generator.synthesize(target.latent).clamp(-1, 1)
    torch.testing.assert_close(target.image, painted)
    assert len({tuple(latent.tolist()) for latent in target.latent}) == 4


def test_pictures_without_an_object_are_passed_over(loaded: LoadedGenerator) -> None:
    calls: list[float] = []

    def masker(image: Tensor) -> Tensor:
        calls.append(float(image.mean()))
        if len(calls) % 2:
            raise InputError("no object")
        return torch.ones_like(image[:, :1])

    framing = Reconstructor(loaded, JOINT).framing
    options = {"count": 3, "truncation": 1.0}
    target = draw_targets(loaded, framing, masker, rng=torch.Generator().manual_seed(0), **options)  # type: ignore[arg-type]
    assert target.count == 3
    assert [float(image.mean()) for image in target.image] == pytest.approx(calls[1::2])

    def nothing(image: Tensor) -> Tensor:
        raise InputError("no object")

    with pytest.raises(InputError, match="the masker found 0 in 12 pictures"):
        draw_targets(loaded, framing, nothing, rng=torch.Generator().manual_seed(0), **options)  # type: ignore[arg-type]


def test_an_interrupted_pre_training_ends_as_an_uninterrupted_one(loaded: LoadedGenerator) -> None:
    target, reconstructor = drawn(loaded), Reconstructor(loaded, JOINT)
    kept: list[Progress] = []
    whole = pretrain(reconstructor, target, seed=1, keep=kept.append, prior_pictures=8)
    for progress in (kept[0], kept[2], kept[-2]):
        again = pretrain(reconstructor, target, seed=1, resume=progress, prior_pictures=8)
        assert all(torch.equal(whole.weights[name], again.weights[name]) for name in whole.weights)
        assert whole.config == again.config


def test_the_pose_prior_is_the_distribution_of_what_was_seen() -> None:
    spread = torch.tensor(np.diag([0.1, 0.4, 0.05, 0.02, 0.02, 1e-9]), dtype=torch.float32)
    spread[0, 1] = 0.05
    mean = torch.tensor([0.1, -0.2, 0.0, 0.01, 0.0, 0.0])
    units = mean + torch.randn(40_000, 6, generator=torch.Generator().manual_seed(0)) @ spread
    prior = pose_prior(units)
    np.testing.assert_allclose(prior.mean, mean, atol=0.01)
    np.testing.assert_allclose(prior.covariance, (spread.T @ spread), atol=0.004)
    redrawn = prior.sample_units(40_000, rng=torch.Generator().manual_seed(1))
    np.testing.assert_allclose(redrawn.T.cov(), units.T.cov(), atol=0.006)


def test_the_lighting_prior_comes_back_from_the_lights_it_draws() -> None:
    """Nine tenths of a uniform range: the estimated range is 0.9 of the true one, centred alike."""
    true = LightingPrior(-0.8, 0.6, -0.3, 0.5, -0.1, 0.3, -0.5, 0.5, 0.6)
    base = Lighting(torch.tensor([[0.5]]), torch.tensor([[0.6]]), torch.tensor([[0.0, 0.0, 1.0]]))
    lights = true.sample(40_000, base, rng=torch.Generator().manual_seed(0))
    found = lighting_prior(lighting_to_units(lights), LightingPrior())
    assert (found.x_min, found.x_max) == pytest.approx((-0.1 - 0.63, -0.1 + 0.63), abs=0.01)
    assert (found.y_min, found.y_max) == pytest.approx((0.1 - 0.36, 0.1 + 0.36), abs=0.01)
    assert found.strength_max - found.strength_min == pytest.approx(0.9 * 0.4, abs=0.01)
    assert found.ambient_per_strength == pytest.approx(-0.5, abs=0.02)
    assert (found.mean_ambient, found.mean_diffuse) == pytest.approx((0.45, 0.7), abs=0.01)
    x, y, z = found.mean_direction
    assert (x / z, y / z) == pytest.approx((-0.1, 0.1), abs=0.01)


def test_priors_are_read_from_the_generator_s_pictures(loaded: LoadedGenerator) -> None:
    """Against a loop over single pictures."""
    reconstructor = Reconstructor(loaded, JOINT)
    nets, _ = reconstructor.new_networks(0)
    options = {"count": 40, "base": LightingPrior()}
    rng = torch.Generator().manual_seed(3)

    def see(images: Tensor) -> tuple[Tensor, Tensor]:
        return nets.view_net(images) + nets.pose_mean, nets.light_net(images) + nets.lighting_mean

    pose, lighting = estimate_priors(see, loaded, reconstructor.framing, rng=rng, **options)  # type: ignore[arg-type]
    rng = torch.Generator().manual_seed(3)
    latents = torch.cat([loaded.sample_latents(32, rng=rng), loaded.sample_latents(8, rng=rng)])
    rows = []
    with torch.no_grad():
        for latent in latents:
            image = loaded.generator.synthesize(latent[None]).clamp(-1, 1)
            rows.append(nets.view_net(image)[0] + nets.pose_mean)
    yaw = np.array([float(row[1]) for row in rows])
    assert pose.mean[1] == pytest.approx(yaw.mean(), abs=1e-5)
    assert pose.std[1] == pytest.approx(yaw.std(ddof=1), abs=1e-5)
    assert -1 <= lighting.x_min <= lighting.x_max <= 1


def test_what_was_written_is_read_again(loaded: LoadedGenerator, tmp_path: Path) -> None:
    before = pretrain(Reconstructor(loaded, JOINT), drawn(loaded), seed=2, prior_pictures=8)
    save_pretrained(tmp_path / "p.safetensors", before)
    after = load_pretrained(tmp_path / "p.safetensors")
    assert after.config == before.config
    assert (after.generator, after.about["pictures"]) == (loaded.sha256, "3")
    for name, weight in before.weights.items():
        torch.testing.assert_close(after.weights[name], weight, rtol=1e-3, atol=1e-6)
    config = after.applied_to(replace(TINY, pose=PosePrior(yaw_scale=1.2), assumes="something"))
    assert config.pose == replace(before.config.pose, yaw_scale=1.2)
    assert (config.stages, config.assumes) == (TINY.stages, "")
    nets, _ = Reconstructor(loaded, config, initial_weights=after.weights).new_networks(0)
    assert torch.equal(
        nets.depth_net.state_dict()[name_of(after, "depth_net")],
        after.weights[f"factors.depth_net.{name_of(after, 'depth_net')}"],
    )


def name_of(pretrained: Pretrained, net: str) -> str:
    """The first weight of one of the factor networks."""
    prefix = f"factors.{net}."
    return next(name.removeprefix(prefix) for name in pretrained.weights if name.startswith(prefix))


def test_other_and_damaged_files_are_told(loaded: LoadedGenerator, tmp_path: Path) -> None:
    other, damaged, broken = (tmp_path / f"{name}.safetensors" for name in ("other", "damaged", "broken"))
    write_tensors(other, {"a": torch.zeros(1)}, {})
    with pytest.raises(CheckpointError, match="expected the weights of a joint pre-training"):
        load_pretrained(other)
    pretrained = Pretrained({"factors.a": torch.tensor([math.nan])}, JOINT, "0" * 64, {})
    save_pretrained(damaged, pretrained)
    with pytest.raises(CheckpointError, match=r"factors.a holds NaN"):
        load_pretrained(damaged)
    write_tensors(broken, {"a": torch.zeros(1)}, {"kind": "joint pre-training", "config": "{"})
    with pytest.raises(CheckpointError, match="settings of a joint pre-training"):
        load_pretrained(broken)


@pytest.mark.slow
def test_one_network_learns_the_shapes_of_two_objects() -> None:
    """With a GAN that is a renderer, turned views of one object are explained by one depth for several pictures of it
    under different lights; the result must be nearer to the truth than the prior."""
    from gan2shape.evaluate import scored_mask, side
    from gan2shape.generators import LoadedGenerator as Loaded
    from gan2shape.render import render

    scene = bumpy_scene()
    gan: Loaded = renderer_gan(scene)
    lights = torch.tensor([[0.0, 0.2, -0.5, 0.2], [0.0, 0.2, 0.6, 0.1]])
    latents = torch.cat([gan.w_mean[None, :6].expand(2, -1), lights], dim=1)
    images = gan.generator.synthesize(latents)
    mask = (scene.depth < 1.035).float().expand(2, -1, -1, -1)
    target = Target(images, latents, mask)
    config = replace(
        TINY,
        stages=(Stage(100, 150, 500, batches=32, warmup=300),),
        prior_steps=150,
        optimizer=Optimizer(1e-3, 1e-3, 1e-3, 1e-3, batch_size=4, together=2),
        images=2,
    )
    reconstructor = Reconstructor(gan, config)

    def error(steps: Stage) -> float:
        steered = Reconstructor(gan, replace(config, stages=(steps,)))
        nets, _, _ = steered.fit(target, seed=0, on_event=lambda e: None, resume=None, keep=lambda p: None)
        with torch.no_grad():
            seen = render(nets(images), CAMERA)
        true = scene.depth.expand(2, -1, -1, -1)
        return 100 * float(side(seen.depth, true, scored_mask(mask, seen.mask)).mean())

    assert reconstructor.config.images == 2
    start, end = error(Stage(1, 1, 0)), error(config.stages[0])
    assert end < 0.8 * start, (start, end)


WORKER = """
import sys, torch
from dataclasses import replace
from pathlib import Path
torch.set_num_threads(1)
from gan2shape.distributed import process_group, world
from gan2shape.reconstruct import Reconstructor
from gan2shape.reconstruct.pretrain import pretrain
from tests.reconstruct.small import small_generator
from tests.reconstruct.test_pretrain import JOINT, drawn
folder = Path(sys.argv[1])
with process_group(torch.device("cpu")):
    rank, count = world()
    (folder / str(rank)).mkdir()
    loaded = small_generator(folder / str(rank))
    weights = pretrain(Reconstructor(loaded, JOINT), drawn(loaded, 4)[rank::count], seed=0, prior_pictures=8).weights
    torch.save(weights, folder / f"{rank}.pt")
"""


def test_two_processes_end_with_the_same_networks(tmp_path: Path) -> None:
    program = tmp_path / "worker.py"
    program.write_text(WORKER)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": ":".join([root, *sys.path]), "OMP_NUM_THREADS": "1"}
    subprocess.run([*launch, str(program), str(tmp_path)], check=True, timeout=240, env=environment)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    for name, weight in first.items():
        torch.testing.assert_close(weight, second[name], rtol=1e-5, atol=1e-6)


def file_with(about: dict[str, object], folder: Path) -> Path:
    """Networks of one pass that say this about themselves."""
    file, sizes = folder / "turned.safetensors", NetworkSizes(16, 4, 4, 8)
    save_networks(file, TURNED, TurnedNetworks(sizes), sizes, about)
    return file


def test_priors_are_read_from_files_of_either_kind(loaded: LoadedGenerator, tmp_path: Path) -> None:
    before = pretrain(Reconstructor(loaded, JOINT), drawn(loaded), seed=2, prior_pictures=8)
    save_pretrained(tmp_path / "p.safetensors", before)
    own = (before.config.pose, before.config.lighting)
    assert load_priors(tmp_path / "p.safetensors", loaded) == own
    file = file_with({PRIORS: priors_to_dict(*own), "generator": loaded.identity}, tmp_path)
    assert load_priors(file, loaded) == own


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({}, "expected a file of gan2shape pretrain or gan2shape train distill"),
        ({PRIORS: {"pose": 3}}, "damaged"),
        ({PRIORS: priors_to_dict(PosePrior(), LightingPrior()), "generator": "0"}, "those of another GAN"),
    ],
)
def test_files_without_priors_are_refused(
    loaded: LoadedGenerator, tmp_path: Path, about: dict[str, object], said: str
) -> None:
    with pytest.raises(CheckpointError, match=said):
        load_priors(file_with(about, tmp_path), loaded)


def test_the_bundle_is_small_and_belongs_together() -> None:
    from gan2shape.io.checkpoints import sha256
    from gan2shape.networks.trained import describe, read_about
    from gan2shape.networks.turned import bundled_turned

    assets = bundled_pretrained().parent
    assert sum(file.stat().st_size for file in assets.iterdir() if file.is_file()) <= 40e6
    places = describe(bundled_turned())["shared"].values()
    assert {(name, digest) for name, _, digest in places} == {(bundled_pretrained().name, sha256(bundled_pretrained()))}
    generator = load_pretrained(bundled_pretrained()).generator
    assert generator == read_about(bundled_turned())["generator"]
