"""`stars data explore` and its figures: one page that needs nothing else, for any data set, and no review on it."""

from __future__ import annotations

import html
import os
import re
import shutil
import signal
import subprocess
import threading
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.pyplot as plt
import pyarrow.parquet as pq
import pytest
from click.testing import Result
from matplotlib.figure import Figure
from typer.testing import CliRunner

from contracts.errors import ConfigError, DataError, MachineError
from contracts.stages import IngestConfig
from training import cli
from training.data.dataset import REVIEW_SCHEMA, REVIEWS, open_reviews
from training.explore import report
from training.explore.figures import figure
from training.explore.question import Question
from training.explore.questions import QUESTIONS, answer
from training.pipeline.data_set import data_set_of
from training.running.reporting import Listener

from .amazon import row, write


def explore(*data: Path, out: Path) -> Result:
    flags = [word for each in data for word in ("--data", str(each))]
    return CliRunner().invoke(cli.app, ["data", "explore", *flags, "--out", str(out)])


def made(folder: Path, *rows: str) -> Path:
    return data_set_of([write(folder / "a.tsv", *rows)], IngestConfig(), folder / "scratch", Listener())


@pytest.fixture(scope="module")
def page(examples_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("page") / "report.html"
    done = explore(examples_lake, out=out)
    assert done.exit_code == 0, done.exception
    assert done.stderr.endswith(f"written: {out}\n")
    return out


class Tags(HTMLParser):
    """What a browser would fetch or run, and whether each tag is closed in its turn."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.targets: list[str] = []
        self.ids: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in ("meta", "path"):
            self.open.append(tag)
        self.targets += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_needs_nothing_else(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    tags = Tags(text)
    assert not {"script", "link", "img", "iframe", "object"} & set(tags.seen)
    assert all(target.startswith("#") and target[1:] in tags.ids for target in tags.targets)
    assert not re.search(r"url\(|@import|https?://", text)
    assert tags.open == []
    assert "&" not in text[text.index("<style>") : text.index("</style>")], "CSS is no HTML"
    assert len(text) < 200_000


def test_the_page_has_every_question_its_answer_and_its_sql(page: Path) -> None:
    text = html.unescape(page.read_text(encoding="utf-8"))
    for question in QUESTIONS.values():
        assert f'<section id="{question.name}"' in text
        assert question.title in text
        assert question.sql in text
    assert "20.1\N{NO-BREAK SPACE}% of all reviews give 4 stars, hardly more than give 1 star, the rarest." in text
    assert '<i class="bar" style="width:100.00%;background:var(--star4)"></i></span><span class="value">94' in text


def test_no_review_stands_on_the_page(page: Path, examples_lake: Path) -> None:
    text = html.unescape(page.read_text(encoding="utf-8"))
    for each in open_reviews(examples_lake).to_table(["review_body", "review_headline", "customer_id"]).to_pylist():
        assert each["customer_id"] not in text
        for said in (each["review_body"], each["review_headline"] or ""):
            assert said.count(" ") < 3 or said not in text


def test_names_in_the_data_are_text(tmp_path: Path) -> None:
    named = "<script>alert(1)</script>"
    rows = [row(review_id=f"R{n}", product_category=named, product_title=named, helpful_votes="1") for n in range(9)]
    done = explore(made(tmp_path, *rows), out=tmp_path / "report.html")
    assert done.exit_code == 0, done.exception
    assert named not in (tmp_path / "report.html").read_text()
    assert html.escape(named, quote=False) in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["5,good"], "no model can learn from them what another star is"),
        ([f"5,it is the thing number {n} and I like it" for n in range(10)], "there is no negative one"),
        ([f"{n % 5 + 1},it is the thing number {n} and I like it" for n in range(10)], "No review has a date"),
        (["1,bad", "2,bad"], "There are 0.00 positive reviews"),
    ],
)
def test_a_small_data_set_is_told_as_it_is(tmp_path: Path, rows: list[str], said: str) -> None:
    (tmp_path / "mine.csv").write_text("\n".join(["rating,text", *rows]) + "\n")
    done = explore(tmp_path / "mine.csv", out=tmp_path / "report.html")
    assert done.exit_code == 0, done.exception
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert said in text
    assert "nan" not in re.sub(r"<pre.*?</pre>|<style.*?</style>", "", text, flags=re.DOTALL).lower().split()
    Tags(text)


def test_of_many_categories_charts_show_the_largest_and_tables_the_first_rows(tmp_path: Path) -> None:
    rows = [f"{star},fine,c{n:03}" for n in range(100) for star in range(1, 6)] + ["1,bad,large"] * 6
    (tmp_path / "mine.csv").write_text("\n".join(["rating,text,category", *rows]) + "\n")
    assert explore(tmp_path / "mine.csv", out=tmp_path / "report.html").exit_code == 0
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Reviews; the 40 largest of 101 categories." in text
    assert "The table: the first 500 of 501 rows" in text
    chart = text[text.index('<section id="best_rated') : text.index("<table>")]
    assert ">large<" in chart
    assert chart.count('class="dot"') == 40


def test_no_row_at_all_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("rating,text\n9000,good\n")
    done = explore(tmp_path / "mine.csv", out=tmp_path / "report.html")
    assert isinstance(done.exception, DataError)
    assert not (tmp_path / "report.html").exists()


def test_a_data_set_whose_files_are_empty_is_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "lake" / REVIEWS / "product_category=a"
    folder.mkdir(parents=True)
    pq.write_table(REVIEW_SCHEMA.remove(len(REVIEW_SCHEMA) - 1).empty_table(), folder / "a-0-0.parquet")
    done = explore(tmp_path / "lake", out=tmp_path / "report.html")
    assert isinstance(done.exception, DataError)
    assert "holds no review: fill it with stars data fetch" in str(done.exception)


def test_a_page_that_cannot_be_written_is_said_before_any_work(tmp_path: Path) -> None:
    for out in (tmp_path, tmp_path / "nowhere" / "report.html"):
        done = explore(tmp_path / "no such data", out=out)
        assert isinstance(done.exception, ConfigError)
        assert str(done.exception).startswith(f"{out} cannot be written: name a file in a folder that is there")


def test_a_page_for_which_there_is_no_room(examples_lake: Path, small_disk: Path) -> None:
    (small_disk / "full").write_bytes(b"\0" * ((2 << 20) - 8192))
    done = explore(examples_lake, out=small_disk / "report.html")
    assert isinstance(done.exception, MachineError)
    assert "report.html cannot be written: No space left on device. Free some space" in str(done.exception)
    assert not (small_disk / "report.html").exists()


def test_ctrl_c_ends_it_and_leaves_no_page(
    examples_lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "OVERVIEW", "SELECT sum(a.range * b.range) FROM range(1000000) a, range(1000000) b")
    threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
    done = explore(examples_lake, out=tmp_path / "report.html")
    assert done.exit_code == 130
    assert "interrupted" in done.stderr
    assert list(tmp_path.iterdir()) == []


PROBE = """<body><iframe style="border:0;width:{width}px;height:900px" srcdoc="{page}" onload="
const inner = this.contentDocument, wide = [...inner.querySelectorAll('main *, header *, nav *')]
  .filter(each => !each.closest('.scroll, pre') && each.getBoundingClientRect().right > {width} + 1);
const root = inner.documentElement;
document.title = 'too wide: ' + (root.scrollWidth - root.clientWidth) + ', beyond: ' + wide.length"></iframe>"""


@pytest.mark.parametrize("width", [360, 800, 1400])
def test_a_browser_has_room_for_all_of_it(page: Path, tmp_path: Path, width: int) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("there is no browser here: apt-get install chromium")
    probe = PROBE.replace("{page}", html.escape(page.read_text(encoding="utf-8"))).replace("{width}", str(width))
    (tmp_path / "probe.html").write_text(probe, encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command = [browser, *flags, "--window-size=1600,1000", "--virtual-time-budget=5000", "--dump-dom"]
    shown = subprocess.run([*command, f"file://{tmp_path}/probe.html"], capture_output=True, text=True, check=True)
    assert "<title>too wide: 0, beyond: 0</title>" in shown.stdout


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
def test_a_notebook_gets_the_chart_as_a_figure(examples_lake: Path, question: Question, tmp_path: Path) -> None:
    if question.name == "repeat_reviewers":
        with pytest.raises(DataError, match="has nothing to draw: No customer reviewed a product more than once"):
            figure(examples_lake, question.name)
        return
    drawn = figure(str(examples_lake), question.name)
    assert isinstance(drawn, Figure)
    assert drawn.get_suptitle() == question.title
    drawn.savefig(tmp_path / "figure.png")
    assert plt.get_fignums() == []


def test_a_figure_shows_the_values_of_the_answer(examples_lake: Path) -> None:
    rows = answer(examples_lake, "reviews_per_star")
    axes = figure(examples_lake, "reviews_per_star").axes[0]
    assert [patch.get_width() for patch in axes.patches] == list(rows.reviews)
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "5 stars",
        "4 stars",
        "3 stars",
        "2 stars",
        "1 star",
    ]
