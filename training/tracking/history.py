"""What a training has measured, step by step, and what the rules said of it: history.jsonl in the stage's folder.

The first line is the file's version. Each other line is a point, {"step", "values": {name: number}}, or a finding,
{"step", "rule", "action", "message"}. A run that goes on from a checkpoint writes steps that the file has already: what
lies behind a step is forgotten when that step is written again, so that the file ends as that of an undisturbed run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from contracts.errors import ConfigError
from training.running.folder import write_whole

HISTORY = "history.jsonl"
VERSION = 1


@dataclass(frozen=True)
class Finding:
    """What a rule said, at a step, and whether it warned or stopped the run."""

    step: int
    rule: str
    action: str
    message: str


@dataclass
class History:
    """The points of a run's curves, all that was measured at a step together, steps rising; and the findings."""

    points: dict[int, dict[str, float]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def measured(self, step: int, values: Mapping[str, float]) -> None:
        """What is known of later steps is forgotten: the run has gone back."""
        if self.points and step < max(self.points):
            self.points = {at: known for at, known in self.points.items() if at <= step}
            self.findings = [finding for finding in self.findings if finding.step <= step]
        self.points.setdefault(step, {}).update(values)

    def found(self, finding: Finding) -> None:
        """Of a step that was measured last, or earlier."""
        if finding not in self.findings:
            self.findings.append(finding)

    def curve(self, name: str) -> list[tuple[int, float]]:
        """(step, value) of all points that have it."""
        return [(step, values[name]) for step, values in self.points.items() if name in values]

    def values(self, name: str) -> list[float]:
        return [value for _, value in self.curve(name)]


def read_history(folder: Path) -> History:
    """The history that a train stage keeps in its folder, as far as it can be read: a last line may have been cut off.

    Raises ConfigError where there is none, or one of a newer version of this program.
    """
    try:
        text = (folder / HISTORY).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigError(f"{folder} holds no history of a training ({error.strerror}): name a run's folder") from error
    history = History()
    for line in _whole_lines(text):
        match line:
            case {"version": int(version)} if version > VERSION:
                raise ConfigError(f"{folder / HISTORY} was written by a newer version of review-stars: update this one")
            case {"step": int(step), "values": dict(values)}:
                history.measured(step, values)
            case {"step": int(step), "rule": str(rule), "action": str(action), "message": str(message)}:
                history.found(Finding(step, rule, action, message))
    return history


def _whole_lines(text: str) -> Iterator[Any]:
    for line in text.splitlines():
        with suppress(ValueError):
            yield json.loads(line)


class HistoryFile:
    """The history of a run in its folder, that goes on where it was; nothing is in it before the run measures."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / HISTORY
        self.history = read_history(folder) if self._file.exists() else History()
        self._whole = False

    def measured(self, step: int, values: Mapping[str, float]) -> None:
        self.history.measured(step, values)
        self._write({"step": step, "values": dict(values)})

    def found(self, finding: Finding) -> None:
        self.history.found(finding)
        self._write(asdict(finding))

    def _write(self, line: Mapping[str, Any]) -> None:
        if not self._whole:
            # Once in a process: what is there may end in the middle of a line, or know of steps that are to come again.
            lines: list[Mapping[str, Any]] = [{"version": VERSION}]
            lines += [{"step": step, "values": values} for step, values in self.history.points.items()]
            lines += map(asdict, self.history.findings)
            write_whole(self._file, "".join(f"{json.dumps(each)}\n" for each in lines))
            self._whole = True
            return
        with self._file.open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(line)}\n")
