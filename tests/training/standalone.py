"""A real Spark standalone cluster on loopback, made of pyspark's own classes: a master and its workers."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pyspark
import pytest

from training.data.spark import java_home

SPARK_HOME = Path(pyspark.__file__).parent
START_SECONDS = 60
EXECUTOR = "CoarseGrainedExecutorBackend"


@dataclass
class Cluster:
    """Its master's URL, the address of the master's page, and the processes: the master, then the workers."""

    folder: Path
    url: str = ""
    page: str = ""
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def state(self) -> dict[str, Any]:
        """What the master says of its workers and applications."""
        state: dict[str, Any] = httpx.get(f"{self.page}/json/", trust_env=False).json()
        return state

    def applications(self) -> list[str]:
        """The names of those that are running."""
        return [each["name"] for each in self.state()["activeapps"]]

    def add_worker(self, memory: str = "1g") -> subprocess.Popen[bytes]:
        """A worker with one core, known to the master when this returns."""
        known = self.state()["aliveworkers"]
        number = len(self.processes)
        work = self.folder / f"worker-{number}"
        arguments = ["--host", "127.0.0.1", "--webui-port", "0", "--cores", "1", "--memory", memory, "-d", str(work)]
        process = self._start("worker.Worker", number, *arguments, self.url)
        deadline = time.monotonic() + START_SECONDS
        while self.state()["aliveworkers"] == known:
            if time.monotonic() > deadline:
                pytest.fail(f"a worker did not start:\n{self._log(number)}")
            time.sleep(0.1)
        return process

    def executors(self, worker: subprocess.Popen[bytes]) -> list[psutil.Process]:
        """The Java processes that a worker has started for applications."""
        children = psutil.Process(worker.pid).children()
        return [each for each in children if EXECUTOR in " ".join(each.as_dict(["cmdline"], [])["cmdline"] or [])]

    def start_master(self) -> None:
        process = self._start("master.Master", 0, "--host", "127.0.0.1", "--port", "0", "--webui-port", "0")
        deadline = time.monotonic() + START_SECONDS
        while not (self.url and self.page):
            if time.monotonic() > deadline or process.poll() is not None:
                pytest.fail(f"the master did not start:\n{self._log(0)}")
            time.sleep(0.1)
            if found := re.search(r"Starting Spark master at (\S+)", self._log(0)):
                self.url = found[1]
            if found := re.search(r"MasterWebUI.* at (http://\S+)", self._log(0)):
                self.page = found[1]

    def stop(self) -> None:
        for process in self.processes:
            below = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
            for each in [process, *below]:
                each.kill()
            process.wait()
            psutil.wait_procs(below, timeout=10)

    def _start(self, role: str, number: int, *arguments: str) -> subprocess.Popen[bytes]:
        environment = os.environ | {
            "JAVA_HOME": java_home(),
            "SPARK_HOME": str(SPARK_HOME),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_DAEMON_MEMORY": "256m",
            "SPARK_LOCAL_DIRS": str(self.folder / f"scratch-{number}"),
        }
        # What it starts is found by looking below it: the test that starts it may be killed with its whole group.
        command = [str(SPARK_HOME / "bin" / "spark-class"), f"org.apache.spark.deploy.{role}", *arguments]
        with (self.folder / f"{number}.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=self.folder)
        self.processes.append(process)
        return process

    def _log(self, number: int) -> str:
        return (self.folder / f"{number}.log").read_text(errors="replace")


@contextmanager
def running_cluster(folder: Path, workers: int = 2) -> Iterator[Cluster]:
    """Master and workers; nothing of them is left afterwards."""
    cluster = Cluster(folder)
    try:
        cluster.start_master()
        for _ in range(workers):
            cluster.add_worker()
        yield cluster
    finally:
        cluster.stop()
