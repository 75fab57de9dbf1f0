"""From arguments to a verb: tyro does the work, and its boxes of errors become one line."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import io
import re
import sys
from typing import Annotated, Any, Union

import tyro

from gan2shape.cli.convert import Convert
from gan2shape.cli.coverage import Coverage
from gan2shape.cli.data import Pack, Synface
from gan2shape.cli.demo import Demo
from gan2shape.cli.evaluate import Evaluate
from gan2shape.cli.export import Export
from gan2shape.cli.info import Info
from gan2shape.cli.invert import Invert
from gan2shape.cli.pretrain import Pretrain
from gan2shape.cli.reconstruct import Reconstruct, preset_of
from gan2shape.cli.render import Render
from gan2shape.cli.sample import Sample
from gan2shape.cli.train_align import Align
from gan2shape.cli.train_baselines import Supervised, Unsup3d
from gan2shape.cli.train_distill import Distill
from gan2shape.cli.train_encoder import Encoder
from gan2shape.cli.train_probe import Probe
from gan2shape.cli.train_stylegan2 import Stylegan2
from gan2shape.cli.train_turned import Turned
from gan2shape.errors import UserError

VERBS = {
    "demo": Demo,
    "reconstruct": Reconstruct,
    "invert": Invert,
    "pretrain": Pretrain,
    "sample": Sample,
    "render": Render,
    "export": Export,
    "evaluate": Evaluate,
    "coverage": Coverage,
    "convert": Convert,
    "info": Info,
}

GROUPS: dict[str, tuple[str, dict[str, Any]]] = {
    "data": ("Render and pack pictures with their truth", {"synface": Synface, "pack": Pack}),
    "train": (
        "Train networks on many pictures",
        {
            "stylegan2": Stylegan2,
            "unsup3d": Unsup3d,
            "supervised": Supervised,
            "encoder": Encoder,
            "turned": Turned,
            "distill": Distill,
            "align": Align,
            "probe": Probe,
        },
    ),
}
"""Verbs of two words: the first, what it is about, and the second words."""

# tyro keeps a line break before a line that does not begin with a letter.
_DESCRIPTION = """One picture and a 2D GAN in, the object in 3D out.
  $ gan2shape demo                                  a bundled picture, in half a minute
  $ gan2shape reconstruct picture.png -o results    your own
  $ gan2shape VERB --help                           flags and examples of a verb
  $ gan2shape --version"""

_PLAINER = {
    r"invalid literal for int\(\) with base \d+: ": "expected a whole number; got ",
    r"could not convert string to float: ": "expected a number; got ",
    r"Could not find valid parse for arguments: ": "these values do not fit: ",
}


def parse(arguments: list[str]) -> Any:
    """The verb, a frozen dataclass with ``run``, that the arguments describe.

    Raises:
        UserError: arguments that no verb understands.
        SystemExit: status 0 after ``--help``.
    """
    program, verbs, about = "gan2shape", VERBS, _DESCRIPTION
    if arguments[0] in GROUPS:
        program, (about, verbs), arguments = f"gan2shape {arguments[0]}", GROUPS[arguments[0]], arguments[1:]
    name, *rest = arguments or ["--help"]
    if name not in verbs:
        known = _descriptions(verbs) | ({} if verbs is not VERBS else _group_descriptions())
        if not name.startswith("-"):
            raise UserError(f"no verb {name!r}; choose one of {', '.join(known)}; see {program} --help")
        return _quietly(program, Union[_listed(known)], args=[name, *rest], description=about)  # noqa: UP007
    kind = verbs[name]
    preset = getattr(kind, "default_preset", None)
    defaults = {} if preset is None else {"default": kind(config=preset_of(rest, preset))}
    return _quietly(f"{program} {name}", kind, args=rest, description=inspect.getdoc(kind), **defaults)


def one_line(boxes: str) -> str:
    """The gist of tyro's boxed error: its first section, and the flags that it proposes instead."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", boxes)
    sections: list[list[str]] = [[]]
    for line in plain.splitlines():
        text = line.strip("│ \t")
        if text and not text.strip("─-"):
            sections.append([])
        elif text and not text.startswith(("╭", "╰")):
            sections[-1].append(text)
    if "╭" not in plain:
        # Where standard output is no UTF-8, tyro draws rules only, one of them below the title.
        sections = sections[1:] or [[]]
    gist = " ".join(sections[0]).rstrip(".;:")
    for pattern, words in _PLAINER.items():
        gist = re.sub(pattern, words, gist)
    proposals = [text.split()[0].rstrip(",") for section in sections[1:] for text in section if text.startswith("--")]
    if gist.startswith("Unrecognized") and proposals:
        gist += f"; perhaps you meant {' or '.join(dict.fromkeys(proposals[:2]))}"
    return gist or "these arguments are not understood"


def _descriptions(verbs: dict[str, Any]) -> dict[str, str]:
    """The first line of what each verb says of itself."""
    return {name: (inspect.getdoc(kind) or "").partition("\n")[0] for name, kind in verbs.items()}


def _group_descriptions() -> dict[str, str]:
    """What the first words of two-word verbs are about, and the second words."""
    return {name: f"{about}: {', '.join(verbs)}." for name, (about, verbs) in GROUPS.items()}


def _listed(descriptions: dict[str, str]) -> Any:
    """Verbs for a list: classes without their flags, which would take tyro a second to collect."""
    return tuple(
        Annotated[dataclasses.make_dataclass("Verb", [], frozen=True), tyro.conf.subcommand(name, description=text)]
        for name, text in descriptions.items()
    )


def _quietly(program: str, kind: Any, **options: Any) -> Any:
    """``tyro.cli`` with its errors as `UserError`."""
    boxes = io.StringIO()
    try:
        with contextlib.redirect_stderr(boxes):
            return tyro.cli(kind, prog=program, **options)
    except SystemExit as end:
        if end.code:
            raise UserError(f"{one_line(boxes.getvalue())}; see {program} --help") from None
        sys.stderr.write(boxes.getvalue())
        raise
