"""The OpenAPI document where FastAPI cannot write it by itself: limits, examples, bodies that we read or write."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from contracts.jobs.retrain import Retrain
from service.http.body import MODEL_REF
from service.jobs.schemas import JobEventOut
from service.predict.schemas import EXAMPLES, ONE, SEVERAL, BatchIn, ReviewIn
from service.settings import Limits

_BODIES = (ReviewIn, BatchIn, Retrain, JobEventOut)


def document(app: FastAPI, limits: Limits) -> None:
    """Let `app` serve an OpenAPI document that has the bodies' schemas, with this gateway's limits in them."""
    write = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = write()
            _, definitions = models_json_schema([(model, "validation") for model in _BODIES], ref_template=MODEL_REF)
            models = schema.setdefault("components", {}).setdefault("schemas", {})
            models.update(definitions["$defs"])
            # FastAPI leaves out of an example what is null.
            models["Answer"]["examples"], models["BatchAnswer"]["examples"] = [ONE["answer"]], [SEVERAL["answer"]]
            answers = schema["paths"]["/predict"]["post"]["responses"]["200"]["content"]["application/json"]
            answers["examples"] = {name: {"value": example["answer"]} for name, example in EXAMPLES.items()}
            for path, method in (("/models/{version}", "get"), ("/admin/models/{version}/promote", "post")):
                [version] = schema["paths"][path][method]["parameters"]
                version["schema"]["examples"] = [ONE["answer"]["version"]]
            review = models["ReviewIn"]["properties"]
            review["text"] |= {"minLength": 1, "maxLength": limits.text_characters}
            review["title"] |= {"maxLength": limits.title_characters}
            review["category"] |= {"maxLength": limits.category_characters}
            models["BatchIn"]["properties"]["reviews"]["maxItems"] = limits.reviews
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document
