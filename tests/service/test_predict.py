"""Predicting through the whole chain: the gateway, a real TorchServe, a real if tiny model."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from contracts.release.release import Release
from contracts.release.transfer import publish
from contracts.store.urls import open_store
from service.cli import app

pytestmark = pytest.mark.slow
FIELDS = {
    *("stars", "expected_stars", "confidence", "likely", "probabilities"),
    *("truncated", "tokens", "unfamiliar", "model", "version"),
}


@pytest.fixture(scope="module")
def serving(
    torchserve: Any,
    tiny_release: Release,
    running: Callable[..., Any],
    make_settings: Callable[..., Any],
    wait_ready: Callable[[httpx.Client], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[httpx.Client]:
    """A gateway that serves the tiny release, in a store that has no channels yet."""
    folder = tmp_path_factory.mktemp("serving")
    publish(open_store(str(folder / "store")), tiny_release.folder, tiny_release.manifest)
    settings = make_settings(
        folder,
        **torchserve.settings,
    )
    with running(settings) as client:
        assert wait_ready(client) == tiny_release.manifest.version
        yield client


def _softmax(logits: tuple[float, ...], temperature: float) -> list[float]:
    weights = [math.exp((logit - max(logits)) / temperature) for logit in logits]
    return [weight / sum(weights) for weight in weights]


def test_one_review_is_answered_with_the_models_calibrated_stars(serving: httpx.Client, tiny_release: Release) -> None:
    for case in tiny_release.golden().cases:
        response = serving.post("/predict", json={"text": case.text, "title": case.title, "category": case.category})
        answer = response.json()
        assert response.status_code == 200
        assert set(answer) == FIELDS
        assert answer["stars"] == case.stars
        chances = _softmax(case.logits, tiny_release.manifest.temperature)
        assert list(answer["probabilities"]) == ["1", "2", "3", "4", "5"]
        assert list(answer["probabilities"].values()) == pytest.approx(chances, abs=5e-4)
        assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-9)
        assert answer["confidence"] == max(answer["probabilities"].values())
        assert answer["expected_stars"] == pytest.approx(
            sum(s * p for s, p in zip(range(1, 6), chances, strict=True)), abs=5e-3
        )
        assert (answer["model"], answer["version"]) == ("review-stars", "tiny-1")
        assert 0 < answer["tokens"] < 40 and answer["truncated"] is False


def test_headers_tell_the_request_and_where_the_time_went(serving: httpx.Client) -> None:
    response = serving.post("/predict", json={"text": "Works."}, headers={"x-request-id": "mine"})
    assert response.headers["x-request-id"] == "mine"
    timing = dict(part.split(";dur=") for part in response.headers["server-timing"].split(", "))
    assert set(timing) == {"queue", "model", "infer", "total"}
    assert 0 < float(timing["infer"]) <= float(timing["model"]) <= float(timing["total"])


def test_missing_and_null_fields_mean_the_same(serving: httpx.Client) -> None:
    bodies = ({"text": "Works."}, {"text": "Works.", "title": None, "category": ""})
    first, second = (serving.post("/predict", json=body).json() for body in bodies)
    assert first == second


def test_a_batch_is_answered_in_order_as_each_review_alone(serving: httpx.Client) -> None:
    reviews = [{"text": f"{'Good. ' * n}Review {n}."} for n in range(64)]
    batch = serving.post("/predict", json={"reviews": reviews})
    assert batch.status_code == 200
    body = batch.json()
    assert set(body) == {"predictions", "model", "version"}
    assert len(body["predictions"]) == 64
    for n in (0, 31, 63):
        alone = serving.post("/predict", json=reviews[n]).json()
        found = body["predictions"][n]
        assert found["tokens"] == alone["tokens"]
        assert found["probabilities"] == pytest.approx(alone["probabilities"], abs=1e-3)


def test_one_bad_review_among_63_good_ones_has_its_own_error(serving: httpx.Client) -> None:
    reviews: list[Any] = [{"text": f"Review {n}."} for n in range(64)]
    reviews[40] = {"text": 5}
    response = serving.post("/predict", json={"reviews": reviews})
    assert response.status_code == 200
    predictions = response.json()["predictions"]
    assert [set(p) for p in predictions] == [FIELDS if n != 40 else {"error"} for n in range(64)]
    error = predictions[40]["error"]
    assert error["type"] == "invalid_review"
    assert error["request_id"] == response.headers["x-request-id"]


def test_what_only_the_model_server_sees_is_an_error_of_the_review(serving: httpx.Client) -> None:
    """Text that is blank once it is cleaned: the gateway does not clean, so that there is one place that does."""
    bad = {"text": "<br /><br />\u0007"}
    alone = serving.post("/predict", json=bad)
    assert (alone.status_code, alone.json()["error"]["type"]) == (422, "blank_text")
    batch = serving.post("/predict", json={"reviews": [bad, {"text": "Works."}]})
    assert [set(p) for p in batch.json()["predictions"]] == [{"error"}, FIELDS]
    assert serving.post("/predict", json={"reviews": [bad, bad]}).status_code == 422


@pytest.mark.parametrize(
    "text",
    ["\u597d\u8bc4", "\u0645\u0631\u062a\u062c\u0639", "\U0001f44d" * 50, "a\u0000b", "\U0010ffff", "x" * 20_000],
    ids=["CJK", "RTL", "emoji", "NUL", "last code point", "longest"],
)
def test_any_text_within_the_limits_is_answered(text: str, serving: httpx.Client) -> None:
    answer = serving.post("/predict", json={"text": text}).json()
    assert answer["stars"] in range(1, 6)


def test_a_long_review_says_that_it_was_truncated(serving: httpx.Client) -> None:
    answer = serving.post("/predict", json={"text": "Never again. " * 500}).json()
    assert (answer["truncated"], answer["tokens"]) == (True, 128)


def test_what_is_outside_the_training_is_said_counted_and_printed(serving: httpx.Client) -> None:
    """Fault 34: a text in another language got its stars without a word."""
    texts = ("Works as it should.", "Leider nach zwei Tagen kaputt.", "\u975e\u5e38\u597d\u7528")

    def counted() -> dict[str, float]:
        found = re.findall(r'stars_unfamiliar_total\{by="(\w+)"\} ([\d.]+)', serving.get("/metrics").text)
        return {"language": 0.0, "script": 0.0} | {by: float(count) for by, count in found}

    before = counted()
    answers = serving.post("/predict", json={"reviews": [{"text": text} for text in texts]}).json()["predictions"]
    assert [answer["unfamiliar"] for answer in answers] == [None, "language", "script"]
    assert counted() == {by: count + 1 for by, count in before.items()}
    said = [CliRunner().invoke(app, ["predict", text, "--url", str(serving.base_url)]).stdout for text in texts]
    assert ["no English" in each for each in said] == [False, True, True]


def test_many_clients_at_once_all_get_their_own_answer(serving: httpx.Client) -> None:
    reviews = [{"text": f"{'word ' * (n % 20)}{n}"} for n in range(120)]

    async def ask() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=serving.base_url, timeout=60, trust_env=False) as client:
            return await asyncio.gather(*(client.post("/predict", json=review) for review in reviews))

    answers = asyncio.run(ask())
    assert {answer.status_code for answer in answers} == {200}
    alone = [serving.post("/predict", json=reviews[n]).json()["tokens"] for n in (0, 7, 119)]
    assert [answers[n].json()["tokens"] for n in (0, 7, 119)] == alone


def test_the_models_are_described(serving: httpx.Client) -> None:
    assert serving.get("/models").json() == {
        "model": "review-stars",
        "serving": "tiny-1",
        "production": "tiny-1",
        "problem": None,
        "versions": [{"version": "tiny-1", "state": "serving"}],
    }
    model = serving.get("/models/tiny-1").json()
    assert model["metrics"]["accuracy"] == {"value": 0.2, "low": 0.1, "high": 0.3}
    assert (model["token_limit"], model["temperature"], model["licence"]) == (128, 1.5, "Apache-2.0")


def test_metrics_count_requests_and_stars_without_any_text(serving: httpx.Client) -> None:
    canary = "zanzibar"
    serving.post("/predict", json={"text": canary, "title": canary, "category": canary})
    serving.post("/predict", json={canary: canary})
    serving.get(f"/{canary}?{canary}={canary}")
    serving.request("GET", "/healthz", headers={"x-request-id": canary})
    metrics = serving.get("/metrics").text
    assert canary not in metrics
    assert 'stars_requests_total{method="POST",route="/predict",status="200"}' in metrics
    assert 'stars_release_serving{version="tiny-1"} 1.0' in metrics
    assert sum(float(line.split()[-1]) for line in metrics.splitlines() if line.startswith("stars_predicted_total")) > 0
    assert "stars_queue_reviews 0.0" in metrics
