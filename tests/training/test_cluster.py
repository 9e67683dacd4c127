"""Spark on a cluster: a master with two workers gives what one machine gives, and every way to fail is a sentence."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.errors import ConfigError, MachineError
from contracts.stages import STAGES, SparkConfig
from training.data.spark import spark_session
from training.data.splits import SPLITS
from training.pipeline.request import Run, configurations
from training.running.configuration import load_config
from training.running.execution import execute
from training.running.folder import read_facts
from training.stages import ingest, prepare

from .amazon import row, write
from .recorder import Recorder
from .standalone import Cluster, running_cluster

# pyspark leaves its sockets to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
]

SMALL = {"driver_memory": "512m", "executor_memory": "512m"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "spark-defaults.conf").write_text("spark.sql.shuffle.partitions 4\n")  # not 200, for so few rows
    with pytest.MonkeyPatch.context() as patch, running_cluster(folder) as cluster:
        patch.setenv("SPARK_CONF_DIR", str(folder))
        yield cluster


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of enough rows for several tasks, with duplicates among them."""
    rows = [
        row(review_id=f"R{i % 11_900}", review_body=f"Text number {i % 11_800}, it says.", star_rating=str(1 + i % 5))
        for i in range(12_000)
    ]
    folder = tmp_path_factory.mktemp("reviews")
    source = write(folder / "reviews.tsv", *rows)
    execute(ingest.STAGE, ingest.Config(), {"data": source}, folder / "ingest", Recorder())
    return folder / "ingest"


@pytest.fixture(scope="module")
def local(reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same reviews as this machine prepares them."""
    outputs = tmp_path_factory.mktemp("local") / "prepare"
    execute(prepare.STAGE, prepare.Config(), {"ingest": reviews}, outputs, Recorder())
    return outputs


def contents(prepared: Path) -> dict[str, list[bytes]]:
    """The splits' files, but for their footers: there Java names a column's encodings in whatever order."""
    splits: dict[str, list[bytes]] = {}
    for split in SPLITS:
        files = [file.read_bytes() for file in sorted((prepared / split).glob("*.parquet"))]
        splits[split] = [file[: -8 - int.from_bytes(file[-8:-4], "little")] for file in files]
    return splits


@pytest.mark.parametrize(
    "url",
    ["", "nonsense", "local[0]", "spark://", "spark://host", "spark://host:x", "spark://user:key@host:1", "yarn://x:1"],
)
def test_what_is_no_master_is_one_sentence(url: str) -> None:
    with pytest.raises(
        ConfigError, match=r"master: must be local\[\*\], local\[4\], spark://HOST:PORT, yarn or k8s://"
    ):
        load_config(prepare.Config, "prepare", flags={"master": url})


@pytest.mark.parametrize(
    "url", ["local", "local[2,3]", "spark://a-1.b:7077,c:7077", "spark://[::1]:7077", "yarn", "k8s://https://h:443"]
)
def test_masters_that_there_are(url: str) -> None:
    assert prepare.Config(master=url).master == url


def test_the_master_comes_from_the_environment_a_stages_own_setting_or_the_request(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def chosen(master: str | None = None) -> str:
        made = configurations(Run((), "tiny", "store", tmp_path, master=master), STAGES)
        return str(made["prepare"].master)  # type: ignore[attr-defined]

    assert chosen() == "local[*]"
    monkeypatch.setenv("STARS_SPARK_MASTER", "spark://every:1")
    assert chosen() == "spark://every:1"
    monkeypatch.setenv("STARS_PREPARE_MASTER", "spark://own:1")
    assert chosen() == "spark://own:1"
    assert chosen("spark://asked:1") == "spark://asked:1"


def test_where_the_work_is_done_runs_nothing_anew() -> None:
    elsewhere = prepare.Config(master="yarn", executor_memory="8g", driver_host="me", wait_seconds=1)
    assert elsewhere.model_dump() == prepare.Config().model_dump()


@pytest.mark.parametrize("host", ["127.0.0.1:9", "no-such-host.invalid:7077"])
def test_a_master_that_is_not_there_is_said_at_once(host: str, tmp_path: Path) -> None:
    said = pytest.raises(MachineError, match=rf"the Spark master spark://{host} cannot be reached \(.+\): start it")
    with said, spark_session("test", tmp_path, tmp_path / "log", SparkConfig(master=f"spark://{host}")):
        raise AssertionError("it started")


def test_yarn_asks_for_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HADOOP_CONF_DIR", raising=False)
    monkeypatch.delenv("YARN_CONF_DIR", raising=False)
    said = pytest.raises(MachineError, match="needs HADOOP_CONF_DIR: set it")
    with said, spark_session("test", tmp_path, tmp_path / "log", SparkConfig(master="yarn")):
        raise AssertionError("it started")


@pytest.mark.slow
def test_what_listens_there_and_is_no_master_is_given_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        config = SparkConfig(master=f"spark://127.0.0.1:{silent.getsockname()[1]}", wait_seconds=8, **SMALL)
        said = pytest.raises(MachineError, match="did not answer within 8 seconds: check that a Spark 3.5 runs there")
        with said, spark_session("test", tmp_path / "scratch", tmp_path / "log", config):
            raise AssertionError("it started")


@pytest.mark.slow
def test_two_workers_of_which_one_dies_in_the_middle_give_what_one_machine_gives(
    cluster: Cluster, reviews: Path, local: Path, tmp_path: Path
) -> None:
    worker = cluster.processes[-1]
    lost: list[int] = []

    class Killer(Recorder):
        def progress(self, fraction: float, message: str) -> None:
            super().progress(fraction, message)
            if "quarantine" in message:  # the rows lie in the executors, half of them in this one's
                for process in [worker, *cluster.executors(worker)]:
                    os.kill(process.pid, signal.SIGKILL)
                    lost.append(process.pid)

    outputs = tmp_path / "prepare"
    config = prepare.Config(master=cluster.url, **SMALL)
    facts = execute(prepare.STAGE, config, {"ingest": reviews}, outputs, Killer())
    assert len(lost) == 2, "it had no executor, or several"
    cluster.add_worker()
    assert contents(outputs) == contents(local)
    assert facts["splits"] == read_facts(local)["splits"]
    assert facts["fingerprint"] == read_facts(local)["fingerprint"]
    assert cluster.applications() == []


@pytest.mark.slow
def test_a_folder_that_only_executors_see_is_said(
    cluster: Cluster, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each process means another folder by this one, as machines do that share none."""
    monkeypatch.chdir(tmp_path)
    outputs = Path("/proc/self/cwd/prepare")
    with pytest.raises(MachineError, match=r"an executor of spark:.* (cannot write to|wrote to) .*: choose a folder"):
        execute(prepare.STAGE, prepare.Config(master=cluster.url, **SMALL), {"ingest": reviews}, outputs, Recorder())
    assert not (tmp_path / "prepare" / "facts.json").exists()


@pytest.mark.slow
def test_no_room_on_the_cluster_is_said(cluster: Cluster, tmp_path: Path) -> None:
    config = SparkConfig(master=cluster.url, driver_memory="512m", executor_memory="900g", wait_seconds=20)
    said = pytest.raises(MachineError, match="gave no executor of 900g within 20 seconds: free some room")
    with said, spark_session("test", tmp_path / "scratch", tmp_path / "log", config):
        raise AssertionError("it started")
    assert cluster.applications() == []


OTHER = """#!{python}
import collections, runpy, sys
sys.version_info = collections.namedtuple("Version", "major minor micro releaselevel serial")(3, 99, 0, "final", 0)
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[1], run_name="__main__", alter_sys=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("python", "sentence"), [(OTHER, "another version than this one"), ("", "lack the Python")])
def test_another_python_on_the_cluster_is_said(cluster: Cluster, tmp_path: Path, python: str, sentence: str) -> None:
    path = tmp_path / "python"
    if python:
        path.write_text(python.format(python=sys.executable))
        path.chmod(0o755)
    config = SparkConfig(master=cluster.url, executor_python=str(path), **SMALL)
    said = pytest.raises(MachineError, match=f"{sentence}.*STARS_SPARK_EXECUTOR_PYTHON: its log is")
    with said, spark_session("test", tmp_path / "scratch", tmp_path / "log", config) as spark:
        spark.sparkContext.parallelize([1], 1).map(str).collect()


@pytest.mark.slow
def test_ctrl_c_leaves_no_application_on_the_master(cluster: Cluster, reviews: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "training",
        "prepare",
        "--input",
        f"ingest={reviews}",
        "--output",
        str(tmp_path / "p"),
    ]
    environment = os.environ | {f"STARS_SPARK_{name}".upper(): text for name, text in SMALL.items()}
    environment["STARS_SPARK_MASTER"] = cluster.url
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            deadline = time.monotonic() + 120
            while cluster.applications() != ["prepare"]:
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.2)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert said.splitlines()[-1] == "interrupted: run the same command again to go on"
    while cluster.applications():
        assert time.monotonic() < deadline
        time.sleep(0.2)
