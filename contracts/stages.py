"""Contract 2, the settings: what each stage of the pipeline can be told, typed, bounded and frozen.

They stand here and not beside the stages because the gateway must know them too: a retraining is refused with a
sentence when it is asked for, not an hour later on another machine.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from contracts.columns import parse_columns
from contracts.release import channels
from contracts.release.published import MODEL_NAME
from contracts.tokens import TOKEN_LIMIT, Truncation

LayoutName = Literal["auto", "amazon", "mcauley-2014", "mcauley-2018", "mcauley-2023", "yelp", "columns"]
"""The layouts of labelled reviews that are known. With auto a source's columns tell; columns is for all others."""

SUFFIXES = tuple(
    f".{kind}{packed}" for kind in ("tsv", "csv", "json", "jsonl", "ndjson") for packed in ("", ".gz", ".zst")
) + (".parquet",)
"""How the files of reviews are called that are looked for in a folder."""

RuleName = Literal[
    "loss_not_falling",
    "exploding_gradient",
    "vanishing_gradient",
    "overfit",
    "input_wait",
    "dead_head",
    "class_collapse",
]
"""The rules that watch a training and may be told what to do. What they look for: training/tracking/rules.py."""
RuleAction = Literal["off", "warn", "stop"]

BATCH_SIZE = 32
"""Reviews that PyTorch judges at once."""

_HOST = r"([\w.-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}"
_MASTER = re.compile(
    rf"local(\[(\*|[1-9]\d{{0,3}})(,[1-9]\d?)?\])?|spark://{_HOST}(,{_HOST})*|yarn|k8s://(https?://)?{_HOST}(/[\w./-]*)?"
)


def _checked_master(url: str) -> str:
    if not _MASTER.fullmatch(url):
        raise ValueError("must be local[*], local[4], spark://HOST:PORT, yarn or k8s://https://HOST:PORT")
    return url


def _actions(said: object) -> object:
    """`overfit=stop,input_wait=off`, as it is said on a command line, as a mapping."""
    if not isinstance(said, str):
        return said
    pairs = [part.strip().partition("=") for part in said.split(",") if part.strip()]
    if not all(equals for _, equals, _ in pairs):
        raise ValueError("must name rules with what they do, as overfit=stop,input_wait=off")
    return {name: action for name, _, action in pairs}


class StageConfig(BaseModel):
    """Base of every stage's settings: typed, bounded, frozen, and unknown names are errors.

    Each field is checked by itself, so that a preset and what is changed of it are sound together when each of them is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TrackedConfig(StageConfig):
    """Base of the settings of a stage that reports metrics while it runs."""

    tracking: str = Field(
        "",
        exclude=True,
        description="MLflow tracking URI; empty is mlflow.db in the state folder, of a stage by itself in its own",
    )


Memory = Annotated[str, Field(pattern=r"^[1-9]\d{0,5}[mg]$")]
"""512m, 2g."""


class SparkConfig(StageConfig):
    """Base of the settings of a stage that runs on Spark: where the work is done, for which nothing is run anew.

    STARS_SPARK_MASTER and its like set them for all such stages. What else a cluster asks for stands where Spark looks
    for it, in spark-defaults.conf in the folder $SPARK_CONF_DIR.
    """

    master: Annotated[str, AfterValidator(_checked_master)] = Field(
        default="local[*]",
        exclude=True,
        description="local[*], local[4], spark://HOST:PORT, yarn or k8s://https://HOST:PORT",
    )
    driver_memory: Memory = Field(default="2g", exclude=True, description="of the Java of this process")
    executor_memory: Memory = Field(default="2g", exclude=True, description="of the Java of each executor on a cluster")
    executor_python: str = Field(
        default="", exclude=True, description="the Python of a cluster's machines; empty is the path that this one has"
    )
    driver_host: str = Field(
        default="", exclude=True, description="address at which executors reach this machine; empty finds it"
    )
    wait_seconds: float = Field(
        default=60,
        gt=0,
        le=3600,
        exclude=True,
        description="how long a cluster may take to give an executor",
    )


class IngestConfig(StageConfig):
    """What the sources of reviews are, where they do not tell."""

    layout: LayoutName = Field(default="auto", description="of all sources; auto tells each by its columns")
    columns: dict[str, str] = Field(
        default_factory=dict, description="which column is which, as stars=rating,text=review; the two are enough"
    )
    scale: Literal["auto", "5", "10"] = Field(
        default="auto", description="the best rating; auto looks at the first ratings"
    )
    category: str = Field(default="", max_length=100, description="of reviews whose source names none")
    licence: str = Field(default="", max_length=1000, description="the terms of the sources, for the data card")

    @field_validator("columns", mode="before")
    @classmethod
    def _named(cls, said: object) -> dict[str, str]:
        return parse_columns(said)


class PrepareConfig(SparkConfig):
    """How reviews become training data."""

    base_model: str = Field(
        "minilm", description="whose tokenizer, and where train starts: minilm, a folder, or a hub id"
    )
    token_limit: int = Field(TOKEN_LIMIT, ge=8, le=512)
    truncation: Truncation = Truncation.HEAD_TAIL
    validation_fraction: float = Field(0.1, gt=0, lt=0.5)
    test_fraction: float = Field(0.1, gt=0, lt=0.5)
    max_ratio: float = Field(
        1.0, ge=1, le=1000, description="most rows of a star in train, as a multiple of the rarest star's"
    )
    category_dropout: float = Field(
        0.1, ge=0, lt=1, description="share of train rows without their category, as clients may send none"
    )
    near_duplicates: bool = Field(True, description="keep reviews that are all but copies of each other in one split")
    likeness: float = Field(
        0.6, ge=0.5, le=1, description="share of three-word sequences from which on two reviews are near-duplicates"
    )
    limit: int | None = Field(None, gt=0, le=10**9, description="about so many rows, chosen by hash; for a quick try")


class TrainConfig(TrackedConfig):
    """How the network learns."""

    mode: Literal["fine_tune", "frozen"] = Field("fine_tune", description="frozen trains the head on cached features")
    epochs: float = Field(
        3, gt=0, le=1000, description="passes over the train split; the last one may be a part of one"
    )
    batch_size: int = Field(32, ge=1, le=65_536)
    accumulate_steps: int = Field(
        1, ge=1, le=1024, description="parts of a batch that are computed one after the other, to need less memory"
    )
    learning_rate: float = Field(1e-4, gt=0, le=10, description="peak, reached after the warm-up")
    warmup_fraction: float = Field(0.06, ge=0, lt=1)
    weight_decay: float = Field(0.01, ge=0, le=10)
    gradient_norm: float = Field(1.0, gt=0, le=10**6, description="gradients are scaled down to this global norm")
    label_smoothing: float = Field(0.05, ge=0, lt=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    attention_dropout: float = Field(0.1, ge=0, lt=1)
    prior_correction: bool = Field(
        True,
        description="add the log share of each star in train to the logits while learning, so that the model "
        "itself answers as if all stars were equally frequent (Menon et al. 2021, arXiv:2007.07314)",
    )
    teacher_weight: float = Field(0.0, ge=0, le=1, description="share of the loss that follows the soft labels")
    teacher_temperature: float = Field(2.0, gt=0, le=100)
    noise_weight: float = Field(
        1.0, ge=0, le=1, description="what a train row counts whose stars its text contradicts; below 1 they are sought"
    )
    window: int = Field(64, ge=1, le=10**6, description="batches that are sorted by length together; 1 sorts nothing")
    pad_to: int = Field(0, ge=0, le=512, description="pad every batch to this many tokens; 0 to its longest review")
    precision: Literal["auto", "float32", "mixed_bfloat16"] = Field(
        "auto", description="auto is mixed_bfloat16 on a CPU with AMX, where it is faster, else float32"
    )
    seed: int = Field(7, ge=0, lt=2**32)
    checkpoint_minutes: float = Field(5.0, gt=0, le=10_000)
    rules: Annotated[dict[RuleName, RuleAction], BeforeValidator(_actions)] = Field(
        default_factory=dict,
        exclude=True,
        description="what the rules do that watch the run, as overfit=stop,input_wait=off; one not named warns",
    )

    @model_validator(mode="before")
    @classmethod
    def _one_base_model(cls, values: Any) -> Any:
        if isinstance(values, dict) and "base_model" in values:
            raise ValueError(
                "base_model is set once, as prepare.base_model: train starts from the one that prepare used"
            )
        return values


class ConvertConfig(StageConfig):
    """How closely PyTorch must follow TensorFlow."""

    tolerance: float = Field(1e-4, gt=0, le=1e-2, description="largest logit difference, relative to the largest logit")


class EvaluateConfig(StageConfig):
    """What the model is compared with, and what it must beat."""

    store: str = Field("", description="release store with the model to compare with; empty compares with none")
    name: str = MODEL_NAME
    against: str = Field(channels.PRODUCTION, description="channel or version to compare with")
    beat_baseline: bool = Field(True, description="fail unless TF-IDF is beaten; the most frequent star must always be")
    max_ece: float = Field(
        0.03,
        gt=0,
        le=1,
        description="advise against a model whose calibration error may be above this, and fail where it surely is",
    )
    max_accuracy: float = Field(
        0.8,
        gt=0.2,
        le=1,
        description="fail above this share of right answers: something gives the stars away",
    )
    max_slice_drop: float = Field(
        0.03,
        ge=0,
        le=1,
        description="advise against a model whose accuracy falls by more in a slice of 200 rows",
    )
    batch_size: int = Field(BATCH_SIZE, ge=1, le=65_536)


class ExportConfig(StageConfig):
    """What the release is called, where it goes and under which terms."""

    store: str = Field(description="release store: a folder or file:// URL")
    name: str = MODEL_NAME
    weights_dtype: Literal["float16", "float32"] = Field("float16", description="float16 halves the download")
    licence: str = Field("research-use-only", description="of the weights; the training data's terms bind them")
    data_terms: str = Field("", description="terms of the training data, for the cards; empty says what is known")
    notes: str = Field("", description="a paragraph for the model card on how this model came to be")


STAGES: dict[str, type[StageConfig]] = {
    "ingest": IngestConfig,
    "prepare": PrepareConfig,
    "train": TrainConfig,
    "convert": ConvertConfig,
    "evaluate": EvaluateConfig,
    "export": ExportConfig,
}
"""The settings of each stage, in the order in which the stages run."""
