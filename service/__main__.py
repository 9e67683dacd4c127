"""The gateway's own process: `python -m service`, with its settings in STARS_ variables."""

from __future__ import annotations

import sys
from contextlib import suppress

from contracts.errors import StarsError
from service import logs
from service.app import create_app
from service.server import make_server
from service.settings import load_settings

if __name__ == "__main__":
    logs.configure()
    try:
        with suppress(KeyboardInterrupt):
            make_server(create_app(load_settings())).run()
    except StarsError as error:
        sys.exit(f"error: {error}")
