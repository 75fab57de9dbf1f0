"""Settings every test shares: one thread, no surprises from the machine."""

from __future__ import annotations

import pytest
import torch


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of tests/test_golden.py."""
    parser.addoption("--update-golden", action="store_true", help="write tests/golden/*.png anew instead of comparing")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Two threads on a busy core are slower than one, and results then depend on the machine's load."""
    torch.set_num_threads(1)


@pytest.fixture
def rng() -> torch.Generator:
    """A seeded random generator, fresh for each test."""
    return torch.Generator().manual_seed(0)
