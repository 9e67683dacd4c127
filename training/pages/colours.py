"""The colours of our pages and pictures."""

from __future__ import annotations

GROUNDS = {
    "ground": ("#ffffff", "#14181c"),
    "card": ("#f7f8f9", "#1c2126"),
    "ink": ("#1a1d21", "#e8eaed"),
    "soft": ("#59626c", "#a7b0ba"),
    "edge": ("#dde1e5", "#343b43"),
    "link": ("#1d5a92", "#8cc4f0"),
}
"""A page's own colours, on light ground and on dark."""
PALETTE = {
    "mark": ("#23669c", "#6fb3e4"),
    "pale": ("#6b8299", "#8fa3b5"),
    "star1": ("#ad3524", "#f0806c"),
    "star2": ("#cf6a2c", "#eeaa78"),
    "star3": ("#857f78", "#a9a39b"),
    "star4": ("#4687ba", "#74b0de"),
    "star5": ("#1d5486", "#b3d8f5"),
}
"""Name: on light ground, on dark ground. Each stands out from its ground by 3 to 1 or more (WCAG 2.2, 1.4.11)."""


def variables() -> str:
    """All of them as CSS variables; paper is light."""

    def of_ground(number: int) -> str:
        return ":root {" + "".join(f" --{name}: {pair[number]};" for name, pair in (GROUNDS | PALETTE).items()) + " }\n"

    return of_ground(0) + f"@media screen and (prefers-color-scheme: dark) {{ {of_ground(1)} }}\n"
