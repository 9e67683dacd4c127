"""The server around the app, the same in production and in tests."""

from __future__ import annotations

import asyncio
import math
import resource
import signal
import socket
import threading
from functools import partial
from typing import cast

import structlog
import uvicorn
from fastapi import FastAPI

from service.errors import refuse
from service.health.service import Readiness
from service.http.door import Door
from service.http.middleware import RequestLog
from service.http.protocol import Protocol
from service.jobs.service import Jobs
from service.metrics import Metrics
from service.parts import part
from service.releases.service import Releases
from service.settings import Limits, Settings

KEEP_ALIVE_SECONDS = 75
"""Longer than load balancers keep idle connections (60 s is usual), so that theirs are never closed under them."""

STOP_SECONDS = 3
"""Beyond the deadline, for what is being answered when the server stops. `stars up` waits two seconds longer."""

OTHER_FILES = 256
"""Files and sockets that the process may need besides its clients' connections."""

log = structlog.get_logger()


class Server(uvicorn.Server):
    """uvicorn, which ends in steps: /readyz says so, who follows a job is let go, idle connections have a moment.

    On SIGHUP it looks at the production channel at once.
    """

    def __init__(self, config: uvicorn.Config, door: Door, app: FastAPI) -> None:
        super().__init__(config)
        self._door = door
        self._readiness = part(app, Readiness)
        self._jobs = part(app, Jobs)
        self._releases = part(app, Releases)
        part(app, Metrics).watch_connections(lambda: len(self.server_state.connections))

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if threading.current_thread() is threading.main_thread():  # signals come nowhere else
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._releases.follow_now)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._readiness.stop()
        self._jobs.stop()
        self._door.stopping = True
        await super().shutdown(sockets)


def make_server(app: FastAPI, port: int | None = None) -> Server:
    """A server for what `create_app` made. `run` serves until SIGTERM or SIGINT.

    Requests that are being answered then may finish. `port` replaces the settings'; 0 takes a free one.
    """
    settings, metrics = part(app, Settings), part(app, Metrics)
    limits = settings.limits
    door = Door(limits, RequestLog(refuse, metrics))
    _allow_connections(limits)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port if port is None else port,
        # uvicorn calls it, and asks for nothing else of a class
        http=cast(type[asyncio.Protocol], partial(Protocol, door=door)),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=math.ceil(limits.deadline_seconds) + STOP_SECONDS,
    )
    return Server(config, door, app)


def _allow_connections(limits: Limits) -> None:
    """Raise the process's limit on open files to what the connections need, where the system lets it."""
    needed = 2 * limits.connections + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        if allowed < needed:
            log.warning("few_open_files", allowed=allowed, needed=needed)
