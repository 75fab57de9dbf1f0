"""The report: what it says of the set, of each picture, and of where all of it comes from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gan2shape.evaluate.report import Origin, report
from gan2shape.evaluate.results import Prediction, StoredResult
from gan2shape.evaluate.score import score_result
from gan2shape.evaluate.truth import Truth
from tests.evaluate.heads import POSE, a_head, poses, the_answer
from tests.evaluate.test_results import a_result


def test_a_report_is_json_and_complete(tmp_path: Path) -> None:
    pitch, yaw, *rest = POSE
    head, answer = a_head(), the_answer()
    turned = the_answer(pose=poses((pitch, yaw + 8, *rest)))
    bare = Prediction(answer.depth, answer.hit)
    scores = [score_result(p, head, picture=0) for p in (answer, bare, turned)]
    made_by = {"git_commit": "abc", "generator": {"name": "bundled", "sha256": ""}}
    origins = [Origin("a0", 4, "default", made_by), Origin("b0"), Origin("c0", 2, "default", made_by)]
    found = json.loads(json.dumps(report(scores, origins, head, tmp_path / "truth.npz"), allow_nan=False))
    assert found["truth"] == {"name": "truth.npz", "pictures": 1, "size": 32}
    assert found["seeds"] == [2, 4]
    assert found["presets"] == ["default"]
    assert found["made_by"] == [made_by]
    assert {"gan2shape", "git_commit", "python", "torch", "platform", "device", "threads"} == set(found["environment"])
    first, second, third = found["pictures"]
    assert (first["folder"], first["name"], first["seed"]) == ("a0", "000000", 4)
    assert "seed" not in second
    assert "yaw" not in second
    assert first["yaw"] == pytest.approx(4, abs=1e-3)
    assert third["yaw"] == pytest.approx(4, abs=1e-3)
    assert third["yaw_offset"] == pytest.approx(8, abs=1e-3)
    assert found["measures"]["yaw"]["mean"] == pytest.approx(4, abs=1e-3)
    assert found["measures"]["yaw"]["offset"] == pytest.approx(4, abs=1e-3)
    assert found["left_out"]["light"] == "1 of 3 results have no scene"
    assert str(tmp_path) not in json.dumps(found)


def test_the_origin_of_a_result(tmp_path: Path) -> None:
    result = a_result({"name": "default"})
    stored = StoredResult(tmp_path / "r0", Prediction.of_scene(result.scene, result.camera), result)
    assert Origin.of(stored) == Origin("r0", 5, "default", {})
    assert Origin.of(StoredResult(tmp_path / "r0", stored.prediction, None)) == Origin("r0")


def test_a_truth_without_anything_more() -> None:
    head = a_head()
    truth = Truth(head.depth, head.mask)
    score = score_result(the_answer(), truth)
    found = report([score], [Origin("a")], truth, Path("t.npz"))
    assert set(found["measures"]) == {"side", "mad", "mad_paper", "depth_mae"}
    assert found["seeds"] == []
