"""Who may use /admin: whoever holds the admin key."""

from __future__ import annotations

import hashlib
import hmac

from fastapi import Request

from service.errors import MissingKey, WrongKey
from service.gateway import GatewayOf


async def require_admin(request: Request, gateway: GatewayOf) -> None:
    """Let a request with the admin key pass.

    Raises MissingKey without one, WrongKey with another one or when this gateway has none. Keys are compared as hashes
    in constant time, so that the time taken tells neither length nor content.
    """
    if gateway.admin_key is None:
        raise WrongKey("no admin key is configured: set STARS_ADMIN_KEY or STARS_ADMIN_KEY_FILE and start again")
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise MissingKey("this address needs the admin key: send Authorization: Bearer KEY")
    if not hmac.compare_digest(_digest(key.strip()), _digest(gateway.admin_key)):
        raise WrongKey("the admin key is wrong")


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
