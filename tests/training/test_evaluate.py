"""The evaluate stage on a small world with a real, if tiny, network."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contracts.errors import DataError, GateError
from training.data.labelled import LabelledReviews
from training.data.tokens import TokenRows
from training.judge.closer import reliability
from training.judge.headlines import judge_without_headlines
from training.judge.metrics import Floats, paired_difference
from training.judge.verdict import check_calibration, check_floor, check_leak, decide
from training.model.reference import TEST_LOGITS
from training.running.execution import execute
from training.running.folder import read_facts
from training.stages import evaluate

from . import tiny
from .recorder import Recorder


@pytest.fixture(scope="module")
def report(tiny_evaluated: Path) -> dict[str, Any]:
    return dict(json.loads((tiny_evaluated / "report.json").read_text()))


def test_the_report_says_everything_with_intervals(report: dict[str, Any]) -> None:
    assert report["rows"] == {"validation": 100, "test": 200}
    assert list(report["metrics"]) == ["accuracy", "mae", "within_one", "macro_f1", "qwk", "ece", "nll"]
    accuracy = report["metrics"]["accuracy"]
    assert 0.6 < accuracy["low"] < accuracy["value"] < accuracy["high"] < 1
    assert sum(map(sum, report["confusion"])) == 200
    assert set(report["slices"]) == {"category", "length", "star"}
    assert set(report["slices"]["category"]) == set(tiny.CATEGORIES)


def test_the_report_looks_closer_at_confidence_and_errors(report: dict[str, Any]) -> None:
    bins, errors = report["reliability"], report["errors"]
    assert sum(each["rows"] for each in bins) == report["rows"]["test"]
    assert all(each["low"] <= each["right"] <= each["high"] for each in bins)
    assert [each["confidence"] for each in bins] == sorted(each["confidence"] for each in bins)
    off = [abs(each["true"] - each["predicted"]) for each in errors]
    assert off == sorted(off, reverse=True) and off[-1] > 0
    surest = [each["confidence"] for each, far in zip(errors, off, strict=True) if far == off[0]]
    assert surest == sorted(surest, reverse=True)
    assert all(each["row"].startswith("R2-") and each["words"] > 1 for each in errors)


def test_an_interval_of_a_share_is_wilsons() -> None:
    """Of 8 of 10 it is 0.490 to 0.943; that of 4 of 4 has a width too."""
    truth = np.array([1] * 10 + [2] * 4)
    sure = np.array([[0.9, 0.025, 0.025, 0.025, 0.025]] * 8 + [[0.025, 0.025, 0.9, 0.025, 0.025]] * 2)
    half = np.array([[0.1, 0.6, 0.1, 0.1, 0.1]] * 4)
    low, high = reliability(truth, np.concatenate([sure, half]))
    assert (low["rows"], low["right"], low["low"], low["high"]) == (4, 1.0, 0.5101, 1.0)
    assert (high["rows"], high["right"], high["low"], high["high"]) == (10, 0.8, 0.4902, 0.9433)


def test_baselines_are_judged_on_the_same_rows(report: dict[str, Any]) -> None:
    assert report["baselines"]["majority"]["accuracy"]["value"] < 0.3
    assert report["baselines"]["tfidf"]["accuracy"]["value"] > 0.6


def test_calibration_is_written_and_honest(tiny_evaluated: Path, report: dict[str, Any]) -> None:
    calibration = json.loads((tiny_evaluated / "calibration.json").read_text())
    assert calibration == report["calibration"]
    assert calibration["temperature"] > 0
    assert calibration["ece_after"] == report["metrics"]["ece"]["value"]
    assert calibration["rows"] == 100
    assert sum(calibration["star_shares"]) == pytest.approx(1)
    assert report["likely"]["held"]["high"] > 0.8
    assert set(report["as_rated"]) == {"metrics", "told_the_shares"}


def test_facts_hold_the_verdict_and_the_metrics(tiny_evaluated: Path, report: dict[str, Any]) -> None:
    facts = read_facts(tiny_evaluated)
    assert facts["verdict"] == "promote"
    assert "no version in production" in facts["reason"]
    assert facts["metrics"] == report["metrics"]


def test_no_review_text_in_any_artifact(tiny_evaluated: Path) -> None:
    texts = [path.read_text() for path in tiny_evaluated.iterdir() if path.suffix in {".json", ".md"}]
    assert not [word for word in tiny.all_words() for text in texts if f" {word}" in text]


def test_a_category_cannot_break_the_table(tiny_evaluated: Path) -> None:
    assert "| Video\\|Games | " in (tiny_evaluated / "report.md").read_text()


def test_the_stored_logits_are_those_of_the_test_split(
    tiny_evaluated: Path, tiny_inputs: dict[str, Path], report: dict[str, Any]
) -> None:
    logits = np.load(tiny_evaluated / TEST_LOGITS)
    test = LabelledReviews.from_split(tiny_inputs["prepare"], "test")
    hits = (logits.argmax(axis=1) + 1 == test.stars).mean()
    assert hits == pytest.approx(report["as_rated"]["metrics"]["accuracy"]["value"])


def test_a_model_that_learnt_nothing_fails_but_is_reported(tiny_inputs: dict[str, Path], tmp_path: Path) -> None:
    import safetensors.numpy

    broken = tiny.write_convert(tmp_path / "convert", tiny_inputs["train"])
    weights = safetensors.numpy.load_file(broken / "model.safetensors")
    weights["classifier.weight"][:] = 0
    safetensors.numpy.save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    inputs = {"prepare": tiny_inputs["prepare"], "convert": broken}
    with pytest.raises(GateError, match="has not learnt enough"):
        execute(
            evaluate.STAGE,
            evaluate.Config(beat_baseline=False, max_ece=1, max_accuracy=1),
            inputs,
            tmp_path / "evaluate",
            Recorder(),
        )
    assert (tmp_path / "evaluate" / "report.md").exists()
    assert not (tmp_path / "evaluate" / "facts.json").exists()


def test_an_empty_split_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no readable test split"):
        LabelledReviews.from_split(tmp_path, "test")


SURE = {"value": 0.01, "low": 0.0, "high": 0.02}


def compared(ours: list[float], theirs: list[float], slices: dict[str, Any] | None = None) -> dict[str, Any]:
    """A comparison where each list holds one distance from the true star a row."""
    mine, other = np.array(ours), np.array(theirs)
    return {
        "version": "v1",
        "rows": len(ours),
        "difference": {
            "accuracy": paired_difference(1.0 * (mine == 0), 1.0 * (other == 0)),
            "mae": paired_difference(mine, other),
        },
        "slices": slices or {},
    }


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict", "reason"),
    [
        ([0, 0, 0, 1] * 50, [0, 0, 1, 1] * 50, "promote", "better beyond chance: accuracy +25"),
        ([0, 0, 1, 1] * 50, [0, 0, 0, 1] * 50, "keep", "worse beyond chance: accuracy -25"),
        ([0, 0, 1, 1] * 50, [0, 0, 1, 1] * 50, "keep", "neither better nor worse"),
        ([0, 1, 1, 1] * 50, [0, 1, 4, 1] * 50, "promote", "MAE -0.750"),
        ([0, 0, 4, 4] * 50, [0, 1, 1, 4] * 50, "keep", "worse beyond chance"),
        ([0, 1, 0], [1, 0, 1], "keep", "neither better nor worse"),
    ],
)
def test_the_verdict_follows_what_is_beyond_chance(
    ours: list[float], theirs: list[float], verdict: str, reason: str
) -> None:
    found = decide(compared(ours, theirs), SURE, 0.03, 0.03)
    assert found.verdict == verdict
    assert reason in found.reason
    assert "against v1" in found.reason


def test_what_may_be_badly_calibrated_is_not_promoted_and_what_surely_is_fails() -> None:
    perhaps, surely = {"value": 0.02, "low": 0.01, "high": 0.04}, {"value": 0.05, "low": 0.04, "high": 0.06}
    better = compared([0, 0, 0, 1] * 50, [0, 0, 1, 1] * 50)
    assert decide(better, perhaps, 0.03, 0.03).verdict == "keep"
    assert "calibration error may be 0.040" in decide(None, perhaps, 0.03, 0.03).reason
    check_calibration(perhaps, 0.03)
    with pytest.raises(GateError, match=r"calibration error is 0\.050 .* evaluate\.max_ece is 0\.03"):
        check_calibration(surely, 0.03)


def test_a_slice_that_falls_beyond_chance_holds_a_better_model_back() -> None:
    def fallen(value: float, high: float) -> dict[str, Any]:
        return {"star 3": {"n": 250, "accuracy": {"value": value, "low": value - 0.05, "high": high}}}

    for slices, verdict in (
        (fallen(-0.05, -0.01), "keep"),
        (fallen(-0.05, 0.01), "promote"),
        (fallen(-0.02, -0.01), "promote"),
    ):
        found = decide(compared([0, 0, 0, 1] * 50, [0, 0, 1, 1] * 50, slices), SURE, 0.03, 0.03)
        assert found.verdict == verdict
    assert "star 3: accuracy -5.0 %" in decide(compared([0], [1], fallen(-0.05, -0.01)), SURE, 0.03, 0.03).reason


def test_what_is_too_good_to_be_true_is_a_leak() -> None:
    measured = {"accuracy": {"value": 0.81, "low": 0.8, "high": 0.82}}
    check_leak(measured, 0.81)
    with pytest.raises(GateError, match=r"81\.0% of the test split right.*look for what gives the stars away"):
        check_leak(measured, 0.8)


def test_headlines_that_say_the_rating_show(tiny_inputs: dict[str, Path]) -> None:
    """A model that goes by the headlines alone, as if they named the star."""

    class Peeping:
        def logits(self, tokens: TokenRows) -> Floats:
            return np.tile([0.0, 0, 1, 0, 0], (len(tokens), 1))  # without one it says three stars

    test = LabelledReviews.from_split(tiny_inputs["prepare"], "test")
    knowing = np.eye(5)[test.stars - 1]
    found = judge_without_headlines(Peeping(), tiny_inputs["prepare"], test, knowing)
    assert found["rows"] == 200 - len(range(0, 200, 7))  # "Five Stars" is blanked
    assert found["difference"]["accuracy"]["value"] == pytest.approx(-0.8 * found["rows"] / 200, abs=0.03)
    assert found["difference"]["mae"]["low"] > 0.8


def test_the_floor_is_passed_only_by_more() -> None:
    def measured(value: float) -> dict[str, dict[str, float]]:
        return {"accuracy": {"value": value, "low": 0, "high": 1}}

    check_floor(measured(0.21), measured(0.2), "majority")
    with pytest.raises(GateError, match="the tfidf baseline 55.0%"):
        check_floor(measured(0.55), measured(0.55), "tfidf")


@pytest.mark.slow
def test_it_runs_as_a_module_and_names_a_missing_input(tiny_inputs: dict[str, Path], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "training", "evaluate", "--output", str(tmp_path / "out")]
    command += [
        "--set",
        "beat_baseline=false",
        "--set",
        "max_ece=1",
        "--set",
        "max_accuracy=1",
        "--input",
        f"prepare={tiny_inputs['prepare']}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("error: the input 'convert' is missing")
    command += ["--input", f"convert={tiny_inputs['convert']}"]
    subprocess.run(command, capture_output=True, text=True, check=True)
    assert read_facts(tmp_path / "out")["verdict"] == "promote"
