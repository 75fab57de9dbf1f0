"""The opcodes of a pickle, worked through as data: values, lists, dictionaries, and names that stay names.

The machine knows no Python object: a name in the file, a call, an object's state and a persistent id are handed to a
`Builders`, which returns a plain value or refuses. Opcodes that current pickles of networks do not need (the text
opcodes of protocol 0, extension codes, INST, OBJ, NEWOBJ_EX, buffers out of band) are refused by name. Every length is
compared with the bytes that are left before anything is read, one opcode makes at most one container, and opcodes are
counted: memory and time are proportional to the file at most. Nothing recurses.

Source of the format: Python's documentation of `pickletools`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Protocol

_LONGEST_INTEGER = 32
_LONGEST_NAME = 256
_LARGEST_KEY = 1 << 60
"""Larger whole numbers can be chosen to have equal hashes, which would make a dictionary slow."""
_UNUSED = {
    b"F": "FLOAT", b"I": "INT", b"L": "LONG", b"P": "PERSID", b"S": "STRING", b"V": "UNICODE",
    b"d": "DICT", b"g": "GET", b"i": "INST", b"l": "LIST", b"o": "OBJ", b"p": "PUT",
    b"\x82": "EXT1", b"\x83": "EXT2", b"\x84": "EXT4", b"\x92": "NEWOBJ_EX", b"\x97": "NEXT_BUFFER",
    b"\x98": "READONLY_BUFFER",
}  # fmt: skip


class Damaged(Exception):
    """The bytes are no whole pickle; the text says what is missing."""


class Refused(Exception):
    """The file asks for more than data; the text goes on after "FILE refused: it"."""


class Budget:
    """What one file may still use: opcodes, and bytes of tensors and arrays built from it."""

    def __init__(self, operations: int, size: int) -> None:
        """`operations` opcodes and `size` bytes."""
        self.operations = operations
        self.size = size

    def step(self, count: int = 1) -> None:
        """Take `count` opcodes.

        Raises:
            Refused: the budget holds less.
        """
        self.operations -= count
        if self.operations < 0:
            raise Refused("has more parts than any network")

    def claim(self, size: int) -> None:
        """Take `size` bytes.

        Raises:
            Refused: the budget holds less.
        """
        self.size -= size
        if self.size < 0:
            raise Refused("claims more data than it holds")


class Pending:
    """An object whose value comes with its state; where it is remembered, the value takes its place."""

    value: object = None


class Builders(Protocol):
    """Gives values for what a pickle names."""

    def name(self, module: str, name: str) -> object:
        """What stands for ``module.name``; raises `Refused` where it is not known."""

    def call(self, function: object, arguments: tuple[object, ...]) -> object:
        """The value of a call of a named function or class."""

    def build(self, thing: object, state: object) -> object:
        """`thing` given its state."""

    def persistent(self, identity: object) -> object:
        """The value that stands outside the pickle under `identity`."""


class Machine:
    """One pickle in `data`, from byte `position` on; `run` gives its value, and `position` is then behind it."""

    def __init__(self, data: bytes, position: int, builders: Builders, budget: Budget) -> None:
        """Nothing is read yet."""
        self.position = position
        self._data = data
        self._builders = builders
        self._budget = budget
        self._stack: list[object] = []
        self._marked: list[list[object]] = []
        self._memo: dict[int, object] = {}
        self._handlers = {ord(code): handler for code, handler in self._table().items()}

    def run(self) -> object:
        """The value of the pickle.

        Raises:
            Damaged: it is truncated or no pickle.
            Refused: it asks for more than data, or is larger than its budget.
        """
        try:
            while (code := self._take(1)[0]) != ord("."):
                self._budget.step()
                handler = self._handlers.get(code)
                if handler is None:
                    raise self._unknown(code)
                handler()
            if len(self._stack) != 1 or self._marked:
                raise Damaged("it ends with a part of its values unused")
            return self._stack.pop()
        except IndexError as error:
            raise Damaged("it uses a value that is not there") from error
        finally:
            # The handlers refer to the machine, and would keep its bytes until the next search for cycles.
            self._handlers.clear()
            self._memo.clear()
            self._data = b""

    def _table(self) -> dict[bytes, Callable[[], None]]:
        push = self._stack_push
        return {
            b"\x80": self._protocol,
            b"\x95": self._frame,
            b"N": lambda: push(None),
            b"\x88": lambda: push(True),
            b"\x89": lambda: push(False),
            b"K": lambda: push(self._take(1)[0]),
            b"M": lambda: push(self._number(2)),
            b"J": lambda: push(int.from_bytes(self._take(4), "little", signed=True)),
            b"\x8a": lambda: self._integer(1),
            b"\x8b": lambda: self._integer(4),
            b"G": lambda: push(struct.unpack(">d", self._take(8))[0]),
            b"\x8c": lambda: push(self._text(1)),
            b"X": lambda: push(self._text(4)),
            b"\x8d": lambda: push(self._text(8)),
            b"U": lambda: push(self._block(1).decode("latin-1")),
            b"T": lambda: push(self._block(4).decode("latin-1")),
            b"C": lambda: push(self._block(1)),
            b"B": lambda: push(self._block(4)),
            b"\x8e": lambda: push(self._block(8)),
            b"\x96": lambda: push(self._block(8)),
            b"]": lambda: push([]),
            b"}": lambda: push({}),
            b")": lambda: push(()),
            b"\x8f": lambda: push(set()),
            b"(": self._mark,
            b"1": self._drop_to_mark,
            b"t": lambda: push(tuple(self._to_mark())),
            b"\x85": lambda: self._tuple(1),
            b"\x86": lambda: self._tuple(2),
            b"\x87": lambda: self._tuple(3),
            b"\x91": lambda: push(frozenset(_key(value) for value in self._to_mark())),
            b"0": self._pop,
            b"2": lambda: push(self._stack[-1]),
            b"a": lambda: self._append([self._stack.pop()]),
            b"e": lambda: self._append(self._to_mark()),
            b"s": lambda: self._set_items(self._last(2)),
            b"u": lambda: self._set_items(self._to_mark()),
            b"\x90": lambda: self._add(self._to_mark()),
            b"h": lambda: self._get(1),
            b"j": lambda: self._get(4),
            b"q": lambda: self._put(self._number(1)),
            b"r": lambda: self._put(self._number(4)),
            b"\x94": lambda: self._put(len(self._memo)),
            b"c": self._global,
            b"\x93": self._stack_global,
            b"R": self._call,
            b"\x81": self._call,
            b"b": self._build,
            b"Q": lambda: push(self._builders.persistent(self._stack.pop())),
        }

    def _unknown(self, code: int) -> Exception:
        name = _UNUSED.get(bytes([code]))
        if name is None:
            return Damaged(f"byte {self.position - 1} is no opcode of a pickle")
        if name == "INST":
            return Refused(f"names {shown(self._line())}.{shown(self._line())}")
        return Refused(f"uses the opcode {name}, which no network needs")

    def _take(self, count: int) -> bytes:
        end = self.position + count
        if end > len(self._data):
            raise Damaged(f"it ends after {len(self._data)} bytes where {count} more were announced")
        taken = self._data[self.position : end]
        self.position = end
        return taken

    def _number(self, width: int) -> int:
        return int.from_bytes(self._take(width), "little")

    def _block(self, width: int) -> bytes:
        return self._take(self._number(width))

    def _text(self, width: int) -> str:
        return _decoded(self._block(width))

    def _line(self) -> str:
        end = self._data.find(b"\n", self.position, self.position + _LONGEST_NAME)
        if end < 0:
            raise Damaged("a name has no end")
        line = self._take(end - self.position)
        self.position += 1
        return _decoded(line)

    def _protocol(self) -> None:
        version = self._number(1)
        if version > 5:
            raise Damaged(f"pickles have protocols up to 5, this one has {version}")

    def _frame(self) -> None:
        if self._number(8) > len(self._data) - self.position:
            raise Damaged("a frame is longer than what is left")

    def _integer(self, width: int) -> None:
        length = self._number(width)
        if length > _LONGEST_INTEGER:
            raise Refused(f"has a whole number of {length} bytes")
        self._stack.append(int.from_bytes(self._take(length), "little", signed=True))

    def _stack_push(self, value: object) -> None:
        self._stack.append(value)

    def _mark(self) -> None:
        self._marked.append(self._stack)
        self._stack = []

    def _to_mark(self) -> list[object]:
        values = self._stack
        self._stack = self._marked.pop()
        return values

    def _pop(self) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._to_mark()

    def _drop_to_mark(self) -> None:
        self._to_mark()

    def _last(self, count: int) -> list[object]:
        if len(self._stack) < count:
            raise IndexError
        values = self._stack[-count:]
        del self._stack[-count:]
        return values

    def _tuple(self, count: int) -> None:
        self._stack.append(tuple(self._last(count)))

    def _append(self, values: list[object]) -> None:
        target = self._stack[-1]
        if type(target) is not list:
            raise Damaged("it appends to what is no list")
        target.extend(values)

    def _set_items(self, values: list[object]) -> None:
        target = self._stack[-1]
        if type(target) is not dict or len(values) % 2:
            raise Damaged("it sets items of what is no dictionary")
        insert(target, zip(values[::2], values[1::2], strict=True))

    def _add(self, values: list[object]) -> None:
        target = self._stack[-1]
        if type(target) is not set:
            raise Damaged("it adds to what is no set")
        target.update(_key(value) for value in values)

    def _get(self, width: int) -> None:
        index = self._number(width)
        if index not in self._memo:
            raise Damaged("it recalls a value that it never stored")
        value = self._memo[index]
        if type(value) is Pending and value.value is not None:
            value = value.value
        self._stack.append(value)

    def _put(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    def _global(self) -> None:
        module = self._line()
        self._stack.append(self._builders.name(module, self._line()))

    def _stack_global(self) -> None:
        module, name = self._last(2)
        if type(module) is not str or type(name) is not str:
            raise Damaged("a name is no text")
        self._stack.append(self._builders.name(module, name))

    def _call(self) -> None:
        function, arguments = self._last(2)
        if type(arguments) is not tuple:
            raise Damaged("the arguments of a call are no tuple")
        self._stack.append(self._builders.call(function, arguments))

    def _build(self) -> None:
        thing, state = self._last(2)
        self._stack.append(self._builders.build(thing, state))


def insert(target: dict[object, object], items: Iterable[tuple[object, object]]) -> None:
    """Put pairs into a dictionary whose keys are texts, bytes, whole numbers, booleans or None.

    Raises:
        Refused: another kind of key, or one that is there already.
    """
    for key, value in items:
        if _key(key) in target:
            raise Refused("has a dictionary with the same key twice")
        target[key] = value


def shown(name: str) -> str:
    """A name from a file, short and on one line."""
    text = "".join(character if character.isprintable() else "?" for character in name[:80])
    return text + ("..." if len(name) > 80 else "")


def _key(value: object) -> object:
    if value is None or type(value) in (str, bytes, bool) or (type(value) is int and abs(value) < _LARGEST_KEY):
        return value
    raise Refused("has a dictionary or set with a key that is neither a text nor a small whole number")


def _decoded(text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Damaged("a text is not UTF-8") from error
