"""What README and docs/ say of files, names, commands, variables and figures is so."""

from __future__ import annotations

import ast
import json
import re
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import typer

from contracts.cli import COMMANDS, build
from contracts.release.files import FILES
from contracts.stages import SparkConfig
from service.settings import Settings
from tools import examples, picture
from training.commands.sources import LAKE_VARIABLE
from training.pipeline.plan import plan

ROOT = Path(__file__).resolve().parent.parent
PAGES = {page.relative_to(ROOT).as_posix(): page.read_text() for page in [ROOT / "README.md", *ROOT.glob("docs/*.md")]}
ELSEWHERE = re.compile(r"https?://|mailto:")

CODE = re.compile(r"`([^`\n]+)`")
FENCED = re.compile(r"^ *```.*?^ *```", re.DOTALL | re.MULTILINE)


def _spans(page: str) -> list[str]:
    """What stands between backticks in a page's sentences."""
    return CODE.findall(FENCED.sub("", PAGES[page]))


def _anchors(page: str) -> set[str]:
    """The headings of a page, as GitHub makes addresses of them."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", PAGES[page]), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", PAGES[page]):
        if ELSEWHERE.match(target):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), target
        if anchor:
            assert anchor in _anchors(file.resolve().relative_to(ROOT).as_posix()), target


@pytest.mark.parametrize("page", PAGES)
def test_files_and_names_are_there(page: str) -> None:
    """`training/model/bert.py` is a file; `contracts.review.segments`, `contracts/review.py:segments` are in one."""
    for span in _spans(page):
        file, _, names = span.partition(".py:")
        if names:
            assert _defines(ROOT / f"{file}.py", names.split(".")), span
            continue
        if re.fullmatch(r"(contracts|docs|examples|releases|service|tests|tools|torchserve|training)/[\w/.-]*", span):
            assert (ROOT / span).exists(), span
        elif re.fullmatch(r"(contracts|service|torchserve|training)(\.\w+)+(?<!\.log)", span):
            assert _names_something(span), span


def _names_something(dotted: str) -> bool:
    """Whether there is such a module, or such a function, class, method or constant in one."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        file = ROOT.joinpath(*parts[:length])
        if file.is_dir() and length == len(parts):
            return True
        if file.with_suffix(".py").exists():
            return _defines(file.with_suffix(".py"), parts[length:])
    return False


def _defines(file: Path, names: list[str]) -> bool:
    """Whether a file defines a name, or a class with a name in it."""
    body: list[ast.stmt] = ast.parse(file.read_text()).body if file.exists() else []
    for name in names:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name == name:
                body = node.body
                break
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                body = []
                break
        else:
            return False
    return True


def _commands(app: typer.Typer) -> dict[str, set[str]]:
    """Every command of `stars` and its options."""
    return {
        name: {option for parameter in command.params for option in parameter.opts + parameter.secondary_opts}
        for name, command in _walk(typer.main.get_command(app)).items()
    }


def _walk(command: Any, name: str = "stars") -> dict[str, Any]:
    """A command and all that are in it, by name."""
    inner = getattr(command, "commands", {}).items()
    return {name: command} | {key: c for word, i in inner for key, c in _walk(i, f"{name} {word}").items()}


def test_commands_and_options_are_there() -> None:
    commands = _commands(build(entry_points(group=COMMANDS)))
    groups = {name for name in commands if any(other.startswith(f"{name} ") for other in commands)}
    for page, text in PAGES.items():
        for line in re.findall(r"\bstars(?: [a-z]+)+[^\n`|#\"]*", "\n".join([*_spans(page), *_shell(text)])):
            words = line.split()
            name = " ".join(words[:3]) if " ".join(words[:2]) in groups else " ".join(words[:2])
            assert name in commands, f"{page}: {line}"
            for option in re.findall(r"(?<!\S)--[a-z-]+", line):
                assert option in commands[name], f"{page}: {line}"


def _shell(text: str) -> list[str]:
    """The lines that a reader would type."""
    return re.findall(r"^(?: {4}|\$ )(?:\S*bin/|STARS\S+ )?(stars .*)$", text, re.MULTILINE)


def test_an_option_says_the_same_in_every_command() -> None:
    texts: dict[str, set[str]] = {}
    for command in _walk(typer.main.get_command(build(entry_points(group=COMMANDS)))).values():
        for parameter in command.params:
            texts.setdefault(parameter.opts[0], set()).add(getattr(parameter, "help", None) or "")
    assert all(len(texts[option]) == 1 and texts[option] != {""} for option in ("--store", "--home", "--url"))


def test_variables_are_there_and_told() -> None:
    """docs/limits.md has every setting of the gateway; what other pages say, a program reads."""
    ours = "STARS_SIGNING_KEY", "STARS_URL", "STARS_STORE_ENCRYPTION", "STARS_LAKE"
    settings = {f"STARS_{name}".upper() for name in Settings.model_fields if name != "limits"} | set(ours)
    told = re.findall(r"^\| (`STARS_.+?) \|", PAGES["docs/limits.md"], re.MULTILINE)
    assert {name for row in told for name in re.findall(r"STARS_\w+", row)} == settings
    settings |= set(re.findall(r"^#(STARS_\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    spark = {f"STARS_SPARK_{field}".upper() for field in SparkConfig.model_fields}
    assert spark <= set(re.findall(r"^\| `(STARS_\w+)`", PAGES["docs/spark.md"], re.MULTILINE))
    settings |= spark | {LAKE_VARIABLE}
    stages = tuple(f"STARS_{stage}_".upper() for stage in plan())
    for page, text in PAGES.items():
        for name in re.findall(r"STARS_[A-Z_]*[A-Z]", text):
            assert name in settings or name.startswith(("STARS_LIMITS__", *stages)), f"{page}: {name}"


def test_the_readme_has_every_command() -> None:
    commands = _commands(build(entry_points(group=COMMANDS)))
    table = re.findall(r"^\| (`stars .+?) \|", PAGES["README.md"], re.MULTILINE)
    told = {word for row in table for word in re.findall(r"[a-z]+", row)}
    assert {word for name in commands for word in name.split()} <= told


def test_every_room_is_told() -> None:
    rows = re.findall(r"^\| `(\w+)/` \|.*\| (.+?) \|$", PAGES["docs/architecture.md"], re.MULTILINE)
    told = {package: set(re.findall(r"`(\w+)/`", rooms)) for package, rooms in rows}
    assert told == {
        package: {init.parent.name for init in (ROOT / package).glob("*/__init__.py")} for package in picture.PACKAGES
    }


def test_the_files_of_a_release_are_told() -> None:
    rows = re.findall(r"^\| `(.+?)` \| (.+) \| (always|where .+) \|$", PAGES["docs/releases.md"], re.MULTILINE)
    assert [(name, purpose, there == "always") for name, purpose, there in rows] == [
        (name, file.purpose, file.required) for name, file in FILES.items()
    ]


def test_answers_stand_only_where_they_are_generated() -> None:
    """tests/service/test_examples.py holds those pages to what the service answers."""
    shown = {page for page, text in PAGES.items() if re.search(r'"(stars|confidence|logits)": \[?-?\d', text)}
    assert shown == {page.relative_to(ROOT).as_posix() for page in examples.PAGES}


def test_figures_agree() -> None:
    """A figure that stands on two pages is the same on both."""
    for figure, pages in {
        "3.4x": ("README.md", "docs/torchserve.md"),
        "1.26x": ("README.md", "docs/torchserve.md"),
        "2.1x": ("README.md", "docs/torchserve.md"),
        "1.18x": ("README.md", "docs/torchserve.md"),
        "150 MB": ("README.md", "docs/torchserve.md"),
        "540 MB": ("README.md", "docs/torchserve.md"),
        "1.3 GB": ("README.md", "docs/operating.md"),
        "3.9 GB": ("README.md", "docs/operating.md"),
        "0.000 (0.000 to 0.017)": ("README.md", "docs/calibration.md"),
        "8,794": ("README.md", "docs/calibration.md"),
        "1.6x": ("README.md", "docs/training.md"),
        "465 ": ("docs/data.md", "examples/README.md"),
    }.items():
        for page in pages:
            assert figure in (ROOT / page).read_text(), f"{figure} is not in {page}"


def test_the_readme_quotes_the_bundled_release() -> None:
    (manifest,) = ROOT.glob("releases/releases/review-stars/*/manifest.json")
    metrics = json.loads(manifest.read_text())["metrics"]
    (row,) = re.findall(r"^\| 8,794 of .*$", PAGES["README.md"], re.MULTILINE)
    for name, form in (("accuracy", "{:.1%}"), ("mae", "{:.3f}"), ("within_one", "{:.1%}"), ("ece", "{:.3f}")):
        value, low, high = (form.format(metrics[name][part]).removesuffix("%") for part in ("value", "low", "high"))
        assert re.search(rf"{value}(?: %)? \({low} to {high}\)", row), name
