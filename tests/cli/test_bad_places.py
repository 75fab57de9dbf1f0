"""Folders that cannot be written, are in use, or fill up, and a memory that is too small."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gan2shape.cli import main
from gan2shape.io import files
from tests.cli.conftest import FEW_STEPS, check_one_line, environment, leftovers

Mistake = Callable[..., str]


def looks_finished(folder: Path) -> bool:
    return (folder / "config.json").exists() or (folder / "contact_sheet.png").exists()


def writing(verb: str, place: Path, picture: Path, finished: Path, tiny: list[str], checkpoint: Path) -> list[str]:
    """The arguments with which a verb writes into ``place``."""
    return {
        "reconstruct": ["reconstruct", str(picture), *tiny, "-o", str(place)],
        "sample": ["sample", "--generator", str(checkpoint), "--count", "2", "--threads", "1", "-o", str(place)],
        "render": ["render", str(finished), "--threads", "1", "--size", "16", "-o", str(place)],
        "export": ["export", str(finished), "--format", "glb", "-o", str(place / "a.glb")],
    }[verb]


VERBS = ("reconstruct", "sample", "render", "export")


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("place", ["below a file", "/proc/gan2shape"])
def test_a_place_that_cannot_be_a_folder(
    verb: str,
    place: str,
    tmp_path: Path,
    picture: Path,
    finished: Path,
    tiny: list[str],
    checkpoint: Path,
    mistake: Mistake,
) -> None:
    if place.startswith("/proc") and not Path("/proc/self").exists():
        pytest.skip("no /proc here")
    (tmp_path / "file").write_text("a file")
    out = tmp_path / "file" / "out" if place == "below a file" else Path(place)
    said = mistake(*writing(verb, out, picture, finished, tiny, checkpoint))
    assert "expected a place that can be written" in said
    assert (tmp_path / "file").read_text() == "a file"


def without_privileges() -> list[str]:
    """What to put before a command so that permissions hold for it even where the tests run as root."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("the tests run as root, and there is no setpriv; the next test simulates the refusal")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]


def test_a_folder_without_permission(tmp_path: Path, checkpoint: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    sampling = ["sample", "--generator", str(checkpoint), "--count", "1", "--threads", "1", "-o", str(closed)]
    ended = subprocess.run(
        [*without_privileges(), sys.executable, "-m", "gan2shape", *sampling],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    check_one_line(ended.stderr)
    assert "no permission to write here; choose another folder" in ended.stderr
    assert list(closed.iterdir()) == []


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("number, said", [(errno.EACCES, "no permission"), (errno.EROFS, "read-only")])
def test_a_refusal_of_the_system(
    verb: str,
    number: int,
    said: str,
    tmp_path: Path,
    picture: Path,
    finished: Path,
    tiny: list[str],
    checkpoint: Path,
    mistake: Mistake,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    out = tmp_path / "out"
    monkeypatch.setattr(files.os, "replace", refuse)
    assert said in mistake(*writing(verb, out, picture, finished, tiny, checkpoint))
    assert leftovers(out) == []
    assert [file for file in out.rglob("*") if file.is_file()] == []


@pytest.fixture
def other_run(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A folder that another process is using, and that process's number."""
    folder = tmp_path / "out" / "quarters_0"
    code = (
        "import sys\n"
        "from gan2shape.io.files import FolderLock\n"
        f"with FolderLock({str(folder)!r}):\n"
        "    print('locked', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield folder, process.pid
        process.communicate()


def test_a_folder_that_another_run_is_using(
    other_run: tuple[Path, int], picture: Path, tiny: list[str], mistake: Mistake
) -> None:
    folder, number = other_run
    said = mistake("reconstruct", picture, *tiny, "-o", folder.parent)
    assert f"locked by process {number}" in said
    assert {file.name for file in folder.iterdir()} == {files.LOCK_NAME}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 100 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(place)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("no mount command here; the next test limits the size of files instead")
    if done.returncode:
        pytest.skip("this user may not mount; the next test limits the size of files instead")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("verb", ["reconstruct", "sample"])
def test_a_full_disk(
    verb: str,
    small_disk: Path,
    picture: Path,
    finished: Path,
    tiny: list[str],
    checkpoint: Path,
    mistake: Mistake,
) -> None:
    arguments = writing(verb, small_disk, picture, finished, tiny, checkpoint)
    if verb == "sample":
        arguments[arguments.index("2")] = "200"
    assert "the disk is full; free some space" in mistake(*arguments)
    assert leftovers(small_disk) == []
    assert not looks_finished(small_disk / "quarters_0")
    assert not (small_disk / "grid.png").exists()


LIMITED = """
import resource, sys
from gan2shape.cli import main
kind, limit = sys.argv[1], int(sys.argv[2])
if kind == "memory":
    import torch, gan2shape.reconstruct.pipeline, gan2shape.cli.inputs
    torch.set_num_threads(1)
    torch.nn.functional.conv2d(torch.ones(1, 1, 8, 8), torch.ones(1, 1, 3, 3))
    limit += int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
number = {"memory": resource.RLIMIT_AS, "file": resource.RLIMIT_FSIZE}[kind]
resource.setrlimit(number, (limit, resource.getrlimit(number)[1]))
sys.exit(main(sys.argv[3:]))
"""


def limited(kind: str, limit: int, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """The command in a process that may have only ``limit`` bytes in a file, or more of memory."""
    return subprocess.run(
        [sys.executable, "-c", LIMITED, kind, str(limit), *arguments],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=120,
        check=False,
    )


@pytest.mark.usefixtures("numbers_only")
def test_a_file_that_grows_too_large(tmp_path: Path, picture: Path, tiny: list[str]) -> None:
    """RLIMIT_FSIZE: the signal that it sends must not kill the run, and the next run goes on."""
    arguments = ["reconstruct", str(picture), *tiny, "-o", str(tmp_path / "out")]
    ended = limited("file", 20_000, arguments)
    assert ended.returncode == 2, ended.stderr
    check_one_line(ended.stderr)
    assert "larger than the system allows" in ended.stderr
    folder = tmp_path / "out" / "quarters_0"
    assert leftovers(folder) == []
    assert not looks_finished(folder)
    assert main([*arguments, "--resume"]) == 0
    assert looks_finished(folder)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the size of a process is read from /proc")
def test_out_of_memory(tmp_path: Path, picture: Path, tiny: list[str]) -> None:
    few = [*tiny, "--config.optimizer.batch-size", "200000"]
    ended = limited("memory", 400_000_000, ["reconstruct", str(picture), "-o", str(tmp_path / "out"), *few])
    assert ended.returncode == 2, ended.stderr
    check_one_line(ended.stderr)
    assert "out of memory; close other programs, or start anew with a smaller" in ended.stderr
    assert leftovers(tmp_path) == []
    assert not looks_finished(tmp_path / "out" / "quarters_0")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes"),
        RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB."),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_every_kind_of_full_memory(
    error: Exception, tmp_path: Path, checkpoint: Path, mistake: Mistake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("gan2shape.generators.load_generator", full)
    assert "out of memory" in mistake("sample", "--generator", checkpoint, "-o", tmp_path / "out")


def test_few_steps_are_flags_of_the_command() -> None:
    assert all(word.startswith("--") for word in FEW_STEPS[::2])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_standard_output_on_a_full_disk() -> None:
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "gan2shape", "reconstruct", "--dry-run"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
            check=False,
        )
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[0] == "gan2shape: output: No space left on device"
    assert "Traceback" not in ended.stderr


def test_a_reader_that_goes_away() -> None:
    command = f"{sys.executable} -m gan2shape reconstruct --dry-run | head -1"
    ended = subprocess.run(command, shell=True, capture_output=True, text=True, env=environment(), check=False)
    assert ended.stdout == "{\n"
    assert ended.stderr == ""
