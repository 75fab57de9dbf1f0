"""Arrays and numbers of numpy in a pickle, rebuilt from their bytes as tensors and plain numbers.

Only numbers of a fixed size are read: arrays of objects, texts and structures are refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor

from gan2shape.io.pickle_machine import Budget, Damaged, Pending, Refused

_CODES = ("b1", "u1", "i1", "i2", "i4", "i8", "f2", "f4", "f8")
_ORDERS = ("<", ">", "|", "=")
_MOST_DIMENSIONS = 16
_LARGEST_EXTENT = 1 << 40


class ArrayType:
    """The type of an array's elements: a code as "f4", and the order of their bytes."""

    def __init__(self, code: object, *flags: object) -> None:
        """As `numpy.dtype` is pickled; raises `Refused` for what is no number."""
        if type(code) is not str or code not in _CODES or len(flags) > 2:
            raise Refused("has an array of something else than numbers")
        self._code = code
        self._order = "<"

    def set_state(self, state: object) -> None:
        """Take the order of bytes from the state of a `numpy.dtype`.

        Raises:
            Damaged: it is no such state.
            Refused: the type has fields or is an array itself.
        """
        if type(state) is not tuple or len(state) < 5 or type(state[1]) is not str or state[1] not in _ORDERS:
            raise Damaged("an array's type is not whole")
        if any(part is not None for part in state[2:5]):
            raise Refused("has an array of structures")
        self._order = ">" if state[1] == ">" else "<"

    def elements(self, data: object, count: int, budget: Budget) -> np.ndarray:
        """`count` numbers from their bytes, (count,), in memory of their own."""
        dtype = np.dtype(self._order + self._code)
        if type(data) is not bytes or len(data) != count * dtype.itemsize:
            raise Damaged("an array's bytes do not match its shape")
        budget.claim(len(data))
        if self._code == "b1":
            return np.frombuffer(data, np.uint8) != 0
        return np.frombuffer(data, dtype).astype(dtype.newbyteorder("="))


def scalar(kind: object, data: object, budget: Budget) -> object:
    """One number, as a number of Python."""
    return _checked(kind).elements(data, 1, budget)[0].item()


def array(data: object, kind: object, shape: object, order: object, budget: Budget) -> Tensor:
    """An array of `shape` from its bytes, in the order of rows ("C") or of columns ("F")."""
    sizes = extents(shape)
    if type(order) is not str or order not in ("C", "F"):
        raise Damaged("an array is neither in the order of rows nor of columns")
    elements = _checked(kind).elements(data, math.prod(sizes), budget)
    return torch.from_numpy(elements.reshape(sizes, order="F" if order == "F" else "C"))


def pending_array(_kind: object, shape: object, code: object) -> Pending:
    """An array whose shape and bytes come later, as its state; what is given here is never used."""
    if type(shape) is not tuple or type(code) not in (bytes, str):
        raise Damaged("an array is not described as numpy does")
    return Pending()


def finish_array(thing: Pending, state: object, budget: Budget) -> Tensor:
    """The array, given the state (version, shape, type, order of columns, bytes)."""
    if thing.value is not None or type(state) is not tuple or len(state) != 5:
        raise Damaged("an array is not whole")
    _, shape, kind, columns, data = state
    if type(columns) not in (bool, int):
        raise Damaged("an array is not whole")
    value = array(data, kind, shape, "F" if columns else "C", budget)
    thing.value = value
    return value


def extents(values: object) -> tuple[int, ...]:
    """A shape or strides: at most 16 plausible whole numbers."""
    if type(values) not in (tuple, list) or len(cast("Sequence[object]", values)) > _MOST_DIMENSIONS:
        raise Damaged("a shape is no list of sizes")
    return tuple(natural(value) for value in cast("Sequence[object]", values))


def natural(value: object) -> int:
    """A whole number from 0 to 2^40."""
    if type(value) is not int or not 0 <= value <= _LARGEST_EXTENT:
        raise Damaged("a size is no plausible number")
    return value


def _checked(kind: object) -> ArrayType:
    if type(kind) is not ArrayType:
        raise Damaged("an array has no type")
    return kind
