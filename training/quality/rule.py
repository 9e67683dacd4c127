"""What every rule is: something to measure, and a judgement of what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from training.quality.analysis import Analysis, Metrics, compliance

Share = Annotated[float, Field(ge=0, le=1)]


class Measured(NamedTuple):
    """What rules judge by: the metrics of a data set, and those of earlier ones that were good, the newest last."""

    now: Metrics
    past: Sequence[Metrics] = ()


class Outcome(NamedTuple):
    """Whether a rule is kept. `measured` is None where no row defines it, which breaks no rule."""

    kept: bool
    measured: float | None
    wanted: str


class Rule(BaseModel):
    """Base of all rules. `check` is its name in the file; of level error it ends the stage, else it is only said."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    check: str
    level: Literal["error", "warning"] = "error"

    @property
    def title(self) -> str:
        """The rule in the report."""
        column = getattr(self, "column", None)
        return f"{self.check} of {column}" if column else self.check

    @property
    def analyses(self) -> tuple[Analysis, ...]:
        """What must be measured for it, besides what always is."""
        return ()

    @property
    def broken(self) -> str:
        """SQL: the rows that break it. Empty where it is not about single rows."""
        return ""

    @property
    def repeated(self) -> str:
        """The column whose values should not come again. Empty where it is not about that."""
        return ""

    def judge(self, measured: Measured) -> Outcome:
        raise NotImplementedError


class AtLeast(Rule):
    """Base of the rules that want at least a share of the rows, or of the values."""

    at_least: Share = 1.0

    @property
    def measured_by(self) -> Analysis:
        return compliance(self.holds)

    @property
    def holds(self) -> str:
        """SQL: what a good row satisfies."""
        return ""

    @property
    def broken(self) -> str:
        return f"not coalesce({self.holds}, false)" if self.holds else ""

    @property
    def analyses(self) -> tuple[Analysis, ...]:
        return (self.measured_by,)

    def judge(self, measured: Measured) -> Outcome:
        share = measured.now.get(self.measured_by.metric())
        return Outcome(share is None or share >= self.at_least, share, f"at least {self.at_least:g}")


class AtMost(Rule):
    """Base of the rules that want at most a share of the rows."""

    at_most: Share

    def share(self, metrics: Metrics) -> float | None:
        raise NotImplementedError

    def judge(self, measured: Measured) -> Outcome:
        share = self.share(measured.now)
        return Outcome(share is None or share <= self.at_most, share, f"at most {self.at_most:g}")
