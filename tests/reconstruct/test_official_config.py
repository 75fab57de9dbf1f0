"""The original's configurations give the presets of their names; everything else is told by its line."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from gan2shape.errors import InputError
from gan2shape.reconstruct.official_config import read_official_config
from gan2shape.reconstruct.presets import PRESETS
from tests.io.official_files import yaml_text


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("name", ["celeba", "cat", "car", "church", "synface"])
def test_a_configuration_is_the_preset_of_its_name(name: str, joint: bool, tmp_path: Path) -> None:
    preset = f"paper-{name}-pretrain" if joint else f"paper-{name}"
    if preset not in PRESETS:
        pytest.skip("cars and churches were never pre-trained")
    (tmp_path / "a.yml").write_text(yaml_text(name, joint=joint))
    found = read_official_config(tmp_path / "a.yml")
    assert found.config == PRESETS[preset]
    assert found.files["generator"] == Path(f"checkpoints/stylegan2/stylegan2-{name}.pt")
    assert found.files["pictures"] == Path(f"data/{name}/list.txt")


def test_every_value_arrives(tmp_path: Path) -> None:
    """Values that no preset has, so that none can come from one."""
    text = """
category: horse
num_stage: 2
stage_len_dict: {step1: 11, step2: 12, step3: 13}
stage_len_dict2:
    step1: 21
    step2: 22
    step3: 23
flip1_cfg: [true, false]
flip3_cfg: [false, true]
collect_iters: 7
image_size: 256
crop: 300
min_depth: 0.8
max_depth: 1.3
prior_near: 0.85
prior_far: 1.01
xyz_rotation_range: 50
xy_translation_range: 0.2
z_translation_range: 0.05
rot_center_depth: 1.1
fov: 12
view_scale: 1.5
rand_light: [-2, 3, -0.5, 0.5, 0, 0.2, -0.1]
batchsize: 5
lr: 0.002
lam_perc: 1
lam_smooth: 0.02
lam_regular: 0.03
use_mask: false
relative_enc: true
add_mean_L: false
add_mean_V: false
F1_d: 4
border_depth: 1.15
truncation: 1
gan_size: 256
joint_train: true
"""
    (tmp_path / "a.yml").write_text(text)
    found = read_official_config(tmp_path / "a.yml")
    config = found.config
    assert config.name == "paper-horse"
    assert [(s.albedo, s.project, s.refine) for s in config.stages] == [(11, 12, 13), (21, 22, 23)]
    assert [(s.mirror_albedo, s.mirror_refine, s.batches) for s in config.stages] == [
        (True, False, 7),
        (False, True, 7),
    ]
    g = config.geometry
    assert (g.working_size_px, g.near, g.far, g.rotation_deg) == (256, 0.8, 1.3, 50)
    assert (g.xy_translation, g.z_translation, g.pivot_depth, g.fov_deg) == (0.2, 0.05, 1.1, 12)
    assert (config.prior.near, config.prior.far, config.pose.yaw_scale) == (0.85, 1.01, 1.5)
    assert dataclasses.astuple(config.lighting)[:7] == (-2, 3, -0.5, 0.5, 0, 0.2, -0.1)
    o = config.optimizer
    assert (o.batch_size, o.albedo_learning_rate, o.encoder_learning_rate, o.refine_learning_rate) == (5, *[0.002] * 3)
    assert o.prior_learning_rate == 1e-4  # The original fits the ellipsoid at a rate of its own.
    w = config.objective
    assert (w.perceptual, w.smoothness, w.offset, w.use_mask) == (1, 0.02, 0.03, False)
    assert (config.projection.offset_layers, config.projection.relative, config.add_prior_means) == (4, True, False)
    assert (config.images, found.crop_px, config.crop) == (200, 300, 1.0)
    assert found.cropped(400).crop == 0.75


@pytest.mark.parametrize(
    "line, says",
    [
        ("num_stages: 4", "has no key num_stages; perhaps num_stage is meant"),
        ("zzz: 4", "has no key zzz$"),
        ("num_stage: four", "num_stage must be a whole number; got 'four'"),
        ("num_stage: 0", "num_stage must be from 1 to 1000 stages"),
        ("num_stage: 99999999999", "num_stage must be from 1"),
        ("flip3_cfg: [true]", "flip3_cfg must be true or false for each of 4 stages"),
        ("flip1_cfg: yes", "flip1_cfg must be true or false"),
        ("stage_len_dict: 600", "stage_len_dict must be a table of step1, step2 and step3"),
        ("stage_len_dict: {step1: 1, step2: 2, step3: 2.5}", "whole numbers of iterations"),
        ("fov: wide", "fov must be a number"),
        ("use_mask: 1", "use_mask must be true or false"),
        ("add_mean_V: false", "add_mean_V must be the same as add_mean_L, which is true where it is left out"),
        ("add_mean_L: false", "add_mean_L must be the same as add_mean_V"),
        ("rand_light: [1, 2]", "rand_light must be seven numbers"),
        ("rand_light: [1, 0, 0, 0, 0, 0, 0]", "must not exceed"),
        ("border_depth: 1.0", "border_depth must be 1.04"),
        ("truncation: 0.7", "truncation must be 1: latents of files are taken as they are"),
        ("prior_near: 2", "prior_near: far - near must be"),
        ("crop: -1", "crop must be a positive number of pixels"),
        ("category: 3", "category must be a text"),
    ],
)
def test_mistakes_are_told_with_their_line(line: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(f"## a comment\n{line}\n")
    with pytest.raises(InputError, match=says) as caught:
        read_official_config(tmp_path / "a.yml")
    assert "a.yml, line 2: " in str(caught.value)
    assert str(caught.value).isprintable()
