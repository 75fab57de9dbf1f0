"""Tensors, dictionaries and objects in pickles, against what was pickled."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict

import pytest
import torch

from gan2shape.io.pickle_machine import Budget, Damaged, Machine, Refused
from gan2shape.io.pickle_values import SAVE_MAGIC, Name, NetworkBuilders, Record, Storage, read_saved

TYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.uint8, torch.int8, torch.int16, torch.int32,
         torch.int64, torch.bool]  # fmt: skip


def builders(size: int = 10_000) -> NetworkBuilders:
    return NetworkBuilders(Budget(100_000, size))


def read(value: object, protocol: int = 4) -> object:
    made = builders()
    return Machine(pickle.dumps(value, protocol=protocol), 0, made, Budget(100_000, 0)).run()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("dtype", TYPES)
def test_tensors_of_every_type_keep_bits_shape_and_strides(dtype: torch.dtype, protocol: int) -> None:
    bits = torch.randint(0, 2 if dtype == torch.bool else 256, (96,), dtype=torch.uint8, generator=torch.manual_seed(0))
    for tensor in (view := bits.view(dtype)[:12].view(3, 4), view.t(), view[1:, ::2], view[0, 0], view[:0]):
        ours = read(tensor, protocol)
        assert isinstance(ours, torch.Tensor)
        assert (ours.dtype, ours.shape, ours.stride()) == (tensor.dtype, tensor.shape, tensor.stride())
        assert torch.equal(ours.contiguous().view(-1).view(torch.uint8), tensor.contiguous().view(-1).view(torch.uint8))


def test_plain_things_that_torch_and_python_name() -> None:
    value = (
        torch.Size([2, 3]),
        torch.device("cuda", 1),
        torch.float16,
        OrderedDict(a=1),
        {4},
        frozenset({5}),
        b"\xff",
        b"",
    )
    for protocol in (2, 3, 4):
        assert read(value, protocol) == ((2, 3), "cuda:1", "float16", {"a": 1}, {4}, {5}, b"\xff", b"")
    assert read(bytearray(b"ab"), 5) == read(bytearray(b"ab"), 3) == b"ab"


def test_layers_are_records_and_state_dicts_lose_their_attributes() -> None:
    layer = torch.nn.Linear(2, 3)
    ours = read(layer)
    assert isinstance(ours, Record)
    assert (ours.module, ours.name, ours.arguments) == ("torch.nn.modules.linear", "Linear", ())
    assert torch.equal(ours.state["_parameters"]["bias"], layer.bias)  # type: ignore[index]
    assert list(read(layer.state_dict())) == ["weight", "bias"]  # type: ignore[call-overload]


def test_booleans_are_zero_or_one() -> None:
    storage = Storage(torch.empty(3, dtype=torch.bool))
    storage.fill(memoryview(b"\x00\x02\xff"))
    assert storage.flat.view(torch.uint8).tolist() == [0, 1, 1]


def test_names_stay_names() -> None:
    made = builders()
    assert made.name("collections", "OrderedDict") == Name("collections", "OrderedDict")
    for module, name in (
        ("os", "system"),
        ("collections", "Counter"),
        ("torch", "load"),
        ("torch.nn.modules.a", "b.c"),
    ):
        with pytest.raises(Refused, match=f"names {module}.{name}"):
            made.name(module, name)
    with pytest.raises(Refused, match=r"legacy\.py"):
        made.name("dnnlib.tflib", "Network")
    with pytest.raises(Refused, match="names collections"):
        NetworkBuilders(Budget(1, 1), only_storages=True).name("collections", "OrderedDict")


def test_storages_are_counted() -> None:
    content = pickle.dumps(torch.zeros(100))
    assert Machine(content, 0, builders(400), Budget(1000, 0)).run().shape == (100,)  # type: ignore[attr-defined]
    with pytest.raises(Refused, match="more data"):
        Machine(content, 0, builders(399), Budget(1000, 0)).run()


def test_a_saved_stream_needs_all_its_storages() -> None:
    file = io.BytesIO()
    torch.save({"a": torch.arange(3.0)}, file, _use_new_zipfile_serialization=False)
    made, content = builders(), file.getvalue()
    first = Machine(content, 0, made, Budget(100, 0))
    assert first.run() == SAVE_MAGIC
    assert read_saved(content, first.position, made, Budget(1000, 0))["a"].tolist() == [0, 1, 2]  # type: ignore[index]
    with pytest.raises(Damaged):
        read_saved(content[:-1], first.position, builders(), Budget(1000, 0))
