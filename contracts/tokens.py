"""Contract 1, second half: a review's text segments as token ids, within the model's limit."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from tokenizers import Tokenizer

from contracts.errors import ModelError, ReviewError
from contracts.review import Segments

TOKEN_LIMIT = 128


class Truncation(StrEnum):
    """What happens to a review over the token limit.

    HEAD keeps the beginning. HEAD_TAIL keeps the beginning and the end of the body, half each: verdicts stand at
    either end (Sun et al. 2019, arXiv:1905.05583). ERROR refuses the review.
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
        self.limit = limit
        self.truncation = truncation

    @property
    def vocab_size(self) -> int:
        """Token ids are below this; the model needs as many embeddings, or more."""
        return max(self._tokenizer.get_vocab().values()) + 1

    def encode(self, reviews: Sequence[Segments]) -> list[Encoded]:
        """Encode reviews in order. Raises ReviewError for one over the limit when the policy is ERROR."""
        texts = [text for review in reviews for text in review]
        ids = [e.ids for e in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
        return [self._join(first, second) for first, second in zip(ids[::2], ids[1::2], strict=True)]

    def _join(self, first: list[int], second: list[int]) -> Encoded:
        total = len(first) + len(second) + 3
        truncated = total > self.limit
        if truncated:
            if self.truncation is Truncation.ERROR:
                raise ReviewError(
                    f"the review has {total} tokens and the limit is {self.limit}: shorten it", kind="too_many_tokens"
                )
            # A headline may take a quarter of the room, or whatever the body leaves over.
            first = first[: max((self.limit - 3) // 4, self.limit - 3 - len(second))]
            room = self.limit - 3 - len(first)
            if len(second) > room:
                tail = room // 2 if self.truncation is Truncation.HEAD_TAIL else 0
                second = second[: room - tail] + second[len(second) - tail :]
        start = len(first) + 2
        return Encoded([self._cls, *first, self._sep, *second, self._sep], start, truncated)
