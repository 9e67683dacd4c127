"""The shape of a BERT or DistilBERT, read from and written as a Hugging Face config.json."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from contracts.errors import ModelError


@dataclass(frozen=True)
class BertConfig:
    """The part of a Hugging Face config.json that shapes the network. DistilBERT's names are translated on reading."""

    model_type: str = "bert"
    vocab_size: int = 30522
    hidden_size: int = 384
    num_hidden_layers: int = 6
    num_attention_heads: int = 12
    intermediate_size: int = 1536
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    dropout: float = 0.1
    attention_dropout: float = 0.1
    num_labels: int = 5

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> BertConfig:
        """Translate a parsed config.json. Raises ModelError for an architecture or activation we do not compute."""
        kind = raw.get("model_type")
        distil = {"dim": "hidden_size", "n_layers": "num_hidden_layers", "n_heads": "num_attention_heads"}
        distil |= {"hidden_dim": "intermediate_size"}
        if kind not in {"bert", "distilbert"}:
            raise ModelError(f"model_type {kind!r} is not supported: use a bert or distilbert checkpoint")
        if raw.get("hidden_act", raw.get("activation", "gelu")) != "gelu":
            raise ModelError("only the exact gelu activation is supported: choose another base model")
        if raw.get("position_embedding_type", "absolute") != "absolute":
            raise ModelError("only absolute position embeddings are supported: choose another base model")
        named = {distil.get(key, key): value for key, value in raw.items()}
        named["dropout"] = raw.get("hidden_dropout_prob", raw.get("dropout", 0.1))
        named["attention_dropout"] = raw.get("attention_probs_dropout_prob", raw.get("attention_dropout", 0.1))
        known = {field.name for field in fields(cls)} - {"num_labels"}
        try:
            return cls(**{k: v for k, v in named.items() if k in known})
        except TypeError as error:
            raise ModelError(f"config.json cannot be read: {error}") from error

    def to_hugging_face(self) -> dict[str, Any]:
        """The config.json that transformers reads for the same network."""
        labels: dict[str, Any] = {"id2label": {str(i): str(i + 1) for i in range(self.num_labels)}}
        labels |= {"label2id": {str(i + 1): i for i in range(self.num_labels)}}
        if self.model_type == "distilbert":
            return {
                **labels,
                "architectures": ["DistilBertForSequenceClassification"],
                "model_type": "distilbert",
                "vocab_size": self.vocab_size,
                "dim": self.hidden_size,
                "n_layers": self.num_hidden_layers,
                "n_heads": self.num_attention_heads,
                "hidden_dim": self.intermediate_size,
                "max_position_embeddings": self.max_position_embeddings,
                "activation": "gelu",
                "dropout": self.dropout,
                "attention_dropout": self.attention_dropout,
                "seq_classif_dropout": self.dropout,
                "pad_token_id": 0,
            }
        ours = {"dropout", "attention_dropout", "num_labels"}
        return {
            **labels,
            **{name: value for name, value in asdict(self).items() if name not in ours},
            "architectures": ["BertForSequenceClassification"],
            "hidden_act": "gelu",
            "hidden_dropout_prob": self.dropout,
            "attention_probs_dropout_prob": self.attention_dropout,
            "classifier_dropout": self.dropout,
            "pad_token_id": 0,
        }
