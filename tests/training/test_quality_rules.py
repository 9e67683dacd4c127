"""What a person may write into rules.yaml, what is refused with a sentence, and what each rule means at its bounds."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import ConfigError
from training.quality.analysis import MEAN_STARS, OF_STARS, REPEATED_TEXTS, SIZE, Analysis, MetricName, compliance
from training.quality.anomalies import stability_index
from training.quality.rule import Measured, Outcome, Rule
from training.quality.rules_file import DEFAULT_RULES, checks, read_rules
from training.stages.quality import Config

ROWS_BY_STAR = {OF_STARS.metric(str(star)): 20.0 for star in range(1, 6)}


def written(folder: Path, *rules: dict[str, Any]) -> Path:
    file = folder / "rules.yaml"
    file.write_text(yaml.safe_dump({"rules": list(rules)}))
    return file


def rule(check: str, **fields: Any) -> Rule:
    return checks()[check].model_validate({"check": check, **fields})


def test_the_rules_that_come_with_the_project_use_every_check() -> None:
    rules = read_rules(DEFAULT_RULES)
    assert {each.check for each in rules} == checks().keys()
    assert {each.level for each in rules} == {"error", "warning"}


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"check": "sise", "at_least": 5}, r"rule 1 in .*: there is no check 'sise'; did you mean size\?"),
        ({"at_least": 5}, "names no check: write check: and one of size,"),
        ({"check": "size", "atleast": 5}, r"size, cannot be used: .*at_?least"),
        ({"check": "size"}, "at_least: is missing"),
        ({"check": "size", "at_least": -1}, "at_least: must be 0 or more"),
        ({"check": "size", "at_least": 9, "at_most": 8}, "at_least 9 and at_most 8 leave nothing between them"),
        ({"check": "stars", "lowest": 5, "highest": 1}, "lowest 5 and highest 1 leave nothing between them"),
        ({"check": "stars", "lowest": 0}, "lowest: must be 1 or more"),
        ({"check": "stars", "at_least": 1.1}, "at_least: must be 1 or less"),
        ({"check": "stars", "level": "fatal"}, "level: is none of what there is"),
        ({"check": "dates", "earliest": "2020-01-01", "latest": "2019-01-01"}, "leave nothing between them"),
        ({"check": "dates", "earliest": "2990-01-01"}, "earliest 2990-01-01 and latest today leave nothing"),
        (
            {"check": "completeness", "column": "star_ratings"},
            "column: is none of what there is; did you mean star_rating",
        ),
        ({"check": "known_marketplace", "known": []}, "known: must hold 1 or more"),
        ({"check": "known_marketplace", "known": ["US') or 1=1 --"]}, "known.0: must match"),
        ({"check": "quarantined", "reason": "a'b", "at_most": 0.1}, "reason: must match"),
        ({"check": "duplicates", "at_most": "few"}, "at_most: must be a number"),
        ({"check": "size_change", "at_most": 1}, "at_most: must be more than 1"),
    ],
)
def test_a_rule_that_cannot_be_used_is_one_sentence(entry: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said) as raised:
        read_rules(written(tmp_path, entry))
    assert "rule 1 in" in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"rules:\n  - check: [", r"is no YAML \(line 2\): compare it with"),
        (b"\x00\xff", "is no YAML"),
        (b"", "must hold one list, named rules"),
        (b"- check: size", "must hold one list, named rules"),
        (b"rules: []", "must hold one list, named rules"),
        (b"rules: {check: size}", "must hold one list, named rules"),
        (b"rules: [size]", "rule 1 in .* names no check"),
        (b"rules: [{check: {a: b}}]", "rule 1 in .* names no check"),
        (b"!!python/object/apply:os.system ['false']", "is no YAML"),
    ],
)
def test_a_file_that_is_no_rules_file_is_one_sentence(content: bytes, said: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=said) as raised:
        read_rules(file)
    assert str(file) in str(raised.value) and "\n" not in str(raised.value)


def test_wrong_rules_are_refused_with_the_settings_before_any_stage(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        Config(rules=str(tmp_path / "nowhere.yaml"))
    with pytest.raises(ConfigError, match="no check 'sise'"):
        Config(rules=str(written(tmp_path, {"check": "sise"})))


@pytest.mark.parametrize(
    ("made", "metrics", "kept"),
    [
        (rule("size", at_least=50), {SIZE.metric(): 50}, True),
        (rule("size", at_least=50), {SIZE.metric(): 49}, False),
        (rule("size", at_least=0, at_most=50), {SIZE.metric(): 51}, False),
        (rule("rows_per_star", at_least=20), ROWS_BY_STAR, True),
        (rule("rows_per_star", at_least=1), {**ROWS_BY_STAR, OF_STARS.metric("3"): 0.0}, False),
        (rule("completeness", column="vine", at_least=0.5), {MetricName("Completeness", "vine"): 0.5}, True),
        (rule("completeness", column="vine"), {MetricName("Completeness", "vine"): 0.999}, False),
        (rule("uniqueness", column="vine"), {MetricName("Uniqueness", "vine"): 1.0}, True),
        (rule("uniqueness", column="review_id"), {MetricName("Uniqueness", "given_id"): 0.99}, False),
        (rule("uniqueness", column="review_id"), {}, True),
        (rule("stars"), {compliance("star_rating between 1 and 5").metric(): 0.99}, False),
        (rule("stars"), {}, True),
        (rule("body_not_blank", at_least=0.9), {compliance("review_body > 0").metric(): 0.9}, True),
        (rule("duplicates", at_most=0.25), {REPEATED_TEXTS.metric(): 0.75}, True),
        (rule("duplicates", at_most=0.25), {REPEATED_TEXTS.metric(): 0.7}, False),
        (rule("default_headlines", at_most=0.1), {compliance("default_headline").metric(): 0.2}, False),
        (rule("quarantined", at_most=0.1), {MetricName("Quarantined"): 0.1}, True),
        (rule("quarantined", at_most=0.1, reason="empty_body"), {MetricName("Quarantined"): 0.9}, True),
        (rule("quarantined", at_most=0, reason="nul"), {MetricName("Quarantined", "*", "nul"): 0.01}, False),
    ],
)
def test_a_rule_at_its_bounds(made: Rule, metrics: dict[MetricName, float], kept: bool) -> None:
    assert made.judge(Measured(metrics)).kept is kept


def test_dates_until_today_allow_for_the_time_zone_that_is_ahead() -> None:
    (analysis,) = rule("dates", earliest=datetime.date(1995, 1, 1)).analyses
    assert analysis.predicate == (
        "review_date is null or review_date between date'1995-01-01' and date_add(current_date(), 1)"
    )


CHANGES = [
    ("size_change", {"at_most": 2}, SIZE.metric(), [100, 110, 5000], {55: True, 54: False, 220: True, 221: False}),
    ("mean_stars_change", {"at_most": 0.5}, MEAN_STARS.metric(), [3, 4, 4], {3.5: True, 3.4: False, 4.6: False}),
    (
        "completeness_change",
        {"at_most": 0.2},
        Analysis("Completeness", ("vine",)).metric(),
        [1, 1, 0],
        {0.8: True, 0.7: False, 1: True},
    ),
]


@pytest.mark.parametrize(("check", "fields", "name", "before", "now"), CHANGES)
def test_a_change_is_one_from_the_median_of_earlier_runs(
    check: str, fields: dict[str, float], name: MetricName, before: list[float], now: dict[float, bool]
) -> None:
    made = rule(check, **fields)
    assert made.level == "warning"
    past = [{name: value} for value in before]
    for value, kept in now.items():
        assert made.judge(Measured({name: value}, past)).kept is kept, value
        assert made.judge(Measured({name: value})) == Outcome(True, None, made.judge(Measured({})).wanted)
    assert made.judge(Measured({}, past)).measured is None


def test_only_the_last_runs_count() -> None:
    past = [{SIZE.metric(): 1e9}] * 20 + [{SIZE.metric(): 100}] * 5
    assert rule("size_change", at_most=2).judge(Measured({SIZE.metric(): 100}, past)).measured == 1


def test_other_stars_are_another_population() -> None:
    made = rule("star_distribution_change", at_most=0.25)
    fewer = {**ROWS_BY_STAR, OF_STARS.metric("1"): 10.0}
    bombed = {OF_STARS.metric("1"): 95.0, OF_STARS.metric("5"): 5.0}
    assert made.judge(Measured({name: 7 * rows for name, rows in ROWS_BY_STAR.items()}, [ROWS_BY_STAR])).measured == 0
    assert made.judge(Measured(fewer, [ROWS_BY_STAR])).kept
    assert not made.judge(Measured(bombed, [ROWS_BY_STAR])).kept
    assert made.judge(Measured({}, [ROWS_BY_STAR])).kept


def test_the_stability_index_of_a_textbook() -> None:
    """(0.6 - 0.5) ln(0.6 / 0.5) + (0.4 - 0.5) ln(0.4 / 0.5)."""
    assert stability_index({1: 0.5, 2: 0.5}, {1: 0.6, 2: 0.4}) == pytest.approx(0.0405465, abs=1e-6)


@given(st.lists(st.integers(0, 1000), min_size=5, max_size=5), st.lists(st.integers(0, 1000), min_size=5, max_size=5))
def test_the_stability_index_is_never_negative_nor_endless(before: list[int], now: list[int]) -> None:
    shares = [{star: n / max(1, sum(rows)) for star, n in enumerate(rows)} for rows in (before, now)]
    assert 0 <= stability_index(*shares) < 50
