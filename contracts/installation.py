"""How what is not installed is installed. Nothing of ours is on PyPI: it comes from a checkout."""

from __future__ import annotations

from pathlib import Path


def how_to_install(extra: str | None) -> str:
    """A command that brings one of pyproject.toml's extras, with the folder to run it in."""
    root = Path(__file__).resolve().parent.parent
    if (root / "Makefile").is_file() and (root / "pyproject.toml").is_file():
        return f"run `make setup` in {root}"
    return f"run `pip install '.{f'[{extra}]' if extra else ''}'` in a checkout of review-stars"
