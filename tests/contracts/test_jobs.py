"""Contract 5 on both databases: a job from its queue to its end, whoever dies on the way."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import JobConflict, JobError, JobNotFound, LeaseLost
from contracts.jobs.event import EventKind, NewEvent, log_line, metrics_measured, stage_began
from contracts.jobs.job import LOG_TAIL, Job, JobState
from contracts.jobs.leases import JobLeases
from contracts.jobs.rows import KEPT
from contracts.jobs.store import JobStore

from .some_jobs import CONFIG, Clock, claim, said, submit


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def jobs(url: str, clock: Clock) -> Iterator[JobStore]:
    store = JobStore(url, clock)
    yield store
    store.close()


@pytest.fixture
def leases(url: str, clock: Clock) -> Iterator[JobLeases]:
    leases = JobLeases(url, clock)
    yield leases
    leases.close()


def test_a_life(jobs: JobStore, leases: JobLeases, clock: Clock) -> None:
    queued = submit(jobs)
    assert (queued.state, queued.attempts, queued.progress, queued.config) == ("queued", 0, 0.0, CONFIG)
    clock.now += 5
    running = claim(leases)
    assert (running.id, running.state, running.worker, running.attempts) == (queued.id, "running", "w1", 1)
    assert running.started_at and running.lease_until
    assert (running.lease_until - running.started_at).total_seconds() == 30
    clock.now += 10
    assert leases.heartbeat(running.id, "w1", 30, said("train", 0.5, ["one", "two"])) is False
    seen = jobs.get(running.id)
    assert (seen.stage, seen.progress, seen.log_tail) == ("train", 0.5, ["stage train", "one", "two"])
    assert seen.heartbeat_at and (seen.heartbeat_at - running.started_at).total_seconds() == 10
    done = leases.finish(
        running.id, "w1", JobState.SUCCEEDED, release="v2", facts={"accuracy": 0.6}, events=said(lines=["three"])
    )
    assert (done.state, done.release, done.progress, done.facts) == ("succeeded", "v2", 1.0, {"accuracy": 0.6})
    assert done.state.final and done.log_tail == ["stage train", "one", "two", "three"] and done.finished_at
    assert done.lease_until is None and leases.claim("w2", 30) is None


def test_jobs_outlive_the_process(jobs: JobStore, url: str) -> None:
    job = submit(jobs)
    again = JobStore(url)
    assert again.get(job.id) == job
    again.close()


def test_idempotency(jobs: JobStore, leases: JobLeases, clock: Clock) -> None:
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
    claim(leases)
    leases.finish(first.id, "w1", JobState.FAILED, error="no")
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


def test_order_and_listing(jobs: JobStore, leases: JobLeases, clock: Clock) -> None:
    ids = []
    for key in ("a", "b", "c"):
        ids.append(submit(jobs, key).id)
        clock.now += 1
    assert [job.id for job in jobs.list()] == ids[::-1]
    assert [job.id for job in jobs.list(limit=2)] == ids[:0:-1]
    assert [claim(leases).id for _ in ids] == ids
    assert jobs.list(state=JobState.QUEUED) == []
    assert len(jobs.list(state=JobState.RUNNING)) == 3


def test_an_unknown_job(jobs: JobStore, leases: JobLeases) -> None:
    for operation in (jobs.get, jobs.request_cancel):
        with pytest.raises(JobNotFound, match="no job"):
            operation("nothing")
    with pytest.raises(LeaseLost):
        leases.heartbeat("nothing", "w1", 30)


def test_a_running_job_is_left_alone(jobs: JobStore, leases: JobLeases, clock: Clock) -> None:
    submit(jobs)
    job = claim(leases)
    clock.now += 29
    assert leases.claim("w2", 30) is None
    leases.heartbeat(job.id, "w1", 30)
    clock.now += 29
    assert leases.claim("w2", 30) is None


def test_a_dead_workers_job_is_taken_over(jobs: JobStore, leases: JobLeases, clock: Clock) -> None:
    submit(jobs)
    first = claim(leases, "w1")
    leases.heartbeat(first.id, "w1", 30, said("train", 0.4, ["x"]))
    clock.now += 31
    second = claim(leases, "w2")
    assert (second.id, second.worker, second.attempts, second.stage) == (first.id, "w2", 2, "train")
    assert second.started_at == first.started_at and second.log_tail == ["stage train", "x"]
    for lost in (
        lambda: leases.heartbeat(first.id, "w1", 30, said(lines=["late"])),
        lambda: leases.finish(first.id, "w1", JobState.SUCCEEDED, release="v1"),
        lambda: leases.release(first.id, "w1"),
    ):
        with pytest.raises(LeaseLost, match="another worker"):
            lost()
    assert jobs.get(first.id) == second


def test_a_late_heartbeat_keeps_a_job_that_nobody_took(jobs: JobStore, leases: JobLeases, clock: Clock) -> None:
    submit(jobs)
    job = claim(leases)
    clock.now += 1000
    leases.heartbeat(job.id, "w1", 30)
    assert leases.claim("w2", 30) is None


def test_a_job_that_kills_its_workers_fails(jobs: JobStore, leases: JobLeases, clock: Clock) -> None:
    job = submit(jobs)
    for i in range(3):
        claimed = claim(leases, f"w{i}")
        leases.heartbeat(claimed.id, f"w{i}", 30, said("train"))
        clock.now += 31
    assert leases.claim("w9", 30) is None
    failed = jobs.get(job.id)
    assert (
        failed.state == "failed" and failed.error == "given up: the worker died 3 times, the last time in stage train"
    )
    assert failed.finished_at is not None


def test_handing_back_costs_no_attempt(jobs: JobStore, leases: JobLeases) -> None:
    job = submit(jobs)
    for i in range(10):
        claim(leases, f"w{i}")
        back = leases.release(job.id, f"w{i}")
        assert (back.state, back.attempts, back.worker, back.lease_until) == ("queued", 0, None, None)


def test_cancel(jobs: JobStore, leases: JobLeases, clock: Clock) -> None:
    queued = submit(jobs, "a")
    assert jobs.request_cancel(queued.id).state == "cancelled"
    assert jobs.request_cancel(queued.id).state == "cancelled"
    assert leases.claim("w1", 30) is None

    running = submit(jobs, "b")
    claim(leases)
    asked = jobs.request_cancel(running.id)
    assert asked.state == "running" and asked.cancel_requested
    assert leases.heartbeat(running.id, "w1", 30) is True
    leases.finish(running.id, "w1", JobState.CANCELLED)
    assert jobs.request_cancel(running.id).state == "cancelled"

    done = submit(jobs, "c")
    claim(leases)
    leases.finish(done.id, "w1", JobState.SUCCEEDED)
    with pytest.raises(JobConflict, match="succeeded already"):
        jobs.request_cancel(done.id)


def test_cancelled_while_its_worker_was_dead(jobs: JobStore, leases: JobLeases, clock: Clock) -> None:
    for hand_back in (False, True):
        job = submit(jobs, str(hand_back))
        claim(leases)
        jobs.request_cancel(job.id)
        if hand_back:
            leases.release(job.id, "w1")
        clock.now += 31
        assert leases.claim("w2", 30) is None
        assert jobs.get(job.id).state == "cancelled"


def test_the_log_keeps_its_tail(jobs: JobStore, leases: JobLeases) -> None:
    submit(jobs)
    job = claim(leases)
    for i in range(7):
        leases.heartbeat(job.id, "w1", 30, said(lines=[f"{i}-{j}" for j in range(10)] + ["x" * 10_000]))
    tail = jobs.get(job.id).log_tail
    assert len(tail) == LOG_TAIL and max(map(len, tail)) == 500 and tail[-2] == "6-9"


def test_progress_stays_in_bounds(jobs: JobStore, leases: JobLeases) -> None:
    submit(jobs)
    job = claim(leases)
    for fraction, kept in ((1.5, 1.0), (-1.0, 0.0), (None, 0.0)):
        leases.heartbeat(job.id, "w1", 30, said(progress=fraction))
        assert jobs.get(job.id).progress == kept


def test_only_a_final_state_ends_a_job(jobs: JobStore, leases: JobLeases) -> None:
    submit(jobs)
    with pytest.raises(ValueError, match="ends nothing"):
        leases.finish(claim(leases).id, "w1", JobState.RUNNING)


def test_each_job_goes_to_one_of_many_threads(jobs: JobStore, leases: JobLeases) -> None:
    for i in range(12):
        submit(jobs, str(i))
    taken: list[str] = []

    def work(worker: str) -> None:
        while job := leases.claim(worker, 30):
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
    code = "import sys\nfrom contracts.jobs.leases import JobLeases\nleases = JobLeases(sys.argv[1])\n"
    code += "while job := leases.claim(sys.argv[2], 3e9): sys.stdout.write(job.id + '\\n')"
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


def test_a_job_is_left_to_workers_that_know_its_kind(jobs: JobStore, leases: JobLeases, clock: Clock) -> None:
    """Fault 21: an older worker does not fail what only a newer one can do."""
    newer = jobs.submit("distil", {}, "new")[0]
    clock.now += 1
    known = submit(jobs, "known")
    assert claim(leases, "old").id == known.id
    assert leases.claim("old", 30) is None and jobs.get(newer.id).state == "queued"
    leases.announce("old")
    assert jobs.queue().waits_for(newer.id) == (
        "no worker that runs knows jobs of kind 'distil': start one of a newer version"
    )
    both = {"retrain", "distil"}
    leases.announce("new", both)
    assert jobs.queue().waits_for(newer.id) == "a worker takes it within seconds"
    taken = leases.claim("new", 30, kinds=both)
    assert taken is not None and taken.id == newer.id
    clock.now += 31  # its worker dies: still nothing for the older one but its own
    assert claim(leases, "old2").id == known.id and leases.claim("old2", 30) is None


def test_a_queued_job_says_what_it_waits_for(jobs: JobStore, leases: JobLeases, clock: Clock) -> None:
    """Fault 31."""
    ids = []
    for key in "abc":
        ids.append(submit(jobs, key).id)
        clock.now += 1
    queue = jobs.queue()
    assert [queue.place(job_id) for job_id in ids] == [1, 2, 3]
    assert {queue.waits_for(job_id) for job_id in ids} == {"no worker is running: start one with `stars worker`"}

    leases.announce("w1")
    queue = jobs.queue()
    assert queue.waits_for(ids[0]) == "a worker takes it within seconds"
    assert queue.waits_for(ids[1]) == f"1 job is ahead of it, first {ids[0]} (not begun)"

    claim(leases, "w1")
    leases.heartbeat(ids[0], "w1", 30, said("train", 0.434))
    clock.now += 29
    leases.heartbeat(ids[0], "w1", 30)
    clock.now += 29  # it has not been announced for long, but it renews its lease
    queue = jobs.queue()
    assert queue.waits_for(ids[2]) == f"2 jobs are ahead of it, first {ids[0]} (in stage train, 43% done)"
    assert (queue.place(ids[0]), queue.waits_for(ids[0]), queue.place(ids[2])) == (None, None, 2)

    clock.now += 31  # now it is dead, and its job waits as the others do
    queue = jobs.queue()
    assert (queue.workers, queue.place(ids[0])) == ((), 1)
    assert "stars worker" in (queue.waits_for(ids[0]) or "")
    leases.announce("w2")
    leases.announce("w3")
    assert jobs.queue().waits_for(ids[1]) == "a worker takes it within seconds"
    leases.retire("w2")
    leases.retire("w3")
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


def told(jobs: JobStore, job: Job) -> list[tuple[int, str, str | None, dict[str, Any]]]:
    return [(event.sequence, event.kind, event.stage, event.data) for event in jobs.events(job.id)]


def test_events_tell_a_jobs_whole_life(jobs: JobStore, leases: JobLeases, clock: Clock) -> None:
    job = submit(jobs)
    clock.now += 1
    other = submit(jobs, "other")
    claim(leases)
    clock.now += 5
    leases.heartbeat(job.id, "w1", 30, [*said("train", 0.25), log_line("epoch 1", "train")])
    leases.heartbeat(job.id, "w1", 30)
    jobs.request_cancel(job.id)
    jobs.request_cancel(job.id)
    leases.release(job.id, "w1")
    jobs.request_cancel(job.id)
    assert told(jobs, job) == [
        (1, "state", None, {"state": "queued"}),
        (2, "state", None, {"state": "running", "worker": "w1", "attempts": 1}),
        (3, "stage", "train", {}),
        (4, "progress", None, {"progress": 0.25, "message": ""}),
        (5, "log", "train", {"message": "epoch 1"}),
        (6, "state", None, {"state": "running", "cancel_requested": True}),
        (7, "state", None, {"state": "queued"}),
        (8, "state", None, {"state": "cancelled"}),
    ]
    assert [event.at.timestamp() - clock.now for event in jobs.events(job.id)][:3] == [-6, -5, 0]
    assert [event.sequence for event in jobs.events(job.id, after=5)] == [6, 7, 8]
    assert [event.sequence for event in jobs.events(job.id, after=2, limit=2)] == [3, 4]
    assert jobs.events(job.id, after=8) == [] == jobs.events("nothing")

    claim(leases, "w2")
    leases.finish(other.id, "w2", JobState.FAILED, error="no \ud800 \0 luck", events=said(lines=["the end"]))
    assert told(jobs, other)[2:] == [
        (3, "log", None, {"message": "the end"}),
        (4, "state", None, {"state": "failed", "error": "no ?  luck"}),
    ]


def test_what_ends_without_its_worker_is_told_too(jobs: JobStore, leases: JobLeases, clock: Clock) -> None:
    given_up, cancelled = submit(jobs, "a"), submit(jobs, "b")
    for worker in ("w1", "w2"):
        assert leases.claim(worker, 30, max_attempts=1)
    jobs.request_cancel(cancelled.id)
    clock.now += 31
    assert leases.claim("w3", 30, max_attempts=1) is None
    error = "given up: the worker died 1 times, the last time in stage None"
    assert told(jobs, given_up)[-1] == (3, "state", None, {"state": "failed", "error": error})
    assert told(jobs, cancelled)[-1] == (4, "state", None, {"state": "cancelled"})


def test_nothing_is_told_of_a_change_that_was_refused(jobs: JobStore, leases: JobLeases, clock: Clock) -> None:
    job = submit(jobs)
    claim(leases, "w1")
    clock.now += 31
    claim(leases, "w2")
    before = jobs.events(job.id)
    for late in (
        lambda: leases.heartbeat(job.id, "w1", 30, said("train", 0.5, ["late"])),
        lambda: leases.finish(job.id, "w1", JobState.SUCCEEDED, events=said(lines=["late"])),
        lambda: leases.release(job.id, "w1"),
    ):
        with pytest.raises(LeaseLost):
            late()
    leases.finish(job.id, "w2", JobState.SUCCEEDED)
    with pytest.raises(JobConflict):
        jobs.request_cancel(job.id)
    assert jobs.submit("retrain", CONFIG, "k1") == (jobs.get(job.id), False)
    assert jobs.events(job.id)[: len(before)] == before and len(jobs.events(job.id)) == len(before) + 1


def test_a_change_and_its_event_come_together_or_not_at_all(
    jobs: JobStore, leases: JobLeases, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit(jobs)
    claim(leases)
    before, events = jobs.get(job.id), jobs.events(job.id)
    not_json = NewEvent(EventKind.METRIC, {"values": {"loss": float("nan")}})
    with pytest.raises(ValueError, match="JSON"):
        leases.heartbeat(job.id, "w1", 99, [*said("train", 0.5), not_json])
    assert jobs.get(job.id) == before and jobs.events(job.id) == events


def test_a_job_keeps_its_newest_events_and_all_that_tell_where_it_stood(jobs: JobStore, leases: JobLeases) -> None:
    job = submit(jobs)
    claim(leases)
    for i in range(30):
        lines = [log_line(f"{i}-{j}") for j in range(100)]
        points = [metrics_measured({"loss": 1.5}, 50 * i + j) for j in range(50)]
        leases.heartbeat(job.id, "w1", 30, [*said(f"stage{i}", i / 30), *lines, *points])
    events = jobs.events(job.id, limit=10_000)
    kinds = Counter(event.kind for event in events)
    assert kinds[EventKind.STAGE] == 30 == kinds[EventKind.PROGRESS] and kinds[EventKind.STATE] == 2
    for kind in (EventKind.LOG, EventKind.METRIC):
        assert KEPT[kind] <= kinds[kind] <= KEPT[kind] + 200
    sequences = [event.sequence for event in events]
    assert sequences == sorted(set(sequences)) and sequences[0] == 1 and sequences[-1] == 2 + 30 * 152
    assert [event.data["message"] for event in events if event.kind is EventKind.LOG][-3:] == [
        "29-97",
        "29-98",
        "29-99",
    ]
    assert jobs.get(job.id).log_tail == [f"29-{j}" for j in range(50, 100)]


def test_several_who_write_to_one_job_count_without_gaps(jobs: JobStore, leases: JobLeases) -> None:
    job = submit(jobs)
    claim(leases)
    others = [jobs.request_cancel] * 3

    def beat() -> None:
        for i in range(10):
            leases.heartbeat(job.id, "w1", 30, said(lines=[f"line {i}", "and one"]))

    threads = [threading.Thread(target=beat) for _ in range(4)]
    threads += [threading.Thread(target=cancel, args=(job.id,)) for cancel in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sequences = [event.sequence for event in jobs.events(job.id)]
    assert sequences == list(range(1, 2 + 80 + 1 + 1))


def test_what_a_program_measured_is_kept_as_strict_json(jobs: JobStore, leases: JobLeases) -> None:
    job = submit(jobs)
    claim(leases)
    odd = {"loss": float("nan"), "rate": float("inf"), "none": None, "word": "x", "flag": True, "n": 3, "x" * 500: 1.5}
    for values, step, kept in (
        (odd, 7, {"values": {"loss": None, "rate": None, "none": None, "n": 3, "x" * 100: 1.5}, "step": 7}),
        ({str(i): i for i in range(1000)}, "seven", {"values": {str(i): i for i in range(100)}, "step": None}),
        ({}, float("nan"), {"values": {}, "step": None}),
    ):
        leases.heartbeat(job.id, "w1", 30, [metrics_measured(values, step, "train")])
        assert told(jobs, job)[-1][1:] == ("metric", "train", kept)
    leases.heartbeat(job.id, "w1", 30, [stage_began("\0" + "s" * 100)])
    assert jobs.get(job.id).stage == "s" * 63


def test_a_list_shows_the_end_of_each_jobs_own_log(jobs: JobStore, leases: JobLeases) -> None:
    for i in range(3):
        job = submit(jobs, str(i))
        claim(leases)
        leases.heartbeat(job.id, "w1", 30, said(f"stage{i}", 0.5, [f"{i}-{j}" for j in range(20 + 20 * i)]))
    ends = {job.stage: job.log_tail for job in jobs.list()}
    for i, shown in enumerate((21, 41, 50)):
        log = [f"stage stage{i}", *(f"{i}-{j}" for j in range(20 + 20 * i))]
        assert ends[f"stage{i}"] == log[-shown:]
