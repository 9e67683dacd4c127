"""Contract 2: a stage is `run(config, inputs, outputs, report) -> facts`, with all that is known before it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.stages import StageConfig
from training.running.reporting import Reporter, metric_regex


def _nothing_named(_config: Any, _inputs: Mapping[str, Path]) -> Mapping[str, Path]:
    return {}


def _holds(_facts: Mapping[str, Any]) -> bool:
    return True


def _no_remarks(_facts: Mapping[str, Any], _outputs: Path) -> Sequence[str]:
    return ()


@dataclass(frozen=True)
class Stage:
    """A stage as it declares itself: its file in training/stages/ ends with one, named STAGE.

    `python -m training NAME` is how each is entered. What decides its result is not declared: it is computed from its
    settings, its inputs' content and the code that its file imports (training/running/fingerprint.py).
    """

    name: str
    config: type[StageConfig]
    run: Callable[[Any, Mapping[str, Path], Path, Reporter], dict[str, Any]]
    """run(config, inputs by name, folder for what it makes, report) -> facts, as JSON can hold them."""

    needs: tuple[str, ...] = ()
    """The stages whose folders it reads. They come before it."""
    after: tuple[str, ...] = ()
    """The stages that must have let it begin, and whose folders it does not read: when only they change, it is done."""
    reads: tuple[str, ...] = ()
    """What it reads from outside: `data` is what the pipeline was asked to train on, and may be several (data0, …)."""
    share: float = 0.05
    """Its share of a run's time, for the progress figure. The shares of a plan need not add up to 1."""
    spent: tuple[str, ...] = ()
    """What its folder holds that nothing reads after a finished run, as patterns."""
    metrics: tuple[str, ...] = ()
    """The names that it reports metrics by while it runs."""
    summary: tuple[str, ...] = ()
    """The facts that a job keeps of it."""

    named_inputs: Callable[[Any, Mapping[str, Path]], Mapping[str, Path]] = _nothing_named
    """(config, inputs) -> what the settings name and nobody has given, to count by its content like all inputs."""
    still_holds: Callable[[Mapping[str, Any]], bool] = _holds
    """(facts) -> False when a finished stage's result lies elsewhere, and is gone from there."""
    remarks: Callable[[Mapping[str, Any], Path], Sequence[str]] = _no_remarks
    """(facts, folder) -> sentences that a person should read, whether it ran or was skipped."""


def metric_definitions(stage: Stage) -> list[dict[str, str]]:
    """How SageMaker finds a stage's metrics in its log."""
    return [{"Name": f"{stage.name}:{name}", "Regex": metric_regex(stage.name, name)} for name in stage.metrics]
