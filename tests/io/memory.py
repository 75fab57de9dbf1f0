"""What a block of code needs of memory at its highest, whatever the process needed before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_STATUS, _REFERENCES = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@contextmanager
def at_most(added_mib: int) -> Iterator[None]:
    """Assert that the block adds at most this many MiB to what the process holds at its start.

    Linux's account of the peak is set back first: the highest of the whole process, which `resource` tells, would hide
    everything below what an earlier test needed. On other systems nothing is asserted.
    """
    counts = _can_reset()
    before = _peak_kib() if counts else 0
    yield
    assert not counts or _peak_kib() - before <= added_mib << 10


def _can_reset() -> bool:
    """Set the peak back to what the process holds now; false where the system has no such account."""
    try:
        _REFERENCES.write_text("5")
    except OSError:
        return False
    return True


def _peak_kib() -> int:
    return int(next(line.split()[1] for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM")))
