"""``gan2shape VERB …``: parse, run, and turn every user's mistake into one line and a non-zero exit status."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from gan2shape._version import __version__
from gan2shape.cli.parser import parse
from gan2shape.errors import UserError

EXIT_MISTAKE = 2
EXIT_INTERRUPTED = 130

_CONDITIONS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM, errno.EMFILE}
"""What the system says of disks and rights: never a fault of the program, wherever it comes up."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, or 2 after a mistake, or 130 after Ctrl-C."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments in (["--version"], ["-V"]):
        sys.stdout.write(f"gan2shape {__version__}\n")
        return 0
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file name that the terminal's encoding does not know must not end a run that took minutes.
        sys.stdout.reconfigure(errors="backslashreplace")
    verb: Any = None
    try:
        verb = parse(arguments or ["--help"])
        verb.run()
    except UserError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        _fail(_interrupted(verb, arguments))
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away (head, less): end quietly, and keep the interpreter from flushing again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (MemoryError, RuntimeError, OSError) as error:
        if _is_out_of_memory(error):
            return _fail(f"out of memory; {getattr(verb, 'memory_advice', 'close other programs')}")
        if isinstance(error, OSError) and error.errno in _CONDITIONS:
            return _fail(f"{error.filename or 'output'}: {error.strerror}")
        raise
    return 0


def _fail(message: str) -> int:
    with contextlib.suppress(BrokenPipeError):
        sys.stderr.write(f"gan2shape: {' '.join(message.split())}\n")
    return EXIT_MISTAKE


def _interrupted(verb: Any, arguments: list[str]) -> str:
    """What to do after Ctrl-C, as a command to copy where there is something to go on from."""
    if not getattr(verb, "resumable", False):
        return "interrupted; the same command starts again from the beginning"
    again = arguments if verb.resume else [*arguments, "--resume"]
    return f"interrupted; to go on after the last finished step: {shlex.join(['gan2shape', *again])}"


def _is_out_of_memory(error: BaseException) -> bool:
    """PyTorch has a class for a full GPU only; a full main memory is a RuntimeError of the allocator."""
    text = str(error)
    signs = ("out of memory", "can't allocate memory", "Cannot allocate memory", "std::bad_alloc")
    full = isinstance(error, OSError) and error.errno == errno.ENOMEM
    return full or isinstance(error, MemoryError) or any(sign in text for sign in signs)
