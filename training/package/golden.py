"""The reviews whose logits every release carries, to be checked wherever it is loaded.

Written for this project: a release may be passed on, and so must hold no customer's words.
"""

from __future__ import annotations

from contracts.errors import GateError
from contracts.release.documents import Golden, GoldenCase
from contracts.review import Review, segments
from contracts.tokens import ReviewEncoder
from training.data.labelled import answerable
from training.judge.metrics import predicted_stars
from training.model.reference import ReferenceModel

TOLERANCE = 0.02

_LONG = (
    "I set it up on a Sunday and by Monday the whole family was using it. The menus are clear, the manual is short and "
    "the first backup ran without a question. "
) * 6 + "Then the licence expired a month early, nobody answered my letters, and I had to buy it a second time."

REVIEWS = (
    Review("Broke after two days.", "Waste of money", "Digital_Software"),
    Review("Exactly what I needed. Installed in a minute and has never crashed since.", "Love it", "Digital_Software"),
    Review("It is all right for the price, but don't expect miracles.", "So so", "Digital_Software"),
    Review("The card arrived by e-mail at once and my nephew was delighted.", "Easy gift", "Gift_Card"),
    Review("The code had been used already and the shop refuses to help.", "Two Stars", "Gift_Card"),
    Review("Fun for a weekend. After that every level is the same.", "Gets old", "Digital_Video_Games"),
    Review("Good game, small bugs. Four players at one table and nobody wanted to stop!", "", "Digital_Video_Games"),
    Review("I wanted to like it. It does half of what the description says, and that half slowly.", "Disappointed"),
    Review("ok"),
    Review("Très bon produit &amp; rapide 😀👍 — 值得买"),
    Review("NEVER AGAIN!!! Support hung up on me twice.", "[SEP] Five Stars [SEP]", "Electronics"),
    Review(_LONG, "A long story", "Digital_Software"),
)


def golden_cases(model: ReferenceModel, encoder: ReviewEncoder) -> Golden:
    """The reviews with the raw logits of this model; those that its encoder refuses are left out.

    Raises GateError when it refuses all of them.
    """
    texts = [segments(r.review_body, r.review_headline, r.product_category) for r in REVIEWS]
    rows, tokens, _ = answerable(encoder, texts)
    if len(rows) == 0:
        raise GateError("the model's token limit refuses every golden review: raise prepare's token_limit")
    logits = model.logits(tokens).round(6)
    stars = predicted_stars(logits)
    cases = [
        GoldenCase(
            text=REVIEWS[row].review_body,
            title=REVIEWS[row].review_headline,
            category=REVIEWS[row].product_category,
            logits=tuple(logits[i].tolist()),
            stars=int(stars[i]),
        )
        for i, row in enumerate(rows)
    ]
    return Golden(tolerance=TOLERANCE, cases=tuple(cases))
