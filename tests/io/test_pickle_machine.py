"""The machine against Python's own reader, on plain data, and its budgets."""

from __future__ import annotations

import contextlib
import pickle
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gan2shape.io.pickle_machine import Budget, Damaged, Machine, Pending, Refused, insert, shown

_KEYS = st.one_of(st.text(max_size=5), st.integers(-(2**50), 2**50), st.booleans(), st.none(), st.binary(max_size=5))
_LEAVES = st.one_of(_KEYS, st.floats(allow_nan=False), st.integers(-(2**200), 2**200))
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(_KEYS, inner, max_size=4),
        st.sets(_KEYS, max_size=4),
        st.frozensets(_KEYS, max_size=4),
    ),
    max_leaves=12,
)


class _NoNames:
    def name(self, module: str, name: str) -> object:
        raise Refused(f"names {module}.{name}")

    def call(self, function: object, arguments: tuple[object, ...]) -> object:
        raise Refused("calls")

    def build(self, thing: object, state: object) -> object:
        if type(thing) is Pending:
            thing.value = state
            return state
        raise Refused("builds")

    def persistent(self, identity: object) -> object:
        return Pending() if identity == "pending" else ("outside", identity)


def run(content: bytes, operations: int = 10_000) -> object:
    return Machine(content, 0, _NoNames(), Budget(operations, 1000)).run()


@settings(max_examples=40, deadline=None)
@given(_VALUES, st.sampled_from([4, 5]))
def test_plain_data_is_read_as_python_reads_it(value: object, protocol: int) -> None:
    content = pickle.dumps(value, protocol=protocol)
    ours, theirs = run(content), pickle.loads(content)
    assert repr(ours) == repr(theirs)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_noise_is_data_or_one_of_two_errors(content: bytes) -> None:
    with contextlib.suppress(Damaged, Refused):
        run(b"\x80\x04" + content)


@pytest.mark.parametrize("number", [0, 255, 256, 65535, 65536, -1, 2**31 - 1, -(2**31), 2**40, -(2**100), 2**255 - 1])
def test_whole_numbers(number: int) -> None:
    assert run(pickle.dumps(number, protocol=2)) == number


def test_wide_forms_of_texts_bytes_and_numbers() -> None:
    assert run(b"\x8d" + struct.pack("<Q", 3) + "aé".encode() + b".") == "aé"
    assert run(b"\x8e" + struct.pack("<Q", 2) + b"ab.") == b"ab"
    assert run(b"\x8b" + struct.pack("<i", 2) + b"\x00\x80.") == -32768
    assert run(b"U\x02a\xe9.") == "aé"
    assert run(b"T\x01\x00\x00\x00b.") == "b"
    assert run(b"(1N.") is None
    assert run(b"K\x01K\x02\x86.") == (1, 2)


def test_position_is_behind_the_pickle_and_persistent_ids_are_handed_on() -> None:
    machine = Machine(b"xxK\x05Q.rest", 2, _NoNames(), Budget(10, 0))
    assert machine.run() == ("outside", 5)
    assert machine.position == 6


def test_a_remembered_object_is_replaced_by_its_value() -> None:
    content = b"\x8c\x07pendingQ\x94K\x07bh\x00\x86."
    assert run(content) == (7, 7)


def test_budgets_are_kept() -> None:
    assert run(b"N0" * 10 + b"N.", operations=21) is None
    with pytest.raises(Refused, match="more parts"):
        run(b"N0" * 10 + b"N.", operations=20)
    budget = Budget(0, 10)
    budget.claim(10)
    with pytest.raises(Refused, match="more data"):
        budget.claim(1)


def test_keys_and_names() -> None:
    target: dict[object, object] = {}
    insert(target, [("a", 1), (1, 2)])
    assert target == {"a": 1, 1: 2}
    for key in ("a", 1.5, (1,), 2**60):
        with pytest.raises(Refused):
            insert(target, [(key, 0)])
    assert shown("a\nb") == "a?b"
    assert len(shown("x" * 1000)) == 83
