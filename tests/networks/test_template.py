"""A template: its albedo, poses that it corrects one by one, and one pass that is laid upon it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from gan2shape.errors import CheckpointError
from gan2shape.io.checkpoints import write_tensors
from gan2shape.networks.agreement import as_vectors
from gan2shape.networks.template import Looks, Posed, Template, template_of
from gan2shape.networks.turning import load_turning, save_turning
from gan2shape.render import Lighting
from gan2shape.render.units import PoseRange, pose_from_units, pose_to_units
from tests.reconstruct.known_turns import SIZE as SMALL
from tests.reconstruct.known_turns import known_start
from tests.train.turnable import LATENTS, Heads, head, picture, texture

SIZE, COUNT = 32, 12
CAMERA = Heads(SIZE).camera


def true_template(size: int = SIZE) -> Template:
    """The albedo of a head as a function of the three numbers of its texture, as it is."""
    plain = texture(torch.zeros(1, 3), size)
    parts = [texture(one[None], size) - plain for one in torch.eye(3)]
    weights = torch.cat([part / 2 for part in parts] + [plain / 2 + 0.5]).flatten(2).permute(2, 0, 1)
    mask = (F.avg_pool2d(head(Heads(size).camera)[1], 3, stride=1, padding=1) > 0.99).float()
    return Template(weights, mask, Looks(torch.zeros(3), torch.eye(3)))


def heads() -> tuple[Posed, Tensor]:
    """Heads under known poses and lights, and their looks."""
    rng = torch.Generator().manual_seed(0)
    yaw, pitch = 12 * torch.randn(COUNT, generator=rng), 5 * torch.randn(COUNT, generator=rng)
    looks, side = 0.3 * torch.randn(COUNT, 3, generator=rng), 0.2 * torch.randn(COUNT, generator=rng)
    none = torch.zeros_like(yaw)
    units = torch.stack([pitch / 60, yaw / 60, none, none, none, none], dim=1)
    half = torch.full((COUNT, 1), 0.5)
    light = Lighting(half, half, F.normalize(torch.stack([side, none, torch.ones_like(side)], dim=1), dim=1))
    image = picture(texture(looks, SIZE), yaw, side, CAMERA, pitch)
    return Posed(image, head(CAMERA)[0].expand(COUNT, -1, -1, -1), units, as_vectors(light)), looks


def test_the_albedo_is_linear_in_looks() -> None:
    looks = 0.3 * torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    template = true_template()
    found = template.albedo(template.looks(looks))
    torch.testing.assert_close(found, texture(looks, SIZE) / 2 + 0.5, atol=1e-5, rtol=0)


def test_poses_are_corrected_and_true_ones_stay() -> None:
    (true, looks), template = heads(), true_template()
    numbers = template.looks(looks)
    spread = true.units.new_tensor([2 / 60, 2 / 60, 2 / 60, 0, 0, 0])
    rough = replace(true, units=true.units + spread * torch.randn(COUNT, 6, generator=torch.Generator().manual_seed(2)))
    found = rough.units + template.corrections(rough, numbers, CAMERA, steps=20)
    before, after = ((units - true.units)[:, :3].square().mean().sqrt() for units in (rough.units, found))
    assert after < 0.5 * before
    stays = template.corrections(true, numbers, CAMERA)
    assert stays[:, :3].abs().mean() < 0.3 * spread[0]


def test_each_picture_is_corrected_by_itself() -> None:
    (posed, looks), template = heads(), true_template()
    numbers, some = template.looks(looks), torch.tensor([3, 7])
    whole = template.corrections(posed, numbers, CAMERA, steps=3)
    torch.testing.assert_close(whole[some], template.corrections(posed[some], numbers[some], CAMERA, steps=3))


def test_it_is_kept_with_the_directions(tmp_path: Path) -> None:
    start, template = known_start(), known_template()
    save_turning(tmp_path / "turning.safetensors", replace(start.turning, template=template))
    found = load_turning(tmp_path / "turning.safetensors", start.turning.encoder).template
    assert found is not None
    torch.testing.assert_close(found.weights, template.weights, atol=1e-3, rtol=1e-3)
    for one, other in ((found.mask, template.mask), (found.looks.mean, template.looks.mean)):
        torch.testing.assert_close(one, other)
    even = torch.ones(2, LATENTS)
    torch.testing.assert_close(found.looks(even), template.looks(even))
    torch.testing.assert_close(template_of(template.tensors()).mask, template.mask)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("mask", torch.ones(1, 1, 3, 3)),
        ("mean", torch.zeros(3)),
        ("basis", torch.tensor(1.0)),
        ("basis", torch.zeros(LATENTS, 3, 1)),
        ("weights", torch.zeros(5)),
        ("basis", None),
    ],
)
def test_a_damaged_one_is_refused(name: str, wrong: Tensor | None, tmp_path: Path) -> None:
    start, file = known_start(), tmp_path / "turning.safetensors"
    tensors = replace(start.turning, template=known_template()).tensors()
    del tensors[f"turning.template.{name}"]
    write_tensors(file, tensors if wrong is None else {**tensors, f"turning.template.{name}": wrong}, {})
    with pytest.raises(CheckpointError, match=r"turning\.template"):
        load_turning(file, start.turning.encoder)


def known_template() -> Template:
    """The true template of the small heads, whose looks are three of their latents."""
    basis = torch.zeros(LATENTS, 3)
    basis[2:5] = torch.eye(3)
    return replace(true_template(SMALL), looks=Looks(torch.zeros(LATENTS), basis))


def test_one_pass_is_laid_upon_it() -> None:
    start, heads = known_start(), Heads(SMALL)
    shape = torch.cat([torch.zeros(LATENTS, SMALL * SMALL), head(heads.camera)[0].flatten()[None]])
    read = torch.zeros(LATENTS + 1, 6)
    read[-1, 0] = 4 / PoseRange().rotation_deg
    told = replace(start, turning=replace(start.turning, shape=shape, pose=read))
    laid = replace(told, turning=replace(told.turning, template=known_template()))
    shapeless = replace(laid, turning=replace(laid.turning, shape=None))
    assert [one.lays_upon_template for one in (start, told, laid, shapeless)] == [False, False, True, False]
    image = heads.synthesize(torch.zeros(1, LATENTS))
    before, after = (pose_to_units(one(image).pose, PoseRange()) for one in (told, laid))
    torch.testing.assert_close(before[0, 0], read[-1, 0])
    torch.testing.assert_close(pose_to_units(shapeless(image).pose, PoseRange()), before)
    assert after[0, 0].abs() < 0.9 * before[0, 0], "the head looks straight ahead"
    torch.testing.assert_close(laid(image).depth, told(image).depth)
    units, light = laid.units(image)
    torch.testing.assert_close(units, after)
    assert light.shape == (1, 4)
    torch.testing.assert_close(pose_from_units(after, PoseRange()).rotation, laid(image).pose.rotation)
