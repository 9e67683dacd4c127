"""The real TorchServe: the protocol over HTTP, what it refuses, and swapping one release for another."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from contracts.limits import QUEUED_REQUESTS
from contracts.model_folder import WorkerSettings, write_model_folder
from contracts.release.release import Release

pytestmark = pytest.mark.slow

LOAD_SECONDS = 240  # on a busy machine; five otherwise
NAME = "review-stars"


@pytest.fixture(scope="module")
def client(torchserve: Any) -> Iterator[httpx.Client]:
    with httpx.Client(timeout=LOAD_SECONDS, trust_env=False, auth=torchserve.auth) as client:
        yield client


@pytest.fixture(scope="module")
def served(torchserve: Any, build_release: Callable[..., Release], client: httpx.Client) -> Iterator[Release]:
    """A release in service under its own version."""
    release = build_release(version="served-1", seed=11)
    register(torchserve, client, release)
    wait_ready(torchserve, client, release)
    yield release
    delete(torchserve, client, release)


def register(torchserve: Any, client: httpx.Client, release: Release, settings: WorkerSettings | None = None) -> None:
    folder = write_model_folder(release, torchserve.model_store, settings)
    parameters = {"url": folder.name, "initial_workers": "1", "synchronous": "false"}
    response = client.post(f"{torchserve.management}/models", params=parameters)
    assert response.status_code == 202, response.text


def workers(torchserve: Any, client: httpx.Client, release: Release) -> list[dict[str, Any]]:
    [found] = client.get(f"{torchserve.management}/models/{NAME}/{release.manifest.version}").json()
    return list(found["workers"])


def waiting(torchserve: Any, client: httpx.Client, release: Release) -> int:
    """Requests in the release's queue, which its worker has not taken yet."""
    [found] = client.get(f"{torchserve.management}/models/{NAME}/{release.manifest.version}").json()
    return int(found["jobQueueStatus"]["pendingRequests"])


def wait_for(look: Callable[[], Any], seconds: float = LOAD_SECONDS) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.1)
    pytest.fail(f"waited {seconds} s in vain")


def wait_ready(torchserve: Any, client: httpx.Client, release: Release) -> None:
    wait_for(lambda: any(each["status"] == "READY" for each in workers(torchserve, client, release)))


def delete(torchserve: Any, client: httpx.Client, release: Release) -> int:
    return client.delete(f"{torchserve.management}/models/{NAME}/{release.manifest.version}").status_code


def predict(torchserve: Any, client: httpx.Client, release: Release, body: bytes) -> httpx.Response:
    url = f"{torchserve.inference}/predictions/{NAME}/{release.manifest.version}"
    return client.post(url, content=body, headers={"content-type": "application/json"})


def reviews(*texts: Any) -> bytes:
    return json.dumps({"reviews": [{"review_body": text} for text in texts]}).encode()


def assert_golden(torchserve: Any, client: httpx.Client, release: Release) -> None:
    golden = release.golden()
    items = [
        {"review_body": case.text, "review_headline": case.title, "product_category": case.category}
        for case in golden.cases
    ]
    response = predict(torchserve, client, release, json.dumps({"reviews": items}).encode())
    assert response.status_code == 200
    for case, prediction in zip(golden.cases, response.json()["predictions"], strict=True):
        assert prediction["logits"] == pytest.approx(case.logits, abs=1e-5)


def occupy(torchserve: Any, client: httpx.Client, release: Release, pool: Executor) -> list[Future[httpx.Response]]:
    """Requests to a worker that does nothing. The first of them is with it, the last one waits in the queue."""
    sent = [pool.submit(predict, torchserve, client, release, reviews("First."))]
    while not waiting(torchserve, client, release):
        sent.append(pool.submit(predict, torchserve, client, release, reviews("Next.")))
        time.sleep(0.5)
    return sent


@contextmanager
def paused(torchserve: Any, client: httpx.Client, release: Release) -> Iterator[None]:
    """The release's worker does nothing until `resume`, or the end of the block."""
    [worker] = workers(torchserve, client, release)
    os.kill(worker["pid"], signal.SIGSTOP)
    try:
        yield
    finally:
        resume(torchserve, client, release)


def resume(torchserve: Any, client: httpx.Client, release: Release) -> None:
    [worker] = workers(torchserve, client, release)
    os.kill(worker["pid"], signal.SIGCONT)


class TestProtocol:
    def test_golden_cases_through_the_whole_server(
        self, torchserve: Any, client: httpx.Client, served: Release
    ) -> None:
        assert_golden(torchserve, client, served)

    def test_a_bad_review_fails_alone(self, torchserve: Any, client: httpx.Client, served: Release) -> None:
        response = predict(torchserve, client, served, reviews("Good.", "", 5, "\ud83d", "x" * 200_000, "Good."))

        assert response.status_code == 200
        assert response.headers["content-type"] == "application/json"
        found = response.json()["predictions"]
        assert found[0]["logits"] == pytest.approx(found[-1]["logits"], abs=1e-6)
        kinds = [each["error"]["type"] for each in found[1:-1]]
        assert kinds == ["blank_text", "invalid_review", "blank_text", "invalid_review"]

    @pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'{"reviews": NaN}', b"[1]", b'{"reviews": []}'])
    def test_a_malformed_body_is_400(self, torchserve: Any, client: httpx.Client, served: Release, body: bytes) -> None:
        response = predict(torchserve, client, served, body)
        assert response.status_code == 400
        assert response.json()["error"]["type"] == "malformed"

    def test_another_content_type_is_400(self, torchserve: Any, client: httpx.Client, served: Release) -> None:
        url = f"{torchserve.inference}/predictions/{NAME}/{served.manifest.version}"
        assert client.post(url, data={"review_body": "Good."}).status_code == 400

    def test_a_body_over_the_limit_is_413(self, torchserve: Any, client: httpx.Client, served: Release) -> None:
        assert predict(torchserve, client, served, reviews("x" * 5_000_000)).status_code == 413

    def test_an_unknown_version_is_404(self, torchserve: Any, client: httpx.Client, served: Release) -> None:
        url = f"{torchserve.inference}/predictions/{NAME}/other"
        assert client.post(url, content=reviews("Good.")).status_code == 404

    def test_requests_that_wait_together_are_one_batch_and_a_bad_one_fails_alone(
        self, torchserve: Any, client: httpx.Client, build_release: Callable[..., Release]
    ) -> None:
        # Fault 1: a number of 5,000 digits made a failure of the whole batch.
        poison = reviews("&#" + "9" * 5000 + ";")
        bodies = [reviews("Good."), poison, reviews("Bad."), b"{", reviews("Good.", ""), reviews("Fine.")]
        patient = build_release(version="patient", seed=17)
        # TorchServe stops filling a batch when the delay has passed, even while requests wait: 1 ms may cut it.
        register(torchserve, client, patient, WorkerSettings(batch_delay_ms=1000))
        wait_ready(torchserve, client, patient)
        with paused(torchserve, client, patient), ThreadPoolExecutor(32) as pool:
            before = occupy(torchserve, client, patient, pool)
            rest = [pool.submit(predict, torchserve, client, patient, body) for body in bodies]
            wait_for(lambda: waiting(torchserve, client, patient) == len(bodies) + 1)
            resume(torchserve, client, patient)
            answers = [each.result() for each in rest]
        delete(torchserve, client, patient)

        assert {each.result().status_code for each in before} == {200}
        assert [answer.status_code for answer in answers] == [200, 200, 200, 400, 200, 200]
        good = [answer.json() for answer in answers if answer.status_code == 200]
        assert len({answer["infer_ms"] for answer in good}) == 1, "one run of the engine for all of them"
        assert "logits" in good[1]["predictions"][0]
        assert "logits" in good[3]["predictions"][0] and "error" in good[3]["predictions"][1]

    def test_a_full_queue_is_503_at_once(self, torchserve: Any, client: httpx.Client, served: Release) -> None:
        limits, count = httpx.Limits(max_connections=None), QUEUED_REQUESTS + 40
        with (
            httpx.Client(timeout=LOAD_SECONDS, trust_env=False, limits=limits, auth=torchserve.auth) as many,
            paused(torchserve, client, served),
            ThreadPoolExecutor(count) as pool,
        ):
            sent = [pool.submit(predict, torchserve, many, served, reviews("Good.")) for _ in range(count)]
            refused = wait_for(lambda: [each for each in sent if each.done()])
            resume(torchserve, client, served)
            answers = [each.result() for each in sent]

        assert refused[0].result().status_code == 503
        assert refused[0].result().json()["type"] == "ServiceUnavailableException"
        assert {answer.status_code for answer in answers} == {200, 503}

    def test_a_worker_that_is_killed_comes_back(self, torchserve: Any, client: httpx.Client, served: Release) -> None:
        [worker] = workers(torchserve, client, served)
        os.kill(worker["pid"], signal.SIGSTOP)
        with ThreadPoolExecutor(8) as pool:
            sent = occupy(torchserve, client, served, pool)
            os.kill(worker["pid"], signal.SIGKILL)
            lost = sent[0].result()
            assert lost.status_code in {500, 507} and lost.json()["message"] == "Worker died."
        wait_for(lambda: workers(torchserve, client, served)[0]["pid"] not in {worker["pid"], -1})
        wait_ready(torchserve, client, served)
        assert_golden(torchserve, client, served)


class TestSwap:
    """docs/torchserve.md's recipe."""

    def test_a_release_replaces_another_without_a_failed_request(
        self, torchserve: Any, client: httpx.Client, served: Release, build_release: Callable[..., Release]
    ) -> None:
        newer = build_release(version="served-2", seed=12, model_type="distilbert")
        done = threading.Event()
        statuses: list[int] = []

        def ask() -> None:
            with httpx.Client(timeout=60, trust_env=False, auth=torchserve.auth) as own:
                while not done.is_set():
                    statuses.append(predict(torchserve, own, served, reviews("Good.")).status_code)

        with ThreadPoolExecutor(1) as pool:
            asking = pool.submit(ask)
            try:
                register(torchserve, client, newer)
                wait_ready(torchserve, client, newer)
                assert_golden(torchserve, client, newer)
                default = f"{torchserve.management}/models/{NAME}/served-2/set-default"
                assert client.put(default).status_code == 200
            finally:
                done.set()
            asking.result()
        assert statuses and set(statuses) == {200}

        # The version that others would fall back to cannot be deleted while they are there.
        assert delete(torchserve, client, newer) == 403
        assert client.put(f"{torchserve.management}/models/{NAME}/served-1/set-default").status_code == 200
        assert delete(torchserve, client, newer) == 200
        assert predict(torchserve, client, newer, reviews("Good.")).status_code == 404
        assert_golden(torchserve, client, served)

    def test_pickled_weights_never_become_ready_and_disturb_nobody(
        self, torchserve: Any, client: httpx.Client, served: Release, build_release: Callable[..., Release]
    ) -> None:
        bad = build_release(version="bad-1", seed=13)
        folder = write_model_folder(bad, torchserve.model_store)
        weights = folder / "model.safetensors"
        weights.unlink()  # not the release's own file, which is the same inode
        weights.write_bytes(b"\x80\x04cos\nsystem\n(S'true'\ntR.")
        parameters = {"url": folder.name, "initial_workers": "1", "synchronous": "false"}
        assert client.post(f"{torchserve.management}/models", params=parameters).status_code == 202

        wait_for(lambda: "model.safetensors is not safetensors" in torchserve.log.read_text())

        assert all(each["status"] != "READY" for each in workers(torchserve, client, bad))
        assert_golden(torchserve, client, served)
        assert delete(torchserve, client, bad) == 200, "a model that failed to load stays listed until it is deleted"


class TestClosed:
    def test_it_listens_on_loopback_only(self, torchserve: Any) -> None:
        listening = [each for each in psutil.Process(torchserve.pid).net_connections() if each.status == "LISTEN"]
        assert len(listening) == 5  # three HTTP, two gRPC
        assert {each.laddr.ip.removeprefix("::ffff:") for each in listening} == {"127.0.0.1"}

    @pytest.mark.parametrize(
        "url",
        [
            "https://models.example/model.mar",
            "http://127.0.0.1:9/model.mar",
            "s3://bucket/model.mar",
            "../outside",
            "review-stars-served-1/../../outside",
            "file://{outside}",
            "nothing-of-this-name",
            "",
        ],
    )
    def test_models_come_from_the_model_store_only(
        self, torchserve: Any, client: httpx.Client, served: Release, tmp_path: Path, url: str
    ) -> None:
        outside = write_model_folder(served, tmp_path)
        parameters = {"url": url.format(outside=outside), "initial_workers": "0", "model_name": "intruder"}
        response = client.post(f"{torchserve.management}/models", params=parameters)
        assert response.status_code == 404
        assert "intruder" not in client.get(f"{torchserve.management}/models").text

    def test_who_reaches_the_management_port_owns_the_machine(
        self, torchserve: Any, client: httpx.Client, served: Release, tmp_path: Path
    ) -> None:
        """TorchServe 0.12 loads any folder that is named by its absolute path: see docs/torchserve.md."""
        outside = write_model_folder(served, tmp_path)
        parameters = {"url": str(outside), "initial_workers": "0", "model_name": "intruder"}
        assert client.post(f"{torchserve.management}/models", params=parameters).status_code in {200, 202}
        assert client.delete(f"{torchserve.management}/models/intruder").status_code == 200

    def test_review_text_is_in_no_log(self, torchserve: Any, client: httpx.Client, served: Release) -> None:
        secret = "my-card-number-is-4929"
        predict(torchserve, client, served, reviews(secret, secret + "\ud800", [secret]))
        predict(torchserve, client, served, b'{"' + secret.encode())
        files = [path for path in torchserve.work_dir.rglob("*") if path.is_file()]
        assert secret not in torchserve.log.read_text()
        assert not [path for path in files if secret.encode() in path.read_bytes()]

    def test_requests_write_nothing_into_the_log(self, torchserve: Any, client: httpx.Client, served: Release) -> None:
        before = torchserve.log.read_text()
        for _ in range(5):
            predict(torchserve, client, served, reviews("Good."))
        assert torchserve.log.read_text() == before

    def test_java_and_worker_stay_small(self, torchserve: Any, client: httpx.Client, served: Release) -> None:
        [worker] = workers(torchserve, client, served)
        predict(torchserve, client, served, reviews(*["good " * 200] * 64))
        megabytes = {pid: psutil.Process(pid).memory_info().rss / 1e6 for pid in (torchserve.pid, worker["pid"])}
        assert megabytes[torchserve.pid] < 350
        assert megabytes[worker["pid"]] < 800

    def test_a_worker_takes_one_thread(self, torchserve: Any, client: httpx.Client, served: Release) -> None:
        [worker] = workers(torchserve, client, served)
        predict(torchserve, client, served, reviews(*["good " * 200] * 64))
        assert psutil.Process(worker["pid"]).num_threads() <= 2


def test_workers_are_configured_as_asked(
    torchserve: Any, client: httpx.Client, build_release: Callable[..., Release]
) -> None:
    release = build_release(version="configured-1", seed=14)
    settings = WorkerSettings(workers=3, batch_requests=5, batch_delay_ms=7, response_seconds=11, startup_seconds=13)
    folder = write_model_folder(release, torchserve.model_store, settings)
    parameters = {"url": folder.name, "initial_workers": "0"}
    client.post(f"{torchserve.management}/models", params=parameters).raise_for_status()
    [found] = client.get(f"{torchserve.management}/models/{NAME}/configured-1").json()
    assert delete(torchserve, client, release) == 200
    names = ("minWorkers", "maxWorkers", "batchSize", "maxBatchDelay", "responseTimeout", "startupTimeout")
    assert [found[name] for name in names] == [3, 3, 5, 7, 11, 13]
