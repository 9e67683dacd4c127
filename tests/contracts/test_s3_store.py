"""What only a bucket has: a server that may refuse, be slow, cut off, or be gone. Every failure says what to do."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from boto3.session import Session
from botocore.stub import ANY, Stubber

from contracts.errors import ConfigError, Conflict, NotFound, StoreError
from contracts.store import s3_client
from contracts.store.s3_store import PART_BYTES, S3Store
from contracts.store.urls import open_store

from .proxy import Proxy, proxied

KEY = "releases/review-stars/v1/model.safetensors"
SECRETS = ("writer-secret", "reader-secret", "owner-secret")


@pytest.fixture
def store(bucket: str) -> S3Store:
    return S3Store(bucket)


@pytest.fixture
def proxy(s3_server: Any, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """Stores that are opened from now on are reached through it."""
    with proxied(s3_server.endpoint) as found:
        monkeypatch.setenv("AWS_ENDPOINT_URL", found.endpoint)
        yield found


@pytest.fixture
def owner(s3_server: Any, bucket: str) -> Any:
    """The server's owner, who may do everything in any way."""
    return Session("owner", "owner-secret", region_name="us-east-1").client("s3", endpoint_url=s3_server.endpoint)


@pytest.fixture
def big(tmp_path: Path) -> Path:
    """A file that goes up in three parts."""
    path = tmp_path / "big"
    path.write_bytes(os.urandom(2 * PART_BYTES + 1000))
    return path


def refusal(work: Callable[[], object]) -> str:
    """What a StoreError says, which is no secret."""
    with pytest.raises(StoreError) as caught:
        work()
    said = str(caught.value)
    assert not any(secret in said for secret in SECRETS)
    assert not isinstance(caught.value, NotFound | Conflict)
    return said


# What a bucket can do


def test_a_big_file_goes_in_parts_and_comes_back(store: S3Store, big: Path, tmp_path: Path, owner: Any) -> None:
    store.upload(big, KEY, if_absent=True)
    found = owner.head_object(Bucket="stars", Key=f"{store.url.removeprefix('s3://stars/')}/{KEY}")
    assert found["ETag"].endswith('-3"')
    store.download(KEY, tmp_path / "back", limit=big.stat().st_size)
    assert (tmp_path / "back").read_bytes() == big.read_bytes()


def test_parts_that_lost_the_race_are_not_left(
    store: S3Store, big: Path, owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else's object appears while the parts are sent."""
    monkeypatch.setattr(S3Store, "_exists", lambda *_: False)
    store.write(KEY, b"theirs")
    with pytest.raises(Conflict, match="never overwritten"):
        store.upload(big, KEY, if_absent=True)
    assert store.read(KEY).data == b"theirs"
    prefix = store.url.removeprefix("s3://stars/")
    uploads = owner.list_multipart_uploads(Bucket="stars").get("Uploads", [])
    assert not [each for each in uploads if each["Key"].startswith(prefix)]


def test_keys_come_in_many_answers(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [f"a/{n:02}" for n in range(7)]
    for key in keys:
        store.write(key, b"")
    asked = []
    real = s3_client.new_client

    def two_at_once() -> Any:
        client = real()
        client.meta.events.register(
            "provide-client-params.s3.ListObjectsV2", lambda params, **_: asked.append(1) or params | {"MaxKeys": 2}
        )
        return client

    monkeypatch.setattr("contracts.store.s3_store.new_client", two_at_once)
    assert S3Store(store.url).list("a/") == keys and len(asked) == 4


def test_stores_of_one_bucket_do_not_see_each_other(bucket: str, owner: Any) -> None:
    one, other, whole = S3Store(f"{bucket}/one"), S3Store(f"{bucket}/one-more/"), S3Store("s3://stars")
    one.write("a", b"1")
    other.write("a", b"2")
    assert (one.list(""), other.list("")) == (["a"], ["a"])
    other.delete("a")
    assert one.read("a").data == b"1" and other.list("") == []
    assert whole.read(f"{one.url.removeprefix('s3://stars/')}/a").data == b"1"
    assert other.url == f"{bucket}/one-more"


@pytest.mark.parametrize("prefix", ["a b", "50%", "%20", "a+b", "x?y#z", "q='\"&<>[]{}()*,;:@$!~^`|"])
def test_a_prefix_with_odd_characters(bucket: str, prefix: str) -> None:
    store = open_store(f"{bucket}/{prefix}")
    store.check_writable()
    etag = store.write("channels/x.json", b"1", if_absent=True)
    store.write("channels/x.json", b"2", if_match=etag)
    assert open_store(store.url).list("") == ["channels/x.json"]
    store.delete("channels/x.json")


def test_what_is_no_object_of_ours_is_not_listed(store: S3Store, owner: Any) -> None:
    prefix = store.url.removeprefix("s3://stars/")
    for name in (".writable", "ünïcode", "folder/"):
        owner.put_object(Bucket="stars", Key=f"{prefix}/{name}", Body=b"")
    assert store.list("") == []


@pytest.mark.parametrize("setting", ["AES256", "aws:kms our-key"])
def test_what_is_written_is_encrypted_as_asked(
    bucket: str, owner: Any, big: Path, tmp_path: Path, setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STARS_STORE_ENCRYPTION", setting)
    store = S3Store(bucket)
    etag = store.write("a", b"1", if_absent=True)
    store.write("a", b"2", if_match=etag)
    store.upload(big, "b")
    for key in ("a", "b"):
        found = owner.head_object(Bucket="stars", Key=f"{bucket.removeprefix('s3://stars/')}/{key}")
        assert f"{found['ServerSideEncryption']} {found.get('SSEKMSKeyId', '')}".strip() == setting
    store.download("b", tmp_path / "back")
    assert store.read("a").data == b"2" and (tmp_path / "back").read_bytes() == big.read_bytes()


def test_encryption_with_the_accounts_own_key(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Amazon has a key for who names none; SeaweedFS has none, so it is only looked at what is asked."""
    monkeypatch.setenv("STARS_STORE_ENCRYPTION", "aws:kms")
    store = S3Store(bucket)
    asked = {"Bucket": "stars", "Key": ANY, "Body": ANY, "ServerSideEncryption": "aws:kms"}
    with Stubber(store._client) as server:
        server.add_response("put_object", {"ETag": '"1"'}, asked)
        assert store.write("a", b"1") == '"1"'


@pytest.mark.parametrize("wrong", ["aes", "AES256 key", "aws:kms:key"])
def test_an_encryption_that_there_is_not(bucket: str, wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STARS_STORE_ENCRYPTION", wrong)
    with pytest.raises(ConfigError, match="use AES256, aws:kms"):
        S3Store(bucket)


# Bad URLs and settings


@pytest.mark.parametrize("url", ["s3://", "s3:///prefix", "s3://UPPER/x", "s3://a_b", "s3://ab/../x", "s3://abc/a//b"])
def test_urls_that_name_no_store(url: str) -> None:
    with pytest.raises(ConfigError, match="s3://bucket/prefix|no store"):
        open_store(url)


@pytest.mark.parametrize("url", ["s3://AKIAEXAMPLE:hidden@stars/x", "s3://AKIAEXAMPLE@stars", "s3://host:9000/stars"])
def test_a_key_or_a_host_in_the_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError, match="AWS_ACCESS_KEY_ID") as caught:
        open_store(url)
    assert "AKIA" not in str(caught.value) and "hidden" not in str(caught.value)


def test_a_wrong_profile(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(ConfigError, match="nobody"):
        S3Store(bucket)


def test_without_boto3_it_says_how_to_install(bucket: str) -> None:
    code = "import sys; sys.modules['boto3.session'] = None\nfrom contracts.store.urls import open_store\n"
    code += "from contracts.errors import ConfigError\ntry: open_store(sys.argv[1])\nexcept ConfigError as e: print(e)"
    done = subprocess.run([sys.executable, "-c", code, bucket], capture_output=True, text=True, check=True)
    assert "needs boto3" in done.stdout and "make setup" in done.stdout


# Refusals


def test_no_credentials(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "there are no credentials" in refusal(lambda: S3Store(bucket).read(KEY))


@pytest.mark.parametrize("key", ["writer", "stranger"])
def test_wrong_credentials(bucket: str, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    said = refusal(lambda: S3Store(bucket).write(KEY, b"1"))
    assert "refuses the credentials" in said and "AWS_ACCESS_KEY_ID" in said


def test_a_missing_bucket_is_no_missing_object(s3_server: Any, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3_server.environment(s3_server.endpoint, "owner").items():
        monkeypatch.setenv(name, value)
    store = S3Store("s3://missing/releases")
    for work in (lambda: store.read(KEY), lambda: store.list(""), store.check_writable):
        assert "there is no bucket missing at http://127.0.0.1" in refusal(work)


def test_no_permission_to_write(store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write("a", b"1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "reader")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "reader-secret")
    reader = S3Store(store.url)
    assert reader.read("a").data == b"1" and reader.list("") == ["a"]
    (tmp_path / "file").write_bytes(b"2")
    for work in (
        reader.check_writable,
        lambda: reader.write("a", b"2"),
        lambda: reader.upload(tmp_path / "file", "b"),
        lambda: reader.delete("a"),
    ):
        assert "does not allow" in (said := refusal(work)) and "s3:PutObject" in said
    assert store.read("a").data == b"1"


def test_a_clock_that_is_wrong(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    late = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=2)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda *_, **__: late.replace(tzinfo=None))
    assert "set the clocks" in refusal(lambda: store.read(KEY))


# Networks


def test_a_store_that_is_down(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    start = time.monotonic()
    said = refusal(lambda: S3Store(bucket).read(KEY))
    assert "cannot be reached at http://127.0.0.1:1" in said and "AWS_ENDPOINT_URL" in said
    assert time.monotonic() - start < 15


def test_a_store_that_says_nothing(proxy: Proxy, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_client, "SILENT_SECONDS", 0.3)
    proxy.rate = 1e-3
    assert "cannot be reached" in refusal(lambda: S3Store(bucket).read(KEY))
    assert proxy.connections == s3_client.ATTEMPTS


def test_a_store_that_is_too_slow_is_given_up(
    proxy: Proxy, store: S3Store, big: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.upload(big, KEY)
    monkeypatch.setattr(s3_client, "OPERATION_SECONDS", 0.5)
    monkeypatch.setattr(s3_client, "SLOWEST", 2**30)
    slow = S3Store(store.url)
    proxy.rate = 1e6
    start = time.monotonic()
    assert "too slow" in refusal(lambda: slow.download(KEY, tmp_path / "back"))
    assert "too slow" in refusal(lambda: slow.upload(big, "other"))
    assert time.monotonic() - start < 10
    assert [path.name for path in tmp_path.iterdir()] == ["big"]
    assert "other" not in store.list("")


def test_a_download_that_is_cut_goes_on_where_it_was_cut(
    proxy: Proxy, store: S3Store, big: Path, tmp_path: Path
) -> None:
    store.upload(big, KEY)
    proxy.cuts = [10_000_000, 15_000_000]
    S3Store(store.url).download(KEY, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == big.read_bytes()
    assert proxy.cuts == []


def test_a_download_that_is_cut_again_and_again(proxy: Proxy, store: S3Store, big: Path, tmp_path: Path) -> None:
    store.upload(big, KEY)
    proxy.cuts = [100_000] * 20
    assert "breaks off" in refusal(lambda: S3Store(store.url).download(KEY, tmp_path / "back"))
    assert [path.name for path in tmp_path.iterdir()] == ["big"]


def test_a_write_whose_answer_was_lost_is_told_as_done(proxy: Proxy, bucket: str) -> None:
    answered = 30  # past "HTTP/1.1 100 Continue", into the first line of the answer
    proxy.cuts = [answered]
    store = S3Store(bucket)
    first = store.write("a", b"1", if_absent=True)
    proxy.cuts = [answered]
    second = S3Store(bucket).write("a", b"2", if_match=first)
    assert proxy.connections >= 4 and store.read("a") == (b"2", second)


def test_a_write_that_is_lost_to_another_meanwhile_is_a_conflict(proxy: Proxy, bucket: str, store: S3Store) -> None:
    store.write("a", b"theirs")
    proxy.cuts = [30]
    with pytest.raises(Conflict):
        S3Store(bucket).write("a", b"mine", if_absent=True)


def test_what_comes_damaged_is_asked_for_again(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both checksums are in the answer's head; a changed byte of the body does not fit."""
    store.write("a", b"1")
    import botocore.httpchecksum

    real, damaged = botocore.httpchecksum.StreamingChecksumBody.read, []

    def read(self: Any, amount: int | None = None) -> bytes:
        if not damaged:
            self._checksum.update(b"noise")
            damaged.append(1)
        return real(self, amount)

    monkeypatch.setattr(botocore.httpchecksum.StreamingChecksumBody, "read", read)
    assert store.read("a").data == b"1" and damaged
