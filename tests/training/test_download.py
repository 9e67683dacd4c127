"""Sources from elsewhere: cut anywhere they go on, changed they begin anew, and what may not be had is one sentence."""

from __future__ import annotations

import hashlib
import os
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from boto3.session import Session

from contracts.errors import ConfigError, DataError, MachineError, NotFound
from training.ingest.remote import download as downloading
from training.ingest.remote.address import read_address
from training.ingest.remote.download import bring_here, download, remote_files
from training.ingest.remote.origin import origin_of

from .recorder import Recorder
from .web import Web, served

BODY = os.urandom(3_000_000)


@pytest.fixture
def web() -> Iterator[Web]:
    with served() as found:
        found.body = BODY
        yield found


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloading, "FIRST_WAIT", 0.001)


def brought(url: str, folder: Path) -> Path:
    [path] = bring_here([url], folder, Recorder())
    return Path(path)


def test_a_download_has_the_bytes_and_says_where_they_are_from(web: Web, tmp_path: Path) -> None:
    path = brought(web.url, tmp_path)
    assert (path.name, path.read_bytes()) == ("reviews.tsv", BODY)
    origin = origin_of(path)
    assert origin is not None and (origin.url, origin.size) == (web.url, len(BODY)) and origin.downloaded
    assert brought(web.url, tmp_path) == path
    assert web.sent == len(BODY), "unchanged, it is not sent again"
    web.body, web.etag = b"another", '"two"'
    assert brought(web.url, tmp_path).read_bytes() == b"another"


def test_what_breaks_off_goes_on_where_it_was(web: Web, tmp_path: Path) -> None:
    web.cuts = [1_000_000, 0, 0, 0, 0, 500_000, 0, 700_000]
    web.statuses = [503]
    assert brought(web.url, tmp_path).read_bytes() == BODY
    assert web.sent == len(BODY), "not a byte twice"


def test_what_breaks_off_for_good_is_kept_for_the_next_time(web: Web, tmp_path: Path) -> None:
    web.cuts = [1_000_000, *[0] * downloading.ATTEMPTS]
    with pytest.raises(DataError, match=r"reviews\.tsv cannot be downloaded \(.*it goes on where it was cut"):
        brought(web.url, tmp_path)
    assert brought(web.url, tmp_path).read_bytes() == BODY
    assert web.sent == len(BODY)


@pytest.mark.parametrize("change", [{"etag": '"two"'}, {"ranges": False}])
def test_a_file_that_changed_meanwhile_begins_anew(web: Web, tmp_path: Path, change: dict[str, Any]) -> None:
    """Nothing of the one is mixed with the other."""
    web.cuts = [1_000_000, *[0] * downloading.ATTEMPTS]
    with pytest.raises(DataError):
        brought(web.url, tmp_path)
    web.body = BODY[::-1]
    for name, value in change.items():
        setattr(web, name, value)
    assert brought(web.url, tmp_path).read_bytes() == BODY[::-1]


@pytest.mark.parametrize("etag", ["", 'W/"weak"'])
def test_without_a_strong_etag_nothing_is_resumed(web: Web, tmp_path: Path, etag: str) -> None:
    web.etag, web.cuts = etag, [1_000_000]
    assert brought(web.url, tmp_path).read_bytes() == BODY
    assert all("range" not in headers for headers in web.asked)


def test_a_sha256_behind_the_url_is_held_to(web: Web, tmp_path: Path) -> None:
    good = hashlib.sha256(BODY).hexdigest()
    assert brought(f"{web.url}#sha256={good}", tmp_path).read_bytes() == BODY
    with pytest.raises(DataError, match="has another sha256 than you named"):
        brought(f"{web.url}#sha256={'0' * 64}", tmp_path / "other")
    assert not [path for path in (tmp_path / "other").rglob("*") if path.is_file()]
    with pytest.raises(DataError, match="has another sha256 than you named"):
        brought(f"{web.url}#sha256={'1' * 64}", tmp_path)  # unchanged, and held to it all the same
    with pytest.raises(DataError, match="must be sha256="):
        brought(f"{web.url}#md5=1", tmp_path)


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_is_said_at_once(web: Web, tmp_path: Path, status: int) -> None:
    web.statuses = [status] * 9
    with pytest.raises(DataError, match=f"reviews.tsv answers {status} .*check the address"):
        brought(web.url, tmp_path)
    assert len(web.asked) == 1


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("http://192.0.2.1/reviews.tsv", "not encrypted"),
        ("/round", "in circles"),
        ("ftp://192.0.2.1/x", "not encrypted"),
    ],
)
def test_where_it_leads_is_looked_at(web: Web, tmp_path: Path, location: str, said: str) -> None:
    web.location = location
    with pytest.raises(DataError, match=said):
        brought(web.url, tmp_path)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://example.com/a.tsv", "is not encrypted: name an https://"),
        ("ftp://example.com/a.tsv", "name a file, a folder, https:// or s3://"),
        ("file:///etc/passwd", "names no host"),
        ("https://me:secret@example.com/a.tsv", "no user and no password"),
        ("https://", "names no host"),
        ("https://[1/a", "cannot be read"),
        ("https://exa\x01mple.com/a.tsv", "is no address"),
    ],
)
def test_a_url_that_cannot_be_taken_is_said_without_its_secrets(tmp_path: Path, url: str, said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        brought(url, tmp_path)
    assert "secret" not in str(caught.value)


def test_a_signature_is_shown_nowhere() -> None:
    shown = read_address("https://h/a.tsv?format=csv&X-Amz-Signature=abc&X-Amz-Credential=me&token=x").shown
    assert shown == "https://h/a.tsv?format=csv"


@pytest.mark.parametrize(
    ("path", "name"),
    [("/a/b.tsv", "b.tsv"), ("/..%2f..%2fetc%2fpasswd", "passwd"), ("/%00%0a", "__"), ("/", "reviews"), ("/.x", "x")],
)
def test_a_file_is_called_as_no_path_can_harm(path: str, name: str) -> None:
    [file] = remote_files(f"https://example.com{path}")
    assert file.name == name


def test_it_leaves_room_on_the_disk_and_takes_no_giant(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloading, "FREE_BYTES", shutil.disk_usage(tmp_path).total)
    with pytest.raises(MachineError, match="does not fit: .* GB free"):
        brought(web.url, tmp_path)
    monkeypatch.setattr(downloading, "FREE_BYTES", 0)
    monkeypatch.setattr(downloading, "LARGEST_BYTES", 1000)
    with pytest.raises(DataError, match="has more than"):
        brought(web.url, tmp_path)
    monkeypatch.setattr(downloading, "_LOOKED_AFTER", 1000)
    web.length = False
    with pytest.raises(DataError, match="has more than"):
        brought(web.url, tmp_path)


def test_a_server_that_nobody_vouches_for_is_refused_at_once(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes a certificate that nobody vouches for, is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "1"]
        + ["-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with served(context) as web, pytest.raises(DataError, match="is not trusted: .*SSL_CERT_FILE"):
        brought(web.url, tmp_path / "downloads")


def test_nothing_that_listens_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="ConnectError.*look at the network"):
        brought("http://127.0.0.1:9/a.tsv", tmp_path)


@pytest.fixture
def keep(s3_server: Any, bucket: str) -> Any:
    """Puts an object below the test's own prefix and returns its URL."""
    owner = Session("owner", "owner-secret", region_name="us-east-1").client("s3", endpoint_url=s3_server.endpoint)
    prefix = bucket.removeprefix("s3://stars/")

    def put(key: str, body: bytes) -> str:
        owner.put_object(Bucket="stars", Key=f"{prefix}/{key}", Body=body)
        return f"{bucket}/{key}"

    return put


@pytest.mark.slow
def test_a_bucket_is_read_with_the_stores_credentials(keep: Any, bucket: str, tmp_path: Path) -> None:
    for key, body in {
        "a.tsv": BODY,
        "b #1?.tsv.gz": b"b",
        "deeper/c.tsv": b"c",
        "notes.txt": b"no",
        "empty.tsv": b"",
    }.items():
        keep(key, body)
    assert brought(f"{bucket}/a.tsv", tmp_path).read_bytes() == BODY
    assert [file.url for file in remote_files(f"{bucket}/")] == [f"{bucket}/a.tsv", f"{bucket}/b #1?.tsv.gz"]
    assert [file.url for file in remote_files(f"{bucket}/*/c.*")] == [f"{bucket}/deeper/c.tsv"]
    with pytest.raises(DataError, match="holds no file of reviews"):
        remote_files(f"{bucket}/nothing/")
    with pytest.raises(NotFound, match=r"no .*absent\.tsv in s3://stars"):
        brought(f"{bucket}/absent.tsv", tmp_path)
    with pytest.raises(DataError, match=r"does not allow reading a\.tsv .*s3:GetObject"):
        brought("s3://somebody-elses/a.tsv", tmp_path)


@pytest.mark.slow
def test_an_object_that_was_cut_goes_on_and_a_changed_one_begins_anew(keep: Any, tmp_path: Path) -> None:
    url = keep("a.tsv", BODY)
    [file] = remote_files(url)

    def cut(done: int, _: int | None) -> None:
        if done >= 1 << 20:
            raise KeyboardInterrupt

    for body in (BODY, BODY[::-1]):
        folder = tmp_path / str(body == BODY)
        keep("a.tsv", BODY)
        with pytest.raises(KeyboardInterrupt):
            download(file, folder, cut, print)
        if body != BODY:
            keep("a.tsv", body)
        firsts: list[int] = []
        path = download(file, folder, lambda done, _, firsts=firsts: firsts.append(done), print)  # type: ignore[misc]
        assert path.read_bytes() == body
        assert (firsts[0] > 1 << 20) == (body == BODY), "on from the cut, or from the beginning"
    download(file, folder, cut, print)  # unchanged
    keep("a.tsv", b"another")
    assert download(file, folder, cut, print).read_bytes() == b"another"


def test_a_bucket_whose_library_is_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "training.ingest.remote.s3", None)
    with pytest.raises(ConfigError, match="s3:// needs"):
        remote_files("s3://bucket/a.tsv")
