"""Pickles of networks as data: valid ones come back bit for bit, hostile ones are refused in one line."""

from __future__ import annotations

import io
import os
import pickle
import random
import subprocess
import sys
import time
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from gan2shape.errors import CheckpointError
from gan2shape.io.checkpoints import read_tensors
from gan2shape.io.pickles import Record, read_pickle
from tests.io import hostile
from tests.io.memory import at_most


@pytest.fixture(scope="module")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("nest") / "canary"


@pytest.fixture(scope="module")
def files(canary: Path) -> dict[str, bytes]:
    return hostile.hostile_pickles(canary)


TITLES = sorted(hostile.hostile_pickles(Path("canary")))
ADDED_MIB = 400
"""What the process may need beside what it had before; the largest hostile file has 2 MB."""


def small_networks(source: str = "") -> bytes:
    """A small pickle with everything that NVIDIA's have."""
    with hostile.nvidia_modules() as util:
        weight = torch.arange(24.0).view(4, 6)
        first = hostile.layer(
            {"weight": weight, "turned": weight.t()[1:, ::2], "half": torch.tensor([1.5, float("nan")]).half()},
            source,
            _buffers=OrderedDict(noise=weight[1], none=None),
            _forward_hooks=OrderedDict(),
            in_size=np.broadcast_to(np.asarray(4), [2]),
            cutoff=np.float64(2.5),
        )
        whole = hostile.layer({}, source, _modules=OrderedDict(first=first), _init_args=(512, [1, 3]), _set=set())
        kwargs = util.EasyDict(class_name="training.dataset.ImageFolderDataset", options=util.EasyDict(xflip=True))
        return hostile.network_pickle({"training_set_kwargs": kwargs, "G_ema": whole, "G": whole, "augment_pipe": None})


def test_networks_come_back_bit_for_bit(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    path = tmp_path / "network.pkl"
    path.write_bytes(small_networks(f"open({str(canary)!r}, 'w')"))
    networks = read_pickle(path)
    assert isinstance(networks, dict)
    whole = networks["G_ema"]
    assert whole is networks["G"]
    assert (whole.module, whole.name, whole.arguments) == ("torch_utils.persistence", "SynthesisLayer", (512, [1, 3]))
    assert whole.state["_set"] == set()
    first = whole.state["_modules"]["first"]
    assert isinstance(first, Record)
    tensors = first.state["_parameters"]
    weight = torch.arange(24.0).view(4, 6)
    assert torch.equal(tensors["weight"], weight)
    assert torch.equal(tensors["turned"], weight.t()[1:, ::2])
    assert tensors["turned"].stride() == weight.t()[1:, ::2].stride()
    assert (
        tensors["half"].view(torch.int16).tolist()
        == torch.tensor([1.5, float("nan")]).half().view(torch.int16).tolist()
    )
    assert torch.equal(first.state["_buffers"]["noise"], weight[1])
    assert not any(tensor.requires_grad for tensor in tensors.values())
    assert first.state["in_size"].tolist() == [4, 4]
    assert (first.state["cutoff"], first.state["_buffers"]["none"]) == (2.5, None)
    kwargs = networks["training_set_kwargs"]
    assert kwargs == {"class_name": "training.dataset.ImageFolderDataset", "options": {"xflip": True}}
    assert "module_src" not in repr(networks)
    assert not canary.exists()


def test_a_file_of_torch_before_its_zip_format_is_read() -> None:
    base = torch.arange(6).view(2, 3)
    value = {"a": base.t(), "b": base[1], "layer": torch.nn.Linear(2, 2)}
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=False)
    result = read_pickle(file.getvalue())
    assert isinstance(result, dict)
    assert torch.equal(result["a"], value["a"])
    assert result["a"].untyped_storage().data_ptr() == result["b"].untyped_storage().data_ptr()
    assert result["layer"].name == "Linear"


def test_a_storage_used_twice_is_shared() -> None:
    data = (
        hostile.START
        + hostile.call("torch.storage", "_load_from_bytes", hostile.block(hostile.storage(4)))
        + b"q\x000]"
    )
    for first in (b"K\x00", b"K\x01"):
        shape = b"K\x03\x85K\x01\x85\x89}"
        data += hostile.call("torch._utils", "_rebuild_tensor_v2", b"h\x00", first, shape) + b"a"
    one, two = read_pickle(data + b".")  # type: ignore[misc]
    one[1] = 7
    assert two.tolist() == [7, 0, 0]


@pytest.mark.parametrize("title", TITLES)
def test_hostile_pickles_are_refused_in_one_line(
    title: str, files: dict[str, bytes], canary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "bad.pkl"
    path.write_bytes(files[title])
    start = time.process_time()
    with at_most(ADDED_MIB), pytest.raises(CheckpointError, match=r"^[ -~]+$") as caught:
        read_pickle(path)
    assert time.process_time() - start < 10
    assert len(str(caught.value)) < len(str(path)) + 250
    assert [entry.name for entry in tmp_path.iterdir()] == ["bad.pkl"]
    assert not canary.exists()


def test_there_are_enough_hostile_files() -> None:
    assert len(TITLES) >= 40


@pytest.mark.parametrize(
    "title, says",
    [
        ("os.system", "refused: it names os.system"),
        ("inst", "refused: it names os.system"),
        ("getattr chain", "refused: it names builtins.getattr"),
        ("os.system in a network", "refused: it names os.system"),
        ("command in a storage", "refused: it names os.system"),
        ("two million opcodes", "more parts than any network"),
        ("dictionaries doubled", "larger unpacked"),
        ("nested tuples", "nested more than 100 levels"),
        ("TensorFlow", "convert it with legacy.py"),
        ("persistent id as text", "opcode PERSID"),
        ("zip", "zip file of torch.save"),
        ("empty", "damaged"),
    ],
)
def test_refusals_name_the_reason(title: str, says: str, files: dict[str, bytes]) -> None:
    with pytest.raises(CheckpointError, match=says):
        read_pickle(files[title])


def test_a_canary_would_have_sung(tmp_path: Path) -> None:
    content = hostile.START + hostile.commands(tmp_path / "canary")["os.system"] + b"."
    run = [sys.executable, "-c", "import pickle, sys; pickle.loads(sys.stdin.buffer.read())"]
    subprocess.run(run, input=content, check=True)
    assert (tmp_path / "canary").exists()


def test_places_that_are_no_files(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "missing.pkl", os.devnull):
        with pytest.raises(CheckpointError, match=r"^[^\n]+$"):
            read_pickle(place)


def test_every_cut_is_refused() -> None:
    content = small_networks()
    for end in range(0, len(content), 7):
        with pytest.raises(CheckpointError):
            read_pickle(content[:end])


WRAPPED = sorted(hostile.commands(Path("canary")))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("title", WRAPPED)
def test_commands_in_pytorch_files_are_refused(title: str, zipped: bool, tmp_path: Path) -> None:
    content = b"\x80\x02}" + hostile.text("a") + hostile.commands(tmp_path / "canary")[title] + b"s."
    path = tmp_path / "bad.pt"
    path.write_bytes(hostile.zipped(content) if zipped else hostile.saved_before_zip(content))
    with pytest.raises(CheckpointError, match=r"^[^\n]+$"):
        read_tensors(path)
    if not zipped:
        with pytest.raises(CheckpointError, match=r"^[^\n]+$"):
            read_pickle(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["bad.pt"]


def _saved_tensor(count: int, **others: object) -> bytes:
    identity = b"(" + hostile.text("storage") + hostile.name("torch", "FloatStorage") + hostile.text("0")
    identity += hostile.text("cpu") + hostile.pickled(count) + b"tQ"
    rest = hostile.pickled(0) + hostile.pickled((count,)) + hostile.pickled((1,)) + hostile.pickled(False)
    built = hostile.call(
        "torch._utils", "_rebuild_tensor_v2", identity, rest, hostile.call("collections", "OrderedDict")
    )
    return b"\x80\x02}" + hostile.text("a") + built + b"s."


@pytest.mark.parametrize(
    "content",
    [
        hostile.zipped(_saved_tensor(4)),
        hostile.zipped(_saved_tensor(5 << 29), {"a/data/0": bytes(16)}),
        hostile.zipped(_saved_tensor(4), {"a/../../data/0": bytes(16), "/a/data/0": bytes(16)}),
        hostile.zipped(_saved_tensor(4), {"../canary": bytes(16)}),
        hostile.zipped(bytes(20 << 20), deflate=True),
        hostile.zipped(_saved_tensor(4), {"a/data/0": bytes(16)})[:-60],
        hostile.zipped(b""),
        b"PK\x03\x04",
        hostile.saved_before_zip(_saved_tensor(4)),
        hostile.saved_before_zip(_saved_tensor(4), ["0"]),
        hostile.saved_before_zip(_saved_tensor(5 << 29), ["0"]) + bytes(24),
        hostile.saved_before_zip(b"\x80\x02)" + b"\x85" * 100_000 + b"."),
        hostile.zipped(b"\x80\x02)" + b"\x85" * 100_000 + b"."),
    ],
    ids=lambda content: str(len(content)),
)
def test_hostile_pytorch_files_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.pt"
    path.write_bytes(content)
    for read in (read_tensors, read_pickle):
        with at_most(ADDED_MIB), pytest.raises(CheckpointError, match=r"^[^\n]+$"):
            read(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["bad.pt"]


def mutated(content: bytes, rng: random.Random) -> bytes:
    """`content` with one to eight bytes set, put in, taken out, or swapped with a piece from elsewhere."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        place, kind = rng.randrange(len(data)), rng.randrange(5)
        if kind == 0:
            data[place] = rng.randrange(256)
        elif kind == 1:
            data[place] = rng.choice(b"(.0RbtscQ}])\x81\x85\x86\x93\x94\x8c\x95hqaeu")
        elif kind == 2:
            data.insert(place, rng.randrange(256))
        elif kind == 3 and len(data) > 20:
            del data[place : place + rng.randrange(1, 9)]
        else:
            other = rng.randrange(len(data))
            data[place:place] = data[other : other + rng.randrange(1, 40)]
    return bytes(data)


def fuzz(count: int, seed: int, seconds: float = float("inf")) -> tuple[int, int]:
    """Read mutations of valid files; returns how many were read and how many of them were accepted."""
    rng = random.Random(seed)
    file = io.BytesIO()
    torch.save({"a": torch.ones(2, 3).t(), "b": OrderedDict(c=1)}, file, _use_new_zipfile_serialization=False)
    with hostile.nvidia_modules() as util:
        tiny = hostile.network_pickle({"G": hostile.layer({"w": torch.ones(2)}, n=np.ones(2)), "k": util.EasyDict(a=1)})
    plain = pickle.dumps({"a": [1, 2.5, "text", b"bytes", (None, True, {3})], "n": np.arange(3.0)}, protocol=2)
    seeds = [file.getvalue(), tiny, plain, small_networks()]
    accepted = done = 0
    lines: set[int] = set()
    end = time.monotonic() + seconds
    while done < count and time.monotonic() < end:
        content = mutated(seeds[done % len(seeds)], rng)
        done += 1
        try:
            read_pickle(content)
            accepted += 1
        except CheckpointError as error:
            lines.add(len(str(error).splitlines()))
    assert lines == {1}
    return done, accepted


def test_mutations_are_read_or_refused() -> None:
    done, accepted = fuzz(2000, seed=1)
    assert done == 2000
    assert 20 < accepted < 1900


@pytest.mark.slow
def test_a_hundred_thousand_mutations_are_read_or_refused() -> None:
    done, accepted = fuzz(100_000, seed=2, seconds=1800)
    assert done == 100_000
    assert accepted > 1000
