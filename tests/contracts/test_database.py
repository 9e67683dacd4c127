"""The database behind the job store: what can be named, what is there, and what becomes of a file that goes away."""

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
from pathlib import Path

import pytest
import sqlalchemy as sa

from contracts.errors import ConfigError, DatabaseError, JobNotFound, LeaseLost
from contracts.jobs.leases import JobLeases
from contracts.jobs.store import JobStore

from .some_jobs import claim, said, submit


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
    assert "database" in str(caught.value) and "secret-word" not in str(caught.value)


def test_a_folder_is_no_job_store(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(ConfigError, match="it is no file"):
        JobStore(f"sqlite:///{tmp_path}")
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_a_database_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "jobs.db").write_bytes(b"this is not a database" * 100)
    with pytest.raises(DatabaseError, match="not a database"):
        JobStore(f"sqlite:///{tmp_path}/jobs.db").list()
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written"):
        JobStore(f"sqlite:///{tmp_path}/file/jobs.db")


def test_a_server_that_is_down_is_no_reason_not_to_start(postgresql: str, tmp_path: Path) -> None:
    store = JobStore(f"postgresql+psycopg://postgres@/x?host={tmp_path}")
    with pytest.raises(DatabaseError, match="does not answer"):
        store.list()
    later = JobStore(postgresql.format("nothing_of_this_name"))
    with pytest.raises(DatabaseError, match="does not exist"):
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
            with suppress(DatabaseError):  # the first use after the loss learns of it
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

    @pytest.fixture
    def leases(self, file: Path) -> Iterator[JobLeases]:
        leases = JobLeases(f"sqlite:///{file}")
        yield leases
        leases.close()

    @pytest.mark.parametrize("how", ["deleted", "replaced", "with its folder", "while others use it"])
    def test_no_job_goes_into_the_void(self, jobs: JobStore, file: Path, how: str) -> None:
        lost = submit(jobs, "lost")
        other = JobStore(f"sqlite:///{file}")
        submit(other, "lost too")  # it has the old file open, and what SQLite keeps beside it
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
                with closing(JobLeases(f"sqlite:///{file}")) as third:
                    third.announce("w1")
            order = [lambda key: submit(jobs, key).id, theirs]
            kept = [ask(f"{i}{n}") for i in range(3) for n, ask in enumerate(order if first == "we" else order[::-1])]
            assert sorted(job.id for job in jobs.list()) == sorted(kept)
            other.stdin.close()
        with closing(sqlite3.connect(file)) as connection:
            assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]

    def test_what_was_written_while_it_was_deleted_is_no_success(self, jobs: JobStore, file: Path) -> None:
        jobs.list()
        with pytest.raises(DatabaseError, match="deleted or replaced"), jobs._database.transaction() as connection:
            connection.execute(sa.text("delete from workers"))
            file.unlink()
        assert jobs.list() == []

    @pytest.mark.parametrize("log_lines", [(), ("a line",)])
    def test_a_running_job_that_is_gone_is_lost(
        self, jobs: JobStore, leases: JobLeases, file: Path, log_lines: tuple[str, ...]
    ) -> None:
        job = submit(jobs)
        claim(leases)
        file.unlink()
        with pytest.raises(LeaseLost, match="job store was deleted or replaced"):
            leases.heartbeat(job.id, "w1", 30, said(lines=log_lines))

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
