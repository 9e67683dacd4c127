"""The `stars` command where a part of it is not installed."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from typer.testing import CliRunner

from contracts import cli, installation
from contracts.cli import build


def test_a_group_that_is_not_installed_says_what_installs_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Fault 31: the hint was `pip install 'review-stars[training]'`, and nothing of ours is on PyPI."""

    def said() -> str:
        group = EntryPoint("training", "training_that_is_not_here.cli:app", "stars.commands")
        result = CliRunner().invoke(build([group]), ["worker"], env={"TERMINAL_WIDTH": "500"})
        return result.stderr

    assert f"run `make setup` in {Path(__file__).parents[2]}" in said()
    monkeypatch.setattr(installation, "ROOT", tmp_path)
    assert "run `pip install '.[training]'` in a checkout" in said()


def test_a_library_that_is_missing_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(**_group: str) -> None:
        raise ModuleNotFoundError("No module named 'keras'", name="keras")

    monkeypatch.setattr(cli, "entry_points", missing)
    monkeypatch.setattr(sys, "argv", ["stars"])
    with pytest.raises(SystemExit, match="1"):
        cli.main()
    assert "error: No module named 'keras': run `make setup` in " in capsys.readouterr().err
