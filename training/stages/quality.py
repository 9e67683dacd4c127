"""May this data be trained on? Measured by Deequ or by Spark alone, and held to rules that a person can edit."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from contracts.errors import GateError
from contracts.release.manifest import Name
from contracts.release.published import MODEL_NAME
from contracts.settings import Home
from contracts.stages import SparkConfig
from contracts.store.urls import open_store
from training.data.spark import spark_session
from training.quality.check import check
from training.quality.choice import EngineName, choose
from training.quality.history import MetricsHistory
from training.quality.report import MARKDOWN, broken_table, headline, sentences, write_reports
from training.quality.rules_file import DEFAULT_RULES, read_rules
from training.running.reporting import Reporter
from training.running.stage import Stage

RULES = "rules"


class QualityConfig(SparkConfig):
    """How a data set is checked. A retraining cannot change it: what stops bad data is the operator's."""

    engine: EngineName = Field("auto", description="deequ, spark, or auto: deequ where its jar can be had")
    rules: str = Field("", description="a YAML file of rules; empty is training/quality/rules.yaml")
    jar: str = Field(
        "",
        exclude=True,
        description="Deequ's jar, a file or a URL; empty looks in the state folder, then at Maven Central",
    )
    store: str = Field("", description="store with the metrics of earlier runs to compare with; empty keeps none")
    name: Name = Field(MODEL_NAME, description="the runs to compare with are those of this model")

    @field_validator("rules")
    @classmethod
    def _readable(cls, rules: str) -> str:
        """Said before any stage works. Raises ConfigError."""
        if rules:
            read_rules(Path(rules))
        return rules


Config = QualityConfig


def named_inputs(config: Config, _inputs: Mapping[str, Path]) -> dict[str, Path]:
    """The rules: what is in the file counts, not what it is called."""
    return {RULES: Path(config.rules) if config.rules else DEFAULT_RULES}


def run(config: Config, inputs: Mapping[str, Path], outputs: Path, report: Reporter) -> dict[str, Any]:
    """Input `ingest`: a data set. Writes report.json, report.md and suggestions.yaml.

    What was measured of good data is added to the history. Raises GateError when a rule of level error is broken: what
    was found is written all the same.
    """
    rules = read_rules(inputs[RULES])
    choice = choose(config.engine, config.jar, Home.default().jars)
    history = MetricsHistory(open_store(config.store), config.name) if config.store else None
    past = history.runs() if history else []
    scratch = outputs / ".spark"
    more = {"spark.jars": str(choice.jar)} if choice.jar else {}
    try:
        with spark_session("quality", scratch, outputs / "spark.log", config, more) as spark:
            checked = check(spark, inputs["ingest"], rules, choice, past, report)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    write_reports(checked, outputs)
    errors, warnings = checked.broken("error"), checked.broken("warning")
    if errors:
        for line in broken_table([*errors, *warnings]).splitlines():
            report.log(line)
        raise GateError(
            f"the data must not be trained on: {sentences(errors)}. See {outputs / MARKDOWN}, "
            "then mend the data, or the rules (quality.rules)"
        )
    if history:
        history.add(checked.engine, checked.metrics)
    return {
        "rows": checked.size,
        "engine": checked.engine,
        "quality": {"said": headline(checked), "warnings": [sentences([each]) for each in warnings]},
    }


def remarks(facts: Mapping[str, Any], outputs: Path) -> list[str]:
    """What was found, warnings among it."""
    found = facts["quality"]
    return [f"{found['said']}: see {outputs / MARKDOWN}", *(f"warning: {said}" for said in found["warnings"])]


STAGE = Stage(
    name="quality",
    config=Config,
    run=run,
    needs=("ingest",),
    reads=(RULES,),
    share=0.03,
    summary=("quality",),
    named_inputs=named_inputs,
    remarks=remarks,
)
