from __future__ import annotations

from pathlib import Path

import pytest

from contracts.errors import ConfigError
from contracts.settings import Home
from service.settings import load_settings


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


def test_the_job_stores_url_may_stand_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "jobs_url"
    secret.write_text("postgresql+psycopg://stars:word@database/stars\n")
    monkeypatch.delenv("STARS_JOBS_URL", raising=False)
    monkeypatch.setenv("STARS_JOBS_URL_FILE", str(secret))
    assert Home(tmp_path).job_store_url() == "postgresql+psycopg://stars:word@database/stars"
    assert load_settings(home=tmp_path).job_store_url == "postgresql+psycopg://stars:word@database/stars"
    monkeypatch.setenv("STARS_JOBS_URL", "sqlite:////tmp/x.db")
    assert Home(tmp_path).job_store_url() == load_settings(home=tmp_path).job_store_url == "sqlite:////tmp/x.db"
    monkeypatch.delenv("STARS_JOBS_URL")
    for unusable in ("", None):
        secret.write_text(unusable) if unusable is not None else secret.unlink()
        with pytest.raises(ConfigError, match="cannot be read from"):
            Home(tmp_path).job_store_url()
        with pytest.raises(ConfigError, match="cannot be read from"):
            _ = load_settings(home=tmp_path).job_store_url
