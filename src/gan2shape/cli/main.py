"""``gan2shape VERB …``: parse, run, and turn every user's mistake into one line and a non-zero exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any, Union

import tyro

from gan2shape._version import __version__
from gan2shape.cli.demo import Demo
from gan2shape.cli.evaluate import Evaluate
from gan2shape.cli.export import Export
from gan2shape.cli.info import Info
from gan2shape.cli.reconstruct import Reconstruct, preset_of
from gan2shape.cli.render import Render
from gan2shape.cli.sample import Sample
from gan2shape.errors import UserError

_DESCRIPTION = """One picture and a 2D GAN in, the object in 3D out.

Start with: gan2shape demo
Then your own: gan2shape reconstruct PICTURE.png -o results"""

EXIT_MISTAKE = 2
EXIT_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, or 2 after a mistake, or 130 after Ctrl-C."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments in (["--version"], ["-V"]):
        sys.stdout.write(f"gan2shape {__version__}\n")
        return 0
    try:
        verb = _parse(arguments or ["--help"])
        verb.run()
    except UserError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        _fail("interrupted; the same command with --resume goes on after the last finished step")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away (head, less): end quietly, and keep the interpreter from flushing again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        return _fail("out of memory; use a smaller --config.optimizer.batch-size or generator, or --device cpu")
    return 0


def _parse(arguments: list[str]) -> Any:
    """The verb that the arguments describe; tyro itself ends the program after --help or a wrong flag."""
    reconstruct = Reconstruct(config=preset_of(arguments))
    verbs = (
        (Demo, "demo", Demo()),
        (Reconstruct, "reconstruct", reconstruct),
        (Sample, "sample", Sample()),
        (Render, "render", tyro.MISSING),
        (Export, "export", tyro.MISSING),
        (Evaluate, "evaluate", tyro.MISSING),
        (Info, "info", Info()),
    )
    kinds = tuple(
        Annotated[kind, tyro.conf.subcommand(name, default=default)]  # type: ignore[valid-type]
        if default is not tyro.MISSING
        else Annotated[kind, tyro.conf.subcommand(name)]  # type: ignore[valid-type]
        for kind, name, default in verbs
    )
    return tyro.cli(Union[kinds], prog="gan2shape", description=_DESCRIPTION, args=arguments)  # type: ignore[call-overload]  # noqa: UP007


def _fail(message: str) -> int:
    sys.stderr.write(f"gan2shape: {' '.join(message.split())}\n")
    return EXIT_MISTAKE


def _is_out_of_memory(error: BaseException) -> bool:
    """PyTorch has a class for a full GPU only; a full main memory is a RuntimeError of the allocator."""
    text = str(error)
    return isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text
