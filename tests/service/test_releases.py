"""Putting releases into service and taking them out again, on a real TorchServe."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from contracts import channels
from contracts.manifest import Manifest
from contracts.release import Release, publish
from contracts.store import ObjectStore, open_store

pytestmark = pytest.mark.slow


class World(NamedTuple):
    """A gateway, the store it reads and the TorchServe it drives."""

    client: httpx.Client
    store: ObjectStore
    folder: Path
    torchserve: Any

    def loaded(self) -> set[str]:
        response = httpx.get(
            f"{self.torchserve.management}/models/review-stars/all",
            auth=self.torchserve.auth,
            trust_env=False,
            timeout=30,
        )
        return {model["modelVersion"] for model in response.json()}

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
    found = settings(
        **torchserve.settings,
        load_seconds=60,
    )
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
        states = {each["version"]: each["state"] for each in world.client.get("/models").json()["versions"]}
        assert states == {"red": "available", "green": "previous", "blue": "serving"}

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
    described = f"{torchserve.management}/models/review-stars/green"
    worker = httpx.get(described, auth=torchserve.auth, trust_env=False).json()[0]["workers"][0]["pid"]
    again = settings(
        **torchserve.settings,
    )
    with running(again) as client:
        assert wait_ready(client) == "green"
        assert httpx.get(described, auth=torchserve.auth, trust_env=False).json()[0]["workers"][0]["pid"] == worker, (
            "loaded again"
        )
        back = client.post("/admin/models/rollback", headers=admin)
        assert (back.status_code, back.json()["version"]) == (200, "red")


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
    client = gateway(
        **torchserve.settings,
    )
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
    from contracts.release import MANIFEST, file_entries

    manifest = Manifest.parse((folder / MANIFEST).read_bytes())
    changes = {"version": version, "files": file_entries(folder)}
    return Release(folder, manifest.model_copy(update=changes))
