"""What a request for a retraining may say: one schema, with which the gateway refuses and the worker checks again.

A request changes numbers and switches of a preset. Paths, URLs and names are the operator's, whoever asks.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, create_model, model_validator

from contracts.columns import SHORT_NAMES, parse_columns
from contracts.stages import STAGES, StageConfig

RETRAIN = "retrain"
"""The kind of these jobs."""

Preset = Literal["frozen", "standard", "tiny"]
"""The presets that exist. They are files of the training package, which the gateway may run without."""

DataName = Annotated[str, Field(min_length=1, max_length=1024)]


class _RequestModel(BaseModel):
    """JSON types and no others; a field that is not known is an error."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class StageOverrides(_RequestModel):
    """What a request may change of one stage, each field within the bounds that the stage itself has for it."""

    fixed: ClassVar[frozenset[str]] = frozenset()
    """The stage's other settings."""

    @model_validator(mode="before")
    @classmethod
    def _numbers_and_switches_only(cls, settings: Any) -> Any:
        chosen = sorted(cls.fixed.intersection(settings)) if isinstance(settings, dict) else []
        if chosen:
            raise ValueError(
                f"{', '.join(chosen)} cannot be chosen by a request, which may change numbers "
                "and switches only: leave it out"
            )
        return settings


def _without_default(schema: dict[str, Any]) -> None:
    """A setting that a request leaves out is as the preset has it, which no schema can show."""
    schema.pop("default", None)


def _unset() -> Any:
    return Field(None, json_schema_extra=_without_default)


def _overrides_of(stage: str, config: type[StageConfig]) -> type[StageOverrides]:
    fields: dict[str, Any] = {}
    for name, known in config.model_fields.items():
        kinds = set(get_args(known.annotation) or [known.annotation]) - {type(None)}
        if kinds <= {bool, float, int} and not known.exclude:  # what does not change the result is the operator's
            [kind] = kinds
            fields[name] = (Annotated[kind, Field(description=known.description), *known.metadata], _unset())
    made = create_model(f"{stage.capitalize()}Overrides", __base__=StageOverrides, __doc__=config.__doc__, **fields)
    made.fixed = frozenset(config.model_fields.keys() - fields.keys())
    return made


def _listed(data: Any) -> Any:
    if not isinstance(data, str | list):
        raise ValueError("must be a name or a list of names")
    return [data] if isinstance(data, str) else data


_BY_STAGE: dict[str, Any] = {stage: (_overrides_of(stage, config), _unset()) for stage, config in STAGES.items()}

Overrides = create_model(
    "Overrides", __base__=_RequestModel, __doc__="What differs from the preset, by stage.", **_BY_STAGE
)

_Several = Annotated[list[DataName], Field(min_length=1, max_length=100)]
ColumnName = Annotated[str, Field(min_length=1, max_length=256)]
Columns = Annotated[dict[str, ColumnName], AfterValidator(parse_columns)]
DataNames = Annotated[_Several, BeforeValidator(_listed, json_schema_input_type=DataName | _Several)]


class Retrain(_RequestModel):
    """What to train on, and how."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"data": "examples/reviews.tsv", "preset": "tiny"}]})

    data: DataNames = Field(
        description="A file of labelled reviews (TSV, CSV, JSON lines, also as .gz or .zst; Parquet), a folder of such "
        "files, or a list of these. They must lie in an allowed folder; a relative name is looked for in each of these."
    )
    columns: Columns | None = Field(
        None,
        description="Which column of the files is which, where their names do not tell: stars and text are enough; "
        f"what else there is to name: {', '.join([*SHORT_NAMES][2:])}, or the names of the Amazon columns.",
        examples=[{"stars": "rating", "text": "review"}],
    )
    preset: Preset = Field("standard", description="Where the settings start from.")
    overrides: Overrides = Field(  # type: ignore[valid-type]  # made above, from the stages' own settings
        default_factory=Overrides,
        description="Numbers and switches that differ from the preset, by stage.",
        examples=[{"train": {"epochs": 1}}],
    )

    @property
    def changed(self) -> dict[str, dict[str, bool | int | float]]:
        """The settings that the request names, by stage."""
        overrides: BaseModel = self.overrides
        return overrides.model_dump(exclude_unset=True)
