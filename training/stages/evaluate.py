"""Is the model good, is it honest about how sure it is, and is it better than the one in production?

The temperature is fitted on the validation split; everything else is measured on the test split, which nothing was
chosen on. Beside the model stand two baselines that learnt from the same rows, and the release in production.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple

import numpy as np

from contracts.errors import DataError, GateError, NotFound
from contracts.release import channels
from contracts.release.reference import find, resolve
from contracts.release.release import Release
from contracts.stages import EvaluateConfig
from contracts.store.urls import open_store
from training.data.labelled import LabelledReviews, answerable, prepared_encoder, read_labelled
from training.judge import baseline
from training.judge.calibration import fit_temperature, softmax
from training.judge.metrics import (
    Floats,
    Interval,
    Ints,
    confusion,
    expected_calibration_error,
    measure,
    paired_difference,
    predicted_stars,
    slices,
)
from training.judge.report import markdown
from training.model.reference import Predictor, Progress
from training.running.reporting import Reporter
from training.running.stage import Stage

Config = EvaluateConfig
TEST_LOGITS = "test_logits.npy"


class Verdict(NamedTuple):
    """Whether a candidate should replace what is in production, and why."""

    verdict: Literal["promote", "keep"]
    reason: str


def run(config: Config, inputs: Mapping[str, Path], outputs: Path, report: Reporter) -> dict[str, Any]:
    """Inputs `prepare` and `convert`. Writes report.json, report.md, calibration.json and the test split's logits.

    Raises GateError when the model does not beat the baselines it must; the report is written all the same.
    """
    validation, test = (LabelledReviews.from_split(inputs["prepare"], split) for split in ("validation", "test"))
    encoder = prepared_encoder(inputs["prepare"])
    predictor = Predictor(inputs["convert"], config.batch_size)
    fitting, logits = (
        predictor.logits(encoder.encode(reviews.segments), _part(report, start, f"judging {len(reviews):,} reviews"))
        for reviews, start in ((validation, 0.0), (test, 0.35))
    )
    np.save(outputs / TEST_LOGITS, logits)
    temperature = fit_temperature(fitting, validation.stars)
    probabilities = softmax(logits, temperature)

    report.progress(0.7, "learning the baselines from the train split")
    baselines = _baselines(inputs["prepare"], test)
    production = None
    if config.store:
        report.progress(0.85, f"judging {config.against} on the same rows")
        production = _production(config, test, probabilities)
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


STAGE = Stage(
    name="evaluate",
    config=Config,
    run=run,
    needs=("prepare", "convert"),
    share=0.10,
    summary=("metrics", "verdict", "reason"),
)


def judge(reviews: LabelledReviews, probabilities: Floats) -> dict[str, Any]:
    """metrics with intervals, slices and the confusion matrix of probabilities (n, 5)."""
    predicted = predicted_stars(probabilities)
    return {
        "metrics": measure(reviews.stars, probabilities),
        "slices": slices(reviews.stars, predicted, reviews.categories, reviews.body_words),
        "confusion": confusion(reviews.stars, predicted).tolist(),
    }


def decide(production: Mapping[str, Any] | None) -> Verdict:
    """Promote what is better beyond chance in accuracy or in MAE, and worse beyond chance in neither."""
    if production is None:
        return Verdict("promote", "There is no version in production to compare with.")
    accuracy, mae = production["difference"]["accuracy"], production["difference"]["mae"]
    found = (
        f"accuracy {accuracy['value']:+.1%} ({accuracy['low']:+.1%} to {accuracy['high']:+.1%}), "
        f"MAE {mae['value']:+.3f} ({mae['low']:+.3f} to {mae['high']:+.3f}) "
        f"against {production['version']} on {production['rows']:,} reviews"
    ).replace("%", " %")
    if accuracy["high"] < 0 or mae["low"] > 0:
        return Verdict("keep", f"The new model is worse beyond chance: {found}.")
    if accuracy["low"] > 0 or mae["high"] < 0:
        return Verdict("promote", f"The new model is better beyond chance: {found}.")
    return Verdict("keep", f"The new model is neither better nor worse beyond chance: {found}.")


def check_floor(metrics: Mapping[str, Interval], floor: Mapping[str, Interval], name: str) -> None:
    """Raises GateError unless the accuracy is higher than the baseline's."""
    ours, theirs = metrics["accuracy"]["value"], floor["accuracy"]["value"]
    if ours <= theirs:
        raise GateError(
            f"the model gets {ours:.1%} of the test split right and the {name} baseline {theirs:.1%}: "
            "it has not learnt enough to be released. Train longer, or on more data"
        )


def evaluate_release(
    reference: str,
    data: Sequence[Path],
    store: str | None = None,
    limit: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Judge a release on labelled TSV files; nothing is trained. The result is JSON-able and holds no review text.

    `reference` is "bundled", the folder of a release, a version or a channel of `store` (default: the bundled store).
    Headlines that name the star are blanked, as for every review. Rows that cannot be judged are skipped and counted.
    Raises ReleaseError, NotFound or StoreError for the release, DataError for the data.
    """
    reviews, skipped = read_labelled(data, limit)
    with TemporaryDirectory(prefix="stars-") as folder:
        release = find(reference, open_store(store) if store else None, Path(folder))
        rows, logits, unread = release_logits(release, reviews, progress)
    if len(rows) == 0:
        raise DataError(
            "every review is over the release's token limit, and it refuses such reviews: bring shorter ones"
        )
    reviews = reviews.take(rows)
    judged = judge(reviews, softmax(logits, release.manifest.temperature))
    metrics = judged.pop("metrics")
    return {
        "n": len(reviews),
        **{name: measured["value"] for name, measured in metrics.items()},
        "ece_untempered": round(expected_calibration_error(reviews.stars, softmax(logits)), 6),
        "intervals": {name: [measured["low"], measured["high"]] for name, measured in metrics.items()},
        **judged,
        "skipped": asdict(skipped) | {"too_many_tokens": 0} | unread,
        "model": release.manifest.name,
        "version": release.manifest.version,
        "temperature": release.manifest.temperature,
    }


def release_logits(
    release: Release, reviews: LabelledReviews, progress: Progress | None = None
) -> tuple[Ints, Floats, dict[str, int]]:
    """The numbers of the rows that a release answers, its raw logits for them, and why it answers no others."""
    rows, encoded, unread = answerable(release.encoder(), reviews.segments)
    logits = Predictor(release.folder).logits(encoded, progress)
    return rows, logits, unread


def _part(report: Reporter, start: float, message: str) -> Progress:
    """Progress through 0.35 of the stage, from `start` on."""
    return lambda done: report.progress(start + 0.35 * done, message)


def _baselines(prepare: Path, test: LabelledReviews) -> dict[str, dict[str, Interval]]:
    train = LabelledReviews.from_split(prepare, "train")
    return {
        "majority": measure(test.stars, baseline.majority(train.stars, len(test))),
        "tfidf": measure(test.stars, baseline.tfidf(train.texts, train.stars, test.texts)),
    }


def _production(config: Config, test: LabelledReviews, candidate: Floats) -> dict[str, Any] | None:
    """The release to compare with on the same rows; None where the channel points nowhere or it answers none."""
    store = open_store(config.store)
    try:
        version = resolve(store, config.against, config.name)
    except NotFound:
        if config.against in {channels.PRODUCTION, channels.CANDIDATE}:
            return None
        raise
    with TemporaryDirectory(prefix="stars-") as folder:
        release = find(version, store, Path(folder), config.name)
        rows, logits, _ = release_logits(release, test)
    if len(rows) == 0:
        return None
    truth, ours, theirs = test.stars[rows], predicted_stars(candidate[rows]), predicted_stars(logits)
    return {
        "version": version,
        "rows": len(rows),
        "metrics": measure(truth, softmax(logits, release.manifest.temperature)),
        "difference": {
            "accuracy": paired_difference(1.0 * (ours == truth), 1.0 * (theirs == truth)),
            "mae": paired_difference(1.0 * np.abs(ours - truth), 1.0 * np.abs(theirs - truth)),
        },
    }
