"""What is made once for all tests of the training package."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.stages import IngestConfig
from training.pipeline.data_set import data_set_of
from training.running.execution import execute
from training.running.reporting import Listener
from training.stages import evaluate

from . import tiny
from .recorder import Recorder


@pytest.fixture(scope="session")
def examples_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set made of examples/reviews.tsv, with the TSV beside it."""
    examples = Path(__file__).parents[2] / "examples" / "reviews.tsv"
    return data_set_of([examples], IngestConfig(), tmp_path_factory.mktemp("lake"), Listener())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB."""
    point = tmp_path / "small"
    point.mkdir()
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(point)]
    if mount is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    yield point
    subprocess.run(["umount", point], check=True)


@pytest.fixture(scope="session")
def tiny_inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folders `prepare`, `train` and `convert` of a finished tiny run."""
    root = tmp_path_factory.mktemp("tiny")
    prepare = tiny.write_prepare(root / "prepare")
    train = tiny.write_train(root / "train", prepare)
    return {"prepare": prepare, "train": train, "convert": tiny.write_convert(root / "convert", train)}


@pytest.fixture(scope="session")
def tiny_evaluated(tiny_inputs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder `evaluate` of that run, compared with nothing."""
    folder = tmp_path_factory.mktemp("tiny-evaluate") / "evaluate"
    inputs = {name: tiny_inputs[name] for name in ("prepare", "convert")}
    execute(evaluate.STAGE, evaluate.Config(beat_baseline=False, max_ece=1, max_accuracy=1), inputs, folder, Recorder())
    return folder
