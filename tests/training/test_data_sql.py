"""`stars data sql`: what a person, a spreadsheet and a program get of a query."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from contracts.errors import ConfigError, DataError
from training import cli

from .amazon import row, write

RUN = [sys.executable, "-c", "from contracts.cli import main; main()", "data", "sql"]


def sql(*arguments: object, typed: str | None = None, width: int = 200) -> Result:
    return CliRunner().invoke(cli.app, ["data", "sql", *map(str, arguments)], input=typed, env={"COLUMNS": str(width)})


def cells(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in table.splitlines() if line.startswith("│")]


def test_a_table_for_a_person(examples_lake: Path) -> None:
    asked = "select product_category, count(*), avg(star_rating) stars from reviews group by 1 order by 1"
    done = sql(asked, "--data", examples_lake)
    assert done.exit_code == 0
    assert cells(done.stdout) == [
        ["Digital_Software", "155", "3"],
        ["Digital_Video_Games", "156", "3.006"],
        ["Gift_Card", "156", "3"],
    ]
    assert done.stderr == ""


def test_a_table_ends_after_a_hundred_rows_and_says_so(examples_lake: Path) -> None:
    done = sql("select row from reviews order by row", "--data", examples_lake)
    assert len(cells(done.stdout)) == 100
    assert "these are the first 100 rows: --format csv has all" in done.stderr
    assert "first 100" not in sql("select row from reviews limit 100", "--data", examples_lake).stderr


def test_columns_that_do_not_fit_beside_each_other_stand_under_each_other(examples_lake: Path) -> None:
    done = sql("select * from reviews order by row limit 2", "--data", examples_lake, width=80)
    assert [name for name, _ in cells(done.stdout)].count("review_headline") == 2


def test_what_a_review_holds_does_not_command_the_terminal(tmp_path: Path) -> None:
    source = write(tmp_path / "a.tsv", row(review_headline="[bold]red[/bold] \x1b[31m alert", review_body="long" * 200))
    shown = sql("select review_headline, review_body from reviews", "--data", source).stdout
    assert "[bold]red[/bold]  [31m alert" in shown
    assert "\x1b" not in shown
    assert shown.count("long") < 100


def test_csv_for_a_spreadsheet(examples_lake: Path) -> None:
    asked = "select review_body, review_date, helpful_votes from reviews order by row"
    rows = list(csv.DictReader(io.StringIO(sql(asked, "--data", examples_lake, "--format", "csv").stdout)))
    assert len(rows) == 467
    assert rows[0] == {
        "review_body": "it watermarks every page even AFTER you pay. i emailed them 4 times. nothing.",
        "review_date": "2014-02-17",
        "helpful_votes": "0",
    }


def test_json_for_a_program(examples_lake: Path) -> None:
    asked = "select 1.5 a, 2 a, [1] b, date '2015-01-02' c, 'nan'::double d, null e, 'ü' f from range(2)"
    found = json.loads(sql(asked, "--data", examples_lake, "--format", "json").stdout)
    assert found == 2 * [{"a": 1.5, "a_1": 2, "b": [1], "c": "2015-01-02", "d": None, "e": None, "f": "ü"}]
    nothing = sql("select 1 from reviews where star_rating = 9", "--data", examples_lake, "--format", "json")
    assert json.loads(nothing.stdout) == []


def test_a_query_from_standard_input(examples_lake: Path) -> None:
    done = sql("-", "--data", examples_lake, "--format", "csv", typed="select count(*) n\nfrom reviews -- all\n;\n")
    assert done.stdout == "n\n467\n"


def test_the_data_set_of_the_environment(examples_lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STARS_LAKE", str(examples_lake))
    assert sql("select count(*) n from reviews", "--format", "csv").stdout == "n\n467\n"


def test_sources_become_a_data_set_for_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.csv").write_text("grade,said\n5,very good\n1,very bad\n")
    (tmp_path / "more.csv").write_text("said,grade\nso so,3\n")
    named = ["--columns", "stars=grade,text=said", "--format", "csv"]
    asked = "select source, star_rating, review_body from reviews order by 1, 2"
    done = sql(asked, "--data", tmp_path / "data", "--data", tmp_path / "more.csv", *named)
    assert done.stdout == (
        "source,star_rating,review_body\nmine.csv,1,very bad\nmine.csv,5,very good\nmore.csv,3,so so\n"
    )
    assert "3 rows read, 0 of them in quarantine" in done.stderr
    assert "for this command only: stars data fetch makes one that stays" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "more.csv"]


def test_a_data_set_stands_alone(examples_lake: Path, tmp_path: Path) -> None:
    done = sql("select 1", "--data", examples_lake, "--data", tmp_path)
    assert isinstance(done.exception, ConfigError)
    assert "is a data set: name it alone, or add the sources to it" in str(done.exception)


def test_no_data_says_what_to_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STARS_LAKE", raising=False)
    done = sql("select 1")
    assert isinstance(done.exception, DataError)
    assert str(done.exception).startswith("there is no data set lake: name one, or a file of reviews, with --data")
    empty = sql("select 1", "--data", tmp_path)
    assert isinstance(empty.exception, DataError | ConfigError)
    assert str(tmp_path) in str(empty.exception)


@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_an_answer_for_which_there_is_no_room(examples_lake: Path, form: str) -> None:
    command = [*RUN, "select * from reviews", "--data", str(examples_lake), "--format", form]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: the answer cannot be written: No space left on device. Free some space")
    assert done.stderr.count("\n") == 1


def test_a_reader_that_has_enough(examples_lake: Path) -> None:
    command = [*RUN, "select a.* from reviews a, reviews", "--data", str(examples_lake), "--format", "csv"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline().startswith("marketplace,")
        process.stdout.close()
        assert process.stderr.read() == ""
