"""The train split's rows whose stars their text contradicts, to be learnt from with less weight."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from training.data.examples import Examples
from training.data.labelled import LabelledReviews
from training.judge.noise import find_noise
from training.running.reporting import Reporter


def weigh_noise(
    train: Examples, prepare: Path, weight: float, outputs: Path, report: Reporter
) -> tuple[Examples, dict[str, Any]]:
    """The train split with such rows at `weight`, and how many they are, by star. What was found is kept in outputs.

    Validation and test are left as customers rated.
    """
    kept = outputs / "noise.npy"
    if kept.is_file():
        contradicted = np.load(kept)
    else:
        reviews = LabelledReviews.from_split(prepare, "train")
        contradicted = find_noise(
            reviews.texts,
            reviews.stars,
            lambda done: report.progress(0.0, f"{done:.0%} of the stars held to their texts"),
        ).contradicted
        with kept.with_suffix(".partial").open("wb") as file:
            np.save(file, contradicted)
        kept.with_suffix(".partial").replace(kept)
    stars = Counter((train.labels[contradicted] + 1).tolist())
    report.log(
        f"{contradicted.sum():,} of {len(train):,} rows have stars that their text contradicts: they count {weight:g}"
    )
    weights = np.where(contradicted, np.float32(weight), np.float32(1))
    found = {
        "rows": int(contradicted.sum()),
        "weight": weight,
        "stars": {str(star): stars[star] for star in sorted(stars)},
    }
    return replace(train, weights=weights), {"noise": found}
