"""Fault 34: every documented example is what the service answers. When an answer has changed: `make examples`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from service.predict.schemas import EXAMPLES, ONE
from tools.examples import PAGES, ROOT, asked, formed, rewritten, shown

TOLERANCE = 0.002
"""Processors differ in the last digits."""

DOCUMENTED = {f"{page.name} {number}": each for page in PAGES for number, each in enumerate(shown(page.read_text()), 1)}


@pytest.fixture(scope="module")
def bundled(
    torchserve: Any,
    running: Callable[..., Any],
    make_settings: Callable[..., Any],
    wait_ready: Callable[[httpx.Client], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[httpx.Client]:
    """A gateway that serves the release that comes with the project."""
    settings = make_settings(tmp_path_factory.mktemp("bundled"), store=str(ROOT / "releases"), **torchserve.settings)
    with running(settings) as client:
        wait_ready(client)
        yield client


def _difference(expected: Any, got: Any, place: str = "answer") -> str | None:
    """Where two documents differ by more than processors do."""
    if isinstance(expected, float) and isinstance(got, float):
        return None if abs(expected - got) <= TOLERANCE else f"{place}: {expected} and {got}"
    if isinstance(expected, dict) and isinstance(got, dict) and list(expected) == list(got):
        return next((d for key in expected if (d := _difference(expected[key], got[key], f"{place}.{key}"))), None)
    if isinstance(expected, list) and isinstance(got, list) and len(expected) == len(got):
        pairs = enumerate(zip(expected, got, strict=True))
        return next((d for i, (a, b) in pairs if (d := _difference(a, b, f"{place}.{i}"))), None)
    return None if expected == got and type(expected) is type(got) else f"{place}: {expected!r} and {got!r}"


@pytest.mark.slow
def test_every_example_is_what_the_service_answers(bundled: httpx.Client) -> None:
    examples = {name: (each["request"], each["answer"]) for name, each in EXAMPLES.items()}
    examples |= {name: (each.request, each.answer) for name, each in DOCUMENTED.items()}
    for name, (request, answer) in examples.items():
        difference = _difference(answer, asked(bundled, request))
        assert difference is None, f"{name}: {difference}. Run `make examples`"


def test_each_page_has_its_examples() -> None:
    assert set(DOCUMENTED) == {"README.md 1", "api.md 1", "api.md 2", "api.md 3"}
    assert DOCUMENTED["README.md 1"].request == DOCUMENTED["api.md 1"].request == ONE["request"]
    for page in PAGES:  # no answer is shown that the test above does not see
        text = page.read_text()
        assert sum(text.count(f'{{"{word}": ') for word in ("predictions", "error")) == sum(
            json.dumps(each.answer).count(f'{{"{word}": ') for each in shown(text) for word in ("predictions", "error")
        )


def test_the_openapi_document_shows_the_stored_examples_only(client: httpx.Client) -> None:
    """Fault 30, too: the batch holds several reviews, one of them bad."""
    document = client.get("/openapi.json").json()
    operation, schemas = document["paths"]["/predict"]["post"], document["components"]["schemas"]
    requests = [each["request"] for each in EXAMPLES.values()]
    answers = [each["answer"] for each in EXAMPLES.values()]

    def values(content: dict[str, Any]) -> list[Any]:
        return [each["value"] for each in content["content"]["application/json"]["examples"].values()]

    assert values(operation["requestBody"]) == requests
    assert values(operation["responses"]["200"]) == answers
    assert [schemas[name]["examples"] for name in ("ReviewIn", "BatchIn")] == [[each] for each in requests]
    assert [schemas[name]["examples"] for name in ("Answer", "BatchAnswer")] == [[each] for each in answers]
    assert ["error" in each for each in answers[1]["predictions"]] == [False, False, True]


def test_pages_are_rewritten_in_lines_that_fit() -> None:
    page = "$ curl x/predict -H 'a: b' \\\n    -d '{\"text\": \"a\"}'\n\nanswers\n\n    {}\n\nand so on {}\n"
    answer = {"words": ["several, words"] * 20, "numbers": {str(n): n / 7 for n in range(20)}, "more": [], "none": {}}
    again = rewritten(page, lambda request: {"of": request, **answer})
    (found,) = shown(again)
    assert found.answer == {"of": {"text": "a"}, **answer}
    assert max(map(len, again.splitlines())) <= 120
    assert again.startswith(page[: page.index("    {}")]) and again.endswith("\n\nand so on {}\n")
    assert formed({"short": 1}, "") == '{"short": 1}'
