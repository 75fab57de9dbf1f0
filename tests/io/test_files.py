"""Atomic writing and locking, with faults injected where the operating system would fail."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gan2shape.errors import OutputError
from gan2shape.io import files
from gan2shape.io.files import FolderLock, atomic_write, make_folder, write_bytes, write_json, write_text


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def test_the_new_content_replaces_the_old(tmp_path: Path) -> None:
    write_text(tmp_path / "deep" / "a.txt", "old")
    write_text(tmp_path / "deep" / "a.txt", "neu, größer")
    assert (tmp_path / "deep" / "a.txt").read_bytes() == "neu, größer".encode()
    assert names(tmp_path / "deep") == {"a.txt"}


def test_the_temporary_name_keeps_the_suffix_and_the_folder(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "mesh.glb") as temporary:
        assert temporary.suffix == ".glb"
        assert temporary.parent == tmp_path
        assert temporary.name != "mesh.glb"
        temporary.write_bytes(b"x")


@pytest.mark.parametrize("failure", [RuntimeError("in the middle"), KeyboardInterrupt(), SystemExit(1)])
def test_a_failure_in_the_middle_keeps_the_old_file_and_leaves_nothing_else(
    tmp_path: Path, failure: BaseException
) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")

    def write() -> None:
        with atomic_write(target) as temporary:
            temporary.write_text("half")
            raise failure

    with pytest.raises(type(failure)):
        write()
    assert target.read_text() == "old"
    assert names(tmp_path) == {"a.txt"}


def test_an_interrupt_between_write_and_rename_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_text(tmp_path / "a.txt", "new")
    assert names(tmp_path) == set()


@pytest.mark.parametrize(
    "number, said",
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "permission"),
        (errno.EIO, "error of the disk"),
    ],
)
def test_errors_of_the_system_are_one_line_and_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, said: str
) -> None:
    def failing(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.os, "fsync", failing)  # Delayed allocation reports a full disk here at the latest.
    with pytest.raises(OutputError, match=said) as caught:
        write_bytes(tmp_path / "a.bin", b"x" * 1000)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "a.bin"))
    assert names(tmp_path) == set()


def test_a_full_disk_during_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class FullDisk:
        def __enter__(self) -> FullDisk:
            return self

        def __exit__(self, *_: object) -> None: ...

        def write(self, _: bytes) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def opened(path: Path, mode: str) -> FullDisk:
        path.write_bytes(b"ha")
        return FullDisk()

    monkeypatch.setattr(files, "open", opened, raising=False)
    with pytest.raises(OutputError, match="disk is full; free some space"):
        write_bytes(tmp_path / "a.bin", b"half")
    assert names(tmp_path) == set()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_device_that_is_really_full(tmp_path: Path) -> None:

    def write() -> None:
        with atomic_write(tmp_path / "a.bin") as temporary, open("/dev/full", "wb") as full:
            temporary.write_bytes(b"half")
            full.write(b"x" * 100_000)

    with pytest.raises(OutputError, match="disk is full"):
        write()
    assert names(tmp_path) == set()


def test_a_folder_without_write_permission(tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir()
    folder.chmod(0o500)
    try:
        if os.access(folder, os.W_OK):
            pytest.skip("this user may write everywhere (root); the simulated permission error is tested above")
        with pytest.raises(OutputError, match="permission"):
            write_text(folder / "a.txt", "x")
    finally:
        folder.chmod(0o700)


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(OutputError, match="a file where a folder should be"):
        write_text(tmp_path / "taken" / "a.txt", "x")
    with pytest.raises(OutputError, match="a file where a folder should be"):
        make_folder(tmp_path / "taken")


def test_a_folder_where_a_file_should_be(tmp_path: Path) -> None:
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(OutputError, match="a folder where a file should be"):
        write_text(tmp_path / "a.txt", "x")
    assert names(tmp_path) == {"a.txt"}


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="too long"):
        write_text(tmp_path / ("x" * 300), "x")
    assert names(tmp_path) == set()


def test_errors_of_the_caller_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"loss": float("nan")})
    with pytest.raises(OSError, match="cannot write mode") as caught, atomic_write(tmp_path / "a.png"):
        raise OSError("cannot write mode F as PNG")
    assert not isinstance(caught.value, OutputError)
    assert names(tmp_path) == set()


HOLDER = """
import sys, time
from gan2shape.io.files import FolderLock
with FolderLock(sys.argv[1]):
    print("locked", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A second process that holds the lock of ``tmp_path``."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_folder_held_by_another_process_is_refused_by_its_number(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    with pytest.raises(OutputError, match=f"locked by process {holder.pid};") as caught, FolderLock(tmp_path):
        pass
    assert "\n" not in str(caught.value)


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    (tmp_path / f"{files.TEMPORARY_PREFIX}1234-left.png").write_bytes(b"half")
    (tmp_path / "rotate").mkdir()
    (tmp_path / "rotate" / f"{files.TEMPORARY_PREFIX}1234-00.png").write_bytes(b"half")
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / files.LOCK_NAME).exists()
    with FolderLock(tmp_path):
        assert (tmp_path / files.LOCK_NAME).read_text() == f"{os.getpid()}\n"
        assert names(tmp_path) == {files.LOCK_NAME, "rotate"}
        assert names(tmp_path / "rotate") == set()
    assert names(tmp_path) == {"rotate"}


def test_the_lock_is_exclusive_within_a_process_and_released_by_errors(tmp_path: Path) -> None:

    def fail_inside() -> None:
        with FolderLock(tmp_path):
            with pytest.raises(OutputError, match=f"process {os.getpid()}"):
                FolderLock(tmp_path).__enter__()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_inside()
    with FolderLock(tmp_path):
        pass
    assert names(tmp_path) == set()


def test_a_lock_needs_a_folder(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(OutputError, match="a file where a folder should be"), FolderLock(tmp_path / "taken"):
        pass
