"""Requests that ask for another protocol than HTTP/1.1, read as if they had not: RFC 9110 allows it."""

from __future__ import annotations

from collections.abc import Iterable


def head_without_upgrade(method: bytes, url: bytes, version: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The head of the same request without the headers that ask. Names of headers are in lower case."""
    lines = [method, b" ", url, b" HTTP/", version, b"\r\n"]
    for name, value in headers:
        if name == b"connection":
            value = b", ".join(_tokens(value) - {b"upgrade", b"http2-settings"})
        if name != b"upgrade":
            lines += [name, b": ", value, b"\r\n"]
    return b"".join([*lines, b"\r\n"])


def _tokens(value: bytes) -> set[bytes]:
    return {token.strip().lower() for token in value.split(b",")}
