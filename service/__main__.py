"""The gateway's own process: `python -m service`, with its settings in STARS_ variables."""

from __future__ import annotations

import sys

import uvicorn

from contracts.errors import StarsError
from service import logs
from service.app import create_app
from service.settings import Settings, load_settings

STOP_SECONDS = 15
KEEP_ALIVE_SECONDS = 75
"""Longer than load balancers keep idle connections (60 s is usual), so that theirs are never closed under them."""


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; requests that are being answered then may finish."""
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
    )


if __name__ == "__main__":
    logs.configure()
    try:
        serve(load_settings())
    except StarsError as error:
        sys.exit(f"error: {error}")
