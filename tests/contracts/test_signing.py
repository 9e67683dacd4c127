"""Signatures of manifests: over what is stored, and what the bundled release has instead of one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import ConfigError, Conflict, ReleaseError
from contracts.release import channels
from contracts.release.default_store import default_store
from contracts.release.files import MANIFEST
from contracts.release.lookup import find
from contracts.release.manifest import EngineSpec, Manifest
from contracts.release.published import versions
from contracts.release.release import Release, verify
from contracts.release.signing import signature_problem, signed
from contracts.release.strict_json import load_json
from contracts.release.transfer import fetch, publish, sign, write_manifest
from contracts.settings import Home
from contracts.store.file_store import FileStore

Build = Callable[..., tuple[Path, Manifest]]
NAME = "review-stars"
BY_0_1 = Path(__file__).with_name("signed_by_0_1.json")
"""A manifest as the project's version 0.1 has signed it, when it still signed what the model of the fields gave."""


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], None]:
    """Sets $STARS_SIGNING_KEY, or takes it away."""

    def choose(value: str | None) -> None:
        if value is None:
            monkeypatch.delenv("STARS_SIGNING_KEY", raising=False)
        else:
            monkeypatch.setenv("STARS_SIGNING_KEY", value)

    return choose


def only_problem(folder: Path) -> str:
    [problem] = verify(folder)
    return problem


def test_signature(build: Build, key: Callable[[str | None], None]) -> None:
    folder, manifest = build()
    assert write_manifest(folder, manifest).signature is None
    key("k1")
    assert "not signed" in only_problem(folder) and "stars release sign" in only_problem(folder)
    write_manifest(folder, manifest)
    assert verify(folder) == []
    document = json.loads((folder / MANIFEST).read_bytes())
    (folder / MANIFEST).write_text(json.dumps(document | {"created": "2026-01-01T00:00:00Z"}))
    assert "wrong signature" in only_problem(folder)
    write_manifest(folder, manifest)
    key("k2")
    assert "wrong signature" in only_problem(folder)
    key(None)
    assert verify(folder) == []


def test_a_signature_survives_the_store(
    store: FileStore, build: Build, tmp_path: Path, key: Callable[[str | None], None]
) -> None:
    key("k1")
    folder, manifest = build(
        created=datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC), metrics={"é": [1, 1.0, 1e-300]}
    )
    publish(store, folder, manifest)
    fetched = fetch(store, NAME, "v1", tmp_path / "cache")
    assert fetched.manifest.signature is not None
    assert (fetched.folder / MANIFEST).read_bytes() == store.read(f"releases/{NAME}/v1/{MANIFEST}").data
    key("k2")
    with pytest.raises(ReleaseError, match="wrong signature"):
        fetch(store, NAME, "v1", tmp_path / "cache")


class TestStoredBytes:
    """Fault 15."""

    def test_what_0_1_signed_still_verifies(self) -> None:
        document = load_json(BY_0_1.read_bytes())
        assert signature_problem(document, b"a key of 0.1") is None
        assert "wrong signature" in str(signature_problem(document, b"another"))
        manifest = Manifest.parse(BY_0_1.read_bytes())
        assert manifest.version == "signed-by-0.1"
        assert manifest.engines == (EngineSpec(kind="torch", batch_size=8),)

    def test_a_field_that_is_added_later_breaks_no_signature(
        self, build: Build, key: Callable[[str | None], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Later(Manifest):
            calibrated_on: str = "validation"

        key("k1")
        folder, manifest = build()
        write_manifest(folder, manifest)
        monkeypatch.setattr("contracts.release.inspection.Manifest", Later)
        assert verify(folder) == []
        assert Release.open(folder).manifest.model_dump()["calibrated_on"] == "validation"

    def test_a_field_of_a_newer_version_is_refused_in_a_sentence(
        self, build: Build, key: Callable[[str | None], None]
    ) -> None:
        key("k1")
        folder, manifest = build()
        document = json.loads(manifest.to_json())
        for more, told in (
            ({"calibrated_on": "x"}, "calibrated_on: is not known; "),
            ({"schema_version": 3}, "schema_version is 3 and this version of the project reads 2: update it"),
        ):
            (folder / MANIFEST).write_text(json.dumps(signed(document | more, b"k1")))
            assert told in only_problem(folder) and "update" in only_problem(folder)

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ('"temperature": 1.25', '"temperature": 9, "temperature": 1.25'),
            ('"size": 7', '"size": 8, "size": 7'),
            ('"value": 0.61', '"value": NaN'),
            ('"value": 0.61', '"value": 1e999'),
            ('"value": 0.61', '"value": -Infinity'),
            ('"value": 0.61', f'"value": 1{"0" * 5000}'),
            ('"signature": ', '"signature": null, "signature": '),
        ],
    )
    def test_nothing_that_two_readers_could_read_differently(
        self, build: Build, key: Callable[[str | None], None], old: str, new: str
    ) -> None:
        key("k1")
        folder, manifest = build()
        write_manifest(folder, manifest)
        text = (folder / MANIFEST).read_text()
        assert old in text
        (folder / MANIFEST).write_text(text.replace(old, new, 1))
        assert verify(folder)

    @pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
    def test_other_encodings(self, build: Build, encoding: str) -> None:
        folder, manifest = build()
        write_manifest(folder, manifest)
        (folder / MANIFEST).write_bytes((folder / MANIFEST).read_text().encode(encoding))
        assert verify(folder)

    @pytest.mark.parametrize(
        ("number", "other"), [("0.61", "0.6100000001"), ("0.61", "6.1"), ("0.61", "true"), ("0.61", '"0.61"')]
    )
    def test_another_number_is_another_document(
        self, build: Build, key: Callable[[str | None], None], number: str, other: str
    ) -> None:
        key("k1")
        folder, manifest = build()
        write_manifest(folder, manifest)
        text = (folder / MANIFEST).read_text()
        (folder / MANIFEST).write_text(text.replace(f'"value": {number}', f'"value": {other}'))
        assert "wrong signature" in only_problem(folder)

    @pytest.mark.parametrize("signature", [None, 5, [], {}, "", "ü", "\ud800"])
    def test_signatures_that_are_none(self, signature: Any) -> None:
        document = json.loads(json.dumps({"version": "v1", "signature": signature}))
        assert signature_problem(document, b"k1")


class TestSigning:
    def test_a_release_is_signed_where_it_lies(
        self, store: FileStore, build: Build, tmp_path: Path, key: Callable[[str | None], None]
    ) -> None:
        folder, manifest = build()
        publish(store, folder, manifest)
        with pytest.raises(ConfigError, match="STARS_SIGNING_KEY"):
            sign(store, NAME, "v1")
        for chosen in ("k1", "k2"):  # the second time with a new key
            key(chosen)
            with pytest.raises(ReleaseError, match="stars release sign VERSION|another key"):
                fetch(store, NAME, "v1", tmp_path / "cache")
            sign(store, NAME, "v1")
            assert fetch(store, NAME, "v1", tmp_path / "cache").manifest.version == "v1"

    def test_a_damaged_one_is_not(self, store: FileStore, build: Build, key: Callable[[str | None], None]) -> None:
        publish(store, *build())
        card = f"releases/{NAME}/v1/MODEL_CARD.md"
        store.write(card, store.read(card).data.replace(b"M", b"m"))
        key("k1")
        with pytest.raises(ReleaseError, match="sha256"):
            sign(store, NAME, "v1")

    def test_an_unsigned_one_is_not_published_over_by_a_signed_one(
        self, store: FileStore, build: Build, key: Callable[[str | None], None]
    ) -> None:
        folder, manifest = build()
        publish(store, folder, manifest)
        key("k1")
        with pytest.raises(Conflict):
            publish(store, folder, manifest)


class TestBundled:
    """Fault 12: the bundled release is unsigned, and trusted as the code is that it comes with."""

    @pytest.fixture
    def bundled(self, tmp_path: Path, build: Build, monkeypatch: pytest.MonkeyPatch) -> FileStore:
        """A checkout with an unsigned release."""
        monkeypatch.setattr("contracts.release.bundled.ROOT", tmp_path / "checkout")
        store = FileStore(tmp_path / "checkout" / "releases")
        publish(store, *build("v1"))
        channels.move(store, NAME, "production", "v1", "ann", None)
        return store

    def test_what_is_seeded_is_signed(
        self, bundled: FileStore, tmp_path: Path, key: Callable[[str | None], None]
    ) -> None:
        key("k1")
        home = Home(tmp_path / "home")
        for _ in range(2):
            store = default_store(home)
            assert fetch(store, NAME, "v1", tmp_path / "cache").manifest.signature is not None
        key("k2")  # and a new key signs it anew
        assert fetch(default_store(home), NAME, "v1", tmp_path / "cache").manifest.signature is not None

    def test_what_was_seeded_before_there_was_a_key_is_signed_at_the_next_start(
        self, bundled: FileStore, tmp_path: Path, key: Callable[[str | None], None]
    ) -> None:
        home = Home(tmp_path / "home")
        assert fetch(default_store(home), NAME, "v1", tmp_path / "cache").manifest.signature is None
        key("k1")
        assert fetch(default_store(home), NAME, "v1", tmp_path / "cache").manifest.signature is not None
        assert versions(default_store(home)) == ["v1"]

    def test_what_was_changed_in_the_own_store_is_not_signed_with_it(
        self, bundled: FileStore, build: Build, tmp_path: Path, key: Callable[[str | None], None]
    ) -> None:
        home = Home(tmp_path / "home")
        default_store(home)
        shutil.rmtree(tmp_path / "home/store/releases")
        publish(FileStore(tmp_path / "home/store"), *build("v1", 1))  # an attacker's, under the bundled name
        key("k1")
        with pytest.raises(ReleaseError, match="damaged"):
            fetch(default_store(home), NAME, "v1", tmp_path / "cache")

    def test_the_bundled_store_itself_is_opened_with_a_key(
        self, bundled: FileStore, build: Build, tmp_path: Path, key: Callable[[str | None], None]
    ) -> None:
        key("k1")
        before = {name: bundled.read(name).data for name in bundled.list("")}
        assert find("bundled", None, tmp_path / "cache").manifest.version == "v1"
        assert fetch(FileStore(bundled.folder), NAME, "v1", tmp_path / "cache").manifest.version == "v1"
        assert verify(bundled.folder / f"releases/{NAME}/v1") == []
        assert Release.open(bundled.folder / f"releases/{NAME}/v1").manifest.version == "v1"
        assert {name: bundled.read(name).data for name in bundled.list("")} == before
        folder, manifest = build("v2")
        (folder / MANIFEST).write_bytes(manifest.to_json())
        assert "not signed" in only_problem(folder)

    def test_its_hashes_are_verified_all_the_same(
        self, bundled: FileStore, tmp_path: Path, key: Callable[[str | None], None]
    ) -> None:
        key("k1")
        card = bundled.folder / f"releases/{NAME}/v1/MODEL_CARD.md"
        card.write_bytes(card.read_bytes().replace(b"M", b"m"))
        with pytest.raises(ReleaseError, match="sha256"):
            find("bundled", None, tmp_path / "cache")
