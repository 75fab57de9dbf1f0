"""The account of memory sees what an earlier, larger peak would hide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.io.memory import at_most


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's account of memory")
def test_a_peak_below_an_earlier_one_is_seen() -> None:
    assert np.ones((256, 1 << 20), np.uint8).all()  # Held and given back.
    with pytest.raises(AssertionError), at_most(50):
        assert np.ones((100, 1 << 20), np.uint8).all()
    with at_most(150):
        assert np.ones((100, 1 << 20), np.uint8).all()
