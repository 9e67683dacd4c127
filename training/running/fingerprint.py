"""What decides a stage's result besides its settings: its inputs' content, and the code that makes it.

The code is the stage's own file and all of this project that it imports, directly or through others, inside functions
too. Files are read, nothing is run.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.util import resolve_name
from pathlib import Path

from contracts.errors import ConfigError
from contracts.installation import ROOT
from training.running.folder import FACTS, read_facts

_OURS = ("contracts/", "training/")

# Imported, and yet of no account: a mended sentence or another progress bar must not cost a night of training.
_OF_NO_ACCOUNT = (
    "contracts/errors.py",  # what is said to people
    "contracts/validation.py",
    "contracts/stages.py",  # settings count by their values
    "contracts/installation.py",  # where things lie, and how processes end
    "contracts/settings.py",
    "contracts/store/",
    "contracts/log_files.py",
    "contracts/processes.py",
    "training/running/",  # how a stage is run and watched, whatever it computes
    "training/tracking/",
)

_DECLARATION = "STAGE"


def file_sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def input_fingerprint(path: Path) -> str:
    """A finished stage's own fingerprint, or the content of a file or of all files in a folder."""
    if (path / FACTS).is_file():
        return str(read_facts(path)["fingerprint"])
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    if not files or not files[0].exists():
        raise ConfigError(f"input {path} does not exist or is empty: check the path")
    top = path if path.is_dir() else path.parent
    joined = "".join(f"{file.relative_to(top)}:{file_sha256(file)}" for file in files)
    return hashlib.sha256(joined.encode()).hexdigest()


def code_fingerprint(file: Path) -> str:
    """A hash of what a module and all that it imports of this project compute.

    Comments, docstrings, formatting and a stage's declaration of itself don't count.
    """
    digest = hashlib.sha256()
    for source in sources(file):
        computed, _ = _read(source.read_text(encoding="utf-8"))
        digest.update(f"{source.name}\n{computed}\n".encode())
    return digest.hexdigest()


def sources(file: Path) -> list[Path]:
    """A module and the files of this project that it imports, directly or through others, and that count."""
    found: set[Path] = set()
    left = [file]
    while left:
        source = left.pop()
        if source not in found:
            found.add(source)
            _, imports = _read(source.read_text(encoding="utf-8"))
            left += [path for name in imports for path in _files(name, source.parent)]
    return sorted(found)


def _files(name: str, folder: Path) -> Iterator[Path]:
    """The files that an import of `name`, in a file of `folder`, runs: its packages' and its own. Ours only."""
    if name.startswith("."):
        name = resolve_name(name, ".".join(folder.relative_to(ROOT).parts))
    parts = name.split(".")
    packages = ("/".join([*parts[:end], "__init__.py"]) for end in range(1, len(parts) + 1))
    for place in ("/".join(parts) + ".py", *packages):
        if place.startswith(_OURS) and not place.startswith(_OF_NO_ACCOUNT) and (ROOT / place).is_file():
            yield ROOT / place


@cache  # stages share most of their code, and parsing it is what takes time
def _read(source: str) -> tuple[str, frozenset[str]]:
    """What a module computes, as text, and the dotted names that it imports."""
    tree = ast.parse(source)
    tree.body = [statement for statement in tree.body if not _declares(statement)]
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [part for part in body if not _is_text(part)]  # type: ignore[attr-defined]
    return ast.dump(tree), frozenset(_imports(tree))


def _imports(node: ast.AST) -> Iterator[str]:
    """The dotted names that a piece of code imports. Where it says `from a import b`, b may be a module too."""
    match node:
        case ast.Import():
            yield from (name.name for name in node.names)
        case ast.ImportFrom():
            module = "." * node.level + (node.module or "")
            if node.module:
                yield module
                module += "."
            yield from (f"{module}{name.name}" for name in node.names)
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):  # never run
            yield from (name for other in node.orelse for name in _imports(other))
        case _:
            yield from (name for child in ast.iter_child_nodes(node) for name in _imports(child))


def _declares(statement: ast.stmt) -> bool:
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)]):
            return name == _DECLARATION
    return False


def _is_text(statement: object) -> bool:
    """Whether it is a docstring, or a string that explains the line above it."""
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
