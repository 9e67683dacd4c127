"""A question about a data set: its SQL, what its answer says, and how it looks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from training.explore.charts import Chart

SQL = Path(__file__).with_name("sql") / "questions"


@dataclass(frozen=True)
class Question:
    """`finding` says in a sentence or two what the rows say, `nothing` what it means that there are none.

    There may be rows and yet nothing to draw.
    """

    name: str
    title: str
    finding: Callable[[pd.DataFrame], str]
    chart: Callable[[pd.DataFrame], Chart | None]
    nothing: str = "There is no review that could answer this."

    @property
    def sql(self) -> str:
        """The question as it is asked, of Athena as of DuckDB."""
        (file,) = SQL.glob(f"[0-9][0-9]_{self.name}.sql")
        return file.read_text(encoding="utf-8")
