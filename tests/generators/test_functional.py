"""Callables as generators: what they say of themselves is believed only after a look."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gan2shape.errors import CheckpointError
from gan2shape.generators import DirectOffset, FeatureExtractor, Generator, load_generator
from gan2shape.generators.functional import check_pictures, is_reference, load_features
from tests.generators import own_gan
from tests.generators.own_gan import LATENT, SIDE, Complete, Sampler, Waves

HERE = "tests.generators.own_gan"


def test_what_a_callable_carries_is_used() -> None:
    loaded = load_generator(f"{HERE}:build")
    assert isinstance(loaded.generator, Generator)
    assert (loaded.generator.resolution, loaded.generator.latent_dim) == (SIDE, LATENT)
    assert torch.equal(loaded.w_mean, torch.full((LATENT,), 0.5))
    drawn = loaded.sample_latents(2000, rng=torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn.mean(), torch.tensor(0.5), atol=0.05, rtol=0)
    torch.testing.assert_close(drawn.std(), torch.tensor(2.0), atol=0.05, rtol=0)
    assert isinstance(loaded.features, FeatureExtractor)
    assert [tuple(one.shape) for one in loaded.features(torch.zeros(2, 3, SIDE, SIDE))] == [
        (2, 3, 16, 16),
        (2, 3, 4, 4),
    ]
    assert (loaded.name, loaded.sha256, loaded.identity) == (f"{HERE}:build", "", f"{HERE}:build")
    assert loaded.about["missing"] == []
    assert "no hash" in loaded.about["layout"]


@pytest.mark.parametrize("source", [f"{HERE}:bare", f"{HERE}:plain", f"{HERE}:Waves", Waves(), own_gan.plain])
def test_pictures_are_the_callables_own(source: object) -> None:
    loaded = load_generator(source, latent_dim=LATENT)
    w = torch.randn(3, LATENT, generator=torch.Generator().manual_seed(1))
    patterns = Waves().patterns.double()
    expected = sum(w.double()[:, k, None, None, None] * patterns[k] for k in range(LATENT))
    torch.testing.assert_close(loaded.generator.synthesize(w).double(), expected, atol=1e-6, rtol=1e-5)
    assert loaded.generator.synthesize(w.double()).dtype == torch.float64
    assert loaded.features is None
    assert torch.equal(loaded.w_mean, torch.zeros(LATENT))
    assert len(loaded.about["missing"]) == 3
    with pytest.raises(ValueError, match=r"w must be \(B, 6\)"):
        loaded.generator.synthesize(torch.zeros(1, 2, LATENT))


def test_the_offset_is_learned_in_w_and_weights_are_not_moved() -> None:
    loaded = load_generator(Waves(), latent_dim=LATENT)
    assert isinstance(loaded.offset, DirectOffset)
    code = torch.zeros(2, LATENT, requires_grad=True)
    assert torch.equal(loaded.offset(code), torch.zeros(2, LATENT))
    loaded.generator.synthesize(loaded.w_mean + loaded.offset(code)).sum().backward()
    assert code.grad is not None
    torch.testing.assert_close(code.grad[0], Waves().patterns.detach().sum((1, 2, 3)))
    assert not any(parameter.requires_grad for parameter in loaded.generator.parameters())  # type: ignore[attr-defined]


def test_the_mean_of_drawn_latents_takes_the_place_of_one_that_is_not_told() -> None:
    loaded = load_generator(Sampler())
    torch.testing.assert_close(loaded.w_mean, torch.full((LATENT,), 3.5), atol=0.02, rtol=0)
    assert loaded.name == f"{HERE}:Sampler"


def test_a_loaded_generator_goes_through() -> None:
    loaded = load_generator(Complete())
    assert load_generator(loaded) is loaded
    assert load_generator(loaded, device="cpu", latent_dim=LATENT) is loaded
    with pytest.raises(CheckpointError, match=r"its latents have 6 numbers; got 7 \(--latent-dim\)"):
        load_generator(loaded, latent_dim=7)
    with pytest.raises(CheckpointError, match=r"it is loaded on cpu; got meta \(--device\)"):
        load_generator(loaded, device="meta")


def test_texts_that_name_python_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("a:b", "package.module:Class.method", "_a1:_b"):
        assert is_reference(text)
    for text in ("bundled", "a.pt", "a:", ":b", "a b:c", "a/b:c", "a..b:c", "1:b", Path("a:b")):
        assert not is_reference(text)
    assert is_reference(f"a:{'b' * 300}")
    monkeypatch.chdir(tmp_path)
    Path("a:b").write_text("a file")
    assert not is_reference("a:b")


def picture(change: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda w: change(Waves()(w))


def with_nan(images: Tensor) -> Tensor:
    return torch.cat([images[:-1], images[-1:] * math.nan])


@pytest.mark.parametrize(
    ("source", "latent_dim", "message"),
    [
        (f"{HERE}:bare", None, "how many numbers its latents have; name them with --latent-dim"),
        (f"{HERE}:build", 7, "its latents have 6 numbers; got 7"),
        (f"{HERE}:bare", 7, r"failed on latents \(4, 7\): RuntimeError"),
        (f"{HERE}:bare", 0, "expected latents of 1 to"),
        ("no_such_module_of_ours:f", 6, "no module no_such_module_of_ours"),
        (f"{HERE}:nothing", 6, "the module has no nothing"),
        (f"{HERE}:NUMBER", 6, "expected something to call; got int"),
        (f"{HERE}:broken", 6, "calling it failed: RuntimeError: no weights at this place"),
        (3, 6, "expected a callable from latents to pictures; got int"),
        (picture(lambda x: x[:, :1]), 6, r"expected pictures \(4, 3, R, R\) of 4 latents; got \(4, 1, 16, 16\)"),
        (picture(lambda x: x[:1]), 6, r"got \(1, 3, 16, 16\)"),
        (picture(lambda x: x[..., :8]), 6, r"got \(4, 3, 16, 8\)"),
        (picture(lambda x: x[..., :4, :4]), 6, "pictures of 8 to 4096 px; got 4"),
        (picture(with_nan), 6, "NaN or infinite"),
        (picture(lambda x: (x.clamp(-1, 1) + 1) / 2), 6, "signed pictures, black -1 and white 1; got values from 0"),
        (picture(lambda x: 127 * x), 6, "signed pictures, black -1 and white 1"),
        (picture(lambda x: x.detach()), 6, "no gradient reaches the latents"),
        (picture(lambda x: x.int()), 6, "TypeError: expected a tensor of floating-point numbers"),
        (picture(lambda x: [x]), 6, "got list"),  # type: ignore[arg-type, return-value]
    ],
)
def test_callables_that_do_not_do_are_refused_in_one_line(source: object, latent_dim: int, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        load_generator(source, latent_dim=latent_dim)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("resolution", 32, "its resolution says 32, but its pictures have 16 px"),
        ("latent_dim", "6", "expected latents of 1 to"),
        ("w_mean", torch.zeros(5), "w_mean must be a tensor of 6 finite numbers"),
        ("w_mean", torch.full((6,), math.nan), "w_mean must be a tensor of 6 finite numbers"),
        (
            "draw_latents",
            lambda count, rng: torch.zeros(count, 5),
            r"drawn latents \(2, 6\) of finite numbers; got \(2, 5\)",
        ),
        ("draw_latents", lambda count: torch.zeros(count, 6), "drawing latents failed: TypeError"),
        ("features", lambda images: [], r"features: expected maps \(4, C, h, w\); got \[\]"),
        ("features", lambda images: [images[0]], "expected maps"),
        ("features", lambda images: [images.detach()], "no gradient reaches the pictures"),
        ("features", lambda images: [images / 0], "NaN or infinite"),
        ("features", lambda images: 1 / 0, "failed on pictures .*ZeroDivisionError"),
    ],
)
def test_what_a_callable_says_wrongly_is_told(name: str, value: object, message: str) -> None:
    thing = Complete()
    object.__setattr__(thing, name, value)
    with pytest.raises(CheckpointError, match=message):
        load_generator(thing)


def test_a_file_that_cannot_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "module_with_a_mistake.py").write_text("1 / 0\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(CheckpointError, match="importing module_with_a_mistake failed: ZeroDivisionError"):
        load_generator("module_with_a_mistake:f")


def test_arguments_that_are_for_others() -> None:
    with pytest.raises(CheckpointError, match="a callable knows no classes"):
        load_generator(Complete(), class_index=1)
    with pytest.raises(CheckpointError, match=r"its latents have \d+ numbers; leave out 6 \(--latent-dim\)"):
        load_generator(latent_dim=6)


def test_features_of_the_users_own() -> None:
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    (found,) = load_features(f"{HERE}:pyramid", images)(images.double())
    torch.testing.assert_close(found, images.mean(1, keepdim=True))
    with pytest.raises(CheckpointError, match="calling it failed"):
        load_features(f"{HERE}:broken", images)


def test_the_first_pictures_tell_the_resolution() -> None:
    assert check_pictures(Waves(), torch.ones(2, LATENT), None, "waves") == SIDE
