"""What the training commands say on the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from contracts.release.default_store import STORE_VARIABLE
from contracts.store.urls import open_store
from training import cli
from training.judge import release
from training.pipeline import local
from training.pipeline.plan import plan
from training.pipeline.request import Run


def facts(store: str, production: bool) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {name: {"seconds": 1.0} for name in plan()}
    found["evaluate"] |= {"verdict": "promote", "reason": "It is better."}
    found["export"] |= {"version": "v2", "store": store, "production": production}
    return found


@pytest.mark.parametrize("production", [True, False])
@pytest.mark.parametrize("named", [True, False])
def test_training_writes_to_the_store_that_is_served_and_says_how_to_promote(
    production: bool, named: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Fault 31: without --store it wrote ./store, and `stars up` read another."""
    asked: list[Run] = []
    store = open_store(str(tmp_path / "the store")).url
    monkeypatch.setattr(local, "run", lambda request, _: asked.append(request) or facts(request.store, production))
    monkeypatch.setenv(STORE_VARIABLE, str(tmp_path / "the store"))
    flag = ["--store", str(tmp_path / "the store")] if named else []
    result = CliRunner().invoke(cli.app, ["pipeline", "run", "--data", "reviews.tsv", "--work", "work", *flag])
    assert result.exit_code == 0, result.stderr
    assert [open_store(request.store).url for request in asked] == [store]
    said = result.stderr
    up = f"stars up --store '{flag[1]}'" if named else "stars up\n"
    assert up in said
    assert f"v2 is {'production' if production else 'the candidate'} in {store}" in said
    assert ("stars release promote v2" in said) is not production


def test_rows_that_cannot_be_judged_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault 31: `stars evaluate` dropped rows in silence."""
    skipped = {"rows": 10, "reasons": {"bad_star_rating": 4, "empty_body": 7}, "too_many_tokens": 3}
    metrics = dict.fromkeys(("accuracy", "mae", "within_one", "macro_f1", "qwk", "ece"), 0.5)
    result = {"n": 2987, "version": "v1", "skipped": skipped} | metrics
    monkeypatch.setattr(release, "evaluate_release", lambda *_: result)
    for form in ([], ["--json"]):
        done = CliRunner().invoke(cli.app, ["evaluate", "--data", "reviews.tsv", *form])
        assert done.exit_code == 0
        assert (
            "3,000 rows read, 2,987 judged, 10 could not be read (7 empty_body, 4 bad_star_rating), "
            "3 are over the release's token limit, which refuses them" in done.stderr
        )
        assert "3,000" not in done.stdout
