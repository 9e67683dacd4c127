"""How what is not installed is installed. Nothing of ours is on PyPI: it comes from a checkout."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The folder of a checkout, or the one into which the packages were installed."""


def how_to_install(extra: str | None) -> str:
    """A command that brings one of pyproject.toml's extras, with the folder to run it in."""
    if (ROOT / "Makefile").is_file() and (ROOT / "pyproject.toml").is_file():
        return f"run `make setup` in {ROOT}"
    return f"run `pip install '.{f'[{extra}]' if extra else ''}'` in a checkout of review-stars"
