from __future__ import annotations

import os
from pathlib import Path

import pytest

from contracts.errors import ConfigError, JobError
from contracts.settings import Home, allowed_data, data_roots


def test_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STARS_HOME", str(tmp_path / "home"))
    home = Home.default().create()
    assert home.root.stat().st_mode & 0o777 == 0o700
    assert home.jobs_url == f"sqlite:///{tmp_path}/home/jobs.db"
    assert {home.admin_key.parent, home.model_store.parent, home.runs.parent, home.data.parent} == {home.root}
    monkeypatch.delenv("STARS_HOME")
    assert Home.default().root == Path.home() / ".local/state/review-stars"


def test_a_home_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for root in (tmp_path / "file", tmp_path / "file" / "home"):
        with pytest.raises(ConfigError, match="STARS_HOME"):
            Home(root).create()


def test_data_roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STARS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("STARS_DATA_ROOTS", raising=False)
    monkeypatch.chdir(tmp_path)
    assert data_roots() == (tmp_path / "examples", tmp_path / "home/data")
    monkeypatch.setenv("STARS_DATA_ROOTS", os.pathsep.join(["/a", "b", ""]))
    assert data_roots() == (Path("/a"), tmp_path / "b")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "data"
    root.mkdir()
    (root / "reviews.tsv").touch()
    (tmp_path / "secret.tsv").touch()
    (tmp_path / "data-other").mkdir()
    monkeypatch.chdir(tmp_path)
    return root


def test_inside(root: Path) -> None:
    for path in ("data/reviews.tsv", str(root / "reviews.tsv"), "data/../data/reviews.tsv", "data/absent.tsv", "data"):
        assert allowed_data(path, [root]).is_relative_to(root)


def test_outside(root: Path) -> None:
    (root / "link.tsv").symlink_to(root.parent / "secret.tsv")
    (root / "up").symlink_to(root.parent)
    (root / "loop").symlink_to(root / "loop")
    outside = ["secret.tsv", "/etc/passwd", "data/../secret.tsv", "data/link.tsv", "data/up/secret.tsv", "data-other"]
    for path in [*outside, "", "a\0b", "~nobody-here/x", "s3://bucket/data", "file:///etc/passwd", "\ud800"]:
        with pytest.raises(JobError, match="allowed folder"):
            allowed_data(path, [root])
    with pytest.raises(JobError, match="none"):
        allowed_data("data/reviews.tsv", [])


def test_a_loop_of_links(root: Path) -> None:
    (root / "loop").symlink_to(root / "loop")
    try:
        assert allowed_data("data/loop", [root]) == root / "loop"  # opening it will say what is wrong
    except JobError as error:
        assert "allowed folder" in str(error)


def test_a_root_behind_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(root)
    assert allowed_data("alias/reviews.tsv", [tmp_path / "alias"]) == root / "reviews.tsv"
