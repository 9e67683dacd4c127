"""A release on labelled reviews: `stars evaluate`, and the comparison of a new model with the one in production."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np

from contracts.errors import DataError, NotFound
from contracts.release import channels
from contracts.release.lookup import find, resolve
from contracts.release.release import Release
from contracts.review import STARS
from contracts.stages import IngestConfig
from contracts.store.urls import open_store
from training.data.arrays import Floats, Ints
from training.data.labelled import LabelledReviews, answerable
from training.data.tokens import TokenRows
from training.ingest.labelled import read_labelled
from training.judge import calibration
from training.judge.judgement import judge
from training.judge.metrics import expected_calibration_error, measure, paired_difference, predicted_stars, slice_rows
from training.model.reference import Progress, ReferenceModel
from training.model.serving import ServingModel
from training.running.folder import read_facts

SLICE_ROWS = 200
"""A slice of fewer rows says too little to hold a release back."""

JudgedEngine = Literal["reference", "serving"]


def evaluate_release(
    reference: str,
    data: Sequence[str | Path],
    store: str | None = None,
    limit: int | None = None,
    progress: Progress | None = None,
    engine: JudgedEngine = "reference",
    config: IngestConfig | None = None,
) -> dict[str, Any]:
    """Judge a release on labelled reviews; nothing is trained. The result is JSON-able and holds no review text.

    `reference` is "bundled", the folder of a release, a version or a channel of `store` (default: the bundled store).
    With the engine that serves, the figures are that one's, and `engine` says how it differs from the reference.
    Headlines that name the star are blanked, as for every review. Rows that cannot be judged are skipped and counted.
    Raises ReleaseError, NotFound or StoreError for the release, DataError for the data, ConfigError where no engine
    that serves is installed. `config` says what the files are, where they do not tell.
    """
    reviews, skipped = read_labelled(data, limit, config)
    with TemporaryDirectory(prefix="stars-") as folder:
        release = find(reference, open_store(store) if store else None, Path(folder))
        rows, tokens, unread = answerable(release.encoder(), reviews.segments)
        if len(rows) == 0:
            raise DataError(
                "every review is over the release's token limit, and it refuses such reviews: bring shorter ones"
            )
        served = ServingModel(release.folder) if engine == "serving" else None  # missing: said before the work
        meaning = release.calibration()
        logits = ReferenceModel(release.folder).logits(tokens, progress)
        differences = {}
        if served:
            reference_logits, logits = logits, served.logits(tokens, progress)
            differences["engine"] = {"kind": served.kind} | engine_difference(reference_logits, logits)
    reviews = reviews.take(rows)
    probabilities = calibration.probabilities(meaning, logits)
    judged = judge(reviews, probabilities, meaning.likely, balanced=False)
    metrics = judged.pop("metrics")
    balanced = measure(reviews.stars, probabilities, balanced=True) if len(set(reviews.stars)) == len(STARS) else None
    return {
        "n": len(reviews),
        **{name: measured["value"] for name, measured in metrics.items()},
        "ece_untempered": round(expected_calibration_error(reviews.stars, calibration.softmax(logits)), 6),
        "intervals": {name: [measured["low"], measured["high"]] for name, measured in metrics.items()},
        "balanced": balanced,
        **judged,
        "skipped": asdict(skipped) | {"too_many_tokens": 0} | unread,
        "model": release.manifest.name,
        "version": release.manifest.version,
        "temperature": release.manifest.temperature,
        **differences,
    }


def engine_difference(reference: Floats, served: Floats) -> dict[str, Any]:
    """In how many reviews an engine's logits (n, 5) and the reference's name other stars, and their largest gap."""
    return {
        "changed_stars": int((predicted_stars(reference) != predicted_stars(served)).sum()),
        "largest_logit_difference": float(np.abs(reference - served).max()),
    }


def compare_with(
    reference: str, store_url: str, name: str, prepare: Path, test: LabelledReviews, candidate: Floats
) -> dict[str, Any] | None:
    """How `candidate`, the new model's scores (n, 5) on the test split, differ from a release's on the same rows.

    `reference` is a version or a channel. None where the channel points nowhere, or the release answers none of them.
    """
    store = open_store(store_url)
    try:
        version = resolve(store, reference, name)
    except NotFound:
        if reference in {channels.PRODUCTION, channels.CANDIDATE}:
            return None
        raise
    with TemporaryDirectory(prefix="stars-") as folder:
        release = find(version, store, Path(folder), name)
        rows, tokens = tokens_for(release, prepare, test)
        if len(rows) == 0:
            return None
        probabilities = calibration.probabilities(release.calibration(), ReferenceModel(release.folder).logits(tokens))
    test, ours, theirs = test.take(rows), predicted_stars(candidate[rows]), predicted_stars(probabilities)
    truth = test.stars
    right, theirs_right = 1.0 * (ours == truth), 1.0 * (theirs == truth)
    return {
        "version": version,
        "rows": len(rows),
        "metrics": measure(truth, probabilities, balanced=True),
        "difference": {
            "accuracy": paired_difference(right, theirs_right, truth),
            "mae": paired_difference(1.0 * np.abs(ours - truth), 1.0 * np.abs(theirs - truth), truth),
        },
        "slices": {
            f"{by} {name}": {"n": int(mask.sum()), "accuracy": paired_difference(right[mask], theirs_right[mask])}
            for by, masks in slice_rows(truth, test.categories, test.body_words).items()
            for name, mask in masks.items()
            if mask.sum() >= SLICE_ROWS
        },
    }


def tokens_for(release: Release, prepare: Path, test: LabelledReviews) -> tuple[Ints, TokenRows]:
    """The numbers of the test split's rows that a release answers, and their tokens.

    They are the stored ones where its tokenizer, token limit and truncation are those of prepare.
    """
    prepared, manifest = read_facts(prepare), release.manifest
    ours = (prepared["tokenizer_sha256"], prepared["config"]["token_limit"], prepared["config"]["truncation"])
    if ours == (manifest.files["tokenizer.json"].sha256, manifest.token_limit, manifest.truncation):
        return np.arange(len(test)), TokenRows.stored(prepare, "test")
    rows, tokens, _ = answerable(release.encoder(), test.segments)
    return rows, tokens
