"""Fault 25: a log that is written without end stays within bounds."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from contracts.log_files import KEPT, Follower, last_lines, open_log, rotate

LIMIT = 10_000


def test_a_child_that_writes_without_end(tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    code = "import sys\ni = 0\nwhile True:\n    print(i, 'x' * 100, flush=True)\n    i += 1"
    with open_log(log) as target:
        child = subprocess.Popen([sys.executable, "-c", code], stdout=target)
    try:
        rotations, until = 0, time.monotonic() + 60
        while rotations < KEPT + 2:
            assert time.monotonic() < until
            rotations += rotate(log, LIMIT)
    finally:
        child.kill()
        child.wait()
    parts = [tmp_path / f"child.log.{age}" for age in range(KEPT, 0, -1)]
    assert sorted(tmp_path.iterdir()) == sorted([log, *parts])
    # Where a log was put aside while a line was being written, that line may be cut.
    numbers = [int(found) for part in parts for found in re.findall(r"^(\d+) x{100}$", part.read_text(), re.MULTILINE)]
    assert len(numbers) > 100
    assert numbers == sorted(numbers), "the oldest part is the one with the highest number"
    assert b"\0" not in log.read_bytes(), "the child goes on at the beginning, not where it was"
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_a_log_within_bounds_stays(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    assert rotate(log) is False
    log.write_bytes(b"x" * LIMIT)
    assert rotate(log, LIMIT) is False and log.stat().st_size == LIMIT


def test_where_it_cannot_be_put_aside_the_log_is_emptied_all_the_same(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_bytes(b"x" * (LIMIT + 1))
    for age in (1, 2):
        (tmp_path / f"a.log.{age}" / "folder").mkdir(parents=True)
    assert rotate(log, LIMIT) is True
    assert log.stat().st_size == 0


def test_an_earlier_versions_log_becomes_its_owners(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.touch(0o644)
    open_log(log).close()
    assert log.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("count", [0, 1, 2, 5000])
def test_last_lines(tmp_path: Path, count: int) -> None:
    log = tmp_path / "a.log"
    assert last_lines(log, count) == []
    lines = [f"{i} " + "é" * 100 for i in range(2000)]
    for end in ("\n", ""):
        log.write_text("\n".join(lines) + end)
        assert last_lines(log, count) == (lines[-count:] if count else [])


def test_a_follower_sees_what_is_appended_and_survives_a_rotation(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    follower = Follower(log)
    assert list(follower.new_lines()) == []
    with open_log(log) as target:
        target.write(b"one\ntw")
        target.flush()
        assert list(follower.new_lines()) == ["one"]
        target.write(b"o\n")
        target.flush()
        assert list(follower.new_lines()) == ["two"]
        os.truncate(log, 0)
        assert list(follower.new_lines()) == []
        target.write(b"new\n")
        target.flush()
        assert list(follower.new_lines()) == ["new"]
    later = Follower(log)
    assert list(later.new_lines()) == []
