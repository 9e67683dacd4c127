"""A run whose store is away, on a real S3 server: it waits, says so, and goes on; what is wrong is said at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import StoreAway, StoreError
from contracts.store.urls import open_store
from training.pipeline import local
from training.pipeline.plan import plan
from training.pipeline.request import Run
from training.running.reporting import Listener, Reporter
from training.running.stage import Stage

from ..contracts.proxy import Proxy, proxied

EXAMPLES = Path(__file__).parents[2] / "examples" / "reviews.tsv"
LONG = 300.0
"""Seconds: a test that waits for so long has failed."""


class Waiting(Listener):
    """It hears what a run says, and brings the store back once it is waited for."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.stages: list[str] = []
        self.waited: list[tuple[str, str]] = []

    def stage(self, stage: str) -> None:
        self.stages.append(stage)

    def progress(self, stage: str, overall: float, message: str) -> None:
        if message.startswith("waiting for the store"):
            self.waited.append((stage, message))
            self.proxy.down = False


@pytest.fixture
def proxy(s3_server: Any, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    with proxied(s3_server.endpoint) as found:
        monkeypatch.setenv("AWS_ENDPOINT_URL", found.endpoint)
        yield found


@pytest.fixture
def stages(proxy: Proxy, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, Stage]:
    """The plan, whose stages do nothing but the last one: it writes to the store, which goes away as it begins."""
    last = list(plan())[-1]

    def run(_config: Any, _inputs: Mapping[str, Path], outputs: Path, _report: Reporter) -> dict[str, Any]:
        if outputs.name == last:
            proxy.down = not (outputs / "begun").exists()
            (outputs / "begun").touch()
            open_store(bucket).write("done", b"")
        return {}

    stand_ins = {
        name: Stage(name, stage.config, run, needs=stage.needs, reads=stage.reads) for name, stage in plan().items()
    }
    monkeypatch.setattr(local, "plan", lambda: stand_ins)
    return stand_ins


def test_a_run_waits_for_its_store_as_it_begins_and_as_it_ends(
    stages: Mapping[str, Stage], proxy: Proxy, bucket: str, tmp_path: Path
) -> None:
    """The store was away for a minute, and an hour's training failed."""
    proxy.down = True
    listener = Waiting(proxy)
    facts = local.run(Run((EXAMPLES,), "tiny", bucket, tmp_path / "work", patience=LONG), listener)
    assert listener.stages == list(stages) == list(facts)
    assert {stage for stage, _ in listener.waited} == {listener.stages[0], listener.stages[-1]}
    assert all("5 minutes at most" in said and "cannot be reached" in said for _, said in listener.waited)
    assert open_store(bucket).list("") == ["done"]


def test_it_waits_no_longer_than_it_may(proxy: Proxy, bucket: str, tmp_path: Path) -> None:
    proxy.down = True
    listener = Waiting(proxy)
    with pytest.raises(StoreAway, match="cannot be reached"):
        local.run(Run((EXAMPLES,), "tiny", bucket, tmp_path / "work"), listener)
    assert not listener.stages and not listener.waited


@pytest.mark.parametrize(
    ("key", "name", "told"),
    [
        ("owner", "nowhere", "there is no bucket nowhere"),
        ("reader", "stars", "does not allow"),
        ("nobody", "stars", "refuses the credentials"),
    ],
)
def test_what_is_wrong_is_said_at_once(
    key: str, name: str, told: str, s3_server: Any, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in s3_server.environment(proxy.endpoint, key).items():
        monkeypatch.setenv(variable, value)
    listener = Waiting(proxy)
    with pytest.raises(StoreError, match=told):
        local.run(Run((EXAMPLES,), "tiny", f"s3://{name}/x", tmp_path / "work", patience=LONG), listener)
    assert not listener.stages and not listener.waited
