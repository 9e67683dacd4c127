"""Numbers as people read them."""

from __future__ import annotations


def percent(share: float) -> str:
    """0.432 as "43.2 %", what is less than a tenth of a percent with another digit."""
    if 0 < share < 0.00005:
        return "under 0.01\N{NO-BREAK SPACE}%"
    digits = 0 if share in (0, 1) else 1 if share >= 0.001 else 2
    return f"{100 * share:.{digits}f}\N{NO-BREAK SPACE}%"
