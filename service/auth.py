"""Who may use /admin: whoever holds the admin key."""

from __future__ import annotations

from typing import Annotated

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from service.admin_key import AdminKey
from service.errors import MissingKey, WrongKey
from service.parts import needed, part

SCHEME = HTTPBearer(scheme_name="adminKey", description="The admin key: see docs/auth.md.", auto_error=False)


async def require_admin(
    admin_key: Annotated[AdminKey, needed(AdminKey)],
    sent: Annotated[HTTPAuthorizationCredentials | None, Security(SCHEME)],
) -> None:
    """Let a request with the admin key pass.

    Raises MissingKey without one, WrongKey with another one or when this gateway has none.
    """
    if not admin_key.exists:
        raise WrongKey("no admin key is configured: set STARS_ADMIN_KEY or STARS_ADMIN_KEY_FILE and start again")
    if sent is None or not sent.credentials.strip():
        raise MissingKey("this address needs the admin key: send Authorization: Bearer KEY")
    if not admin_key.is_right(sent.credentials.strip()):
        raise WrongKey("the admin key is wrong")


def is_admin(request: Request) -> bool:
    """Whether the right key came with a request, for addresses that do not ask for it but tell its holder more."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and part(request.app, AdminKey).is_right(key.strip())
