"""TorchServe's HTTP APIs, as the gateway uses them.

Predictions: POST /predictions/<model>/<version>, with bodies as contracts/wire.py has them.
Models: https://github.com/pytorch/serve/blob/v0.12.0/docs/management_api.md
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
from anyio.to_thread import run_sync

from contracts.errors import (
    BackendError,
    BackendOverloaded,
    BackendUnavailable,
    DeadlineExceeded,
    ModelError,
    StarsError,
)
from contracts.model_folder import WorkerSettings, write_model_folder
from contracts.release.release import Release
from contracts.review import Review
from contracts.wire import Predictions, read_response, request_body
from service.backend.keys import KeyFile, is_refused
from service.backend.protocol import NotLoaded

CONNECT_SECONDS = 2.0
MANAGE_SECONDS = 10.0
POLL_SECONDS = 0.2
GLANCE_SECONDS = 1.0
"""How long a request that was refused waits to be told why."""

_JSON = {"content-type": "application/json"}

# A connection that TorchServe closed while it lay idle fails on its next use, before anything was computed.
_STALE = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)


class _Silent(BackendUnavailable):
    """Somebody listens, but did not answer in time: it says nothing about what is loaded."""


class TorchServe:
    """A `LoadingBackend` over one TorchServe and one model name. Connections are kept alive.

    `model_store` is the folder that TorchServe loads models from.
    """

    def __init__(
        self,
        name: str,
        inference_url: str,
        management_url: str,
        *,
        connections: int,
        model_store: Path,
        worker: WorkerSettings,
        keys: Path | None = None,
    ) -> None:
        self._name = name
        self._model_store = model_store
        self._worker = worker
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=30)
        # The caller's deadline covers the whole request.
        self._inference = _client(inference_url, None, limits, KeyFile(keys, "inference") if keys else None)
        self._management = _client(
            management_url, MANAGE_SECONDS, httpx.Limits(), KeyFile(keys, "management") if keys else None
        )

    async def predict(self, version: str, reviews: Sequence[Review], seconds: float | None = None) -> Predictions:
        body = request_body(reviews, None if seconds is None else time.time() + seconds)
        path = f"/predictions/{self._name}/{version}"
        response = await _send(self._inference, "POST", path, content=body, headers=_JSON)
        if response.status_code != 200:
            error = _prediction_error(response, version)
            # TorchServe has the same words for a full queue and for a worker that has died.
            if isinstance(error, BackendOverloaded) and await self._has_no_worker(version):
                raise BackendUnavailable(f"no worker has release {version} right now: one is being started") from error
            raise error
        return read_response(response.content, len(reviews))

    async def _has_no_worker(self, version: str) -> bool:
        """Whether that is known. Who cannot look for it knows nothing."""
        with suppress(StarsError, TimeoutError):
            async with asyncio.timeout(GLANCE_SECONDS):
                return not (await self.loaded()).get(version)
        return False

    async def load(self, release: Release, seconds: float) -> None:
        version = release.manifest.version
        folder = await run_sync(write_model_folder, release, self._model_store, self._worker)
        is_new = await self._register(version, folder)
        if not is_new and self._runs_otherwise(await self._describe(version)):
            await self.unload(version)
            is_new = await self._register(version, folder)
        try:
            async with asyncio.timeout(seconds):
                await self._until_ready(version, is_new)
        except TimeoutError:
            await self._discard(version)
            raise BackendError(
                f"release {version} did not load within {seconds:.0f} s: see the model server's log"
            ) from None
        except (StarsError, asyncio.CancelledError):
            if is_new:
                await self._discard(version)
            raise

    async def _register(self, version: str, folder: Path) -> bool:
        """Whether it was not registered yet."""
        parameters = {"url": folder.name, "initial_workers": self._worker.workers, "synchronous": "false"}
        response = await _send(self._management, "POST", "/models", params=parameters)
        if response.status_code not in {200, 202, 409}:
            await self._discard(version)  # it stays listed, and would be in the way of the next attempt
            raise BackendError(f"the model server refused release {version}: {_reason(response)}")
        return response.status_code != 409

    def _runs_otherwise(self, described: dict[str, Any]) -> bool:
        """Whether the model was registered with other settings, by a gateway before this one."""
        wanted = self._worker.values()
        return any(described[name] != wanted[name] for name in wanted.keys() & described.keys())

    async def _until_ready(self, version: str, registered: bool) -> None:
        """Wait for the version's worker.

        Raises ModelError as soon as the first worker of a version that was just registered has died over it.
        """
        pids: set[int] = set()
        while True:
            workers: list[dict[str, Any]] = []
            with suppress(_Silent):
                workers = (await self._describe(version)).get("workers", [])
            if _is_ready(workers):
                return
            pids |= {worker["pid"] for worker in workers if worker.get("pid", -1) > 0}
            if registered and len(pids) > self._worker.workers:
                raise ModelError(f"release {version} cannot be loaded: see the model server's log")
            await asyncio.sleep(POLL_SECONDS)

    async def _describe(self, version: str) -> dict[str, Any]:
        response = await _send(self._management, "GET", f"/models/{self._name}/{version}")
        if response.status_code == 404:
            raise NotLoaded(f"the model server lost release {version} while loading it")
        if response.status_code != 200:
            raise BackendError(f"the model server cannot describe release {version}: {_reason(response)}")
        described: dict[str, Any] = response.json()[0]
        return described

    async def _discard(self, version: str) -> None:
        with suppress(StarsError):
            await asyncio.shield(self.unload(version))

    async def unload(self, version: str) -> None:
        path = f"/models/{self._name}/{version}"
        response = await _send(self._management, "DELETE", path)
        if response.status_code == 403:  # the default version can only go last: let it be another
            other = next((name for name in await self.loaded() if name != version), version)
            await _send(self._management, "PUT", f"/models/{self._name}/{other}/set-default")
            response = await _send(self._management, "DELETE", path)
        if response.status_code not in {200, 202, 404}:
            raise BackendError(f"the model server keeps release {version}: {_reason(response)}")

    async def loaded(self) -> dict[str, bool]:
        response = await _send(self._management, "GET", f"/models/{self._name}/all")
        if response.status_code == 404:
            return {}
        if response.status_code != 200:
            raise BackendError(f"the model server cannot list its models: {_reason(response)}")
        return {str(model["modelVersion"]): _is_ready(model.get("workers", [])) for model in response.json()}

    async def close(self) -> None:
        await self._inference.aclose()
        await self._management.aclose()


def _client(url: str, seconds: float | None, limits: httpx.Limits, keys: KeyFile | None) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=url,
        auth=keys,
        timeout=httpx.Timeout(seconds, connect=CONNECT_SECONDS),
        limits=limits,
        trust_env=False,
        verify=url.startswith("https:"),  # reading the certificates takes time and memory
    )


async def _send(client: httpx.AsyncClient, method: str, path: str, **content: Any) -> httpx.Response:
    """One request, sent a second time where the kept connection turned out to be closed. Raises BackendUnavailable."""
    try:
        try:
            response = await client.request(method, path, **content)
        except _STALE:
            response = await client.request(method, path, **content)
    except httpx.TransportError as error:
        if isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout):
            raise _Silent("the model server does not answer in time: it is busy, or it hangs") from error
        raise BackendUnavailable("the model server cannot be reached: it is starting, or it is down") from error
    if is_refused(response):
        raise BackendUnavailable("the model server refuses our key: STARS_MODEL_SERVER_KEYS must name its own key file")
    return response


def _is_ready(workers: list[dict[str, Any]]) -> bool:
    return any(worker.get("status") == "READY" for worker in workers)


def _prediction_error(response: httpx.Response, version: str) -> BackendError:
    """What TorchServe means by a status. An exception in the handler and a full queue are both 503."""
    kind = _error(response).get("type", "")
    if response.status_code == 404:
        return NotLoaded(f"the model server does not have release {version} yet: it was restarted, or is loading")
    if response.status_code == 507 or kind == "ServiceUnavailableException":
        return BackendOverloaded("the model server's queue is full: try again in a moment")
    if response.status_code == 504:
        return DeadlineExceeded("the model server came to this request too late: is its clock that of the gateway?")
    if response.status_code == 500:
        return BackendUnavailable("the model server's worker died over this request: it is being restarted")
    return BackendError(f"the model server failed over this request with status {response.status_code}")


def _reason(response: httpx.Response) -> str:
    """TorchServe's own words about a model. Not for predictions, whose errors may quote what was sent."""
    return str(_error(response).get("message") or f"status {response.status_code}")


def _error(response: httpx.Response) -> dict[str, Any]:
    try:
        document = response.json()
    except json.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {}
