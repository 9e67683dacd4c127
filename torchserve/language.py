"""Whether a review is in a language that the model was trained on. A cheap hint beside the stars, never a refusal.

It is decided by the script of the letters, and by how many of the words are among the thousand that English reviews use
most: a language that nobody thought of is noticed as well as French. docs/api.md says how often it is right.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contracts.wire import Unfamiliar

WORDS_FILES = {"en": Path(__file__).with_name("english.txt")}
"""By language, the words that stand in the most reviews, over categories of equal weight; names of makers left out."""

CHARACTERS_READ = 2000
"""Enough to know a language, and a bound for the time that it takes."""

_LETTER = re.compile(r"[^\W\d_]")
# Basic Latin to Latin Extended-B, and Latin Extended Additional, which Vietnamese needs.
_OTHER_SCRIPT = re.compile(r"[^\W\d_\u0041-\u024f\u1e00-\u1eff]")
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")


class Language:
    """What the model's training has made familiar. Of a language without a list of words nothing is said."""

    def __init__(self, language: str) -> None:
        file = WORDS_FILES.get(language)
        self._known = frozenset(file.read_text(encoding="ascii").split()) if file else None

    def unfamiliar(self, text: str) -> Unfamiliar | None:
        """What is unfamiliar about a cleaned text; None also where it is too short to tell."""
        if self._known is None:
            return None
        text = text[:CHARACTERS_READ].lower().replace("’", "'")
        if not text.isascii() and 3 * len(_OTHER_SCRIPT.findall(text)) > len(_LETTER.findall(text)):
            return "script"
        words = _WORD.findall(text)
        known = sum(word in self._known for word in words)
        # Of English words four in five are known; below two in five, and for short texts by a margin, it is something
        # else. The fewest words that can be sure are four, all of them unknown.
        return "language" if 5 * known + 8 <= 2 * len(words) else None
