"""Help texts, and mistakes of usage in one line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable

import pytest

from gan2shape.cli import main
from gan2shape.cli.parser import GROUPS, VERBS, one_line
from tests.cli.conftest import environment

Mistake = Callable[..., str]


KINDS = {**VERBS, **{f"{group} {name}": kind for group, (_, verbs) in GROUPS.items() for name, kind in verbs.items()}}
"""All verbs, those of two words too."""


def help_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--help"])
    assert not end.value.code
    return capsys.readouterr().out


@pytest.mark.parametrize("verb", KINDS)
def test_every_verb_shows_examples_and_says_something_about_every_flag(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = help_of(verb.split(), capsys)
    examples = [line for line in text.splitlines() if line.startswith("  $ ")]
    assert examples, "an example on a line of its own"
    assert all(line.startswith(f"  $ gan2shape {verb}") for line in examples)
    body = re.sub(r"[│╭╰╮╯─]", " ", text)
    flags = re.split(r"\n\s+(?=--?\w)", body)[1:]
    for flag in flags:
        words = flag.split()
        assert len(words) > 4, f"no help text: {flag}"
        assert "show this help" in flag or re.search(r"\((default:|optional|required)", " ".join(words)), flag


@pytest.mark.parametrize("verb", KINDS)
def test_the_examples_are_understood(
    verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    for name, kind in KINDS.items():
        monkeypatch.setattr(kind, "run", lambda self, name=name: ran.append(name))
    text = help_of(verb.split(), capsys)
    examples = [line.split()[2:] for line in text.splitlines() if line.startswith("  $ ")]
    assert [main(words) for words in examples] == [0] * len(examples)
    assert ran == [verb] * len(examples)


def test_the_everyday_flags_come_before_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(["reconstruct"], capsys).partition("show this help")[2]
    first = text.index("--config.")
    assert all(text.index(flag) < first for flag in ("-o FOLDER", "--mask", "--seed", "--device", "--resume"))


def test_the_help_of_everything_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of([], capsys)
    assert all(f"• {verb} " in text for verb in [*VERBS, *GROUPS])
    assert "\n  $ gan2shape demo " in text
    assert main(["--version"]) == 0
    assert re.fullmatch(r"gan2shape \d+\.\d+.*\n", capsys.readouterr().out)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["reconstruct", "--help"], ["train", "--help"], ["train", "stylegan2", "--help"]]
)
def test_help_loads_no_torch_and_answers_at_once(arguments: list[str]) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "gan2shape", *arguments]
    seconds = []
    for _ in range(3):
        began = children_seconds()
        ended = subprocess.run(command, capture_output=True, text=True, env=environment(), check=True)
        seconds.append(children_seconds() - began)
        loaded = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines()}
        assert not loaded & {"torch", "numpy", "PIL", "trimesh", "safetensors"}
        if min(seconds) < 1:
            break
    assert min(seconds) < 1, "the command's help takes more than a second"


def children_seconds() -> float:
    """Processor time of finished child processes, which does not grow with what else the machine does."""
    times = os.times()
    return times.children_user + times.children_system


def test_no_arguments_is_a_question_for_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([])
    assert not end.value.code
    assert "usage: gan2shape" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["nonsense"], "no verb 'nonsense'; choose one of demo, reconstruct"),
        (["--nonsense"], "Unrecognized"),
        (["reconstruct", "--nonsense"], "Unrecognized options: --nonsense; see gan2shape reconstruct --help"),
        (["reconstruct", "--config.stages.0.albdeo", "1"], "perhaps you meant --config.stages.0.albedo"),
        (["reconstruct", "--config.unknown=3"], "--config.unknown"),
        (["reconstruct", "--config.stages.9.albedo", "1"], "--config.stages.9.albedo"),
        (["reconstruct", "--config.crop", "much"], "--config.crop: expected a number; got 'much'"),
        (["reconstruct", "--preset", "no-such"], "--preset no-such: no such preset; choose one of default, ellip"),
        (["reconstruct", "--preset=no-such"], "--preset no-such: no such preset"),
        (["reconstruct", "--preset"], "--preset"),
        (["reconstruct", "--sample", "three"], "--sample: these values do not fit: ['three']"),
        (["sample", "--count", "many"], "--count: expected a whole number; got 'many'; see gan2shape sample --help"),
        (["sample", "--device", "tpu"], "'tpu'"),
        (["sample", "extra"], "extra"),
        (["render"], "RESULT"),
        (["export", "result", "--format", "stl"], "'stl'"),
        (["evaluate", "results"], "--truth"),
        (
            ["train", "nothing"],
            "no verb 'nothing'; choose one of stylegan2, unsup3d, supervised, encoder, turned, distill, align, probe; "
            "see",
        ),
        (["data", "synface"], "--model PATH"),
    ],
)
def test_a_mistake_of_usage_is_one_line(arguments: list[str], said: str, mistake: Mistake) -> None:
    assert said in mistake(*arguments)


def test_one_line_of_boxes_joins_what_the_terminal_had_broken() -> None:
    boxes = "\x1b[31m╭─ Oh ─────╮\n│ first half │\n│ second half.  │\n│ ────────── │\n│ more │\n╰────────────╯\n"
    assert one_line(boxes) == "first half second half"
    assert one_line("") == "these arguments are not understood"


def test_one_line_of_rules_where_there_are_no_boxes() -> None:
    rules = (
        " Value error          \n -------------------- \n  --flag   \n  missing  \n  -------- \n  more \n          \n"
    )
    assert one_line(rules) == "--flag missing"


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_a_mistake_of_usage_is_one_line_in_every_encoding(encoding: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "gan2shape", "sample", "--count", "x"],
        capture_output=True,
        text=True,
        env={**environment(), "PYTHONIOENCODING": encoding},
        check=False,
    )
    assert ended.returncode == 2
    said = "--count: expected a whole number; got 'x'; see gan2shape sample --help"
    assert ended.stderr == f"gan2shape: Error parsing {said}\n"


def test_cuda_is_asked_for_where_there_is_none(mistake: Mistake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert "PyTorch finds no CUDA GPU here" in mistake("sample", "--device", "cuda")


def test_a_number_of_threads_that_is_not_possible(mistake: Mistake) -> None:
    assert "--threads must be from 0 to 1024; got -1" in mistake("sample", "--threads", "-1")
