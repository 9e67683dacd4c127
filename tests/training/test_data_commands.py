"""`stars data`: what a person is told of data sets."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from contracts.errors import DataError
from training import cli
from training.data.dataset import PARTITION, REVIEW_SCHEMA, REVIEWS
from training.explore.profile import profile

EXAMPLES = Path(__file__).parents[2] / "examples" / "reviews.tsv"


def data(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, ["data", *arguments], env={"COLUMNS": "250"})


def cells(result: Result) -> list[list[str]]:
    """The table's rows."""
    lines = [line for line in result.stdout.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder and an empty state folder."""
    monkeypatch.setenv("STARS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("STARS_LAKE", raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def hand_made(folder: Path) -> Path:
    schema = REVIEW_SCHEMA.remove(REVIEW_SCHEMA.get_field_index(PARTITION))
    for category, stars in {"Gift_Card": [5, 5, 1], "unknown": [3]}.items():
        place = folder / REVIEWS / f"{PARTITION}={category}"
        place.mkdir(parents=True)
        rows = [
            {"review_id": f"R{at}", "star_rating": star, "review_body": "a review", "source": "a.tsv", "row": at}
            for at, star in enumerate(stars)
        ]
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), place / "a-0.parquet")
    return folder


def test_fetch_ls_profile(here: Path) -> None:
    done = data("fetch", str(EXAMPLES), "--licence", "Apache-2.0", "--to", "lake")
    assert done.exit_code == 0, done.stderr
    assert "lake has 467 reviews of 1 source: 477 rows read, 10 of them in quarantine" in " ".join(done.stderr.split())
    [[name, sources, rows, reviews, shares, _, filled]] = cells(data("ls"))
    assert (name, sources, rows, reviews, shares) == ("lake", "1", "477", "467", "20 20 20 20 20")
    assert filled.startswith("20")
    source, *categories = cells(data("ls", "lake"))
    assert source[:5] == ["reviews.tsv", "amazon", "477", "467", "10"] and source[-1] == "Apache-2.0"
    assert [each[:2] for each in categories] == [
        ["Digital_Software", "155"],
        ["Digital_Video_Games", "156"],
        ["Gift_Card", "156"],
    ]
    columns = {each[0]: each[1:] for each in cells(data("profile"))}
    assert columns["star_rating"][0] == "100.0%" and columns["star_rating"][2::2] == ["1", "5"]
    assert (here / "lake" / "facts.json").is_file()


def test_data_sets_are_looked_for_where_they_usually_are(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hand_made(here / "lake")
    hand_made(here.parent / "home" / "data" / "shop")
    hand_made(here.parent / "elsewhere")
    monkeypatch.setenv("STARS_LAKE", str(here.parent / "elsewhere"))
    names = [Path(each[0]).name for each in cells(data("ls"))]
    assert names == ["elsewhere", "lake", "shop"]
    assert len(cells(data("ls", str(here)))) == 1


def test_a_data_set_that_is_not_finished_is_listed_as_such(here: Path) -> None:
    failed = data("fetch", "http://127.0.0.1:9/absent.ftp")
    assert isinstance(failed.exception, DataError)
    assert cells(data("ls")) == [["lake", "0", "0", "0", "0 0 0 0 0", "0.0", "unfinished"]]
    assert cells(data("ls", "lake")) == []


def test_the_categories_of_a_data_set_without_a_card_are_listed_with_their_stars(here: Path) -> None:
    assert cells(data("ls", str(hand_made(here / "x")))) == [
        ["Gift_Card", "3", "1", "0", "0", "0", "2"],
        ["unknown", "1", "0", "0", "1", "0", "0"],
    ]


def test_a_profile_counts_and_measures(here: Path) -> None:
    rows, columns = profile(hand_made(here / "a [lake]*"))
    found = {column.name: column for column in columns}
    assert rows == 4 and list(found) == REVIEW_SCHEMA.names
    assert (found["star_rating"].lowest, found["star_rating"].mean, found["star_rating"].highest) == ("1", 3.5, "5")
    body = found["review_body"]
    assert (body.filled, body.distinct, body.shortest, body.mean, body.longest) == (4, 1, 8, 8.0, 8)
    assert (found["review_date"].filled, found["review_date"].lowest) == (0, None)
    assert found[PARTITION].distinct == 2
    assert json.loads(data("profile", str(here / "a [lake]*"), "--json").stdout)["rows"] == 4


@pytest.mark.parametrize("command", [["ls"], ["ls", "."], ["profile"], ["profile", "."]])
def test_where_there_is_no_data_set_it_says_what_makes_one(here: Path, command: list[str]) -> None:
    done = data(*command)
    assert isinstance(done.exception, DataError)
    assert "stars data fetch SOURCE --to" in str(done.exception)


def test_a_damaged_file_is_one_sentence(here: Path) -> None:
    folder = hand_made(here / "lake")
    next((folder / REVIEWS).glob("*/*.parquet")).write_bytes(b"PAR1 and nothing else")
    with pytest.raises(DataError, match="cannot be read"):
        profile(folder)
