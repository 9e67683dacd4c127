"""URLs of sources: what in them may be shown, what a file is called by them, and the hash that may stand behind #."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from contracts.errors import DataError

_SECRET = re.compile(r"sig|token|key|cred|pass|auth|secret|policy|expires", re.I)
_SHA256 = re.compile(r"sha256=([0-9a-fA-F]{64})")


def is_url(data: str) -> bool:
    """Whether this names something elsewhere, and no file or pattern of this machine."""
    return "://" in data


@dataclass(frozen=True)
class Address:
    """A URL, read once. `shown` is without what could be a secret: the values of a signature, for example."""

    parts: SplitResult
    shown: str
    sha256: str


def file_name(path: str) -> str:
    """What a file is called on this machine, by the path that it has elsewhere, whatever stands in that."""
    last = path.rstrip("/").rpartition("/")[2]
    return re.sub(r"[^\w.,+=@ -]", "_", last).lstrip(".")[-100:] or "reviews"


def read_address(url: str) -> Address:
    """Raises DataError for a URL with a password in it, or with something behind # that is no sha256."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port
    except ValueError as error:
        raise DataError(f"a source's URL cannot be read: {error}") from error
    if "@" in parts.netloc:  # not shown
        raise DataError("a source's URL holds no user and no password: use a signed URL, or download the file yourself")
    if not host:
        raise DataError(f"{url} names no host: write it as https://host/file or s3://bucket/key")
    if parts.scheme == "s3":  # a key may hold any character
        return Address(parts, url, "")
    shown = parts._replace(fragment="")
    if any(_SECRET.search(name) for name, _ in parse_qsl(parts.query, keep_blank_values=True)):
        pairs = parse_qsl(parts.query, keep_blank_values=True)
        shown = shown._replace(query=urlencode([pair for pair in pairs if not _SECRET.search(pair[0])]))
    sha256 = ""
    if parts.fragment:
        found = _SHA256.fullmatch(parts.fragment)
        if found is None:
            raise DataError(f"what stands behind # in {shown.geturl()} must be sha256= and 64 hexadecimal digits")
        sha256 = found[1].lower()
    return Address(parts, shown.geturl(), sha256)
