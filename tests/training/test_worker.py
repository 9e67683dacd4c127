"""The worker with real processes and a real job store; only the pipeline is a stand-in."""

from __future__ import annotations

import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from contracts.database.sqlite import BUSY_SECONDS
from contracts.errors import DatabaseError, NewerDatabase
from contracts.jobs.event import log_line, metrics_measured, progress_made, stage_began
from contracts.jobs.job import Job, JobState
from contracts.jobs.leases import JobLeases
from contracts.jobs.store import JobStore
from contracts.stages import IngestConfig
from training.ingest.fetch import fetch
from training.jobs.lease import DEFAULT_TIMES, UNSENT_LIMIT, PipelineReport, Times
from training.jobs.pipeline_process import PipelineLine, RunLock
from training.jobs.worker import Worker
from training.running.reporting import JsonLines, Listener

FAKE = Path(__file__).with_name("fake_pipeline.py")
TIMES = Times(lease=5, heartbeat=0.2, stop=1, poll=0.1)
QUICK = Times(lease=3, heartbeat=0.2, stop=0.6, poll=0.1)
"""For tests that wait until a lease has run out."""

PATIENCE = 60


class Place:
    """A job store, a runs folder and a data folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = f"sqlite:///{root}/jobs.db"
        self.jobs = JobStore(self.url)
        self.jobs.list()  # makes the tables
        self.leases = JobLeases(self.url)
        self.runs = root / "runs"
        self.data = root / "data"
        self.data.mkdir()
        (self.data / "reviews.tsv").write_text("star_rating\treview_body\n")
        self.processes: list[subprocess.Popen[bytes]] = []

    def submit(self, key: str = "k", kind: str = "retrain", **config: Any) -> Job:
        return self.jobs.submit(kind, {"data": [str(self.data / "reviews.tsv")], "preset": "tiny"} | config, key)[0]

    def worker(self, mode: str, times: Times = TIMES) -> Worker:
        command = (sys.executable, str(FAKE), mode)
        return Worker("file:///store", self.leases, self.runs, roots=[self.data], command=command, times=times)

    def process(self, mode: str, times: Times = TIMES) -> subprocess.Popen[bytes]:
        """A worker as a process of its own, to be killed."""
        code = (
            "import signal, sys\nfrom pathlib import Path\nfrom contracts.jobs.leases import JobLeases\n"
            "from training.jobs.lease import Times\nfrom training.jobs.worker import Worker\n"
            "url, runs, data, fake, mode = sys.argv[1:]\n"
            "worker = Worker('file:///store', JobLeases(url), Path(runs), roots=[Path(data)],\n"
            f"                command=(sys.executable, fake, mode), times={times!r})\n"
            "signal.signal(signal.SIGTERM, lambda *_: worker.stop())\nworker.run()\n"
        )
        arguments = [self.url, str(self.runs), str(self.data), str(FAKE), mode]
        with (self.root / "workers.log").open("ab") as log:
            started = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=log, stderr=log)
        self.processes.append(started)
        return started

    def journal(self, job: Job) -> list[str]:
        path = self.runs / f"{job.id}.journal"
        return path.read_text().splitlines() if path.exists() else []

    def pids(self, job: Job) -> list[int]:
        return [int(line.removeprefix("pid ")) for line in self.journal(job) if line.startswith("pid ")]

    def wait(self, job: Job, holds: Callable[[Job], bool]) -> Job:
        until = time.monotonic() + PATIENCE
        while not holds(seen := self.jobs.get(job.id)):
            assert time.monotonic() < until, (seen, self.journal(job), (self.root / "workers.log").read_text())
            time.sleep(0.05)
        return seen

    def wait_for_line(self, job: Job, line: str) -> None:
        self.wait(job, lambda _: line in self.journal(job))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    for process in place.processes:
        process.kill()
        process.wait()
    for journal in place.runs.glob("*.journal"):  # what a failed test left behind
        for line in journal.read_text().splitlines():
            if line.startswith("pid ") and psutil.pid_exists(int(line[4:])):
                os.killpg(int(line[4:]), signal.SIGKILL)
    place.jobs.close()
    place.leases.close()


def gone(pid: int, seconds: float = 10) -> bool:
    """Whether nothing of a process group is left but zombies; what was killed takes a moment to go."""
    until = time.monotonic() + seconds
    while _alive(pid):
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def _alive(pid: int) -> bool:
    running = (process for process in psutil.process_iter(["status"]) if process.info["status"] != psutil.STATUS_ZOMBIE)
    return any(_group(process.pid) == pid for process in running)


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return -1


def test_a_job_from_its_queue_to_its_release(place: Place) -> None:
    job = place.submit(
        columns={"stars": "rating", "text": "the review"},
        overrides={"train": {"epochs": 2, "learning_rate": 1e-4}, "evaluate": {"beat_baseline": False}},
    )
    worker = place.worker("works")
    assert worker.run_one() is True
    done = place.jobs.get(job.id)
    assert (done.state, done.release, done.facts, done.error) == ("succeeded", "v7", {"accuracy": 0.61}, None)
    assert (done.stage, done.progress, done.attempts) == ("export", 1.0, 1)
    assert done.log_tail == ["stage prepare", "stage train", "stage export"]
    assert json.loads(place.journal(job)[1]) == {
        "data": [str(place.data / "reviews.tsv")],
        "preset": "tiny",
        "store": "file:///store",
        "work": str(place.runs / job.id),
        "name": "review-stars",
        "events": "-",
        "patience": "600",
        "set": [
            'ingest.columns={"star_rating": "rating", "review_body": "the review"}',
            "train.epochs=2.0",
            "train.learning_rate=0.0001",
            "evaluate.beat_baseline=false",
        ],
    }
    assert worker.run_one() is False


def test_a_job_on_a_data_set(place: Place) -> None:
    examples = Path(__file__).parents[2] / "examples" / "reviews.tsv"
    fetch([examples], place.data / "shop", IngestConfig(), Listener())
    job = place.submit(data=["shop"])
    place.worker("works").run_one()
    assert place.jobs.get(job.id).state is JobState.SUCCEEDED
    assert json.loads(place.journal(job)[1])["data"] == [str(place.data / "shop")]


def test_what_a_pipeline_says_becomes_the_jobs_events(place: Place) -> None:
    job = place.submit()
    worker = place.worker("works")
    worker.run_one()
    told = [(event.kind, event.stage, event.data) for event in place.jobs.events(job.id)]
    assert told[:2] == [
        ("state", None, {"state": "queued"}),
        ("state", None, {"state": "running", "worker": worker.id, "attempts": 1}),
    ]
    assert [stage for kind, stage, _ in told if kind == "stage"] == ["prepare", "train", "export"]
    assert [stage for kind, stage, _ in told if kind == "progress"] == ["prepare", "train", "export"]
    train = told.index(("stage", "train", {}))
    assert told[train + 2] == ("metric", "train", {"values": {"loss": 0.7, "rate": None}, "step": 50})
    assert told[-1] == ("state", None, {"state": "succeeded", "release": "v7"})


def test_a_worker_reads_what_a_pipeline_writes() -> None:
    """Both sides of the JSON lines: training/running/reporting.py writes, the worker reads."""
    out = io.StringIO()
    lines = JsonLines(out)
    lines.stage("train")
    lines.progress("train", 0.25, "epoch 1")
    lines.metric("train", {"loss": 0.5, "rate": float("nan")}, 3)
    lines.log("a line")
    lines.emit("done", version="v7", facts={"accuracy": 0.6})
    report = PipelineReport()
    report.take(PipelineLine.read(line) for line in out.getvalue().encode().splitlines())
    assert report.unsent == [
        stage_began("train"),
        progress_made(0.25, "epoch 1", "train"),
        metrics_measured({"loss": 0.5, "rate": None}, 3, "train"),
        log_line("a line", "train"),
    ]
    assert report.done is not None and (report.done.version, report.done.facts) == ("v7", {"accuracy": 0.6})


def test_what_is_not_sent_yet_is_bounded(place: Place) -> None:
    report = PipelineReport()
    report.take(PipelineLine(event="progress", progress=i / 2000, message=f"step {i}") for i in range(1000))
    assert [event.data for event in report.unsent] == [{"progress": 999 / 2000, "message": "step 999"}]
    for stage in ("prepare", "train"):
        report.take([PipelineLine(event="stage", stage=stage)])
        report.take(PipelineLine(event="log", message=f"{stage} {i}") for i in range(UNSENT_LIMIT))
    assert len(report.unsent) == UNSENT_LIMIT
    assert [event.stage for event in report.unsent if event.kind == "stage"] == ["prepare", "train"]
    assert report.unsent[-1].data["message"] == f"train {UNSENT_LIMIT - 1}"
    for values in (None, 3, [1], {"loss": "high"}):  # whatever a program may write
        report.take([PipelineLine(event="metric", values=values, step="x")])
    assert report.unsent[-1].data == {"values": {}, "step": None}
    report.take([PipelineLine(event="stage"), PipelineLine(event="progress"), PipelineLine(event="unheard-of")])
    assert report.stage == "train" and len(report.unsent) == UNSENT_LIMIT


def test_a_worker_that_is_older_than_its_job_store_ends(place: Place) -> None:
    with closing(sqlite3.connect(place.root / "jobs.db")) as connection, connection:
        connection.execute("update schema_versions set version = 1000")
    with closing(JobLeases(place.url)) as leases:
        worker = Worker("file:///s", leases, place.runs, roots=[place.data], times=TIMES)
        with pytest.raises(NewerDatabase, match="update this one"):
            worker.run()


def test_a_failing_pipeline(place: Place) -> None:
    job = place.submit()
    place.worker("fails").run_one()
    failed = place.jobs.get(job.id)
    assert (failed.state, failed.stage, failed.release) == ("failed", "train", None)
    assert failed.error == "the disk is full: free some space"
    assert failed.log_tail == [f"line {i}" for i in range(10, 60)]


def test_a_pipeline_that_crashes(place: Place) -> None:
    job = place.submit()
    place.worker("crashes").run_one()
    failed = place.jobs.get(job.id)
    log = place.runs / f"{job.id}.log"
    assert failed.error == f"the pipeline ended with exit code 3 and gave no reason: read {log} on the worker's machine"
    assert "a customer wrote" in log.read_text()
    assert "customer" not in str(failed)


def test_a_pipeline_that_is_killed(place: Place) -> None:
    job = place.submit()
    place.worker("killed").run_one()
    failed = place.jobs.get(job.id)
    assert failed.state == "failed" and "want of memory" in (failed.error or "")


def test_a_pipeline_that_is_done_has_succeeded_however_it_ends(place: Place) -> None:
    job = place.submit()
    place.worker("dies-late").run_one()
    assert place.jobs.get(job.id).state == "succeeded"


def test_noise_between_the_events(place: Place) -> None:
    job = place.submit()
    place.worker("noisy").run_one()
    done = place.jobs.get(job.id)
    assert (done.state, done.facts) == ("succeeded", {"accuracy": None})
    assert "a library prints\n" in (place.runs / f"{job.id}.log").read_text()


def test_a_pipeline_that_cannot_be_started(place: Place) -> None:
    job = place.submit()
    Worker(
        "file:///s", place.leases, place.runs, roots=[place.data], command=["/no/such/program"], times=TIMES
    ).run_one()
    failed = place.jobs.get(job.id)
    assert failed.state == "failed" and "cannot be started" in (failed.error or "")


def test_a_runs_folder_that_cannot_be_made(place: Place) -> None:
    job = place.submit()
    place.runs.touch()
    place.worker("works").run_one()
    assert place.jobs.get(job.id).state == "failed"


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"data": "/etc/passwd"}, "allowed folder"),
        ({"data": "../secret.tsv"}, "allowed folder"),
        ({"data": ["data/reviews.tsv", "link.tsv"]}, "allowed folder"),
        ({"data": "s3://bucket/reviews.tsv"}, "allowed folder"),
        ({"data": "https://example.com/reviews.tsv"}, "allowed folder"),
        ({"data": "http://169.254.169.254/latest/reviews.tsv"}, "allowed folder"),
        ({"data": 7}, "data"),
        ({"data": []}, "data"),
        ({"preset": "../../secret"}, "preset"),
        ({"preset": "--help"}, "preset"),
        ({"overrides": {"train": {"base_model": "/etc"}}}, "overrides"),
        ({"overrides": {"train": {"epochs=1 --set": 1}}}, "overrides"),
        ({"overrides": {"export": {"store": "/etc"}}}, "store cannot be chosen"),
        ({"surprise": 1}, "not known"),
        ({"data": "gone.tsv"}, "there is no"),
        ({"data": "swapped.tsv"}, "allowed folder"),
        ({"data": ["reviews.tsv", "folder"]}, "leads out"),
    ],
)
def test_jobs_that_are_refused(
    place: Place, monkeypatch: pytest.MonkeyPatch, config: dict[str, Any], reason: str
) -> None:
    monkeypatch.chdir(place.root)
    (place.root / "secret.tsv").touch()
    (place.data / "link.tsv").symlink_to(place.root / "secret.tsv")
    (place.root / "link.tsv").symlink_to(place.root / "secret.tsv")
    (place.data / "swapped.tsv").symlink_to(place.root / "secret.tsv")  # after the gateway looked
    (place.data / "folder").mkdir()
    (place.data / "folder" / "link.tsv").symlink_to(place.root / "secret.tsv")
    job = place.submit(**config)
    place.worker("works").run_one()
    failed = place.jobs.get(job.id)
    assert failed.state == "failed" and reason in (failed.error or "")
    assert place.journal(job) == []


@pytest.mark.parametrize("mode", ["slow", "stubborn"])
def test_cancel(place: Place, mode: str) -> None:
    job = place.submit()
    running = threading.Thread(target=place.worker(mode).run_one)
    running.start()
    place.wait_for_line(job, "waits")
    seen = place.wait(job, lambda seen: seen.stage == "train")
    assert seen.state == "running" and seen.progress == pytest.approx(1 / 3)
    place.jobs.request_cancel(job.id)
    cancelled = place.wait(job, lambda seen: seen.state.final)
    running.join(PATIENCE)
    assert cancelled.state == "cancelled" and cancelled.release is None
    assert place.journal(job)[-1] == "asked to stop"
    assert gone(place.pids(job)[0])


def test_sigterm_hands_the_job_back(place: Place) -> None:
    job = place.submit()
    worker = place.process("slow")
    place.wait_for_line(job, "waits")
    worker.terminate()
    assert worker.wait(PATIENCE) == 0
    back = place.jobs.get(job.id)
    assert (back.state, back.attempts, back.worker, back.lease_until) == ("queued", 0, None, None)
    assert place.journal(job)[-1] == "asked to stop" and gone(place.pids(job)[0])

    place.worker("slow").run_one()
    assert place.jobs.get(job.id).state == "succeeded"
    assert place.journal(job).count("runs prepare") == 1, "a finished stage ran again"


@pytest.mark.parametrize("mode", ["slow", "stubborn"])
def test_kill_9_of_the_worker(place: Place, mode: str) -> None:
    job = place.submit()
    worker = place.process(mode, QUICK)
    place.wait_for_line(job, "waits")
    worker.kill()
    worker.wait()
    assert place.jobs.get(job.id).state == "running"
    if mode == "slow" and sys.platform == "linux":  # the kernel tells the child
        place.wait_for_line(job, "asked to stop")

    place.process("slow")
    done = place.wait(job, lambda seen: seen.state.final)
    assert (done.state, done.release, done.attempts) == ("succeeded", "v7", 2)
    journal, (first, second) = place.journal(job), place.pids(job)
    assert "OVERLAP" not in journal and first != second and gone(first)
    assert journal.count("runs prepare") == 1, "a finished stage ran again"
    assert "prepare: unchanged, skipped" in done.log_tail


def test_two_workers_race(place: Place) -> None:
    workers = [place.process("works") for _ in range(2)]
    jobs = [place.submit(str(i)) for i in range(4)]
    for job in jobs:
        assert place.wait(job, lambda seen: seen.state.final).attempts == 1
        assert len(place.pids(job)) == 1 and "OVERLAP" not in place.journal(job)
    for worker in workers:
        worker.terminate()
    assert [worker.wait(PATIENCE) for worker in workers] == [0, 0]


def test_a_lost_lease_stops_the_pipeline(place: Place) -> None:
    job = place.submit()
    running = threading.Thread(target=place.worker("slow").run_one)
    running.start()
    place.wait_for_line(job, "waits")
    later = JobLeases(place.url, clock=lambda: time.time() + 1000)
    other = later.claim("other", 1000)
    later.close()
    running.join(PATIENCE)
    assert other is not None and other.id == job.id
    assert gone(place.pids(job)[0])
    assert (place.jobs.get(job.id).worker, place.jobs.get(job.id).state) == ("other", "running")


@contextmanager
def silence(place: Place) -> Iterator[None]:
    """The job store answers nothing to anybody."""
    with closing(sqlite3.connect(place.root / "jobs.db")) as connection, connection:
        connection.execute("alter table jobs rename to away")
    try:
        yield
    finally:
        with closing(sqlite3.connect(place.root / "jobs.db")) as connection, connection:
            connection.execute("alter table away rename to jobs")


def test_a_job_store_that_is_silent_stops_the_pipeline_in_time_and_costs_no_attempt(place: Place) -> None:
    """Fault 11: the worker hands back what it gave up only because it heard nothing."""
    job = place.submit()
    worker = place.worker("slow", QUICK)
    running = threading.Thread(target=worker.run_one)
    running.start()
    place.wait_for_line(job, "waits")
    start = time.monotonic()
    with silence(place):
        running.join(PATIENCE)
        took = time.monotonic() - start
        assert gone(place.pids(job)[0]) and took < QUICK.lease
        with pytest.raises(DatabaseError, match="does not answer"):
            worker.run_one()
    assert worker.run_one()
    done = place.jobs.get(job.id)
    assert (done.state, done.attempts) == ("succeeded", 1)
    assert place.journal(job).count("runs prepare") == 1, "a finished stage ran again"


def test_what_another_worker_took_meanwhile_is_not_handed_back(place: Place) -> None:
    job = place.submit()
    worker = place.worker("slow", QUICK)
    running = threading.Thread(target=worker.run_one)
    running.start()
    place.wait_for_line(job, "waits")
    with silence(place):
        running.join(PATIENCE)
    later = JobLeases(place.url, clock=lambda: time.time() + 1000)
    assert later.claim("other", 1000) is not None
    later.close()
    assert worker.run_one() is False
    assert (place.jobs.get(job.id).worker, place.jobs.get(job.id).attempts) == ("other", 2)


def test_an_end_that_could_not_be_written_is_written_later(place: Place) -> None:
    """Fault 11: nor does a finished job run again, because the store was silent when it ended."""
    job = place.submit()
    worker = place.worker("works-at-last", QUICK)
    failed: list[BaseException] = []

    def run() -> None:
        try:
            worker.run_one()
        except DatabaseError as error:
            failed.append(error)

    running = threading.Thread(target=run)
    running.start()
    place.wait_for_line(job, "waits")
    with silence(place):
        (place.runs / job.id / "go").touch()
        running.join(PATIENCE)
    assert len(failed) == 1
    assert worker.run_one() is False
    done = place.jobs.get(job.id)
    assert (done.state, done.release, done.attempts) == ("succeeded", "v7", 1)
    assert len(place.pids(job)) == 1


def test_a_lock_of_half_a_minute_is_no_silence() -> None:
    """Fault 11: SQLite locked for 30 s, met at the worst moment, with a statement's own patience on top."""
    times = DEFAULT_TIMES
    assert times.heartbeat + 30 + BUSY_SECONDS < times.lease - 2 * times.stop


def test_a_job_store_that_is_deleted_stops_the_pipeline_and_says_so(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fault 11: the job is gone, and the worker goes on with the new store."""
    job = place.submit()
    worker = place.worker("slow")
    running = threading.Thread(target=worker.run_one)
    running.start()
    place.wait_for_line(job, "waits")
    (place.root / "jobs.db").unlink()
    running.join(PATIENCE)
    assert not running.is_alive() and gone(place.pids(job)[0])
    assert "the job store was deleted or replaced while it ran" in capsys.readouterr().out
    next_job = place.submit("next")
    assert place.worker("works").run_one()
    assert place.jobs.get(next_job.id).state == "succeeded"


def test_a_job_of_another_kind_is_left_alone(place: Place) -> None:
    """Fault 21."""
    job = place.submit(kind="other")
    worker = place.worker("works")
    assert worker.run_one() is False
    assert place.jobs.get(job.id).state == "queued"
    assert "newer version" in (place.jobs.queue().waits_for(job.id) or "")


def test_a_worker_makes_itself_known_until_it_stops(place: Place) -> None:
    """Fault 31."""
    worker = place.worker("slow")
    running = threading.Thread(target=worker.run)
    running.start()
    job = place.submit()
    place.wait_for_line(job, "waits")
    behind = place.submit("behind")
    place.wait(job, lambda seen: seen.stage == "train")
    queue = place.jobs.queue()
    assert [known.id for known in queue.workers] == [worker.id]
    assert (queue.waits_for(behind.id) or "").startswith(f"1 job is ahead of it, first {job.id} (in stage train, 33%")
    worker.stop()
    running.join(PATIENCE)
    assert place.jobs.queue().workers == ()


def test_runs_are_their_owners_and_logs_stay_within_bounds(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faults 11 and 25: what a pipeline writes may quote reviews, and is as long as it likes."""
    monkeypatch.setattr("training.jobs.pipeline_process.LOG_BYTES", 50_000)
    place.runs.mkdir(mode=0o755)
    job = place.submit()
    before = os.umask(0)
    try:
        place.worker("noisy").run_one()
    finally:
        os.umask(before)
    logs = sorted(place.runs.glob(f"{job.id}.log*"))
    assert len(logs) == 2 and {path.stat().st_mode & 0o777 for path in logs} == {0o600}
    assert place.runs.stat().st_mode & 0o777 == 0o700


def test_run_waits_out_trouble_with_the_job_store(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    worker = place.worker("works")
    with silence(place):
        running = threading.Thread(target=worker.run)
        running.start()
        until = time.monotonic() + PATIENCE
        while "trouble with the job store" not in capsys.readouterr().out:
            assert time.monotonic() < until
            time.sleep(0.05)
    job = place.submit()
    assert place.wait(job, lambda seen: seen.state.final).state == "succeeded"
    worker.stop()
    running.join(PATIENCE)
    assert not running.is_alive()


def test_a_lock_belongs_to_one(tmp_path: Path) -> None:
    first, second = RunLock(tmp_path / "lock"), RunLock(tmp_path / "lock")
    assert first.acquire() and not second.acquire()
    first.close()
    first.close()
    assert second.acquire()
    second.close()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_the_command(tmp_path: Path, number: signal.Signals, code: int) -> None:
    home = tmp_path / "home"
    jobs = JobStore(f"sqlite:///{home}/jobs.db")
    refused = jobs.submit("retrain", {"data": "/etc/passwd"}, "k")[0]
    command = [sys.executable, "-m", "contracts.cli", "worker", "--home", str(home), "--store", str(tmp_path / "store")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STARS_")}
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=environment) as process:
        until = time.monotonic() + PATIENCE
        while not jobs.get(refused.id).state.final and time.monotonic() < until and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(number)
        _, said = process.communicate(timeout=PATIENCE)
    failed = jobs.get(refused.id)
    jobs.close()
    assert process.returncode == code, said.decode()
    assert failed.state is JobState.FAILED and str(home / "data") in (failed.error or "")
    events = [json.loads(line)["event"] for line in said.splitlines()]
    assert events == ["worker started", "job taken", "job ended", "worker stopped"]
