"""Both engines on the same data sets: the same metrics, the same verdicts, and rows named where rules are broken."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts.review import names_the_star
from training.data.spark import spark_session
from training.quality.analysis import ALWAYS, MetricName
from training.quality.check import CheckedData, check
from training.quality.choice import Choice
from training.quality.deequ import Deequ
from training.quality.plain_spark import PlainSpark
from training.quality.report import as_json, headline, write_reports
from training.quality.rules_file import DEFAULT_RULES, read_rules

from . import lakes
from .jars import JAR, with_jar
from .recorder import Recorder

pytestmark = [
    pytest.mark.slow,
    # pyspark leaves its sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]

WITH_DEEQU = pytest.param("deequ", marks=[pytest.mark.shared, with_jar])
ENGINES = ["spark", WITH_DEEQU]
LAKES: dict[str, Callable[[Path], Path]] = {
    "good": lakes.good,
    "faulty": lakes.faulty,
    "one_category": lakes.one_category,
    "empty": lakes.empty,
}

Check = Callable[[str, str], CheckedData]


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Check]:
    """`checked("good", "spark")`: a data set by the default rules, each once, in one session."""
    folder = tmp_path_factory.mktemp("quality")
    done: dict[tuple[str, str], CheckedData] = {}
    more = {"spark.jars": str(JAR)} if JAR.is_file() else {}
    with spark_session("quality", folder / "spark", folder / "spark.log", more=more) as spark:

        def once(lake: str, engine: str) -> CheckedData:
            if (lake, engine) not in done:
                data = folder / lake if (folder / lake).exists() else LAKES[lake](folder / lake)
                choice = Choice(Deequ() if engine == "deequ" else PlainSpark(), None, "asked for")
                done[lake, engine] = check(spark, data, read_rules(DEFAULT_RULES), choice, [], Recorder())
            return done[lake, engine]

        yield once


@pytest.mark.parametrize("lake", LAKES)
@pytest.mark.parametrize("engine", [WITH_DEEQU])
def test_both_engines_measure_the_same(checked: Check, lake: str, engine: str) -> None:
    theirs, ours = checked(lake, engine).metrics, checked(lake, "spark").metrics
    assert theirs.keys() == ours.keys()
    assert theirs == pytest.approx(dict(ours), rel=1e-9, abs=1e-12)
    if lake == "faulty":
        assert {name.analyzer for name in ours} == {analysis.kind for analysis in ALWAYS} | {"Quarantined"}


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_measured_is_so(checked: Check, engine: str) -> None:
    metrics = checked("good", engine).metrics
    rows = [lakes.review(n) for n in range(1, 401)]
    assert metrics[MetricName("Size")] == 400
    assert metrics[MetricName("Mean", "star_rating")] == 3
    assert metrics[MetricName("Completeness", "marketplace")] == pytest.approx(267 / 400)
    assert metrics[MetricName("Uniqueness", "given_id")] == 1
    assert metrics[MetricName("Distinctness", "product_id")] == 10 / 400
    assert metrics[MetricName("Entropy", "star_rating")] == pytest.approx(math.log(5))
    assert metrics[MetricName("Histogram", "product_category", "Video|Games")] == 133
    named = [names_the_star(row["review_headline"]) for row in rows]
    assert 40 < sum(named) < 66
    assert metrics[MetricName("Compliance", "default_headline")] == pytest.approx(sum(named) / 400)
    assert metrics[MetricName("Quarantined")] == metrics[MetricName("Quarantined", "*", "empty_body")] == 1 / 401
    types = {part: metrics[MetricName("DataType", "customer_id", part)] * 400 for part in ("Integral", "Fractional")}
    assert types == pytest.approx({"Integral": 114, "Fractional": 115})
    lengths = sorted(len(row["review_body"].strip()) for row in rows)
    assert metrics[MetricName("ApproxQuantiles", "review_body", "0.5")] in lengths[195:205]
    assert -1 < metrics[MetricName("Correlation", "total_votes,star_rating")] < 1


@pytest.mark.parametrize("engine", ENGINES)
def test_good_data_breaks_no_rule(checked: Check, engine: str) -> None:
    found = checked("good", engine)
    assert found.broken("error") == []
    assert {each.title for each in found.broken("warning")} == {"size", "rows_per_star"}
    said = f"400 reviews measured by {engine} (asked for): 21 rules, 0 broken, 2 warnings, no earlier run"
    assert headline(found) == said


@pytest.mark.parametrize("engine", ENGINES)
def test_every_planted_fault_is_found_and_its_rows_are_named(checked: Check, engine: str) -> None:
    broken = {each.title: each for each in checked("faulty", engine).broken("error")}
    assert {title: each.rows for title, each in broken.items()} == {
        "rows_per_star": None,
        "stars": 8,
        "completeness of review_id": 8,
        "uniqueness of review_id": 78,
        "body_not_blank": 8,
        "known_marketplace": 8,
        "dates": 8,
        "quarantined": 200,
    }
    assert broken["stars"].places() == "row 10, 12, 13, 14, 15 of reviews.tsv"
    assert broken["completeness of review_id"].places() == "row 20, 22, 23, 24, 25 of reviews.tsv"
    assert broken["dates"].places() == "row 150, 152, 153, 154, 155 of reviews.tsv"
    assert broken["quarantined"].places() == "row 1000, 1001, 1002, 1003, 1004 of reviews.tsv"
    warned = {each.title: each for each in checked("faulty", engine).broken("warning")}
    assert warned["duplicates"].rows == 111
    assert warned["default_headlines"].rows == 80 + 18
    assert warned["duplicates"].places() == "row 162, 163, 164, 165, 167 of reviews.tsv"


@pytest.mark.parametrize("engine", ENGINES)
def test_no_report_holds_a_text(checked: Check, engine: str, tmp_path: Path) -> None:
    found = checked("faulty", engine)
    write_reports(found, tmp_path)
    written = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert written.keys() == {"report.json", "report.md", "suggestions.yaml"}
    for text in written.values():
        assert not any(word in text.lower() for word in (lakes.SECRET, "same again", "just so"))
    assert json.loads(written["report.json"]) == json.loads(json.dumps(as_json(found)))
    suggested = [each.get("rule") for each in yaml.safe_load(written["suggestions.yaml"])["suggestions"]]
    assert {"check": "completeness", "level": "warning", "column": "product_id"} in suggested
    assert "Nothing reads this file" in written["suggestions.yaml"]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_data_set_without_reviews_breaks_the_rules_of_size_alone(checked: Check, engine: str) -> None:
    found = checked("empty", engine)
    assert {each.title for each in found.broken("error")} == {"size", "rows_per_star", "quarantined"}
    assert found.metrics[MetricName("Quarantined")] == 1.0


@pytest.mark.parametrize("engine", ENGINES)
def test_one_category_and_one_star_are_measured(checked: Check, engine: str) -> None:
    found = checked("one_category", engine)
    assert {each.title for each in found.broken("error")} == {"rows_per_star"}
    assert found.metrics[MetricName("Entropy", "star_rating")] == 0
    assert not any(name.analyzer == "Correlation" for name in found.metrics)


def test_a_rule_that_the_data_keeps_is_suggested(checked: Check) -> None:
    suggested: dict[str, Any] = {(each.column, each.heuristic): each for each in checked("good", "spark").suggestions}
    assert suggested["review_id", "UniqueIfUnique"].deequ == '.isUnique("review_id")'
    assert "1, 2, 3, 4, 5" in suggested["star_rating", "CategoricalRange"].says
    assert ("marketplace", "CompleteIfComplete") not in suggested
