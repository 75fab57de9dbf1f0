"""What is imported when: reading the package or a help text must not load torch.

Modules are compared, not seconds, which depend on the machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src"
HEAVY = {"torch", "torchvision", "numpy", "PIL", "trimesh", "safetensors", "scipy", "rich.progress"}
VERBS = ("demo", "reconstruct", "sample", "render", "export", "evaluate", "info")


def imported_by(*arguments: str) -> tuple[set[str], subprocess.CompletedProcess[str]]:
    """Names of all modules that the import statements of a Python process load, and the finished process.

    Modules that `importlib.import_module` loads are missing in Python's list; what they import in turn is there.
    """
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "COLUMNS": "100"}
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True, env=environment, timeout=120
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rsplit("|", 1)[1].strip() for line in lines}, done


def test_the_package_is_imported_without_anything_heavy() -> None:
    modules, done = imported_by("-c", "import gan2shape; print(gan2shape.__version__)")
    assert done.returncode == 0
    assert done.stdout.strip()
    assert "gan2shape" in modules
    assert modules & (HEAVY | {"tyro", "rich"}) == set()


def test_names_are_imported_when_they_are_used() -> None:
    modules, done = imported_by("-c", "import gan2shape; gan2shape.ReconstructConfig(); gan2shape.PRESETS['default']")
    assert done.returncode == 0, done.stderr[-500:]
    assert "torch" not in modules
    modules, done = imported_by("-c", "import gan2shape; gan2shape.Camera")
    assert done.returncode == 0
    assert "torch" in modules


def test_help_answers_without_torch() -> None:
    modules, done = imported_by("-m", "gan2shape", "--help")
    assert done.returncode == 0
    assert "gan2shape.cli.main" in modules
    assert modules & (HEAVY - {"rich.progress"}) == set()
    for verb in VERBS:
        assert verb in done.stdout


def test_the_version_answers_without_torch() -> None:
    modules, done = imported_by("-m", "gan2shape", "--version")
    assert done.returncode == 0
    assert done.stdout.startswith("gan2shape ")
    assert "torch" not in modules


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_every_verb_answers_without_torch(verb: str) -> None:
    modules, done = imported_by("-m", "gan2shape", verb, "--help")
    assert done.returncode == 0
    assert "torch" not in modules
    assert f"gan2shape {verb}" in " ".join(done.stdout.split())


def test_no_module_loads_torchvision() -> None:
    code = (
        "import importlib, pkgutil, gan2shape\n"
        "for m in pkgutil.walk_packages(gan2shape.__path__, 'gan2shape.'):\n"
        "    m.name.endswith('__main__') or importlib.import_module(m.name)\n"
        "import sys; print(*sys.modules)\n"
    )
    _, done = imported_by("-c", code)
    assert done.returncode == 0, done.stderr[-500:]
    modules = set(done.stdout.split())
    assert {"gan2shape.reconstruct.pipeline", "gan2shape.networks.vgg", "torch"} <= modules
    assert "torchvision" not in modules
