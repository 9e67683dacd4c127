from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.errors import PROBLEMS
from service.predict.schemas import Answer, ReviewIn

STATUSES = (200, 400, 408, 413, 415, 422, 429, 500, 502, 503, 504)
DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def document(client: httpx.Client) -> dict[str, Any]:
    response = client.get("/openapi.json")
    assert response.status_code == 200
    found: dict[str, Any] = response.json()
    return found


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    def references(node: Any) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
            return own + [each for value in node.values() for each in references(value)]
        return [each for value in node for each in references(value)] if isinstance(node, list) else []

    schemas = document["components"]["schemas"]
    found = references(document)
    assert found
    assert {each.removeprefix("#/components/schemas/") for each in found} <= set(schemas)


def test_errors_have_our_shape_and_never_the_frameworks(document: dict[str, Any]) -> None:
    assert "HTTPValidationError" not in document["components"]["schemas"]
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert operation["summary"], path
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    content = response["content"]["application/json"]
                    assert content["schema"] == {"$ref": "#/components/schemas/ErrorBody"}
                    assert content["examples"]


def test_predict_shows_examples_limits_and_all_that_can_go_wrong(document: dict[str, Any]) -> None:
    operation = document["paths"]["/predict"]["post"]
    examples = operation["requestBody"]["content"]["application/json"]["examples"]
    ReviewIn.model_validate(examples["ReviewIn"]["value"])
    assert set(operation["responses"]) == {
        "200",
        *["400", "408", "413", "415", "422", "429", "500", "502", "503", "504"],
    }
    schemas = document["components"]["schemas"]
    assert schemas["ReviewIn"]["properties"]["text"]["maxLength"] == 20_000
    assert schemas["BatchIn"]["properties"]["reviews"]["maxItems"] == 64
    Answer.model_validate(schemas["Answer"]["examples"][0])
    assert set(schemas["Answer"]["examples"][0]) == set(schemas["Answer"]["required"])


def test_a_retraining_is_described_as_it_answers(document: dict[str, Any]) -> None:
    """Fault 30: 200 for a repeat, no empty list, and where to look."""
    responses = document["paths"]["/admin/retrain"]["post"]["responses"]
    schema = {"$ref": "#/components/schemas/JobOut"}
    for status in ("200", "202"):
        assert responses[status]["content"]["application/json"]["schema"] == schema
        assert responses[status]["headers"]["Location"]
    name, several = document["components"]["schemas"]["Retrain"]["properties"]["data"]["anyOf"]
    assert (name["minLength"], several["minItems"], several["items"]["minLength"]) == (1, 1, 1)


def test_the_admin_addresses_and_only_they_ask_for_the_key(document: dict[str, Any]) -> None:
    """Fault 30: this is what lets /docs authorize."""
    (name, scheme), *_ = document["components"]["securitySchemes"].items()
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert operation.get("security") == ([{name: []}] if path.startswith("/admin") else None), path


def test_the_page_of_the_api_names_every_error(client: httpx.Client) -> None:
    page = (DOCS / "api.md").read_text()
    for problem in PROBLEMS:
        assert f"| {problem.status} | `{problem.kind}` |" in page


def test_the_interactive_documentation_needs_nothing_from_elsewhere(client: httpx.Client) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    files = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert any(file.endswith(".js") for file in files)
    for file in files:
        assert file.startswith("/"), "no other host"
        assert client.get(file).status_code == 200
