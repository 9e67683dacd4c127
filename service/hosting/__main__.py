"""`serve`, as SageMaker starts a container: the release of /opt/ml/model behind /ping and /invocations, on port 8080.

https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html

The gateway runs in this process, with a TorchServe of its own on loopback, and answers as it does elsewhere.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from threading import Thread

from contracts.errors import StarsError
from contracts.processes import die_with_parent
from contracts.release import channels
from contracts.release.release import Release
from contracts.release.transfer import publish
from contracts.settings import Home
from contracts.store.file_store import FileStore
from service import logs
from service.app import create_app
from service.hosting.endpoints import router
from service.local.up import free_ports
from service.server import Server, make_server
from service.settings import Settings, load_settings

MODEL = Path("/opt/ml/model")
PORT_VARIABLE = "SAGEMAKER_BIND_TO_PORT"


def as_store(folder: Path, store: FileStore) -> str:
    """Put a release's folder into a store, as what serves; returns its name. Raises ReleaseError for an unsound one."""
    manifest = Release.open(folder).manifest
    publish(store, folder, manifest)
    expect = channels.seen(store, manifest.name, channels.PRODUCTION)
    channels.move(store, manifest.name, channels.PRODUCTION, manifest.version, "serve", expect)
    return manifest.name


def start_torchserve(settings: Settings, ports: tuple[int, int, int]) -> subprocess.Popen[bytes]:
    """TorchServe, whose log is ours."""
    names = ("--inference-port", "--management-port", "--metrics-port")
    return subprocess.Popen(  # noqa: S603  # our own program
        [
            *(sys.executable, "-m", "torchserve.launch"),
            *("--model-store", str(settings.model_folder), "--work-dir", str(settings.home / "torchserve")),
            *(word for name, port in zip(names, ports, strict=True) for word in (name, str(port))),
        ],
        env=os.environ | {"STARS_HOME": str(settings.home)},
        stdin=subprocess.DEVNULL,
        preexec_fn=die_with_parent(),
    )


def stop_with(torchserve: subprocess.Popen[bytes], server: Server) -> None:
    """End when TorchServe has: who started this container starts another."""
    torchserve.wait()
    server.should_exit = True


def main(folder: Path = MODEL) -> int:
    """Serve until SIGTERM, or until TorchServe ends by itself (exit code 1). Raises StarsError before that."""
    home, ports = Home.default().create(), free_ports()
    store = FileStore(home.store)
    settings = load_settings(
        host="0.0.0.0",  # noqa: S104  # SageMaker calls from outside the container
        port=int(os.environ.get(PORT_VARIABLE) or 8080),
        name=as_store(folder, store),
        store=store.url,
        inference_url=f"http://127.0.0.1:{ports.inference}",
        management_url=f"http://127.0.0.1:{ports.management}",
        model_server_keys=home.root / "torchserve/tmp/key_file.json",
    )
    app = create_app(settings)
    app.include_router(router)
    server = make_server(app)
    torchserve = start_torchserve(settings, ports)
    Thread(target=stop_with, args=(torchserve, server), daemon=True).start()
    try:
        server.run()
    finally:
        torchserve.terminate()
    return 1


if __name__ == "__main__":
    logs.configure()
    try:
        sys.exit(main())
    except StarsError as error:
        sys.exit(f"error: {error}")
