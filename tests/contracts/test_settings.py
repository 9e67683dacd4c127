from __future__ import annotations

from pathlib import Path

import pytest

from contracts.errors import ConfigError
from contracts.settings import Home


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
