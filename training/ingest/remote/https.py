"""A file behind https://, by RFC 9110: Range and If-Range go on where a download was cut, and mix no two files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote

import httpx

from contracts.errors import DataError
from training.ingest.remote.address import Address, file_name
from training.ingest.remote.file import Broken, RemoteBytes

SILENT_SECONDS = 30.0
REDIRECTS = 5

_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_PART = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_LONGEST_WAIT = 120.0


class HttpsFile:
    """One file of a web server. http:// is taken from this machine itself only, where nobody stands between."""

    def __init__(self, address: Address) -> None:
        self.url, self.sha256 = address.shown, address.sha256
        self.name = file_name(unquote(address.parts.path))
        self._asked = address.parts._replace(fragment="").geturl()

    @contextmanager
    def open(self, start: int, validator: str) -> Iterator[RemoteBytes | None]:
        with self._client() as client:
            try:
                with client.stream("GET", self._asked, headers=_conditions(start, validator)) as response:
                    yield self._answer(response, start)
            except httpx.TooManyRedirects as error:
                raise DataError(f"{self.url} leads round in circles: check the address") from error
            except httpx.InvalidURL as error:
                raise DataError(f"{self.url} is no address: {error}") from error
            except httpx.TransportError as error:
                if "CERTIFICATE_VERIFY_FAILED" in str(error):
                    raise DataError(
                        f"the server of {self.url} is not trusted: name its certificate authority with SSL_CERT_FILE"
                    ) from error
                raise Broken(f"{type(error).__name__}: {error}") from error

    def _client(self) -> httpx.Client:
        return httpx.Client(
            headers={"accept-encoding": "identity", "user-agent": "review-stars"},
            follow_redirects=True,
            max_redirects=REDIRECTS,
            timeout=SILENT_SECONDS,
            event_hooks={"request": [self._check_secure]},  # called for every redirect too
        )

    def _check_secure(self, request: httpx.Request) -> None:
        if request.url.scheme != "https" and request.url.host not in _LOOPBACK:
            leads = "" if self.url.startswith("http:") else "leads to http://, "
            raise DataError(f"{self.url} {leads or 'is '}not encrypted: name an https:// address")

    def _answer(self, response: httpx.Response, start: int) -> RemoteBytes | None:
        if response.status_code == httpx.codes.NOT_MODIFIED:
            return None
        if response.status_code in _BUSY:
            raise Broken(f"it answers {response.status_code}", _wait(response))
        if not response.is_success:
            said = f"{response.status_code} {response.reason_phrase}".strip()
            raise DataError(f"{self.url} answers {said}: check the address and who may read it")
        size = response.headers.get("content-length", "")
        whole = int(size) if size.isdecimal() else None
        at = 0
        if response.status_code == httpx.codes.PARTIAL_CONTENT:
            part = _PART.fullmatch(response.headers.get("content-range", ""))
            if part is None or int(part[1]) != start:
                raise DataError(f"{self.url} answers another part than the one asked for: download it yourself")
            at, whole = start, int(part[2]) if part[2] != "*" else None
        return RemoteBytes(at, whole, _validator(response), response.iter_raw())


def _conditions(start: int, validator: str) -> dict[str, str]:
    if start:
        return {"range": f"bytes={start}-", "if-range": validator}
    if validator:
        return {"if-none-match" if '"' in validator else "if-modified-since": validator}
    return {}


def _validator(response: httpx.Response) -> str:
    """A strong ETag, else the date of the last change. A weak one says nothing of bytes."""
    etag: str = response.headers.get("etag", "")
    return etag if etag.startswith('"') else response.headers.get("last-modified", "")


def _wait(response: httpx.Response) -> float | None:
    after = response.headers.get("retry-after", "")
    return min(float(after), _LONGEST_WAIT) if after.isdecimal() else None
