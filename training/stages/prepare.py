"""Labelled reviews to token ids: parse, quarantine, drop duplicates, split, balance, tokenise, with Spark."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contracts.errors import GateError
from contracts.stages import PrepareConfig
from training.data.cluster import check_shared
from training.data.reading import find_files, inspect
from training.data.spark import spark_session
from training.data.splits import SPLITS
from training.data.splitting import map_lines, write_splits
from training.judge.report import counted
from training.model import base_model
from training.running.fingerprint import file_sha256
from training.running.reporting import Reporter
from training.running.stage import Stage

Config = PrepareConfig
BASE_MODEL = "base_model"


def named_inputs(config: Config, inputs: Mapping[str, Path]) -> dict[str, Path]:
    """The base model, where its folder is not given: what is in it counts, not what it is called."""
    return {} if BASE_MODEL in inputs else {BASE_MODEL: base_model.locate(config.base_model)}


def run(config: Config, inputs: Mapping[str, Path], outputs: Path, report: Reporter) -> dict[str, Any]:
    """Inputs `data*`: files or folders of .tsv or .tsv.gz; `base_model`: a folder, where the setting shall not count.

    Writes a Parquet folder per split, and the quarantine.

    Raises DataError for files that cannot be read, when no row is good, or when a star is missing from a split.
    """
    base = inputs[BASE_MODEL]
    files = [inspect(path) for path in find_files([path for name, path in inputs.items() if name != BASE_MODEL])]
    lines = sum(file.lines for file in files)
    report.progress(0.05, f"{len(files)} files, {lines:,} rows")
    tokenizer = outputs / "tokenizer.json"
    identity = base_model.identity(config.base_model, base)
    shutil.copyfile(base / "tokenizer.json", tokenizer)
    scratch = outputs / ".spark"
    try:
        with spark_session("prepare", scratch, outputs / "spark.log", config) as spark:
            check_shared(spark, outputs)
            spark.sparkContext.setCheckpointDir(str(scratch))
            text = spark.read.text([str(file.path) for file in files], lineSep="\n")
            mapped = map_lines(text, lines, tokenizer, config)
            headers = [header for file in files for header in file.headers]
            written, facts = write_splits(mapped, headers, config, outputs, report)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if written != lines:
        raise GateError(f"{lines} rows went in and {written} came out: report this as a bug, with the data's origin")
    return facts | {
        "rows_in": lines,
        "sources": [{"file": f.path.name, "sha256": f.sha256, "rows": f.lines} for f in files],
        "dataset_sha256": hashlib.sha256("".join(sorted(f.sha256 for f in files)).encode()).hexdigest(),
        BASE_MODEL: identity,
        "tokenizer_sha256": file_sha256(tokenizer),
    }


def rows_used(prepared: Mapping[str, Any], quarantine: Path) -> list[str]:
    """What became of the rows: how many were read, put in quarantine and why, and left out by balancing."""
    splits, config = prepared["splits"], prepared["config"]
    good, used = (sum(split[what] for split in splits.values()) for what in ("available", "rows"))
    bad = prepared["quarantined"]
    why = f" ({counted(prepared['reasons'])}): see {quarantine}" if bad else ""
    lines = [f"{prepared['rows_in']:,} rows read, {bad:,} of them in quarantine{why}"]
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
    reads=("data", BASE_MODEL),
    share=0.10,
    spent=SPLITS,
    summary=("rows_in", "quarantined"),
    named_inputs=named_inputs,
    remarks=lambda facts, outputs: rows_used(facts, outputs / "quarantine"),
)
