"""The OpenAPI document where FastAPI cannot write it by itself: bodies that we read ourselves, and limits."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from contracts.jobs.retrain import Retrain
from service.predict.schemas import EXAMPLES, ONE, SEVERAL, BatchIn, ReviewIn
from service.settings import Limits

_REF = "#/components/schemas/{model}"
_BODIES = (ReviewIn, BatchIn, Retrain)


def json_body(*models: type[BaseModel]) -> dict[str, Any]:
    """An operation's request body: a JSON object that is one of `models`."""
    refs: list[dict[str, Any]] = [{"$ref": _REF.format(model=model.__name__)} for model in models]
    schema = refs[0] if len(refs) == 1 else {"oneOf": refs}
    examples = {
        model.__name__: {"value": example}
        for model in models
        for example in model.model_json_schema().get("examples", [])[:1]
    }
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema, "examples": examples}}}
    }


def document(app: FastAPI, limits: Limits) -> None:
    """Let `app` serve an OpenAPI document that has the bodies' schemas, with this gateway's limits in them."""
    write = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = write()
            _, definitions = models_json_schema([(model, "validation") for model in _BODIES], ref_template=_REF)
            found = schema.setdefault("components", {}).setdefault("schemas", {})
            found.update(definitions["$defs"])
            # FastAPI leaves out of an example what is null.
            found["Answer"]["examples"], found["BatchAnswer"]["examples"] = [ONE["answer"]], [SEVERAL["answer"]]
            answers = schema["paths"]["/predict"]["post"]["responses"]["200"]["content"]["application/json"]
            answers["examples"] = {name: {"value": each["answer"]} for name, each in EXAMPLES.items()}
            review = found["ReviewIn"]["properties"]
            review["text"] |= {"minLength": 1, "maxLength": limits.text_characters}
            review["title"] |= {"maxLength": limits.title_characters}
            review["category"] |= {"maxLength": limits.category_characters}
            found["BatchIn"]["properties"]["reviews"]["maxItems"] = limits.reviews
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document
