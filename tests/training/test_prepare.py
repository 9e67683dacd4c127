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
from training.data.dataset import open_reviews
from training.data.labelled import LabelledReviews, prepared_encoder
from training.data.rows import MAPPED_SCHEMA, prepare_reviews
from training.data.spark import spark_session
from training.data.splits import SPLITS, read_split
from training.data.splitting import flag_duplicates, most_of_each_star
from training.data.tokens import TokenRows
from training.model import base_model
from training.running.execution import execute
from training.running.folder import read_facts
from training.stages import ingest, prepare

from .amazon import row, write
from .recorder import Recorder

# pyspark leaves its sockets to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

EXAMPLES = Path(__file__).parents[2] / "examples" / "reviews.tsv"


def prepare_anew(data: Path, work: Path) -> Path:
    """Both stages' folders are made in `work`; that of prepare is returned."""
    execute(ingest.STAGE, ingest.Config(), {"data": data}, work / "ingest", Recorder())
    execute(prepare.STAGE, prepare.Config(), {"ingest": work / "ingest"}, work / "prepare", Recorder())
    return work / "prepare"


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The examples that ship with the project, prepared once."""
    return prepare_anew(EXAMPLES, tmp_path_factory.mktemp("prepared"))


def review(**changes: object) -> dict[str, object]:
    """A row of a data set, by the columns that prepare reads."""
    said = {"review_id": "R1", "product_category": "Gift_Card", "star_rating": 4, "review_headline": "Handy"}
    return {"source": "a.tsv", "row": 1, "review_body": "Arrived at once and worked."} | said | changes


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


def test_the_quarantine_says_where_a_review_came_from(prepared: Path) -> None:
    quarantine = pq.read_table(prepared / "quarantine").sort_by("row").to_pylist()
    assert quarantine == [
        {"source": "reviews.tsv", "row": 42, "reasons": ["duplicate_review_id"]},
        {"source": "reviews.tsv", "row": 386, "reasons": ["duplicate_text"]},
    ]
    assert read_facts(prepared)["put_aside_reasons"] == {"duplicate_review_id": 1, "duplicate_text": 1}


def test_splits_share_no_text_and_only_train_is_balanced(prepared: Path) -> None:
    facts = read_facts(prepared)["splits"]
    texts: dict[tuple[str, str], str] = {}
    for split in SPLITS:
        table = read_split(prepared, split)
        stars = collections.Counter(table["star_rating"].to_pylist())
        assert set(stars) == {1, 2, 3, 4, 5}
        assert len(set(stars.values())) == 1 if split == "train" else stars.total() == facts[split]["available"]
        for entry in table.to_pylist():
            assert texts.setdefault((entry["first"], entry["second"]), split) == split


def test_training_sees_what_serving_sees(prepared: Path) -> None:
    encoder = ReviewEncoder(prepared / "tokenizer.json", 128, Truncation.HEAD_TAIL)
    reviews = {row["review_id"]: row for row in open_reviews(prepared.parent / "ingest").to_table().to_pylist()}
    seen = 0
    for split in SPLITS:
        for entry in read_split(prepared, split).to_pylist():
            raw = reviews[entry["review_id"]]
            ids = {
                category: encoder.encode([segments(raw["review_body"], raw["review_headline"] or "", category)])[0]
                for category in ("", raw["product_category"])
            }
            expected = ids[raw["product_category"]]
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
    outputs = prepare_anew(tmp_path, tmp_path / "work")
    for split in SPLITS:
        once, again = (set(read_split(folder, split)["review_id"].to_pylist()) for folder in (prepared, outputs))
        assert once == again


def test_near_duplicates_go_to_one_split_and_nothing_else_moves(tmp_path: Path, prepared: Path) -> None:
    header, *lines = EXAMPLES.read_bytes().rstrip(b"\n").split(b"\n")
    good = set(open_reviews(prepared.parent / "ingest").to_table(columns=["row"])["row"].to_pylist())
    originals = [line.split(b"\t") for row, line in enumerate(lines, 1) if row in good]
    long = [cells for cells in originals if len(cells[13].split()) > 25][:40]
    copies = [
        b"\t".join([*cells[:2], b"COPY-" + cells[2], *cells[3:13], cells[13] + b" Edited.", *cells[14:]])
        for cells in long
    ]
    (tmp_path / "a.tsv").write_bytes(b"\n".join([header, *lines, *copies]) + b"\n")
    execute(ingest.STAGE, ingest.Config(), {"data": tmp_path / "a.tsv"}, tmp_path / "ingest", Recorder())
    where: dict[bool, dict[str, str]] = {}
    for near in (True, False):
        outputs = tmp_path / str(near)
        config = prepare.Config(near_duplicates=near, max_ratio=1000)
        execute(prepare.STAGE, config, {"ingest": tmp_path / "ingest"}, outputs, Recorder())
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
    good = [review(row=i, review_id=f"R{i // 2}", review_body=f"Text {i // 2}") for i in range(20)]
    bad = [{"source": "a.tsv", "row": 20 + i, "reasons": ["review_failed"]} for i in range(2000)]
    with spark_session("apart", tmp_path, tmp_path / "spark.log") as spark:
        spark.conf.set("spark.sql.adaptive.enabled", "false")  # it would join tasks as small as these
        spark.conf.set("spark.sql.shuffle.partitions", "4")
        schema = from_arrow_schema(MAPPED_SCHEMA)
        made = [{**dict.fromkeys(schema.names), **each} for each in prepare_reviews(good, encoder, config) + bad]
        rows = spark.createDataFrame([tuple(each[name] for name in schema.names) for each in made], schema)
        flagged = flag_duplicates(rows.repartition(8))
        found = flagged.select(f.spark_partition_id().alias("task"), "reasons", "row").collect()
    assert sorted(each["row"] for each in found if each["reasons"] == ["duplicate_review_id"]) == [*range(1, 20, 2)]
    tasks = collections.Counter(each["task"] for each in found if each["row"] >= 20)
    assert tasks.total() == 2000
    assert max(tasks.values()) < 1000


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
    (made,) = prepare_reviews([review(**texts)], encoder, config)
    assert made["second"] == "A & B"
    assert sorted(cleaned) == ["A &amp; B", "A <br/>headline", "Gift Card"]


def test_the_rarest_star_and_the_limit_bound_a_split() -> None:
    counts = {1: 40, 2: 10, 3: 30, 4: 50, 5: 90}
    config = PrepareConfig(max_ratio=2.5)
    assert most_of_each_star("train", counts, config) == dict.fromkeys(counts, 25)
    for split in ("validation", "test"):
        assert most_of_each_star(split, counts, config) == counts
    limited = PrepareConfig(limit=100)
    assert most_of_each_star("train", counts, limited) == dict.fromkeys(counts, 10)
    assert most_of_each_star("test", counts, limited) == {1: 2, 2: 1, 3: 1, 4: 2, 5: 4}
    assert most_of_each_star("test", counts, PrepareConfig(limit=1)) == dict.fromkeys(counts, 1)


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
    reviews = [review(review_id=f"R{i}", review_headline=text) for i, text in enumerate(["One.", "poison", "Two."])]
    rows = prepare_reviews(reviews, encoder, config)
    assert [each["reasons"] for each in rows] == [[], ["review_failed"], []]
    assert rows[1].keys() == {"source", "row", "reasons"}
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
    reviews = [review(review_id=f"R{i}", review_body=text) for i, text in enumerate(["One.", "poison", "Two."])]
    rows = prepare_reviews(reviews, encoder, config)
    assert [each["reasons"] for each in rows] == [[], ["review_failed"], []]
    assert rows[0]["input_ids"] and rows[2]["input_ids"]


@pytest.mark.parametrize(
    ("rows", "stars", "said"),
    [
        (200, (1, 2, 3, 4), "no review with 5 stars"),
        (200, (5,), "train split has no review with 1 or 2 or 3 or 4 stars: bring more data"),
        (10, (1, 2, 3, 4, 5), "split has no review with . .*stars: bring more data of that rating"),
    ],
)
def test_a_missing_class_is_named(tmp_path: Path, rows: int, stars: tuple[int, ...], said: str) -> None:
    reviews = [
        row(review_id=f"R{i}", review_body=f"Text number {i}", star_rating=str(stars[i % len(stars)]))
        for i in range(rows)
    ]
    with pytest.raises(DataError, match=said):
        prepare_anew(write(tmp_path / "a.tsv", *reviews), tmp_path / "work")
