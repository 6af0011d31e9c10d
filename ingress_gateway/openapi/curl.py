"""A command line that makes an operation's example request."""

import shlex
from typing import Any
from urllib.parse import quote, urlencode

import orjson

from ingress_gateway.openapi.markup import Html, join, tag
from ingress_gateway.openapi.parts import Json

ORIGIN = "http://127.0.0.1:8080"
"""Where a new installation listens. The page puts its own address in its place."""
TRACKING_HOST = "track.acmecorp.com"
_CONTINUED = " \\\n  "


def curl(method: str, path: str, operation: Json, parameters: list[Json]) -> Html:
    """Return the command, as the inside of a ``pre``."""
    words: list[str] = ["curl -si" if _redirects(operation) else "curl -s"]
    content_type, example = _body(operation)
    # What curl takes for granted need not be said.
    if method != ("post" if content_type else "get"):
        words.append(f"-X {method.upper()}")
    words += [f"-H {shlex.quote(header)}" for header in _headers(operation, parameters)]
    if _takes_secret_key(operation):
        words.append('-H "Authorization: Bearer $TRELLIS_KEY"')
    if content_type:
        words += [f"-H 'Content-Type: {content_type}'", _data(example)]
    url = join("'", tag("span", ORIGIN, class_="origin"), _target(path, parameters), "'")
    return join(_CONTINUED.join([" ".join(words[:2]), *words[2:]]), _CONTINUED if len(words) > 1 else " ", url)


def _data(example: Any) -> str:
    """Return a body; text keeps its lines."""
    if isinstance(example, str):
        return f"--data-binary {shlex.quote(example)}"
    return f"-d {shlex.quote(orjson.dumps(example).decode())}"


def _target(path: str, parameters: list[Json]) -> str:
    pairs: list[tuple[str, Any]] = []
    for parameter in parameters:
        example = parameter.get("example")
        if example is None:
            continue
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", quote(str(example), safe=""))
        elif parameter["in"] == "query":
            pairs += example.items() if isinstance(example, dict) else [(parameter["name"], example)]
    return path + (f"?{urlencode(pairs)}" if pairs else "")


def _headers(operation: Json, parameters: list[Json]) -> list[str]:
    host = [f"Host: {TRACKING_HOST}"] if {} in operation["security"] else []
    return host + [f"{p['name']}: {p['example']}" for p in parameters if p["in"] == "header" and "example" in p]


def _takes_secret_key(operation: Json) -> bool:
    return {} not in operation["security"] and any("secret_key" in way for way in operation["security"])


def _redirects(operation: Json) -> bool:
    return "302" in operation["responses"]


def _body(operation: Json) -> tuple[str, Any]:
    for content_type, described in operation.get("requestBody", {}).get("content", {}).items():
        if described.get("example"):
            return content_type, described["example"]
    return "", None
