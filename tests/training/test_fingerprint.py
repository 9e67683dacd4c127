"""What makes a stage run anew: other inputs, and other code in whatever it imports."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from training.pipeline.plan import plan
from training.running import fingerprint
from training.running.fingerprint import code_fingerprint, input_fingerprint, sources

ROOT = Path(__file__).parents[2]
FILES = {
    "training/__init__.py": "READ_FIRST = 1\n",
    "training/stages/one.py": "from training.data import rows\nfrom contracts.errors import DataError\n",
    "training/data/rows.py": "def late() -> None:\n    import contracts.review\n",
    "training/data/beside.py": "x = 1\n",
    "training/running/folder.py": "x = 1\n",
    "contracts/review.py": "from .tokens import LIMIT\nfrom . import limits\n",
    "contracts/tokens.py": "LIMIT = 128\n",
    "contracts/limits.py": "x = 1\n",
    "contracts/errors.py": "class DataError(Exception): ...\n",
    "contracts/types.py": "x = 1\n",
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, source in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(source)
    monkeypatch.setattr(fingerprint, "ROOT", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("file", "counts"),
    [
        ("training/stages/one.py", True),
        ("training/data/rows.py", True),
        ("contracts/review.py", True),  # imported inside a function
        ("contracts/tokens.py", True),  # of its own package
        ("contracts/limits.py", True),
        ("training/__init__.py", True),  # run by every import
        ("training/data/beside.py", False),  # not imported
        ("contracts/errors.py", False),  # what is said to people
        ("training/running/folder.py", False),
    ],
)
def test_a_change_counts_in_what_is_imported(project: Path, file: str, counts: bool) -> None:
    before = code_fingerprint(project / "training/stages/one.py")
    (project / file).write_text(FILES[file] + "y = 2\n")
    assert (code_fingerprint(project / "training/stages/one.py") != before) is counts


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        ('"""One."""\nx = 1  # why\n', '"""Two."""\n\nx  =  1\n', True),
        ("def f(): return 1", 'def f():\n    """One."""\n    return 1', True),
        ('x = 1\n"""What x is."""', "x = 1", True),
        ("x = 1\n", "x = 2\n", False),
        ("STAGE = Stage(share=1)\nx = 1", "STAGE = Stage(share=2)\nx = 1", True),
        ("if TYPE_CHECKING:\n    pass", "if TYPE_CHECKING:\n    pass\nelse:\n    x = 1", False),
    ],
)
def test_words_do_not_count(project: Path, one: str, two: str, same: bool) -> None:
    def of(source: str) -> str:
        (project / "training/stages/one.py").write_text(source)
        return code_fingerprint(project / "training/stages/one.py")

    assert (of(one) == of(two)) is same


def test_what_is_imported_for_types_alone_does_not_count(project: Path) -> None:
    file = project / "training/stages/one.py"
    file.write_text("if TYPE_CHECKING:\n    import contracts.types\nelse:\n    import contracts.limits\n")
    assert [path.name for path in sources(file)] == ["limits.py", "one.py"]


def test_modules_that_import_each_other_are_read_once(project: Path) -> None:
    (project / "contracts/tokens.py").write_text("import contracts.review\n")
    assert len(sources(project / "training/stages/one.py")) == 6


@pytest.mark.parametrize(
    ("stage", "within", "without"),
    [
        ("prepare", {"contracts/tokens.py", "training/data/splitting.py"}, {"training/model/bert.py"}),
        ("train", {"contracts/tokens.py", "training/model/schedule.py"}, {"contracts/store/file_store.py"}),
        ("export", {"contracts/release/manifest.py", "training/package/cards.py"}, {"contracts/store/file_store.py"}),
    ],
)
def test_the_code_of_the_stages(stage: str, within: set[str], without: set[str]) -> None:
    found = {path.relative_to(ROOT).as_posix() for path in sources(ROOT / f"training/stages/{stage}.py")}
    assert within <= found
    assert not without & found


def test_reading_the_code_of_all_stages_takes_no_time_worth_a_word() -> None:
    fingerprint._read.cache_clear()
    took = []
    for _ in range(2):
        began = time.process_time()
        for stage in plan():
            code_fingerprint(ROOT / f"training/stages/{stage}.py")
        took.append(time.process_time() - began)
    assert took[0] < 2.0 and took[1] < 0.25, took


def test_a_file_that_moves_inside_an_input_changes_it(tmp_path: Path) -> None:
    for name in ("one/a", "two/b"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_text(name)
    before = input_fingerprint(tmp_path / "in")
    (tmp_path / "in" / "one" / "a").rename(tmp_path / "in" / "two" / "a")
    assert input_fingerprint(tmp_path / "in") != before
