"""The engine that needs nothing but Spark: Deequ's metrics under Deequ's names, computed by Spark's own functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence, Set
from typing import TYPE_CHECKING, Any

from training.quality.analysis import (
    DATA_TYPES,
    GIVEN_ID,
    HISTOGRAM_VALUES,
    NULL,
    QUANTILE_ERROR,
    QUANTILES,
    Analysis,
    MetricName,
    Metrics,
)
from training.quality.engine import Suggestion

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

# Deequ's patterns, com.amazon.deequ.analyzers.catalyst.StatefulDataType, in its order.
_TYPES = {
    "Fractional": r"^(-|\+)? ?\d+((\.\d+)|((?:\.\d+)?[Ee][-+]?\d+))$",
    "Integral": r"^(-|\+)? ?\d+$",
    "Boolean": r"^(true|false)$",
}
_FEW_VALUES = 10
"""A column with no more values than these may be a closed list."""


class PlainSpark:
    """A QualityEngine without a jar."""

    name = "spark"

    def measure(self, frame: DataFrame, analyses: Sequence[Analysis]) -> Metrics:
        scanned = [analysis for analysis in analyses if analysis.kind in _SCANNED]
        # As columns of their own, else Spark matches the patterns once for each type.
        types = {_type_of(each): _data_type(each) for each in scanned if each.kind == "DataType"}
        aggregates = (_SCANNED[each.kind](each).alias(str(i)) for i, each in enumerate(scanned))
        values = frame.withColumns(types).agg(*aggregates).first()
        found = {
            name: value
            for analysis, measured in zip(scanned, values or (), strict=True)
            for name, value in _named(analysis, measured)
        }
        found |= dict(_of_values(frame, analyses))
        return {name: float(value) for name, value in found.items() if value is not None and math.isfinite(value)}

    def suggest(self, frame: DataFrame, metrics: Metrics) -> list[Suggestion]:  # noqa: ARG002  # Deequ needs the rows
        """What every row keeps: columns that are complete, keys that are unique, the values of short lists."""
        return list(_suggestions(metrics))


def _suggestions(measured: Metrics) -> Iterator[Suggestion]:
    said = {
        "Completeness": ("CompleteIfComplete", "is never empty", "isComplete"),
        "Uniqueness": ("UniqueIfUnique", "is unique", "isUnique"),
    }
    values: dict[str, list[str]] = {}
    for name, value in measured.items():
        if name.analyzer == "Histogram" and name.part != NULL:
            values.setdefault(name.column, []).append(name.part)
        elif value == 1.0 and name.analyzer in said:
            rule, says, code = said[name.analyzer]
            column = "review_id" if name.column == GIVEN_ID else name.column
            at = f"{name.analyzer}: 1.0"
            yield Suggestion(column, rule, f"{column} {says}", at, f'.{code}("{column}")')
    for column, kept in values.items():
        if len(kept) <= _FEW_VALUES:
            listed = ", ".join(sorted(kept))
            code = ", ".join(f'"{value}"' for value in sorted(kept))
            yield Suggestion(
                column,
                "CategoricalRange",
                f"{column} is one of {listed}",
                f"{len(kept)} values",
                f'.isContainedIn("{column}", [{code}])',
            )


def _size(_: Analysis) -> Column:
    from pyspark.sql import functions as f

    return f.count(f.lit(1))


def _share(of: Callable[[Analysis], Column]) -> Callable[[Analysis], Column]:
    """The share of rows for which a condition holds; where it is null it does not."""

    def share(analysis: Analysis) -> Column:
        from pyspark.sql import functions as f

        return f.avg(f.coalesce(of(analysis), f.lit(False)).cast("double"))

    return share


def _present(analysis: Analysis) -> Column:
    from pyspark.sql import functions as f

    return f.col(*analysis.columns).isNotNull()


def _complies(analysis: Analysis) -> Column:
    from pyspark.sql import functions as f

    return f.expr(analysis.predicate)


def _mean(analysis: Analysis) -> Column:
    from pyspark.sql import functions as f

    return f.avg(*analysis.columns)


def _correlation(analysis: Analysis) -> Column:
    from pyspark.sql import functions as f

    return f.corr(*analysis.columns)


def _quantiles(analysis: Analysis) -> Column:
    from pyspark.sql import functions as f

    (column,) = analysis.columns
    return f.percentile_approx(f.col(column).cast("double"), list(QUANTILES), int(1 / QUANTILE_ERROR))


def _type_of(analysis: Analysis) -> str:
    return f"type of {analysis.column}"


def _data_type(analysis: Analysis) -> Column:
    from pyspark.sql import functions as f

    text = f.col(*analysis.columns).cast("string")
    kind = f.when(text.isNull(), f.lit("Unknown"))
    for name, pattern in _TYPES.items():
        kind = kind.when(text.rlike(pattern), f.lit(name))
    return kind.otherwise(f.lit("String"))


def _data_types(analysis: Analysis) -> Column:
    """The share of rows of each type, in the order of DATA_TYPES."""
    from pyspark.sql import functions as f

    kind = f.col(_type_of(analysis))
    return f.array(*(f.avg((kind == name).cast("double")) for name in DATA_TYPES))


_SCANNED: dict[str, Callable[[Analysis], Column]] = {
    "Size": _size,
    "Completeness": _share(_present),
    "Compliance": _share(_complies),
    "Mean": _mean,
    "Correlation": _correlation,
    "ApproxQuantiles": _quantiles,
    "DataType": _data_types,
}
"""What one pass over the rows measures, all together."""


_PARTS: dict[str, Sequence[str]] = {"ApproxQuantiles": [str(q) for q in QUANTILES], "DataType": DATA_TYPES}


def _named(analysis: Analysis, measured: Any) -> Iterator[tuple[MetricName, Any]]:
    """The metrics in what one aggregate has given: null where no row defines it."""
    parts = _PARTS.get(analysis.kind, ("",))
    values = measured if isinstance(measured, list) else [measured] * len(parts)
    yield from ((analysis.metric(part), value) for part, value in zip(parts, values, strict=True))


def _of_values(frame: DataFrame, analyses: Sequence[Analysis]) -> Iterator[tuple[MetricName, Any]]:
    """What needs each column's values counted. All columns are counted in one pass."""
    from pyspark.sql import functions as f

    kinds = {(analysis.kind, analysis.column): analysis for analysis in analyses if analysis.kind in _COUNTED}
    if not kinds:
        return
    counted = _values(frame, {column for _, column in kinds})
    n = f.col("count")
    rows = counted.filter("value is not null").groupBy("column")
    summed = rows.agg(
        f.sum(n).alias("rows"),
        f.count(n).alias("Distinctness"),
        f.sum((n == 1).cast("long")).alias("Uniqueness"),
        f.sum(n * f.log(n)).alias("Entropy"),
    )
    for row in summed.collect():
        for kind in ("Distinctness", "Uniqueness", "Entropy"):
            if analysis := kinds.get((kind, row["column"])):
                share = row[kind] / row["rows"]  # for entropy this is ln n less what is left of it
                yield analysis.metric(), math.log(row["rows"]) - share if kind == "Entropy" else share
    for column in (column for kind, column in kinds if kind == "Histogram"):
        each = _values(frame, {column}).orderBy(f.desc("count"), "value").limit(HISTOGRAM_VALUES)
        for row in each.collect():
            yield MetricName("Histogram", column, NULL if row["value"] is None else row["value"]), row["count"]


def _values(frame: DataFrame, columns: Set[str]) -> DataFrame:
    """(column, value, count) for each value of each column, nulls too."""
    from pyspark.sql import functions as f

    pairs = [
        f.struct(f.lit(name).alias("column"), f.col(name).cast("string").alias("value")) for name in sorted(columns)
    ]
    each = frame.select(f.explode(f.array(*pairs)).alias("each"))
    return each.groupBy("each.column", "each.value").count()


_COUNTED = frozenset({"Distinctness", "Entropy", "Histogram", "Uniqueness"})
