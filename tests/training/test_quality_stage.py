"""The stage and its command as they are run: what stops a pipeline, what it says, and that every process ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import GateError, MachineError, StarsError, StoreError
from contracts.jobs.retrain import Retrain
from contracts.validation import what_is_wrong
from training.pipeline.plan import plan
from training.running.execution import execute
from training.stages import quality

from . import amazon, lakes
from .jars import JAR, with_jar
from .recorder import Recorder
from .test_export import largest_file

pytestmark = [
    pytest.mark.slow,
    # pyspark leaves its sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]

PATIENCE = 400.0


def run(lake: Path, outputs: Path, **settings: Any) -> tuple[dict[str, Any] | StarsError, list[str]]:
    """The facts or the error, and what was said."""
    report = Recorder()
    try:
        return execute(
            quality.STAGE, quality.Config(**{"engine": "spark"} | settings), {"ingest": lake}, outputs, report
        ), report.lines
    except StarsError as error:
        return error, report.lines


def stars(*arguments: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "contracts.cli", *arguments]
    surroundings = os.environ | {"STARS_HOME": str(home)} | environment
    return subprocess.run(command, env=surroundings, capture_output=True, text=True, timeout=PATIENCE, check=False)


def test_it_stands_between_ingest_and_prepare_whose_result_it_does_not_change() -> None:
    assert list(plan())[:3] == ["ingest", "quality", "prepare"]
    assert "quality" not in plan()["prepare"].needs


def test_good_data_is_remembered_and_compared_with_and_unchanged_data_is_not_measured_again(tmp_path: Path) -> None:
    lake, store = lakes.good(tmp_path / "lake"), str(tmp_path / "store")
    facts, _ = run(lake, tmp_path / "first", store=store)
    assert isinstance(facts, dict) and facts["rows"] == 400
    assert "no earlier run" in (tmp_path / "first" / "report.md").read_text()
    _, said = run(lake, tmp_path / "first", store=store)
    assert said[0] == "quality: unchanged, skipped"
    assert said[1].startswith(
        "400 reviews measured by spark (asked for): 21 rules, 0 broken, 2 warnings, no earlier run"
    )
    assert said[2] == "warning: size is 400 where at least 1,000 is wanted"
    bombed = lakes.write_lake(
        tmp_path / "bombed", [lakes.review(n) | {"star_rating": 1 if n % 9 else n % 5 + 1} for n in range(1, 401)]
    )
    facts, said = run(bombed, tmp_path / "second", store=store)
    assert isinstance(facts, dict)
    assert any(line.endswith(f"compared with 1 earlier run: see {tmp_path / 'second' / 'report.md'}") for line in said)
    warned = {line.split(" is ")[0] for line in said if line.startswith("warning: ")}
    assert {"warning: mean_stars_change", "warning: star_distribution_change"} <= warned


def test_a_broken_rule_is_one_sentence_with_its_rows_and_leaves_no_trace_in_the_history(tmp_path: Path) -> None:
    lake, store = lakes.faulty(tmp_path / "lake"), tmp_path / "store"
    error, said = run(lake, tmp_path / "quality", store=str(store))
    assert isinstance(error, GateError) and error.exit_code == 3
    for part in (
        "the data must not be trained on: ",
        "stars is 0.975 where at least 1 is wanted (8 rows, such as row 10, 12, 13, 14, 15 of reviews.tsv)",
        "rows_per_star is 0 where at least 5 with 2 stars, the rarest is wanted;",
        f"See {tmp_path / 'quality' / 'report.md'}",
    ):
        assert part in str(error)
    assert any(line.startswith("| stars | error | 0.975 |") for line in said)
    assert lakes.SECRET not in str(error) + "".join(said)
    assert not store.exists() or not list(store.rglob("*.json"))


@pytest.mark.parametrize("rows", [0, 10])
def test_too_few_rows_are_a_broken_rule_and_no_crash(tmp_path: Path, rows: int) -> None:
    lake = lakes.write_lake(tmp_path / "lake", [lakes.review(n) for n in range(1, rows + 1)], [(99, ["empty_body"])])
    error, _ = run(lake, tmp_path / "quality")
    assert isinstance(error, GateError)
    assert f"size is {rows} where at least 50 is wanted" in str(error)


def test_three_columns_in_a_file_break_no_rule_by_what_they_lack(tmp_path: Path) -> None:
    file = tmp_path / "shop.csv"
    rows = [f"{n % 5 + 1},{'good' if n % 4 == 0 else f'Number {n} did what it says'},Toys" for n in range(400)]
    file.write_text("\n".join(["stars,text,category", *rows]))
    done = stars("data", "check", "--data", str(file), "--out", str(tmp_path / "out"), "--json", home=tmp_path / "home")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {rule["title"] for rule in found["rules"] if not rule["kept"]} == {"size", "rows_per_star", "duplicates"}
    assert (tmp_path / "out" / "suggestions.yaml").is_file()
    assert [path.name for path in (tmp_path / "home" / "quality").iterdir()] != []


@pytest.mark.shared
@with_jar
def test_both_engines_find_the_planted_faults_and_end(tmp_path: Path) -> None:
    lake = lakes.faulty(tmp_path / "lake")
    found = {}
    for engine in ("spark", "deequ"):
        done = stars(
            "data",
            "check",
            "--data",
            str(lake),
            "--engine",
            engine,
            "--json",
            home=tmp_path / "home",
            STARS_QUALITY_JAR=str(JAR),
        )
        assert done.returncode == 3, done.stderr
        assert "Traceback" not in done.stderr and "ERROR" not in done.stderr, done.stderr
        found[engine] = json.loads(done.stdout)
        assert found[engine].pop("engine") == engine
    metrics = {
        engine: {(each["analyzer"], each["column"], each["part"]): each["value"] for each in report["metrics"]}
        for engine, report in found.items()
    }
    assert metrics["deequ"] == pytest.approx(metrics["spark"])
    verdicts = {
        engine: [(rule["title"], rule["kept"], rule["rows"], rule["places"]) for rule in report["rules"]]
        for engine, report in found.items()
    }
    assert verdicts["deequ"] == verdicts["spark"]


def test_a_history_from_a_newer_version_ends_the_stage_before_it_measures(tmp_path: Path) -> None:
    file = tmp_path / "store" / "quality" / "review-stars.json"
    file.parent.mkdir(parents=True)
    file.write_text('{"schema_version": 2, "runs": []}')
    error, _ = run(lakes.good(tmp_path / "lake"), tmp_path / "quality", store=str(tmp_path / "store"))
    assert isinstance(error, StoreError) and "newer version" in str(error)
    assert not (tmp_path / "quality" / "spark.log").exists()


def test_no_java_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    error, _ = run(lakes.good(tmp_path / "lake"), tmp_path / "quality")
    assert isinstance(error, MachineError) and "has no bin/java" in str(error)


def test_a_full_disk_is_one_sentence_and_the_next_run_goes_on(tmp_path: Path) -> None:
    lake, store = lakes.good(tmp_path / "lake"), str(tmp_path / "store")
    with largest_file(2_000):
        error, _ = run(lake, tmp_path / "quality", store=store)
    assert isinstance(error, MachineError), error
    assert "\n" not in str(error)
    assert not (tmp_path / "quality" / "facts.json").exists()
    facts, _ = run(lake, tmp_path / "quality", store=store)
    assert isinstance(facts, dict)


def test_ctrl_c_ends_it_with_one_sentence(tmp_path: Path) -> None:
    lake, work = lakes.good(tmp_path / "lake"), tmp_path / "work"
    command = [sys.executable, "-m", "training", "quality", "--input", f"ingest={lake}", "--output", str(work)]
    process = subprocess.Popen(
        [*command, "--set", "engine=spark"],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + PATIENCE
    while not (work / ".spark").is_dir():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, said
    assert "interrupted: run the same command again to go on" in said and "Traceback" not in said
    assert not (work / "facts.json").exists() and not (work / ".spark").exists()


def test_a_pipeline_ends_before_any_training_and_says_why_to_the_job(tmp_path: Path) -> None:
    rows = [amazon.row(review_id=f"R{n}", review_body=f"Text {n}", star_rating=f"{n % 4 + 1}") for n in range(60)]
    file = amazon.write(tmp_path / "reviews.tsv", *rows, amazon.row(star_rating="9"))
    command = [sys.executable, "-m", "training.pipeline", "--events", "-", "--preset", "tiny", f"--data={file}"]
    command += [f"--store={tmp_path / 'store'}", f"--work={tmp_path / 'work'}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 3, done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["event"] == "error"
    assert "rows_per_star is 0 where at least 5 with 5 stars, the rarest is wanted" in last["message"]
    assert not (tmp_path / "work" / "prepare").exists()


def test_a_retraining_cannot_change_the_rules() -> None:
    from pydantic import ValidationError

    with pytest.raises(ValidationError) as raised:
        Retrain.model_validate({"data": "reviews.tsv", "overrides": {"quality": {"rules": "mine.yaml"}}})
    assert "quality" not in what_is_wrong(raised.value, Retrain, "the request").split(";")[0]
