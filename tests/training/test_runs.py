"""Runs in MLflow, on real sqlite stores: what is kept of a training, and how people look back at it."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import RunTag
from typer.testing import CliRunner, Result

from contracts.errors import ConfigError
from contracts.settings import Home
from contracts.stages import ConvertConfig, TrainConfig
from training import cli
from training.running.reporting import StageReporter
from training.tracking.curves import Curves
from training.tracking.outcome import final_metrics, parameters, tags
from training.tracking.runs import Runs
from training.tracking.tracker import FORMAT_TAG, REVISION_TAG, VARIABLES

METRICS = {"accuracy": {"value": 0.638, "low": 0.62, "high": 0.65}, "mae": {"value": 0.431, "low": 0.4, "high": 0.45}}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("STARS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    return Home.default().create()


def facts(version: str) -> dict[str, dict[str, Any]]:
    return {
        "prepare": {"dataset_sha256": "d" * 64},
        "evaluate": {"verdict": "promote", "metrics": METRICS},
        "export": {"version": version},
    }


def keep(
    home: Home, folder: Path, name: str, losses: list[float], version: str | None = "v1", first: int = 1, **changes: Any
) -> None:
    """A training as the pipeline has it kept."""
    folder.mkdir(parents=True, exist_ok=True)
    config = TrainConfig(**{"tracking": home.tracking} | changes)
    with Curves(config, folder, name, parameters({"train": config, "convert": ConvertConfig()})) as curves:
        curves.know({REVISION_TAG: "abc123"})
        report = StageReporter("train", [curves])
        for step, loss in enumerate(losses, first):
            report.metric({"loss": loss}, step)
        report.log("rule overfit at step 3: overfit")
        if version is None:
            raise KeyboardInterrupt
        curves.know(tags(facts(version)))
        (folder / "report.md").write_text("# Evaluation")
        curves.conclude(final_metrics(facts(version)), [folder / "report.md"])


@pytest.fixture
def two(home: Home, tmp_path: Path) -> Runs:
    keep(home, tmp_path / "a", "tiny", [1.6, 1.2, 0.9], "20261129-120000-aaaaaaaa")
    keep(home, tmp_path / "b", "standard", [1.5, 1.1, 0.8], "20261129-130000-bbbbbbbb", learning_rate=2e-4)
    return Runs(home.tracking)


def stars(*words: str) -> Result:
    return CliRunner().invoke(cli.app, ["runs", *words])


def test_a_run_has_its_settings_curves_data_code_report_and_release(two: Runs, home: Home) -> None:
    newest, oldest = two.newest(10)
    assert (oldest.name, oldest.release, oldest.verdict) == ("tiny", "20261129-120000-aaaaaaaa", "promote")
    assert (oldest.dataset, oldest.revision, oldest.state) == ("d" * 64, "abc123", "finished")
    assert (oldest.parameters["train.learning_rate"], newest.parameters["train.learning_rate"]) == ("0.0001", "0.0002")
    assert "convert.tolerance" in oldest.parameters and "train.tracking" not in oldest.parameters
    assert two.curve(oldest, "loss") == [(1, 1.6), (2, 1.2), (3, 0.9)]
    assert oldest.metrics["test_accuracy"] == 0.638
    assert "rule overfit at step 3" in oldest.notes
    [artifact] = MlflowClient(home.tracking).list_artifacts(oldest.id)
    assert artifact.path == "report.md"
    assert not (Path.cwd() / "mlruns").exists()


def test_a_training_that_was_cut_off_goes_on_in_the_same_run(home: Home, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        keep(home, tmp_path / "a", "tiny", [1.6, 1.2, 1.1], version=None)
    [cut] = Runs(home.tracking).newest(10)
    assert cut.state == "killed" and cut.release == ""
    keep(home, tmp_path / "a", "tiny", [1.2, 0.9], first=2)
    [run] = Runs(home.tracking).newest(10)
    assert (run.id, run.state, run.release) == (cut.id, "finished", "v1")
    assert Runs(home.tracking).curve(run, "loss") == [(1, 1.6), (2, 1.2), (3, 0.9)]


def test_what_becomes_of_a_training_later_is_said_of_its_run(home: Home, tmp_path: Path) -> None:
    """Train was skipped, as it was done, and what follows ran anew."""
    keep(home, tmp_path / "a", "tiny", [1.6], "v1")
    keep(home, tmp_path / "a", "tiny", [], "v2")
    [run] = Runs(home.tracking).newest(10)
    assert (run.release, run.state) == ("v2", "finished")


def test_a_run_that_was_deleted_meanwhile_is_begun_anew(home: Home, tmp_path: Path) -> None:
    keep(home, tmp_path / "a", "tiny", [1.6])
    [run] = Runs(home.tracking).newest(10)
    MlflowClient(home.tracking).delete_run(run.id)
    keep(home, tmp_path / "a", "tiny", [1.6, 1.5])
    [again] = Runs(home.tracking).newest(10)
    assert again.id != run.id


@pytest.fixture
def own_log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.WARNING, "training"):
        yield caplog


def test_a_server_that_is_away_is_said_once_and_the_training_goes_on(
    home: Home, tmp_path: Path, own_log: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        nobody = f"http://127.0.0.1:{server.getsockname()[1]}"
    keep(home, tmp_path / "a", "tiny", [1.6, 1.5, 1.4], tracking=nobody)
    [record] = [record for record in own_log.records if record.name == "training.tracking.curves"]
    assert "MLflow takes no more, the run goes on without it" in record.getMessage()
    with pytest.raises(ConfigError, match=r"the runs in http://.* cannot be read .*--tracking"):
        Runs(nobody)


def test_a_run_is_found_by_id_name_and_release(two: Runs) -> None:
    newest, oldest = two.newest(10)
    assert two.find(oldest.id) == two.find(oldest.short) == two.find("tiny") == two.find(oldest.release) == oldest
    assert two.find("standard") == newest


@pytest.mark.parametrize(
    ("said", "sentence"),
    [("tyni", r"there is no run 'tyni' in .*: did you mean \w{8} \(tiny\)\?"), ("zzzz", r"no run 'zzzz' in .*: stars")],
)
def test_a_run_that_is_not_there_is_answered_with_the_nearest(two: Runs, said: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        two.find(said)


def test_a_run_of_a_newer_version_and_a_store_that_is_not_there_are_sentences(two: Runs, home: Home) -> None:
    run = two.find("tiny")
    MlflowClient(home.tracking).log_batch(run.id, tags=[RunTag(FORMAT_TAG, "2")])
    with pytest.raises(ConfigError, match=f"run {run.short} was kept by a newer version of review-stars: update"):
        two.find("tiny")
    with pytest.raises(ConfigError, match="no run is kept in /nowhere/mlflow.db yet"):
        Runs("sqlite:////nowhere/mlflow.db")
    assert not Path("/nowhere").exists()


def test_ls_show_and_compare(two: Runs) -> None:
    newest, oldest = two.newest(10)
    listed = stars("ls")
    assert listed.exit_code == 0, listed.stderr
    assert listed.stdout.index("standard") < listed.stdout.index("tiny")
    assert "0.638" in listed.stdout and oldest.release in listed.stdout
    assert [run["id"] for run in json.loads(stars("ls", "--json").stdout)] == [newest.id, oldest.id]
    shown = stars("show", "tiny")
    assert all(word in shown.stdout for word in (oldest.id, "abc123", "d" * 64, "train.epochs", "rule overfit at step"))
    assert json.loads(stars("show", "tiny", "--json").stdout)["metrics"]["loss"] == 0.9
    compared = stars("compare", "tiny", "standard")
    rows = [line.split("│")[1:-1] for line in compared.stdout.splitlines() if line.startswith("│")]
    cells = [[cell.strip() for cell in row] for row in rows]
    assert [row for row in cells if "." in row[0]] == [["train.learning_rate", "0.0001", "0.0002"]]
    assert ["loss", "0.9", "0.8"] in cells


@pytest.mark.parametrize("suffix", ["html", "png"])
def test_two_runs_are_drawn_over_each_other(two: Runs, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"both.{suffix}"
    done = stars("compare", "tiny", "standard", "--out", str(out))
    assert done.exit_code == 0 and str(out) in done.stdout
    if suffix == "png":
        assert out.read_bytes().startswith(b"\x89PNG")
        return
    page = out.read_text()
    assert page.count('class="line"') == 2, "a loss of each"
    assert "train.learning_rate" in page and "63.8\N{NO-BREAK SPACE}% exact" in page and "http" not in page


def test_a_drawing_of_another_kind_is_a_sentence(two: Runs, tmp_path: Path) -> None:
    result = stars("compare", "tiny", "standard", "--out", str(tmp_path / "both.gif"))
    assert isinstance(result.exception, ConfigError) and "ends with .html or .png" in str(result.exception)


@pytest.mark.parametrize("words", [("show", "nothing"), ("compare", "tiny", "nothing")])
def test_a_wrong_run_is_one_sentence(two: Runs, words: tuple[str, ...]) -> None:
    result = stars(*words)
    assert isinstance(result.exception, ConfigError) and "there is no run 'nothing'" in str(result.exception)
