"""Writing files so that a reader finds the old file or the new one, never half of one.

Everything the package writes goes through `atomic_write`: a temporary name in the same folder, flushed to the disk,
then renamed. A run holds `FolderLock` on its output folder, so that two runs never mix their files. Failures of the
operating system become `OutputError`, one line that says what to do.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from gan2shape.errors import OutputError

TEMPORARY_PREFIX = ".gan2shape-tmp-"
LOCK_NAME = ".gan2shape.lock"

_REASONS = {
    errno.EACCES: ("no permission to write here", "choose another folder or change its permissions"),
    errno.EPERM: ("no permission to write here", "choose another folder or change its permissions"),
    errno.EROFS: ("a read-only file system", "choose a folder on a disk that can be written"),
    errno.ENOSPC: ("the disk is full", "free some space or choose a folder on another disk"),
    errno.EDQUOT: ("your disk quota is used up", "free some space or choose a folder on another disk"),
    errno.EFBIG: ("a file larger than the system allows", "choose a folder on another file system"),
    errno.ENOTDIR: ("a file where a folder should be", "choose a folder, or move that file away"),
    errno.EEXIST: ("a file where a folder should be", "choose a folder, or move that file away"),
    errno.EISDIR: ("a folder where a file should be", "choose another name, or move that folder away"),
    errno.ENOTEMPTY: ("a folder where a file should be", "choose another name, or move that folder away"),
    errno.ENAMETOOLONG: ("a name that is too long", "choose a shorter name"),
    errno.EMFILE: ("too many open files", "close some programs or raise the limit (ulimit -n)"),
    errno.EIO: ("an error of the disk", "check the disk, or choose another one"),
}


def output_error(error: OSError, path: str | Path) -> OutputError:
    """The one-line `OutputError` for a failed write.

    Args:
        error: what the operating system said.
        path: the place that was to be written, as the user knows it.
    """
    number = error.errno if error.errno is not None else 0
    reason, advice = _REASONS.get(number, (error.strerror or str(error) or "an error", "choose another folder"))
    return OutputError(f"{path}: expected a place that can be written; got {reason}; {advice}")


@contextlib.contextmanager
def translated_output_errors(path: str | Path) -> Iterator[None]:
    """Raise `OutputError` naming ``path`` instead of any `OSError` of the operating system inside the block."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # Libraries raise bare OSErrors for mistakes of the caller; those are not the disk's.
            raise
        raise output_error(error, path) from error


@contextlib.contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Give a temporary path to write; on success it becomes ``path``, on any failure it is removed.

    The temporary file lies in the same folder (a rename across disks would not be atomic) and keeps the suffix, so that
    libraries which choose a format by suffix work. An older file at ``path`` stays intact until the rename.

    Args:
        path: the file to write. Its folder is made when it is missing.

    Yields:
        the temporary path, which the block must write.

    Raises:
        OutputError: the place cannot be written (permissions, full disk, a file where a folder should be, ...).
    """
    target = Path(path)
    with translated_output_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        temporary = target.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(4)}-{target.name[-80:]}"
        try:
            yield temporary
            _sync(temporary)
            os.replace(temporary, target)
        except BaseException:  # Ctrl-C too must leave nothing half-written.
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        _sync_folder(target.parent)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write ``content`` to ``path`` atomically. Raises `OutputError` when the place cannot be written."""
    with atomic_write(path) as temporary, open(temporary, "wb") as file:
        file.write(content)


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` as UTF-8 to ``path`` atomically. Raises `OutputError` when the place cannot be written."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` as indented JSON to ``path`` atomically.

    Raises:
        OutputError: the place cannot be written.
        ValueError, TypeError: ``value`` is not JSON (NaN and infinities are not).
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def make_folder(path: str | Path) -> Path:
    """Make the folder ``path`` and its parents where missing; return it. Raises `OutputError` when that fails."""
    folder = Path(path)
    with translated_output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


class FolderLock:
    """Keeps two runs out of one output folder; a context manager.

    The lock is the operating system's (``flock``), so that it disappears with its process, whatever killed it: a file
    left behind by a dead run is taken over. The file holds the owner's process number for the message. Taking the lock
    also removes temporary files that a killed run left in the folder and its direct sub-folders. Linux and macOS.

    Args:
        folder: the folder to lock; made when it is missing.

    Raises (on entering):
        OutputError: another process, named by its number, holds the folder, or the folder cannot be written.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._descriptors: list[int] = []

    def __enter__(self) -> FolderLock:
        make_folder(self.folder)
        path = self.folder / LOCK_NAME
        with translated_output_errors(self.folder):
            descriptor = _lock_file(path)
            try:
                os.ftruncate(descriptor, 0)
                os.write(descriptor, f"{os.getpid()}\n".encode())
                _remove_leftovers(self.folder)
            except BaseException:
                os.close(descriptor)
                raise
        self._descriptors.append(descriptor)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):  # A folder that the user has deleted meanwhile is no reason to fail.
            (self.folder / LOCK_NAME).unlink(missing_ok=True)
        os.close(self._descriptors.pop())


def _lock_file(path: Path) -> int:
    """Open and lock ``path``; try again when its owner removed the file between our open and our lock."""
    import fcntl  # Missing on Windows, where the rest of this module still works.

    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_same_file(descriptor, path):
                return descriptor
        except BlockingIOError:
            owner = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise OutputError(
                f"{path.parent}: expected a folder that no other run is using; got one locked by process {owner}; "
                "wait for it to end, or choose another folder"
            ) from None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _remove_leftovers(folder: Path) -> None:
    for pattern in (f"{TEMPORARY_PREFIX}*", f"*/{TEMPORARY_PREFIX}*"):
        for leftover in folder.glob(pattern):
            with contextlib.suppress(OSError):
                leftover.unlink()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    """Flush the rename itself; some file systems refuse to sync a folder, and the file is safe there all the same."""
    with contextlib.suppress(OSError):
        _sync(folder)
