"""Two runs beside each other."""

from __future__ import annotations

from dataclasses import dataclass

from training.tracking.runs import TrackedRun

UNKNOWN = "not known"


@dataclass(frozen=True)
class Comparison:
    """Two runs, and in what they differ. Rows are a name, then a text for each."""

    first: TrackedRun
    second: TrackedRun

    @property
    def pair(self) -> tuple[TrackedRun, TrackedRun]:
        return self.first, self.second

    def settings(self) -> list[tuple[str, str, str]]:
        """Where they came from, where that differs, and the settings that do."""
        about = [
            ("data set", self.first.dataset[:12], self.second.dataset[:12]),
            ("code", self.first.revision[:18], self.second.revision[:18]),
        ]
        names = sorted({name for run in self.pair for name in run.parameters})
        about += [(name, *(run.parameters.get(name, "") for run in self.pair)) for name in names]  # type: ignore[misc]
        return [(name, one or UNKNOWN, other or UNKNOWN) for name, one, other in about if one != other]

    def measured(self) -> list[tuple[str, str, str]]:
        """What both measured, or one of them; what the test split says comes first."""
        names = {name for run in self.pair for name in run.metrics}
        ordered = sorted(names, key=lambda name: (not name.startswith("test_"), name))
        return [(name, *(_number(run, name) for run in self.pair)) for name in ordered]  # type: ignore[misc]


def _number(run: TrackedRun, name: str) -> str:
    return f"{run.metrics[name]:.6g}" if name in run.metrics else UNKNOWN
