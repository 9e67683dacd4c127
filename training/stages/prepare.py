"""Labelled reviews to token ids: parse, quarantine, drop duplicates, split, balance, tokenise, with Spark.

What a row becomes is decided by pure functions of the row (`parse_bytes`, `fraction`), so the result does not depend on
how Spark cuts the work. Splitting hashes the text, so one text is never in two splits; balancing hashes the review id
under another salt, because the same salt would tie the two choices together.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from contracts.errors import DataError, GateError, ReviewError
from contracts.isolation import alone
from contracts.review import STARS, Review, Segments, clean, segments
from contracts.stages import PrepareConfig
from contracts.tokens import ReviewEncoder
from training.data.labelled import encode
from training.data.reading import HEADER_LINE, find_files, inspect, is_header, parse_bytes
from training.data.spark import spark_session
from training.judge.report import counted
from training.model import base_model
from training.running.fingerprint import file_sha256
from training.running.reporting import Reporter
from training.running.stage import Stage

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Config = PrepareConfig
ROWS_PER_TASK = 5000
BASE_MODEL = "base_model"
SPLITS = ("train", "validation", "test")

# One row of a split. The segments stay beside the ids for the TF-IDF baseline.
SPLIT_SCHEMA = pa.schema(
    [
        ("review_id", pa.string()),
        ("product_category", pa.string()),
        ("star_rating", pa.int8()),
        ("input_ids", pa.list_(pa.int32())),
        ("second_start", pa.int16()),
        ("truncated", pa.bool_()),
        ("body_words", pa.int32()),
        ("first", pa.string()),
        ("second", pa.string()),
    ]
)
# What the executors answer for every line.
MAPPED_SCHEMA = pa.schema(
    [
        ("line", pa.binary()),
        ("reasons", pa.list_(pa.string())),
        ("text_key", pa.string()),
        ("split", pa.string()),
        *SPLIT_SCHEMA,
    ]
)
_LETTERS = re.compile(r"[\W_]+")


def fraction(key: str, salt: str) -> float:
    """A number in [0, 1) that depends on the key and the salt alone."""
    digest = hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=8, salt=salt.encode()).digest()
    return int.from_bytes(digest, "big") / 2**64


def assign_split(text_key: str, config: Config) -> str:
    """The split that a text belongs to, for ever."""
    at = fraction(text_key, "split")
    if at < config.test_fraction:
        return "test"
    return "validation" if at < config.test_fraction + config.validation_fraction else "train"


def prepare_lines(lines: Iterable[bytes], encoder: ReviewEncoder, config: Config) -> list[dict[str, Any]]:
    """Raw lines as rows of `MAPPED_SCHEMA`, in order; a bad line has reasons and nothing else."""
    rows: list[dict[str, Any]] = []
    good: list[dict[str, Any]] = []
    for line in lines:
        review, reasons = parse_bytes(line)
        row: dict[str, Any] = {"line": line, "reasons": reasons}
        rows.append(row)
        if review is None:
            continue
        columns = alone(lambda review: _columns(review, config), review)
        if isinstance(columns, ReviewError):
            row["reasons"] = [columns.kind]
        else:
            row |= columns
            good.append(row)
    for row, encoded in zip(good, encode(encoder, [Segments(r["first"], r["second"]) for r in good]), strict=True):
        if isinstance(encoded, ReviewError):
            row["reasons"] = [encoded.kind]
        else:
            row |= encoded._asdict()
    return rows


def named_inputs(config: Config, inputs: Mapping[str, Path]) -> dict[str, Path]:
    """The base model, where its folder is not given: what is in it counts, not what it is called."""
    return {} if BASE_MODEL in inputs else {BASE_MODEL: base_model.locate(config.base_model)}


def _columns(review: Review, config: Config) -> dict[str, Any]:
    """What is known of a good row before its tokens."""
    headline, body = clean(review.review_headline), clean(review.review_body)
    normal = _LETTERS.sub(" ", f"{headline}\n{body}".casefold()).strip()
    text_key = hashlib.sha256((normal or body).encode()).hexdigest()
    split = assign_split(text_key, config)
    dropped = split == "train" and fraction(review.review_id, "category") < config.category_dropout
    text = segments(review.review_body, review.review_headline, "" if dropped else review.product_category)
    return {
        "text_key": text_key,
        "split": split,
        "review_id": review.review_id,
        "product_category": review.product_category,
        "star_rating": review.star_rating,
        "body_words": len(body.split()),
        "first": text.first,
        "second": text.second,
    }


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
        with spark_session("prepare", scratch, outputs / "spark.log") as spark:
            text = spark.read.text([str(file.path) for file in files], lineSep="\n")
            mapped = _map(text, lines, tokenizer, config)
            headers = [header for file in files for header in file.headers]
            counts, facts = _split_and_write(mapped, headers, config, outputs, report)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if counts != lines:
        raise GateError(f"{lines} rows went in and {counts} came out: report this as a bug, with the data's origin")
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


def _map(text: DataFrame, count: int, tokenizer: Path, config: Config) -> DataFrame:
    from pyspark import SparkFiles
    from pyspark.sql import functions as f
    from pyspark.sql.pandas.types import from_arrow_schema

    name = tokenizer.name
    context = text.sparkSession.sparkContext
    context.addFile(str(tokenizer))

    def rows(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        encoder = ReviewEncoder(Path(SparkFiles.get(name)), config.token_limit, config.truncation)
        for batch in batches:
            # Which of the headers is a file's first line is not known here.
            lines = (line for line in batch.column(0).to_pylist() if line and not is_header(line))
            yield pa.RecordBatch.from_pylist(prepare_lines(lines, encoder, config), schema=MAPPED_SCHEMA)

    # A .gz is one task however large, so its lines are spread before the work begins; each task costs a Python worker.
    tasks = max(1, min(4 * context.defaultParallelism, count // ROWS_PER_TASK))
    # Bytes, not strings: Arrow refuses text that is not UTF-8, and the quarantine keeps lines as they were.
    lines = text.select(f.col("value").cast("binary")).repartition(tasks)
    return lines.mapInArrow(rows, from_arrow_schema(MAPPED_SCHEMA))


def flag_duplicates(mapped: DataFrame) -> DataFrame:
    """Rows of `MAPPED_SCHEMA`; of good ones that share an id or a text all but the first get a reason."""
    from pyspark.sql import Window
    from pyspark.sql import functions as f

    bad = f.size("reasons") > 0
    # Bad rows have no key, and must not all meet in one task for that: they keep to where they come from. Nor is one of
    # them ever the row that makes a good one a duplicate.
    mapped = mapped.withColumn("apart", f.when(bad, f.xxhash64("line", f.spark_partition_id())))

    def flag(rows: DataFrame, key: str, order: str, reason: str) -> DataFrame:
        window = Window.partitionBy(key, "apart").orderBy(bad, order, f.xxhash64("line"))
        again = ~bad & (f.row_number().over(window) > 1)
        return rows.withColumn("reasons", f.when(again, f.array(f.lit(reason))).otherwise(f.col("reasons")))

    rows = flag(flag(mapped, "review_id", "text_key", "duplicate_review_id"), "text_key", "review_id", "duplicate_text")
    return rows.drop("apart")


def _split_and_write(
    mapped: DataFrame, headers: Sequence[bytes], config: Config, outputs: Path, report: Reporter
) -> tuple[int, dict[str, Any]]:
    from pyspark import StorageLevel
    from pyspark.sql import Window
    from pyspark.sql import functions as f

    bad = f.size("reasons") > 0
    rows = flag_duplicates(mapped).persist(StorageLevel.MEMORY_AND_DISK)
    exploded = rows.select(f.explode("reasons").alias("reason")).groupBy("reason").count().collect()
    reasons = {row["reason"]: row["count"] for row in exploded}
    quarantine = rows.filter(bad).select("line", "reasons")
    quarantined = quarantine.count() + len(headers)
    if headers:
        reasons[HEADER_LINE] = len(headers)
        again = [(bytearray(header), [HEADER_LINE]) for header in headers]
        quarantine = quarantine.union(mapped.sparkSession.createDataFrame(again, quarantine.schema))
    report.progress(0.7, f"{quarantined:,} rows to the quarantine")
    quarantine.coalesce(1).write.mode("overwrite").parquet(str(outputs / "quarantine"))
    kept = rows.filter(~bad)
    grouped = kept.groupBy("split", "star_rating").count().collect()
    found = {(row["split"], row["star_rating"]): row["count"] for row in grouped}
    if not found:
        raise DataError(f"all {quarantined} rows are bad ({_listed(reasons)}): see {outputs / 'quarantine'}")
    facts: dict[str, Any] = {"quarantined": quarantined, "reasons": reasons, "splits": {}}
    salted = f.xxhash64(f.lit("balance"), "review_id")
    for at, split in enumerate(SPLITS):
        counts = {star: found.get((split, star), 0) for star in STARS}
        if absent := [str(star) for star, count in counts.items() if count == 0]:
            raise DataError(
                f"the {split} split has no review with {' or '.join(absent)} stars: bring more data of that rating"
            )
        ratio = config.max_ratio if split == "train" else (1.0 if config.balance_evaluation else float("inf"))
        most = min(counts.values()) * ratio
        if config.limit is not None:
            share = {"validation": config.validation_fraction, "test": config.test_fraction}
            most = min(most, config.limit * share.get(split, 1 - sum(share.values())) / len(STARS))
        ranked = kept.filter(f.col("split") == split).withColumn(
            "rank", f.row_number().over(Window.partitionBy("star_rating").orderBy(salted, "review_id"))
        )
        chosen = ranked.filter(f.col("rank") <= max(1, int(min(most, 2**31 - 1)))).select(*SPLIT_SCHEMA.names)
        files = 1 if split != "train" else 4
        chosen.repartition(files, "review_id").sortWithinPartitions(f.xxhash64("review_id"), "review_id").write.mode(
            "overwrite"
        ).parquet(str(outputs / split))
        written = chosen.groupBy("star_rating").count().collect()
        stars = {str(r["star_rating"]): r["count"] for r in sorted(written, key=lambda r: int(r["star_rating"]))}
        facts["splits"][split] = {"rows": sum(stars.values()), "stars": stars, "available": sum(counts.values())}
        report.progress(0.75 + 0.08 * (at + 1), f"{split}: {sum(stars.values()):,} rows")
    return sum(found.values()) + quarantined, facts


def _listed(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
