"""The layer schedule against the sizes that published generators carry in their layers' names."""

from __future__ import annotations

import pytest

from gan2shape.generators.stylegan3_config import StyleGAN3Config, bands, layer_plans


def channels(resolution: int, base: int, most: int) -> tuple[int, ...]:
    cutoffs = [2 * (resolution / 4) ** min(index / 12, 1) for index in range(14)]
    return tuple(round(min(base / 2 / cutoff, most)) for cutoff in cutoffs)


def test_the_layers_of_a_published_generator() -> None:
    config = StyleGAN3Config(resolution=1024, channels=channels(1024, 32768, 512))
    names = [plan.name(index) for index, plan in enumerate(layer_plans(config))]
    assert names == [
        "L0_36_512", "L1_36_512", "L2_52_512", "L3_52_512", "L4_84_512", "L5_148_512", "L6_148_512", "L7_276_323",
        "L8_276_203", "L9_532_128", "L10_1044_81", "L11_1044_51", "L12_1044_32", "L13_1024_32", "L14_1024_3",
    ]  # fmt: skip
    assert config.num_ws == 16
    assert [plan.critical for plan in layer_plans(config)] == [False] * 12 + [True] * 3


def test_the_last_layers_are_critically_sampled() -> None:
    config = StyleGAN3Config(resolution=256, channels=channels(256, 65536, 1024), kernel_size=1, radial=True)
    first, last = bands(config)[0], bands(config)[-1]
    assert (first.cutoff, first.rate, first.size) == (2.0, 16, 36)
    assert first.half_width == pytest.approx(6.0)
    assert (last.cutoff, last.rate, last.size) == (128.0, 256, 256)
    assert last.half_width == pytest.approx(128 * (2**0.3 - 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resolution": 100}, "power of two"),
        ({"channels": (4, 4)}, "too few"),
        ({"channels": (4, 4, 0, 4)}, "positive"),
        ({"kernel_size": 5}, "1 or 3"),
        ({"clamp": -1.0}, "clamp must be positive"),
    ],
)
def test_sizes_that_cannot_be_are_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StyleGAN3Config(**({"resolution": 64, "channels": (4, 4, 4, 4)} | change))
