"""An engine measures. What a measurement means is decided by the rules, once for all engines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from training.quality.analysis import Analysis, Metrics

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


_AS_CHECK = {
    "CompleteIfComplete": "completeness",
    "UniqueIfUnique": "uniqueness",
    "UniqueIfApproximatelyUnique": "uniqueness",
}


class Suggestion(NamedTuple):
    """A rule that the data set keeps already, for a person to think about. Wrong data suggests wrong rules."""

    column: str
    heuristic: str
    says: str
    measured: str
    deequ: str
    """How Deequ would be told."""

    def document(self) -> dict[str, Any]:
        """For a file: with the rule as rules.yaml has it, where it has such a rule."""
        check = _AS_CHECK.get(self.heuristic)
        rule = {"rule": {"check": check, "level": "warning", "column": self.column}} if check else {}
        return rule | self._asdict()


class QualityEngine(Protocol):
    """Measures the reviews of `training.quality.reviews.read_frame`, which hold no text."""

    name: str

    def measure(self, frame: DataFrame, analyses: Sequence[Analysis]) -> Metrics:
        """Every metric that the rows define."""

    def suggest(self, frame: DataFrame, metrics: Metrics) -> list[Suggestion]:
        """Rules that the data keeps. `metrics` are what `measure` has found."""
