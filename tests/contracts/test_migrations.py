"""Databases of every age: a new one, one from before there were versions, one that a newer program has had."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from contracts.database.database import Database
from contracts.database.migrations import Schema
from contracts.errors import DatabaseError, NewerDatabase
from contracts.jobs.event import EventKind
from contracts.jobs.job import JobState
from contracts.jobs.leases import JobLeases
from contracts.jobs.schema import EVENTS, JOBS, SCHEMA, WORKERS
from contracts.jobs.store import JobStore

from .some_jobs import CONFIG, submit

DUMP = Path(__file__).with_name("jobs_0_1.sql")
"""What version 0.1 left behind: a job in each state, and a worker. Nothing says of which version it is."""

RUNNING = "0880e82915894eb39f25f916ae77e0ce"


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    """The database without anything of ours around it."""
    JobStore(url).close()  # makes the file
    engine = sa.create_engine(url)
    yield engine
    engine.dispose()


@pytest.fixture
def old(engine: sa.Engine) -> sa.Engine:
    dump = DUMP.read_text()
    if engine.name == "sqlite":
        dump = dump.replace("DOUBLE PRECISION", "DOUBLE")  # as it was written there
    with engine.begin() as connection:
        for statement in dump.split(";\n"):
            if statement.strip():
                connection.exec_driver_sql(statement)
    return engine


def rows(engine: sa.Engine, table: str) -> list[dict[str, object]]:
    with engine.connect() as connection:
        found = connection.execute(sa.text(f"SELECT * FROM {table} ORDER BY 1")).mappings()  # noqa: S608
        return [dict(row) for row in found]


def test_a_database_from_before_versions_is_taken_up_unharmed(url: str, old: sa.Engine) -> None:
    before, workers = rows(old, "jobs"), rows(old, "workers")
    tails = {row["id"]: row.pop("log_tail") for row in before}
    with closing(JobStore(url)) as jobs, closing(JobLeases(url)) as leases:
        assert {job.state for job in jobs.list()} == set(JobState)
        assert rows(old, "jobs") == before and rows(old, "workers") == workers
        [done] = jobs.list(state=JobState.SUCCEEDED)
        assert done.log_tail == ["stage prepare", "stage train", 'epoch 1: loss 1.2, it\'s "fine" é', "stage export"]
        assert len(tails) == 5 and all(not job.log_tail for job in jobs.list() if tails[job.id] == "[]")
        assert [(event.sequence, event.kind, event.data) for event in jobs.events(done.id)] == [
            (1, EventKind.STATE, {"state": "queued"}),
            (2, EventKind.STATE, {"state": "running", "worker": "host-1-aa"}),
            *((i, EventKind.LOG, {"message": line}) for i, line in enumerate(done.log_tail, 3)),
            (7, EventKind.STATE, {"state": "succeeded", "release": "20261123-050139-bd44562b"}),
        ]
        # It goes on: the worker that had the job tells more, then a waiting one is taken.
        assert leases.heartbeat(RUNNING, "host-2-bb", 90) is False
        leases.finish(RUNNING, "host-2-bb", JobState.SUCCEEDED, release="v2")
        assert jobs.events(RUNNING)[-1].sequence == 5
        taken = leases.claim("w", 30)
        assert taken is not None and taken.idempotency_key == "queued"
        assert jobs.with_key("done") == done
        submit(jobs, "new")


def test_one_from_before_there_were_workers(url: str, old: sa.Engine) -> None:
    with old.begin() as connection:
        connection.exec_driver_sql("DROP TABLE workers")
    with closing(JobLeases(url)) as leases, closing(JobStore(url)) as jobs:
        leases.announce("w1")
        assert "w1" in {worker.id for worker in jobs.queue().workers} and len(jobs.list()) == 5


def test_several_processes_take_up_the_same_old_database_at_once(url: str, old: sa.Engine) -> None:
    code = (
        "import sys\nfrom contracts.jobs.store import JobStore\n"
        "jobs = JobStore(sys.argv[1])\nprint('ready', flush=True)\nsys.stdin.readline()\nprint(len(jobs.list()))"
    )
    command = [sys.executable, "-c", code, url]
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for process in running:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=60) for process in running]
    assert answers == [("5\n", "")] * 3
    assert rows(old, "schema_versions") == [{"room": "jobs", "version": SCHEMA.version}]
    assert len(rows(old, "job_events")) == 18


def test_a_new_database_and_an_old_one_end_up_with_the_tables_that_the_code_knows(url: str, old: sa.Engine) -> None:
    for _ in range(2):
        with closing(JobStore(url)) as jobs:
            jobs.list()
        with old.connect() as connection:
            for table in (JOBS, EVENTS, WORKERS):
                kept = sa.inspect(connection)
                columns = [(c["name"], c["nullable"], _affinity(c["type"])) for c in kept.get_columns(table.name)]
                assert columns == [(c.name, c.nullable, _affinity(c.type)) for c in table.columns]
                assert kept.get_pk_constraint(table.name)["constrained_columns"] == [c.name for c in table.primary_key]
                indexes = {(i["name"], tuple(i["column_names"])) for i in kept.get_indexes(table.name)}
                assert {(i.name, tuple(i.columns.keys())) for i in table.indexes} <= indexes
            [unique] = kept.get_unique_constraints("jobs")
            assert unique["column_names"] == ["idempotency_key"]
        with old.begin() as connection:  # once more, from nothing
            for table in ("jobs", "job_events", "workers", "schema_versions"):
                connection.exec_driver_sql(f"DROP TABLE {table}")


def _affinity(kind: sa.types.TypeEngine[object]) -> tuple[type, int | None]:
    """What two databases call differently, called the same."""
    bases = (sa.Boolean, sa.Integer, sa.Float, sa.Text, sa.String)
    return next(base for base in bases if isinstance(kind, base)), getattr(kind, "length", None)


def test_a_database_of_a_newer_version_is_left_alone(url: str, engine: sa.Engine) -> None:
    with closing(JobStore(url)) as jobs:
        job = submit(jobs)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE schema_versions SET version = version + 1")
    before = rows(engine, "jobs")
    with closing(JobStore(url)) as jobs, closing(JobLeases(url)) as leases:
        for use in (jobs.list, lambda: jobs.submit("retrain", CONFIG, "k2"), lambda: leases.announce("w1")):
            with pytest.raises(NewerDatabase, match="by a newer program than this one, which knows 2: update this one"):
                use()
    assert rows(engine, "jobs") == before and before[0]["id"] == job.id and rows(engine, "workers") == []


def test_a_step_that_fails_leaves_everything_as_it_was(url: str, old: sa.Engine) -> None:
    def fails(connection: sa.Connection) -> None:
        connection.exec_driver_sql("DROP TABLE workers")
        connection.exec_driver_sql("CREATE TABLE workers (nonsense")

    before = rows(old, "jobs")
    with closing(Database(url, Schema("jobs", (*SCHEMA.steps, fails)))) as database:
        for _ in range(2):
            with pytest.raises(DatabaseError, match="syntax|incomplete"), database.transaction():
                pass
    assert rows(old, "jobs") == before and len(rows(old, "workers")) == 1
    assert not sa.inspect(old).has_table("job_events") and not sa.inspect(old).has_table("schema_versions")


def test_rooms_keep_their_tables_in_one_database_and_know_nothing_of_each_other(url: str) -> None:
    steps = (
        lambda connection: connection.exec_driver_sql("CREATE TABLE feedback (stars INTEGER NOT NULL)"),
        lambda connection: connection.exec_driver_sql("INSERT INTO feedback VALUES (5)"),
    )
    with closing(Database(url, Schema("feedback", steps[:1]))) as database, database.transaction() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM feedback")) == 0
    with closing(JobStore(url)) as jobs:
        submit(jobs)
    for _ in range(2):  # what one room gains is gained once
        with closing(Database(url, Schema("feedback", steps), SCHEMA)) as both, both.transaction() as connection:
            assert connection.scalar(sa.text("SELECT count(*) FROM feedback")) == 1
            assert connection.scalar(sa.text("SELECT count(*) FROM jobs")) == 1
            versions = connection.execute(sa.text("SELECT room, version FROM schema_versions ORDER BY room")).all()
            assert [tuple(row) for row in versions] == [("feedback", 2), ("jobs", SCHEMA.version)]


def test_looking_at_a_database_that_is_up_to_date_waits_for_nobody(url: str, engine: sa.Engine) -> None:
    with closing(JobStore(url)) as jobs:
        submit(jobs)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE jobs SET progress = 0.5")  # somebody writes, and takes long
        with closing(JobStore(url)) as jobs:
            assert [job.progress for job in jobs.list()] == [0.0]
