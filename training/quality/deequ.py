"""The engine that is Deequ (github.com/awslabs/deequ), through pydeequ. Its jar must be in the Spark session."""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from contracts.review import TSV_COLUMNS
from training.quality.analysis import HISTOGRAM_VALUES, QUANTILE_ERROR, QUANTILES, Analysis, MetricName, Metrics
from training.quality.engine import Suggestion

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

SPARK_LINE = "3.5"


class Deequ:
    """A QualityEngine. Deequ shares one pass over the rows among what it can."""

    name = "deequ"

    def __init__(self) -> None:
        os.environ["SPARK_VERSION"] = SPARK_LINE  # pydeequ asks for it while it is imported

    def measure(self, frame: DataFrame, analyses: Sequence[Analysis]) -> Metrics:
        from pydeequ.analyzers import AnalysisRunner, AnalyzerContext

        wanted = {analysis: _analyzer(analysis) for analysis in analyses}
        run = AnalysisRunner(frame.sparkSession).onData(frame)
        for analyzer in wanted.values():
            run = run.addAnalyzer(analyzer)
        with warnings.catch_warnings():  # pydeequ makes data frames the old way
            warnings.simplefilter("ignore", UserWarning)
            # Not as JSON, which Deequ cannot write where a correlation is not defined.
            rows = AnalyzerContext.successMetricsAsDataFrame(frame.sparkSession, run.run()).collect()
        kinds = {analysis.column: analysis.kind for analysis in analyses if analysis.kind in {"DataType", "Histogram"}}
        found = {name: float(row["value"]) for row in rows for name in _names(row, kinds)}
        return {name: value for name, value in found.items() if math.isfinite(value)}

    def suggest(self, frame: DataFrame, metrics: Metrics) -> list[Suggestion]:  # noqa: ARG002  # it profiles by itself
        from pydeequ.suggestions import DEFAULT, ConstraintSuggestionRunner

        columns = [column for column in frame.columns if column in TSV_COLUMNS and column != "review_date"]
        runner = ConstraintSuggestionRunner(frame.sparkSession).onData(frame.select(*columns))
        found = runner.addConstraintRule(DEFAULT()).run()["constraint_suggestions"]
        return [
            Suggestion(
                each["column_name"],
                re.sub(r"Rule\(.*", "", each["suggesting_rule"]),
                each["description"],
                each["current_value"],
                each["code_for_constraint"],
            )
            for each in found
        ]


def _analyzer(analysis: Analysis) -> Any:
    from pydeequ import analyzers as deequ

    columns = list(analysis.columns)
    match analysis.kind:
        case "Size":
            return deequ.Size()
        case "Compliance":
            return deequ.Compliance(analysis.column, analysis.predicate)
        case "Uniqueness" | "Distinctness":
            return getattr(deequ, analysis.kind)(columns)
        case "ApproxQuantiles":
            return deequ.ApproxQuantiles(*columns, list(QUANTILES), QUANTILE_ERROR)
        case "Histogram":
            return deequ.Histogram(*columns, maxDetailBins=HISTOGRAM_VALUES)
        case _:
            return getattr(deequ, analysis.kind)(*columns)


def _names(row: Any, kinds: Mapping[str, str]) -> Iterator[MetricName]:
    """The name of one of Deequ's rows; none for what says the same again, such as a count beside its share."""
    analyzer, column = row["name"], row["instance"]
    if analyzer.startswith("Histogram."):
        _, what, *part = analyzer.split(".", 2)
        kind = kinds[column]
        if what == ("ratio" if kind == "DataType" else "abs"):
            yield MetricName(kind, column, part[0])
    else:
        kind, _, part = analyzer.partition("-")
        yield MetricName(kind, column, part)
