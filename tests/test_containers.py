"""Dockerfile, docker-compose.yml and what they name agree with each other and with the program, without an engine.

tests/compose runs them.
"""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import make_secrets
import pytest
import yaml

from service.metrics import Metrics

ROOT = Path(__file__).resolve().parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
EXAMPLES = ROOT / "infra/compose/example-secrets"
MARK = "example-for-this-machine-only"


def _pinned(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==([^\s;\\]+)", (ROOT / lock).read_text(), re.MULTILINE))


def test_the_images_get_what_the_lock_has() -> None:
    everywhere = _pinned("requirements.lock")
    for name in ("gateway", "torchserve", "training"):
        pinned = _pinned(f"infra/images/{name}.lock")
        assert pinned and pinned.items() <= everywhere.items(), name
        assert "torch" not in pinned and not [each for each in pinned if re.match("nvidia|cuda|triton", each)], name
    assert f"ARG TORCH={everywhere['torch']}\n" in (ROOT / "Dockerfile").read_text()


def test_the_gateway_needs_nothing_that_its_image_leaves_out() -> None:
    absent = _pinned("requirements-serve.lock").keys() - _pinned("infra/images/gateway.lock").keys()
    modules = {module for module, owners in packages_distributions().items() if {o.lower() for o in owners} <= absent}
    assert {"numpy", "safetensors", "torch", "yaml"} <= modules
    code = f"""if True:
        import importlib, pkgutil, sys
        sys.modules |= dict.fromkeys({sorted(modules)})
        for package in map(importlib.import_module, ("contracts", "service")):
            for module in pkgutil.walk_packages(package.__path__, f"{{package.__name__}}."):
                module.name.endswith("__main__") or importlib.import_module(module.name)
    """
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_every_package_in_an_image_has_a_hash() -> None:
    for lock in ROOT.glob("infra/images/*.lock"):
        requirements = re.split(r"^(?=\w)", lock.read_text(), flags=re.MULTILINE)[1:]
        assert requirements and all("--hash=sha256:" in each for each in requirements), lock.name


def test_images_are_made_from_what_is_named_and_from_one_base() -> None:
    assert [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] not in "#!"] == [
        "*",
        "**/__pycache__",
    ]
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert "# syntax" not in dockerfile
    stages = set(re.findall(r"^FROM \S+ AS (\S+)", dockerfile, re.MULTILINE))
    assert set(re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)) <= stages | {"scratch", "${BASE}"}


def test_nobody_elses_image_runs_under_our_names() -> None:
    """A name without a registry is Docker Hub's."""
    for name, service in COMPOSE["services"].items():
        assert (service["pull_policy"] == "never") == service["image"].startswith("review-stars/"), name


def test_the_example_secrets_are_of_the_form_that_is_made() -> None:
    expected = make_secrets.contents(lambda purpose: f"{MARK}-{purpose}")
    assert {file.name: file.read_text() for file in EXAMPLES.iterdir()} == expected
    assert expected.keys() == COMPOSE["secrets"].keys()
    for text in expected.values():
        assert MARK in text


def test_secrets_are_made_once_and_are_nobody_elses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".env").write_text("STARS_PORT=9000\n")
    make_secrets.main(tmp_path)
    made = {file.name: file.read_text() for file in (tmp_path / "secrets").iterdir()}
    assert made.keys() == COMPOSE["secrets"].keys() and not [name for name in made if MARK in made[name]]
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    assert (tmp_path / ".env").read_text() == "STARS_PORT=9000\nSTARS_SECRETS=./secrets\n"
    make_secrets.main(tmp_path)
    assert {file.name: file.read_text() for file in (tmp_path / "secrets").iterdir()} == made
    assert "kept" in capsys.readouterr().out


def test_what_can_be_set_is_told_with_its_default() -> None:
    """.env.example has every variable of docker-compose.yml, and no other."""
    used = dict(re.findall(r"\$\{(STARS_\w+):-([^}]*)\}", (ROOT / "docker-compose.yml").read_text()))
    told = dict(re.findall(r"^#(STARS_\w+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert used.keys() == told.keys()
    assert {name for name in used if used[name] != told[name]} == {"STARS_SECRETS", "STARS_WHEELS"}


def test_only_loopback_is_published_unless_asked() -> None:
    published = {name: each["ports"] for name, each in COMPOSE["services"].items() if "ports" in each}
    assert published.keys() == {"gateway", "balancer", "grafana"}
    for ports in published.values():
        for port in ports:
            assert port.startswith(("${STARS_PUBLISH:-127.0.0.1}:", "127.0.0.1:"))


def test_what_is_watched_is_measured() -> None:
    """Every metric in an alert or on the dashboard is one of the gateway's or of Prometheus' own."""
    metrics = Metrics()
    metrics.watch_queue(float, float)
    metrics.watch_connections(float)
    metrics.watch_behind(bool)
    known = set(re.findall(r"^# TYPE (\w+)", metrics.render().decode(), re.MULTILINE)) | {"up", "ALERTS"}
    known |= {f"{name}_bucket" for name in known}
    rules = yaml.safe_load((ROOT / "infra/compose/prometheus/alerts.yml").read_text())["groups"][0]["rules"]
    panels = json.loads((ROOT / "infra/compose/grafana/dashboards/review-stars.json").read_text())["panels"]
    asked = [rule["expr"] for rule in rules] + [target["expr"] for panel in panels for target in panel["targets"]]
    for expression in asked:
        used = set(re.findall(r"\b(stars_\w+|process_\w+|up|ALERTS)\b", re.sub(r"\(stars\)|\{[^}]*\}", "", expression)))
        assert used and used <= known, expression
    pages = {path for rule in rules for path in re.findall(r"docs/[\w-]+\.md", rule["annotations"]["description"])}
    assert all((ROOT / page).exists() for page in pages)


def test_the_extras_of_the_images_are_there() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    used = re.findall(r"--extra (\w+)", "".join(re.findall(r"IMAGE_LOCK\).*", (ROOT / "Makefile").read_text())))
    assert used and set(used) <= extras.keys()
