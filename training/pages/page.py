"""HTML pages that need nothing else: no network, no script. Light and dark, on a phone and on paper."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import jinja2

from contracts.errors import ConfigError, MachineError
from training.pages.colours import variables
from training.pages.plots import short
from training.pages.words import percent
from training.running.folder import write_whole

STYLE = Path(__file__).with_name("style")
PLOTS = STYLE / "plots.css"
"""For what style/plots.html.j2 draws."""


def write_page(out: Path, template: Path, style: Path, **values: Any) -> None:
    """Fill a template, which extends style/page.html.j2, and write it whole. `style` is its own CSS.

    Raises MachineError where there is no room for it.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, STYLE]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "short": short,
        "percent": percent,
        "kind": lambda value: type(value).__name__,
        "capitalise": lambda text: text[:1].upper() + text[1:],
    }
    css = variables() + "".join(sheet.read_text(encoding="utf-8") for sheet in (STYLE / "page.css", style))
    html = environment.get_template(template.name).render(css=css, **values)
    try:
        write_whole(out, html)
    except OSError as error:
        out.with_name(f"{out.name}.partial").unlink(missing_ok=True)
        raise MachineError(
            f"{out} cannot be written: {error.strerror}. Free some space or name another file"
        ) from error


def check_writable(out: Path) -> None:
    """Raises ConfigError for a file that cannot be made, so that nobody waits for it in vain."""
    if out.is_dir() or not os.access(out.parent, os.W_OK):
        raise ConfigError(f"{out} cannot be written: name a file in a folder that is there and may be written to")
