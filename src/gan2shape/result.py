"""What a reconstruction leaves behind, as a value and as files.

`ReconstructionResult.save` writes the numbers: ``scene.safetensors`` (the factors), ``target.safetensors`` (image, mask
and latent exactly as they were), ``networks.safetensors``, and ``scene.json``, ``config.json``, ``environment.json``,
``history.jsonl``, ``input.png``, ``mask.png`` for people. Pictures, meshes and views are `gan2shape.export`'s.
"""

from __future__ import annotations

import contextlib
import json
import math
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gan2shape._version import __version__
from gan2shape.errors import CheckpointError, InputError
from gan2shape.generators.record import GeneratorRecord as GeneratorRecord
from gan2shape.io.checkpoints import read_tensors, write_tensors
from gan2shape.io.files import make_folder, translated_output_errors, write_json, write_text
from gan2shape.io.images import write_image, write_mask
from gan2shape.render.camera import Camera
from gan2shape.render.pose import Pose
from gan2shape.render.scene import Scene
from gan2shape.render.shading import Lighting

FORMAT_VERSION = 1
GAN2SHAPE = "gan2shape"
# One entry only: the order of several is left to chance, and equal results should be equal files.
_METADATA = {"format": f"gan2shape {FORMAT_VERSION}"}


@dataclass(frozen=True, eq=False)
class ReconstructionResult:
    """Everything that is known after a reconstruction of one picture.

    Attributes:
        scene: the factors, batch 1, at working size S.
        camera: the camera they belong to.
        mask: the object in the input view, (1, 1, S, S) in [0, 1].
        image: the picture that was explained, (1, 3, S, S), signed.
        latent: its latent, (1, latent_dim) or (1, num_ws, latent_dim); None for a method without a GAN.
        networks: weights of the factor networks and the offset encoder, by name; none for a method without networks.
        generator: the GAN, or the weights of a method without one.
        config: the configuration as plain JSON values.
        seed: of the run.
        history: one row of plain JSON values for each logged iteration.
        warnings: sentences for the user, for example that an optimisation diverged.
        method: "gan2shape", or the name of another method.
        outline: the object in the canonical frame, (1, 1, S, S) in [0, 1]; None where it is the mask, seen from there.
        environment: where it was made; filled in by `save` when empty.
        format_version: of the files.
    """

    scene: Scene
    camera: Camera
    mask: Tensor
    image: Tensor
    latent: Tensor | None
    networks: Mapping[str, Tensor]
    generator: GeneratorRecord
    config: Mapping[str, Any]
    seed: int
    history: Sequence[Mapping[str, Any]] = ()
    warnings: Sequence[str] = ()
    method: str = GAN2SHAPE
    outline: Tensor | None = None
    environment: Mapping[str, Any] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    def save(self, folder: str | Path) -> None:
        """Write the result to ``folder`` (made when missing), each file atomically, ``config.json`` last.

        Raises:
            OutputError: the folder cannot be written.
        """
        place = make_folder(folder)
        # A folder without config.json is no result, so a run that is killed here cannot leave a mixture of two.
        with translated_output_errors(place):
            for name in ("config.json", "networks.safetensors"):
                (place / name).unlink(missing_ok=True)
        write_tensors(place / "scene.safetensors", _scene_tensors(self.scene), _METADATA)
        target = {"image": self.image, "mask": self.mask}
        if self.latent is not None:
            target["latent"] = self.latent
        if self.outline is not None:
            target["outline"] = self.outline
        write_tensors(place / "target.safetensors", target, _METADATA)
        if self.networks:
            write_tensors(place / "networks.safetensors", self.networks, _METADATA)
        write_image(place / "input.png", self.image)
        write_mask(place / "mask.png", self.mask)
        write_json(place / "scene.json", describe_scene(self.scene))
        device = self.scene.depth.device
        write_json(
            place / "environment.json", dict(self.environment) or describe_environment(self.generator, device=device)
        )
        write_text(place / "history.jsonl", "".join(json.dumps(_finite(row)) + "\n" for row in self.history))
        write_json(place / "config.json", _finite(self._settings()))

    def _settings(self) -> dict[str, Any]:
        return {
            "format_version": self.format_version,
            "method": self.method,
            "working_size": self.camera.image_size,
            "camera": {"fov_deg": self.camera.fov_deg, "pivot_depth": self.camera.pivot_depth},
            "seed": self.seed,
            "generator": self.generator.to_dict(),
            "warnings": list(self.warnings),
            "config": dict(self.config),
        }

    @classmethod
    def load(cls, folder: str | Path) -> ReconstructionResult:
        """Read what `save` wrote, bit for bit, onto the CPU.

        Raises:
            InputError: a file is missing, damaged or of an unknown format version, holds NaN, or does not fit the
                others.
        """
        place = Path(folder)
        settings = _read_settings(place)
        size = settings["working_size"]
        factors = _read(
            place / "scene.safetensors",
            {
                "depth": (1, 1, size, size),
                "albedo": (1, 3, size, size),
                "rotation": (1, 3, 3),
                "translation": (1, 3),
                "ambient": (1, 1),
                "diffuse": (1, 1),
                "direction": (1, 3),
            },
        )
        shapes = {"image": (1, 3, size, size), "mask": (1, 1, size, size), "latent": None}
        if settings["method"] != GAN2SHAPE:
            del shapes["latent"]
        target = _read(place / "target.safetensors", shapes, {"outline": (1, 1, size, size)})
        return cls(
            scene=Scene(
                depth=factors["depth"],
                albedo=factors["albedo"],
                pose=Pose(factors["rotation"], factors["translation"]),
                lighting=Lighting(factors["ambient"], factors["diffuse"], factors["direction"]),
            ),
            camera=_camera(place / "config.json", size, settings["camera"]),
            image=target["image"],
            mask=target["mask"],
            latent=target.get("latent"),
            outline=target.get("outline"),
            networks=_read(place / "networks.safetensors", {}) if (place / "networks.safetensors").exists() else {},
            generator=_generator(place / "config.json", settings["generator"]),
            config=settings["config"],
            seed=settings["seed"],
            history=_read_rows(place / "history.jsonl"),
            warnings=tuple(settings["warnings"]),
            method=settings["method"],
            environment=_read_json(place / "environment.json"),
            format_version=settings["format_version"],
        )


def describe_scene(scene: Scene) -> dict[str, Any]:
    """Pose and light of a scene of batch 1 in plain numbers: degrees, scene units, unit direction."""
    pitch, yaw, roll = (math.degrees(angle) for angle in scene.pose.euler()[0].tolist())
    return {
        "pitch_deg": pitch,
        "yaw_deg": yaw,
        "roll_deg": roll,
        "translation": scene.pose.translation[0].tolist(),
        "ambient": scene.lighting.ambient[0, 0].item(),
        "diffuse": scene.lighting.diffuse[0, 0].item(),
        "light_direction": scene.lighting.direction[0].tolist(),
    }


def describe_environment(generator: GeneratorRecord, *, device: torch.device) -> dict[str, Any]:
    """Versions and machine in words: no paths, no name of the machine or the user."""
    cuda = device.type == "cuda"
    return {
        "gan2shape": __version__,
        "git_commit": _git_commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name(device) if cuda else device.type,
        "threads": torch.get_num_threads(),
        "generator": generator.to_dict(),
    }


def _git_commit() -> str | None:
    """The commit of this package's own repository; None for an installed package, whatever repository surrounds it."""
    here = Path(__file__).resolve().parent
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        for command in (["ls-files", "--error-unmatch", Path(__file__).name], ["rev-parse", "HEAD"]):
            answer = subprocess.run(["git", *command], cwd=here, capture_output=True, text=True, timeout=10, check=True)
        return answer.stdout.strip() or None
    return None


def _scene_tensors(scene: Scene) -> dict[str, Tensor]:
    return {
        "depth": scene.depth,
        "albedo": scene.albedo,
        "rotation": scene.pose.rotation,
        "translation": scene.pose.translation,
        "ambient": scene.lighting.ambient,
        "diffuse": scene.lighting.diffuse,
        "direction": scene.lighting.direction,
    }


def _finite(value: Any) -> Any:
    """JSON has no NaN: a loss that is not finite becomes null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return value


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(
            f"{file}: expected a file of a finished result; got no such file; name a result folder"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise InputError(
            f"{file}: expected a file that can be read; got {reason}; run the reconstruction again"
        ) from None


def _parsed(text: str, file: Path) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{file}: expected JSON; got {error}; run the reconstruction again") from None
    if not isinstance(value, dict):
        raise InputError(f"{file}: expected a JSON object; got {type(value).__name__}; run the reconstruction again")
    return value


def _read_json(file: Path) -> dict[str, Any]:
    return _parsed(_read_text(file), file)


def _read_rows(file: Path) -> tuple[dict[str, Any], ...]:
    return tuple(_parsed(line, file) for line in _read_text(file).splitlines() if line.strip())


def _read_settings(place: Path) -> dict[str, Any]:
    """``config.json``, checked for its version and its entries."""
    if not place.is_dir():
        raise InputError(
            f"{place}: expected the folder of a result; got {'a file' if place.exists() else 'no such folder'}"
        )
    file = place / "config.json"
    settings = _read_json(file)
    version = settings.get("format_version")
    if version != FORMAT_VERSION:
        advice = "update gan2shape" if isinstance(version, int) and version > FORMAT_VERSION else "reconstruct again"
        raise InputError(f"{file}: expected format_version {FORMAT_VERSION}; got {version}; {advice}")
    settings.setdefault("method", GAN2SHAPE)  # Results of version 0.1 do not name it.
    kinds = {
        "method": str,
        "working_size": int,
        "camera": dict,
        "seed": int,
        "generator": dict,
        "warnings": list,
        "config": dict,
    }
    for name, kind in kinds.items():
        if not isinstance(settings.get(name), kind):
            raise InputError(
                f"{file}: expected {name} to be of type {kind.__name__}; got {settings.get(name)!r}; reconstruct again"
            )
    entries = {"fov_deg", "pivot_depth"}
    if set(settings["camera"]) != entries:
        got = sorted(settings["camera"])
        raise InputError(f"{file}: expected camera with {sorted(entries)}; got {got}; reconstruct again")
    return settings


def _generator(file: Path, entries: dict[str, Any]) -> GeneratorRecord:
    try:
        return GeneratorRecord.from_dict(entries)
    except ValueError as error:
        raise InputError(f"{file}: {error}; reconstruct again") from None


def _camera(file: Path, size: int, entries: dict[str, Any]) -> Camera:
    try:
        return Camera(size, **entries)
    except (TypeError, ValueError) as error:
        raise InputError(f"{file}: expected a camera; got {error}; reconstruct again") from None


def _read(
    file: Path, shapes: Mapping[str, tuple[int, ...] | None], more: Mapping[str, tuple[int, ...]] | None = None
) -> dict[str, Tensor]:
    """Tensors of a file, checked: finite, and of ``shapes`` where given (then no others may be there, except ``more``,
    which may be missing)."""
    try:
        tensors = dict(read_tensors(file))
    except CheckpointError as error:
        raise InputError(str(error)) from None
    if shapes and set(tensors) - set(more or {}) != set(shapes):
        raise InputError(f"{file}: expected {sorted(shapes)}; got {sorted(tensors)}; run the reconstruction again")
    for name, tensor in tensors.items():
        shape = {**shapes, **(more or {})}.get(name)
        if shape is not None and tuple(tensor.shape) != shape:
            raise InputError(
                f"{file}: expected {name} of shape {shape}; got {tuple(tensor.shape)}; is it of another result?"
            )
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise InputError(
                f"{file}: expected finite numbers; got NaN or infinity in {name}; run the reconstruction again"
            )
    return tensors
