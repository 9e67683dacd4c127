"""The walls of the house: who may import whom, where each file is used, what a name stands for, how long a file may be.

The layers stand in pyproject.toml, [tool.importlinter]; `lint-imports` in a shell says what these tests say.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools import picture

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("contracts", "service", "torchserve", "training")
LONGEST = 300

STARTED_BY_NAME = re.compile(
    r"contracts\.cli|(service|training)\.cli|torchserve\.handler|.*\.__main__|training\.explore\.figures"
)
"""The `stars` command, what it finds by entry points, what TorchServe starts, `python -m`, what notebooks import."""

NOT_EMPTY = {"training/__init__.py"}
"""Keras reads its back end when it is first imported, so whatever imports training must have said which before."""


def _modules(root: Path = ROOT) -> Iterator[tuple[str, Path]]:
    """Every module's dotted name and file."""
    for package in PACKAGES:
        for file in sorted((root / package).rglob("*.py")):
            yield ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__"), file


def _lint_imports(folder: Path) -> str:
    """What is wrong with the imports of the packages in a folder; nothing when they keep to the layers."""
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_imports_go_down_and_never_round() -> None:
    """Between the packages, between their rooms and inside those."""
    assert not (wrong := _lint_imports(ROOT)), wrong


@pytest.mark.parametrize(
    ("file", "line", "said"),
    [
        ("contracts/review.py", "import contracts.release.manifest", "contracts.review is not allowed to import"),
        ("contracts/errors.py", "def late() -> None:\n    from service import app", "contracts.errors -> service.app"),
        (
            "training/data/splits.py",
            "if TYPE_CHECKING:\n    import training.cli",
            "training.data.splits -> training.cli",
        ),
        ("contracts/release/signing.py", "from . import manifest", "No cycles are allowed in contracts.release"),
        ("service/settings.py", "import torch", "service.settings -> torch"),
        ("service/unplaced.py", "", "service.unplaced"),
    ],
)
def test_an_arrow_up_a_round_trip_and_a_file_without_a_place_are_seen(
    tmp_path: Path, file: str, line: str, said: str
) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for _, source in _modules():
        copy = tmp_path / source.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, copy)
    with (tmp_path / file).open("a") as source:
        source.write(f"\n{line}\n")
    assert said in _lint_imports(tmp_path)


def test_every_file_is_used() -> None:
    """Each module is imported by another, named by one (`python -m`, a stage) or started from outside."""
    sources = {module: ast.parse(file.read_text()) for module, file in _modules()}
    named = {
        name for module, tree in sources.items() for node in ast.walk(tree) for name in _named(node) if name != module
    }
    stages = {f"training.stages.{file.stem}" for file in (ROOT / "training/stages").glob("*.py")}
    unused = [
        module
        for module, file in _modules()
        if file.name != "__init__.py" and module not in named | stages and not STARTED_BY_NAME.fullmatch(module)
    ]
    assert unused == []


def _named(node: ast.AST) -> Iterator[str]:
    """What could be a module's name: in an import, or as a string."""
    match node:
        case ast.Import():
            yield from (name.name for name in node.names)
        case ast.ImportFrom(module=str(module)):
            yield module
            yield from (f"{module}.{name.name}" for name in node.names)
        case ast.Constant(value=str(text)):
            yield text.partition(":")[0]


def test_a_class_has_a_name_of_its_own() -> None:
    names = Counter(
        node.name
        for _, file in _modules()
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert [name for name, number in names.items() if number > 1] == []


def test_no_file_is_long() -> None:
    assert [str(file) for _, file in _modules() if len(file.read_text().splitlines()) > LONGEST] == []


def test_packages_say_nothing_of_their_own() -> None:
    """An import names the exact module, so a light process loads no more than it uses."""
    told = {
        str(file.relative_to(ROOT)) for _, file in _modules() if file.name == "__init__.py" and file.read_text().strip()
    }
    assert told == NOT_EMPTY


def test_the_picture_is_of_this_code() -> None:
    page = picture.PAGE.read_text(encoding="utf-8")
    assert picture.rewritten(page) == page, "run `make picture`"
