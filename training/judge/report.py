"""Evaluation results as Markdown: the report beside a model, and the tables of its card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

COLUMNS = {
    "accuracy": "exact",
    "mae": "MAE (stars)",
    "within_one": "within one",
    "macro_f1": "macro-F1",
    "qwk": "quadratic kappa",
    "ece": "ECE",
}
SHARES = frozenset({"accuracy", "within_one"})
EQUALLY = "as if all stars were equally frequent in them."
SLICE_TITLES = {"category": "Category", "length": "Words in the body", "star": "True star"}


def interval(name: str, measured: Mapping[str, float]) -> str:
    """ "61.2 % (60.1 to 62.3)", or "0.471 (0.455 to 0.488)" for what is no share."""
    value, low, high = measured["value"], measured["low"], measured["high"]
    if name in SHARES:
        return _percent(measured)
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


def metrics_table(models: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """One row a model: {"this model": {"accuracy": {"value", "low", "high"}, …}, …}."""
    return table(
        ["", *COLUMNS.values()],
        [[name, *(interval(column, metrics[column]) for column in COLUMNS)] for name, metrics in models.items()],
    )


def calibration_sentences(report: Mapping[str, Any]) -> str:
    """What calibration was fitted on and did, and how often the sets of likely stars hold the true one."""
    fitted, likely = report["calibration"], report["likely"]
    return (
        f"Temperatures from {fitted['doubt']['certain']:.2f} (where the network sees one star only) to "
        f"{fitted['doubt']['doubtful']:.2f} (where it sees no difference), fitted on {fitted['rows']:,} reviews of the "
        f"validation split, take the expected calibration error from {fitted['ece_before']:.3f} to "
        f"{fitted['ece_after']:.3f}. The likely stars, {likely['stars']['value']:.1f} of the five on average, hold the "
        f"true one in {_percent(likely['held'])} of the reviews; they are made for {likely['coverage']:.0%}.".replace(
            "%.", " %."
        )
    )


def rated_table(as_rated: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """The same reviews as customers rate them."""
    return "As customers rate, where five stars are most of all:\n\n" + metrics_table(
        {"the answers": as_rated["metrics"], "told how often each star is": as_rated["told_the_shares"]}
    )


def headlines_sentence(report: Mapping[str, Any]) -> str:
    """What the headlines are worth."""
    found = report["without_headlines"]
    return (
        f"Without headlines, which {found['rows']:,} of the {report['rows']['test']:,} reviews have, accuracy is "
        f"{found['difference']['accuracy']['value']:+.1%} and MAE {found['difference']['mae']['value']:+.3f}."
    ).replace("%", " %")


def slices_tables(slices: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """A table each by category, by length and by star."""
    columns = [name for name in COLUMNS if name in ("accuracy", "mae", "within_one")]
    tables = [
        table(
            [SLICE_TITLES[by], "rows", *(COLUMNS[name] for name in columns)],
            [
                [name, f"{group['n']:,}", *(interval(column, group[column]) for column in columns)]
                for name, group in groups.items()
            ],
        )
        for by, groups in slices.items()
    ]
    # Where all of three rows are right, so are those of every resample, and the interval has no width.
    return "\n\n".join([*tables, "Intervals of slices with fewer than about 30 rows are too narrow to trust."])


def confusion_table(matrix: list[list[int]]) -> str:
    """True star on the rows, predicted star on the columns."""
    stars = range(1, len(matrix) + 1)
    rows = [[f"{star}", *(f"{count:,}" for count in counts)] for star, counts in zip(stars, matrix, strict=True)]
    return table(["true \\ predicted", *map(str, stars)], rows)


def markdown(report: Mapping[str, Any]) -> str:
    """The whole evaluation report."""
    models = {"this model": report["metrics"]}
    models |= {f"baseline: {name}": metrics for name, metrics in report["baselines"].items()}
    production = report["production"]
    if production:
        models[f"production: {production['version']}"] = production["metrics"]
    parts = [
        "# Evaluation",
        f"Verdict: **{report['verdict']}**. {report['reason']}",
        f"Judged on {report['rows']['test']:,} reviews of the test split, with 95 % intervals, {EQUALLY}",
        metrics_table(models),
        calibration_sentences(report),
        rated_table(report["as_rated"]),
        headlines_sentence(report),
    ]
    if production:
        difference = production["difference"]
        parts.append(
            f"This model less production, on the {production['rows']:,} rows that both answer: "
            f"accuracy {_signed(difference['accuracy'])}, MAE {_signed(difference['mae'])}."
        )
    parts += ["## Slices", slices_tables(report["slices"]), "## Confusion", confusion_table(report["confusion"])]
    return "\n\n".join(parts) + "\n"


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; the first column is words, the others numbers."""
    # A category comes from the data: it must not end the cell.
    lines = [header, ["---"] + ["--:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def counted(reasons: Mapping[str, int]) -> str:
    """ "3 bad_star_rating, 2 empty_body": the most frequent first."""
    ordered = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count:,} {reason}" for reason, count in ordered)


def _percent(measured: Mapping[str, float]) -> str:
    return "{value:.1%} ({low:.1%} to {high:.1%})".format_map(measured).replace("%", " %")


def _signed(measured: Mapping[str, float]) -> str:
    return f"{measured['value']:+.3f} ({measured['low']:+.3f} to {measured['high']:+.3f})"
