"""Draw into docs/architecture.md who imports whom, as the code is now: `make picture`.

One picture for the four packages and one for the rooms of each. What reaches another room through a third has no arrow
of its own, so that the pictures can be read; the order stays. tests/test_architecture.py holds the page to the code.
"""

from __future__ import annotations

import re
from pathlib import Path

from grimp import ImportGraph, build_graph

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/architecture.md"
PACKAGES = ("contracts", "service", "torchserve", "training")

_DRAWN = re.compile(r"(?<=<!-- make picture -->\n).*?(?=<!-- until here -->)", re.DOTALL)

Arrows = set[tuple[str, str]]


def rewritten(page: str) -> str:
    """The page with today's pictures. Raises ValueError where it has no place for them."""
    graph = build_graph(*PACKAGES, cache_dir=None)
    pictures = [_picture(graph, list(PACKAGES))]
    pictures += [f"### {package}\n\n" + _picture(graph, sorted(graph.find_children(package))) for package in PACKAGES]
    page, places = _DRAWN.subn("\n" + "\n".join(pictures) + "\n", page)
    if places != 1:
        raise ValueError(f"{PAGE.name} has {places} places for the pictures")
    return page


def _picture(graph: ImportGraph, modules: list[str]) -> str:
    """A mermaid flowchart, importers above what they import. Folders are boxes, files are round."""
    arrows = {
        (importer, imported)
        for importer in modules
        for imported in modules
        if importer != imported and graph.direct_import_exists(importer=importer, imported=imported, as_packages=True)
    }
    lines = [f"    {_id(module)}{_label(graph, module)}" for module in modules]
    lines += [f"    {_id(importer)} --> {_id(imported)}" for importer, imported in sorted(_direct(arrows))]
    return "\n".join(["```mermaid", "flowchart TD", *lines, "```", ""])


def _id(module: str) -> str:
    return module.replace(".", "_")


def _label(graph: ImportGraph, module: str) -> str:
    name = module.rpartition(".")[2]
    return f'["{name}/"]' if graph.find_children(module) else f'("{name}")'


def _direct(arrows: Arrows) -> Arrows:
    """The arrows without those that only shorten a way of several: the transitive reduction."""
    return {
        (start, end)
        for start, end in arrows
        if not any(end in _reached(arrows, through) for first, through in arrows if first == start and through != end)
    }


def _reached(arrows: Arrows, start: str) -> set[str]:
    """`start` and where its arrows lead, further ones included."""
    reached = {start}
    while further := {end for first, end in arrows if first in reached} - reached:
        reached |= further
    return reached


if __name__ == "__main__":
    PAGE.write_text(rewritten(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
