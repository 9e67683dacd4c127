"""Contract 1, second half: a review's text segments as token ids, within the model's limit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from tokenizers import Tokenizer
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from contracts.errors import ModelError, ReviewError
from contracts.isolation import together
from contracts.review import Segments

TOKEN_LIMIT = 128

_CHARACTERS_A_TOKEN = 8
"""More than English takes, which is four to five."""

# WordPiece takes time in the square of a word's length, up to the hundred letters after which it gives up.
_LONG_WORD = re.compile(r"\S{33}")


class Truncation(StrEnum):
    """What happens to a review over the token limit.

    HEAD keeps the beginning. HEAD_TAIL leaves out the body's middle and keeps half of the room at either end, where
    verdicts stand (Sun et al. 2019, arXiv:1905.05583). ERROR refuses the review. A category and headline that are too
    long are cut at their end, under HEAD_TAIL too.
    """

    HEAD = "head"
    HEAD_TAIL = "head_tail"
    ERROR = "error"


class Encoded(NamedTuple):
    """One review as `[CLS] first [SEP] second [SEP]`.

    `second_start` is the index where token type 1 begins. `truncated` says that some of the text is not in it.
    """

    input_ids: list[int]
    second_start: int
    truncated: bool

    @property
    def token_type_ids(self) -> list[int]:
        return [0] * self.second_start + [1] * (len(self.input_ids) - self.second_start)


class ReviewEncoder:
    """A release's tokenizer together with its token limit and truncation policy.

    Raises ModelError when the file is not a tokenizer with BERT's special tokens.
    """

    def __init__(self, tokenizer_file: Path, limit: int = TOKEN_LIMIT, truncation: Truncation = Truncation.HEAD_TAIL):
        if limit < 8:
            raise ModelError(f"a token limit of {limit} leaves no room for text: use 8 or more")
        try:
            tokenizer = Tokenizer.from_file(str(tokenizer_file))
            tokenizer.encode("x" * 1000)  # no vocabulary has this word: a tokenizer without [UNK] fails here, not later
        except Exception as error:  # the library raises bare Exception for every kind of bad file
            raise ModelError(f"{tokenizer_file} is not a tokenizer that can be read: {error}") from error
        tokenizer.no_truncation()
        tokenizer.no_padding()
        # "[SEP]" typed by a customer is text, not a separator.
        tokenizer.encode_special_tokens = True
        cls, sep, pad = (tokenizer.token_to_id(name) for name in ("[CLS]", "[SEP]", "[PAD]"))
        if cls is None or sep is None or pad != 0:
            raise ModelError(f"{tokenizer_file} lacks BERT's [CLS], [SEP] and [PAD] (id 0)")
        self._tokenizer = tokenizer
        self._cls = cls
        self._sep = sep
        # BERT's own steps look at one character at a time; an added token that is no special one would come first.
        self._is_words = (
            isinstance(tokenizer.normalizer, BertNormalizer)
            and isinstance(tokenizer.pre_tokenizer, BertPreTokenizer)
            and all(added.special for added in tokenizer.get_added_tokens_decoder().values())
        )
        self.limit = limit
        self.truncation = truncation

    @property
    def vocab_size(self) -> int:
        """Token ids are below this; the model needs as many embeddings, or more."""
        return max(self._tokenizer.get_vocab().values()) + 1

    def encode(self, reviews: Sequence[Segments]) -> list[Encoded]:
        """The tokens of reviews none of which may fail, in order. Raises the ReviewError of the first that does."""
        encoded = []
        for review in self._encode(reviews):
            if isinstance(review, ReviewError):
                raise review
            encoded.append(review)
        return encoded

    def encode_each(self, reviews: Sequence[Segments]) -> list[Encoded | ReviewError]:
        """Each review's tokens, in order, or why it has none.

        That it is over the limit where the policy is ERROR, or a mistake of ours, which the others do not feel.
        """
        return together(self._encode, reviews)

    def _encode(self, reviews: Sequence[Segments]) -> list[Encoded | ReviewError]:
        texts = [text for review in reviews for text in review]
        whole = [not self._is_words or not self._is_slow(text) for text in texts]
        quick = [text for text, is_quick in zip(texts, whole, strict=True) if is_quick]
        encoded = iter(self._tokenizer.encode_batch_fast(quick, add_special_tokens=False))
        ids = [next(encoded).ids if is_quick else self._ends(text) for text, is_quick in zip(texts, whole, strict=True)]
        return [self._join(first, second) for first, second in zip(ids[::2], ids[1::2], strict=True)]

    def _is_slow(self, text: str) -> bool:
        return len(text) > 2 * _CHARACTERS_A_TOKEN * self.limit or _LONG_WORD.search(text) is not None

    def _ends(self, text: str) -> list[int]:
        """A text's ids, or where there are more the first and the last of them, `limit` or more of each.

        No policy keeps what is between them, so the words there are not looked up.
        """
        size = _CHARACTERS_A_TOKEN * self.limit
        if len(text) > 2 * size:
            # The word at a cut may be a part of one only, so it does not count.
            head = self._look_up(self._words(text[:size])[:-1])
            tail = self._look_up(self._words(text[-size:])[:0:-1])
            if min(_count(head), _count(tail)) >= self.limit:
                return _flat(head + tail[::-1])
        words = self._words(text)
        head = self._look_up(words)
        tail = self._look_up(words[: len(head) - 1 : -1])
        return _flat(head + tail[::-1])

    def _words(self, text: str) -> list[str]:
        """The words that the tokenizer looks up, each by itself."""
        normal = self._tokenizer.normalizer.normalize_str(text)
        return [word for word, _ in self._tokenizer.pre_tokenizer.pre_tokenize_str(normal)]

    def _look_up(self, words: Iterable[str]) -> list[list[int]]:
        """The ids of each word, until there are `limit` of them."""
        ids: list[list[int]] = []
        missing = self.limit
        for word in words:
            if missing <= 0:
                break
            ids.append([token.id for token in self._tokenizer.model.tokenize(word)])
            missing -= len(ids[-1])
        return ids

    def _join(self, first: list[int], second: list[int]) -> Encoded | ReviewError:
        truncated = len(first) + len(second) + 3 > self.limit
        if truncated:
            if self.truncation is Truncation.ERROR:
                return ReviewError(
                    f"the review has too many tokens, the limit is {self.limit}: shorten it", kind="too_many_tokens"
                )
            # A headline may take a quarter of the room, or whatever the body leaves over.
            first = first[: max((self.limit - 3) // 4, self.limit - 3 - len(second))]
            room = self.limit - 3 - len(first)
            if len(second) > room:
                tail = room // 2 if self.truncation is Truncation.HEAD_TAIL else 0
                second = second[: room - tail] + second[len(second) - tail :]
        start = len(first) + 2
        return Encoded([self._cls, *first, self._sep, *second, self._sep], start, truncated)


def _count(words: list[list[int]]) -> int:
    return sum(map(len, words))


def _flat(words: list[list[int]]) -> list[int]:
    return [token for word in words for token in word]
