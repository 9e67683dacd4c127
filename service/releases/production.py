"""Which version a store wants in service."""

from __future__ import annotations

from contextlib import suppress

from contracts.errors import NotFound, StarsError
from contracts.release import channels, lookup, published
from contracts.release.channels import PRODUCTION, Channel
from contracts.store.protocol import ObjectStore


def production_version(store: ObjectStore, name: str) -> str:
    """The version that the production channel points at; where it points nowhere, the only version there is.

    Raises NotFound, saying what to do, when the store is empty or leaves a choice.
    """
    with suppress(NotFound):
        return lookup.resolve(store, PRODUCTION, name)
    versions = published.versions(store, name)
    if len(versions) > 1:
        raise NotFound(
            f"{store.url} holds {', '.join(versions)} and its production channel points nowhere: choose one with "
            f"`stars release promote VERSION --store {store.url}`"
        )
    return lookup.resolve(store, "latest", name)


def read_production(store: ObjectStore, name: str) -> Channel | None:
    """The production channel; None where it points nowhere. Raises StoreError."""
    with suppress(NotFound):
        return channels.read(store, name, PRODUCTION)[0]
    return None


def claim_production(store: ObjectStore, name: str, version: str) -> Channel | None:
    """Let a store without a production channel say what is in production now: rollback needs to know.

    A store that cannot be written to still serves.
    """
    with suppress(StarsError):
        return channels.move(store, name, PRODUCTION, version, "gateway", None)
    with suppress(StarsError):
        return read_production(store, name)
    return None
