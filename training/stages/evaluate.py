"""Is the model good, is it honest about how sure it is, and is it better than the one in production?

The temperature is fitted on the validation split; everything else is measured on the test split, which nothing was
chosen on. Beside the model stand two baselines that learnt from the same rows, and the release in production.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from contracts.stages import EvaluateConfig
from training.data.labelled import LabelledReviews
from training.data.tokens import TokenRows
from training.judge.baseline import judge_baselines
from training.judge.calibration import fit_temperature, softmax
from training.judge.judgement import judge
from training.judge.metrics import expected_calibration_error
from training.judge.release import compare_with
from training.judge.report import markdown
from training.judge.verdict import check_floor, decide
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
    temperature = fit_temperature(fitting, validation.stars)
    probabilities = softmax(logits, temperature)

    report.progress(0.7, "learning the baselines from the train split")
    baselines = judge_baselines(train, test)
    production = None
    if config.store:
        report.progress(0.85, f"judging {config.against} on the same rows")
        production = compare_with(config.against, config.store, config.name, prepare, test, probabilities)
    judged = judge(test, probabilities)
    calibration = {
        "temperature": temperature,
        "ece_before": round(expected_calibration_error(test.stars, softmax(logits)), 6),
        "ece_after": judged["metrics"]["ece"]["value"],
    }
    verdict = decide(production)
    evaluation = {
        **verdict._asdict(),
        "rows": {"validation": len(validation), "test": len(test)},
        **calibration,
        **judged,
        "baselines": baselines,
        "production": production,
    }
    (outputs / "calibration.json").write_text(json.dumps(calibration, indent=2) + "\n", encoding="utf-8")
    (outputs / "report.json").write_text(json.dumps(evaluation, indent=2) + "\n", encoding="utf-8")
    (outputs / "report.md").write_text(markdown(evaluation), encoding="utf-8")
    report.progress(1.0, f"{verdict.verdict}: {verdict.reason}")
    for name in ("majority", "tfidf") if config.beat_baseline else ("majority",):
        check_floor(judged["metrics"], baselines[name], name)
    return {
        **calibration,
        "metrics": judged["metrics"],
        **{f"{name}_accuracy": metrics["accuracy"]["value"] for name, metrics in baselines.items()},
        "rows": evaluation["rows"],
        "production": production["version"] if production else None,
        **verdict._asdict(),
    }


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
