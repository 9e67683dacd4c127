"""What `create_app` has put together, for whoever needs a part of it: each is found by its type."""

from __future__ import annotations

from typing import Any, TypeVar, cast

from fastapi import Depends, FastAPI, Request

Part = TypeVar("Part")


def share(app: FastAPI, *parts: object) -> None:
    """Let `part` find them. Called once, when the app is made."""
    app.state.parts = {type(part): part for part in parts}


def part(app: FastAPI, kind: type[Part]) -> Part:
    """The app's part of this type."""
    return cast(Part, app.state.parts[kind])


def needed(kind: type[Part]) -> Any:
    """For an endpoint's parameter: `releases: Annotated[Releases, needed(Releases)]`."""

    async def find(request: Request) -> Part:
        return part(request.app, kind)

    return Depends(find)
