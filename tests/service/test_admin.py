from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from contracts.jobs.event import log_line, progress_made, stage_began
from contracts.jobs.job import JobState
from contracts.jobs.leases import JobLeases
from service.jobs.protocol import Launcher
from service.settings import Settings

from .in_memory import InMemory

ADDRESSES = [
    ("POST", "/admin/retrain"),
    ("GET", "/admin/jobs"),
    ("GET", f"/admin/jobs/{'0' * 32}"),
    ("GET", f"/admin/jobs/{'0' * 32}/events"),
    ("POST", f"/admin/jobs/{'0' * 32}/cancel"),
    ("POST", "/admin/models/v1/promote"),
    ("POST", "/admin/models/rollback"),
]


@pytest.fixture(params=["job store", "in memory"])
def gateways(
    request: pytest.FixtureRequest, gateway: Callable[..., httpx.Client], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., httpx.Client]:
    """As `gateway`, on the job store and on a launcher of jobs that is nothing but what the protocol says."""
    if request.param == "in memory":
        launcher: Launcher = InMemory()
        monkeypatch.setattr("service.app.JobStore", lambda url: launcher)
    return gateway


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A file where retraining may read."""
    folder = tmp_path / "data"
    folder.mkdir()
    file = folder / "reviews.tsv"
    file.write_text("star_rating\treview_body\n")
    return file


def _retrain(client: httpx.Client, headers: dict[str, str], key: str, **body: Any) -> httpx.Response:
    return client.post("/admin/retrain", json=body, headers=headers | {"idempotency-key": key})


@pytest.mark.parametrize(("method", "path"), ADDRESSES)
def test_admin_addresses_want_the_key(method: str, path: str, client: httpx.Client) -> None:
    response = client.request(method, path)
    assert (response.status_code, response.json()["error"]["type"]) == (401, "unauthorized")
    assert response.headers["www-authenticate"] == "Bearer"
    for wrong in ("Bearer wrong", "Bearer an-admin-key-for-test", "bearer an-admin-key-for-tests2"):
        response = client.request(method, path, headers={"authorization": wrong})
        assert (response.status_code, response.json()["error"]["type"]) == (403, "forbidden")
    assert client.request(method, path, headers={"authorization": "Basic YTpi"}).status_code == 401


def test_without_a_configured_key_nobody_is_admin(gateway: Callable[..., httpx.Client]) -> None:
    client = gateway(admin_key=None)
    for method, path in ADDRESSES:
        response = client.request(method, path, headers={"authorization": "Bearer anything-at-all-here"})
        assert response.status_code == 403
        assert "STARS_ADMIN_KEY" in response.json()["error"]["message"]


def test_a_retraining_is_queued_once(gateways: Callable[..., httpx.Client], admin: dict[str, str], data: Path) -> None:
    client = gateways()
    first = _retrain(client, admin, "a1", data=str(data), preset="tiny")
    assert first.status_code == 202
    job = first.json()
    assert first.headers["location"] == f"/admin/jobs/{job['id']}"
    assert (job["state"], job["kind"], job["progress"]) == ("queued", "retrain", 0.0)
    assert job["config"] == {"data": [str(data)], "preset": "tiny", "overrides": {}}

    again = _retrain(client, admin, "a1", data=[str(data)], preset="tiny")
    assert (again.status_code, again.json()["id"]) == (200, job["id"])

    other = _retrain(client, admin, "a1", data=str(data), preset="standard")
    assert (other.status_code, other.json()["error"]["type"]) == (409, "conflict")

    assert client.get(first.headers["location"], headers=admin).json() == job
    assert client.get("/admin/jobs", headers=admin).json() == {"jobs": [job]}
    assert client.get("/admin/jobs?state=failed", headers=admin).json() == {"jobs": []}


def test_data_outside_the_allowed_folders_is_refused(
    gateways: Callable[..., httpx.Client], admin: dict[str, str], data: Path
) -> None:
    client, folder = gateways(), data.parent
    (folder / "link").symlink_to("/etc")
    told = set()
    for path in (f"{folder}/../reviews.tsv", "/etc/passwd", f"{folder}/link/passwd", "s3://bucket/x", "\0", ""):
        for asked in (path, [str(data), path]):
            response = _retrain(client, admin, "a1", data=asked)
            assert (response.status_code, response.json()["error"]["type"]) == (422, "invalid_request")
            if path:
                told.add(response.json()["error"]["message"])
    assert len(told) == 1, "what is there, outside, is nobody's to learn"
    assert client.get("/admin/jobs", headers=admin).json() == {"jobs": []}


def test_data_that_cannot_be_trained_on_is_refused_at_once(
    gateways: Callable[..., httpx.Client], admin: dict[str, str], data: Path
) -> None:
    """Fault 27: not with a 202 first."""
    client, folder = gateways(), data.parent
    (folder / "reviews.txt").write_text("a,b\n")
    (folder / "empty").mkdir()
    os.mkfifo(folder / "pipe.tsv")
    for name, told in {"gone.tsv": "no", "reviews.txt": ".tsv", "empty": "holds no", "pipe.tsv": "plain file"}.items():
        response = _retrain(client, admin, "a1", data=name)
        assert response.status_code == 422 and told in response.json()["error"]["message"]
    assert client.get("/admin/jobs", headers=admin).json() == {"jobs": []}


def test_a_relative_name_means_the_allowed_folders(
    gateways: Callable[..., httpx.Client], admin: dict[str, str], data: Path
) -> None:
    client = gateways()
    for i, name in enumerate(("reviews.tsv", "data/reviews.tsv", ["./reviews.tsv"])):
        job = _retrain(client, admin, f"a{i}", data=name).json()
        assert job["config"]["data"] == [str(data)]


def test_data_on_the_workers_machine_is_taken_unseen(
    gateways: Callable[..., httpx.Client], admin: dict[str, str], tmp_path: Path
) -> None:
    client = gateways(data_roots=(tmp_path / "elsewhere",))
    job = _retrain(client, admin, "a1", data="reviews.tsv").json()
    assert job["config"]["data"] == [str(tmp_path / "elsewhere" / "reviews.tsv")]


def test_a_repeat_finds_its_job_though_the_data_has_been_moved(
    gateways: Callable[..., httpx.Client], admin: dict[str, str], data: Path
) -> None:
    client = gateways()
    asked: dict[str, Any] = {"data": "reviews.tsv", "overrides": {"train": {"epochs": 1}}}
    first = _retrain(client, admin, "a1", **asked)
    data.unlink()
    again = _retrain(client, admin, "a1", **asked)
    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
    assert _retrain(client, admin, "a1", **asked | {"preset": "tiny"}).status_code == 422
    assert _retrain(client, admin, "a2", **asked).status_code == 422


def test_columns_are_named_in_the_request(
    gateways: Callable[..., httpx.Client], admin: dict[str, str], data: Path
) -> None:
    client, named = gateways(), {"stars": "rating", "text": "review"}
    first = _retrain(client, admin, "a1", data="reviews.tsv", columns=named)
    assert first.json()["config"]["columns"] == {"star_rating": "rating", "review_body": "review"}
    assert _retrain(client, admin, "a1", data="reviews.tsv", columns=named).status_code == 200
    assert _retrain(client, admin, "a1", data="reviews.tsv", columns=named | {"title": "head"}).status_code == 409
    refused = _retrain(client, admin, "a2", data="reviews.tsv", columns={"star": "rating"})
    assert refused.status_code == 422
    assert "columns: knows no such column: the names are stars, text, " in refused.json()["error"]["message"]


def test_a_job_that_waits_says_for_what(
    gateway: Callable[..., httpx.Client], admin: dict[str, str], data: Path, settings: Callable[..., Settings]
) -> None:
    """Fault 31, in every answer about a job."""
    client = gateway()
    first, second = (_retrain(client, admin, key, data="reviews.tsv").json() for key in ("a1", "a2"))
    assert (first["place"], second["place"]) == (1, 2)
    assert first["waits_for"] == "no worker is running: start one with `stars worker`"
    with closing(JobLeases(settings().job_store_url)) as leases:
        leases.announce("w1")
        assert leases.claim("w1", 60) is not None
        leases.heartbeat(first["id"], "w1", 60, [stage_began("train"), progress_made(0.4)])
        listed = client.get("/admin/jobs", headers=admin).json()["jobs"]
        expected = {
            first["id"]: (None, None),
            second["id"]: (1, f"1 job is ahead of it, first {first['id']} (in stage train, 40% done)"),
        }
        assert {job["id"]: (job["place"], job["waits_for"]) for job in listed} == expected
        shown = client.get(f"/admin/jobs/{second['id']}", headers=admin).json()
        assert (shown["place"], shown["waits_for"]) == expected[second["id"]]
        assert client.post(f"/admin/jobs/{second['id']}/cancel", headers=admin).json()["waits_for"] is None


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"data": 5},
        {"data": []},
        {"data": "x", "preset": "../tiny"},
        {"data": "x", "preset": None},
        {"data": "x", "preset": "tinny"},
        {"data": ["x"] * 75_000},
        {"data": "x", "overrides": {"train": {"epoch": 1}}},
        {"data": "x", "overrides": {"trian": {"epochs": 1}}},
        {"data": "x", "overrides": {"export": {"store": "/tmp"}}},
        {"data": "x", "more": 1},
        {"data": "x", "overrides": {"train": {"base_model": "/etc"}}},
        {"data": "x", "overrides": {"train": 3}},
    ],
    ids=lambda body: str(body)[:60],
)
def test_a_retraining_that_makes_no_sense_is_422(
    body: dict[str, Any], client: httpx.Client, admin: dict[str, str]
) -> None:
    response = _retrain(client, admin, "a1", **body)
    assert (response.status_code, response.json()["error"]["type"]) == (422, "invalid_request")


def test_a_number_without_bounds_is_422(client: httpx.Client, admin: dict[str, str]) -> None:
    """Fault 27: 1e999 was the job store's mistake, 503."""
    body = b'{"data": "reviews.tsv", "overrides": {"train": {"epochs": 1e999}}}'
    headers = admin | {"idempotency-key": "a1", "content-type": "application/json"}
    response = client.post("/admin/retrain", content=body, headers=headers)
    assert (response.status_code, response.json()["error"]["message"]) == (
        422,
        "overrides.train.epochs: must be a number, neither infinite nor NaN",
    )


@pytest.mark.parametrize("key", ["", "two words", "x" * 201])
def test_an_idempotency_key_that_is_none_is_422(
    key: str, client: httpx.Client, admin: dict[str, str], data: Path
) -> None:
    assert _retrain(client, admin, key, data=str(data)).status_code == 422
    response = client.post("/admin/retrain", json={"data": str(data)}, headers=admin)
    assert (response.status_code, "idempotency-key" in response.json()["error"]["message"]) == (422, True)


def test_a_job_shows_how_far_it_is_and_can_be_cancelled(
    gateway: Callable[..., httpx.Client], admin: dict[str, str], data: Path, settings: Callable[..., Settings]
) -> None:
    client = gateway()
    where = _retrain(client, admin, "a1", data=str(data)).headers["location"]
    queued = _retrain(client, admin, "a2", data=str(data)).headers["location"]
    leases = JobLeases(settings().job_store_url)
    claimed = leases.claim("worker", 60)
    assert claimed is not None
    leases.heartbeat(claimed.id, "worker", 60, [stage_began("train"), progress_made(0.4), log_line("epoch 1")])

    shown = client.get(where, headers=admin).json()
    assert (shown["state"], shown["stage"], shown["progress"]) == ("running", "train", 0.4)
    assert shown["log_tail"] == ["stage train", "epoch 1"]

    asked = client.post(f"{where}/cancel", headers=admin)
    assert (asked.status_code, asked.json()["cancel_requested"], asked.json()["state"]) == (200, True, "running")
    assert client.post(f"{queued}/cancel", headers=admin).json()["state"] == "cancelled"

    leases.finish(claimed.id, "worker", JobState.FAILED, error="the data has no reviews")
    leases.close()
    assert client.get(where, headers=admin).json()["error"] == "the data has no reviews"


def test_a_launcher_of_another_kind_shows_its_jobs_too(
    gateway: Callable[..., httpx.Client], admin: dict[str, str], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher = InMemory()
    monkeypatch.setattr("service.app.JobStore", lambda url: launcher)
    client = gateway()
    first, second, third = (
        _retrain(client, admin, key, data="reviews.tsv").headers["location"] for key in ("a1", "a2", "a3")
    )
    ids = [where.rpartition("/")[2] for where in (first, second, third)]
    launcher.move(ids[0], state=JobState.RUNNING, stage="train", progress=0.4)
    shown = client.get(first, headers=admin).json()
    assert (shown["state"], shown["stage"], shown["progress"]) == ("running", "train", 0.4)
    assert (shown["place"], shown["waits_for"]) == (None, None)
    assert client.post(f"{first}/cancel", headers=admin).json()["cancel_requested"] is True
    assert client.post(f"{second}/cancel", headers=admin).json()["state"] == "cancelled"
    launcher.move(ids[2], state=JobState.SUCCEEDED, release="v2")
    assert client.post(f"{third}/cancel", headers=admin).status_code == 409
    assert client.get(f"/admin/jobs/{'0' * 32}", headers=admin).status_code == 404
    listed = client.get("/admin/jobs?limit=2", headers=admin).json()["jobs"]
    assert [job["id"] for job in listed] == ids[:0:-1]
    assert [job["id"] for job in client.get("/admin/jobs?state=succeeded", headers=admin).json()["jobs"]] == ids[2:]


def test_an_unknown_job_is_404(client: httpx.Client, admin: dict[str, str]) -> None:
    for path, method in ((f"/admin/jobs/{'0' * 32}", "GET"), (f"/admin/jobs/{'0' * 32}/cancel", "POST")):
        response = client.request(method, path, headers=admin)
        assert (response.status_code, response.json()["error"]["type"]) == (404, "not_found")


def test_a_job_store_that_is_down_is_503(
    gateway: Callable[..., httpx.Client], admin: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "broken.db").write_text("this is no database, it only has its name" * 100)
    client = gateway(jobs_url=f"sqlite:///{tmp_path / 'broken.db'}")
    response = client.get("/admin/jobs", headers=admin)
    assert (response.status_code, response.json()["error"]["type"]) == (503, "not_ready")
