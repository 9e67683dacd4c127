"""The worst inputs through a real gateway and TorchServe: each its answer or error, its neighbours right ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from contracts.release.release import Release
from contracts.release.transfer import publish
from contracts.store.urls import open_store
from service.errors import BY_TYPE

from .corpus import BODIES, NO_TEXT, texts

pytestmark = pytest.mark.slow

WORST = texts(20_000)
MEBIBYTE = 1024 * 1024
GOOD = {"text": "Broke after two days.", "title": "Waste of money", "category": "Digital_Software"}


@pytest.fixture(scope="module")
def serving(
    torchserve: Any,
    build_release: Callable[..., Release],
    running: Callable[..., Any],
    make_settings: Callable[..., Any],
    wait_ready: Callable[[httpx.Client], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("worst")
    release = build_release(version="worst-1", seed=21)
    publish(open_store(str(folder / "store")), release.folder, release.manifest)
    with running(make_settings(folder, **torchserve.settings)) as client:
        wait_ready(client)
        yield client
        assert "a review failed" not in torchserve.log.read_text()


@pytest.fixture(scope="module")
def good(serving: httpx.Client) -> Any:
    """What the good review gets without any neighbours."""
    return serving.post("/predict", json=GOOD).json()


def same(found: dict[str, Any], good: dict[str, Any]) -> bool:
    return bool(found["probabilities"] == pytest.approx(good["probabilities"], abs=1e-3))


def assert_ours(error: dict[str, Any], status: int | None = None) -> None:
    """A documented error, of the kind that the client can do something about."""
    problem = BY_TYPE[error["type"]]
    assert 400 <= problem.status < 500
    assert status in (None, problem.status)


def test_each_review_gets_its_answer_or_its_own_error_and_its_neighbour_the_right_one(
    serving: httpx.Client, good: dict[str, Any]
) -> None:
    """Faults 1, 2. All at once, so that TorchServe puts requests of several clients into one batch."""
    bodies: list[dict[str, Any]] = [
        {"text": text, "title": text[:1000], "category": text[:200]} for text in WORST.values()
    ]
    asked = [each for body in bodies for each in (body, GOOD, {"reviews": [GOOD, body, GOOD]})]
    with ThreadPoolExecutor(8) as pool:
        answers = [*pool.map(lambda body: serving.post("/predict", json=body), asked)]
    assert {answer.status_code for answer in answers} == {200, 422}
    for alone, neighbour, together in zip(answers[::3], answers[1::3], answers[2::3], strict=True):
        assert same(neighbour.json(), good)
        first, worst, last = together.json()["predictions"]
        assert same(first, good) and same(last, good)
        if alone.status_code == 200:
            assert alone.json()["tokens"] <= 128 and alone.json()["stars"] == worst["stars"]
        else:
            assert alone.json()["error"]["type"] == worst["error"]["type"] == "blank_text"


@pytest.mark.parametrize("name", ["words of a hundred letters", "one letter under all marks", "Hangul syllables"])
def test_a_full_body_of_the_worst_is_answered_within_the_deadline(
    serving: httpx.Client, good: dict[str, Any], name: str
) -> None:
    """Fault 2: a 504, and over 40 seconds without an answer for anybody."""
    each = json.dumps({"text": WORST[name]}, ensure_ascii=False)
    count = min(63, (MEBIBYTE - 200) // (len(each.encode()) + 1))
    body = f'{{"reviews": [{",".join([json.dumps(GOOD)] + [each] * count)}]}}'.encode()
    answer = serving.post("/predict", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 200
    first, *others = answer.json()["predictions"]
    assert same(first, good) and len(others) == count
    assert all("stars" in other for other in others)


@pytest.mark.parametrize("name", BODIES)
def test_a_body_without_reviews_is_refused(serving: httpx.Client, good: dict[str, Any], name: str) -> None:
    answer = serving.post("/predict", content=BODIES[name], headers={"content-type": "application/json"})
    assert_ours(answer.json()["error"], answer.status_code)
    assert same(serving.post("/predict", json=GOOD).json(), good)


@pytest.mark.parametrize("name", NO_TEXT)
def test_what_is_no_text_is_refused(serving: httpx.Client, name: str) -> None:
    body = json.dumps({"reviews": [GOOD, {"text": NO_TEXT[name]}]})  # half a pair goes as an escape only
    answer = serving.post("/predict", content=body, headers={"content-type": "application/json"})
    assert_ours(answer.json()["error"], answer.status_code)
