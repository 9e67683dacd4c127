"""A check's result for people and for programs. Never a review's text: rows are named by where they came from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from training.judge.report import table
from training.quality.check import CheckedData, RuleResult
from training.running.folder import write_whole

JSON = "report.json"
MARKDOWN = "report.md"
SUGGESTIONS = "suggestions.yaml"
_SUGGESTIONS_HEAD = """\
# Rules that {engine} finds the data to keep already. Nothing reads this file: a rule is yours when you write it into
# your rules file. What is wrong with the data is suggested too, as if it had to be so. Texts stand for their lengths.
"""


def write_reports(checked: CheckedData, folder: Path) -> None:
    """report.json, report.md and suggestions.yaml."""
    write_whole(folder / JSON, json.dumps(as_json(checked), indent=2, allow_nan=False) + "\n")
    write_whole(folder / MARKDOWN, markdown(checked))
    suggestions = [each.document() for each in checked.suggestions]
    text = yaml.safe_dump({"suggestions": suggestions}, sort_keys=False, allow_unicode=True, width=120)
    write_whole(folder / SUGGESTIONS, _SUGGESTIONS_HEAD.format(engine=checked.engine) + text)


def as_json(checked: CheckedData) -> dict[str, Any]:
    """Everything, as JSON can hold it. Metrics are rows of one schema whichever engine measured."""
    return {
        "passed": not checked.broken("error"),
        "said": headline(checked),
        "engine": checked.engine,
        "engine_reason": checked.reason,
        "compared_with": checked.compared_with,
        "rows": checked.size,
        "rules": [
            vars(result) | {"examples": list(result.examples), "places": result.places()} for result in checked.results
        ],
        "quarantine": dict(checked.quarantine),
        "metrics": [{**name._asdict(), "value": value} for name, value in sorted(checked.metrics.items())],
    }


def headline(checked: CheckedData) -> str:
    """ "97,565 reviews by deequ (its jar is there): 22 rules, 1 broken, 2 warnings, no earlier run"."""
    errors, warnings = len(checked.broken("error")), len(checked.broken("warning"))
    runs = checked.compared_with
    before = f"compared with {runs} earlier run{'s' if runs != 1 else ''}" if runs else "no earlier run"
    return (
        f"{checked.size:,} reviews measured by {checked.engine} ({checked.reason}): {len(checked.results)} rules, "
        f"{errors} broken, {warnings} warning{'s' if warnings != 1 else ''}, {before}"
    )


def broken_table(results: Iterable[RuleResult]) -> str:
    """Which rule, how far off, how many rows, and five of them by source and row number."""
    rows = [
        [
            each.title,
            each.level,
            _number(each.measured),
            each.wanted,
            "" if each.rows is None else f"{each.rows:,}",
            each.places(),
        ]
        for each in results
    ]
    return table(["rule", "level", "measured", "wanted", "rows", "such as"], rows)


def sentences(results: Sequence[RuleResult]) -> str:
    """The broken rules in one line: "stars is 0.9 where at least 100 % is wanted (12 rows, such as row 3 of a.tsv)"."""
    return "; ".join(
        f"{each.title} is {_number(each.measured)} where {each.wanted} is wanted"
        + (f" ({each.rows:,} rows, such as {each.places()})" if each.examples else "")
        for each in results
    )


def markdown(checked: CheckedData) -> str:
    """The whole report."""
    parts = ["# Quality", f"{headline(checked)}."]
    for title, results in (("Broken", checked.broken("error")), ("Warnings", checked.broken("warning"))):
        if results:
            parts += [f"## {title}", broken_table(results)]
    if kept := [each for each in checked.results if each.kept]:
        rows = [[each.title, each.level, _number(each.measured), each.wanted] for each in kept]
        parts += ["## Kept", table(["rule", "level", "measured", "wanted"], rows)]
    if checked.quarantine:
        all_rows = checked.size + checked.quarantine["*"]["rows"]
        rows = [
            ["any reason" if reason == "*" else reason, f"{found['rows']:,}", f"{found['rows'] / all_rows:.4%}"]
            + [RuleResult("", "", "", False, None, "", examples=tuple(found["examples"])).places()]
            for reason, found in checked.quarantine.items()
        ]
        parts += ["## In quarantine", table(["reason", "rows", "share", "such as"], rows)]
    rows = [[str(name), _number(value)] for name, value in sorted(checked.metrics.items())]
    return "\n\n".join([*parts, "## Metrics", table(["metric", "value"], rows)]) + "\n"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) > 1 else f"{value:.4g}"
