"""A training as one HTML page: `stars train report`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contracts.errors import ConfigError
from contracts.review import STARS
from training.data.splits import read_split
from training.judge.report import COLUMNS, SHARES, interval
from training.pages.page import PLOTS, write_page
from training.pages.plots import Estimate, Plot, Series
from training.pages.words import percent
from training.report.comparing import CURVES
from training.report.run_folder import Document, LeftRun

TEMPLATE = Path(__file__).with_name("training.html.j2")
TEXT_SHOWN = 300
"""Characters of a review that are shown where they are asked for."""
_SLICES = {"category": "By category", "length": "By words in the body", "star": "By true star"}
_FROM_ZERO = frozenset({"learning_rate", "gradient_norm", "reviews_per_second", "input_wait", "validation_mae"})


def write_report(run: LeftRun, out: Path, texts: bool = False) -> None:
    """Write the page. With `texts` the errors are shown with what customers wrote, which then must be kept as such.

    Raises MachineError where there is no room for it, DataError where texts are asked for and gone, ConfigError where
    the run is of another version.
    """
    try:
        values = _values(run, texts)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"the run {run.name} is not as this version of review-stars writes it ({error} is missing or wrong): "
            "run its pipeline again, which does anew what has to be"
        ) from error
    write_page(out, TEMPLATE, style=PLOTS, over="A training report", title=run.name, **values)


def _values(run: LeftRun, texts: bool) -> dict[str, Any]:
    """What the template is filled with. What needs an evaluation is None without one."""
    values: dict[str, Any] = {
        "tiles": _tiles(run),
        "findings": run.history.findings,
        "plots": _plots(run),
        "settings": _settings(run),
        "stars": STARS,
        "metrics": None,
    }
    sections = [("rules", "What the rules said"), ("curves", "Curves")]
    evaluation = run.evaluation
    if evaluation is not None:
        sections += [
            ("confusion", "Confusion"),
            ("reliability", "How far its confidence can be trusted"),
            ("slices", "Slices"),
            ("errors", "Where it is furthest off"),
        ]
        values |= {
            "metrics": [(COLUMNS[name], interval(name, evaluation["metrics"][name])) for name in COLUMNS],
            "verdict": f"{evaluation['verdict']}: {evaluation['reason']}",
            "rows": evaluation["rows"]["test"],
            "confusion": _confusion(evaluation["confusion"]),
            "reliability": _reliability(evaluation),
            "slices": _slices(evaluation["slices"]),
            "errors": _errors(evaluation["errors"], _texts(run, evaluation["errors"]) if texts else {}),
            "with_texts": texts,
        }
    return values | {"contents": [*sections, ("settings", "Settings")]}


def _tiles(run: LeftRun) -> list[tuple[str, str, str]]:
    tiles = []
    if run.evaluation is not None:
        measured = run.evaluation["metrics"]
        for name in ("accuracy", "mae", "within_one", "ece"):
            value = measured[name]["value"]
            text = percent(value) if name in SHARES else f"{value:.3f}"
            low, high = (
                f"{100 * measured[name][end]:.1f}" if name in SHARES else f"{measured[name][end]:.3f}"
                for end in ("low", "high")
            )
            tiles.append((COLUMNS[name], text, f"{low} to {high}"))
    if run.training is not None:
        training = run.training
        pace = f"{training['reviews_per_second']:,.0f} reviews a second"
        tiles.append(("trained for", f"{training['steps']:,} steps", f"{_time(training['seconds'])}, {pace}"))
    else:
        tiles.append(("trained for", f"{max(run.history.points):,} steps", "not to its end"))
    if run.prepared is not None:
        splits = run.prepared["splits"]
        tiles.append(
            ("learnt from", f"{splits['train']['rows']:,} reviews", f"data {run.prepared['dataset_sha256'][:8]}")
        )
    if run.release is not None:
        tiles.append(("became", "a release", run.release["version"]))
    return tiles


def _time(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 100 else f"{seconds:.0f} s"


def _plots(run: LeftRun) -> list[Plot]:
    plots = []
    for name, title in CURVES.items():
        points = tuple((float(step), value) for step, value in run.history.curve(name))
        if points:
            bounds = (0.0 if name in _FROM_ZERO else None, None)
            told = f"{points[0][1]:.4g} at first, {points[-1][1]:.4g} at the end"
            series = (Series(title, points),)
            plots.append(Plot(title, told, series, bounds=bounds, x_bounds=(0.0, float(max(run.history.points)))))
    return plots


def _confusion(matrix: list[list[int]]) -> list[list[tuple[int, float]]]:
    """Of each true star's row the count and the share of each predicted star."""
    return [[(count, count / max(sum(row), 1)) for count in row] for row in matrix]


def _reliability(evaluation: Mapping[str, Any]) -> Plot:
    bins = evaluation["reliability"]
    return Plot(
        "Right answers by confidence",
        f"ECE {interval('ece', evaluation['metrics']['ece'])}",
        (Series("right", tuple((each["confidence"], each["right"]) for each in bins)),),
        "",
        (0.0, 1.0),
        (0.0, 1.0),
        tuple((each["confidence"], each["low"], each["high"]) for each in bins),
    )


def _slices(slices: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, list[Estimate]]]:
    return [
        (_SLICES[by], [_estimate(name, group["accuracy"], group["n"]) for name, group in groups.items()])
        for by, groups in slices.items()
    ]


def _estimate(name: str, share: Mapping[str, float], rows: int) -> Estimate:
    text = f"{percent(share['value'])} of {rows:,}"
    return Estimate(name.replace("_", " "), share["value"], share["low"], share["high"], text)


def _errors(errors: list[Document], texts: Mapping[str, str]) -> list[list[str]]:
    return [
        [
            each["row"],
            str(each["true"]),
            str(each["predicted"]),
            percent(each["confidence"]),
            percent(each["probability_of_true"]),
            (each["category"] or "(none)").replace("_", " "),
            texts.get(each["row"], f"{each['words']:,} words{', cut' if each['truncated'] else ''}, masked"),
        ]
        for each in errors
    ]


def _texts(run: LeftRun, errors: list[Document]) -> dict[str, str]:
    wanted = {each["row"] for each in errors}
    table = read_split(run.prepare, "test", ["review_id", "first", "second"])
    found = {}
    for row in table.to_pylist():
        if row["review_id"] in wanted:
            text = f"{row['first']}: {row['second']}" if row["first"] else row["second"]
            found[row["review_id"]] = text if len(text) <= TEXT_SHOWN else f"{text[:TEXT_SHOWN]}…"
    return found


def _settings(run: LeftRun) -> list[tuple[str, str]]:
    """Those of training and data, and with what it ran."""
    parts = {"train": run.training, "prepare": run.prepared}
    settings = {
        f"{stage}.{name}": value for stage, facts in parts.items() if facts for name, value in facts["config"].items()
    }
    if run.training is not None:
        settings |= {f"version of {name}": version for name, version in run.training["versions"].items()}
        settings |= {name: run.training[name] for name in ("precision", "parameters", "model_sha256")}
    return [(name, str(value)) for name, value in settings.items()]
