"""What a stage says, and who hears it."""

from __future__ import annotations

import io
import json
import logging
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.stages import StageConfig, TrainConfig
from training.running.reporting import JsonLines, PlainLines, StageReporter, metric_line, metric_regex
from training.running.stage import Stage, metric_definitions
from training.tracking.curves import Curves
from training.tracking.tracker import EXPERIMENT


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_stage_is_a_part_of_the_whole_and_all_listeners_hear_it(capsys: pytest.CaptureFixture[str]) -> None:
    out = io.StringIO()
    report = StageReporter("train", [JsonLines(out), PlainLines()], before=0.1, share=0.7)
    report.progress(0.5, "half of it")
    report.metric({"loss": 1.25}, 50)
    report.log("a word")
    assert events(out.getvalue()) == [
        {"event": "progress", "stage": "train", "progress": 0.45, "message": "half of it"},
        {"event": "metric", "stage": "train", "step": 50, "values": {"loss": 1.25}},
        {"event": "log", "message": "a word"},
    ]
    assert capsys.readouterr().err == " 45.0% train: half of it\ntrain at step 50: loss=1.25\na word\n"


def test_the_last_stage_ends_the_whole_though_shares_do_not_add_up_exactly() -> None:
    out = io.StringIO()
    StageReporter("export", [JsonLines(out)], before=0.1 + 0.7 + 0.05 + 0.1, share=0.05).progress(1.0, "done")
    [event] = events(out.getvalue())
    assert event["progress"] == 1.0


@pytest.mark.parametrize("value", [0.0, 1.25, -3.0, 1e-9, -2.5e20, 123456789.0, math.inf, -math.inf, math.nan])
def test_a_metric_is_read_from_its_line_by_its_regex_alone(value: float) -> None:
    """SageMaker reads metrics from the log by such regexes."""
    line = metric_line("train", {"validation_loss": 7.0, "loss": value, "loss_of_teacher": 8.0}, 50)
    [read] = re.findall(metric_regex("train", "loss"), line)
    assert float(read) == pytest.approx(value, rel=1e-5, nan_ok=True)
    assert re.findall(metric_regex("train", "validation_loss"), line) == ["7"]
    assert not re.findall(metric_regex("tune", "loss"), line)
    assert not re.findall(metric_regex("train", "los"), line)


def test_sagemaker_gets_a_regex_for_each_metric_that_a_stage_declares() -> None:
    stage = Stage("train", StageConfig, lambda *_: {}, metrics=("loss", "validation_loss"))
    line = metric_line("train", {"loss": 1.25, "validation_loss": 2.0}, 50)
    read = {each["Name"]: re.findall(each["Regex"], line) for each in metric_definitions(stage)}
    assert read == {"train:loss": ["1.25"], "train:validation_loss": ["2"]}


@pytest.fixture
def own_log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.WARNING, "training"):
        yield caplog


def runs(uri: str) -> list[Any]:
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    return list(client.search_runs([experiment.experiment_id])) if experiment else []


def test_curves_go_where_the_setting_says_and_a_failed_stage_is_a_failed_run(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    (tmp_path / "train").mkdir()
    with pytest.raises(KeyError), Curves(TrainConfig(tracking=uri), tmp_path / "train") as curves:
        StageReporter("train", [curves]).metric({"loss": 0.5}, 3)
        raise KeyError
    [run] = runs(uri)
    assert (run.info.status, run.data.metrics, run.data.params["batch_size"]) == ("FAILED", {"loss": 0.5}, "32")
    assert [file.name for file in (tmp_path / "train").iterdir()] == ["mlflow.json"]


def test_a_stage_that_measures_nothing_leaves_no_run(tmp_path: Path) -> None:
    with Curves(StageConfig(), tmp_path) as curves:
        StageReporter("convert", [curves]).progress(1.0, "done")
    assert not list(tmp_path.iterdir())


def test_a_tracking_server_that_fails_is_said_once_and_the_stage_goes_on(
    tmp_path: Path, own_log: pytest.LogCaptureFixture
) -> None:
    with Curves(TrainConfig(tracking="nowhere://at.all"), tmp_path) as curves:
        for step in range(3):
            StageReporter("train", [curves]).metric({"loss": 0.5}, step)
    assert [record.name for record in own_log.records] == ["training.tracking.curves"]
