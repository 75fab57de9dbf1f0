"""Any callable from latents w (B, latent_dim) to signed pictures (B, 3, R, R) as a generator.

Such a callable is the user's own Python code, named ``module:function`` or handed over as an object. It may carry

- ``resolution``: the side R; found from a first picture otherwise;
- ``latent_dim``: the count of numbers in a latent; without it, or a mean, it has to be told;
- ``w_mean`` (latent_dim,): the mean latent; that of drawn latents otherwise;
- ``draw_latents(count, rng)`` or ``sample_latents(count, rng=rng)``: untruncated latents (count, latent_dim); standard
  normal numbers otherwise, which is right for most GANs without a mapping network;
- ``features(images)``: a pyramid of maps for comparing pictures, as a discriminator's;
- ``synthesize(w)``, in place of a call.

The latent offset is learned directly in w.
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gan2shape.errors import CheckpointError
from gan2shape.generators.loaded import MEAN_SAMPLES, MEAN_SEED, LoadedGenerator, latent_rng, normals
from gan2shape.generators.offsets import DirectOffset
from gan2shape.generators.protocol import FeatureExtractor

_REFERENCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_LARGEST = 16.0
"""No generator of signed pictures goes beyond; one of 8-bit values does."""
_SIDES = (8, 4096)
_FIRST_PICTURES = 4


class FunctionalGenerator(nn.Module):
    """A callable as a `Generator`; its parameters, if it is a module, are frozen."""

    def __init__(self, synthesize: Callable[[Tensor], Tensor], resolution: int, latent_dim: int) -> None:
        super().__init__()
        owner = synthesize if isinstance(synthesize, nn.Module) else getattr(synthesize, "__self__", None)
        self.network = owner if isinstance(owner, nn.Module) else None
        self._synthesize = synthesize
        self._resolution = resolution
        self._latent_dim = latent_dim
        self.eval().requires_grad_(False)

    @property
    def resolution(self) -> int:
        """Side of the pictures in pixels."""
        return self._resolution

    @property
    def latent_dim(self) -> int:
        """Count of numbers in a latent."""
        return self._latent_dim

    def synthesize(self, w: Tensor) -> Tensor:
        """Latents (B, latent_dim) to pictures (B, 3, R, R), signed, not clamped, w's dtype.

        Raises ValueError for latents of another shape.
        """
        if w.ndim != 2 or w.shape[1] != self._latent_dim:
            raise ValueError(f"w must be (B, {self._latent_dim}); got {tuple(w.shape)}")
        return _pictures(self._synthesize, w)

    def forward(self, w: Tensor) -> Tensor:
        """The same as `synthesize`."""
        return self.synthesize(w)


class FunctionalFeatures(nn.Module):
    """A callable from pictures to maps as a `FeatureExtractor`."""

    def __init__(self, extract: Callable[[Tensor], Sequence[Tensor]]) -> None:
        super().__init__()
        self.network = extract if isinstance(extract, nn.Module) else None
        self._extract = extract
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Signed pictures (B, 3, H, W) to maps (B, C, h, w) in float32."""
        return [feature.float() for feature in self._extract(images)]


def is_reference(source: object) -> bool:
    """Whether a text is ``module:function`` and no file has this name."""
    return isinstance(source, str) and _REFERENCE.fullmatch(source) is not None and not os.path.exists(source)


def find(reference: str) -> object:
    """The object that ``module:function`` names, after importing (and so running) the module.

    Raises:
        CheckpointError: no such module or name, or the module cannot be imported.
    """
    module_name, _, path = reference.partition(":")
    try:
        found: object = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise CheckpointError(
            f"{reference}: no module {error.name}; expected module:function of code that Python can import from here"
        ) from error
    except Exception as error:
        raise CheckpointError(f"{reference}: importing {module_name} failed: {_told(error)}") from error
    for name in path.split("."):
        if not hasattr(found, name):
            raise CheckpointError(f"{reference}: the module has no {path}")
        found = getattr(found, name)
    return found


def wrap(source: object, *, latent_dim: int | None = None, device: torch.device | None = None) -> LoadedGenerator:
    """A callable, an object with ``synthesize``, or ``module:function`` as a loaded generator.

    What ``module:function`` names is called first if it can be called without arguments, as a factory of the generator.
    A factory may also return a `LoadedGenerator`, which stays where it is.

    Raises:
        CheckpointError: it cannot be imported or called, needs `latent_dim` or another one, is loaded on another
            device already, or draws no signed pictures.
    """
    name = str(source) if isinstance(source, str | os.PathLike) else _name_of(source)
    thing = _built(find(str(source)), name) if isinstance(source, str | os.PathLike) else source
    if isinstance(thing, LoadedGenerator):
        return _suiting(thing, latent_dim, device, name)
    device = torch.device("cpu" if device is None else device)
    if isinstance(thing, nn.Module):
        thing = thing.to(device).eval().requires_grad_(False)
    synthesize = getattr(thing, "synthesize", thing)
    if not callable(synthesize):
        raise CheckpointError(f"{name}: expected a callable from latents to pictures; got {type(thing).__name__}")
    mean = getattr(thing, "w_mean", None)
    width = _latent_dim(thing, mean, latent_dim, name)
    draw, has_prior = _prior(thing, width, device, name)
    w_mean, has_mean = _mean(mean, draw, has_prior, width, device, name)
    first = torch.cat([w_mean[None], draw(_FIRST_PICTURES - 1, latent_rng(MEAN_SEED))])
    resolution = check_pictures(synthesize, first, getattr(thing, "resolution", None), name)
    generator = FunctionalGenerator(synthesize, resolution, width)
    own = getattr(thing, "features", None)
    return LoadedGenerator(
        generator=generator,
        offset=DirectOffset(width),
        features=None if own is None else _checked_features(own, generator.synthesize(first), f"{name}'s features"),
        w_mean=w_mean,
        name=name,
        sha256="",
        about={
            "kind": "callable",
            "layout": "Python code, which has no hash: results know it by its name only",
            "resolution": resolution,
            "w_dim": width,
            "parameters": {"generator": sum(parameter.numel() for parameter in generator.parameters())},
            "missing": _missing(own is not None, has_prior, has_mean),
            "metadata": {},
        },
        draw_latents=draw,
    )


def load_features(reference: str, pictures: Tensor) -> FeatureExtractor:
    """The feature extractor that ``module:function`` names, tried on signed pictures (B, 3, H, W).

    It is called first if it can be called without arguments, as a factory.

    Raises:
        CheckpointError: it cannot be imported or called, or gives no maps that depend on the pictures.
    """
    thing = _built(find(reference), reference)
    if isinstance(thing, nn.Module):
        thing = thing.to(pictures.device)
    return _checked_features(thing, pictures, reference)


def check_pictures(synthesize: Callable[[Tensor], Tensor], w: Tensor, resolution: object, name: str) -> int:
    """The side of the pictures that a callable makes of latents (B, latent_dim), after a look at the first ones.

    Raises:
        CheckpointError: it fails, or gives no finite signed square RGB pictures with a gradient to the latents.
    """
    latents = w.detach().clone().requires_grad_()
    try:
        with torch.enable_grad():
            images = _pictures(synthesize, latents)
    except Exception as error:
        raise CheckpointError(f"{name}: failed on latents {tuple(w.shape)}: {_told(error)}") from error
    shape = tuple(images.shape)
    if len(shape) != 4 or shape[:2] != (len(w), 3) or shape[2] != shape[3]:
        raise CheckpointError(f"{name}: expected pictures ({len(w)}, 3, R, R) of {len(w)} latents; got {shape}")
    if not _SIDES[0] <= shape[2] <= _SIDES[1]:
        raise CheckpointError(f"{name}: expected pictures of {_SIDES[0]} to {_SIDES[1]} px; got {shape[2]}")
    if resolution is not None and resolution != shape[2]:
        raise CheckpointError(f"{name}: its resolution says {resolution!r}, but its pictures have {shape[2]} px")
    if not bool(torch.isfinite(images).all()):
        raise CheckpointError(f"{name}: its pictures hold NaN or infinite numbers")
    low, high = float(images.detach().min()), float(images.detach().max())
    if low >= 0 or max(-low, high) > _LARGEST:
        raise CheckpointError(
            f"{name}: expected signed pictures, black -1 and white 1; got values from {low:.3g} to {high:.3g}"
        )
    if not images.requires_grad:
        raise CheckpointError(f"{name}: no gradient reaches the latents; leave out torch.no_grad and detach")
    return int(shape[2])


def _pictures(synthesize: Callable[[Tensor], Tensor], w: Tensor) -> Tensor:
    """Its pictures of latents in the dtype of its weights (float32 where it has none), in w's dtype."""
    owner = synthesize if isinstance(synthesize, nn.Module) else getattr(synthesize, "__self__", None)
    weight = next(owner.parameters(), None) if isinstance(owner, nn.Module) else None
    images = synthesize(w.to(torch.float32 if weight is None else weight.dtype))
    if not isinstance(images, Tensor) or not images.is_floating_point():
        raise TypeError(f"expected a tensor of floating-point numbers; got {type(images).__name__}")
    return images.to(w.dtype)


def _built(thing: object, name: str) -> object:
    """What a factory returns, or the thing itself if it is none."""
    if isinstance(thing, nn.Module | LoadedGenerator) or (hasattr(thing, "synthesize") and not inspect.isclass(thing)):
        return thing
    if not callable(thing):
        raise CheckpointError(f"{name}: expected something to call; got {type(thing).__name__}")
    try:
        parameters = inspect.signature(thing).parameters.values()
    except (TypeError, ValueError):
        return thing
    needed = [
        p for p in parameters if p.kind is p.VAR_POSITIONAL or (p.default is p.empty and p.kind is not p.VAR_KEYWORD)
    ]
    if needed and not inspect.isclass(thing):
        return thing
    try:
        return thing()
    except Exception as error:
        raise CheckpointError(f"{name}: calling it failed: {_told(error)}") from error


def _suiting(loaded: LoadedGenerator, told: int | None, device: torch.device | None, name: str) -> LoadedGenerator:
    """A generator that is loaded already, after a look at what was asked for."""
    width, place = loaded.generator.latent_dim, loaded.w_mean.device
    if told not in (None, width):
        raise CheckpointError(f"{name}: its latents have {width} numbers; got {told} (--latent-dim)")
    if device is not None and (device.type != place.type or device.index not in (None, place.index)):
        raise CheckpointError(f"{name}: it is loaded on {place}; got {device} (--device)")
    return loaded


def _latent_dim(thing: object, mean: object, told: int | None, name: str) -> int:
    own = getattr(thing, "latent_dim", None)
    if own is None and isinstance(mean, Tensor) and mean.ndim == 1:
        own = len(mean)
    if own is None and told is None:
        raise CheckpointError(f"{name}: does not say how many numbers its latents have; name them with --latent-dim")
    if own is not None and told is not None and own != told:
        raise CheckpointError(f"{name}: its latents have {own!r} numbers; got {told} (--latent-dim)")
    width = own if own is not None else told
    if not isinstance(width, int) or not 1 <= width <= 1 << 20:
        raise CheckpointError(f"{name}: expected latents of 1 to {1 << 20} numbers; got {width!r}")
    return width


def _prior(
    thing: object, width: int, device: torch.device, name: str
) -> tuple[Callable[[int, torch.Generator], Tensor], bool]:
    """What draws latents (count, width), and whether it is the callable's own."""
    draw, sample = getattr(thing, "draw_latents", None), getattr(thing, "sample_latents", None)

    def own(count: int, rng: torch.Generator) -> Tensor:
        latents = draw(count, rng) if callable(draw) else sample(count, rng=rng)  # type: ignore[misc]
        return latents.detach().to(device=device, dtype=torch.float32)

    if not callable(draw) and not callable(sample):
        return lambda count, rng: normals(count, width, rng).to(device), False
    try:
        found: Any = own(2, latent_rng(MEAN_SEED))
    except Exception as error:
        raise CheckpointError(f"{name}: drawing latents failed: {_told(error)}") from error
    if tuple(found.shape) != (2, width) or not bool(torch.isfinite(found).all()):
        raise CheckpointError(
            f"{name}: expected 2 drawn latents (2, {width}) of finite numbers; got {tuple(found.shape)}"
        )
    return own, True


def _mean(
    mean: object,
    draw: Callable[[int, torch.Generator], Tensor],
    has_prior: bool,
    width: int,
    device: torch.device,
    name: str,
) -> tuple[Tensor, bool]:
    """The mean latent (width,), and whether it is the callable's own; that of standard normals is zero."""
    if mean is None and not has_prior:
        return torch.zeros(width, device=device), False
    if mean is None:
        return draw(MEAN_SAMPLES, latent_rng(MEAN_SEED)).mean(0), False
    if not isinstance(mean, Tensor) or mean.numel() != width or not bool(torch.isfinite(mean).all()):
        raise CheckpointError(f"{name}: its w_mean must be a tensor of {width} finite numbers")
    return mean.detach().reshape(width).to(device=device, dtype=torch.float32), True


def _checked_features(extract: object, pictures: Tensor, name: str) -> FunctionalFeatures:
    if not callable(extract):
        raise CheckpointError(f"{name}: expected a callable from pictures to maps; got {type(extract).__name__}")
    found = FunctionalFeatures(extract)
    images = pictures.detach().float().clone().requires_grad_()
    try:
        with torch.enable_grad():
            maps = found(images)
    except Exception as error:
        raise CheckpointError(f"{name}: failed on pictures {tuple(pictures.shape)}: {_told(error)}") from error
    if not maps or any(one.ndim != 4 or len(one) != len(images) or one.numel() == 0 for one in maps):
        shapes = [tuple(one.shape) for one in maps]
        raise CheckpointError(f"{name}: expected maps ({len(images)}, C, h, w); got {shapes}")
    if not all(bool(torch.isfinite(one).all()) for one in maps):
        raise CheckpointError(f"{name}: its maps hold NaN or infinite numbers")
    if not any(one.requires_grad for one in maps):
        raise CheckpointError(f"{name}: no gradient reaches the pictures; leave out torch.no_grad and detach")
    return found


def _missing(has_features: bool, has_prior: bool, has_mean: bool) -> list[str]:
    absent = {
        "features (name some with --features)": not has_features,
        "draw_latents (standard normal numbers take their place)": not has_prior,
        "latent mean (that of drawn latents takes its place)": not has_mean,
    }
    return [what for what, is_absent in absent.items() if is_absent]


def _name_of(thing: object) -> str:
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{named.__module__}:{getattr(named, '__qualname__', type(thing).__name__)}"


def _told(error: BaseException) -> str:
    """An error of the user's code in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
