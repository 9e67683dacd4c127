"""Fault 27: which data a retraining may read, told when it is asked for and not an hour later."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import JobError
from contracts.jobs.data import data_roots, locate


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An allowed folder with a file of reviews, and what lies beside it."""
    root = tmp_path / "data"
    root.mkdir()
    (root / "reviews.tsv").write_text("star_rating\n")
    (tmp_path / "secret.tsv").write_text("secret\n")
    (tmp_path / "data-other").mkdir()
    monkeypatch.chdir(tmp_path)
    return root


def test_data_roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STARS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("STARS_DATA_ROOTS", raising=False)
    monkeypatch.chdir(tmp_path)
    assert data_roots() == (tmp_path / "home/data",)
    (tmp_path / "examples").mkdir()
    assert data_roots() == (tmp_path / "examples", tmp_path / "home/data")
    monkeypatch.setenv("STARS_DATA_ROOTS", os.pathsep.join(["/a", "b", ""]))
    assert data_roots() == (Path("/a"), tmp_path / "b")


def test_a_relative_name_means_the_allowed_folders_wherever_one_runs(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "more"
    other.mkdir()
    (other / "late.tsv.gz").write_bytes(b"\x1f\x8b")
    (root / "2026").mkdir()
    (root / "2026" / "may.tsv").write_text("x")
    expected = {
        "reviews.tsv": root / "reviews.tsv",
        "data/reviews.tsv": root / "reviews.tsv",
        "./data/reviews.tsv": root / "reviews.tsv",
        "2026/may.tsv": root / "2026/may.tsv",
        "data/2026": root / "2026",
        "late.tsv.gz": other / "late.tsv.gz",
        "more": other,
        ".": root,
        str(root / "reviews.tsv"): root / "reviews.tsv",
        str(root): root,
    }
    for folder in (tmp_path, root, Path("/")):
        monkeypatch.chdir(folder)
        assert {name: locate(name, [root, other]) for name in expected} == expected


def test_outside_is_refused_without_a_word_on_what_is_there(root: Path, tmp_path: Path) -> None:
    (root / "link.tsv").symlink_to(tmp_path / "secret.tsv")
    (root / "dangling.tsv").symlink_to(tmp_path / "absent.tsv")
    (root / "up").symlink_to(tmp_path)
    outside = ["/etc/passwd", "/etc/no-such", "data/../secret.tsv", "../secret.tsv", "link.tsv", "dangling.tsv"]
    outside += ["up/secret.tsv", "up/absent.tsv", str(tmp_path / "data-other"), str(tmp_path / "secret.tsv")]
    # Where "mtab" is a link, "/etc/mtab/../../…" would end elsewhere than where it is none.
    outside += [f"/etc/mtab/../..{root}/reviews.tsv", f"{root}/../data/reviews.tsv"]
    outside += [
        "",
        "a\0b",
        "s3://bucket/data",
        "https://example.com/a.tsv",
        "http://169.254.169.254/a.tsv",
        "file:///etc/passwd",
    ]
    told = set()
    for elsewhere in (False, True):
        for name in outside:
            with pytest.raises(JobError, match="allowed folder") as caught:
                locate(name, [root], elsewhere=elsewhere)
            told.add(str(caught.value))
    assert len(told) == 1
    with pytest.raises(JobError, match="none"):
        locate("data/reviews.tsv", [])


@pytest.fixture
def unfit(root: Path) -> Iterator[dict[str, str]]:
    """Names of what cannot be trained on, with what is to be said of it."""
    (root / "reviews.txt").write_text("a,b\n")
    (root / "empty.tsv").touch()
    (root / "folder").mkdir()
    (root / "folder" / "notes.txt").write_text("x")
    (root / "half").mkdir()
    (root / "half" / "good.tsv").write_text("x")
    (root / "half" / "empty.tsv").touch()
    (root / "leak").mkdir()
    (root / "leak" / "link.tsv").symlink_to(root.parent / "secret.tsv")
    os.mkfifo(root / "pipe.tsv")
    with closing(socket.socket(socket.AF_UNIX)) as listening:
        listening.bind(os.path.relpath(root / "socket.tsv"))
        yield {
            "absent.tsv": "there is no",
            str(root / "absent.tsv"): "there is no",
            "reviews.txt": r"called as no file of reviews is",
            "empty.tsv": "is empty",
            "folder": "holds no",
            "half": "is empty",
            "leak": "leads out",
            "pipe.tsv": "no plain file",
            "socket.tsv": "no plain file",
            "reviews.tsv/more": "there is no",
            "x" * 300: "there is no",
            "\ud800": "allowed folder",
        }


def test_what_cannot_be_trained_on_is_refused_at_once(root: Path, unfit: dict[str, str]) -> None:
    for name, told in unfit.items():
        for elsewhere in (False, True):
            with pytest.raises(JobError, match=told):
                locate(name, [root], elsewhere=elsewhere)


def test_a_file_that_may_not_be_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Path.open

    def refuse(path: Path, *given: Any, **named: Any) -> Any:  # root, as whom tests may run, may read everything
        if path == root / "reviews.tsv":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *given, **named)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(JobError, match="Permission denied"):
        locate("reviews.tsv", [root])


def test_what_another_machine_has_is_taken_unseen(root: Path, tmp_path: Path) -> None:
    """The worker's machine may have folders that the gateway's does not."""
    away = tmp_path / "away"
    roots = [root, away]
    assert locate("reviews.tsv", roots, elsewhere=True) == root / "reviews.tsv"
    for name in ("later.tsv", "away/later.tsv", str(away / "later.tsv")):
        with pytest.raises(JobError, match="there is no"):
            locate(name, roots)
    assert locate("later.tsv", roots, elsewhere=True) == away / "later.tsv"
    assert locate(str(away / "later.tsv"), roots, elsewhere=True) == away / "later.tsv"
    with pytest.raises(JobError, match="there is no"):
        locate(str(root / "later.tsv"), roots, elsewhere=True)


def test_loops_of_links(root: Path) -> None:
    (root / "loop.tsv").symlink_to(root / "loop.tsv")
    (root / "ring").mkdir()
    (root / "ring" / "loop.tsv").symlink_to(root / "ring" / "loop.tsv")
    for name in ("loop.tsv", "ring"):
        with pytest.raises(JobError, match="allowed folder|cannot be read"):
            locate(name, [root])


def test_a_root_behind_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(root)
    for name in ("alias/reviews.tsv", "reviews.tsv", str(tmp_path / "alias" / "reviews.tsv")):
        assert locate(name, [tmp_path / "alias"]) == root / "reviews.tsv"


def test_a_data_set_may_be_named_and_nothing_in_it_leads_out(root: Path, tmp_path: Path) -> None:
    lake = root / "lake"
    partition = lake / "reviews" / "product_category=Toys"
    partition.mkdir(parents=True)
    (partition / "a-0-0.parquet").write_bytes(b"PAR1")
    with pytest.raises(JobError, match="is being filled: wait, or finish it with stars data fetch"):
        locate("lake", [root])
    (lake / "facts.json").write_text("{}")
    assert locate("lake", [root]) == lake
    (partition / "b-0-0.parquet").symlink_to(tmp_path / "secret.tsv")
    with pytest.raises(JobError, match=r"b-0-0\.parquet leads out of the allowed folders"):
        locate("lake", [root])
