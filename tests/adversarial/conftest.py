"""A real gateway in front of a real TorchServe, as the service's own tests start it."""

from __future__ import annotations

from ..service.conftest import make_settings, running, wait_ready

__all__ = ["make_settings", "running", "wait_ready"]
