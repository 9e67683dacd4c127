"""Whether a model is good enough to be released, and better than the one in production."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from contracts.errors import GateError
from training.judge.metrics import Interval


class Verdict(NamedTuple):
    """Whether a candidate should replace what is in production, and why."""

    verdict: Literal["promote", "keep"]
    reason: str


def decide(production: Mapping[str, Any] | None, ece: Interval, max_ece: float, max_slice_drop: float) -> Verdict:
    """Promote what is better beyond chance in accuracy or in MAE, and worse beyond chance in neither.

    Not what may have a calibration error above `max_ece`, for all that the test split says, and not what gets more than
    `max_slice_drop` fewer reviews of a slice right, beyond chance.
    """
    if ece["high"] > max_ece:
        return Verdict(
            "keep",
            f"The new model's calibration error may be {ece['high']:.3f} ({ece['value']:.3f}, {ece['low']:.3f} to "
            f"{ece['high']:.3f}), and evaluate.max_ece is {max_ece:g}: judge it on more reviews.",
        )
    if production is None:
        return Verdict("promote", "There is no version in production to compare with.")
    accuracy, mae = production["difference"]["accuracy"], production["difference"]["mae"]
    figures = (
        f"accuracy {accuracy['value']:+.1%} ({accuracy['low']:+.1%} to {accuracy['high']:+.1%}), "
        f"MAE {mae['value']:+.3f} ({mae['low']:+.3f} to {mae['high']:+.3f}) "
        f"against {production['version']} on {production['rows']:,} reviews"
    ).replace("%", " %")
    if accuracy["high"] < 0 or mae["low"] > 0:
        return Verdict("keep", f"The new model is worse beyond chance: {figures}.")
    fallen = {
        name: slice["accuracy"]
        for name, slice in production["slices"].items()
        if slice["accuracy"]["value"] < -max_slice_drop and slice["accuracy"]["high"] < 0
    }
    if fallen:
        said = "; ".join(f"{name}: accuracy {by['value']:+.1%}" for name, by in fallen.items()).replace("%", " %")
        return Verdict("keep", f"The new model is worse beyond chance on some reviews ({said}): {figures}.")
    if accuracy["low"] > 0 or mae["high"] < 0:
        return Verdict("promote", f"The new model is better beyond chance: {figures}.")
    return Verdict("keep", f"The new model is neither better nor worse beyond chance: {figures}.")


def check_floor(metrics: Mapping[str, Interval], floor: Mapping[str, Interval], name: str) -> None:
    """Raises GateError unless the accuracy is higher than the baseline's."""
    ours, theirs = metrics["accuracy"]["value"], floor["accuracy"]["value"]
    if ours <= theirs:
        raise GateError(
            f"the model gets {ours:.1%} of the test split right and the {name} baseline {theirs:.1%}: "
            "it has not learnt enough to be released. Train longer, or on more data"
        )


def check_leak(metrics: Mapping[str, Interval], most: float) -> None:
    """Raises GateError where the accuracy is beyond what reviews tell of their stars."""
    if (accuracy := metrics["accuracy"]["value"]) > most:
        raise GateError(
            f"the model gets {accuracy:.1%} of the test split right, all stars weighing the same, and "
            f"evaluate.max_accuracy is {most:.0%}: one review in six has a rating that its text does not support, so "
            "look for what gives the stars away (headlines, a column taken for the text, copies); or raise it if your "
            "reviews are that plain"
        )


def check_calibration(ece: Interval, most: float) -> None:
    """Raises GateError where the calibration error is above what a release may have, beyond chance."""
    if ece["low"] > most:
        raise GateError(
            f"the calibration error is {ece['value']:.3f} ({ece['low']:.3f} to {ece['high']:.3f}) where "
            f"evaluate.max_ece is {most:g}: the validation split, on which it is calibrated, is too small or unlike "
            "the test split. Prepare a larger one (prepare.validation_fraction)"
        )
