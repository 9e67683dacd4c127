"""What earlier runs measured: kept in a store, read by all, and never misread."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from contracts.errors import StoreError
from contracts.store.urls import open_store
from training.quality.analysis import SIZE, MetricName
from training.quality.history import RUNS_KEPT, MetricsHistory

MEASURED = {SIZE.metric(): 400.0, MetricName("Histogram", "product_category", "Video|Games"): 3.0}


def test_what_was_measured_is_read_back_by_whoever_asks_for_the_same_series(tmp_path: Path) -> None:
    history = MetricsHistory(open_store(str(tmp_path)), "review-stars")
    assert history.runs() == []
    history.add("deequ", MEASURED)
    history.add("spark", {SIZE.metric(): 1.0})
    again = MetricsHistory(open_store(str(tmp_path)), "review-stars")
    assert again.runs() == [MEASURED, {SIZE.metric(): 1.0}]
    assert MetricsHistory(open_store(str(tmp_path)), "another").runs() == []
    document = json.loads((tmp_path / "quality" / "review-stars.json").read_text())
    assert document["schema_version"] == 1
    assert [run["engine"] for run in document["runs"]] == ["deequ", "spark"]


def test_runs_that_end_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    history = MetricsHistory(open_store(str(tmp_path)), "review-stars")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: history.add("spark", {SIZE.metric(): n}), range(8)))
    assert sorted(each[SIZE.metric()] for each in history.runs()) == list(range(8))


def test_it_does_not_grow_for_ever(tmp_path: Path) -> None:
    history = MetricsHistory(open_store(str(tmp_path)), "review-stars")
    for n in range(RUNS_KEPT + 2):
        history.add("spark", {SIZE.metric(): n})
    assert [each[SIZE.metric()] for each in history.runs()] == list(range(2, RUNS_KEPT + 2))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"schema_version": 2, "runs": [], "more": 1}', "written by a newer version of this program .schema 2, this"),
        ('{"schema_version": 1, "runs": [{"at": "now"}]}', "is damaged .*: move it away"),
        ('{"schema_version": 1, "runs": [', "is damaged .*: move it away"),
        ("[]", "is damaged .*: move it away"),
    ],
)
def test_one_that_cannot_be_read_is_a_sentence_and_stays_as_it_is(content: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "quality" / "review-stars.json"
    file.parent.mkdir()
    file.write_text(content)
    history = MetricsHistory(open_store(str(tmp_path)), "review-stars")
    for use in (history.runs, lambda: history.add("spark", MEASURED)):
        with pytest.raises(StoreError, match=said) as raised:
            use()
        assert "\n" not in str(raised.value)
    assert file.read_text() == content
