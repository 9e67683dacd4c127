"""`python -m torchserve.launch`: TorchServe in the foreground, closed to everything but the gateway.

After writing its configuration this process becomes TorchServe's Java (exec), so whoever started it signals, waits for
and outlives nothing in between. Java's workers end when their socket to it does.
"""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import socket
import sys
import sysconfig
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from contracts.errors import ConfigError, MachineError, StarsError
from contracts.installation import how_to_install
from contracts.limits import QUEUED_REQUESTS, REQUEST_BYTES
from contracts.settings import Home
from torchserve.java import INSTALL, OPTIONS, find_java

SCRATCH = "tmp"
KEY_FILE = "key_file.json"
"""TorchServe writes it into the folder that it starts in, readable by its owner only."""

ENDPOINTS = "endpoints.json"
"""Written into the work folder: the URLs, and the process id."""

KEY_MINUTES = 10 * 365 * 24 * 60
"""Keys live as long as the process that made them: whoever can read the file could read the next key as well."""

MAIN_CLASS = "org.pytorch.serve.ModelServer"
SOCKET_PATH_LIMIT = 80
"""Characters of the folder that holds the workers' sockets: Unix allows about a hundred for the whole path."""

# The rest of the environment may hold keys, and settings (TS_…) that would win over ours.
PASSED_ON = ("HOME", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "PATH", "TZ", "USER", "VIRTUAL_ENV")

LOGGING = """\
<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="warn">
  <Appenders>
    <Console name="console" target="SYSTEM_OUT">
      <PatternLayout pattern="%d{ISO8601} %-5p %c{1} - %m%n"/>
    </Console>
  </Appenders>
  <Loggers>
    <Logger name="ACCESS_LOG" level="off"/>
    <Logger name="MODEL_METRICS" level="off"/>
    <Logger name="TS_METRICS" level="off"/>
    <Logger name="org.pytorch.serve" level="warn"/>
    <Logger name="org.pytorch.serve.ModelServer" level="info"/>
    <Logger name="org.pytorch.serve.wlm.ModelManager" level="info"/>
    <Root level="warn"><AppenderRef ref="console"/></Root>
    <Logger name="MODEL_LOG" level="info"/>
  </Loggers>
</Configuration>
"""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where TorchServe listens, the process to signal, and the file with the keys that it asks for."""

    inference: str
    management: str
    metrics: str
    pid: int
    keys: str


def prepare(
    model_store: Path, work_dir: Path, host: str, ports: tuple[int, int, int], private_network: bool
) -> Endpoints:
    """Write the configuration into the work folder. `ports` are inference, management, metrics; 0 takes a free one.

    Raises ConfigError or MachineError for what would keep TorchServe from starting.
    """
    check_address(host)
    scratch = work_dir / SCRATCH
    if len(str(scratch)) > SOCKET_PATH_LIMIT:
        raise ConfigError(f"{work_dir} is too long a path for the workers' sockets: choose a shorter --work-dir")
    try:
        model_store.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        scratch.chmod(0o700)  # whoever reaches a worker's socket can have it load any code, whoever reads the keys too
    except OSError as error:
        raise MachineError(f"{error.filename} cannot be made ({error.strerror}): choose another folder") from error
    authority = f"[{host}]" if ":" in host else host
    inference, management, metrics = (f"http://{authority}:{port}" for port in take_ports(host, ports))
    endpoints = Endpoints(inference, management, metrics, os.getpid(), str(scratch / KEY_FILE))
    (work_dir / "config.properties").write_text(properties(endpoints, model_store, authorize=not private_network))
    (work_dir / "log4j2.xml").write_text(LOGGING)
    (work_dir / ENDPOINTS).write_text(json.dumps(asdict(endpoints), indent=2) + "\n")
    return endpoints


def properties(endpoints: Endpoints, model_store: Path, authorize: bool) -> str:
    """The text of config.properties, whose defaults would be open: https://pytorch.org/serve/configuration.html"""
    values = {
        "inference_address": endpoints.inference,
        "management_address": endpoints.management,
        "metrics_address": endpoints.metrics,
        # gRPC cannot be switched off: any free port, on loopback.
        "grpc_inference_address": "127.0.0.1",
        "grpc_management_address": "127.0.0.1",
        "grpc_inference_port": 0,
        "grpc_management_port": 0,
        "model_store": model_store,
        # Names in the model store need no URL; what is one must match this, which nothing does.
        "allowed_urls": "(?!)",
        "enable_model_api": True,
        # Our handler reads the body itself, so that the caller is told what is wrong with it.
        "decode_input_request": False,
        # The management API loads any folder with a handler of its own: on loopback every local account could.
        "disable_token_authorization": not authorize,
        "token_expiration_min": KEY_MINUTES,
        "install_py_dep_per_model": False,
        "number_of_gpu": 0,
        "number_of_netty_threads": 4,
        "netty_client_threads": 2,
        "job_queue_size": QUEUED_REQUESTS,
        "max_request_size": REQUEST_BYTES,
        "max_response_size": REQUEST_BYTES,
        "metrics_mode": "prometheus",
        "disable_system_metrics": True,
    }
    lines = [f"{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in values.items()]
    return "\n".join(lines).replace("\\", "\\\\") + "\n"


def command(java: Path, work_dir: Path) -> list[str]:
    """The command line of TorchServe's frontend."""
    spec = find_spec("ts")
    if spec is None or spec.origin is None:
        raise MachineError(f"TorchServe is not installed: {how_to_install('torchserve')}")
    package = Path(spec.origin).parent
    return [
        str(java),
        *OPTIONS,
        f"-Djava.io.tmpdir={work_dir / SCRATCH}",
        f"-Dlog4j.configurationFile={(work_dir / 'log4j2.xml').as_uri()}",
        f"-Dmodel_server_home={package.parent}",
        *("-cp", str(package / "frontend" / "model-server.jar"), MAIN_CLASS),
        *("--python", sys.executable),
        *("--ts-config-file", str(work_dir / "config.properties")),
        "--no-config-snapshot",
    ]


def environment(work_dir: Path) -> dict[str, str]:
    """What Java and its Python workers get to see: one thread each, our package, and nothing secret."""
    kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    root = Path(__file__).parent.parent
    if root != Path(sysconfig.get_path("purelib")):
        kept["PYTHONPATH"] = str(root)  # run from a checkout: the workers start in the model's folder
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), "1")
    return (
        kept
        | one_thread
        | {
            "TMPDIR": str(work_dir / SCRATCH),
            "LOG_LOCATION": str(work_dir / SCRATCH),
            "METRICS_LOCATION": str(work_dir / SCRATCH),
            "TOKENIZERS_PARALLELISM": "false",
            "PYTHONUNBUFFERED": "1",
        }
    )


def take_ports(host: str, wanted: tuple[int, int, int]) -> list[int]:
    """The ports, each 0 replaced by a free one. Raises MachineError for one that is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    taken: list[int] = []
    with ExitStack() as probes:
        for port in wanted:
            probe = probes.enter_context(socket.socket(family))
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
                probe.listen()
            except (OSError, OverflowError) as error:
                reason = getattr(error, "strerror", None) or error
                raise MachineError(f"cannot listen on {host} port {port} ({reason}): choose another port") from error
            taken.append(probe.getsockname()[1])
    return taken


def check_address(host: str) -> None:
    """Raises ConfigError for what is not an IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise ConfigError(f"--host must be an IP address, such as 127.0.0.1, not {host!r}") from None


def launch(
    model_store: Annotated[
        Path | None,
        typer.Option(help="Folder of models that may be registered.", show_default="$STARS_HOME/model-store"),
    ] = None,
    work_dir: Annotated[
        Path | None, typer.Option(help="Configuration and temporary files.", show_default="$STARS_HOME/torchserve")
    ] = None,
    host: Annotated[str, typer.Option(help="IP address to listen on.")] = "127.0.0.1",
    inference_port: Annotated[int, typer.Option(help="0 takes a free one.")] = 8080,
    management_port: Annotated[int, typer.Option(help="0 takes a free one.")] = 8081,
    metrics_port: Annotated[int, typer.Option(help="0 takes a free one.")] = 8082,
    private_network: Annotated[
        bool, typer.Option("--private-network", help="Only the gateway can reach --host: ask it for no key.")
    ] = False,
) -> None:
    """Run TorchServe in the foreground until SIGTERM or Ctrl-C. Its log is this process's output."""
    home = Home.default().root
    store = (model_store or home / "model-store").absolute()
    work = (work_dir or home / "torchserve").absolute()
    java = find_java()
    work.mkdir(parents=True, exist_ok=True)
    arguments = command(java, work)
    prepare(store, work, host, (inference_port, management_port, metrics_port), private_network)
    # TorchServe takes a model's name for a path relative to here before it looks into the model store, and writes its
    # keys here.
    os.chdir(work / SCRATCH)
    try:
        os.execve(java, arguments, environment(work))  # noqa: S606  # no shell: we become Java
    except OSError as error:
        raise MachineError(f"{java} does not start ({error.strerror}): {INSTALL}") from error


def main() -> None:
    """Run as a program: an error of ours is one sentence on stderr and exit code 1."""
    app = typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)
    app.command()(launch)
    try:
        app()
    except StarsError as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
