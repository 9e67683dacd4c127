"""The layouts that are known, each with the columns that tell it and the function that turns a record into fields."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from contracts.columns import REQUIRED, usual_columns
from contracts.errors import DataError
from contracts.review import TSV_COLUMNS
from contracts.stages import LayoutName
from training.ingest.stars import Scale

Record = Mapping[str, Any]
"""A record's values by the names that its source has for them."""

COLUMNS: LayoutName = "columns"
"""The layout of a source whose columns were named by somebody, or have the usual names."""


@dataclass(frozen=True)
class Layout:
    """A way to publish reviews. A source has it when it has all of `tells` and none of `never`."""

    name: LayoutName
    tells: frozenset[str]
    fields: Callable[[Record], Record]
    never: frozenset[str] = frozenset()
    scale: Scale = "5"
    needs_id: bool = False
    category_in_name: bool = False

    def has(self, columns: Collection[str]) -> bool:
        return self.tells <= set(columns) and not self.never & set(columns)


def _amazon(record: Record) -> Record:
    return record


def _mcauley_2014(record: Record) -> Record:
    votes = record.get("helpful")
    helpful, total = votes if isinstance(votes, list) and len(votes) == 2 else (None, None)
    return _mcauley(record) | {"helpful_votes": helpful, "total_votes": total}


def _mcauley_2018(record: Record) -> Record:
    return _mcauley(record) | {"helpful_votes": record.get("vote"), "verified_purchase": record.get("verified")}


def _mcauley(record: Record) -> dict[str, Any]:
    return {
        "customer_id": record.get("reviewerID"),
        "product_id": record.get("asin"),
        "star_rating": record.get("overall"),
        "review_headline": record.get("summary"),
        "review_body": record.get("reviewText"),
        "review_date": record.get("unixReviewTime"),
    }


def _mcauley_2023(record: Record) -> Record:
    return {
        "customer_id": record.get("user_id"),
        "product_id": record.get("asin"),
        "product_parent": record.get("parent_asin"),
        "star_rating": record.get("rating"),
        "review_headline": record.get("title"),
        "review_body": record.get("text"),
        "helpful_votes": record.get("helpful_vote"),
        "verified_purchase": record.get("verified_purchase"),
        "review_date": record.get("timestamp"),
    }


def _yelp(record: Record) -> Record:
    return {
        "review_id": record.get("review_id"),
        "customer_id": record.get("user_id"),
        "product_id": record.get("business_id"),
        "star_rating": record.get("stars"),
        "review_body": record.get("text"),
        "helpful_votes": record.get("useful"),
        "review_date": record.get("date"),
    }


def _mapped(record: Record, columns: Mapping[str, str]) -> Record:
    return {ours: record.get(theirs) for ours, theirs in columns.items()}


LAYOUTS = (
    Layout("amazon", frozenset(REQUIRED), _amazon, scale="exact", needs_id=True),
    Layout(
        "mcauley-2014",
        frozenset({"overall", "reviewText"}),
        _mcauley_2014,
        never=frozenset({"verified", "vote"}),
        category_in_name=True,
    ),
    Layout("mcauley-2018", frozenset({"overall", "reviewText"}), _mcauley_2018, category_in_name=True),
    Layout("mcauley-2023", frozenset({"rating", "text", "parent_asin"}), _mcauley_2023, category_in_name=True),
    Layout("yelp", frozenset({"stars", "text", "business_id"}), _yelp),
)
"""The first that fits is taken."""

_ALL = {
    "amazon": frozenset(TSV_COLUMNS),
    "mcauley-2014": frozenset({"reviewerID", "asin", "helpful", "reviewText", "overall", "summary", "unixReviewTime"}),
    "mcauley-2018": frozenset({"reviewerID", "asin", "vote", "verified", "reviewText", "overall", "summary"}),
    "mcauley-2023": frozenset({"user_id", "asin", "parent_asin", "rating", "title", "text", "timestamp"}),
    "yelp": frozenset({"review_id", "user_id", "business_id", "stars", "text", "useful", "date"}),
}


def mapped_layout(columns: Mapping[str, str]) -> Layout:
    """The layout of a source whose columns are these, by the names of contract 1."""
    return Layout(COLUMNS, frozenset(columns.values()), partial(_mapped, columns=dict(columns)))


def layout_of(
    name: str, found: Collection[str], pinned: LayoutName, named: Mapping[str, str]
) -> tuple[LayoutName, dict[str, str]]:
    """The layout of the source `name` with the columns `found`, and which column is which where only that tells.

    What somebody named counts first, then what is known, then how columns are usually called. Raises DataError, with
    the columns that were found, those that were wanted and the nearest layout that is known.
    """
    if pinned not in ("auto", COLUMNS):
        [layout] = [each for each in LAYOUTS if each.name == pinned]
        if not layout.tells <= set(found):
            raise _unlike(name, found, f"the layout {pinned} needs {_listed(sorted(layout.tells))}")
        return pinned, {}
    if pinned == "auto" and not (named and set(named.values()) <= set(found)):
        known = next((layout for layout in LAYOUTS if layout.has(found)), None)
        if known is not None:
            return known.name, {}
    # Who names both the stars and the text has said all; who names less has the rest found for him.
    columns = dict(named) if all(column in named for column in REQUIRED) else usual_columns(found) | dict(named)
    if missing := sorted(set(named.values()) - set(found)):
        raise _unlike(name, found, f"there is no {_listed(missing)} among them")
    if missing := [column for column in REQUIRED if column not in columns]:
        raise _unlike(name, found, f"none of them is known to be {' or '.join(missing)}")
    return COLUMNS, columns


def _unlike(name: str, found: Collection[str], why: str) -> DataError:
    layout, missing = nearest(found)
    return DataError(
        f"{name} has the columns {_listed(sorted(found))}, and {why}: say which is which, as in "
        f"--columns stars=rating,text=review. The nearest known layout is {layout}, which has {_listed(missing)} too"
    )


def nearest(found: Collection[str]) -> tuple[str, list[str]]:
    """The known layout that most of these columns are like, and what it has besides."""
    plain = {column.casefold() for column in found}

    def alike(layout: str) -> float:
        wanted = {column.casefold() for column in _ALL[layout]}
        return len(plain & wanted) / len(plain | wanted)

    best = max(_ALL, key=alike)
    return best, sorted(column for column in _ALL[best] if column.casefold() not in plain)


def _listed(columns: Collection[str]) -> str:
    """Names as a person can read them, however many and long they are: they may be a line of a review."""
    shown = [column if len(column) <= 30 else f"{column[:30]}…" for column in list(columns)[:20]]
    more = f" and {len(columns) - 20} more" if len(columns) > 20 else ""
    return (", ".join(shown) or "nothing") + more
