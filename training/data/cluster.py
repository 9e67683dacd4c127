"""What a Spark cluster needs beyond a session on one machine: an address, our code, folders that all see."""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

from contracts.errors import MachineError
from contracts.installation import ROOT
from contracts.stages import SparkConfig

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

CONNECT_SECONDS = 5
VISIBLE_SECONDS = 5
"""How long a network folder may take to show here what another machine has written."""

_ADDRESS = re.compile(r"\[?([^/,\[\]]+?)\]?:(\d+)(?:,|$)")


def is_local(master: str) -> bool:
    """Whether all of Spark is in one process on this machine."""
    return master.startswith("local")


def cluster_settings(config: SparkConfig) -> dict[str, str]:
    """Spark's own settings for a master that is not local.

    Raises MachineError when the master is not there: Spark itself would ask again for a minute, and YARN for fifteen.
    """
    chosen = {"spark.executor.memory": config.executor_memory}
    if config.master == "yarn" and not os.environ.keys() & {"HADOOP_CONF_DIR", "YARN_CONF_DIR"}:
        raise MachineError("the Spark master yarn needs HADOOP_CONF_DIR: set it to the folder of the cluster's files")
    here = _own_address(config.master) if config.master.startswith("spark://") else None
    if config.driver_host:
        # An address that only others know this machine by cannot be bound to.
        return chosen | {"spark.driver.host": config.driver_host, "spark.driver.bindAddress": "0.0.0.0"}  # noqa: S104
    return chosen | ({"spark.driver.host": here} if here else {})


def _own_address(master: str) -> str:
    """The address of this machine on its way to the first of the masters that answers."""
    reason: object = None
    for host, port in _ADDRESS.findall(master.removeprefix("spark://")):
        try:
            with socket.create_connection((host, int(port)), CONNECT_SECONDS) as connection:
                return str(connection.getsockname()[0])
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
    raise MachineError(f"the Spark master {master} cannot be reached ({reason}): start it, or name another")


@contextmanager
def answering(config: SparkConfig, java: Any, log: Path) -> Iterator[None]:
    """End Java when the master has not answered in time. Raises MachineError for whatever goes wrong until then."""
    from py4j.protocol import Py4JError

    late = threading.Event()

    def end() -> None:
        late.set()
        java.proc.kill()

    timer = threading.Timer(config.wait_seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (Py4JError, ConnectionError) as error:
        said = f"did not answer within {config.wait_seconds:g} seconds" if late.is_set() else "took no application"
        raise MachineError(
            f"the Spark master {config.master} {said}: check that a Spark 3.5 runs there; our side's log is {log}"
        ) from error
    finally:
        timer.cancel()


def await_executor(session: SparkSession, config: SparkConfig) -> None:
    """Wait for the first executor. Raises MachineError: a job would wait for ever."""
    deadline = time.monotonic() + config.wait_seconds
    scala = session.sparkContext._jsc.sc()
    while len(scala.statusTracker().getExecutorInfos()) < 2:  # the first is this process itself
        if time.monotonic() > deadline:
            raise MachineError(
                f"the Spark master {session.sparkContext.master} gave no executor of {config.executor_memory} within "
                f"{config.wait_seconds:g} seconds: free some room there, ask for less with "
                "STARS_SPARK_EXECUTOR_MEMORY, or wait longer with STARS_SPARK_WAIT_SECONDS"
            )
        time.sleep(0.1)


def ship_code(session: SparkSession, scratch: Path) -> None:
    """Bring this project's code to the executors, so that it's the same as here whatever is installed there.

    What it imports of others is compiled for its machine and cannot travel like that.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    archive = scratch / "review-stars.zip"
    with ZipFile(archive, "w") as file:
        for package in ("contracts", "training"):
            for source in sorted((ROOT / package).rglob("*.py")):
                file.write(source, source.relative_to(ROOT))
    session.sparkContext.addPyFile(str(archive))


def check_shared(session: SparkSession, folder: Path) -> None:
    """Raises MachineError unless what an executor writes into the folder is seen here; Spark would leave it empty."""
    context = session.sparkContext
    if is_local(str(context.master)):
        return
    probe = folder / f".written-by-{context.applicationId}"
    path = str(probe)
    reason = context.parallelize([path], 1).map(_write_probe).collect()[0]
    deadline = time.monotonic() + VISIBLE_SECONDS
    while not (seen := probe.name in os.listdir(folder)) and not reason and time.monotonic() < deadline:
        time.sleep(0.1)
    if not seen:
        why = f"cannot write to {folder} ({reason})" if reason else f"wrote to {folder}, and nothing of it is here"
        raise MachineError(
            f"an executor of {context.master} {why}: choose a folder that all its machines share, such as NFS or EFS"
        )
    probe.unlink()


def _write_probe(path: str) -> str:
    """Run by an executor. Returns why it could not, or nothing."""
    try:
        Path(path).touch()
    except OSError as error:
        return str(error.strerror)
    return ""
