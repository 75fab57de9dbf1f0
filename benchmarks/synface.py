"""The table of the SynFace benchmark: every method on the same pictures, scored by the same measures.

    python benchmarks/synface.py --truth synface64_val.npz --pictures 0-9 --seeds 0 1 2 --workers 2 --baselines FOLDER

Cheap rows (no seed, one pass) answer for all pictures of the truth file and are also summarised on the chosen ones;
rows that take minutes answer for the chosen pictures, the paper's schedule with the first seed alone. Every answer is
kept in build/synface/ as soon as it is there, so that a run that was stopped goes on where it was; an answer is used
again only while its pictures, preset, generator and weights are the same (changes of the code it does not see: empty
the folder then). Rows that no change concerns may be taken over from the earlier result file, with a note that says of
when they are: --keep paper-synface "commit 8c43d75, 2026-11-28". Each of the workers computes with one thread. Writes
benchmarks/results/synface.json; synface_figure.py makes the table and the figure of it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
import os
import statistics
from pathlib import Path
from typing import Any

from common import machine, write_result
from kept import read
from reconstruct import picture_numbers

KEPT = Path(__file__).parents[1] / "build" / "synface"
ONE_SEED = ("paper-synface", "paper-synface+pretrained", "from_ellipsoid")


def main() -> None:
    """Compute what is missing, and summarise everything."""
    options = parsed()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from gan2shape.networks.turned import TURNED, bundled_turned
    from synface_rows import all_rows

    files = {name: options.baselines / f"{name}.safetensors" for name in ("supervised", "unsup3d")}
    weights = {TURNED: bundled_turned(), **{name: file for name, file in files.items() if file.exists()}}
    earlier = kept_rows(read(options.name), dict(options.keep), options.pictures)
    rows = [row for row in all_rows(options.truth, weights, options.presets, options.device) if row.key not in earlier]
    chosen = picture_numbers(options.pictures)
    tasks = [task for row in rows for task in tasks_of(row, options, chosen) if not kept(row, *task[1:]).exists()]
    print(f"{len(tasks)} answers to compute, {options.workers} workers", flush=True)
    start = (options.truth, weights, options.presets, options.device)
    with multiprocessing.get_context("spawn").Pool(options.workers, begin, start) as pool:
        for done, line in enumerate(pool.imap_unordered(answer_one, tasks, chunksize=1), start=1):
            print(f"{done:4d} of {len(tasks)}  {line}", flush=True)
    summaries = [summarise(row, tasks_of(row, options, chosen), chosen) for row in rows]
    dear = {row.key for row in rows if row.dear}
    summaries = with_earlier(summaries, earlier, dear)
    facts = {**machine(options.device), "workers": options.workers, "threads_used": 1}
    result = {"machine": facts, "pictures": options.pictures, "seeds": options.seeds, "rows": summaries}
    print(f"written: {write_result(options.name, result)}")


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument(
        "--baselines",
        type=Path,
        default=Path(__file__).parent / "weights",
        help="folder of supervised.safetensors and unsup3d.safetensors, each with the history of its training (.jsonl)",
    )
    parser.add_argument("--pictures", default="0-9", help="of the rows that take minutes")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--presets", nargs="*", default=["paper-synface", "paper-synface+pretrained", "ellipsoid", "default"]
    )
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda with one worker")
    parser.add_argument("--keep", nargs=2, action="append", default=[], metavar=("KEY", "WHEN"), help="see above")
    parser.add_argument("--name", default="synface", help="name of the result file")
    return parser.parse_args()


def kept_rows(result: dict[str, Any], keep: dict[str, str], pictures: str) -> dict[str, dict[str, Any]]:
    """The rows of an earlier result that are to be taken over, by key, each with its note."""
    found = {row["key"]: {**row, "note": keep[row["key"]]} for row in result.get("rows", []) if row["key"] in keep}
    if missing := sorted(set(keep) - set(found)):
        raise SystemExit(f"--keep: expected rows of the earlier result; got {', '.join(missing)}")
    if found and result["pictures"] != pictures:
        raise SystemExit(f"--keep: expected a result of pictures {pictures}; got {result['pictures']}")
    return found


def with_earlier(
    rows: list[dict[str, Any]], earlier: dict[str, dict[str, Any]], dear: set[str]
) -> list[dict[str, Any]]:
    """Rows with those of an earlier result before the first one that takes minutes."""
    place = next((number for number, row in enumerate(rows) if row["key"] in dear), len(rows))
    return [*rows[:place], *earlier.values(), *rows[place:]]


def tasks_of(row: Any, options: argparse.Namespace, chosen: list[int]) -> list[tuple[str, int, int]]:
    """Row key, picture and seed of every answer that the table needs of a row."""
    from gan2shape.evaluate.truth import read_truth

    seeds = options.seeds[:1] if row.key in ONE_SEED else options.seeds if row.seeded else [0]
    pictures = chosen if row.dear else range(read_truth(options.truth).count)
    return [(row.key, picture, seed) for seed in seeds for picture in pictures]


def kept(row: Any, picture: int, seed: int) -> Path:
    """The file of one answer."""
    return KEPT / row.folder / f"{picture:06d}-{seed}.safetensors"


_ROWS: dict[str, Any] = {}
_TRUTH: list[Any] = []


def begin(truth_file: Path, weights: dict[str, Path], presets: list[str], device: str) -> None:
    """What a worker reads once."""
    import torch

    from gan2shape.evaluate.truth import read_truth
    from synface_rows import all_rows

    torch.set_num_threads(1)
    _ROWS.update({row.key: row for row in all_rows(truth_file, weights, presets, device)})
    _TRUTH.append(read_truth(truth_file))


def answer_one(task: tuple[str, int, int]) -> str:
    """Compute, score and keep one answer; a line for the log."""
    import torch

    from gan2shape.evaluate.score import score_result
    from gan2shape.io.checkpoints import write_tensors

    key, picture, seed = task
    row, truth = _ROWS[key], _TRUTH[0]
    torch.manual_seed(seed)
    answer = row.answer(picture, seed)
    score = score_result(answer.prediction, truth.item(picture), picture=picture, paint=answer.paint)
    prediction = answer.prediction
    tensors = {"depth": prediction.depth, "hit": prediction.hit}
    if prediction.scene is not None:
        scene = prediction.scene
        tensors |= {"canonical_depth": scene.depth, "albedo": scene.albedo, "rotation": scene.pose.rotation}
        tensors |= {"translation": scene.pose.translation, "ambient": scene.lighting.ambient}
        tensors |= {"diffuse": scene.lighting.diffuse, "direction": scene.lighting.direction}
        tensors |= {"pivot_depth": torch.tensor(prediction.scene_camera.pivot_depth)}
    record = {"score": dataclasses.asdict(score), "seconds": answer.seconds, **answer.notes}
    write_tensors(kept(row, picture, seed), tensors, {"record": json.dumps(record)})
    return f"{key} picture {picture} seed {seed}: SIDE {score.side:.3f} MAD {score.mad:.2f} ({answer.seconds:.1f} s)"


def summarise(row: Any, tasks: list[tuple[str, int, int]], chosen: list[int]) -> dict[str, Any]:
    """One row: mean ± std over pictures of every measure, on the chosen pictures and on all; spread over seeds."""
    from gan2shape.evaluate.score import Score, summary
    from gan2shape.io.checkpoints import read_metadata

    records = {task: json.loads(read_metadata(kept(row, *task[1:]))["record"]) for task in tasks}
    scores = {task: Score(**record["score"]) for task, record in records.items()}
    seeds = sorted({seed for _, _, seed in tasks})
    of_chosen = [score for (_, picture, _), score in scores.items() if picture in chosen]
    by_seed = [summary([s for (_, p, k), s in scores.items() if k == seed and p in chosen]) for seed in seeds]
    over_seeds = {
        name: round(statistics.pstdev(means[name]["mean"] for means in by_seed), 4) for name in ("side", "mad")
    }
    everything = {} if row.dear else {"all": summary(list(scores.values()))}
    psnr = [record["inversion_psnr_db"] for record in records.values() if "inversion_psnr_db" in record]
    return {
        "row": row.name,
        "key": row.key,
        "note": row.note,
        "folder": row.folder,
        "chosen": summary(of_chosen),
        **everything,
        "seeds": seeds if row.seeded else [],
        "std_over_seeds": over_seeds if len(seeds) > 1 else {},
        "seconds_median": round(statistics.median(record["seconds"] for record in records.values()), 3),
        "inversion_psnr_db_mean": round(statistics.fmean(psnr), 2) if psnr else None,
        "pictures": [{"seed": seed, **dataclasses.asdict(score)} for (_, _, seed), score in scores.items()],
    }


if __name__ == "__main__":
    main()
