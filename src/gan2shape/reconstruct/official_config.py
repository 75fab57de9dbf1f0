"""The original program's YAML configurations as settings of this package.

A key that the original does not have is an error that names it: a mistyped number of iterations must not fall back to
another one in silence. Keys that only concern its logging, its processes or the size of its networks have no effect.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gan2shape.errors import InputError
from gan2shape.io.flat_yaml import Setting, read_settings
from gan2shape.priors.distributions import LightingPrior
from gan2shape.reconstruct.config import ReconstructConfig, Stage
from gan2shape.reconstruct.presets import PRESETS

_NO_EFFECT = (
    "checkpoint_dir",
    "save_checkpoint_freq",
    "keep_num_checkpoint",
    "use_logger",
    "log_freq",
    "independent",
    "reset_weight",
    "save_results",
    "load_gt_depth",
    "model_name",
    "share_weight",
    "channel_multiplier",
    "z_dim",
    "tex_cube_size",
    "num_scale",
    "distributed",
    "seed",
    "num_workers",
    "config",
)
_FILES = {
    "pretrain": "networks",
    "view_mvn_path": "view",
    "light_mvn_path": "light",
    "gan_ckpt": "generator",
    "img_list_path": "pictures",
    "img_root": "picture_root",
    "latent_root": "latent_root",
}
_NUMBERS: Mapping[str, tuple[str, ...]] = {
    "image_size": ("geometry", "working_size_px"),
    "min_depth": ("geometry", "near"),
    "max_depth": ("geometry", "far"),
    "xyz_rotation_range": ("geometry", "rotation_deg"),
    "xy_translation_range": ("geometry", "xy_translation"),
    "z_translation_range": ("geometry", "z_translation"),
    "rot_center_depth": ("geometry", "pivot_depth"),
    "fov": ("geometry", "fov_deg"),
    "view_scale": ("pose", "yaw_scale"),
    "batchsize": ("optimizer", "batch_size"),
    "lam_perc": ("objective", "perceptual"),
    "lam_smooth": ("objective", "smoothness"),
    "lam_regular": ("objective", "offset"),
    "F1_d": ("projection", "offset_layers"),
    "prior_near": ("prior", "near"),
    "prior_far": ("prior", "far"),
}
_WHOLE = ("image_size", "batchsize", "F1_d", "num_stage", "collect_iters", "crop", "gan_size")
_FLAGS: Mapping[str, tuple[str, ...]] = {
    "use_mask": ("objective", "use_mask"),
    "relative_enc": ("projection", "relative"),
}
_SCHEDULE = ("num_stage", "stage_len_dict", "stage_len_dict2", "flip1_cfg", "flip3_cfg", "collect_iters")
_OTHER = ("category", "joint_train", "lr", "crop", "gan_size", "add_mean_L", "add_mean_V", "rand_light")
_FIXED = ("border_depth", "truncation")
KEYS = frozenset({*_NO_EFFECT, *_FILES, *_NUMBERS, *_FLAGS, *_SCHEDULE, *_OTHER, *_FIXED})
"""All keys that the original's configurations may have."""
_PRESET_OF = {"face": "paper-celeba", "cat": "paper-cat", "car": "paper-car", "church": "paper-church"}
_PRESET_OF |= {"synface": "paper-synface"}
_JOINT_PICTURES = 200
_RAND_LIGHT = ("x_min", "x_max", "y_min", "y_max", "strength_min", "strength_max", "ambient_per_strength")


@dataclass(frozen=True)
class OfficialConfig:
    """What one of the original's configurations says."""

    config: ReconstructConfig
    """The settings; their crop is for pictures of the generator's size (see `cropped`)."""
    crop_px: int | None
    """Side of the centre square that is used, in pixels of the picture files; None takes all."""
    files: Mapping[str, Path]
    """Files it names, as it names them, by ours: networks, view, light, generator, pictures, picture_root,
    latent_root."""

    def cropped(self, side_px: int) -> ReconstructConfig:
        """The settings for picture files of ``side_px``; a crop that is larger takes all."""
        return replace(self.config, crop=1.0 if self.crop_px is None else min(1.0, self.crop_px / side_px))


def read_official_config(file: Path) -> OfficialConfig:
    """Read one of the original's YAML files.

    Values that the file leaves out are those of the preset of its category, which has the original's own.

    Raises:
        InputError: no such file, a line that cannot be read, an unknown key, or a value that cannot be; the line says
            which.
    """
    return _Reader(file, read_settings(file)).result()


class _Reader:
    """The settings of one file, and errors that name its lines."""

    def __init__(self, file: Path, settings: Mapping[str, Setting]) -> None:
        self.file = file
        self.settings = settings
        for key, setting in settings.items():
            if key not in KEYS:
                near = difflib.get_close_matches(key, KEYS, 1)
                hint = f"; perhaps {near[0]} is meant" if near else ""
                raise InputError(f"{file}, line {setting.line}: the original program has no key {key}{hint}")

    def result(self) -> OfficialConfig:
        joint = self._get("joint_train", False, self._flag)
        category = self._get("category", "face", self._text)
        base = PRESETS[_PRESET_OF.get(category, "paper-car") + ("-pretrain" if self._preset_is_joint(category) else "")]
        if category not in _PRESET_OF:
            base = replace(base, name=f"paper-{category}", prior=PRESETS["paper-cat"].prior)
        config = replace(base, images=_JOINT_PICTURES if joint else 1, stages=self._stages(base.stages))
        for key, place in {**_NUMBERS, **_FLAGS}.items():
            if self._said(key):
                value = self._flag(key) if key in _FLAGS else self._number(key)
                config = self._placed(config, place, value, key)
        if self._said("lr"):
            rate = self._number("lr")
            rates: dict[str, Any] = {f"{step}_learning_rate": rate for step in ("albedo", "encoder", "refine")}
            config = replace(config, optimizer=replace(config.optimizer, **rates))
        config = replace(config, add_prior_means=self._means(), lighting=self._light(config.lighting))
        self._check_fixed(config)
        crop = int(self._number("crop")) if self._said("crop") else None
        if crop is not None and crop < 1:
            raise self._wrong("crop", "a positive number of pixels")
        files = {ours: Path(self._text(key)) for key, ours in _FILES.items() if self._said(key)}
        generator_px = int(self._number("gan_size")) if self._said("gan_size") else 0
        whole = OfficialConfig(config, crop, files)
        return replace(whole, config=whole.cropped(max(generator_px, 1)))

    def _preset_is_joint(self, category: str) -> bool:
        return self._get("joint_train", False, self._flag) and category in ("face", "cat", "synface")

    def _placed(self, config: ReconstructConfig, place: tuple[str, ...], value: Any, key: str) -> ReconstructConfig:
        part, field = place
        if type(getattr(getattr(config, part), field)) is float:
            value = float(value)
        try:
            return replace(config, **{part: replace(getattr(config, part), **{field: value})})
        except ValueError as error:
            raise InputError(f"{self.file}, line {self.settings[key].line}: {key}: {error}") from None

    def _stages(self, usual: Sequence[Stage]) -> tuple[Stage, ...]:
        count = int(self._number("num_stage")) if self._said("num_stage") else len(usual)
        if not 1 <= count <= 1000:
            raise self._wrong("num_stage", "from 1 to 1000 stages")
        batches = int(self._number("collect_iters")) if self._said("collect_iters") else usual[0].batches
        flips = {key: self._flips(key, count) for key in ("flip1_cfg", "flip3_cfg")}
        stages = []
        for index in range(count):
            key = "stage_len_dict" if index == 0 else "stage_len_dict2"
            like = usual[min(index, len(usual) - 1)]
            albedo, project, refine = self._lengths(key, like)
            mirrors = {
                "mirror_albedo": flips["flip1_cfg"][index] if flips["flip1_cfg"] else like.mirror_albedo,
                "mirror_refine": flips["flip3_cfg"][index] if flips["flip3_cfg"] else like.mirror_refine,
            }
            stages.append(Stage(albedo, project, refine, batches=batches, **mirrors))
        return tuple(stages)

    def _lengths(self, key: str, like: Stage) -> tuple[int, int, int]:
        if not self._said(key):
            return like.albedo, like.project, like.refine
        table = self.settings[key].value
        steps = ("step1", "step2", "step3")
        if not isinstance(table, dict) or set(table) != set(steps):
            raise self._wrong(key, "a table of step1, step2 and step3")
        lengths = [table[step] for step in steps]
        if not all(type(length) is int and length >= 0 for length in lengths):
            raise self._wrong(key, "whole numbers of iterations")
        return lengths[0], lengths[1], lengths[2]  # type: ignore[return-value]

    def _flips(self, key: str, count: int) -> list[bool] | None:
        if not self._said(key):
            return None
        values = self.settings[key].value
        if not isinstance(values, list) or len(values) < count or not all(type(value) is bool for value in values):
            raise self._wrong(key, f"true or false for each of {count} stages")
        return values  # type: ignore[return-value]

    def _means(self) -> bool:
        light, view = (self._get(key, True, self._flag) for key in ("add_mean_L", "add_mean_V"))
        if light != view:
            key, other = ("add_mean_V", "add_mean_L") if self._said("add_mean_V") else ("add_mean_L", "add_mean_V")
            raise self._wrong(key, f"the same as {other}, which is true where it is left out")
        return light

    def _light(self, usual: LightingPrior) -> LightingPrior:
        if not self._said("rand_light"):
            return usual
        values = self.settings["rand_light"].value
        if not isinstance(values, list) or len(values) != 7 or not all(type(value) in (int, float) for value in values):
            raise self._wrong("rand_light", "seven numbers")
        try:
            return replace(usual, **{name: float(v) for name, v in zip(_RAND_LIGHT, values, strict=True)})  # type: ignore[arg-type]
        except ValueError as error:
            raise InputError(f"{self.file}, line {self.settings['rand_light'].line}: rand_light: {error}") from None

    def _check_fixed(self, config: ReconstructConfig) -> None:
        """Refuse what this package does in one way only."""
        border = 0.7 * config.geometry.far + 0.3 * config.geometry.near
        if self._said("border_depth") and abs(self._number("border_depth") - border) > 1e-6:
            raise self._wrong("border_depth", f"{border:g}, which is 0.7 max_depth + 0.3 min_depth")
        if self._said("truncation") and self._number("truncation") < 1:
            raise self._wrong("truncation", "1: latents of files are taken as they are")

    def _said(self, key: str) -> bool:
        return key in self.settings and self.settings[key].value is not None

    def _get(self, key: str, otherwise: Any, read: Callable[[str], Any]) -> Any:
        return read(key) if self._said(key) else otherwise

    def _number(self, key: str) -> float:
        value = self.settings[key].value
        if type(value) not in (int, float) or (key in _WHOLE and type(value) is not int):
            raise self._wrong(key, "a whole number" if key in _WHOLE else "a number")
        return value  # type: ignore[return-value]

    def _flag(self, key: str) -> bool:
        value = self.settings[key].value
        if type(value) is not bool:
            raise self._wrong(key, "true or false")
        return value

    def _text(self, key: str) -> str:
        value = self.settings[key].value
        if type(value) is not str or not value.isprintable():
            raise self._wrong(key, "a text")
        return value

    def _wrong(self, key: str, wanted: str) -> InputError:
        setting = self.settings[key]
        return InputError(f"{self.file}, line {setting.line}: {key} must be {wanted}; got {str(setting.value)[:60]!r}")
