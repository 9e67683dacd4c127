"""GET /admin/jobs/{id}/events on a real socket: what a client that follows a job reads."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest

from contracts.jobs.event import NewEvent, log_line, metrics_measured, progress_made, stage_began
from contracts.jobs.job import Job, JobState
from contracts.jobs.leases import JobLeases
from contracts.jobs.store import JobStore
from service.app import create_app
from service.jobs import service
from service.server import make_server
from service.settings import Settings

from .in_memory import InMemory


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "LOOK_SECONDS", 0.05)


@pytest.fixture
def leases(settings: Callable[..., Settings]) -> Iterator[JobLeases]:
    with closing(JobLeases(settings().job_store_url)) as leases:
        yield leases


@pytest.fixture
def job(settings: Callable[..., Settings]) -> Job:
    with closing(JobStore(settings().job_store_url)) as jobs:
        return jobs.submit("retrain", {"data": ["/data/reviews.tsv"]}, "k")[0]


def _events(response: httpx.Response) -> Iterator[dict[str, Any]]:
    """Each event as its data, with the `id` and `event` that stood before it; a comment as its text."""
    fields: dict[str, str] = {}
    for line in response.iter_lines():
        name, _, value = line.partition(": ")
        if line.startswith(":"):
            yield {"comment": line}
        elif line:
            fields[name] = value
        elif "data" in fields:
            data = json.loads(fields["data"])
            assert (int(fields["id"]), fields["event"]) == (data["sequence"], data["kind"])
            yield data
            fields = {}


def test_a_job_is_followed_to_its_end(
    gateway: Callable[..., httpx.Client], admin: dict[str, str], job: Job, leases: JobLeases
) -> None:
    client = gateway()
    with client.stream("GET", f"/admin/jobs/{job.id}/events", headers=admin) as response:
        assert (response.status_code, response.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        assert (response.headers["cache-control"], response.headers["x-accel-buffering"]) == ("no-store", "no")
        assert response.headers["x-request-id"]
        told = _events(response)
        first = next(told)
        assert (first["kind"], first["data"], first["sequence"]) == ("state", {"state": "queued"}, 1)
        leases.claim("w1", 60)
        assert next(told)["data"] == {"state": "running", "worker": "w1", "attempts": 1}
        news = [stage_began("train"), progress_made(0.5, "epoch 1", "train"), metrics_measured({"loss": 0.7}, 50)]
        leases.heartbeat(job.id, "w1", 60, [*news, log_line("two\nlines\u2028 é")])
        assert [(event["kind"], event["stage"], event["data"]) for event in (next(told) for _ in range(4))] == [
            ("stage", "train", {}),
            ("progress", "train", {"progress": 0.5, "message": "epoch 1"}),
            ("metric", None, {"values": {"loss": 0.7}, "step": 50}),
            ("log", None, {"message": "two\nlines\u2028 é"}),
        ]
        leases.finish(job.id, "w1", JobState.SUCCEEDED, release="v2", events=[log_line("the end")])
        rest = list(told)
    assert [event["data"] for event in rest] == [{"message": "the end"}, {"state": "succeeded", "release": "v2"}]
    assert [event["sequence"] for event in rest] == [7, 8]


def test_a_client_goes_on_where_it_was(
    gateway: Callable[..., httpx.Client], admin: dict[str, str], job: Job, leases: JobLeases
) -> None:
    client = gateway()
    leases.claim("w1", 60)
    leases.heartbeat(job.id, "w1", 60, [log_line(f"line {i}") for i in range(1200)])
    leases.finish(job.id, "w1", JobState.FAILED, error="no")
    for after, left in ((0, 2 + 1200 + 1 - 700 + 0), (1000, 203), (1203, 0), (99_999, 0)):
        headers = admin | ({"last-event-id": str(after)} if after else {})
        with client.stream("GET", f"/admin/jobs/{job.id}/events", headers=headers) as response:
            sequences = [event["sequence"] for event in _events(response)]
        if after:
            assert sequences == list(range(after + 1, after + 1 + left))
        else:  # old lines were given up, the states never
            assert sequences[:2] == [1, 2] and sequences[-1] == 1203 and 500 <= len(sequences) - 3 <= 700


@pytest.mark.parametrize("last", ["-1", "one", "1.5", str(2**31)])
def test_a_last_event_that_is_none_is_422(
    last: str, gateway: Callable[..., httpx.Client], admin: dict[str, str], job: Job
) -> None:
    response = gateway().get(f"/admin/jobs/{job.id}/events", headers=admin | {"last-event-id": last})
    assert (response.status_code, "last-event-id" in response.json()["error"]["message"]) == (422, True)


def test_a_job_that_is_not_there_is_404(client: httpx.Client, admin: dict[str, str]) -> None:
    assert client.get(f"/admin/jobs/{'0' * 32}/events", headers=admin).status_code == 404


def test_head_ends_at_once(gateway: Callable[..., httpx.Client], admin: dict[str, str], job: Job) -> None:
    response = gateway().head(f"/admin/jobs/{job.id}/events", headers=admin)
    assert response.status_code == 200 and response.headers["content-type"].startswith("text/event-stream")


def test_who_waits_hears_that_the_gateway_is_there(
    gateway: Callable[..., httpx.Client], admin: dict[str, str], job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "QUIET_SECONDS", 0.1)
    with gateway().stream("GET", f"/admin/jobs/{job.id}/events", headers=admin) as response:
        told = _events(response)
        assert next(told)["data"] == {"state": "queued"}
        assert [next(told) for _ in range(3)] == [{"comment": ": nothing new"}] * 3


def test_the_gateway_stops_though_somebody_follows_a_job(
    settings: Callable[..., Settings], admin: dict[str, str], job: Job
) -> None:
    server = make_server(create_app(settings()), port=0)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/admin/jobs/{job.id}/events"
    try:
        with httpx.stream("GET", url, headers=admin, timeout=30, trust_env=False) as response:
            told = _events(response)
            next(told)
            began = time.monotonic()
            server.should_exit = True
            assert list(told) == [], "the stream has a proper end, after which a client comes back"
    finally:
        server.should_exit = True
        thread.join()
    assert time.monotonic() - began < 5, "sooner than the deadline for what is being answered"


def test_nobody_looks_after_a_job_whose_follower_has_left(
    gateway: Callable[..., httpx.Client], admin: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []

    class Watched(InMemory):
        def events(self, job_id: str, after: int = 0, limit: int = 500) -> Any:
            looks.append(time.monotonic())
            return super().events(job_id, after, limit)

    launcher = Watched()
    monkeypatch.setattr("service.app.JobStore", lambda url: launcher)
    job = launcher.submit("retrain", {}, "k")[0]
    with gateway().stream("GET", f"/admin/jobs/{job.id}/events", headers=admin) as response:
        told = _events(response)
        assert next(told)["data"] == {"state": "queued"}
        event = NewEvent(log_line("x").kind, {"message": "x"}, "train")
        launcher.move(job.id, event)
        assert next(told)["stage"] == "train"
    until = time.monotonic() + 30
    while time.monotonic() - looks[-1] < 0.5:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_job_store_that_is_away_for_a_moment_ends_nothing(
    gateway: Callable[..., httpx.Client],
    admin: dict[str, str],
    job: Job,
    leases: JobLeases,
    settings: Callable[..., Settings],
) -> None:
    with gateway().stream("GET", f"/admin/jobs/{job.id}/events", headers=admin) as response:
        told = _events(response)
        next(told)
        with closing(JobStore(settings().job_store_url)) as other:
            for statement in ("alter table jobs rename to away", "alter table away rename to jobs"):
                with other._database.transaction() as connection:
                    connection.exec_driver_sql(statement)
                time.sleep(0.3)
        leases.claim("w1", 60)
        assert next(told)["data"]["state"] == "running"
        with closing(JobStore(settings().job_store_url)) as other, other._database.transaction() as connection:
            connection.exec_driver_sql("delete from jobs")
        assert list(told) == [], "a job that is gone has no more events"
