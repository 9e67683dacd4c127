"""The handler as TorchServe drives it: its own loader, its own Context, batches of requests."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ts.context import Context, RequestProcessor
from ts.model_loader import ModelLoaderFactory

from contracts.errors import ModelError
from contracts.limits import REVIEWS_LIMIT, TEXT_LIMIT
from contracts.model_folder import HANDLER, write_model_folder
from contracts.release.release import Release
from contracts.review import segments
from contracts.wire import read_request
from torchserve import handler as handler_module
from torchserve.handler import ReviewHandler

from ..adversarial.corpus import BODIES, NO_TEXT, texts

MEBIBYTE = 1024 * 1024
"""A request's body at the gateway."""

TEXTS = texts(100)


@pytest.fixture(scope="module")
def model_folder(tiny_release: Release, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model_folder(tiny_release, tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def handler(model_folder: Path) -> Iterator[ReviewHandler]:
    """The handler, loaded as TorchServe's worker loads it: by the module's name."""
    level = logging.getLogger().level
    service = ModelLoaderFactory.get_model_loader().load("review-stars", str(model_folder), HANDLER, None, 8, None)
    yield service._entry_point.__self__
    logging.getLogger().setLevel(level)


def call(handler: ReviewHandler, *bodies: Any) -> list[tuple[int, dict[str, Any]]]:
    """One batch of requests: the status and the answer of each."""
    context = Context("review-stars", "", {}, 8, None, "0.12.0")
    context.request_processor = [RequestProcessor({}) for _ in bodies]
    data = [{"body": bytearray(body)} if body is not None else {} for body in bodies]
    answers = handler.handle(data, context)
    assert all(context.get_response_content_type(i) == "application/json" for i in range(len(bodies)))
    statuses = [context.get_response_status(i)[0] for i in range(len(bodies))]
    return [(status, json.loads(answer)) for status, answer in zip(statuses, answers, strict=True)]


def body(*items: Any) -> bytes:
    return json.dumps({"reviews": items}).encode()


def test_golden_cases_get_their_logits(handler: ReviewHandler, tiny_release: Release) -> None:
    cases = tiny_release.golden().cases
    items = [
        {"review_body": case.text, "review_headline": case.title, "product_category": case.category} for case in cases
    ]

    [(status, answer)] = call(handler, body(*items))

    assert status == 200
    assert answer["infer_ms"] >= 0
    for case, prediction in zip(cases, answer["predictions"], strict=True):
        assert prediction["logits"] == pytest.approx(case.logits, abs=1e-5)
        assert prediction["truncated"] is False
    assert answer["predictions"][0]["tokens"] == 14


def test_what_nobody_waits_for_is_not_computed_and_its_neighbours_are(
    handler: ReviewHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[int] = []
    infer = handler.engine.infer
    monkeypatch.setattr(handler.engine, "infer", lambda reviews: (computed.append(len(reviews)), infer(reviews))[1])
    review = {"review_body": "Works."}
    late, early = time.time() - 0.1, time.time() + 60
    bodies = [json.dumps({"reviews": [review], "deadline": deadline}).encode() for deadline in (late, early)]

    (status, refused), (good, answer) = call(handler, *bodies)

    assert (status, refused["error"]["type"]) == (504, "expired")
    assert good == 200 and len(answer["predictions"]) == 1
    assert computed == [1]


def test_a_long_review_is_truncated_and_says_so(handler: ReviewHandler) -> None:
    [(_, answer)] = call(handler, body({"review_body": "good " * 1000}))
    [prediction] = answer["predictions"]
    assert (prediction["tokens"], prediction["truncated"]) == (128, True)


@pytest.mark.parametrize(
    ("item", "kind", "words"),
    [
        ("just text", "invalid_review", "must be an object"),
        (None, "invalid_review", "must be an object"),
        ({}, "invalid_review", "must be an object"),
        ({"text": "a"}, "invalid_review", "must be an object"),
        ({"review_body": 5}, "invalid_review", "review_body must be a text"),
        ({"review_body": ["a"]}, "invalid_review", "review_body must be a text"),
        ({"review_body": "a", "review_headline": None}, "invalid_review", "review_headline must be a text"),
        ({"review_body": "a", "product_category": 1.5}, "invalid_review", "product_category must be a text"),
        ({"review_body": "a", "star_rating": 5}, "invalid_review", "must be an object"),
        ({"review_body": "x" * (TEXT_LIMIT + 1)}, "invalid_review", f"at most {TEXT_LIMIT}"),
        ({"review_body": "a", "review_headline": "x" * (TEXT_LIMIT + 1)}, "invalid_review", "the review_headline must"),
        ({"review_body": ""}, "blank_text", "blank"),
        ({"review_body": " \t\n\u00a0\u2003"}, "blank_text", "blank"),
        ({"review_body": "\x00\x07", "review_headline": "A title"}, "blank_text", "control characters"),
        ({"review_body": "<br /><br />"}, "blank_text", "blank"),
        ({"review_body": "\ud83d"}, "blank_text", "blank"),
    ],
)
def test_a_bad_review_fails_alone(handler: ReviewHandler, item: Any, kind: str, words: str) -> None:
    good = {"review_body": "Good value."}

    [(status, answer)] = call(handler, body(good, item, good))

    first, failed, last = answer["predictions"]
    assert status == 200
    assert first["logits"] == pytest.approx(last["logits"], abs=1e-6)
    assert failed["error"]["type"] == kind
    assert words in failed["error"]["message"]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (b'{"reviews": [', "not JSON in UTF-8 at character 13"),
        (b"", "not JSON"),
        (b'{"reviews": [{"review_body": "\xff"}]}', "not JSON in UTF-8"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "body must be"),
        (b'"text"', "body must be"),
        (b'{"review_body": "a"}', "body must be"),
        (b'{"reviews": {"review_body": "a"}}', "body must be"),
        (b'{"reviews": []}', "0 reviews"),
        (body(*[{"review_body": "a"}] * (REVIEWS_LIMIT + 1)), f"send 1 to {REVIEWS_LIMIT}"),
        (None, "not JSON"),
    ],
)
def test_a_bad_request_does_not_fail_its_batch(handler: ReviewHandler, bad: bytes | None, words: str) -> None:
    good = body({"review_body": "Good value."}, {"review_body": ""})

    first, refused, last = call(handler, good, bad, good)

    assert (first[0], refused[0], last[0]) == (200, 400, 200)
    assert first[1]["predictions"] == last[1]["predictions"]
    assert "logits" in first[1]["predictions"][0]
    assert refused[1]["error"]["type"] == "malformed"
    assert words in refused[1]["error"]["message"]


# Fault 1: no exception over one review, whatever it is, may reach its neighbours.
class Panic(BaseException):
    """As pyo3 makes of a panic in Rust: no Exception."""


@pytest.mark.parametrize("error", [ZeroDivisionError("poison"), MemoryError("poison"), Panic("poison")])
@pytest.mark.parametrize("step", ["segments", "encode", "unfamiliar", "infer", "numbers"])
def test_a_mistake_of_ours_over_one_review_fails_it_alone(
    handler: ReviewHandler,
    step: str,
    error: BaseException,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    good, poison = {"review_body": "Good value."}, {"review_body": "poison"}
    [(_, expected)] = call(handler, body(good))
    guilty = handler.encoder.encode([segments("poison")])[0].input_ids
    owner, name = {
        "segments": (handler_module, "segments"),
        "encode": (handler.encoder, "_encode"),
        "unfamiliar": (handler.language, "unfamiliar"),
        "infer": (handler.engine, "infer"),
        "numbers": (handler.engine, "infer"),
    }[step]
    works = getattr(owner, name)

    def fails(given: Any, *others: Any) -> Any:
        if step in {"infer", "numbers"}:
            bad = [each.input_ids == guilty for each in given]
            if step == "numbers":
                return np.where(np.array(bad)[:, None], np.nan, works(given))
            if any(bad):
                raise error
        elif "poison" in str(given):
            raise error
        return works(given, *others)

    monkeypatch.setattr(owner, name, fails)
    (first, mine), (second, theirs), (third, both) = call(
        handler, body(good), body(poison), body(good, poison, {"review_body": ""}, good)
    )

    assert (first, second, third) == (200, 200, 200)
    kinds = [each.get("error", {}).get("type", "answer") for each in theirs["predictions"] + both["predictions"]]
    assert kinds == ["review_failed", "answer", "review_failed", "blank_text", "answer"]
    for found in (mine["predictions"][0], both["predictions"][0], both["predictions"][3]):
        assert found["logits"] == pytest.approx(expected["predictions"][0]["logits"], abs=1e-5)
    assert "a review failed" in caplog.text and "poison" not in caplog.text
    assert "poison" not in json.dumps(theirs)


def test_a_mistake_of_ours_over_one_body_fails_it_alone(
    handler: ReviewHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(given: bytes) -> Any:
        if b"poison" in given:
            raise ZeroDivisionError
        return read_request(given)

    monkeypatch.setattr(handler_module, "read_request", fails)
    good, refused = call(handler, body({"review_body": "Good value."}), body({"review_body": "poison"}))
    assert (good[0], refused[0]) == (200, 400)
    assert refused[1]["error"]["type"] == "review_failed"


def test_ctrl_c_is_no_mistake_of_ours(handler: ReviewHandler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler.encoder, "encode_each", lambda reviews: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        call(handler, body({"review_body": "Good value."}))


def test_what_is_unfamiliar_about_a_text_is_said(handler: ReviewHandler) -> None:
    texts = ["It broke after two days.", "Leider nach zwei Tagen kaputt.", "非常好用,推荐购买", "Ok."]
    [(_, answer)] = call(
        handler,
        body(*({"review_body": text, "review_headline": "Great", "product_category": "Gift_Card"} for text in texts)),
    )
    assert [each["unfamiliar"] for each in answer["predictions"]] == [None, "language", "script", None]


@pytest.mark.parametrize("name", TEXTS)
def test_the_worst_review_does_its_neighbours_no_harm(handler: ReviewHandler, name: str) -> None:
    """Faults 1, 2: of the size that the gateway lets pass, and of the handler's own."""
    good = {"review_body": "Good value."}
    [(_, expected)] = call(handler, body(good))
    for size in (20_000, TEXT_LIMIT):
        text = texts(size)[name]
        worst = {"review_body": text, "review_headline": text[:1000], "product_category": text[:200]}
        (_, mine), (status, both) = call(handler, body(good), body(good, worst, good))
        assert status == 200
        for found in (mine["predictions"][0], both["predictions"][0], both["predictions"][2]):
            assert found["logits"] == pytest.approx(expected["predictions"][0]["logits"], abs=1e-5)
        found = both["predictions"][1]
        assert "logits" in found or found["error"]["type"] == "blank_text"


@pytest.mark.parametrize("name", NO_TEXT)
def test_what_no_encoder_can_write_is_cleaned_away(handler: ReviewHandler, name: str) -> None:
    """The gateway refuses it; here it can only have been escaped by somebody else."""
    [(_, answer)] = call(handler, body({"review_body": "Good value."}, {"review_body": NO_TEXT[name] + "Good value."}))
    assert all("logits" in prediction for prediction in answer["predictions"])


@pytest.mark.parametrize("name", BODIES)
def test_the_worst_bodies_are_refused_or_their_reviews_are(handler: ReviewHandler, name: str) -> None:
    (status, answer), (good, _) = call(handler, BODIES[name], body({"review_body": "Good value."}))
    assert good == 200
    if status == 200:
        assert name in {"many reviews that are none", "sixty-five reviews"}  # the handler's limit is higher
    else:
        assert (status, answer["error"]["type"]) == (400, "malformed")


@pytest.mark.parametrize(
    "name",
    [
        "words of a hundred letters",
        "one letter under all marks",
        "Tibetan vowels, which are starters that decompose into marks",
    ],
)
def test_a_full_batch_of_the_worst_is_read_within_a_fraction_of_the_deadline(handler: ReviewHandler, name: str) -> None:
    """Fault 2: these took 7, 22 and 80 s of processor time; a tenth of a second to a quarter remains of each."""
    item = json.dumps({"review_body": texts(20_000)[name]}, ensure_ascii=False).encode()
    count = min(64, MEBIBYTE // (len(item) + 2))
    request = {"body": bytearray(b'{"reviews": [' + b", ".join([item] * count) + b"]}")}
    started = time.process_time()
    reviews = handler.parse(request)
    assert isinstance(reviews, list)
    assert len(handler.tokenise(reviews)) == count
    assert time.process_time() - started < 2.5


def test_errors_never_quote_the_review(handler: ReviewHandler) -> None:
    secret = "my-card-number"
    answers = call(
        handler, body({"review_body": secret + "\ud800"}, {"review_body": 1, secret: secret}), b'{"' + secret.encode()
    )
    assert secret not in json.dumps(answers)


def test_one_run_of_the_engine_for_a_whole_batch(handler: ReviewHandler, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    infer = handler.engine.infer

    def counted(reviews: Any) -> np.ndarray:
        calls.append(len(reviews))
        return infer(reviews)

    monkeypatch.setattr(handler.engine, "infer", counted)
    call(handler, body({"review_body": "a"}, {"review_body": ""}), body({"review_body": "b"}, {"review_body": "c"}))
    assert calls == [3]


def test_the_error_policy_refuses_the_long_review_alone(tiny_release: Release, tmp_path: Path) -> None:
    folder = write_model_folder(tiny_release, tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text()) | {"truncation": "error"}
    (folder / "manifest.json").unlink()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    handler = ReviewHandler()
    level = logging.getLogger().level
    handler.initialize(Context("review-stars", str(folder), {}, 8, None, "0.12.0"))
    logging.getLogger().setLevel(level)

    [(_, answer)] = call(handler, body({"review_body": "good " * 200}, {"review_body": "good"}))

    assert answer["predictions"][0]["error"]["type"] == "too_many_tokens"
    assert "logits" in answer["predictions"][1]


@pytest.mark.parametrize(
    "change",
    [
        {"engines": [{"kind": "abacus"}]},
        {"engines": []},
        {"engines": ["torch"]},
        {"engines": None},
        {"schema_version": 3},
        {"token_limit": None},
        {"truncation": "middle"},
    ],
)
def test_an_unreadable_manifest_is_refused(tiny_release: Release, tmp_path: Path, change: dict[str, Any]) -> None:
    folder = write_model_folder(tiny_release, tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text()) | change
    (folder / "manifest.json").unlink()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelError):
        ReviewHandler().initialize(Context("review-stars", str(folder), {}, 8, None, "0.12.0"))


def test_a_worker_imports_little() -> None:
    """What a worker imports costs every restart seconds and megabytes."""
    program = "import sys, torchserve.handler; print(' '.join(sorted(m for m in sys.modules if '.' not in m)))"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"transformers", "tensorflow", "keras", "pydantic", "pandas", "service", "training"} & set(found)
