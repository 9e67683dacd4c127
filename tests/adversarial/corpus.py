"""The worst inputs that we could think of, by name: texts of any size, lines of a file, bodies of a request.

Whatever comes to mind or turns up in the wild is added here, and goes through the whole chain: cleaning, tokens, the
handler, preparation, judging, and a gateway in front of TorchServe.
"""

from __future__ import annotations

import json
import unicodedata

from ..training.amazon import row

# Combining marks by falling class: sorting them pairwise is as much work as sorting can be.
_MARKS = "".join(
    sorted((chr(code) for code in range(0x300, 0x1F000) if unicodedata.combining(chr(code))), key=unicodedata.combining)
)[::-1]

_REPEATED = {
    "English": "It broke after two days and I want my money back. ",
    # normalising
    "one letter under all marks": _MARKS,
    "many letters under many marks": "a" + _MARKS[::20],
    "thirty marks a letter": "a" + _MARKS[::30][:30],
    "marks that decompose into two": "\u0344",
    "Tibetan vowels, which are starters that decompose into marks": "\u0f73",
    "marks between control characters": "e\u0007\u0301",
    "Hangul jamo": "\u1100\u1161\u11a8",
    "Hangul syllables": "가",
    "letters that decompose into three": "\u0390",
    "a ligature of eighteen letters": "\ufdfa",
    "Zalgo": "Z\u0335\u0321\u0353a\u0334\u031bl\u0338\u0322g\u0337o\u0336\u0355 ",
    # entities and markup
    "ampersands": "&",
    "numeric ampersands": "&#",
    "hexadecimal ampersands": "&#x",
    "names that are no entity": "&" + "a" * 32,
    "the longest entity without an end": "&CounterClockwiseContourIntegral",
    "entities in entities": "&amp;amp;#38;lt;",
    "entities of controls": "&#0;&#7;&#xD800;&#x110000;&#127;",
    "brackets": "<",
    "breaks without an end": "<br",
    "breaks of slashes": "</",
    "blanks in brackets": "<  ",
    # headlines that nearly name a star
    "stars": "*",
    "five out of": "5 out of ",
    "an an": "an ",
    "star upon star": "star",
    "one underscore after another": "_",
    "slashes after a five": "5/",
    # words
    "one word": "a",
    "words of a hundred letters": "zq" * 50 + " ",
    "words of a hundred letters between marks": "zq" * 50 + "!",
    "words of a hundred digits": "7" * 100 + " ",
    "words of 99 Cyrillic letters": "жщ" * 49 + " ",
    "words of thirty letters": "zq" * 15 + " ",
    "words of one letter": "a ",
    "words of a hundred cuneiform signs": "\U00012000" * 100 + " ",
    "punctuation": "!",
    "all kinds of punctuation": ".,!?—…。،",
    # scripts
    "Chinese": "好评如潮",
    "right to left": "منتج رائع جدا ",
    "overridden direction": "\u202ethgir ot tfel\u202c ",
    "Hindi": "नमस्ते क्\u200dष ",
    "emoji": "😀",
    "families": "👩\u200d👩\u200d👧\u200d👦",
    "flags": "🇩🇪",
    "skin tones": "👍🏽",
    "dotted capital I": "\u0130",
    # nothing
    "zero width": "\u200b",
    "byte order marks": "\ufeff",
    "no characters": "\uffff",
    "the last character": "\U0010ffff",
    "private use": "\ue000",
    "controls": "\u0001\u0002\u001b[31m",
    "NULs": "\0",
    "blanks of all kinds": " \u00a0\u2003\u3000\u2028\u0085",
    "carriage returns": "\r",
    # what the model must take for text
    "special tokens": "[SEP] [CLS] [PAD] ",
}


def texts(size: int) -> dict[str, str]:
    """The worst texts of so many characters, by name. No lone surrogates: see `NO_TEXT`."""
    filled = {name: (part * (size // len(part) + 1))[:size] for name, part in _REPEATED.items()}
    return filled | {
        "one letter under all marks": ("a" + filled["one letter under all marks"])[:size],
        "a decimal number that is no character": "&#" + "9" * (size - 3) + ";",
        "a decimal number that begins with zeros": "&#" + "0" * (size - 5) + "65;",
        "a hexadecimal number that is no character": "&#x" + "f" * (size - 4) + ";",
        "numbers as long as Python reads": ("&#" + "9" * 4300 + ";") * (size // 4303),
        "a bracket, blanks, a bracket": "<" + " " * (size - 2) + ">",
        "a five, blanks, an x": "5" + "_" * (size - 2) + "x",
        "NULs and a letter": "\0" * (size - 1) + "a",
        "one letter, then marks, then words": ("a" + filled["one letter under all marks"])[: size // 2]
        + filled["words of a hundred letters"][: size // 2],
        "one word, then words of a hundred letters": filled["one word"][: size // 2]
        + filled["words of a hundred letters"][: size // 2],
    }


NO_TEXT = {
    "half a pair": "half an emoji \ud83d",
    "the other half": "\udc00 half an emoji",
    "pairs in the wrong order": "\udc00\ud800" * 100,
}
"""What no encoder can write: refused on the wire, cleaned anywhere else."""

BODIES = {
    "nothing": b"",
    "an open list": b"[",
    "a hundred thousand lists": b"[" * 100_000,
    "a hundred thousand objects": b'{"a":' * 100_000,
    "deep in a review": b'{"text": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "a number of 5,000 digits": b'{"text": ' + b"1" * 5_000 + b"}",
    "a number of 200,000 digits": b'{"text": "a", "title": ' + b"9" * 200_000 + b"}",
    "beyond the largest float": b'{"text": 1e999}',
    "not a number": b'{"text": NaN}',
    "the same name twice": b'{"text": 1, "text": []}',
    "not UTF-8": b'{"text": "caf\xe9"}',
    "half a pair": b'{"text": "\\ud83d"}',
    "UTF-16": '{"text": "a"}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf[]",
    "NUL": b'{"text": "a\0"}',
    "many reviews that are none": json.dumps({"reviews": [[]] * 64}).encode(),
    "sixty-five reviews": json.dumps({"reviews": [{"text": "a"}] * 65}).encode(),
    "reviews in reviews": b'{"reviews": ' * 1000 + b"1" + b"}" * 1000,
}
"""Bodies that hold no review, each of them an error of the client's."""


def lines(size: int) -> dict[str, bytes]:
    """The worst texts as the bodies of TSV rows: what would be another column or row in them is a blank."""
    named = {**texts(size), **NO_TEXT}
    return {
        name: row(review_id=f"W{number}", review_body=text.replace("\t", " ").replace("\n", " ")).encode(
            "utf-8", "surrogatepass"
        )
        for number, (name, text) in enumerate(named.items())
    }
