"""`stars predict`."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from contracts.errors import BackendUnavailable, ReviewError
from contracts.options import GatewayUrl
from contracts.review import LANGUAGE

ASK_SECONDS = 30.0
STDIN_BYTES = 1024 * 1024


def predict(
    text: Annotated[str, typer.Argument(help="The review; - reads it from standard input.")],
    title: Annotated[str, typer.Option(help="Its headline.")] = "",
    category: Annotated[str, typer.Option(help="The product's category, such as Digital_Software.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole answer.")] = False,
    url: GatewayUrl = None,
) -> None:
    """Ask a running gateway for a review's stars."""
    from service.address import gateway_url
    from service.settings import load_settings

    review = {"text": _standard_input() if text == "-" else text, "title": title, "category": category}
    answer = _ask(url or gateway_url(load_settings()), review)
    if as_json:
        typer.echo(json.dumps(answer))
        return
    stars = answer["stars"]
    typer.echo(f"{'★' * stars}{'☆' * (5 - stars)}  {stars} of 5, {answer['confidence']:.0%} sure")
    for star, probability in reversed(answer["probabilities"].items()):
        typer.echo(f"  {star}  {'▇' * round(probability * 40):<40}  {probability:.1%}")
    if answer["truncated"]:
        typer.echo(f"  only {answer['tokens']} tokens of the text fit the model")
    if answer.get("unfamiliar"):  # an older gateway says nothing of it
        typer.echo(f"  the text looks like no {LANGUAGE}, which is all that the model knows: the stars mean little")
    typer.echo(f"  {answer['model']} {answer['version']}")


def _standard_input() -> str:
    data = sys.stdin.buffer.read(STDIN_BYTES + 1)
    if len(data) > STDIN_BYTES:
        raise ReviewError(f"standard input holds more than {STDIN_BYTES} bytes: give it one review")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ReviewError(f"standard input is not UTF-8 at byte {error.start}: convert it first") from None


def _ask(url: str, review: dict[str, str]) -> dict[str, Any]:
    import httpx

    try:
        content = json.dumps(review, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # bytes of the command line that no character stands for
        raise ReviewError("the review is not UTF-8: convert it first") from None
    try:
        response = httpx.post(
            f"{url.rstrip('/')}/predict",
            content=content,
            headers={"content-type": "application/json"},
            timeout=ASK_SECONDS,
            trust_env=False,
        )
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise BackendUnavailable(f"{url} is not an address: use one like http://127.0.0.1:8000") from error
    except httpx.HTTPError as error:
        raise BackendUnavailable(
            f"no gateway answers at {url}: start one with `stars up`, or give its --url"
        ) from error
    try:
        body = response.json()
        if response.status_code == 200 and {"stars", "probabilities"} <= body.keys():
            return dict(body)
        message = str(body["error"]["message"])
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise BackendUnavailable(f"what answers at {url} is not our gateway: give the right --url") from error
    raise (ReviewError if response.status_code == 422 else BackendUnavailable)(message)
