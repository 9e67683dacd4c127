"""A training as one page, from a real tiny run: what stands on it, and what does not."""

from __future__ import annotations

import json
import math
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from contracts.errors import ConfigError, MachineError
from training import cli
from training.pages.plots import Plot, Series, ticks
from training.running.folder import read_facts
from training.tracking.history import HISTORY, Finding, HistoryFile

from . import tiny

NOT_JUDGED = "This training has not been judged yet"


def write_history(train: Path) -> None:
    """Of an hour of training, one of whose losses was no number."""
    file = HistoryFile(train)
    for step in range(10, 410, 10):
        file.measured(step, {"loss": math.nan if step == 200 else 1.6 - step / 500, "learning_rate": 1e-4})
    file.measured(400, {"validation_accuracy": 0.61, "validation_mae": 0.45})
    file.found(Finding(400, "input_wait", "warn", "41% of the time is <spent> waiting"))


@pytest.fixture(scope="module")
def work(tiny_inputs: dict[str, Path], tiny_evaluated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work folder of a pipeline that has come as far as evaluate."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    shutil.copytree(tiny_inputs["prepare"], folder / "prepare")
    shutil.copytree(tiny_evaluated, folder / "evaluate")
    (folder / "train").mkdir()
    made = read_facts(tiny_inputs["train"])
    ended = {"steps": 400, "seconds": 3600.0, "reviews_per_second": 71.5, "precision": "float32", "versions": {}}
    tiny.write_facts(folder / "train", **{**made, **ended, "model_sha256": "3" * 64})
    write_history(folder / "train")
    return folder


class Page(HTMLParser):
    """The tags of a page that would fetch something or run, the places that links lead to, and all text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.fetching: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in {"script", "link", "img", "iframe", "object"} or "src" in given:
            self.fetching.append(tag)
        self.links += [str(given["href"])] if "href" in given else []
        self.anchors |= {str(given["id"])} if "id" in given else set()

    def handle_data(self, data: str) -> None:
        self.text += data


def report(*words: str) -> str:
    result = CliRunner().invoke(cli.app, ["train", "report", *words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


def test_it_has_everything_and_needs_nothing(work: Path) -> None:
    assert str(work / "report.html") in report(str(work))
    html = (work / "report.html").read_text()
    page = Page(html)
    assert page.fetching == [] and "url(" not in html and "http" not in html
    assert page.links and {link.removeprefix("#") for link in page.links} <= page.anchors
    accuracy = f"{100 * read_facts(work / 'evaluate')['metrics']['accuracy']['value']:.1f}\N{NO-BREAK SPACE}%"
    for said in (accuracy, "400 steps", "60 min, 72 reviews a second", "400 reviews", "41% of the time is <spent>"):
        assert said in page.text, said
    for heading in ("Curves", "Confusion", "Slices", "Where it is furthest off", "Digital Software", "train.epochs"):
        assert heading in page.text, heading
    assert NOT_JUDGED not in page.text and "nan" not in html


def test_no_word_of_a_review_stands_on_it(work: Path, tmp_path: Path) -> None:
    report(str(work), "--out", str(tmp_path / "page.html"))
    page = Page((tmp_path / "page.html").read_text())
    assert not [word for word in tiny.all_words() if word in page.text.lower().split()]
    assert "words, masked" in page.text and "R2-" in page.text, "rows of the test split, by their ids"


def test_texts_are_shown_where_they_are_asked_for_and_the_page_says_so(work: Path, tmp_path: Path) -> None:
    report(str(work), "--texts", "--out", str(tmp_path / "page.html"))
    page = Page((tmp_path / "page.html").read_text())
    assert [word for word in tiny.all_words() if word in page.text.lower().split()]
    assert "This page holds what customers wrote" in page.text and "masked" not in page.text


def test_a_training_that_goes_on_has_its_curves(work: Path, tmp_path: Path) -> None:
    write_history(tmp_path)
    report(str(tmp_path), "--out", str(tmp_path / "page.html"))
    page = Page((tmp_path / "page.html").read_text())
    assert NOT_JUDGED in page.text and "not to its end" in page.text and "Validation accuracy" in page.text
    assert "Confusion" not in page.text


def test_the_stages_own_folder_will_do(work: Path, tmp_path: Path) -> None:
    report(str(work / "train"), "--out", str(tmp_path / "page.html"))
    assert "Confusion" in (tmp_path / "page.html").read_text()


def test_a_history_that_is_cut_off_is_drawn_as_far_as_it_goes(tmp_path: Path) -> None:
    write_history(tmp_path)
    lines = (tmp_path / HISTORY).read_text().splitlines()
    (tmp_path / HISTORY).write_text("\n".join([*lines[:12], lines[12][:9]]))
    report(str(tmp_path), "--out", str(tmp_path / "page.html"))
    assert "110 steps" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    ("history", "sentence"),
    [
        (None, "holds no training: name a run's work folder, such as runs/standard"),
        ("", "has measured nothing yet: wait for its first steps"),
        ('{"version": 1}\n{"step": 10, "val', "has measured nothing yet"),
        ('{"version": 2}\n', "was written by a newer version of review-stars"),
    ],
)
def test_a_folder_with_nothing_to_draw_is_a_sentence(history: str | None, sentence: str, tmp_path: Path) -> None:
    if history is not None:
        (tmp_path / HISTORY).write_text(history)
    with pytest.raises(ConfigError, match=sentence):
        report(str(tmp_path))
    assert not (tmp_path / "report.html").exists()


def test_a_run_of_another_version_is_a_sentence(work: Path, tmp_path: Path) -> None:
    shutil.copytree(work / "train", tmp_path / "train")
    (tmp_path / "evaluate").mkdir()
    evaluation = json.loads((work / "evaluate" / "report.json").read_text())
    del evaluation["reliability"]
    (tmp_path / "evaluate" / "report.json").write_text(json.dumps(evaluation))
    with pytest.raises(ConfigError, match="not as this version of review-stars writes it.*run its pipeline again"):
        report(str(tmp_path))
    (tmp_path / "evaluate" / "report.json").write_text(json.dumps(evaluation)[:99])
    report(str(tmp_path))
    assert NOT_JUDGED in (tmp_path / "report.html").read_text()


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file may grow beyond so many bytes: the operating system then answers as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_page_that_cannot_be_written_is_a_sentence(work: Path, tmp_path: Path) -> None:
    for out in (tmp_path / "nowhere" / "page.html", tmp_path):
        with pytest.raises(ConfigError, match="name a file in a folder that is there"):
            report(str(work), "--out", str(out))
    page = tmp_path / "page.html"
    page.write_text("an earlier one")
    with full_disk(1000), pytest.raises(MachineError, match=r"page.html cannot be written: .*Free some space"):
        report(str(work), "--out", str(page))
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("page.html", "an earlier one")]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        (0.93, 1.6, (0.8, 1.0, 1.2, 1.4, 1.6)),
        (0, 2000, (0, 500, 1000, 1500, 2000)),
        (3e-6, 9e-5, (0, 2e-5, 4e-5, 6e-5, 8e-5, 1e-4)),
        (5, 5, (2, 3, 4, 5, 6, 7, 8)),
        (0, 0, (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)),
    ],
)
def test_ticks_are_round_and_hold_both_ends(low: float, high: float, expected: tuple[float, ...]) -> None:
    found = ticks(low, high, 6)
    assert found[0] <= low and found[-1] >= high
    assert found == pytest.approx(expected)


def test_what_is_no_number_leaves_a_gap_in_a_line() -> None:
    plot = Plot("", "", (Series("", ((0, 1.0), (1, 2.0), (2, math.nan), (3, 1.0), (4, 2.0))),))
    assert [part[0] for part in plot.path(plot.series[0]).split("M")[1:]] == ["0", "7"]
