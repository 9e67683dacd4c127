"""Which version a store wants in service."""

from __future__ import annotations

from contextlib import suppress

from contracts.errors import NotFound
from contracts.release import lookup, published
from contracts.release.channels import PRODUCTION
from contracts.store.protocol import ObjectStore


def production_version(store: ObjectStore, name: str) -> str:
    """The version that the production channel points at; where it points nowhere, the only version there is.

    Raises NotFound, saying what to do, when the store is empty or leaves a choice.
    """
    with suppress(NotFound):
        return lookup.resolve(store, PRODUCTION, name)
    found = published.versions(store, name)
    if len(found) > 1:
        raise NotFound(
            f"{store.url} holds {', '.join(found)} and its production channel points nowhere: choose one with "
            f"`stars release promote VERSION --store {store.url}`"
        )
    return lookup.resolve(store, "latest", name)
