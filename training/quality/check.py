"""A data set held to the rules: measured once by an engine, judged here, with the rows that break a rule named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.quality.analysis import ALWAYS, SIZE, Metrics
from training.quality.choice import Choice
from training.quality.engine import Suggestion
from training.quality.reviews import Row, examples_of, examples_of_repeated, read_frame, read_quarantine
from training.quality.rule import Measured, Rule
from training.quality.rules import QuarantinedRule
from training.running.reporting import Reporter

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass(frozen=True)
class RuleResult:
    """How a data set stands to one rule. `rows` and `examples` are those that break it, where it is about rows."""

    check: str
    title: str
    level: str
    kept: bool
    measured: float | None
    wanted: str
    rows: int | None = None
    examples: tuple[Row, ...] = ()

    def places(self) -> str:
        """ "row 3, 8 of a.tsv; row 1 of b.tsv": where the examples came from."""
        rows: dict[str, list[str]] = {}
        for each in self.examples:
            rows.setdefault(each["source"], []).append(f"{each['row']}")
        return "; ".join(f"row {', '.join(numbers)} of {source}" for source, numbers in rows.items())


@dataclass(frozen=True)
class CheckedData:
    """What is known of a data set after its check. No text of a review is in it."""

    engine: str
    reason: str
    compared_with: int
    """Earlier runs that there were to compare with."""
    metrics: Metrics
    quarantine: Mapping[str, Any]
    results: tuple[RuleResult, ...]
    suggestions: tuple[Suggestion, ...]

    def broken(self, level: str) -> list[RuleResult]:
        return [result for result in self.results if not result.kept and result.level == level]

    @property
    def size(self) -> int:
        return int(self.metrics.get(SIZE.metric(), 0))


def check(
    spark: SparkSession,
    folder: Path,
    rules: Sequence[Rule],
    choice: Choice,
    past: Sequence[Metrics],
    report: Reporter,
) -> CheckedData:
    """Measure a data set's folder with an engine whose jar the session has, and judge it.

    Raises DataError where there is no data set.
    """
    from pyspark import StorageLevel

    frame = read_frame(spark, folder).persist(StorageLevel.MEMORY_AND_DISK)
    wanted = dict.fromkeys((*ALWAYS, *(analysis for rule in rules for analysis in rule.analyses)))
    report.progress(0.1, f"measuring with {choice.engine.name}")
    measured = choice.engine.measure(frame, list(wanted))
    size = measured.get(SIZE.metric(), 0.0)
    shares, quarantine = read_quarantine(spark, folder, size)
    metrics = {**measured, **shares}
    report.progress(0.6, f"{size:,.0f} reviews measured, {len(rules)} rules")

    @cache
    def rows(broken: str, repeated: str) -> tuple[int, Sequence[Row]]:
        return examples_of(frame, broken) if broken else examples_of_repeated(frame, repeated)

    def judged(rule: Rule) -> RuleResult:
        outcome = rule.judge(Measured(metrics, past))
        named: tuple[int | None, Sequence[Row]] = None, ()
        if not outcome.kept and isinstance(rule, QuarantinedRule):
            named = tuple(quarantine[rule.reason or "*"].values())
        elif not outcome.kept and (rule.broken or rule.repeated):
            named = rows(rule.broken, rule.repeated)
        return RuleResult(rule.check, rule.title, rule.level, *outcome, named[0], tuple(named[1]))

    results = tuple(judged(rule) for rule in rules)
    report.progress(0.7, "looking for rules that the data suggests")
    suggestions = tuple(choice.engine.suggest(frame, metrics)) if size else ()
    return CheckedData(choice.engine.name, choice.reason, len(past), metrics, quarantine, results, suggestions)
