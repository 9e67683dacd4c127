"""Where a gateway listens, and how this machine reaches it."""

from __future__ import annotations

import ipaddress

from service.running import Running
from service.settings import Settings


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def base_url(host: str, port: int) -> str:
    """The URL under which this machine can call a gateway that listens there."""
    wildcard = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # compared with, not bound to
    host = wildcard.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def gateway_url(settings: Settings) -> str:
    """The gateway to ask: where STARS_HOST and STARS_PORT say, else where `stars up` has started one."""
    if not settings.model_fields_set.isdisjoint({"host", "port"}):
        return base_url(settings.host, settings.port)
    running = Running.read(settings.paths.up)
    return running.url if running else base_url(settings.host, settings.port)
