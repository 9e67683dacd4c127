from __future__ import annotations

import gzip
import html
import sys
import time
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import review
from contracts.review import MARKS_LIMIT, STARS, TSV_COLUMNS, Segments, clean, names_the_star, segments

SHARED = Path(__file__).parents[3] / "shared" / "data"

# Any code point, lone surrogates too, with the characters and runs that matter drawn often.
PARTS = [
    *"<br/>&;#x \t\r\n\0\x07\x85\u2028\u200d\ufe0f\ud800é★5*e",
    *("\u0301", "\u0316", "\u0344", "\u0f73", "\u0316" * 29, "\u0344" * 20, "\u0f73" * 20),
    *("&#", "&#x", "0" * 3000, "9" * 3000, "65;", "D800;", "&amp;", "&lt;br&gt;", "<br>", "\u1100\u1161\u11a8"),
]
TEXT = st.lists(st.one_of(st.sampled_from(PARTS), st.characters(codec=None))).map("".join)


def test_columns_and_stars() -> None:
    assert len(TSV_COLUMNS) == 15 == len(set(TSV_COLUMNS))
    assert STARS == (1, 2, 3, 4, 5)


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("", ""),
        ("  a \t\n b\r", "a b"),
        ("one<br />two<br>three<BR/>four</br>five< br / >six", "one two three four five six"),
        ("&#34;Tom &amp; Jerry&#34; &lt;3", '"Tom & Jerry" <3'),
        ("a&lt;br /&gt;b", "a b"),
        ("cafe\u0301", "café"),
        ("a\0b\x07c\x1bd", "abcd"),
        ("a\u0085b\u2028c\u00a0d\u3000e", "a b c d e"),
        ("ok\ud800?", "ok?"),
        ("👩\u200d👩\u200d👧 ❤\ufe0f", "👩\u200d👩\u200d👧 ❤\ufe0f"),
        ("नमस्ते क्\u200dष", "नमस्ते क्\u200dष"),
        ("\u202bעברית\u202c", "\u202bעברית\u202c"),
        ("<b>bold</b> a < b > c", "<b>bold</b> a < b > c"),
        ("&nosuch; &#x110000; &#0; &#xd800; &", "&nosuch; &#x110000; &#0; &#xd800; &"),
        ("&#" + "9" * 5000 + ";", "&#" + "9" * 5000 + ";"),
        ("&#65; &#0065 &#x41 &#128; &eacute &notit;", "A A A € é ¬it;"),
        ("e\x07\u0301 \u0344", "é \u0308\u0301"),
        ("a" + "\u0316" * 100, "a" + "\u0316" * 30),
        ("q" + "\u0344" * 100 + "b", "q" + ("\u0308\u0301" * 15) + "b"),
    ],
)
def test_clean(raw: str, cleaned: str) -> None:
    assert clean(raw) == cleaned


@given(TEXT)
def test_cleaned_text_is_text(raw: str) -> None:
    cleaned = clean(raw)
    cleaned.encode()
    assert cleaned == " ".join(cleaned.split())
    assert unicodedata.is_normalized("NFC", cleaned)
    assert {unicodedata.category(c) for c in cleaned}.isdisjoint({"Cc", "Cs"})


@given(TEXT)
def test_cleaning_twice_changes_nothing(raw: str) -> None:
    raw = raw.replace("&", "").replace("<", "")
    assert clean(clean(raw)) == clean(raw)


@given(TEXT)
def test_no_letter_carries_more_marks_than_the_limit(raw: str) -> None:
    """Fault 2: what sorts marks, here or in the tokenizer, takes time in the square of their number."""
    marks = 0
    for character in clean(raw):
        marks = marks + 1 if unicodedata.combining(character) else 0
        assert marks <= MARKS_LIMIT


def test_what_cleaning_knows_of_unicode_is_true() -> None:
    """The patterns say in ranges what the tables of Unicode say of each character."""
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        gone = unicodedata.category(character) in {"Cc", "Cs"} and not character.isspace()
        assert bool(review._CONTROL.fullmatch(character)) is gone
        if unicodedata.combining(unicodedata.normalize("NFD", character)[0]):
            assert review._MANY_MARKS.fullmatch(character * (MARKS_LIMIT + 1))
            assert review._MANY_MARKS.sub(review._bounded, character * (MARKS_LIMIT + 1)) == character * MARKS_LIMIT


@pytest.mark.skipif(not SHARED.is_dir(), reason="no labelled reviews beside the project")
@pytest.mark.shared
def test_real_reviews_are_cleaned_as_one_by_one() -> None:
    """The quick ways around html.unescape, normalising and Unicode's tables change no review that anybody wrote."""

    def plainly(text: str) -> str:
        text = unicodedata.normalize("NFC", review._LINE_BREAK.sub(" ", html.unescape(text)))
        kept = (c for c in text if c.isspace() or unicodedata.category(c) not in {"Cc", "Cs"})
        return " ".join("".join(kept).split())

    for name in ("Home_Improvement", "Gift_Card"):
        [file] = SHARED.glob(f"*_{name}_*.tsv.gz")
        for line in gzip.decompress(file.read_bytes()).decode().split("\n"):
            assert clean(line) == plainly(line)


@pytest.mark.parametrize(
    "headline",
    [
        "Five Stars", "five stars", "FIVE STARS", "Four Stars", "Three Stars!", "Two stars", "One Star", "1 star",
        "5 stars", "5 Stars!!!", "5-star", "5star", "Five Stars.", "...Five Stars...", "4.5 stars", "3.0 stars",
        "A five star", "Solid 4 stars", "5 out of 5 stars", "5/5", "4 out of 5", "5 of 5 stars", "5/5 stars!",
        "Five out of five stars", "★★★★★", "★", "* * * * *", "*****", "⭐⭐⭐⭐⭐", "⭐️⭐️⭐️", "☆☆", "5 ***** stars",
        "Five Stars :)", "\"Five Stars\"", "five stars rating", "1 star review",
    ],
)  # fmt: skip
def test_headlines_that_name_the_star(headline: str) -> None:
    assert names_the_star(headline)
    assert segments("text", headline, "Gift_Card") == ("Gift Card", "text")
    assert segments("text", headline) == ("", "text")


@pytest.mark.parametrize(
    "headline",
    [
        "", "Five Stars for the price", "I gave it five stars", "Great", "5", "five", "Star Wars", "Stars", "10 stars",
        "6 stars", "One star is too many", "Five minutes", "Rock star", "Starts well", "5 stars, but slow", "Lone Star",
        "4 starters", "!!!", "2 out of 10", "Windows 5/50",
    ],
)  # fmt: skip
def test_headlines_that_say_something(headline: str) -> None:
    assert not names_the_star(headline)


@pytest.mark.parametrize(
    "headline", ["Five&nbsp;Stars", " Five\tStars\r\n", "Five<br />Stars", "Fi\0ve Stars", "5&#47;5"]
)
def test_star_names_are_found_in_the_cleaned_headline(headline: str) -> None:
    assert segments("x", headline) == ("", "x")


def test_segments() -> None:
    assert segments("It <br />broke.", "Waste &amp; woe", "Digital_Software") == Segments(
        "Digital Software : Waste & woe", "It broke."
    )
    assert segments("b", "h") == ("h", "b")
    assert segments("b", "", "c") == ("c", "b")
    assert segments("", "", "") == ("", "")


@given(body=TEXT, headline=TEXT, category=TEXT)
def test_segments_are_clean(body: str, headline: str, category: str) -> None:
    first, second = segments(body, headline, category)
    first.encode()
    assert second == clean(body)
    assert "\n" not in first and "_" not in clean(category.replace("_", " "))


@pytest.mark.parametrize(
    "headline",
    [
        "*" * 100_000, "★ " * 50_000, "5 out of " * 10_000, "_" * 100_000, "an " * 30_000, "5" * 100_000,
        "five " * 20_000, "5" + "_" * 50_000 + "x", "5 " + "/" * 50_000, "star" * 20_000, "<" * 100_000, "&" * 100_000,
        "<br" * 30_000, "< " + " " * 100_000 + "br", "<br" + " " * 100_000 + "x", "&#" * 50_000,
        "e" + "\u0301" * 50_000, "*" * 59 + "x", "_" * 58 + "5x", "5" + "_" * 58 + "x", "5 " + "_/" * 28 + "x",
        ("_ " * 30)[:60], "5 stars" + "_" * 52 + "x", "5of5" + "_" * 55 + "x", "\u0344" * 20_000,
    ],
)  # fmt: skip
def test_hostile_text_takes_no_time(headline: str) -> None:
    start = time.process_time()
    segments(headline, headline, headline)
    assert time.process_time() - start < 1.0
