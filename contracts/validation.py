"""What is wrong with a document, as sentences for people: the one place that words pydantic's findings.

No value is ever quoted: it may be review text, or a secret. A name that is not known is answered with the known name
nearest to it; it is itself repeated only where an operator wrote it, never where a client did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

Place = tuple[int | str, ...]


def what_is_wrong(error: ValidationError, model: type[BaseModel], whole: str, names: bool = False) -> str:
    """Every finding in one sentence: "reviews.0.text: is missing; …". `whole` is what the document is called."""
    return "; ".join(f"{place or whole}: {sentence}" for place, sentence in findings(error, model, names))


def findings(error: ValidationError, model: type[BaseModel], names: bool = False) -> list[tuple[str, str]]:
    """(place, what is wrong there), each once; the place is empty where it is the whole document.

    `names` lets names that are not known be repeated. Of the alternatives of a union only one finding is given.
    """
    sentences: dict[str, str] = {}
    for finding in error.errors(include_url=False):
        if finding["type"] == "default_factory_not_called":  # only because another field is wrong
            continue
        place, inner = _known_place(finding["loc"], model)
        if names and finding["type"] == "extra_forbidden":
            place = (*place, finding["loc"][-1])
        sentences.setdefault(".".join(map(str, place)), wording(finding, inner, names))
    return list(sentences.items())


def nearest(name: str, known: Mapping[str, Any] | list[str]) -> str:
    """ "did you mean preset? The fields are data, preset", without the question where nothing is near."""
    close = get_close_matches(name, known, n=1)
    question = f"did you mean {close[0]}? " if close else ""
    return f"{question}{'What' if question else 'what'} there is: {', '.join(known)}"


def _known_place(loc: Place, model: type[BaseModel]) -> tuple[Place, type[BaseModel] | None]:
    """The part of a path that is ours, and the model that it ends in. The rest are names of types, or the sender's."""
    place: list[int | str] = []
    current: type[BaseModel] | None = model
    for part in loc:
        if isinstance(part, int):
            place.append(part)
        elif current is not None and part in current.model_fields:
            place.append(part)
            current = next(_models_in(current.model_fields[part].annotation), None)
    return tuple(place), current


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


def wording(finding: ErrorDetails, model: type[BaseModel] | None = None, names: bool = False) -> str:
    """What is wrong, without the place. `model` is the one that a field is missing in or not known to."""
    kind, context = finding["type"], finding.get("ctx", {})
    if kind == "extra_forbidden" and model is not None:
        known = nearest(str(finding["loc"][-1]), list(model.model_fields))
        return f"{'is not known' if names else 'has a field that is not known'}; {known}"
    if kind in {"literal_error", "enum"}:
        choices = [choice.strip("'") for choice in context["expected"].replace(" or ", ", ").split(", ")]
        sent = finding["input"] if isinstance(finding["input"], str) else ""
        return f"is none of what there is; {nearest(sent, choices)}"
    if kind in _SENTENCES:
        return _SENTENCES[kind](context)
    # Ours, from a validator; or one of pydantic's rarer kinds, whose message holds no input.
    return finding["msg"].removeprefix("Value error, ")


def _number(bound: float) -> str:
    """A bound as people write it: 4194304, not 4.1943e+06."""
    return str(bound) if isinstance(bound, int) else f"{bound:g}"


def _must_be(what: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda _context: f"must be {what}"


_SENTENCES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "missing": lambda _: "is missing",
    **dict.fromkeys(("string_type", "string_sub_type", "string_unicode"), _must_be("a text")),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float", "int_parsing_size"), _must_be("a whole number")),
    **dict.fromkeys(("float_type", "float_parsing"), _must_be("a number")),
    **dict.fromkeys(("bool_type", "bool_parsing"), _must_be("true or false")),
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type", "mapping_type"), _must_be("an object")),
    **dict.fromkeys(("list_type", "tuple_type"), _must_be("a list")),
    **dict.fromkeys(("url_parsing", "url_type", "url_scheme", "url_syntax_violation"), _must_be("a URL")),
    "finite_number": _must_be("a number, neither infinite nor NaN"),
    "greater_than": lambda context: f"must be more than {_number(context['gt'])}",
    "greater_than_equal": lambda context: f"must be {_number(context['ge'])} or more",
    "less_than": lambda context: f"must be less than {_number(context['lt'])}",
    "less_than_equal": lambda context: f"must be {_number(context['le'])} or less",
    "string_too_short": lambda context: f"must have {context['min_length']} characters or more",
    "string_too_long": lambda context: f"must have {context['max_length']} characters or fewer",
    "too_short": lambda context: f"must hold {context['min_length']} or more",
    "too_long": lambda context: f"must hold {context['max_length']} or fewer",
    "string_pattern_mismatch": lambda context: f"must match {context['pattern']}",
}
