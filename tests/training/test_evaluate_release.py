"""`stars evaluate`: any labelled TSV against a release, good rows and bad."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from contracts.engine import NamedEngine
from contracts.errors import ConfigError, DataError, NotFound, ReleaseError, StoreError
from contracts.release.release import Release
from contracts.tokens import Encoded, Truncation
from training.data.labelled import LabelledReviews, answerable
from training.ingest.labelled import read_labelled
from training.judge.release import evaluate_release, tokens_for
from training.running.execution import execute
from training.stages import export

from . import tiny
from .recorder import Recorder


@pytest.fixture(scope="module")
def store(
    tiny_inputs: dict[str, Path], tiny_evaluated: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, str, Path]:
    """A store's path, the version in it, and the release's folder."""
    root = tmp_path_factory.mktemp("judged")
    inputs = tiny_inputs | {"evaluate": tiny_evaluated}
    facts = execute(export.STAGE, export.Config(store=str(root / "store")), inputs, root / "export", Recorder())
    return str(root / "store"), facts["version"], root / "export" / "release"


def write(path: Path, *rows: str, header: str = "star_rating\treview_headline\treview_body\tproduct_category") -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """The rows of the tiny world's test split as a TSV with four columns."""
    rows = [
        f"{r.star_rating}\t{r.review_headline}\t{r.review_body}\t{r.product_category}"
        for r in tiny.reviews(tiny.ROWS["test"], seed=2)
    ]
    return write(tmp_path / "reviews.tsv", *rows)


def test_it_agrees_with_the_evaluate_stage(store: tuple[str, str, Path], table: Path, tiny_evaluated: Path) -> None:
    expected = json.loads((tiny_evaluated / "report.json").read_text())["metrics"]
    found = evaluate_release(store[1], [table], store=store[0])
    assert found["n"] == tiny.ROWS["test"]
    for name in ("accuracy", "mae", "within_one", "macro_f1", "qwk", "ece"):
        assert found[name] == pytest.approx(expected[name]["value"], abs=0.01)
        assert found["intervals"][name][0] <= found[name] <= found["intervals"][name][1]
    assert (found["model"], found["version"]) == ("review-stars", store[1])


@pytest.mark.parametrize("reference", ["production", "candidate", "latest"])
def test_channels_name_releases(store: tuple[str, str, Path], table: Path, reference: str) -> None:
    assert evaluate_release(reference, [table], store=store[0], limit=5)["version"] == store[1]


def test_a_release_folder_needs_no_store(store: tuple[str, str, Path], table: Path) -> None:
    found = evaluate_release(str(store[2]), [table], limit=5)
    assert (found["version"], found["n"]) == (store[1], 5)


def test_several_files_plain_and_gzip_are_one_data_set(
    store: tuple[str, str, Path], table: Path, tmp_path: Path
) -> None:
    packed = tmp_path / "more.tsv.gz"
    packed.write_bytes(gzip.compress(table.read_bytes()))
    assert evaluate_release(store[1], [table, packed], store=store[0])["n"] == 2 * tiny.ROWS["test"]


def test_bad_rows_are_counted_with_reasons_and_do_not_stop_it(store: tuple[str, str, Path], tmp_path: Path) -> None:
    file = write(
        tmp_path / "some.tsv",
        "5\tGreat\tsuperb box\tGift_Card",
        "0\tx\tawful box\tGift_Card",
        "6\tx\tawful box\tGift_Card",
        "five\tx\t \tGift_Card",
        "\tx\tawful box\tGift_Card",
        "1\tx\tawful\x00box\tGift_Card",
        "1\tx\tawful box",
        "1\tx\tawful box\tGift_Card\tmore",
        "1\t\tawful box\t",
    )
    found = evaluate_release(store[1], [file], store=store[0])
    assert found["n"] == 2
    assert found["skipped"] == {
        "rows": 7,
        "reasons": {
            "bad_star_rating": 3,
            "empty_body": 1,
            "empty_star_rating": 1,
            "nul_byte": 1,
            "too_few_columns": 1,
            "too_many_columns": 1,
        },
        "too_many_tokens": 0,
    }
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_two_columns_are_enough_in_any_order(store: tuple[str, str, Path], tmp_path: Path) -> None:
    file = write(tmp_path / "two.tsv", "superb box\t5", header="review_body\tstar_rating")
    found = evaluate_release(store[1], [file], store=store[0])
    assert found["n"] == 1
    assert list(found["slices"]["category"]) == ["(none)"]


def test_headlines_that_name_the_star_are_blanked(tmp_path: Path) -> None:
    file = write(tmp_path / "a.tsv", "5\tFive Stars\tsuperb\tGift_Card", "5\tI love it\tsuperb\tGift_Card")
    reviews, _ = read_labelled([file])
    assert [text.first for text in reviews.segments] == ["Gift Card", "Gift Card : I love it"]


def _cut(path: Path) -> Path:
    packed = gzip.compress(b"star_rating\treview_body\n" + b"".join(b"5\tword %d\n" % i for i in range(9999)))
    path.write_bytes(packed[: len(packed) // 2])
    return path


def _nonsense(path: Path) -> Path:
    path.write_bytes(b"\x1f\x8bnonsense")
    return path


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: folder / "none.tsv", r"there is no file .*none\.tsv"),
        (lambda folder: write(folder / "a.tsv", "5\tgood", header="class\twords"), "star_rating or review_body"),
        (lambda folder: write(folder / "a.tsv", "5\tx\tx", header="star_rating\treview_body\treview_body"), "twice"),
        (lambda folder: write(folder / "a.tsv", "5\tx\ty\ty", header="star_rating\treview_body\tx\tx"), "twice"),
        (lambda folder: _nonsense(folder / "a.tsv.gz"), "cut short or damaged"),
        (lambda folder: _cut(folder / "a.tsv.gz"), "cut short or damaged"),
        (lambda folder: write(folder / "a.tsv"), r"no row can be judged \(no rows\)"),
        (lambda folder: write(folder / "a.tsv", "9\t\tx\t", "5\t\t\t"), "1 bad_star_rating, 1 empty_body"),
        (lambda folder: folder, "holds no file of reviews"),
    ],
)
def test_bad_files_are_one_clear_sentence(tmp_path: Path, make: Callable[[Path], Path], said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_labelled([make(tmp_path)])


def test_an_unknown_or_damaged_release_is_said(store: tuple[str, str, Path], table: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=store[1]):
        evaluate_release("20200101-000000-00000000", [table], store=store[0])
    with pytest.raises((ReleaseError, StoreError)):
        evaluate_release(str(tmp_path / "nowhere"), [table], store=store[0])


def test_reviews_that_the_release_refuses_are_left_out(
    store: tuple[str, str, Path], tiny_inputs: dict[str, Path]
) -> None:
    encoder = Release.open(store[2]).encoder()
    encoder.truncation = Truncation.ERROR
    reviews = LabelledReviews.from_split(tiny_inputs["prepare"], "test")
    long = reviews.segments[1]._replace(second="box " * 500)
    rows, tokens, unread = answerable(encoder, [reviews.segments[0], long, reviews.segments[2]])
    assert rows.tolist() == [0, 2]
    assert unread == {"too_many_tokens": 1}
    assert len(tokens) == 2
    assert reviews.take(np.array([2])).segments == [reviews.segments[2]]


def test_a_production_release_reads_the_stored_tokens_unless_its_own_would_differ(
    store: tuple[str, str, Path], tiny_inputs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare, release = tiny_inputs["prepare"], Release.open(store[2])
    test = LabelledReviews.from_split(prepare, "test")
    whole_rows, whole = tokens_for(release, prepare, test)
    assert whole_rows.tolist() == list(range(len(test)))
    assert whole.lengths.max() > 16

    changes = [{"token_limit": 16}, {"truncation": Truncation.ERROR}]
    for change in changes:
        other = replace(release, manifest=release.manifest.model_copy(update=change))
        rows, tokens = tokens_for(other, prepare, test)
        assert tokens.lengths.max() <= release.manifest.token_limit
        assert (tokens.lengths.max() == 16) == ("token_limit" in change)
        assert len(rows) == len(tokens)

    monkeypatch.setattr(Release, "encoder", None)
    assert (tokens_for(release, prepare, test)[1].ids == whole.ids).all()
    with pytest.raises(TypeError):
        tokens_for(other, prepare, test)


@pytest.mark.slow
def test_the_command_prints_one_json_object_and_nothing_else(store: tuple[str, str, Path], table: Path) -> None:
    stars = [sys.executable, "-c", "from contracts.cli import main; main()"]
    command = [*stars, "evaluate", "--release", store[1], "--store", store[0]]
    done = subprocess.run([*command, "--data", str(table), "--json"], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["n"] == tiny.ROWS["test"]
    assert {"accuracy", "mae", "within_one", "macro_f1", "qwk", "ece"} <= found.keys()
    assert "tensorflow" not in done.stderr.lower()

    refused = subprocess.run([*command, "--data", "nowhere.tsv"], capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert len(refused.stderr.strip().splitlines()) == 1
    assert "nowhere.tsv" in refused.stderr


def test_the_engine_that_serves_is_judged_beside_the_reference(store: tuple[str, str, Path], table: Path) -> None:
    reference = evaluate_release(str(store[2]), [table])
    served = evaluate_release(str(store[2]), [table], engine="serving")
    engine = served.pop("engine")
    assert (engine["kind"], engine["changed_stars"]) == ("torch", 0)
    assert 0 < engine["largest_logit_difference"] < 1e-4, "another code computed the same"
    assert served.keys() == reference.keys() and served["confusion"] == reference["confusion"]
    assert served["nll"] == pytest.approx(reference["nll"], abs=1e-4)


def test_an_engine_that_knows_threes_only_is_told_from_the_reference(
    store: tuple[str, str, Path], table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The figures are the engine's own, and so is the account of what it changes."""

    class Threes:
        def infer(self, reviews: Sequence[Encoded]) -> np.ndarray:
            return np.tile(np.array([0, 0, 9, 0, 0], np.float32), (len(reviews), 1))

    monkeypatch.setattr("training.model.serving.serving_engine", lambda folder: NamedEngine("threes", Threes()))
    reference = evaluate_release(str(store[2]), [table])
    served = evaluate_release(str(store[2]), [table], engine="serving")
    confusion = np.array(reference["confusion"])
    assert np.array(served["confusion"])[:, 2].sum() == served["n"]
    assert served["engine"]["kind"] == "threes"
    assert served["engine"]["changed_stars"] == served["n"] - confusion[:, 2].sum()
    assert served["engine"]["largest_logit_difference"] > 5


def test_without_a_model_server_it_says_what_to_install(
    store: tuple[str, str, Path], table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("contracts.engine.entry_points", lambda **_: [])
    with pytest.raises(ConfigError, match="no engine that serves is installed"):
        evaluate_release(str(store[2]), [table], engine="serving")
