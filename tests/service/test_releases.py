"""Putting releases into service and taking them out again, on a real TorchServe."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from typer.testing import CliRunner

from contracts.release import channels
from contracts.release.manifest import Manifest
from contracts.release.release import Release
from contracts.release.transfer import publish
from contracts.store.protocol import ObjectStore
from contracts.store.urls import open_store
from service import cli
from service.backend import torchserve as backend
from service.releases import keeping

pytestmark = pytest.mark.slow


class World(NamedTuple):
    """A gateway, the store it reads and the TorchServe it drives."""

    client: httpx.Client
    store: ObjectStore
    folder: Path
    torchserve: Any

    def described(self) -> dict[str, dict[str, Any]]:
        """What TorchServe says of each version."""
        response = httpx.get(
            f"{self.torchserve.management}/models/review-stars/all",
            auth=self.torchserve.auth,
            trust_env=False,
            timeout=30,
        )
        return {model["modelVersion"]: model for model in response.json()}

    def loaded(self) -> set[str]:
        return set(self.described())

    def wait_for(self, version: str, previous: str) -> None:
        """Until the gateway serves one, has the other beside it and none besides."""
        until = time.monotonic() + 60
        while (self.answering(), self.loaded()) != (version, {version, previous}):
            assert time.monotonic() < until, (self.answering(), self.loaded())
            time.sleep(0.05)

    def answering(self) -> str:
        return str(self.client.post("/predict", json={"text": "Works."}).json()["version"])

    def production(self) -> tuple[str, str | None]:
        channel, _ = channels.read(self.store, "review-stars", "production")
        return channel.version, channel.previous


@pytest.fixture(scope="module")
def releases(build_release: Callable[..., Release]) -> dict[str, Release]:
    return {name: build_release(version=name, seed=n) for n, name in enumerate(("red", "green", "blue"))}


@pytest.fixture
def world(
    torchserve: Any,
    releases: dict[str, Release],
    settings: Callable[..., Any],
    running: Callable[..., Any],
    wait_ready: Callable[[httpx.Client], str],
    tmp_path: Path,
) -> Iterator[World]:
    """A gateway that serves `red`, the only release so far."""
    store = open_store(str(tmp_path / "store"))
    publish(store, releases["red"].folder, releases["red"].manifest)
    found = settings(**torchserve.settings, load_seconds=60, follow_seconds=0.2)
    with running(found) as client:
        assert wait_ready(client) == "red"
        yield World(client, store, tmp_path, torchserve)


def _promote(world: World, admin: dict[str, str], version: str) -> httpx.Response:
    return world.client.post(f"/admin/models/{version}/promote", headers=admin)


def _publish(world: World, release: Release) -> None:
    publish(world.store, release.folder, release.manifest)


def test_promote_rollback_and_no_request_lost(
    world: World, releases: dict[str, Release], admin: dict[str, str]
) -> None:
    statuses: list[tuple[int, str]] = []
    done = threading.Event()

    def keep_asking() -> None:
        with httpx.Client(base_url=world.client.base_url, timeout=60, trust_env=False) as client:
            while not done.is_set():
                answer = client.post("/predict", json={"text": "Works."})
                statuses.append((answer.status_code, answer.json().get("version", "")))

    thread = threading.Thread(target=keep_asking)
    thread.start()
    try:
        for name in ("green", "blue"):
            _publish(world, releases[name])
        assert _promote(world, admin, "green").json() == {
            "model": "review-stars",
            "version": "green",
            "previous": "red",
        }
        assert world.answering() == "green"
        assert world.production() == ("green", "red")
        assert world.loaded() == {"red", "green"}

        assert _promote(world, admin, "blue").json()["previous"] == "green"
        assert world.loaded() == {"green", "blue"}, "the one before the last is unloaded"
        models = world.client.get("/models").json()
        states = {each["version"]: each["state"] for each in models["versions"]}
        assert states == {"red": "available", "green": "previous", "blue": "serving"}
        assert (models["serving"], models["production"], models["problem"]) == ("blue", "blue", None)

        back = world.client.post("/admin/models/rollback", headers=admin)
        assert (back.status_code, back.json()["version"], back.json()["previous"]) == (200, "green", "blue")
        assert world.answering() == "green"
        assert world.production() == ("green", "blue")

        assert _promote(world, admin, "green").status_code == 200, "promoting what serves changes nothing"
        assert world.production() == ("green", "blue")
    finally:
        done.set()
        thread.join()
    assert {status for status, _ in statuses} == {200}
    assert statuses[0][1] == "red"
    assert {version for _, version in statuses} == {"red", "green", "blue"}


def test_a_release_that_fails_leaves_the_old_one_serving(
    world: World, releases: dict[str, Release], admin: dict[str, str]
) -> None:
    _publish(world, releases["green"])
    weights = world.folder / "store/releases/review-stars/green/model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    flipped = _promote(world, admin, "green")
    assert (flipped.status_code, flipped.json()["error"]["type"]) == (422, "bad_release")
    assert "model.safetensors" in flipped.json()["error"]["message"]

    wrong = world.folder / "wrong"
    shutil.copytree(releases["blue"].folder, wrong)
    golden = json.loads((wrong / "golden.json").read_text())
    golden["cases"][1]["logits"] = [logit - 0.5 for logit in golden["cases"][1]["logits"]]
    (wrong / "golden.json").write_text(json.dumps(golden))
    _publish(world, _as_new(wrong, "wrong-golden"))
    refused = _promote(world, admin, "wrong-golden")
    assert (refused.status_code, refused.json()["error"]["type"]) == (422, "bad_release")
    assert "golden prediction 1" in refused.json()["error"]["message"]

    misfit = world.folder / "misfit"
    shutil.copytree(releases["blue"].folder, misfit)
    config = json.loads((misfit / "config.json").read_text())
    (misfit / "config.json").write_text(json.dumps(config | {"hidden_size": 64}))
    _publish(world, _as_new(misfit, "misfit"))
    unloadable = _promote(world, admin, "misfit")
    assert (unloadable.status_code, unloadable.json()["error"]["type"]) == (422, "bad_release")

    assert _promote(world, admin, "nowhere").status_code == 404
    assert world.client.post("/admin/models/rollback", headers=admin).status_code == 409, "to what?"
    assert world.loaded() == {"red"}
    assert world.answering() == "red"
    assert world.production() == ("red", None)


def test_two_promotions_at_once_do_not_mix(world: World, releases: dict[str, Release], admin: dict[str, str]) -> None:
    for name in ("green", "blue"):
        _publish(world, releases[name])
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda name: _promote(world, admin, name), ("green", "blue")))
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    winner = next(answer.json()["version"] for answer in answers if answer.status_code == 200)
    assert world.answering() == winner
    assert world.production() == (winner, "red")
    assert world.loaded() == {"red", winner}


def test_two_gateways_on_one_store(
    world: World,
    releases: dict[str, Release],
    admin: dict[str, str],
    own_torchserve: Any,
    settings: Callable[..., Any],
    running: Callable[..., Any],
    wait_ready: Callable[[httpx.Client], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Fault 10: of two promotions at once one is answered 200 and both serve it; and both follow the command line."""
    for name in ("green", "blue"):
        _publish(world, releases[name])
    both, real = threading.Barrier(2), channels.move
    expected = ["admin", "admin"]

    def move(*given: Any) -> channels.Channel:
        if expected and given[4] == expected[-1]:
            expected.pop()
            both.wait(60)  # each has seen red in production, and loaded its own
        return real(*given)

    monkeypatch.setattr(channels, "move", move)
    home = world.folder / "other"
    with running(settings(**own_torchserve.settings, home=home, follow_seconds=0.2)) as other:
        assert wait_ready(other) == "red"
        second = World(other, world.store, world.folder, own_torchserve)
        with ThreadPoolExecutor(2) as pool:
            asked = [pool.submit(_promote, *each) for each in ((world, admin, "green"), (second, admin, "blue"))]
            answers = [each.result() for each in asked]
        assert sorted(answer.status_code for answer in answers) == [200, 409]
        won, lost = sorted(answers, key=lambda answer: answer.status_code)
        winner = won.json()["version"]
        assert f"to {winner} by admin" in lost.json()["error"]["message"]
        assert world.production() == (winner, "red")
        for each in (world, second):
            each.wait_for(winner, "red")

        assert CliRunner().invoke(cli.app, ["release", "promote", "red", "--store", world.store.url]).exit_code == 0
        for each in (world, second):
            each.wait_for("red", winner)
        assert other.post("/admin/models/rollback", headers=admin).json()["version"] == winner
        for each in (world, second):
            each.wait_for(winner, "red")


def test_a_management_api_that_does_not_answer_stops_no_prediction(
    releases: dict[str, Release],
    torchserve: Any,
    settings: Callable[..., Any],
    running: Callable[..., Any],
    wait_ready: Callable[[httpx.Client], str],
    admin: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Fault 5: not being able to look is no proof that the release is gone."""
    monkeypatch.setattr(backend, "MANAGE_SECONDS", 0.3)
    monkeypatch.setattr(keeping, "LOOK_SECONDS", 0.1)
    store = open_store(str(tmp_path / "store"))
    publish(store, releases["red"].folder, releases["red"].manifest)
    with Slowed(torchserve) as slowed:
        found = settings(**torchserve.settings | {"management_url": slowed.url}, ready_seconds=0, load_seconds=60)
        with running(found) as client:
            wait_ready(client)
            slowed.answers.clear()
            statuses = []
            until = slowed.held + 4
            while slowed.held < until:
                statuses += [client.post("/predict", json={"text": "Works."}).status_code]
                statuses += [client.get("/readyz").status_code]
            assert set(statuses) == {200}
            slowed.answers.set()
            assert _promote(World(client, store, tmp_path, torchserve), admin, "red").status_code == 200


class Slowed:
    """TorchServe's management API behind something that can hold its answers back."""

    def __init__(self, torchserve: Any) -> None:
        self.held = 0
        self.answers = threading.Event()
        self.answers.set()
        slowed = self

        class Forward(BaseHTTPRequestHandler):
            def forward(self) -> None:
                if not slowed.answers.is_set():
                    slowed.held += 1
                    slowed.answers.wait(60)
                answer = httpx.request(
                    self.command, torchserve.management + self.path, auth=torchserve.auth, trust_env=False, timeout=60
                )
                with suppress(OSError):  # whoever asked may be gone
                    self.send_response(answer.status_code)
                    self.send_header("content-length", str(len(answer.content)))
                    self.end_headers()
                    self.wfile.write(answer.content)

            do_GET = do_POST = do_PUT = do_DELETE = forward

            def log_message(self, *given: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Forward)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Slowed:
        threading.Thread(target=self._server.serve_forever, args=(0.05,)).start()
        return self

    def __exit__(self, *given: Any) -> None:
        self.answers.set()
        self._server.shutdown()
        self._server.server_close()


def test_a_gateway_that_comes_back_takes_over_what_is_loaded(
    world: World,
    releases: dict[str, Release],
    admin: dict[str, str],
    torchserve: Any,
    settings: Callable[..., Any],
    running: Callable[..., Any],
    wait_ready: Callable[[httpx.Client], str],
) -> None:
    _publish(world, releases["green"])
    assert _promote(world, admin, "green").status_code == 200
    worker = world.described()["green"]["workers"][0]["pid"]
    with running(settings(**torchserve.settings, load_seconds=60)) as client:
        assert wait_ready(client) == "green"
        assert world.described()["green"]["workers"][0]["pid"] == worker, "loaded again"
        back = client.post("/admin/models/rollback", headers=admin)
        assert (back.status_code, back.json()["version"]) == (200, "red")


def test_settings_reach_torchserve_whatever_it_was_told_before(
    releases: dict[str, Release],
    torchserve: Any,
    settings: Callable[..., Any],
    running: Callable[..., Any],
    wait_ready: Callable[[httpx.Client], str],
    tmp_path: Path,
) -> None:
    """Fault 19, and its sister: a gateway that came back with others found the release loaded, and left it."""
    store = open_store(str(tmp_path / "store"))
    publish(store, releases["red"].folder, releases["red"].manifest)
    limits = {"deadline_seconds": 30}
    first, then = {"load_seconds": 60}, {"load_seconds": 301, "model_workers": 2, "limits": limits}
    for given, expected in ((first, (60, 20, 1)), (then, (301, 60, 2))):
        with running(settings(**torchserve.settings, **given)) as client:
            wait_ready(client)
            found = World(client, store, tmp_path, torchserve).described()["red"]
            assert (found["startupTimeout"], found["responseTimeout"], found["minWorkers"]) == expected


def test_a_store_that_leaves_a_choice_is_not_guessed_at(
    releases: dict[str, Release],
    torchserve: Any,
    gateway: Callable[..., httpx.Client],
    admin: dict[str, str],
    tmp_path: Path,
) -> None:
    store = open_store(str(tmp_path / "store"))
    for name in ("green", "blue"):
        publish(store, releases[name].folder, releases[name].manifest)
    client = gateway(**torchserve.settings)
    answer = client.get("/readyz")
    while "being loaded" in answer.text:
        answer = client.get("/readyz")
    assert answer.status_code == 503
    assert str(tmp_path) not in answer.text and "blue" not in answer.text, "not for everybody (fault 29)"
    reason = client.get("/readyz", headers=admin).json()["error"]["message"]
    assert f"stars release promote VERSION --store {store.url}" in reason
    assert client.post("/admin/models/blue/promote", headers=admin).status_code == 200
    assert client.get("/readyz").json()["version"] == "blue"


def _as_new(folder: Path, version: str) -> Release:
    """The folder as a release of its own, its manifest made to fit its files."""
    from contracts.release.files import MANIFEST
    from contracts.release.transfer import file_entries

    manifest = Manifest.parse((folder / MANIFEST).read_bytes())
    changes = {"version": version, "files": file_entries(folder)}
    return Release(folder, manifest.model_copy(update=changes))
