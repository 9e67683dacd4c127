"""Fault 32: `stars jobs`, with the job store alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from contracts.errors import ConfigError, JobConflict, JobError, JobNotFound
from contracts.jobs.event import log_line, metrics_measured, progress_made, stage_began
from contracts.jobs.job import Job, JobState
from contracts.jobs.leases import JobLeases
from contracts.jobs.store import JobStore
from service.cli import app

CONFIG = {"data": ["/data/reviews.tsv"], "preset": "tiny", "overrides": {"train": {"epochs": 1.0}}}


def _stars(*words: str) -> Result:
    return CliRunner().invoke(app, ["jobs", *words])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STARS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("STARS_JOBS_URL", raising=False)
    return tmp_path / "home"


@pytest.fixture
def jobs(home: Path) -> Iterator[JobStore]:
    store = JobStore(f"sqlite:///{home}/jobs.db")
    yield store
    store.close()


@pytest.fixture
def leases(home: Path) -> Iterator[JobLeases]:
    leases = JobLeases(f"sqlite:///{home}/jobs.db")
    yield leases
    leases.close()


def _submit(jobs: JobStore, key: str) -> Job:
    return jobs.submit("retrain", CONFIG, key)[0]


def _run(leases: JobLeases, state: JobState, **how: Any) -> Job:
    taken = leases.claim("w1", 60)
    assert taken is not None
    return leases.finish(taken.id, "w1", state, **how)


def test_without_a_job_store_it_says_where_it_looked(home: Path) -> None:
    for words in (["ls"], ["show", "0f"], ["follow", "0f"], ["cancel", "0f"]):
        failed = _stars(*words)
        assert isinstance(failed.exception, JobError) and str(home) in str(failed.exception)
    assert not home.exists(), "looking makes nothing"


def test_a_job_stores_url_that_cannot_be_used(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STARS_JOBS_URL", "mongodb://x")
    assert isinstance(_stars("ls").exception, ConfigError)


def test_ls(jobs: JobStore, leases: JobLeases) -> None:
    headings = ["JOB", "STATE", "STAGE", "DONE", "QUEUED", "RESULT"]
    jobs.list()
    assert _stars("ls").stdout.split() == headings
    for key in "abcd":
        _submit(jobs, key)
    done = _run(leases, JobState.SUCCEEDED, release="v7", events=[stage_began("export")])
    failed = _run(leases, JobState.FAILED, error="no reviews\nat all")
    running = leases.claim("w1", 60)
    assert running is not None
    leases.heartbeat(running.id, "w1", 60, [stage_began("train"), progress_made(0.5)])
    first, *lines = _stars("ls").stdout.splitlines()
    assert first.split() == headings and len(lines) == 4
    shown = {line.split()[0]: line for line in lines}
    assert shown[done.id[:12]].split()[1:4] == ["succeeded", "export", "100%"] and shown[done.id[:12]].endswith(" v7")
    assert shown[failed.id[:12]].endswith("no reviews")
    assert shown[running.id[:12]].split()[1:4] == ["running", "train", "50%"]
    [waiting] = [line for line in lines if " queued " in line]
    assert f"1 job is ahead of it, first {running.id} (in stage train, 50% done)" in waiting

    assert len(_stars("ls", "--state", "failed").stdout.splitlines()) == 2
    assert len(_stars("ls", "--limit", "2").stdout.splitlines()) == 3
    listed = json.loads(_stars("ls", "--json").stdout)["jobs"]
    assert {job["id"]: job["state"] for job in listed}[running.id] == "running" and len(listed) == 4
    wrong = _stars("ls", "--state", "faild")
    assert isinstance(wrong.exception, ConfigError) and "did you mean failed" in str(wrong.exception)


def test_show(jobs: JobStore, leases: JobLeases, home: Path) -> None:
    job = _submit(jobs, "a")
    taken = leases.claim("w1", 60)
    assert taken is not None
    leases.heartbeat(job.id, "w1", 60, [stage_began("train"), log_line("epoch 1"), log_line("epoch 2")])
    (home / "runs").mkdir()
    (home / "runs" / f"{job.id}.log").touch()
    shown = _stars("show", job.id[:8]).stdout
    assert shown.endswith("  epoch 1\n  epoch 2\n")
    for part in ("running", "train", str(home / "runs" / f"{job.id}.log"), json.dumps(CONFIG, sort_keys=True)):
        assert part in shown
    assert json.loads(_stars("show", job.id, "--json").stdout)["log_tail"] == ["stage train", "epoch 1", "epoch 2"]
    missing = _stars("show", "nothing")
    assert isinstance(missing.exception, JobNotFound) and "stars jobs ls" in str(missing.exception)


def test_cancel(jobs: JobStore, leases: JobLeases) -> None:
    job = _submit(jobs, "a")
    assert "is cancelled" in _stars("cancel", job.id[:10]).stdout
    assert jobs.get(job.id).state == "cancelled"
    running = _submit(jobs, "b")
    leases.claim("w1", 60)
    assert "will be stopped by its worker" in _stars("cancel", running.id).stdout
    assert jobs.get(running.id).cancel_requested
    done = _submit(jobs, "c")
    _run(leases, JobState.SUCCEEDED, release="v1")
    assert isinstance(_stars("cancel", done.id).exception, JobConflict)


@pytest.mark.parametrize(
    ("state", "how", "code", "last"),
    [
        (JobState.SUCCEEDED, {"release": "v7"}, 0, "succeeded: release v7"),
        (JobState.FAILED, {"error": "the disk is full"}, 1, "failed: the disk is full"),
        (JobState.CANCELLED, {}, 3, "cancelled"),
    ],
)
def test_follow_until_the_end(
    jobs: JobStore, leases: JobLeases, home: Path, state: JobState, how: dict[str, str], code: int, last: str
) -> None:
    job = _submit(jobs, "a")
    with _following(home, job) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "queued: no worker is running: start one with `stars worker`\n"
        leases.claim("w1", 60)
        leases.heartbeat(
            job.id, "w1", 60, [stage_began("train"), progress_made(0.25), metrics_measured({"loss": 0.75}, 50)]
        )
        read = iter(process.stdout.readline, "")
        assert next(line for line in read if "queued" not in line and "none yet" not in line) == "stage train\n"
        assert next(read) == "step 50: loss 0.75\n"
        assert next(read) == "running: stage train, 25% done\n"
        leases.finish(job.id, "w1", state, events=[log_line("the end")], **how)  # type: ignore[arg-type]
        assert list(read) == ["the end\n", f"{last}\n"]
        assert process.wait(30) == code


def test_ctrl_c_leaves_the_job_running(jobs: JobStore, leases: JobLeases, home: Path) -> None:
    job = _submit(jobs, "a")
    leases.claim("w1", 60)
    with _following(home, job) as process:
        assert process.stdout is not None and "running" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr is not None
        assert process.stderr.read() == f"the job goes on; look again with: stars jobs follow {job.id[:12]}\n"
    assert jobs.get(job.id).state == "running" and not jobs.get(job.id).cancel_requested


def _following(home: Path, job: Job) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "contracts.cli", "jobs", "follow", job.id, "--home", str(home)]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
