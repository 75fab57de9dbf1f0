"""Arrays of numpy in pickles, against numpy."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from gan2shape.io.pickle_arrays import ArrayType, array, extents, natural
from gan2shape.io.pickle_machine import Budget, Damaged, Machine, Refused
from gan2shape.io.pickle_values import NetworkBuilders


def read(value: object, protocol: int) -> object:
    return Machine(
        pickle.dumps(value, protocol=protocol), 0, NetworkBuilders(Budget(1000, 4000)), Budget(1000, 0)
    ).run()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("code", ["?", "u1", "i1", "<i2", ">i4", "<i8", "<f2", ">f4", "<f8"])
def test_arrays_keep_values_and_shape(code: str, protocol: int) -> None:
    base = np.arange(12).reshape(3, 4).astype(code)
    for values in (base, base.T, base[:, ::2], np.broadcast_to(base[0], (2, 4)), base[:0], np.asarray(base[1, 1])):
        ours = read(values, protocol)
        assert isinstance(ours, torch.Tensor)
        assert tuple(ours.shape) == values.shape
        assert ours.numpy().dtype == values.dtype.newbyteorder("=")
        assert np.array_equal(ours.numpy(), values)
    assert read(base[1, 2], protocol) == base[1, 2].item()


@pytest.mark.parametrize(
    "value", [np.array(["a"]), np.array([None]), np.zeros(1, "i4,f4"), np.zeros(1, "M8[s]"), 1j * np.ones(1)]
)
def test_other_arrays_are_refused(value: np.ndarray) -> None:
    with pytest.raises(Refused, match=r"has an array|encodes"):
        read(value, 4)


def test_sizes_are_checked() -> None:
    budget = Budget(0, 1000)
    assert array(bytes(8), ArrayType("f4"), (2,), "C", budget).tolist() == [0, 0]
    for shape in ((3,), (1 << 40, 1 << 40), (-2,), (2.0,), "ab"):
        with pytest.raises(Damaged):
            array(bytes(8), ArrayType("f4"), shape, "C", budget)
    assert extents([1, 2]) == (1, 2)
    with pytest.raises(Damaged):
        natural(True)
