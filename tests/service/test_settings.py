from __future__ import annotations

import re
from pathlib import Path

import pytest

from contracts.errors import ConfigError
from service.settings import Limits, Settings, load_settings

DOCS = Path(__file__).parents[2] / "docs"


def test_limits_are_the_published_ones() -> None:
    limits = Limits()
    assert (limits.text_characters, limits.reviews, limits.body_bytes, limits.deadline_seconds) == (
        20_000,
        64,
        1024 * 1024,
        10.0,
    )


def test_the_page_of_limits_shows_every_limit_with_its_default() -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \| ([\d.,]+) \| (.+) \|$", (DOCS / "limits.md").read_text(), re.MULTILINE)
    shown = {name: (float(value.replace(",", "")), text) for name, value, text in rows}
    assert shown == {name: (float(f.default), f.description) for name, f in Limits.model_fields.items()}


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"STARS_LIMITS__BODY_BYTES": "1000"}, "body_bytes"),
        ({"STARS_LIMITS__REVIEWS": "100"}, "model_reviews"),
        ({"STARS_LIMITS__QUEUE_REVIEWS": "10"}, "queue_reviews"),
        ({"STARS_LIMITS__DEADLINE_SECONDS": "0"}, "STARS_LIMITS__DEADLINE_SECONDS"),
        ({"STARS_LIMITS__REVIEW": "3"}, "STARS_LIMITS__REVIEW"),
        ({"STARS_PORT": "eighty"}, "STARS_PORT"),
    ],
)
def test_settings_that_contradict_or_make_no_sense_refuse_the_start(
    given: dict[str, str], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=named):
        load_settings(store="somewhere")


def test_settings_are_frozen(settings: type[Settings]) -> None:
    with pytest.raises(ValueError, match="frozen"):
        settings().port = 1


def test_a_wrong_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch, settings: type[Settings]) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(admin_key="short").read_admin_key()
    assert "short" not in str(caught.value).replace("shorter", "")


def test_the_admin_key_comes_from_its_file(tmp_path: Path, settings: type[Settings]) -> None:
    file = tmp_path / "key"
    file.write_text("0123456789abcdef\n")
    assert settings(admin_key=None, admin_key_file=file).read_admin_key() == "0123456789abcdef"
    with pytest.raises(ConfigError, match="cannot be read"):
        settings(admin_key=None, admin_key_file=tmp_path / "none").read_admin_key()
    assert settings(admin_key=None).read_admin_key() is None


def test_data_roots_are_separated_like_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STARS_DATA_ROOTS", "/a:/b")
    assert load_settings(store="x").data_roots == (Path("/a"), Path("/b"))
