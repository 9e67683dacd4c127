"""MODEL_CARD.md and DATA_CARD.md: what a release is, what it learnt from, what it is for and where it fails.

Sections after Mitchell et al. 2019 (arXiv:1810.03993) and Gebru et al. 2021 (arXiv:1803.09010).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from training.judge.report import (
    EQUALLY,
    calibration_sentences,
    confusion_table,
    headlines_sentence,
    interval,
    metrics_table,
    rated_table,
    slices_tables,
    table,
)

AMAZON_PREFIX = "amazon_reviews_"
AMAZON_TERMS = (
    "Amazon customer reviews: research use only, no re-identification of customers, no commercial redistribution of "
    "the reviews. The texts belong to their authors and to Amazon."
)
UNKNOWN_TERMS = "Nobody stated the terms of these reviews. Treat the weights as for research until you have checked."

Facts = Mapping[str, Any]


def data_terms(stated: str, sources: list[str]) -> str:
    """The terms as stated, or what is known of files with these names."""
    amazon = any(source.startswith(AMAZON_PREFIX) for source in sources)
    return stated or (AMAZON_TERMS if amazon else UNKNOWN_TERMS)


class About(NamedTuple):
    """What a model card is made from: the stages' facts, by name, and what evaluation reported."""

    name: str
    version: str
    code_revision: str
    licence: str
    weights_dtype: Literal["float16", "float32"]
    terms: str
    notes: str
    facts: Mapping[str, Facts]
    report: Facts


def model_card(about: About) -> str:
    """The model card."""
    prepare, train, convert = (about.facts[name] for name in ("prepare", "train", "convert"))
    report, rows = about.report, {name: split["rows"] for name, split in prepare["splits"].items()}
    models = {"this model": report["metrics"]}
    models |= {f"baseline: {name}": metrics for name, metrics in report["baselines"].items()}
    parts = [
        f"# {about.name} {about.version}",
        "Reads a customer review in English and says how many stars, 1 to 5, its author most likely gave, with five "
        "calibrated probabilities.",
        "## The model",
        _lines(
            f"Base model: {prepare['base_model']['description']}, weights sha256 `{train['base_sha256']}`",
            f"Network: a BERT classifier of {train['parameters']:,} parameters, trained in TensorFlow, converted to "
            f"PyTorch and compared with it on {convert['parity_texts']} hard texts (largest difference "
            f"{convert['parity_relative']:.0e} of the largest logit)",
            f"Weights: safetensors, {about.weights_dtype}",
            f"Input: category and headline, then the body; {prepare['config']['token_limit']} tokens, policy "
            f"`{prepare['config']['truncation']}` beyond that. Headlines that only name the star are blanked",
            f"Training: {_training(train['config'])}",
            f"Data: trained on {rows['train']:,} reviews, chosen and calibrated on {rows['validation']:,}, judged on "
            f"{rows['test']:,}; see DATA_CARD.md",
            f"Code: {about.code_revision}",
            f"Licence of the weights: {about.licence}",
        ),
        *([about.notes] if about.notes else []),
        "## Intended use",
        "Research, teaching, and sorting or summarising reviews where single mistakes do no harm: finding unhappy "
        "customers first, spotting ratings that do not fit their text, following a product over time.",
        f"Terms of the training data: {about.terms}",
        "## Not for",
        _lines(
            "decisions about a person, such as judging, ranking or paying reviewers, sellers or staff",
            "deciding whether a review is fake, or replacing the rating that a customer gave",
            "languages other than English, and texts that are no reviews of a product or service",
            "commercial use, unless the terms of the training data allow it",
        ),
        "## Results",
        f"On the {rows['test']:,} reviews of the test split, on which nothing was chosen, with 95 % intervals, "
        f"{EQUALLY}",
        metrics_table(models),
        calibration_sentences(report),
        rated_table(report["as_rated"]),
        headlines_sentence(report),
        slices_tables(report["slices"]),
        confusion_table(report["confusion"]),
        "## Known weaknesses",
        _lines(*_weaknesses(report)),
    ]
    return "\n\n".join(parts) + "\n"


def data_card(prepare: Facts, terms: str) -> str:
    """What the model learnt from and was judged on, as counts. Holds no review."""
    splits, config = prepare["splits"], prepare["config"]
    stars = [
        [name, f"{split['rows']:,}", *(f"{count:,}" for count in split["stars"].values()), f"{split['available']:,}"]
        for name, split in splits.items()
    ]
    star_names = [f"{star} stars" if star != "1" else "1 star" for star in splits["train"]["stars"]]
    parts = [
        "# Data",
        f"{prepare['rows_in']:,} labelled customer reviews from {len(prepare['sources'])} files. "
        f"Data set hash (sha256 over the files' hashes): `{prepare['dataset_sha256']}`.",
        f"Terms: {terms}",
        "## Splits",
        table(["split", "rows", *star_names, "rows before balancing"], stars),
        "A review belongs to a split by the hash of its text, so one text is never in two splits. Balancing draws by "
        "another hash. "
        f"In the train split a star has at most {config['max_ratio']:g} times the rarest star's rows"
        + "; validation and test hold them as customers give them.",
        *_near_duplicates(prepare),
        "## Left out",
        f"{prepare['quarantined']:,} rows were put in quarantine:",
        _lines(*(f"{reason}: {count:,}" for reason, count in sorted(prepare["reasons"].items()))),
        "## Text",
        "HTML entities are unescaped, line breaks and control characters become blanks, Unicode is NFC. Headlines that "
        'say nothing but the star ("Five Stars") are blanked: they would give the label away. '
        f"In {config['category_dropout']:.0%} of the train rows the category is left out, as clients may send none. "
        "Reviews were not searched for personal data beyond what their publishers did; no review is in this release.",
        "## Files",
        table(
            ["file", "from", "rows", "bytes", "terms", "sha256"],
            [_source(source) for source in prepare["sources"]],
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _source(source: Facts) -> list[str]:
    where = f"{source['url']}, {source['downloaded'][:10]}" if source["url"] else "a file"
    counts = [f"{source[name]:,}" for name in ("rows", "bytes")]
    return [
        source["file"],
        where,
        *counts,
        " ".join(source["licence"].split()) or "not stated",
        f"`{source['sha256']}`",
    ]


def _near_duplicates(prepare: Facts) -> Iterator[str]:
    if near := prepare.get("near_duplicates"):
        yield (
            f"{near['rows']:,} reviews are near-duplicates of others (at least {prepare['config']['likeness']:.0%} of "
            f"their three-word sequences are the same), in {near['groups']:,} groups. A group is in one split; by the "
            f"hash of the text alone {near['pairs_on_two_sides']:,} pairs would be on two sides."
        )


def _training(config: Facts) -> str:
    how = "fine-tuned" if config["mode"] == "fine_tune" else "head alone, on a frozen encoder"
    text = (
        f"{how}, {config['epochs']} epochs, batch {config['batch_size']}, AdamW with peak learning rate "
        f"{config['learning_rate']:g}, label smoothing {config['label_smoothing']:g}"
    )
    if config["teacher_weight"]:
        text += f"; {config['teacher_weight']:.0%} of the loss followed a larger teacher's soft labels"
    return text


def _weaknesses(report: Facts) -> Iterator[str]:
    for by, what in (("category", "category"), ("length", "body length in words"), ("star", "true star")):
        # Small slices are noise: only those with a hundredth of the rows are compared.
        groups = {k: v for k, v in report["slices"][by].items() if v["n"] >= report["rows"]["test"] / 100}
        if len(groups) > 1:
            name, worst = min(groups.items(), key=lambda item: float(item[1]["accuracy"]["value"]))
            yield f"weakest {what}: {name}, {interval('accuracy', worst['accuracy'])} exact on {worst['n']:,} rows"
    yield "neighbouring stars are hard to tell apart, and about one rating in six is not what its text suggests"
    yield "irony, praise followed by one complaint, and customers who mistook the scale are read literally"
    yield "very short texts carry little evidence: look at the confidence, not only at the star"
    yield "text beyond the token limit is not read, except for its end; the answer says `truncated`"


def _lines(*lines: str) -> str:
    return "\n".join(f"- {line}" for line in lines)
