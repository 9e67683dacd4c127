"""Fault 34: the admin key is changed in its file, without a restart."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs

from contracts.errors import ConfigError
from service.admin_key import AdminKey
from service.settings import Settings

OLD, NEW = "the-old-admin-key-1", "the-new-admin-key-2"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(OLD + "\n")
    return path


def test_a_new_key_holds_as_soon_as_it_is_in_the_file(gateway: Callable[..., httpx.Client], file: Path) -> None:
    client = gateway(admin_key=None, admin_key_file=file)

    def status(key: str) -> int:
        return client.get("/admin/jobs", headers={"authorization": f"Bearer {key}"}).status_code

    assert (status(OLD), status(NEW)) == (200, 403)
    file.write_text(NEW)  # in place
    assert (status(OLD), status(NEW)) == (403, 200)
    other = file.with_name("other")
    other.write_text(OLD)
    os.replace(other, file)  # another file under the same name
    assert (status(OLD), status(NEW)) == (200, 403)


def test_a_mounted_secret_is_another_file_behind_the_same_link(settings: Callable[..., Settings], file: Path) -> None:
    link, second = file.with_name("link"), file.with_name("second")
    link.symlink_to(file)
    key = AdminKey(settings(admin_key=None, admin_key_file=link))
    second.write_text(NEW)
    link.unlink()
    link.symlink_to(second)
    assert (key.is_right(OLD), key.is_right(NEW)) == (False, True)


@pytest.mark.parametrize("broken", [b"too-short-1", b"", b"\xff" * 32, None], ids=["short", "empty", "no text", "gone"])
def test_a_file_that_cannot_be_used_leaves_the_old_key_and_is_told_once(
    broken: bytes | None, settings: Callable[..., Settings], file: Path
) -> None:
    key = AdminKey(settings(admin_key=None, admin_key_file=file))
    if broken is None:
        file.unlink()
    else:
        file.write_bytes(broken)
    with capture_logs() as logs:
        assert [key.is_right(OLD) for _ in range(3)] == [True] * 3
    assert [event["event"] for event in logs] == ["admin_key_kept"]
    assert "too-short-1" not in str(logs) and str(file) in str(logs)
    file.write_text(NEW)
    assert (key.is_right(OLD), key.is_right(NEW)) == (False, True)


def test_a_broken_file_at_the_start_refuses_the_start(settings: Callable[..., Settings], file: Path) -> None:
    file.write_bytes(b"\xff" * 32)
    with pytest.raises(ConfigError, match="not UTF-8"):
        AdminKey(settings(admin_key=None, admin_key_file=file))


def test_a_key_from_the_environment_and_none_at_all_look_at_no_file(
    settings: Callable[..., Settings], file: Path
) -> None:
    assert AdminKey(settings(admin_key=NEW, admin_key_file=file)).is_right(NEW)
    nobody = AdminKey(settings(admin_key=None))
    assert not nobody.exists and not nobody.is_right("") and not nobody.is_right(OLD)
