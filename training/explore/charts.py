"""What a chart shows, before anybody draws it: page/charts.html.j2 for a browser, figures.py with matplotlib.

A chart is values with their labels and the words beside them. Colours are names, of training/pages/colours.py.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bar:
    """One value. `low` and `high` are the ends of its interval, where it has one."""

    label: str
    value: float
    text: str
    colour: str = "mark"
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Bars:
    """A bar a row, or a dot with its interval. `long_labels` are titles, which need a line of their own."""

    unit: str
    bars: tuple[Bar, ...]
    start: float = 0.0
    end: float | None = None
    dots: bool = False
    long_labels: bool = False

    @property
    def top(self) -> float:
        """Where the scale ends."""
        return self.end or max((bar.value for bar in self.bars), default=0.0) or 1.0


@dataclass(frozen=True)
class StackRow:
    label: str
    values: tuple[float, ...]
    text: str


@dataclass(frozen=True)
class Stacked:
    """A row of parts after each other; `parts` are their names and colours."""

    unit: str
    parts: tuple[tuple[str, str], ...]
    rows: tuple[StackRow, ...]

    @property
    def top(self) -> float:
        return max((sum(row.values) for row in self.rows), default=0.0) or 1.0


@dataclass(frozen=True)
class Span:
    label: str
    start: float
    end: float
    text: str


@dataclass(frozen=True)
class Spans:
    """From when to when, in years."""

    unit: str
    spans: tuple[Span, ...]

    @property
    def ticks(self) -> tuple[int, ...]:
        """Whole years, a handful, which hold all spans between the first and the last."""
        first, last = int(min(span.start for span in self.spans)), int(max(span.end for span in self.spans)) + 1
        step = next(step for step in (1, 2, 5, 10, 20, 50, 100) if (last - first) / step <= 7)
        first -= first % step
        return tuple(range(first, last + step, step))


@dataclass(frozen=True)
class Line:
    label: str
    points: tuple[tuple[float, float], ...]
    text: str


@dataclass(frozen=True)
class Lines:
    """A small chart a line, all on the same two scales. `text` says of a line how it ends."""

    unit: str
    lines: tuple[Line, ...]
    low: float
    high: float

    @property
    def years(self) -> tuple[float, float]:
        found = [x for line in self.lines for x, _ in line.points]
        return min(found), max(found)


@dataclass(frozen=True)
class Bin:
    label: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class Histogram:
    """Each bin a stack of parts. Every `step`th label is written."""

    unit: str
    parts: tuple[tuple[str, str], ...]
    bins: tuple[Bin, ...]
    step: int = 5

    @property
    def top(self) -> float:
        return max((sum(each.values) for each in self.bins), default=0.0) or 1.0


@dataclass(frozen=True)
class WordList:
    """Words with their weight: those that pull up above 0, those that pull down below."""

    label: str
    up: tuple[tuple[str, float], ...]
    down: tuple[tuple[str, float], ...]

    @property
    def top(self) -> float:
        return max(abs(weight) for _, weight in self.up + self.down)


@dataclass(frozen=True)
class Words:
    """Two short lists of words a panel, the weightiest first."""

    unit: str
    panels: tuple[WordList, ...]
    parts: tuple[tuple[str, str], ...] = (("pulls up", "star5"), ("pulls down", "star1"))


Chart = Bars | Stacked | Spans | Lines | Histogram | Words

STARS = tuple((f"{star} star{'s' if star > 1 else ''}", f"star{star}") for star in range(1, 6))
"""The parts of a stack of stars."""


def counted(number: float, thing: str, things: str | None = None) -> str:
    """ "1 review", "2,345 reviews"."""
    return f"{number:,.0f} {thing if number == 1 else things or thing + 's'}"


def readable(category: str) -> str:
    """A category as a person would write it."""
    return category.replace("_", " ")


def listed(names: list[str], most: int = 3) -> str:
    """ "Books, Baby and 3 more"."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join(", ".join(names).rsplit(", ", 1))
