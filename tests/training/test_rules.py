"""The rules over a training's history, each with a history that it is for and one that it is not for."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import ConfigError, GateError
from contracts.stages import TrainConfig
from training.running.configuration import load_config
from training.running.reporting import JsonLines, PlainLines, StageReporter
from training.tracking import rules
from training.tracking.curves import Curves
from training.tracking.history import HISTORY, Finding, History, HistoryFile, read_history
from training.tracking.runs import Runs
from training.tracking.watch import WatchedReporter

from .recorder import Recorder


def history(every: int = 10, **curves: Sequence[float]) -> History:
    """Curves by name, a value a report; those of an epoch's end as {step: value}."""
    made = History()
    for at in range(max(len(values) for values in curves.values())):
        made.measured((at + 1) * every, {name: values[at] for name, values in curves.items() if at < len(values)})
    return made


def epochs(losses: Sequence[float], cross_entropies: Sequence[float]) -> History:
    """Four reports and a validation an epoch."""
    made = History()
    for epoch, (loss, scored) in enumerate(zip(losses, cross_entropies, strict=True)):
        for report in range(1, 5):
            made.measured(epoch * 40 + report * 10, {"loss": loss})
        made.measured((epoch + 1) * 40, {"validation_cross_entropy": scored})
    return made


HEALTHY = [1.6 - 0.04 * i for i in range(20)]


@pytest.mark.parametrize(
    ("rule", "seen", "said"),
    [
        (rules.not_finite, history(loss=[1.6, math.nan]), "lower learning_rate"),
        (rules.not_finite, history(loss=[1.6, math.inf]), "lower learning_rate"),
        (rules.not_finite, history(loss=[1.6], gradient_norm=[math.inf]), "lower learning_rate"),
        (rules.loss_not_falling, history(loss=[1.61] * 10), "from 1.610 at first to 1.610 now"),
        (rules.loss_not_falling, history(loss=HEALTHY[::-1]), "does not fall"),
        (rules.exploding_gradient, history(gradient_norm=[2.0] * 9 + [130.0]), "is 130, and was 2 so far"),
        (rules.vanishing_gradient, history(gradient_norm=[2.0] + [1e-9] * 5), "is 1e-09"),
        (rules.overfit, epochs([1.2, 0.9, 0.5], [1.0, 0.95, 1.2]), "rose from 0.950 after epoch 2 to 1.200"),
        (rules.input_wait, history(input_wait=[0.01] + [0.5] * 5), "50% of the time"),
        (rules.dead_head, history(validation_spread=[0.8, 0.0]), "says the same of every review"),
        (rules.class_collapse, history(validation_largest_share=[0.4, 1.0]), "100% of the validation split"),
    ],
)
def test_a_rule_says_what_is_wrong_and_what_to_do(rule: rules.Rule, seen: History, said: str) -> None:
    sentence = rule(seen)
    assert sentence is not None and said in sentence


@pytest.mark.parametrize(
    ("rule", "seen"),
    [
        (rules.not_finite, history(loss=[math.nan, 1.6])),
        (rules.loss_not_falling, history(loss=HEALTHY)),
        (rules.loss_not_falling, history(loss=[1.61] * 9)),
        (rules.exploding_gradient, history(gradient_norm=[2.0] * 9 + [60.0])),
        (rules.exploding_gradient, history(gradient_norm=[0.1, 80.0])),
        (rules.vanishing_gradient, history(gradient_norm=[2.0] * 5 + [1e-9] * 4)),
        (rules.overfit, epochs([1.2, 0.9, 0.5], [1.0, 0.95, 0.98])),
        (rules.overfit, epochs([1.2, 0.9, 1.4], [1.0, 0.95, 1.2])),
        (rules.overfit, epochs([1.2], [1.0])),
        (rules.input_wait, history(input_wait=[0.9] * 4)),
        (rules.input_wait, history(input_wait=[0.9] + [0.02] * 5)),
        (rules.dead_head, history(validation_spread=[0.0, 0.8])),
        (rules.class_collapse, history(validation_largest_share=[1.0, 0.6])),
    ],
)
def test_a_rule_is_silent_where_nothing_is_wrong_yet_or_any_more(rule: rules.Rule, seen: History) -> None:
    assert rule(seen) is None


def test_rules_have_nothing_to_say_of_nothing() -> None:
    assert [name for name, rule in rules.RULES.items() if rule(History()) is not None] == []


def watched(folder: Path, **actions: Any) -> tuple[WatchedReporter, Recorder]:
    recorder = Recorder()
    return WatchedReporter(recorder, actions, folder), recorder


def test_a_warning_is_said_once_a_run_though_it_is_cut_off_between(tmp_path: Path) -> None:
    report, recorder = watched(tmp_path)
    for step in (10, 20):
        report.metric({"validation_spread": 0.0}, step)
    assert [line.split(":")[0] for line in recorder.lines] == ["rule dead_head at step 10"]
    again, recorder = watched(tmp_path)
    again.metric({"validation_spread": 0.0}, 30)
    assert recorder.lines == []
    assert [(finding.step, finding.action) for finding in again.findings] == [(10, "warn")]


def test_a_rule_can_be_switched_off_or_told_to_stop(tmp_path: Path) -> None:
    report, recorder = watched(tmp_path, dead_head="off", class_collapse="stop")
    report.metric({"validation_spread": 0.0}, 10)
    with pytest.raises(GateError, match=r"^rule class_collapse at step 20: .*--set train\.rules=class_collapse=warn"):
        report.metric({"validation_largest_share": 1.0}, 20)
    assert recorder.metrics == [(10, {"validation_spread": 0.0}), (20, {"validation_largest_share": 1.0})]
    again, _ = watched(tmp_path, dead_head="off", class_collapse="stop")
    with pytest.raises(GateError):
        again.metric({"validation_largest_share": 1.0}, 20)
    assert len(again.findings) == 1


def test_what_rules_do_is_said_by_their_names() -> None:
    said = load_config(TrainConfig, "train", flags={"rules": "overfit=stop, input_wait=off"})
    assert said.rules == {"overfit": "stop", "input_wait": "off"}
    assert "rules" not in said.model_dump(), "what a rule does changes no weight"
    for wrong, sentence in {
        "overfitt=stop": "did you mean overfit",
        "overfit=shout": "what there is: off, warn, stop",
        "not_finite=warn": "is none of what there is",
        "overfit": "must name rules with what they do, as overfit=stop",
    }.items():
        with pytest.raises(ConfigError, match=sentence):
            load_config(TrainConfig, "train", flags={"rules": wrong})


def test_a_run_that_goes_back_writes_its_history_as_an_undisturbed_one(tmp_path: Path) -> None:
    once, cut = tmp_path / "once", tmp_path / "cut"
    for folder in (once, cut):
        folder.mkdir()
    undisturbed = HistoryFile(once)
    for step in range(1, 7):
        undisturbed.measured(step, {"loss": 1 / step})
    for steps in (range(1, 5), range(3, 7)):  # the last checkpoint was at step 2
        part = HistoryFile(cut)
        for step in steps:
            part.measured(step, {"loss": 1 / step})
            if step == 4 and steps.start == 1:
                part.found(Finding(4, "input_wait", "warn", "was another machine"))
    assert read_history(cut) == read_history(once) == undisturbed.history


def test_a_history_that_was_cut_off_in_a_line_is_read_and_goes_on(tmp_path: Path) -> None:
    file = HistoryFile(tmp_path)
    file.measured(1, {"loss": 1.5})
    file.measured(2, {"loss": math.nan})
    text = (tmp_path / HISTORY).read_text()
    (tmp_path / HISTORY).write_text(text[:-9])
    assert read_history(tmp_path).points == {1: {"loss": 1.5}}
    HistoryFile(tmp_path).measured(2, {"loss": 1.25})
    assert read_history(tmp_path).points == {1: {"loss": 1.5}, 2: {"loss": 1.25}}


def test_an_empty_history_has_no_points(tmp_path: Path) -> None:
    (tmp_path / HISTORY).write_text("")
    assert read_history(tmp_path) == History()


def test_a_history_that_is_not_there_or_of_a_newer_version_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no history of a training"):
        read_history(tmp_path)
    (tmp_path / HISTORY).write_text('{"version": 2}\n')
    with pytest.raises(ConfigError, match="newer version of review-stars: update this one"):
        read_history(tmp_path)


def test_a_rule_is_heard_by_the_job_the_log_and_mlflow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By whoever listens to a run, over the one protocol that there is."""
    events, uri = io.StringIO(), f"sqlite:///{tmp_path / 'mlflow.db'}"
    with Curves(TrainConfig(tracking=uri), tmp_path) as curves:
        report = StageReporter("train", [JsonLines(events), PlainLines(), curves])
        WatchedReporter(report, {}, tmp_path).metric({"validation_spread": 0.0}, 10)
    said = "rule dead_head at step 10: the head is dead"
    lines = (json.loads(line) for line in events.getvalue().splitlines())
    [event] = [line for line in lines if line["event"] == "log"]
    assert event["message"].startswith(said)
    assert said in capsys.readouterr().err
    [run] = Runs(uri).newest(10)
    assert said in run.notes
