"""The public names, checked in: adding or removing one is a decision that shows in `public_api.txt`."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from pathlib import Path

import pytest

import gan2shape

LIST = Path(__file__).with_name("public_api.txt")
EXPECTED = LIST.read_text(encoding="utf-8").split()


def packages() -> list[str]:
    """The package and its sub-packages."""
    found = pkgutil.iter_modules(gan2shape.__path__)
    return ["gan2shape", *(f"gan2shape.{module.name}" for module in found if module.ispkg)]


def reexported(package: str) -> set[str]:
    """Names that a package re-exports as ``import X as X``, those for type checkers included."""
    file = importlib.import_module(package).__file__
    assert file is not None
    return {
        alias.asname
        for node in ast.walk(ast.parse(Path(file).read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname is not None and alias.asname == alias.name
    }


def test_the_public_names_are_those_of_the_checked_in_list() -> None:
    found = sorted(f"{package}.{name}" for package in packages() for name in reexported(package))
    assert sorted(EXPECTED) == EXPECTED, "keep public_api.txt sorted"
    assert found == EXPECTED, "a public name came or went: change tests/public_api.txt if that is meant"


@pytest.mark.parametrize("package", packages())
def test_every_public_name_is_there_and_lazy_names_match_those_for_type_checkers(package: str) -> None:
    module = importlib.import_module(package)
    names = reexported(package)
    for name in names:
        assert getattr(module, name) is not None
    if hasattr(module, "__all__"):
        assert set(module.__all__) == names
    if names and hasattr(module, "__getattr__"):
        with pytest.raises(AttributeError, match="has no attribute 'no_such_name'"):
            module.no_such_name  # noqa: B018


def test_a_name_means_the_same_thing_wherever_it_is_offered() -> None:
    for name in reexported("gan2shape") - {"__version__"}:
        places = [p for p in packages()[1:] if name in reexported(p)]
        for package in places:
            assert getattr(gan2shape, name) is getattr(importlib.import_module(package), name)
