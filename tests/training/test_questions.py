"""The answers to the sixteen questions, beside what polars and plain Python make of the same reviews."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest

from contracts.errors import ConfigError
from contracts.review import names_the_star
from contracts.stages import IngestConfig
from training.data.dataset import open_reviews
from training.explore.questions import QUESTIONS, answer
from training.pipeline.data_set import data_set_of
from training.running.reporting import Listener

from .amazon import row, write

EXAMPLES = Path(__file__).parents[2] / "examples" / "reviews.tsv"
MORE = [
    {"review_body": "Muy bien para los niños, pero el libro es una copia.", "product_category": "Books"},
    {"review_body": "Der Film ist sehr gut und nicht zu lang, ich mag das.", "product_category": "Books"},
    {"review_body": "Отличная книга, очень понравилась.", "product_category": "Books", "star_rating": "5"},
    {"review_body": "Great!", "star_rating": "5"},
    {"review_body": "great", "star_rating": "1", "product_category": "Books"},
    {"review_body": "It is what it is, and it does that well.", "star_rating": "5"},
    {"review_body": "IT IS what it is - and it does that well!", "star_rating": "2", "product_category": "Books"},
    {"review_body": "one two three four five six seven eight nine ten eleven"},
    {"review_body": "one two three four five six seven eight nine ten twelve"},
    {"review_body": "one two three four five six seven eight nine zero"},
    {"review_body": "works as it should"},
    {"review_body": "works as it should"},
    {"review_headline": "★★★", "star_rating": "3"},
    {"review_headline": "Four Stars", "star_rating": "2"},
    {"review_headline": "5 out of 5", "star_rating": "5"},
    {"review_headline": "Starting over", "star_rating": "5", "review_body": "word " * 400},
    {"customer_id": "c1", "product_parent": "p1", "star_rating": "1"},
    {"customer_id": "c1", "product_parent": "p1", "star_rating": "4"},
    {"customer_id": "c1", "product_parent": "p1", "star_rating": "4"},
    {"customer_id": "c2", "product_id": "p2"},
    {"customer_id": "c2", "product_id": "p2", "review_date": "1999-12-31"},
    *({"customer_id": "c3", "product_id": "p3", "helpful_votes": "7", "total_votes": "9"} for _ in range(6)),
]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The examples, and reviews of which those have none: undated, repeated, in other languages."""
    folder = tmp_path_factory.mktemp("questions")
    rows = (row(**({"review_id": f"M{at}"} | more)) for at, more in enumerate(MORE))
    return data_set_of([EXAMPLES, write(folder / "more.tsv", *rows)], IngestConfig(), folder / "scratch", Listener())


@pytest.fixture(scope="module")
def reviews(lake: Path) -> pl.DataFrame:
    found = pl.from_arrow(open_reviews(lake).to_table())
    assert isinstance(found, pl.DataFrame)
    return found


def plain(value: Any) -> Any:
    if value is None or value is pd.NaT or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, pd.Timestamp):
        return value.date()
    return pytest.approx(value, rel=1e-9) if isinstance(value, float) else value


def check(lake: Path, name: str, expected: pl.DataFrame | list[dict[str, Any]]) -> None:
    """The answer has these rows in this order, and these columns."""
    found = [{key: plain(value) for key, value in each.items()} for each in answer(lake, name).to_dict("records")]
    rows = expected.rows(named=True) if isinstance(expected, pl.DataFrame) else expected
    assert found == [{name: each.get(name) for name in found[0]} for each in rows]
    assert len(found) > 0 and set(found[0]) == set(rows[0])


def share(reviews: pl.Expr, over: str | None = None) -> pl.Expr:
    whole = reviews.sum() if over is None else reviews.sum().over(over)
    return (reviews / whole).alias("share")


BY_CATEGORY = ["product_category"]


def test_best_rated_categories(lake: Path, reviews: pl.DataFrame) -> None:
    stars = pl.col("star_rating")
    found = reviews.group_by(BY_CATEGORY).agg(
        reviews=pl.len(), average_stars=stars.mean(), margin=1.96 * stars.std() / pl.len().sqrt()
    )
    check(lake, "best_rated_categories", found.sort(["average_stars", *BY_CATEGORY], descending=[True, False]))


def test_most_reviewed_categories(lake: Path, reviews: pl.DataFrame) -> None:
    found = reviews.group_by(BY_CATEGORY).agg(
        reviews=pl.len(),
        products=pl.col("product_id").drop_nulls().n_unique(),
        customers=pl.col("customer_id").drop_nulls().n_unique(),
    )
    found = found.with_columns(share(pl.col("reviews")))
    check(lake, "most_reviewed_categories", found.sort(["reviews", *BY_CATEGORY], descending=[True, False]))


def test_first_review_dates(lake: Path, reviews: pl.DataFrame) -> None:
    dates = pl.col("review_date")
    found = reviews.filter(dates.is_not_null()).group_by(BY_CATEGORY)
    found_ = found.agg(first_review=dates.min(), last_review=dates.max(), dated_reviews=pl.len())
    check(lake, "first_review_dates", found_.sort(["first_review", *BY_CATEGORY]))


def test_star_breakdown(lake: Path, reviews: pl.DataFrame) -> None:
    found = reviews.group_by([*BY_CATEGORY, "star_rating"]).agg(reviews=pl.len())
    found = found.with_columns(share(pl.col("reviews"), "product_category"))
    check(lake, "star_breakdown", found.sort([*BY_CATEGORY, "star_rating"]))


def test_reviews_per_star(lake: Path, reviews: pl.DataFrame) -> None:
    found = reviews.group_by("star_rating").agg(reviews=pl.len()).with_columns(share(pl.col("reviews")))
    check(lake, "reviews_per_star", found.sort("star_rating", descending=True))


def test_ratings_over_time(lake: Path, reviews: pl.DataFrame) -> None:
    years = [*BY_CATEGORY, pl.col("review_date").dt.year().cast(pl.Int64).alias("review_year")]
    found = reviews.filter(pl.col("review_date").is_not_null()).group_by(years)
    averages = found.agg(reviews=pl.len(), average_stars=pl.col("star_rating").mean())
    kept = averages.filter(pl.col("reviews") >= 5)
    assert len(kept) < len(averages), "one year says too little"
    check(lake, "ratings_over_time", kept.sort([*BY_CATEGORY, "review_year"]))


def test_most_helpful_stars(lake: Path, reviews: pl.DataFrame) -> None:
    helpful, votes = pl.col("helpful_votes"), pl.col("total_votes")
    found = reviews.filter((votes > 0) & helpful.is_not_null()).group_by("star_rating")
    sums = found.agg(
        voted_reviews=pl.len(),
        helpful_votes=helpful.sum(),
        total_votes=votes.sum(),
        helpful_share=helpful.sum() / votes.sum(),
        helpful_votes_per_review=helpful.sum() / pl.len(),
    )
    check(lake, "most_helpful_stars", sums.sort("star_rating", descending=True))


def words(text: str) -> int:
    return text.count(" ") + 1


def test_most_helpful_products(lake: Path, reviews: pl.DataFrame) -> None:
    helpful = [each for each in reviews.rows(named=True) if (each["helpful_votes"] or 0) > 0]
    products = defaultdict(list)
    for each in helpful:
        products[each["product_parent"] or each["product_id"]].append(each)
    everywhere = sum(words(each["review_body"]) for each in helpful) / len(helpful)
    expected = [
        {
            "product": product,
            "product_title": max((each["product_title"] for each in found if each["product_title"]), default=None),
            "product_category": max(each["product_category"] for each in found),
            "helpful_reviews": len(found),
            "helpful_votes": sum(each["helpful_votes"] for each in found),
            "average_words": sum(words(each["review_body"]) for each in found) / len(found),
            "average_words_of_all": everywhere,
        }
        for product, found in products.items()
    ]
    expected.sort(key=lambda each: (-each["helpful_votes"], each["product"]))
    assert expected[0]["product"] == "p3"
    check(lake, "most_helpful_products", expected[:10])


def test_positive_to_negative(lake: Path, reviews: pl.DataFrame) -> None:
    positive = pl.col("star_rating") >= 4
    found = reviews.group_by(BY_CATEGORY).agg(positive=positive.sum(), negative=(~positive).sum())
    found = found.with_columns(ratio=pl.col("positive") / pl.col("negative"))
    check(lake, "positive_to_negative", found.sort(["ratio", *BY_CATEGORY], descending=[True, False]))


def test_repeat_reviewers(lake: Path, reviews: pl.DataFrame) -> None:
    found = reviews.with_columns(product=pl.coalesce("product_parent", "product_id")).drop_nulls(
        ["customer_id", "product"]
    )
    pairs = found.group_by("customer_id", "product").agg(reviews=pl.len(), average_stars=pl.col("star_rating").mean())
    times = pairs.with_columns(times=pl.col("reviews").clip(upper_bound=5)).group_by("times")
    expected = times.agg(
        customers=pl.col("customer_id").n_unique(),
        customers_and_products=pl.len(),
        written_reviews=pl.col("reviews").sum(),
        average_stars=pl.col("average_stars").mean(),
        most_reviews=pl.col("reviews").max(),
    )
    assert set(expected["times"]) == {1, 2, 3, 5}
    check(lake, "repeat_reviewers", expected.sort("times"))


def test_review_lengths(lake: Path, reviews: pl.DataFrame) -> None:
    counts: Counter[int] = Counter()
    cut: Counter[int] = Counter()
    for each in reviews.rows(named=True):
        body, headline = words(each["review_body"]), each["review_headline"]
        beside = (words(headline) if headline else 0) + each["product_category"].count("_") + 2
        bin_ = min(body // 10 * 10, 300)
        counts[bin_] += 1
        cut[bin_] += (body + beside) * 1.2 > 125
    assert counts[300] == 1
    expected = [{"words_from": at, "reviews": counts[at], "cut_reviews": cut[at]} for at in sorted(counts)]
    check(lake, "review_lengths", expected)


NUMBERS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5}


def test_headlines_that_name_the_star(lake: Path, reviews: pl.DataFrame) -> None:
    """Names the star: what training blanks, by its own function."""
    expected: dict[int, dict[str, Any]] = {
        star: dict.fromkeys(("reviews", "headlines", "naming", "naming_the_given"), 0) for star in range(5, 0, -1)
    }
    for each in reviews.rows(named=True):
        count, headline = expected[each["star_rating"]], each["review_headline"] or ""
        count["reviews"] += 1
        count["headlines"] += headline != ""
        if names_the_star(headline):
            count["naming"] += 1
            named = re.findall("one|two|three|four|five|[1-5]", headline.lower())
            count["naming_the_given"] += bool(named) and int(NUMBERS.get(named[0], named[0])) == each["star_rating"]
    for star, count in expected.items():
        count |= {"star_rating": star, "share": count["naming"] / count["reviews"]}
    assert sum(each["naming"] for each in expected.values()) > 40
    check(lake, "headlines_that_name_the_star", list(expected.values()))


def test_languages(lake: Path, reviews: pl.DataFrame) -> None:
    """By the lists of words in the SQL itself, counted here."""
    sql = QUESTIONS["languages"].sql
    lists = {
        language.capitalize(): set(re.findall(r"'([^']+)'", inside))
        for inside, language in re.findall(r"ARRAY\[(.*?)\]\)\) AS (\w+)", sql, re.DOTALL)
    }
    assert len(lists) == 6 and all(len(inside) == 18 for inside in lists.values())
    stars = defaultdict(list)
    for each in reviews.rows(named=True):
        start = each["review_body"][:400]
        found = set(re.findall("[a-zß-ÿ]+", start.lower()))
        hits = {language: len(found & inside) for language, inside in lists.items()}
        most = max(hits.values())
        best = [language for language, hit in hits.items() if hit == most]
        guess = "English" if "English" in best else best[0] if len(best) == 1 else "unclear"
        if most < 3:
            guess = "too little to tell"
        if re.search("[\u0400-\u04ff]{3}", start):
            guess = "another script"
        stars[guess].append(each["star_rating"])
    assert {"English", "Spanish", "German", "another script"} <= stars.keys()
    expected = [
        {
            "guess": guess,
            "reviews": len(given),
            "share": len(given) / len(reviews),
            "average_stars": sum(given) / len(given),
        }
        for guess, given in stars.items()
    ]
    check(lake, "languages", sorted(expected, key=lambda each: (-each["reviews"], each["guess"])))


def test_duplicates(lake: Path, reviews: pl.DataFrame) -> None:
    said = [" ".join(re.findall(r"[^\W_]+", body.lower())) for body in reviews["review_body"]]
    beginnings = [" ".join(text.split()[:10]) if len(text.split()) >= 10 else None for text in said]
    stars = defaultdict(set)
    for text, star in zip(said, reviews["star_rating"], strict=True):
        stars[text].add(star)
    times, starts = Counter(said), Counter(beginnings)
    expected: dict[str, dict[str, Any]] = {}
    for category, text, start in zip(reviews["product_category"], said, beginnings, strict=True):
        kinds = ("same_short_text", "same_text", "same_text_other_stars", "same_beginning")
        count = expected.setdefault(category, {"product_category": category, "reviews": 0} | dict.fromkeys(kinds, 0))
        repeated, short = times[text] > 1, len(text.split()) < 5
        count["reviews"] += 1
        count["same_short_text"] += repeated and short
        count["same_text"] += repeated and not short
        count["same_text_other_stars"] += repeated and not short and len(stars[text]) > 1
        count["same_beginning"] += not repeated and start is not None and starts[start] > 1
    assert expected["Books"]["same_text_other_stars"] == 1
    assert expected["Gift_Card"]["same_beginning"] == 2
    check(lake, "duplicates", [expected[category] for category in sorted(expected)])


def test_words_that_pull(lake: Path, reviews: pl.DataFrame) -> None:
    """Monroe, Colaresi and Quinn (2008), equations 16 and 22, with the prior of equation 23."""
    counts: dict[str, tuple[Counter[str], Counter[str]]] = defaultdict(lambda: (Counter(), Counter()))
    for each in reviews.rows(named=True):
        if each["star_rating"] != 3:
            way = counts[each["product_category"]][each["star_rating"] < 4]
            way.update(set(re.findall("[a-z][a-z'’]{1,18}[a-z]", each["review_body"].lower())))
    everywhere = sum((way for ways in counts.values() for way in ways), Counter())
    expected = []
    for category, (up, down) in counts.items():
        scores = []
        for word in up.keys() | down.keys():
            if up[word] + down[word] < 10 or not down.total() or not up.total():
                continue
            a = 500 * everywhere[word] / everywhere.total()
            y_up, y_down = up[word] + a, down[word] + a
            delta = math.log(y_up / (up.total() + 500 - y_up)) - math.log(y_down / (down.total() + 500 - y_down))
            scores.append((delta / math.sqrt(1 / y_up + 1 / y_down), word, up[word] + down[word]))
        for pulling in ([s for s in scores if s[0] > 1.96], [s for s in scores if s[0] < -1.96]):
            ranked = sorted(pulling, key=lambda s: (-abs(s[0]), s[1]))[:6]
            expected += [
                {"product_category": category, "word": word, "reviews": number, "z": z, "place": place}
                for place, (z, word, number) in enumerate(ranked, 1)
            ]
    assert len(expected) > 1
    check(lake, "words_that_pull", sorted(expected, key=lambda each: (each["product_category"], -each["z"])))


def test_stale_categories(lake: Path, reviews: pl.DataFrame) -> None:
    newest: date = max(filter(None, reviews["review_date"]))
    expected = []
    for category in sorted(set(reviews["product_category"])):
        dates = reviews.filter(pl.col("product_category") == category)["review_date"].to_list()
        years = [(newest - each).days / 365.25 for each in dates if each is not None]
        expected.append(
            {
                "product_category": category,
                "reviews": len(dates),
                "newest_review": max(filter(None, dates), default=None),
                "years_behind": min(years, default=None),
                "under_1_year": sum(age < 1 for age in years),
                "from_1_to_5_years": sum(1 <= age < 5 for age in years),
                "from_5_to_10_years": sum(5 <= age < 10 for age in years),
                "over_10_years": sum(age >= 10 for age in years),
                "undated": len(dates) - len(years),
            }
        )
    assert expected[0]["newest_review"] is None
    expected.sort(key=lambda each: -math.inf if each["years_behind"] is None else -each["years_behind"])
    check(lake, "stale_categories", expected)


def test_there_are_sixteen_questions_and_each_file_is_one() -> None:
    files = sorted((Path(__file__).parents[2] / "training/explore/sql/questions").glob("*.sql"))
    assert [file.name for file in files] == [f"{at:02}_{name}.sql" for at, name in enumerate(QUESTIONS, 1)]
    assert len(files) == 16


def test_a_question_that_is_none_is_answered_with_those_there_are(lake: Path) -> None:
    with pytest.raises(ConfigError, match="there is no question 'best': ask one of best_rated_categories, most_rev"):
        answer(lake, "best")
