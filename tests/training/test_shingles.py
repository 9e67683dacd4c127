"""Shingles and their MinHash: what makes two texts alike, and what costs nothing."""

from __future__ import annotations

import numpy as np
import pytest

from training.data.shingles import BANDS, LEAST_WORDS, bands, likeness, shingles

WORDS = [f"word{number}" for number in range(40)]


def alike(one: str, other: str) -> float:
    return likeness(*shingles([one, other]))


def test_likeness_is_the_share_of_common_shingles() -> None:
    text = " ".join(WORDS)
    edited = " ".join([*WORDS[:20], "another", *WORDS[21:]])  # 3 of 38 shingles differ
    assert alike(text, edited) == pytest.approx(35 / 41)
    assert alike(text, text.upper().replace(" ", ", ") + "!") == 1
    assert alike(text, " ".join(reversed(WORDS))) == 0
    assert alike(f"{text} {text}", f"{text} {text} {text}") == 1


def test_what_is_short_is_like_nothing() -> None:
    short = " ".join(WORDS[: LEAST_WORDS - 1])
    assert [len(found) for found in shingles([short, "", "Good", "?!", f"{short} more"])] == [0, 0, 0, 0, 6]
    assert alike(short, short) == 0
    assert shingles([]) == []
    some, keys = bands(shingles([short, "Good"]))
    assert (len(some), keys.shape) == (0, (0, BANDS))


def test_a_text_has_the_same_shingles_in_any_company() -> None:
    texts = [" ".join(WORDS[at:]) for at in range(30)]
    together = shingles(texts)
    for text, found in zip(texts, together, strict=True):
        assert found.tolist() == shingles([text])[0].tolist()
    some, keys = bands([*together, shingles(["Good"])[0]])
    assert some.tolist() == list(range(30))
    assert keys[3].tolist() == bands(together[3:4])[1][0].tolist()


def test_bands_find_what_is_alike_as_often_as_they_say() -> None:
    random = np.random.default_rng(1)
    met = {}
    for replaced in (3, 10):  # of 60 words: about 74 % and 36 % of all shingles stay common
        hits = []
        for _ in range(300):
            words = random.integers(10**6, size=60).astype(str)
            edited = words.copy()
            edited[random.choice(60, replaced, replace=False)] = "other"
            hits.append(bool((bands(shingles([" ".join(words)]))[1] == bands(shingles([" ".join(edited)]))[1]).any()))
        met[replaced] = np.mean(hits)
    assert met[3] > 0.97
    assert 0.1 < met[10] < 0.6


def test_a_hundred_thousand_words_are_a_text_too() -> None:
    long = " ".join(f"w{number % 5000} {number}" for number in range(50_000))
    found = shingles([long, long.replace("w17 ", "w18 "), "Good"])
    assert likeness(found[0], found[1]) > 0.99
    assert bands(found)[1].shape == (2, BANDS)
