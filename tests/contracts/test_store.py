"""What every object store must do. A new kind of store is one more parameter of the fixture."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from contracts.errors import Conflict, NotFound, StoreError
from contracts.store.protocol import ObjectStore
from contracts.store.urls import open_store

KEY = "releases/review-stars/v1/manifest.json"


@pytest.fixture(params=["file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """An empty store of each kind."""
    urls = {"file": (tmp_path / "store").as_uri()}
    return open_store(urls[request.param])


def test_write_read_list_delete(store: ObjectStore) -> None:
    etag = store.write(KEY, b"one")
    assert store.read(KEY) == (b"one", etag)
    store.write("releases/review-stars/v10/manifest.json", b"ten")
    store.write("channels/review-stars/production.json", b"{}")
    assert store.list("releases/review-stars/v1") == [KEY, "releases/review-stars/v10/manifest.json"]
    assert store.list("releases/review-stars/v1/") == [KEY]
    assert len(store.list("")) == 3
    store.delete(KEY)
    store.delete(KEY)
    with pytest.raises(NotFound, match="manifest.json"):
        store.read(KEY)


def test_if_absent_never_overwrites(store: ObjectStore, tmp_path: Path) -> None:
    store.write(KEY, b"one", if_absent=True)
    with pytest.raises(Conflict, match="never overwritten"):
        store.write(KEY, b"two", if_absent=True)
    (tmp_path / "file").write_bytes(b"two")
    with pytest.raises(Conflict):
        store.upload(tmp_path / "file", KEY, if_absent=True)
    assert store.read(KEY).data == b"one"


def test_compare_and_swap(store: ObjectStore) -> None:
    first = store.write(KEY, b"one")
    second = store.write(KEY, b"two", if_match=first)
    with pytest.raises(Conflict, match="read it again"):
        store.write(KEY, b"three", if_match=first)
    assert store.read(KEY) == (b"two", second)
    with pytest.raises(Conflict):
        store.write("other", b"x", if_match=first)


def test_one_of_many_writers_wins(store: ObjectStore) -> None:
    first, won, lost = store.write(KEY, b"0"), [], []

    def swap(i: int) -> None:
        try:
            store.write(KEY, str(i).encode(), if_match=first)
            won.append(i)
        except Conflict:
            lost.append(i)

    threads = [threading.Thread(target=swap, args=(i,)) for i in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1 and len(lost) == 7
    assert store.read(KEY).data == str(won[0]).encode()


def test_one_of_many_processes_wins(store: ObjectStore) -> None:
    code = "import sys; from contracts.store.urls import open_store\nfrom contracts.errors import Conflict\n"
    code += (
        "try: open_store(sys.argv[1]).write('k', sys.argv[2].encode(), if_absent=True)\nexcept Conflict: sys.exit(9)"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, store.url, str(i)]) for i in range(4)]
    assert sorted(process.wait(60) for process in running) == [0, 9, 9, 9]


def test_upload_and_download(store: ObjectStore, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "deep" / "target"
    source.write_bytes(os.urandom(300_000))
    store.upload(source, "a/b")
    store.download("a/b", target)
    assert target.read_bytes() == source.read_bytes()
    with pytest.raises(StoreError, match="at most 10"):
        store.download("a/b", tmp_path / "no", limit=10)
    with pytest.raises(StoreError, match="at most 10"):
        store.read("a/b", limit=10)
    with pytest.raises(StoreError, match="No such file"):
        store.upload(tmp_path / "absent", "a/c")
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/a",
        "a/",
        "a//b",
        "..",
        "../a",
        "a/../b",
        "a/./b",
        ".lock",
        "a/.tmp-1",
        "a\\b",
        "é",
        "a\n",
        "a\0b",
        "x" * 901,
    ],
)
def test_bad_keys(store: ObjectStore, key: str) -> None:
    for operation in (store.read, store.delete, lambda k: store.write(k, b""), lambda k: store.download(k, Path("x"))):
        with pytest.raises(StoreError, match="not a key"):
            operation(key)


def test_list_prefix_cannot_leave_the_store(store: ObjectStore) -> None:
    with pytest.raises(StoreError, match="not a key"):
        store.list("../")
