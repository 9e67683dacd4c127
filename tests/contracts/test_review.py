from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.review import STARS, TSV_COLUMNS, Segments, clean, names_the_star, segments

# Any code point, lone surrogates too, with the characters that matter drawn often.
TEXT = st.text(
    st.one_of(st.sampled_from("<br/>&;#x \t\r\n\0\x85\u2028\u200d\ufe0f\ud800é★5*"), st.characters(codec=None))
)


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
        ("&nosuch; &#x110000; &#0; &", "&nosuch; \ufffd \ufffd &"),
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


@given(st.text(st.characters(exclude_characters="&<")))
def test_cleaning_twice_changes_nothing(raw: str) -> None:
    assert clean(clean(raw)) == clean(raw)


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
