"""Is the model good, is it honest about how sure it is, and is it better than the one in production?

Calibration is fitted on the validation split; everything else is measured on the test split, which nothing was chosen
on. Both hold reviews as customers rate; what is measured is as if all stars were equally frequent, as the model is
trained to see them, and beside it stands what customers would see. Beside the model stand two baselines that learnt
from the same rows, and the release in production.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from contracts.release.calibration import Calibration
from contracts.review import STARS
from contracts.stages import EvaluateConfig
from training.data.arrays import Floats
from training.data.labelled import LabelledReviews
from training.data.tokens import TokenRows
from training.judge import calibration
from training.judge.baseline import judge_baselines
from training.judge.closer import reliability, worst_errors
from training.judge.headlines import judge_without_headlines
from training.judge.judgement import as_rated, judge
from training.judge.metrics import expected_calibration_error
from training.judge.release import compare_with
from training.judge.report import markdown
from training.judge.verdict import check_calibration, check_floor, check_leak, decide
from training.model.reference import TEST_LOGITS, Progress, ReferenceModel
from training.running.reporting import Reporter
from training.running.stage import Stage

Config = EvaluateConfig


def run(config: Config, inputs: Mapping[str, Path], outputs: Path, report: Reporter) -> dict[str, Any]:
    """Inputs `prepare` and `convert`. Writes report.json, report.md, calibration.json and the test split's logits.

    Raises GateError when the model does not beat the baselines it must; the report is written all the same.
    """
    prepare = inputs["prepare"]
    train, validation, test = (LabelledReviews.from_split(prepare, name) for name in ("train", "validation", "test"))
    model = ReferenceModel(inputs["convert"], config.batch_size)
    fitting = model.logits(TokenRows.stored(prepare, "validation"), _part(report, 0.0, validation))
    logits = model.logits(TokenRows.stored(prepare, "test"), _part(report, 0.35, test))
    np.save(outputs / TEST_LOGITS, logits)
    document, probabilities = _calibrate(fitting, validation, logits, test)

    report.progress(0.7, "learning the baselines from the train split")
    baselines = judge_baselines(train, test)
    production = None
    if config.store:
        report.progress(0.85, f"judging {config.against} on the same rows")
        production = compare_with(config.against, config.store, config.name, prepare, test, probabilities)
    judged = judge(test, probabilities, document.likely, balanced=True)
    verdict = decide(production, judged["metrics"]["ece"], config.max_ece, config.max_slice_drop)
    evaluation = {
        **verdict._asdict(),
        "rows": {"validation": len(validation), "test": len(test)},
        "calibration": document.model_dump(mode="json"),
        **judged,
        "as_rated": as_rated(test, probabilities, document),
        "reliability": reliability(test.stars, probabilities),
        "errors": worst_errors(prepare, "test", probabilities),
        "without_headlines": judge_without_headlines(model, prepare, test, logits),
        "baselines": baselines,
        "production": production,
    }
    (outputs / "calibration.json").write_text(document.model_dump_json(indent=2) + "\n", encoding="utf-8")
    (outputs / "report.json").write_text(json.dumps(evaluation, indent=2) + "\n", encoding="utf-8")
    (outputs / "report.md").write_text(markdown(evaluation), encoding="utf-8")
    report.progress(1.0, f"{verdict.verdict}: {verdict.reason}")
    for name in ("majority", "tfidf") if config.beat_baseline else ("majority",):
        check_floor(judged["metrics"], baselines[name], name)
    check_leak(judged["metrics"], config.max_accuracy)
    check_calibration(judged["metrics"]["ece"], config.max_ece)
    return {
        "calibration": evaluation["calibration"],
        "metrics": judged["metrics"],
        **{f"{name}_accuracy": metrics["accuracy"]["value"] for name, metrics in baselines.items()},
        "rows": evaluation["rows"],
        "production": production["version"] if production else None,
        **verdict._asdict(),
    }


def _calibrate(
    fitting: Floats, validation: LabelledReviews, logits: Floats, test: LabelledReviews
) -> tuple[Calibration, Floats]:
    """What the logits mean, fitted on the validation split's (n, 5), and the test split's probabilities by it."""
    fitted = calibration.fit(
        fitting, validation.stars, calibration.row_weights(validation.stars, validation.categories)
    )
    rated = np.bincount(np.concatenate([validation.stars, test.stars]) - 1, minlength=len(STARS))
    document = Calibration(
        **fitted._asdict(),
        rows=len(validation),
        star_shares=(rated / rated.sum()).round(6).tolist(),
        ece_before=_ece(test, calibration.softmax(logits)),
        ece_after=0,
    )
    probabilities = calibration.probabilities(document, logits)
    return document.model_copy(update={"ece_after": _ece(test, probabilities)}), probabilities


def _ece(reviews: LabelledReviews, probabilities: Floats) -> float:
    return round(expected_calibration_error(reviews.stars, probabilities, balanced=True), 6)


def _part(report: Reporter, start: float, reviews: LabelledReviews) -> Progress:
    """Progress through 0.35 of the stage, from `start` on."""
    return lambda done: report.progress(start + 0.35 * done, f"judging {len(reviews):,} reviews")


STAGE = Stage(
    name="evaluate",
    config=Config,
    run=run,
    needs=("prepare", "convert"),
    share=0.10,
    summary=("metrics", "verdict", "reason"),
)
