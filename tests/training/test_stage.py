"""The contract of a stage: skipped when unchanged, resumed when cut off, run anew when anything changes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from contracts.errors import ConfigError, MachineError
from contracts.stages import StageConfig
from training.running.configuration import load_config
from training.running.execution import execute
from training.running.folder import read_facts
from training.running.reporting import Reporter
from training.running.stage import Stage

from .recorder import Recorder


class Config(StageConfig):
    copies: int = 1


def copier(runs: list[bool], fails: bool = False, **declared: Any) -> Stage:
    def run(config: Config, inputs: Mapping[str, Path], outputs: Path, report: Reporter) -> dict[str, Any]:
        runs.append((outputs / "half").exists())
        (outputs / "half").write_text("kept for the next run")
        if fails:
            raise KeyboardInterrupt
        (outputs / "whole").write_text(inputs["text"].read_text() * config.copies)
        return {"copies": config.copies}

    return Stage("copy", Config, run, reads=("text",), **declared)


@pytest.fixture
def text(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "text").write_text("one ")
    return {"text": tmp_path / "text"}


def test_an_unchanged_stage_is_skipped_and_a_changed_one_runs_anew(text: dict[str, Path], tmp_path: Path) -> None:
    runs: list[bool] = []
    outputs, done = tmp_path / "out", copier(runs)
    facts = execute(done, Config(), text, outputs, Recorder())
    assert facts == read_facts(outputs)
    assert execute(done, Config(), text, outputs, Recorder()) == facts
    assert len(runs) == 1
    execute(done, Config(copies=2), text, outputs, Recorder())
    text["text"].write_text("two ")
    execute(done, Config(copies=2), text, outputs, Recorder())
    assert runs == [False, False, False], "a changed stage starts in an empty folder"
    assert (outputs / "whole").read_text() == "two two "


def test_what_the_settings_name_counts_by_its_content(text: dict[str, Path], tmp_path: Path) -> None:
    """Fault 14: a base model's folder whose content changed counted as unchanged."""
    runs: list[bool] = []
    named = copier(runs, named_inputs=lambda _config, inputs: {} if "text" in inputs else text)
    for _ in range(2):
        execute(named, Config(), {}, tmp_path / "out", Recorder())
    assert len(runs) == 1
    text["text"].write_text("two ")
    execute(named, Config(), {}, tmp_path / "out", Recorder())
    assert len(runs) == 2
    assert (tmp_path / "out" / "whole").read_text() == "two "


def test_an_interrupted_stage_finds_what_it_left(text: dict[str, Path], tmp_path: Path) -> None:
    runs: list[bool] = []
    with pytest.raises(KeyboardInterrupt):
        execute(copier(runs, fails=True), Config(), text, tmp_path / "out", Recorder())
    with pytest.raises(ConfigError, match="run the stage that makes it first"):
        read_facts(tmp_path / "out")
    facts = execute(copier(runs), Config(), text, tmp_path / "out", Recorder())
    assert runs == [False, True]
    assert facts["resumed"]


def test_a_result_that_is_gone_elsewhere_is_made_again(text: dict[str, Path], tmp_path: Path) -> None:
    runs: list[bool] = []
    execute(copier(runs), Config(), text, tmp_path / "out", Recorder())
    execute(copier(runs, still_holds=lambda _facts: False), Config(), text, tmp_path / "out", Recorder())
    assert len(runs) == 2


def test_a_full_disk_is_one_sentence_and_leaves_no_facts(text: dict[str, Path], tmp_path: Path) -> None:
    def run(*_args: Any) -> dict[str, Any]:
        raise OSError(28, "No space left on device")

    with pytest.raises(MachineError, match="No space left on device"):
        execute(Stage("copy", Config, run, reads=("text",)), Config(), text, tmp_path / "out", Recorder())
    assert not (tmp_path / "out" / "facts.json").exists()


def test_a_folder_that_is_not_the_stages_is_left_alone(text: dict[str, Path], tmp_path: Path) -> None:
    """Fault 8: a folder of somebody's was emptied."""
    runs: list[bool] = []
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="copy holds files that copy did not make"):
        execute(copier(runs), Config(), text, tmp_path / "copy", Recorder())
    assert not runs
    assert [path.name for path in (tmp_path / "copy").iterdir()] == ["notes.txt"]


def test_versions_are_those_of_what_is_loaded(
    text: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 22: where TensorFlow is another package, or none, a stage failed after its work."""
    monkeypatch.setitem(sys.modules, "tensorflow", SimpleNamespace(__version__="2.21.0+gpu"))
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace())
    for absent in ("keras", "pyspark"):
        monkeypatch.delitem(sys.modules, absent, raising=False)
    facts = execute(copier([]), Config(), text, tmp_path / "out", Recorder())
    assert facts["versions"]["tensorflow"] == "2.21.0+gpu"
    assert {"python", "tensorflow"} <= set(facts["versions"]) <= {"python", "tensorflow", "tokenizers", "numpy"}


def test_what_a_person_should_read_is_said_when_it_ran_and_when_it_was_skipped(
    text: dict[str, Path], tmp_path: Path
) -> None:
    remarking = copier([], remarks=lambda facts, outputs: [f"{facts['copies']} in {outputs.name}"])
    for said in (["1 in out"], ["copy: unchanged, skipped", "1 in out"]):
        recorder = Recorder()
        execute(remarking, Config(), text, tmp_path / "out", recorder)
        assert recorder.lines == said


def test_inputs_that_are_missing_or_not_known_are_refused_before_any_work(
    text: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="'train' is missing: .*--input train=PATH"):
        execute(copier([], needs=("train",)), Config(), text, tmp_path / "out", Recorder())
    with pytest.raises(ConfigError, match="copy reads no input 'texts': it takes text"):
        execute(copier([]), Config(), {"texts": text["text"]}, tmp_path / "out", Recorder())
    execute(copier([]), Config(), text | {"text0": text["text"]}, tmp_path / "again", Recorder())
    assert not (tmp_path / "out").exists()


def test_config_layers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("copy:\n  copies: 2\n")
    assert load_config(Config, "copy", file).copies == 2
    monkeypatch.setenv("STARS_COPY_COPIES", "3")
    assert load_config(Config, "copy", file).copies == 3
    assert load_config(Config, "copy", file, {"copies": "4"}).copies == 4


@pytest.mark.parametrize("text", ["copies: many", "colour: blue", "- 1", "{", "\x00"])
def test_a_bad_config_is_one_sentence(text: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError):
        load_config(Config, "copy", tmp_path / "c.yaml")


def test_sagemaker_layout(tmp_path: Path) -> None:
    """A stage in a container: hyperparameters as strings, channels and folders by environment, failure written."""
    for name in ("config", "channel", "model", "data", "failed"):
        (tmp_path / name).mkdir()
    (tmp_path / "config" / "hyperparameters.json").write_text(json.dumps({"limit": "many", "sagemaker_job_name": "x"}))
    layout = {
        "SM_INPUT_CONFIG_DIR": tmp_path / "config",
        "SM_CHANNEL_INGEST": tmp_path / "channel",
        "SM_MODEL_DIR": tmp_path / "model",
        "SM_OUTPUT_DATA_DIR": tmp_path / "data",
        "SM_OUTPUT_DIR": tmp_path / "failed",
    }
    environment = os.environ | {name: str(path) for name, path in layout.items()}
    command = [sys.executable, "-m", "training", "prepare"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "limit" in (tmp_path / "failed" / "failure").read_text()
    (tmp_path / "config" / "hyperparameters.json").write_text(json.dumps({"limit": "100"}))
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "does not exist or is empty" in (tmp_path / "failed" / "failure").read_text()
