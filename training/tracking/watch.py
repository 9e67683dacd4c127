"""Rules over a training while it runs: what it measures is kept, looked at, and heard by all who listen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from contracts.errors import GateError
from contracts.stages import RuleAction, RuleName
from training.running.reporting import Reporter
from training.tracking.history import Finding, HistoryFile
from training.tracking.rules import ALWAYS_STOPS, RULES


class WatchedReporter:
    """Stands between a training and its reporter. A rule that warns does so once a run; one that stops it raises.

    `actions` are those that differ from a warning. A rule's GateError comes after its sentence has been told and kept.
    """

    def __init__(self, report: Reporter, actions: Mapping[RuleName, RuleAction], folder: Path) -> None:
        self._report = report
        self._actions: dict[str, RuleAction] = dict.fromkeys(RULES, "warn")
        self._actions |= {str(name): action for name, action in actions.items()} | {ALWAYS_STOPS: "stop"}
        self._file = HistoryFile(folder)

    @property
    def findings(self) -> list[Finding]:
        """What the rules have said of the whole run, in whatever processes."""
        return self._file.history.findings

    def progress(self, fraction: float, message: str) -> None:
        self._report.progress(fraction, message)

    def log(self, message: str) -> None:
        self._report.log(message)

    def metric(self, values: Mapping[str, float], step: int) -> None:
        self._file.measured(step, values)
        self._report.metric(values, step)
        for name, rule in RULES.items():
            action = self._actions[name]
            warned = action == "warn" and name in {finding.rule for finding in self.findings}
            sentence = None if action == "off" or warned else rule(self._file.history)
            if sentence is not None:
                self._say(Finding(step, name, action, sentence))

    def _say(self, finding: Finding) -> None:
        self._file.found(finding)
        said = f"rule {finding.rule} at step {finding.step:,}: {finding.message}"
        self._report.log(said)
        if finding.action == "stop":
            what_next = (
                "what was learnt before is kept in the last checkpoint, if there is one"
                if finding.rule == ALWAYS_STOPS
                else f"what was learnt is kept: --set train.rules={finding.rule}=warn goes on from there"
            )
            raise GateError(f"{said} ({what_next})")
