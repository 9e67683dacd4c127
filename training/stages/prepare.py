"""A data set to token ids: clean, drop duplicates, split, balance, tokenise, with Spark."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contracts.errors import GateError
from contracts.stages import PrepareConfig
from training.data.cluster import check_shared
from training.data.dataset import published, read_reviews
from training.data.spark import spark_session
from training.data.splits import SPLITS
from training.data.splitting import map_reviews, write_splits
from training.judge.report import counted
from training.model import base_model
from training.running.fingerprint import file_sha256
from training.running.folder import read_facts
from training.running.reporting import Reporter
from training.running.stage import Stage

Config = PrepareConfig
BASE_MODEL = "base_model"


def named_inputs(config: Config, inputs: Mapping[str, Path]) -> dict[str, Path]:
    """The base model, where its folder is not given: what is in it counts, not what it is called."""
    return {} if BASE_MODEL in inputs else {BASE_MODEL: base_model.locate(config.base_model)}


def run(config: Config, inputs: Mapping[str, Path], outputs: Path, report: Reporter) -> dict[str, Any]:
    """Inputs `ingest`: a data set; `base_model`: a folder, where the setting shall not count.

    Writes a Parquet folder per split, and the quarantine: which reviews were put aside, by where they came from.

    Raises DataError when no review is good, or when a star is missing from a split.
    """
    base, data = inputs[BASE_MODEL], inputs["ingest"]
    card = read_facts(data)
    reviews = int(card["reviews"])
    report.progress(0.05, f"{len(card['sources'])} files, {reviews:,} reviews")
    tokenizer = outputs / "tokenizer.json"
    identity = base_model.identity(config.base_model, base)
    shutil.copyfile(base / "tokenizer.json", tokenizer)
    scratch = outputs / ".spark"
    try:
        with spark_session("prepare", scratch, outputs / "spark.log", config) as spark:
            check_shared(spark, outputs)
            spark.sparkContext.setCheckpointDir(str(scratch))
            mapped = map_reviews(read_reviews(spark, data), reviews, tokenizer, config)
            written, facts = write_splits(mapped, config, outputs, report)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if written != reviews:
        raise GateError(f"{reviews} rows went in and {written} came out: report this as a bug, with the data's origin")
    return facts | {
        "rows_in": card["rows_in"],
        "reviews_in": reviews,
        "quarantined": card["quarantined"] + facts["put_aside"],
        "reasons": dict(Counter(card["reasons"]) + Counter(facts["put_aside_reasons"])),
        "sources": [published(source) for source in card["sources"]],
        "dataset_sha256": card["dataset_sha256"],
        BASE_MODEL: identity,
        "tokenizer_sha256": file_sha256(tokenizer),
    }


def rows_used(prepared: Mapping[str, Any], quarantine: Path) -> list[str]:
    """What became of the reviews: how many were put aside and why, and how many were left out by balancing."""
    splits, config = prepared["splits"], prepared["config"]
    good, used = (sum(split[what] for split in splits.values()) for what in ("available", "rows"))
    bad = prepared["put_aside"]
    why = f" ({counted(prepared['put_aside_reasons'])}): see {quarantine}" if bad else ""
    lines = [f"{prepared['reviews_in']:,} reviews, {bad:,} of them put aside{why}"]
    if config["limit"] is not None:
        lines.append(f"{used:,} of {good:,} good rows used: prepare.limit is {config['limit']:,}")
    elif used < good:
        lines.append(
            f"{used:,} of {good:,} good rows used after balancing the stars; "
            f"--set prepare.max_ratio={2 * config['max_ratio']:g} uses more of the train split"
        )
    return lines


STAGE = Stage(
    name="prepare",
    config=Config,
    run=run,
    needs=("ingest",),
    after=("quality",),
    reads=(BASE_MODEL,),
    share=0.10,
    spent=SPLITS,
    summary=("rows_in", "quarantined"),
    named_inputs=named_inputs,
    remarks=lambda facts, outputs: rows_used(facts, outputs / "quarantine"),
)
