"""Reviews whose stars their text contradicts are found, listed for people, and learnt from with less weight."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from contracts.errors import DataError
from training import cli
from training.data.arrays import Ints
from training.data.examples import Examples
from training.data.labelled import LabelledReviews
from training.data.tokens import TokenRows
from training.judge.noise import find_noise
from training.judge.noisy_rows import weigh_noise

from . import tiny
from .amazon import row, write
from .recorder import Recorder

WORDS = {1: "awful broken refund", 3: "passable mediocre", 5: "superb flawless joy"}
PLANTED = (6, 40, 101)
"""The numbers of rows whose text speaks of five stars and that have one."""


def made(rows: int = 240) -> tuple[list[str], Ints]:
    random = np.random.default_rng(3)
    stars = np.array([(1, 3, 5)[at % 3] for at in range(rows)])
    texts = [" ".join([*random.choice(tiny.FILLER, 8), *WORDS[star].split()]) for star in stars]
    for planted in PLANTED:
        texts[planted], stars[planted] = f"{texts[planted].rsplit(' ', 3)[0]} {WORDS[5]}", 1
    return texts, stars


def test_planted_contradictions_are_found_the_surest_first() -> None:
    texts, stars = made()
    heard: list[float] = []
    found = find_noise(texts, stars, heard.append)
    assert set(found.ranked().tolist()) == set(PLANTED)
    assert (np.diff(found.quality[found.ranked()]) >= 0).all()
    assert (found.suggested[list(PLANTED)] == 5).all()
    assert found.quality[list(PLANTED)].max() < np.median(found.quality)
    assert found.accuracy == pytest.approx(1 - len(PLANTED) / len(stars), abs=0.01)
    assert heard == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_a_star_beside_is_taste_and_no_contradiction() -> None:
    texts, stars = made()
    stars = np.where(stars == 3, 4, stars)
    stars[10::30] = 4  # texts of four and of five stars have each other's
    stars[2::30] = np.where(stars[2::30] == 5, 4, stars[2::30])
    assert all(abs(found - given) >= 2 for found, given in _contradictions(texts, stars))


def _contradictions(texts: list[str], stars: Ints) -> list[tuple[int, int]]:
    found = find_noise(texts, stars)
    return [(int(found.suggested[at]), int(stars[at])) for at in found.ranked()]


@pytest.mark.parametrize(("rows", "stars"), [(99, (1, 5)), (200, (5, 5)), (0, (1, 5))])
def test_too_few_reviews_contradict_nothing(rows: int, stars: tuple[int, int]) -> None:
    with pytest.raises(DataError, match="cannot contradict each other: bring 100 reviews at least"):
        find_noise(["fine"] * rows, np.array([stars[at % 2] for at in range(rows)], dtype=np.int64))


def test_the_command_lists_them_and_shows_texts_only_when_asked(tmp_path: Path) -> None:
    texts, stars = made()
    rows = [
        row(review_id=f"R{at}", review_headline="", review_body=text, star_rating=str(star))
        for at, (text, star) in enumerate(zip(texts, stars, strict=True))
    ]
    source = write(tmp_path / "reviews.tsv", *rows)
    plain, shown = (
        CliRunner().invoke(cli.app, ["data", "noise", "--data", str(source), "--format", "csv", *more])
        for more in ([], ["--text"])
    )
    assert plain.exit_code == shown.exit_code == 0, plain.stderr
    listed = list(csv.DictReader(io.StringIO(plain.stdout)))
    assert {int(each["row"]) for each in listed} == {at + 1 for at in PLANTED}
    assert {(each["source"], each["stars"], each["text_says"]) for each in listed} == {("reviews.tsv", "1", "5")}
    assert "flawless" not in plain.stdout + plain.stderr
    assert all(
        texts[int(each["row"]) - 1] in each["headline_and_text"] for each in csv.DictReader(io.StringIO(shown.stdout))
    )
    assert "3 of 240 reviews, by a model that says the star of 99% of them" in " ".join(plain.stderr.split())


def test_train_rows_alone_are_weighed_and_what_was_found_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = tiny.write_prepare(tmp_path / "prepare")
    train = Examples.read(prepare, "train")
    weighed, facts = weigh_noise(train, prepare, 0.25, tmp_path, Recorder())
    assert weighed.weights is not None
    few = weighed.weights == 0.25
    assert facts["noise"] == {"rows": int(few.sum()), "weight": 0.25, "stars": facts["noise"]["stars"]}
    assert (weighed.weights[~few] == 1).all()
    monkeypatch.setattr("training.judge.noisy_rows.find_noise", lambda *_: pytest.fail("it was looked for again"))
    again, _ = weigh_noise(train, prepare, 0.25, tmp_path, Recorder())
    assert np.array_equal(again.weights, weighed.weights)


def test_the_reviews_of_a_data_set_know_their_places(tmp_path: Path) -> None:
    from training.stages import ingest

    source = write(tmp_path / "a.tsv", row(review_id="R1"), "no row", row(review_id="R2", review_body="Another."))
    ingest.run(ingest.Config(), {"data": source}, tmp_path / "lake", Recorder())
    reviews, places = LabelledReviews.of_data_set(tmp_path / "lake")
    assert sorted(places) == [("a.tsv", 1), ("a.tsv", 3)]
    assert len(reviews) == 2


def test_a_weighted_row_teaches_as_much_less() -> None:
    import tensorflow as tf

    from contracts.stages import TrainConfig
    from training.model.losses import losses, targets

    tokens = TokenRows(np.array([1, 2, 3], dtype=np.int32), np.array([0, 1, 2, 3]), np.ones(3, dtype=np.int32))
    weights = np.array([1, 0.5, 0], dtype=np.float32)
    examples = Examples(tokens, np.array([0, 2, 4], dtype=np.int32), None, weights)
    hard, soft, counted = targets(examples, np.arange(3), 0.1)
    logits = tf.constant(np.random.default_rng(0).normal(size=(3, 5)), tf.float32)
    plain = losses(logits, hard, soft, np.ones(3, dtype=np.float32), TrainConfig()).numpy()
    assert losses(logits, hard, soft, counted, TrainConfig()).numpy() == pytest.approx(plain * weights)
