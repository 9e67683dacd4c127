"""A small world for the stages after training: prepared reviews made of few words, and a two-layer BERT."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from contracts.review import Review, segments
from contracts.tokens import ReviewEncoder
from training.data.labelled import LabelledReviews
from training.data.splits import SPLIT_SCHEMA
from training.data.tokens import TokenRows
from training.running.fingerprint import file_sha256
from training.running.folder import FACTS
from training.stages.prepare import Config

EPOCHS = 10
BASE_MODEL = "sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0)"
ROWS = {"train": 400, "validation": 100, "test": 200}
FILLER = ("the", "box", "of", "this", "came", "with", "my", "new", "phone", "on", "monday", "and", "i", "use", "it")
TELLING = {
    1: "awful shattered",
    2: "lousy flimsy",
    3: "mediocre passable",
    4: "handy pleasant",
    5: "superb flawless",
}
CATEGORIES = ("Digital_Software", "Gift_Card", "Video|Games")
SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 128,
}


def reviews(count: int, seed: int) -> list[Review]:
    """Balanced reviews whose words tell the star; one in eight has its neighbour's star."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(count):
        star = i % 5 + 1
        words = [*rng.choice(FILLER, size=int(rng.integers(2, 30))), *TELLING[star].split()]
        rng.shuffle(words)
        labelled = min(5, star + 1) if rng.random() < 0.125 else star
        headline = "Five Stars" if i % 7 == 0 else TELLING[star].split()[0]
        made.append(Review(" ".join(words), headline, CATEGORIES[i % 3], labelled, f"R{seed}-{i}"))
    return made


def tokenizer() -> Tokenizer:
    """BERT's tokenizer with the words of this world and the letters for all others."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    words = [*special, *letters, *(f"##{each}" for each in letters), *FILLER, *sorted(all_words())]
    made = Tokenizer(WordPiece({word: i for i, word in enumerate(dict.fromkeys(words))}, unk_token="[UNK]"))
    made.normalizer = BertNormalizer(lowercase=True)
    made.pre_tokenizer = BertPreTokenizer()
    made.add_special_tokens(special)
    return made


def write_prepare(folder: Path) -> Path:
    """What a finished prepare stage leaves behind, without Spark."""
    folder.mkdir(parents=True)
    tokenizer().save(str(folder / "tokenizer.json"))
    config = Config(token_limit=48)
    encoder = ReviewEncoder(folder / "tokenizer.json", config.token_limit, config.truncation)
    splits: dict[str, Any] = {}
    for seed, (split, count) in enumerate(ROWS.items()):
        made = reviews(count, seed)
        texts = [segments(r.review_body, r.review_headline, r.product_category) for r in made]
        rows = [
            {
                "review_id": review.review_id,
                "product_category": review.product_category,
                "star_rating": review.star_rating,
                "input_ids": encoded.input_ids,
                "second_start": encoded.second_start,
                "truncated": encoded.truncated,
                "body_words": len(text.second.split()),
                "first": text.first,
                "second": text.second,
            }
            for review, text, encoded in zip(made, texts, encoder.encode(texts), strict=True)
        ]
        (folder / split).mkdir()
        pq.write_table(pa.Table.from_pylist(rows, SPLIT_SCHEMA), folder / split / "part-0.parquet")
        stars = {str(star): sum(r.star_rating == star for r in made) for star in TELLING}
        splits[split] = {"rows": count, "stars": stars, "available": count}
    write_facts(
        folder,
        config=config.model_dump(mode="json"),
        splits=splits,
        rows_in=705,
        quarantined=5,
        reasons={"bad_star_rating": 3, "empty_body": 2},
        sources=[
            {
                "file": "made_up.tsv",
                "sha256": "0" * 64,
                "rows": 705,
                "bytes": 90_000,
                "url": "https://example.com/made_up.tsv",
                "downloaded": "2026-11-01T10:00:00+00:00",
                "licence": "Apache-2.0",
            }
        ],
        dataset_sha256="1" * 64,
        tokenizer_sha256=file_sha256(folder / "tokenizer.json"),
        base_model={"name": "minilm", "description": BASE_MODEL, "sha256": {"model.safetensors": "2" * 64}},
    )
    return folder


def write_train(folder: Path, prepare: Path) -> Path:
    """What a finished train stage leaves behind: a tiny BERT that learnt the telling words, trained with PyTorch."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    settings = SHAPE | {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    settings |= {"id2label": {i: str(i + 1) for i in range(5)}, "label2id": {str(i + 1): i for i in range(5)}}
    config = BertConfig(vocab_size=tokenizer().get_vocab_size(), **settings)
    model = BertForSequenceClassification(config)
    stars, tokens = LabelledReviews.from_split(prepare, "train").stars, TokenRows.stored(prepare, "train")
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(EPOCHS):
        for start in range(0, len(tokens), 20):
            rows = np.arange(start, start + 20)
            ids, types = (torch.from_numpy(array) for array in tokens.batch(rows, multiple=1))
            labels = torch.from_numpy(stars[rows] - 1)
            loss = model(input_ids=ids, token_type_ids=types, attention_mask=(ids != 0).long(), labels=labels).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    model.save_pretrained(folder / "model")
    learned = {"mode": "fine_tune", "epochs": EPOCHS, "batch_size": 20, "learning_rate": 2e-3}
    learned |= {"label_smoothing": 0.0, "teacher_weight": 0.0}
    write_facts(folder, parameters=model.num_parameters(), base_sha256="2" * 64, config=learned)
    return folder


def write_convert(folder: Path, train: Path) -> Path:
    """What a finished convert stage leaves behind."""
    folder.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        shutil.copyfile(train / "model" / name, folder / name)
    write_facts(folder, parity_texts=500, parity_relative=1e-6)
    return folder


def write_facts(folder: Path, **facts: Any) -> None:
    """facts.json with a fingerprint that is the folder's own."""
    fingerprint = hashlib.sha256(str(folder).encode()).hexdigest()
    (folder / FACTS).write_text(json.dumps({"fingerprint": fingerprint, **facts}), encoding="utf-8")


def all_words() -> set[str]:
    """The words that a review of this world can hold, none of which may stand in a report."""
    return {word for words in TELLING.values() for word in words.split()}
