"""The plan: computed from what the stages declare, and light to read."""

from __future__ import annotations

import subprocess
import sys
from graphlib import CycleError
from pathlib import Path

import pytest

from contracts.stages import StageConfig
from training.pipeline.plan import in_order, plan
from training.running.stage import Stage

STAGES = Path(__file__).parents[2] / "training/stages"
HEAVY = ("tensorflow", "keras", "torch", "transformers", "pyspark", "mlflow", "sklearn", "pandas")


def declared(name: str, *needs: str) -> Stage:
    return Stage(name, StageConfig, lambda *_: {}, needs=needs)


def test_a_stage_comes_after_those_that_it_needs_in_whatever_order_they_are_listed() -> None:
    stages = [declared("export", "train", "prepare"), declared("train", "prepare"), declared("prepare")]
    assert list(in_order(stages)) == ["prepare", "train", "export"]


def test_stages_that_need_nothing_of_each_other_keep_their_order() -> None:
    assert list(in_order([declared("quality"), declared("explore"), declared("prepare")])) == [
        "quality",
        "explore",
        "prepare",
    ]


def test_a_plan_that_cannot_be_run_is_no_plan() -> None:
    with pytest.raises(CycleError):
        in_order([declared("one", "two"), declared("two", "one")])
    with pytest.raises(KeyError):
        in_order([declared("one", "another")])


def test_the_plan_holds_every_stage_there_is() -> None:
    assert plan().keys() == {file.stem for file in STAGES.glob("*.py")} - {"__init__"}
    for name, stage in plan().items():
        assert (stage.name, stage.run.__module__) == (name, f"training.stages.{name}")
    order = list(plan())
    assert all(order.index(need) < order.index(name) for name, stage in plan().items() for need in stage.needs)


def test_the_plan_is_read_without_loading_a_framework() -> None:
    code = f"""
import sys
from training.pipeline.plan import plan
print([[s.name, s.needs, s.share, s.spent] for s in plan().values()] and [m for m in {HEAVY} if m in sys.modules])
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
