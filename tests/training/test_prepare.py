"""Preparation on a real Spark: rows in equal rows out, reasons, splits that do not depend on partitioning."""

from __future__ import annotations

import collections
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as f
from pyspark.sql.pandas.types import from_arrow_schema

from contracts import review as contract
from contracts.errors import DataError, ReviewError
from contracts.review import Segments, segments
from contracts.stages import PrepareConfig
from contracts.tokens import Encoded, ReviewEncoder, Truncation
from training.data.labelled import LabelledReviews, prepared_encoder
from training.data.reading import HEADER, parse_line
from training.data.rows import MAPPED_SCHEMA, prepare_lines
from training.data.spark import spark_session
from training.data.splits import SPLITS, read_split
from training.data.splitting import flag_duplicates, most_of_a_star
from training.data.tokens import TokenRows
from training.model import base_model
from training.running.execution import execute
from training.running.folder import read_facts
from training.stages import prepare

from .recorder import Recorder
from .test_reading import row, write

# pyspark leaves its sockets to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

EXAMPLES = Path(__file__).parents[2] / "examples" / "reviews.tsv"


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The examples that ship with the project, prepared once."""
    outputs = tmp_path_factory.mktemp("prepared") / "prepare"
    execute(prepare.STAGE, prepare.Config(), {"data": EXAMPLES}, outputs, Recorder())
    return outputs


def test_every_row_is_kept_or_quarantined_with_a_reason(prepared: Path) -> None:
    facts = read_facts(prepared)
    kept = sum(split["available"] for split in facts["splits"].values())
    assert facts["rows_in"] == kept + facts["quarantined"] == 477
    assert facts["reasons"] == {
        "bad_star_rating": 3,
        "duplicate_review_id": 1,
        "duplicate_text": 1,
        "empty_body": 2,
        "empty_star_rating": 1,
        "invalid_utf8": 1,
        "nul_byte": 1,
        "too_few_columns": 1,
        "too_many_columns": 1,
    }


def test_the_quarantine_holds_the_raw_lines(prepared: Path) -> None:
    quarantine = pq.read_table(prepared / "quarantine").to_pylist()
    raw = EXAMPLES.read_bytes().split(b"\n")
    assert len(quarantine) == 12
    assert all(entry["line"] in raw and entry["reasons"] for entry in quarantine)


def test_splits_are_balanced_and_share_no_text(prepared: Path) -> None:
    texts: dict[tuple[str, str], str] = {}
    for split in SPLITS:
        table = read_split(prepared, split)
        stars = collections.Counter(table["star_rating"].to_pylist())
        assert set(stars) == {1, 2, 3, 4, 5}
        assert len(set(stars.values())) == 1
        for entry in table.to_pylist():
            assert texts.setdefault((entry["first"], entry["second"]), split) == split


def test_training_sees_what_serving_sees(prepared: Path) -> None:
    encoder = ReviewEncoder(prepared / "tokenizer.json", 128, Truncation.HEAD_TAIL)
    lines = [line.decode(errors="replace") for line in EXAMPLES.read_bytes().split(b"\n")]
    raw = [dict(zip(HEADER.split("\t"), line.split("\t"), strict=True)) for line in lines if parse_line(line)[0]]
    reviews = {cells["review_id"]: cells for cells in raw}
    seen = 0
    for split in SPLITS:
        for entry in read_split(prepared, split).to_pylist():
            review = reviews[entry["review_id"]]
            ids = {
                category: encoder.encode([segments(review["review_body"], review["review_headline"], category)])[0]
                for category in ("", review["product_category"])
            }
            expected = ids[review["product_category"]]
            if split == "train" and entry["input_ids"] == ids[""].input_ids:
                expected = ids[""]  # the share of reviews that lose their category on purpose
                seen += 1
            assert entry["input_ids"] == expected.input_ids
            assert entry["second_start"] == expected.second_start
    assert 0 < seen < 100


def test_the_result_does_not_depend_on_how_the_work_is_cut(tmp_path: Path, prepared: Path) -> None:
    header, *lines = EXAMPLES.read_bytes().rstrip(b"\n").split(b"\n")
    for part in range(3):
        (tmp_path / f"{part}.tsv").write_bytes(b"\n".join([header, *lines[part::3]]) + b"\n")
    outputs = tmp_path / "prepare"
    execute(prepare.STAGE, prepare.Config(), {"data": tmp_path}, outputs, Recorder())
    for split in SPLITS:
        once, again = (set(read_split(folder, split)["review_id"].to_pylist()) for folder in (prepared, outputs))
        assert once == again


def test_near_duplicates_go_to_one_split_and_nothing_else_moves(tmp_path: Path, prepared: Path) -> None:
    header, *lines = EXAMPLES.read_bytes().rstrip(b"\n").split(b"\n")
    originals = [line.split(b"\t") for line in lines if parse_line(line.decode(errors="replace"))[0]]
    long = [cells for cells in originals if len(cells[13].split()) > 25][:40]
    copies = [
        b"\t".join([*cells[:2], b"COPY-" + cells[2], *cells[3:13], cells[13] + b" Edited.", *cells[14:]])
        for cells in long
    ]
    (tmp_path / "a.tsv").write_bytes(b"\n".join([header, *lines, *copies]) + b"\n")
    where: dict[bool, dict[str, str]] = {}
    for near in (True, False):
        outputs = tmp_path / str(near)
        config = prepare.Config(near_duplicates=near, balance_evaluation=False, max_ratio=1000)
        execute(prepare.STAGE, config, {"data": tmp_path / "a.tsv"}, outputs, Recorder())
        where[near] = {id: split for split in SPLITS for id in read_split(outputs, split)["review_id"].to_pylist()}
    on, off = where[True], where[False]
    copied = {cells[2].decode() for cells in long} & off.keys()
    apart = {each for each in copied if off[each] != off[f"COPY-{each}"]}
    assert len(copied) > 30 and apart
    assert all(on[each] == on[f"COPY-{each}"] for each in copied)
    assert {each for each in on if on[each] != off[each]} <= apart | {f"COPY-{each}" for each in apart}
    assert read_facts(tmp_path / "True")["near_duplicates"] == {
        "groups": len(copied),
        "rows": 2 * len(copied),
        "largest": 2,
        "pairs_on_two_sides": len(apart),
        "rows_moved": len(apart),
    }
    assert "near_duplicates" not in read_facts(tmp_path / "False")
    assert read_facts(prepared)["near_duplicates"]["rows_moved"] == 0


def test_bad_rows_do_not_all_meet_in_one_task(tmp_path: Path) -> None:
    """Fault 20: they have no id and no text, and the same line may be bad a million times."""
    config = prepare.Config(base_model="minilm")
    encoder = ReviewEncoder(base_model.locate("minilm") / "tokenizer.json", config.token_limit, config.truncation)
    good = [row(review_id=f"R{i // 2}", review_body=f"Text {i // 2}").encode() for i in range(20)]
    bad = [f"{i}\tnot a row".encode() for i in range(1000)] + [b"\t".join([b""] * 15)] * 1000
    with spark_session("apart", tmp_path, tmp_path / "spark.log") as spark:
        spark.conf.set("spark.sql.adaptive.enabled", "false")  # it would join tasks as small as these
        spark.conf.set("spark.sql.shuffle.partitions", "4")
        schema = from_arrow_schema(MAPPED_SCHEMA)
        made = [{**dict.fromkeys(schema.names), **each} for each in prepare_lines(good + bad, encoder, config)]
        rows = spark.createDataFrame([tuple(each[name] for name in schema.names) for each in made], schema)
        flagged = flag_duplicates(rows.repartition(8))
        found = flagged.select(f.spark_partition_id().alias("task"), "reasons", "line").collect()
    again = [bytes(each["line"]) for each in found if each["reasons"] == ["duplicate_review_id"]]
    assert sorted(again) == sorted(good[1::2])
    for lines in (bad[:1000], bad[1000:]):
        tasks = collections.Counter(each["task"] for each in found if bytes(each["line"]) in set(lines))
        assert tasks.total() == 1000
        assert max(tasks.values()) < 800


def test_stored_tokens_are_those_of_encoding_anew(prepared: Path) -> None:
    for split in SPLITS:
        anew = TokenRows.of(prepared_encoder(prepared).encode(LabelledReviews.from_split(prepared, split).segments))
        for stored, encoded in zip(vars(TokenRows.stored(prepared, split)).values(), vars(anew).values(), strict=True):
            assert (stored == encoded).all()


def test_a_row_is_cleaned_once(monkeypatch: pytest.MonkeyPatch) -> None:
    cleaned: list[str] = []

    def clean(text: str) -> str:
        cleaned.append(text)
        return works(text)

    works = contract.clean
    monkeypatch.setattr(contract, "clean", clean)
    config = PrepareConfig(category_dropout=0.99)
    encoder = ReviewEncoder(base_model.locate("minilm") / "tokenizer.json", config.token_limit, config.truncation)
    texts = {"review_headline": "A <br/>headline", "review_body": "A &amp; B", "product_category": "Gift_Card"}
    (made,) = prepare_lines([row(**texts).encode()], encoder, config)
    assert made["second"] == "A & B"
    assert sorted(cleaned) == ["A &amp; B", "A <br/>headline", "Gift Card"]


def test_the_rarest_star_and_the_limit_bound_a_split() -> None:
    counts = {1: 40, 2: 10, 3: 30, 4: 50, 5: 90}
    config = PrepareConfig(max_ratio=2.5)
    assert [most_of_a_star(split, counts, config) for split in SPLITS] == [25, 10, 10]
    assert most_of_a_star("test", counts, PrepareConfig(balance_evaluation=False)) >= 90
    assert [most_of_a_star(split, counts, PrepareConfig(limit=100)) for split in SPLITS] == [10, 2, 2]
    assert most_of_a_star("test", counts, PrepareConfig(limit=1)) == 1


@pytest.mark.parametrize("broken", ["clean", "names_the_star"])
def test_a_mistake_of_ours_over_one_row_is_its_reason(monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    """Fault 1: no exception over one review, whatever it is, may reach its neighbours."""
    config = prepare.Config()
    encoder = ReviewEncoder(base_model.locate("minilm") / "tokenizer.json", config.token_limit, config.truncation)
    works = getattr(contract, broken)

    def fails(text: str) -> object:
        if "poison" in text:
            raise ZeroDivisionError(text)
        return works(text)

    monkeypatch.setattr(contract, broken, fails)
    lines = [row(review_id=f"R{i}", review_headline=text).encode() for i, text in enumerate(["One.", "poison", "Two."])]
    rows = prepare_lines(lines, encoder, config)
    assert [each["reasons"] for each in rows] == [[], ["review_failed"], []]
    assert rows[1].keys() == {"line", "reasons"}
    assert rows[0]["input_ids"] and rows[2]["input_ids"]


def test_the_encoder_may_fail_over_one_row_too(monkeypatch: pytest.MonkeyPatch) -> None:
    config = prepare.Config()
    encoder = ReviewEncoder(base_model.locate("minilm") / "tokenizer.json", config.token_limit, config.truncation)
    encode = encoder._encode

    def fails(reviews: list[Segments]) -> list[Encoded | ReviewError]:
        if any("poison" in review.second for review in reviews):
            raise ZeroDivisionError
        return encode(reviews)

    monkeypatch.setattr(encoder, "_encode", fails)
    lines = [row(review_id=f"R{i}", review_body=text).encode() for i, text in enumerate(["One.", "poison", "Two."])]
    rows = prepare_lines(lines, encoder, config)
    assert [each["reasons"] for each in rows] == [[], ["review_failed"], []]
    assert rows[0]["input_ids"] and rows[2]["input_ids"]


def test_all_rows_bad_says_why(tmp_path: Path) -> None:
    file = write(tmp_path / "a.tsv", row(star_rating="7"), row(review_id="R2", review_body=""))
    with pytest.raises(DataError, match=r"all 2 rows are bad \(1 bad_star_rating, 1 empty_body\)"):
        execute(prepare.STAGE, prepare.Config(), {"data": file}, tmp_path / "out", Recorder())
    assert not (tmp_path / "out" / "facts.json").exists()


def test_a_missing_class_is_named(tmp_path: Path) -> None:
    rows = [row(review_id=f"R{i}", review_body=f"Text number {i}", star_rating=str(i % 4 + 1)) for i in range(200)]
    with pytest.raises(DataError, match="no review with 5 stars"):
        execute(
            prepare.STAGE, prepare.Config(), {"data": write(tmp_path / "a.tsv", *rows)}, tmp_path / "out", Recorder()
        )
