"""The training image as SageMaker's containers: a whole training, each stage of the plan in a job of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from contracts.release.published import versions
from contracts.release.release import Release
from contracts.store.file_store import FileStore
from training.pipeline.plan import plan
from training.pipeline.request import PRESETS
from training.running.configuration import read_yaml
from training.running.folder import read_facts
from training.running.stage import Stage

from .stack import ROOT, Figure

ML = "/opt/ml"


@dataclass(frozen=True)
class SageMakerJob:
    """A job's /opt/ml as SageMaker mounts it: root's, as whom its containers run."""

    folder: Path
    image: str
    mounts: tuple[str, ...] = ()

    def write(self, name: str, content: Mapping[str, Any]) -> None:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content))

    def mounting(self, inputs: Mapping[str, Path], under: str) -> SageMakerJob:
        """With each input in its place, to be read only."""
        mounts = (part for name, path in inputs.items() for part in ("-v", f"{path}:{ML}/{under}/{name}:ro"))
        return replace(self, mounts=tuple(mounts))

    def run(self, *command: str, entrypoint: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run to its end; the exit code is what SageMaker goes by."""
        options = ["--rm", "--user", "0:0", "-v", f"{self.folder}:{ML}", *self.mounts]
        options += ["--entrypoint", entrypoint] if entrypoint else []
        return subprocess.run(
            ["docker", "run", *options, self.image, *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=900,
        )


NewJob = Callable[[str], SageMakerJob]


@pytest.fixture
def new_job(images: str, tmp_path: Path) -> NewJob:
    """`new_job(name)`: one with an empty folder of that name."""

    def make(name: str) -> SageMakerJob:
        (tmp_path / name).mkdir()
        return SageMakerJob(tmp_path / name, f"review-stars/training:{images}")

    return make


def _train(
    job: SageMakerJob, settings: Mapping[str, Any], inputs: Mapping[str, Path]
) -> subprocess.CompletedProcess[str]:
    """A training job: `train`, hyperparameters as text, inputs as channels."""
    job.write("input/config/hyperparameters.json", {name: str(value) for name, value in settings.items()})
    job.write("input/config/inputdataconfig.json", {name: {"TrainingInputMode": "File"} for name in inputs})
    job.write("input/config/resourceconfig.json", {"current_host": "algo-1", "hosts": ["algo-1"]})
    return job.mounting(inputs, "input/data").run("train")


def _process(
    stage: Stage, job: SageMakerJob, settings: Mapping[str, Any], inputs: Mapping[str, Path]
) -> subprocess.CompletedProcess[str]:
    """A processing job: ContainerEntrypoint and ContainerArguments."""
    job.write("config/processingjobconfig.json", {})
    words = ["-m", "training", stage.name, "--output", f"{ML}/processing/output"]
    words += [f"--input={name}={ML}/processing/input/{name}" for name in inputs]
    words += [f"--set={name}={value}" for name, value in settings.items()]
    return job.mounting(inputs, "processing/input").run(*words, entrypoint="python")


def test_a_whole_training_in_sagemakers_jobs(new_job: NewJob, tmp_path: Path, figure: Figure) -> None:
    """Each stage reads what those before it have left, and the last one publishes a release that verifies."""
    reviews = tmp_path / "reviews"
    reviews.mkdir()
    shutil.copy(ROOT / "examples/reviews.tsv", reviews)
    preset, store = read_yaml(PRESETS / "tiny.yaml"), f"file://{ML}/processing/store"
    made: dict[str, Path] = {}
    for name, stage in plan().items():
        settings = preset.get(name, {}) | ({"store": store} if "store" in stage.config.model_fields else {})
        inputs = {need: made[need] for need in stage.needs}
        if "data" in stage.reads:
            inputs["data"] = reviews
        job = new_job(name)
        if name == "train":
            done = _train(job, settings | {"epochs": 1}, inputs)
            made[name] = job.folder / "model"
        else:
            done = _process(stage, job, settings, inputs)
            made[name] = job.folder / "processing/output"
        assert done.returncode == 0, f"{name}: {done.stdout[-3000:]}"
        assert not (job.folder / "output/failure").exists() and not (job.folder / "output/message").exists()
    facts = {name: read_facts(folder) for name, folder in made.items()}
    assert json.loads((tmp_path / "train/output/data/facts.json").read_text()) == facts["train"]
    figure(
        "a training as jobs of SageMaker's: seconds of each stage",
        ", ".join(f"{name} {each['seconds']:.0f}" for name, each in facts.items()),
    )
    published = FileStore(tmp_path / "export/processing/store")
    [version] = versions(published, "review-stars")
    release = Release.open(published.folder / "releases/review-stars" / version)
    assert release.manifest.version == facts["export"]["version"]


def test_a_job_says_why_it_failed(new_job: NewJob) -> None:
    """In the file of which DescribeTrainingJob or DescribeProcessingJob shows the beginning."""
    wrong = new_job("wrong")
    assert _train(wrong, {"epochs": "many"}, {}).returncode == 1
    assert "epochs" in (wrong.folder / "output/failure").read_text()

    without = new_job("without")
    assert _train(without, {"epochs": 1}, {}).returncode == 1
    assert "'prepare' is missing" in (without.folder / "output/failure").read_text()

    processing = new_job("processing")
    assert _process(plan()["convert"], processing, {"tolerance": "none"}, {}).returncode == 1
    assert "tolerance" in (processing.folder / "output/message").read_text()
    assert not (processing.folder / "output/failure").exists()
