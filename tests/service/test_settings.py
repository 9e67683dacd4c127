from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from contracts.errors import ConfigError
from contracts.jobs.data import data_roots
from contracts.limits import BODY_LIMIT, REQUEST_BYTES, REVIEWS_LIMIT
from contracts.model_folder import WorkerSettings
from contracts.review import Review
from contracts.wire import request_body
from service.app import create_app
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
        ({"STARS_PORT": "eighty"}, "^STARS_PORT: must be a whole number$"),
        # Fault 28: what the model server would refuse later.
        ({"STARS_LIMITS__TEXT_CHARACTERS": "100001"}, "STARS_LIMITS__TEXT_CHARACTERS: must be 100000 or less"),
        ({"STARS_LIMITS__TITLE_CHARACTERS": "100001"}, "TITLE_CHARACTERS: must be 100000 or less"),
        ({"STARS_LIMITS__CATEGORY_CHARACTERS": "100001"}, "CATEGORY_CHARACTERS: must be 100000 or less"),
        ({"STARS_LIMITS__REVIEWS": "257", "STARS_LIMITS__MODEL_REVIEWS": "257"}, "LIMITS__REVIEWS: must be 256 or"),
        ({"STARS_LIMITS__MODEL_REVIEWS": "257"}, "STARS_LIMITS__MODEL_REVIEWS: must be 256 or less"),
        ({"STARS_LIMITS__BODY_BYTES": "4194305"}, "STARS_LIMITS__BODY_BYTES: must be 4194304 or less"),
    ],
)
def test_settings_that_contradict_or_make_no_sense_refuse_the_start(
    given: dict[str, str], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=named):
        load_settings(store="somewhere")


def test_how_long_things_take_reaches_the_workers(settings: type[Settings]) -> None:
    """Fault 19. A short deadline is no reason to kill a worker on a busy machine."""
    assert settings().worker == WorkerSettings(workers=1, response_seconds=20, startup_seconds=120)
    given = {"load_seconds": 7.5, "model_workers": 3, "limits": {"deadline_seconds": 0.5}}
    assert settings(**given).worker == WorkerSettings(workers=3, response_seconds=10, startup_seconds=8)


@pytest.mark.parametrize("review", [{"text": "x"}, {"text": '\0\n"\\é\u2028😀' * 900}, {"text": "x" * 15_000}])
def test_a_body_within_its_limit_can_be_passed_on(review: dict[str, str]) -> None:
    """Fault 28: what the gateway spells out of it fits what the model server takes."""
    given = {"reviews": [review] * REVIEWS_LIMIT}
    body = json.dumps(given, separators=(",", ":"), ensure_ascii=False).encode()
    sent = request_body([Review(review["text"])] * REVIEWS_LIMIT, time.time())
    assert len(sent) - len(body) <= REQUEST_BYTES - BODY_LIMIT


def test_the_most_that_can_be_allowed_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    most = {"TEXT_CHARACTERS": 100_000, "REVIEWS": 256, "MODEL_REVIEWS": 256, "BODY_BYTES": BODY_LIMIT}
    for name, value in most.items():
        monkeypatch.setenv(f"STARS_LIMITS__{name}", str(value))
    assert load_settings(store="somewhere").limits.reviews == 256


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("mongodb://x", "names mongodb"),
        ("postgresql+psycopg2://me@host/x", "psycopg2, which is not installed"),
        ("sqlite:////proc/none/jobs.db", "cannot be written"),
    ],
)
def test_a_job_store_that_cannot_be_used_refuses_the_start(
    url: str, told: str, settings: Callable[..., Settings]
) -> None:
    """Fault 28: it was the first client's 422."""
    with pytest.raises(ConfigError, match=told):
        create_app(settings(jobs_url=url))


def test_a_database_that_is_down_refuses_nothing(settings: Callable[..., Settings], tmp_path: Path) -> None:
    create_app(settings(jobs_url=f"postgresql+psycopg://me@/x?host={tmp_path}"))


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
    monkeypatch.setenv("STARS_DATA_ROOTS", "/a:b")
    assert load_settings(store="x").data_roots == (Path("/a"), Path.cwd() / "b") == data_roots()
