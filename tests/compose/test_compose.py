"""The faults that production will see, in order, on one running stack. Each test leaves it healthy for the next."""

from __future__ import annotations

import json
import re
import subprocess
import time
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from .stack import DOCUMENTED, ROOT, TEXTS, Answers, Figure, Stack, free_port, load, until

SCALE = ("--profile", "scale")
GATEWAYS = ("gateway", "gateway-b")
RECOVERS = 90.0
"""Seconds, on two busy cores."""

right: dict[str, Answers] = {}
"""What each release answers, noted while all is well."""


def _note(stack: Stack) -> str:
    """Note what the release in production answers; returns its version."""
    answers = {text: stack.predict(text).json() for text in TEXTS}
    [version] = {answer["version"] for answer in answers.values()}
    right[version] = {text: answer["expected_stars"] for text, answer in answers.items()}
    return str(version)


def test_a_review_gets_its_stars_from_the_bucket(stack: Stack) -> None:
    answer = stack.predict("Five minutes in and it broke.").json()
    assert answer["stars"] == 1
    assert answer["version"] == _note(stack)
    listed = stack.inside("gateway", "stars", "release", "list", "--store", "s3://stars/releases")
    assert answer["version"] in listed


def test_only_the_gateway_is_published_and_on_loopback(stack: Stack) -> None:
    for service in stack.services():
        bound = [at for ports in stack.container(service)["NetworkSettings"]["Ports"].values() for at in ports or []]
        assert {at["HostIp"] for at in bound} <= {"127.0.0.1"}, service
        assert bool(bound) == (service == "gateway"), service


def test_every_container_is_confined(stack: Stack) -> None:
    """Not root, a read-only root, no capability, limits, an init as process 1, no compiler, no cache."""
    for service in stack.services():
        found = stack.container(service)
        host = found["HostConfig"]
        assert host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"] and not host["Privileged"], service
        assert host["Memory"] > 0 and host["PidsLimit"] > 0, service
        assert host["RestartPolicy"]["Name"] == "unless-stopped", service
        assert stack.inside(service, "id", "-u").strip() == "10001", service
        assert "Read-only" in stack.inside(service, "touch", "/opt/x", check=False), service
        assert stack.inside(service, "cat", "/proc/1/comm").strip() == "tini", service
        tools = "for each in gcc cc c++ ld as; do command -v $each; done; ls -d /root/.cache ~/.cache 2>/dev/null; true"
        assert stack.inside(service, "sh", "-c", tools).strip() == "", service


def test_nothing_secret_is_shown(stack: Stack) -> None:
    """Neither by `docker inspect` nor by `docker history`, nor in a log."""
    texts = {file.name: file.read_text() for file in stack.secrets.iterdir()}
    hidden = {word for text in texts.values() for word in re.findall(r"[\w-]{40,}", text)}
    assert len(hidden) >= 6
    shown = stack.compose("--profile", "*", "logs") + "".join(json.dumps(stack.container(s)) for s in stack.services())
    for name in stack.image_names():
        image = f"review-stars/{name}:{stack.settings['STARS_TAG']}"
        for command in (["history", "--no-trunc", image], ["inspect", image]):
            shown += subprocess.run(["docker", *command], capture_output=True, text=True, check=True).stdout
    assert not [word for word in hidden if word in shown]


def test_the_gateway_image_starts_fast(stack: Stack, figure: Figure) -> None:
    image, port = f"review-stars/gateway:{stack.settings['STARS_TAG']}", free_port()
    command = ["docker", "run", "--rm", "-d", "--read-only", "--tmpfs", "/tmp", "-v", "/var/lib/review-stars"]
    command += ["-e", "STARS_STORE=file:///tmp/none", "-p", f"127.0.0.1:{port}:8000", image]
    started = time.monotonic()
    name = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    try:

        def alive() -> bool:
            with suppress(httpx.TransportError):
                return httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False).status_code == 200
            return False

        until(alive, 30, "/healthz")
        figure("gateway image: `docker run` to /healthz", f"{time.monotonic() - started:.1f} s")
    finally:
        subprocess.run(["docker", "rm", "-fv", name], capture_output=True)


def test_the_torchserve_image_is_a_sagemaker_endpoint(stack: Stack, figure: Figure) -> None:
    """`serve` with a release at /opt/ml/model: the gateway's answers, on 8080."""
    version = stack.predict(TEXTS[0]).json()["version"]
    model, port = ROOT / "releases/releases/review-stars" / version, free_port()
    command = ["docker", "run", "--rm", "-d", "--read-only", "--tmpfs", "/tmp", "-v", f"{model}:/opt/ml/model:ro"]
    command += ["-p", f"127.0.0.1:{port}:8080", f"review-stars/torchserve:{stack.settings['STARS_TAG']}", "serve"]
    started = time.monotonic()
    name = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    url = f"http://127.0.0.1:{port}"
    try:

        def healthy() -> bool:
            with suppress(httpx.TransportError):
                return httpx.get(f"{url}/ping", timeout=10, trust_env=False).status_code == 200
            return False

        try:
            until(healthy, 90, "/ping")
        except AssertionError:
            pytest.fail(subprocess.run(["docker", "logs", name], capture_output=True, text=True).stdout[-3000:])
        figure("`docker run … serve`, as SageMaker does, to a good /ping", f"{time.monotonic() - started:.1f} s")
        for text in TEXTS:
            answer = httpx.post(f"{url}/invocations", json={"text": text}, timeout=30, trust_env=False).json()
            assert answer == stack.predict(text).json()
    finally:
        subprocess.run(["docker", "rm", "-fv", name], capture_output=True)


def test_example_secrets_are_refused_where_others_can_reach_them(stack: Stack) -> None:
    run = ("run", "--rm", "--no-deps", "setup")
    said = stack.compose(*run, check=False, STARS_SECRETS="./infra/compose/example-secrets", STARS_PUBLISH="0.0.0.0")  # noqa: S104
    assert "make secrets" in said and "admin_key" in said
    stack.compose(*run, STARS_PUBLISH="0.0.0.0")  # noqa: S104  # with secrets of one's own


def test_a_taken_port_is_told(stack: Stack) -> None:
    other = {"STARS_PROJECT": f"{stack.project}-other"}
    try:
        said = stack.compose("up", "-d", "--no-deps", "--no-build", "gateway", check=False, **other)
    finally:
        stack.compose("down", "-v", **other)
    assert "port is already allocated" in said and stack.settings["STARS_PORT"] in said


def test_a_second_gateway_joins_behind_one_address(stack: Stack, figure: Figure) -> None:
    started = time.monotonic()
    stack.compose(*SCALE, "up", "-d", "--wait", "--no-build", timeout=300)
    figure("the profile `scale` beside it: all healthy", f"{time.monotonic() - started:.0f} s")
    until(lambda: stack.predict("Broke.", "STARS_BALANCER_PORT").status_code == 200, 30, "an answer by the balancer")


def test_retrained_promoted_and_answered_by_all(stack: Stack, figure: Figure) -> None:
    before = stack.predict("Broke.").json()["version"]
    started = time.monotonic()
    job = stack.retrain("first", seed=1)
    with load(stack.url("STARS_BALANCER_PORT"), right) as told:
        candidate = stack.wait_job(job, 900, "succeeded")["release"]
    figure(
        "a training on the examples, tiny, one epoch, while it serves", f"{time.monotonic() - started:.0f} s; {told}"
    )
    assert not told.wrong and not told.undocumented
    assert candidate in stack.inside("gateway", "stars", "release", "list", "--store", "s3://stars/releases")
    assert stack.predict("Broke.").json()["version"] == before

    started = time.monotonic()
    promoted = stack.admin("POST", f"/admin/models/{candidate}/promote")
    assert promoted.status_code == 200, promoted.text
    figure("promoted through one gateway", f"{time.monotonic() - started:.1f} s")
    until(lambda: stack.version_inside("gateway-b") == candidate, 60, "the other gateway follows")
    figure("answered with by all gateways", f"{time.monotonic() - started:.1f} s")
    assert _note(stack) == candidate


def _kill(stack: Stack, figure: Figure, service: str) -> None:
    """kill -9 under load, until it is well again: no wrong answer, and errors only as documented."""
    with load(stack.url("STARS_BALANCER_PORT"), right) as told:
        started = time.monotonic()
        killed = stack.kill(service)
        until(lambda: stack.is_healthy(service, killed), RECOVERS, f"{service} is healthy again")
        if service in {"gateway", "torchserve"}:

            def answers() -> bool:
                with suppress(httpx.TransportError):
                    return stack.predict("Broke.").status_code == 200
                return False

            until(answers, RECOVERS, "its gateway predicts")
        seconds = time.monotonic() - started
        time.sleep(2)
    figure(f"kill -9 of {service}: well again after", f"{seconds:.1f} s; {told}")
    assert not told.wrong and told.right > 10
    if service != "balancer":  # without it there is nobody to answer
        assert not told.undocumented
        assert set(told.errors) <= {str(status) for status in DOCUMENTED}


@pytest.mark.parametrize("service", ["gateway", "torchserve", "balancer"])
def test_a_killed_process_comes_back(stack: Stack, figure: Figure, service: str) -> None:
    _kill(stack, figure, service)


def test_no_job_is_lost_to_a_killed_process(stack: Stack, figure: Figure) -> None:
    """The worker, the store and the database are killed in turn while a job trains; it is done in the end."""
    job = stack.retrain("killed", seed=2)
    for service in ("worker", "store", "database"):
        until(lambda: stack.job(job).get("stage") == "train", 600, "the job trains")
        _kill(stack, figure, service)
        if service == "worker":
            until(lambda: stack.job(job).get("attempts") == 2, 300, "another worker has the job")
    done = stack.wait_job(job, 900, "succeeded")
    figure("  the job that trained meanwhile", f"succeeded, attempt {done['attempts']}")
    assert [each["id"] for each in stack.admin("GET", "/admin/jobs").json()["jobs"]].count(job) == 1


def test_without_the_store_predictions_go_on(stack: Stack, figure: Figure) -> None:
    serving = stack.predict("Broke.").json()["version"]
    other = next(version for version in right if version != serving)
    stack.compose("stop", "store")
    try:
        with load(stack.url("STARS_BALANCER_PORT"), right) as told:
            started = time.monotonic()
            refused = stack.admin("POST", f"/admin/models/{other}/promote")
            seconds = time.monotonic() - started
            time.sleep(max(0, 60 - seconds))
    finally:
        stack.compose("start", "store")
    figure("a minute without the store: predictions", told)
    figure(
        "  a promotion then: why not",
        f"{refused.status_code} after {seconds:.1f} s: {refused.json()['error']['message'][:90]}",
    )
    assert not told.wrong and not told.errors
    assert refused.status_code in {502, 503, 504}
    until(lambda: stack.is_healthy("store"), RECOVERS, "the store is healthy again")
    assert stack.predict("Broke.").json()["version"] == serving


def test_a_training_without_memory_says_so(stack: Stack, figure: Figure) -> None:
    name = stack.container("worker")["Id"]

    def limit(size: str) -> None:
        command = ["docker", "update", "--memory", size, "--memory-swap", size, name]
        subprocess.run(command, check=True, capture_output=True)

    limit("400m")
    try:
        job = stack.wait_job(stack.retrain("starved", seed=3), 600, "failed")
    finally:
        limit("6g")
    figure("a training with 400 MB", job["error"][:110])
    assert "memory" in job["error"]
    until(lambda: stack.is_healthy("worker"), RECOVERS, "the worker is healthy again")


def _ask_prometheus(stack: Stack, path: str) -> Any:
    """What its API answers; a query that it cannot read is an error."""
    code = f"from urllib.request import urlopen; print(urlopen('http://127.0.0.1:9090/api/v1/{path}').read().decode())"
    return json.loads(stack.inside("prometheus", "python", "-c", code))["data"]


def test_prometheus_watches_every_gateway_and_reads_our_rules(stack: Stack) -> None:
    stack.compose("--profile", "observability", *SCALE, "up", "-d", "--wait", "--no-build", "prometheus")
    until(lambda: len(_ask_prometheus(stack, "query?query=up==1")["result"]) == len(GATEWAYS), 60, "all are scraped")
    stack.inside("prometheus", "promtool", "check", "config", "/etc/prometheus/prometheus.yml")

    def healthy() -> bool:
        [group] = _ask_prometheus(stack, "rules")["groups"]
        return len(group["rules"]) >= 7 and all(rule["health"] == "ok" for rule in group["rules"])

    until(healthy, 60, "every alert is evaluated")
    dashboard = json.loads((ROOT / "infra/compose/grafana/dashboards/review-stars.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            _ask_prometheus(stack, f"query?query={quote(target['expr'])}")


def test_down_and_up_again_keeps_releases_and_jobs(stack: Stack, figure: Figure) -> None:
    serving = stack.predict("Broke.").json()["version"]
    jobs = stack.admin("GET", "/admin/jobs").json()["jobs"]
    stack.compose("--profile", "*", "down", timeout=180)
    started = time.monotonic()
    stack.compose("up", "-d", "--wait", "--no-build", timeout=300)
    figure("down and up again: all healthy", f"{time.monotonic() - started:.0f} s")
    assert stack.predict("Broke.").json()["version"] == serving
    after = stack.admin("GET", "/admin/jobs").json()["jobs"]
    assert [(job["id"], job["state"]) for job in after] == [(job["id"], job["state"]) for job in jobs]
