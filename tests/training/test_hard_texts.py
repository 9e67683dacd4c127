"""The texts of the parity gate are as hard, as many and as stable as the gate says."""

from __future__ import annotations

import unicodedata

import pytest

from contracts.review import segments
from contracts.tokens import Encoded, ReviewEncoder
from training.model.base_model import locate
from training.model.hard_texts import hard_texts


@pytest.fixture(scope="module")
def encoded() -> list[Encoded]:
    encoder = ReviewEncoder(locate("minilm") / "tokenizer.json")
    return encoder.encode([segments(r.review_body, r.review_headline, r.product_category) for r in hard_texts()])


def test_they_are_the_same_every_time() -> None:
    assert hard_texts() == hard_texts()


def test_there_are_500_different_ones(encoded: list[Encoded]) -> None:
    assert len({tuple(each.input_ids) for each in encoded}) >= 500


def test_they_cover_lengths_from_one_token_to_beyond_the_limit(encoded: list[Encoded]) -> None:
    lengths = {len(each.input_ids) for each in encoded}
    assert {3, 4, 126, 127, 128} <= lengths
    assert max(lengths) == 128
    assert sum(each.truncated for each in encoded) >= 40


def test_they_cover_scripts_and_traps() -> None:
    text = "".join(review.review_body for review in hard_texts())
    names = {unicodedata.name(character, "").split(" ")[0] for character in set(text)}
    assert {"CJK", "HIRAGANA", "HANGUL", "ARABIC", "HEBREW", "THAI", "DEVANAGARI", "CYRILLIC"} <= names
    assert all(trap in text for trap in ("\x00", "\x1b", "\u202e", "[SEP]", "[PAD]", "&amp;amp;", "<br />", "😀"))
    assert any(not review.review_body for review in hard_texts())
