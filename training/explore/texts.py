"""Questions about the texts: their lengths, headlines, languages, repeats and words."""

from __future__ import annotations

from typing import Any

import pandas as pd

from training.explore.charts import (
    Bar,
    Bars,
    Bin,
    Chart,
    Histogram,
    Stacked,
    StackRow,
    WordList,
    Words,
    counted,
    listed,
    readable,
)
from training.explore.question import Question
from training.explore.ratings import star_bar
from training.pages.words import percent


def _lengths(rows: pd.DataFrame) -> str:
    whole = rows.reviews.sum()
    middle = rows.words_from[rows.reviews.cumsum().searchsorted(whole / 2)]
    half = f"Half of the reviews have fewer than {middle + 10} words" if middle < 300 else "Most have 300 words or more"
    cut = rows.cut_reviews.sum() / whole
    return f"{half}. The token limit of 128 cuts {f'about {percent(cut)}' if cut else 'none'} of them."


def _lengths_chart(rows: pd.DataFrame) -> Chart:
    found = rows.set_index("words_from")
    bins = []
    for words in range(0, 301, 10):
        cut, reviews = found.loc[words, ["cut_reviews", "reviews"]] if words in found.index else (0, 0)
        bins.append(Bin(f"{words}+" if words == 300 else str(words), (float(reviews - cut), float(cut))))
    return Histogram("reviews by words in the text", (("whole", "mark"), ("cut", "star2")), tuple(bins), step=5)


def _headlines(rows: pd.DataFrame) -> str:
    naming, given = rows.naming.sum(), rows.naming_the_given.sum()
    if not naming:
        return "No headline names nothing but a star."
    return (
        f"{percent(naming / rows.reviews.sum())} of the reviews have a headline that only names a star, and in "
        f"{percent(given / naming)} of them it is the star that was given: such a headline is the answer, so training "
        "leaves it out."
    )


def _headlines_chart(rows: pd.DataFrame) -> Chart:
    bars = tuple(star_bar(row, row.share, percent(row.share)) for row in rows.itertuples())
    return Bars("share of reviews whose headline only names a star", bars)


NO_LANGUAGE = ("too little to tell", "unclear")


def _languages(rows: pd.DataFrame) -> str:
    said = rows.set_index("guess")
    whole, unknown = rows.reviews.sum(), rows[rows.guess.isin(NO_LANGUAGE)].reviews.sum()
    english = said.reviews.get("English", 0)
    others = rows[~rows.guess.isin([*NO_LANGUAGE, "English"])]
    text = f"By their function words {percent(english / whole)} of the reviews are English"
    if unknown:
        text += f"; {percent(unknown / whole)} say too little to tell"
    if others.empty:
        return f"{text}. No other language was found."
    named = [f"{row.guess} ({row.reviews:,})" for row in others.itertuples()]
    return f"{text}. {counted(others.reviews.sum(), 'review is', 'reviews are')} in other languages: {listed(named)}."


def _languages_chart(rows: pd.DataFrame) -> Chart:
    bars = tuple(Bar(row.guess, row.share, f"{row.reviews:,}, {percent(row.share)}") for row in rows.itertuples())
    return Bars("reviews, and their share", bars)


REPEATS = {
    "same_text": ("same text", "star1"),
    "same_beginning": ("same first ten words", "star2"),
    "same_short_text": ("same short text", "star3"),
}


def _duplicates(rows: pd.DataFrame) -> str:
    whole = rows.reviews.sum()
    same, near = rows.same_text.sum(), rows.same_beginning.sum()
    if not same + near:
        return "No review of five words or more repeats another one, and none begins with the same ten words."
    shares = (rows.same_text + rows.same_beginning) / rows.reviews
    said = (
        f"{percent(same / whole)} of the reviews have the text of another one, {percent(near / whole)} another text "
        "but the same first ten words"
    )
    said += (
        f"; the largest share is that of {readable(rows.product_category[shares.argmax()])}." if len(rows) > 1 else "."
    )
    contradicting = rows.same_text_other_stars.sum()
    if contradicting:
        twins = "with the text of another one"
        said += f" {counted(contradicting, f'review {twins} gives', f'reviews {twins} give')} other stars."
    return said


def _duplicates_chart(rows: pd.DataFrame) -> Chart:
    def stack(row: Any) -> StackRow:
        values = tuple(getattr(row, kind) / row.reviews for kind in REPEATS)
        return StackRow(readable(row.product_category), values, percent(sum(values)))

    ordered = rows.assign(whole=rows[list(REPEATS)].sum(axis=1) / rows.reviews).sort_values("whole", ascending=False)
    stacks = tuple(map(stack, ordered.itertuples()))
    return Stacked("share of a category's reviews that repeat another one", tuple(REPEATS.values()), stacks)


def _words(rows: pd.DataFrame) -> str:
    said = []
    for way, found in (("up", rows[rows.z > 0]), ("down", rows[rows.z < 0])):
        if len(found):
            counts = found.groupby("word").agg(categories=("word", "size"), z=("z", lambda z: z.abs().sum()))
            best = counts.sort_values(["categories", "z"], ascending=False).iloc[0]
            said.append((best.name, way, int(best.categories)))
    where = rows.product_category.nunique()
    if where == 1:
        told = " and ".join(f"“{word}” pulls {way}" for word, way, _ in said)
        return f"In {readable(rows.product_category[0])}, {told} more than any other word."
    told = ", ".join(f"“{word}” pulls {way} in {number}" for word, way, number in said)
    return f"Of {where} categories with enough reviews, {told}: more than any other word does."


def _words_chart(rows: pd.DataFrame) -> Chart:
    def panel(category: str, words: pd.DataFrame) -> WordList:
        up, down = words[words.z > 0].sort_values("z", ascending=False), words[words.z < 0].sort_values("z")
        return WordList(readable(category), *(tuple(zip(way.word, way.z, strict=True)) for way in (up, down)))

    panels = tuple(panel(str(category), words) for category, words in rows.groupby("product_category"))
    return Words(
        "z of the log-odds ratio of a word, 4 and 5 stars against 1 and 2; bars compare within a category", panels
    )


LENGTHS = Question(
    "review_lengths", "How long are the reviews, and how many does the token limit cut?", _lengths, _lengths_chart
)
HEADLINES = Question("headlines_that_name_the_star", "How many headlines name the star?", _headlines, _headlines_chart)
LANGUAGES = Question("languages", "In which languages are the reviews written?", _languages, _languages_chart)
DUPLICATES = Question("duplicates", "How many reviews say what another one says?", _duplicates, _duplicates_chart)
WORDS = Question(
    "words_that_pull",
    "Which words pull a rating up or down?",
    _words,
    _words_chart,
    "No word stands in enough good and bad reviews of a category to say that it pulls.",
)
