"""`stars up`: TorchServe, the gateway and a worker as one thing that starts, recovers and stops together."""

from __future__ import annotations

import errno
import os
import shlex
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import httpx
from filelock import FileLock, Timeout

from contracts.errors import ConfigError, MachineError
from contracts.installation import how_to_install
from contracts.jobs.store import JobStore
from contracts.release import transfer
from service.address import base_url, is_loopback
from service.admin_key import keep_admin_key
from service.local.supervise import Program, SupervisedProgram
from service.releases.production import production_version
from service.running import Running
from service.settings import Settings

START_SECONDS = 60.0
"""For everything to start, before a release is loaded and after."""

LOOK_SECONDS = 0.2
WORKER_NEEDS = ("keras", "pyspark", "tensorflow")
SECRETS = ("STARS_ADMIN_KEY", "STARS_ADMIN_KEY_FILE")
"""Only the gateway is given these."""

EXAMPLE = '{"text": "Broke after two days.", "title": "Waste of money", "category": "Digital_Software"}'

Say = Callable[[str], None]


class Stop(Exception):
    """A signal asked to stop."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 130 if number == signal.SIGINT else 0


class Ports(NamedTuple):
    """TorchServe's own, on loopback."""

    inference: int
    management: int
    metrics: int


def run(settings: Settings, worker: bool, say: Say) -> int:
    """Start everything, wait until it predicts, keep it running until a signal; returns the exit code.

    Raises ConfigError, MachineError, NotFound or ReleaseError before anything is started, MachineError when it does
    not become ready or cannot be kept running.
    """
    key_file = _admin_key_file(settings)
    home = settings.paths.create().root
    lock = FileLock(home / "up.lock", timeout=0, mode=0o600)  # whoever can open it can hold it
    try:
        lock.acquire()
    except Timeout:
        raise MachineError(
            f"another `stars up` runs on {home}: stop it, or give this one a folder of its own with --home"
        ) from None
    with lock:
        check_port_free(settings.host, settings.port)
        JobStore(settings.job_store_url).close()  # tells now what is wrong with its URL
        store = settings.open_store()
        version = production_version(store, settings.name)
        transfer.fetch(store, settings.name, version, settings.release_cache)  # tells now what is wrong with it
        if worker and not all(map(find_spec, WORKER_NEEDS)):
            say(f"no worker: retraining needs more than is installed: {how_to_install('training')}")
            worker = False
        children = [SupervisedProgram(program) for program in programs(settings, store.url, key_file, worker)]
        Running.this(base_url(settings.host, settings.port), store.url).write(settings.paths.up)
        try:
            return _supervise(children, settings, key_file, say)
        finally:
            settings.paths.up.unlink(missing_ok=True)


def programs(settings: Settings, store_url: str, key_file: Path | None, worker: bool) -> list[Program]:
    """What to run, in the order of starting."""
    ports = free_ports()
    logs = settings.paths.logs
    logs.mkdir(exist_ok=True)
    logs.chmod(0o700)
    shared = {name: value for name, value in os.environ.items() if name not in SECRETS}
    shared |= {
        "STARS_HOME": str(settings.home),
        "STARS_STORE": store_url,
        "STARS_MODEL_STORE": str(settings.model_folder),
        "PYTHONUNBUFFERED": "1",
    }
    without_store = {name: value for name, value in shared.items() if not name.startswith("AWS_")}
    gateway = {name: os.environ[name] for name in SECRETS if name in os.environ} | {
        "STARS_HOST": settings.host,
        "STARS_PORT": str(settings.port),
        "STARS_INFERENCE_URL": f"http://127.0.0.1:{ports.inference}",
        "STARS_MANAGEMENT_URL": f"http://127.0.0.1:{ports.management}",
        "STARS_MODEL_SERVER_KEYS": str(settings.home / "torchserve/tmp/key_file.json"),
    }
    if key_file is not None:
        gateway["STARS_ADMIN_KEY_FILE"] = str(key_file)
    started = [
        Program("TorchServe", _torchserve(settings, ports), without_store, logs / "torchserve.log"),
        Program(
            "the gateway",
            [sys.executable, "-m", "service"],
            shared | gateway,
            logs / "gateway.log",
            stop_seconds=settings.limits.deadline_seconds + 5,
        ),
    ]
    if worker:
        command = [sys.executable, "-m", "contracts.cli", "worker"]
        started.append(Program("the worker", command, shared, logs / "worker.log", essential=False, stop_seconds=20))
    return started


def _torchserve(settings: Settings, ports: Ports) -> list[str]:
    return [
        *(sys.executable, "-m", "torchserve.launch"),
        *("--model-store", str(settings.model_folder)),
        *("--work-dir", str(settings.home / "torchserve")),
        *("--inference-port", str(ports.inference)),
        *("--management-port", str(ports.management)),
        *("--metrics-port", str(ports.metrics)),
    ]


def _supervise(children: list[SupervisedProgram], settings: Settings, key_file: Path | None, say: Say) -> int:
    address = base_url(settings.host, settings.port)
    try:
        try:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, _stop)
            say(f"starting {', '.join(child.program.name for child in children)}; logs in {settings.paths.logs}")
            for child in children:
                child.start()
            ready_seconds = settings.load_seconds + START_SECONDS
            _wait_ready(children, address, _key(settings, key_file), ready_seconds, say)
            _welcome(address, key_file, say)
            while True:
                _keep_running(children, say)
                time.sleep(LOOK_SECONDS)
        except Stop as stop:
            say("stopping")
            return stop.exit_code
        finally:
            _stop_all(children)
    except Stop as stop:  # a second Ctrl-C: no more patience
        for child in children:
            child.kill()
        return stop.exit_code


def _stop(number: int, _frame: FrameType | None) -> None:
    raise Stop(number)


def _stop_all(children: list[SupervisedProgram]) -> None:
    """The gateway first, so that it can still answer what it has; then the others together."""
    gateways = [child for child in children if child.program.name == "the gateway"]
    others = [child for child in children if child not in gateways]
    for group in (gateways, others):
        for child in group:
            child.ask_to_stop()
        for child in group:
            child.wait_stopped()


def _keep_running(children: list[SupervisedProgram], say: Say) -> None:
    for child in children:
        if news := child.keep_running():
            say(news)
        if child.gave_up and child.program.essential:
            raise MachineError(f"{child.program.name} cannot be kept running: {child.last_line()}")


def _key(settings: Settings, key_file: Path | None) -> str:
    return settings.read_admin_key() or (key_file.read_text(encoding="ascii").strip() if key_file else "")


def _wait_ready(children: list[SupervisedProgram], address: str, key: str, seconds: float, say: Say) -> None:
    """The gateway tells its reasons in full to the holder of the key only."""
    reason = "no answer"
    until = time.monotonic() + seconds
    with httpx.Client(timeout=10, trust_env=False, headers={"authorization": f"Bearer {key}"}) as client:
        while time.monotonic() < until:
            _keep_running(children, say)
            with suppress(httpx.TransportError, ValueError, KeyError):
                answer = client.get(f"{address}/readyz")
                if answer.status_code == 200:
                    return
                reason = answer.json()["error"]["message"]
            time.sleep(LOOK_SECONDS)
    raise MachineError(f"the service did not become ready within {seconds:.0f} s: {reason}")


def _welcome(address: str, key_file: Path | None, say: Say) -> None:
    curl = shlex.join(["curl", "-s", f"{address}/predict", "-H", "content-type: application/json", "-d", EXAMPLE])
    say(f"\nready at {address} (documentation: {address}/docs)\n\n  {curl}\n")
    if key_file is not None:
        say(f"the admin key is in {key_file}")
    say("Ctrl-C stops it")


def _admin_key_file(settings: Settings) -> Path | None:
    """The file of the admin key; None when the key itself is in the environment.

    A key is made on loopback only: what others can reach must have been given one. Raises ConfigError.
    """
    if settings.read_admin_key() is not None:
        return settings.admin_key_file
    if not is_loopback(settings.host):
        raise ConfigError(
            f"{settings.host} can be reached by others: set STARS_ADMIN_KEY or STARS_ADMIN_KEY_FILE first, "
            "or serve on 127.0.0.1"
        )
    return keep_admin_key(settings.paths.admin_key)


def check_port_free(host: str, port: int) -> None:
    """Raises MachineError when the gateway could not listen there."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with closing(socket.socket(family, kind, protocol)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        reason = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
        raise MachineError(f"port {port} on {host} {reason}: choose another with --port") from error


def free_ports() -> Ports:
    """Three ports that nobody listens on now."""
    probes = [socket.socket() for _ in Ports._fields]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return Ports(*(probe.getsockname()[1] for probe in probes))
    finally:
        for probe in probes:
            probe.close()
