"""The small parts of the page."""

from typing import Any

import orjson

from ingress_gateway.openapi.markup import Html, inline, join, tag
from ingress_gateway.openapi.parts import PROBLEM_TYPE, Json


def command_box(command: Html) -> Html:
    """Return a command line and the button that copies it; the script shows the button where it can work."""
    button = tag("button", "Copy", type="button", class_="copy", hidden=True)
    return tag("div", tag("pre", tag("code", command), tabindex="0"), button, class_="command")


def method_badge(method: str) -> Html:
    """Return an HTTP method in its colour."""
    return tag("span", method.upper(), class_=f"method {method}")


def path_code(path: str) -> Html:
    """Return a path, its variables set off."""
    pieces = path.replace("{", "\0{").replace("}", "}\0").split("\0")
    return tag("code", *(tag("var", piece) if piece.startswith("{") else piece for piece in pieces), class_="path")


def access_note(operation: Json) -> Html:
    """Return who may make a call."""
    ways = operation["security"]
    if not ways:
        return tag("p", "Open to anyone who reaches it.", class_="access")
    if {} in ways:
        return tag("p", inline("Needs a tracking host, or a publishable key."), class_="access")
    scopes = [scope for way in ways for scope in way.get("secret_key", ())]
    return tag("p", inline(f"Needs a secret key with the scope `{scopes[0]}`."), class_="access")


def required_note(is_required: bool) -> Html:
    """Return the word for what cannot be left out."""
    return join(" ", tag("em", "required", class_="required")) if is_required else Html()


def kind_of(schema: Json) -> str:
    """Return what kind of value a schema describes, in a word or two."""
    kind = schema.get("type", "")
    if isinstance(kind, list):
        return " or ".join(kind)
    if kind == "array":
        inner = kind_of(schema["items"]) if "$ref" not in schema["items"] else "object"
        return f"list of {inner}s" if inner else "list"
    return {"integer": "whole number", "string": _string_kind(schema)}.get(kind, kind or "object")


def _string_kind(schema: Json) -> str:
    return {"date-time": "instant", "uuid": "UUID"}.get(schema.get("format", ""), "text")


def limits_note(schema: Json) -> Html:
    """Return what narrows a value, where it does."""
    if "enum" in schema:
        return tag(
            "span", "One of ", *separated([tag("code", str(value)) for value in schema["enum"]]), class_="limits"
        )
    if "minimum" in schema and "maximum" in schema:
        return tag("span", f"{schema['minimum']:,} to {schema['maximum']:,}", class_="limits")
    return Html()


def reasons_of(response: Json) -> list[Html]:
    """Return the reasons of a problem."""
    return [tag("code", reason) for reason in response["content"][PROBLEM_TYPE].get("examples", ())]


def separated(items: list[Html]) -> list[str]:
    """Return the items with commas between them."""
    return [part for item in items for part in (", ", item)][1:]


def table(heads: tuple[str, ...], rows: list[Html]) -> Html:
    """Return a table that scrolls by itself where the page is narrow."""
    head = tag("thead", tag("tr", *(tag("th", text, scope="col") for text in heads)))
    return tag(
        "div",
        tag("table", head, tag("tbody", *rows)),
        class_="table",
        tabindex="0",
        role="region",
        aria_label=", ".join(heads),
    )


def json_code(value: Any) -> Html:
    """Return a value as indented JSON."""
    return tag("pre", tag("code", orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()), tabindex="0")
