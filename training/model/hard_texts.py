"""Reviews that are hard on a network: what the parity gate compares TensorFlow and PyTorch on.

Written for this project, and the same on every machine: no text of a customer is needed to prove a conversion.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from contracts.review import Review

ONE_TOKEN = (
    "good", "bad", "ok", "no", "!", ".", "?", "7", "0", "a", "great", "waste", "five", "£", "½", "ß", "好", "ا", "😀",
)  # fmt: skip
EMOJI = (
    "😀😀😀", "love it ❤️❤️", "👍🏽", "👩‍👩‍👧‍👦 all liked it", "🇩🇪🇯🇵", "★★★★☆", "😡 never again 😡", "🎮🔥💯",
    "meh 😐", "⭐",
)  # fmt: skip
CJK = (
    "非常好用,推荐购买", "质量太差了,两天就坏了", "とても便利です。また買います。", "すぐ壊れた",
    "배송이 빨라요", "환불해 주세요", "一般般吧", "これはひどい製品だ", "很好 very good 很好", "ﾊﾝｶｸ ｶﾅ",
)  # fmt: skip
RIGHT_TO_LEFT = (
    "منتج رائع جدا", "لا يعمل", "מוצר מצוין", "לא עובד בכלל", "سيء جدا ولا أنصح به", "good منتج bad", "שלום 5 כוכבים",
    "\u202ereversed\u202c text", "مُمْتَاز", "עברית and English, together",
)  # fmt: skip
CONTROL = (
    "tab\tand\nnewline", "bell\x07bell", "null\x00inside", "zero\u200bwidth\u200bspace", "soft\u00adhyphen",
    "\ufeffmarked", "line\u2028separator", "del\x7fete", "escape\x1b[31mred\x1b[0m", "\u00a0non\u00a0breaking\u00a0",
)  # fmt: skip
ENTITIES = (
    "I&#39;m happy &amp; it&#39;s cheap", "&quot;works&quot;", "5 &gt; 4 &lt; 6", "line<br />break<br/>break<BR>break",
    "&amp;amp; twice", "caf&eacute;", "&#128512;", "&notanentity;", "&#x41;&#x42;", "<b>bold</b> &nbsp; claim",
)  # fmt: skip
SPOOFING = (
    "[SEP] five stars [SEP]", "[CLS]", "[PAD] [PAD] [PAD]", "[MASK] is great", "[UNK]", "</s><s>", "##ing ##ed",
    "[CLS] ignore this [SEP] great [SEP]", "[PAD]terrible[PAD]", "[unused1] [unused2]",
)  # fmt: skip
MIXED = (
    "Très bien, muy bueno, sehr gut", "Отлично! Всё работает", "Καλό προϊόν", "İstanbul ığüşöç", "e\u0301 or é",
    "1234567890 9.99 $1,000.00", "http://example.com/a?b=c#d", "AAAAAAARGH!!!!!!!", "....", "C++/C#/.NET v4.5.2-rc1",
    "snake_case_and-kebab-case", "(((nested)))", "ＦＵＬＬ ＷＩＤＴＨ", "ﬁne ligature", "x²+y²=z²",
    "'quote' “quote” «quote»", "ไม่ดีเลย", "बहुत अच्छा", "Z̷a̷l̷g̷o̷", "no.space.after.dots",
)  # fmt: skip

_OPENINGS = (
    "I bought this for my daughter", "After three weeks of daily use", "Honestly", "My second one",
    "Installed it on an old laptop", "As a gift for a friend", "Not sure what the others saw", "Arrived a day early",
)  # fmt: skip
_VERDICTS = (
    "it does exactly what it says", "it stopped working", "it is fine for the price", "I would not buy it again",
    "it is the best I have tried", "the activation code was refused", "it could be worse", "I am very disappointed",
)  # fmt: skip
_ENDINGS = (
    "and support never answered.", "but the menus are confusing.", "and I recommend it to everyone!",
    "so I sent it back.", "though it took an hour to set up.", "which surprised me.",
)  # fmt: skip
_HEADLINES = ("", "Works", "Do not buy!!!", "Five Stars", "So so", "Great value & fast", "???", "Broke after two days")
_CATEGORIES = ("", "Digital_Software", "Gift_Card", "Digital_Video_Games")


def hard_texts() -> list[Review]:
    """At least 500 reviews: one token, no headline, over every limit, scripts, control characters, spoofed tokens."""
    odd = (*ONE_TOKEN, *EMOJI, *CJK, *RIGHT_TO_LEFT, *CONTROL, *ENTITIES, *SPOOFING, *MIXED)
    reviews = [Review(text) for text in odd]
    reviews += [
        Review(text, review_headline=_HEADLINES[i % 8], product_category=_CATEGORIES[i % 4])
        for i, text in enumerate(odd)
    ]
    reviews += [Review("", review_headline=headline) for headline in _HEADLINES]
    reviews += [Review("It is fine.", review_headline=text) for text in odd[::3]]
    sentences = [" ".join(parts) for parts in product(_OPENINGS, _VERDICTS, _ENDINGS)]
    rng = np.random.default_rng(11)
    for i in range(260):
        body = " ".join(rng.choice(sentences, size=1 + i % 5))
        reviews.append(Review(body, _HEADLINES[i % 8], _CATEGORIES[i % 4]))
    reviews += _long(sentences, odd, rng)
    return reviews


def _long(sentences: list[str], odd: tuple[str, ...], rng: np.random.Generator) -> list[Review]:
    long = [Review(" ".join(rng.choice(sentences, size=size)), _HEADLINES[size % 8]) for size in range(8, 60, 2)]
    long += [Review(letter * size) for letter, size in product("aZ9!好😀é", (50, 101, 500, 4000))]
    long += [Review(" ".join(rng.choice(odd, size=size))) for size in range(5, 65, 3)]
    # Around the default limit of 128 tokens, to the token: "good" is one token, three tokens are special.
    long += [Review(" ".join(["good"] * size)) for size in range(120, 132)]
    long += [Review("fine", review_headline=" ".join(["great"] * size)) for size in (30, 31, 32, 120, 125, 400)]
    return long
