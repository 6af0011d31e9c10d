"""The page that shows the OpenAPI document to people: one self-contained HTML file, made once."""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from string import Template
from typing import Any

from ingress_gateway.openapi.curl import curl
from ingress_gateway.openapi.markup import Html, inline, join, paragraphs, tag
from ingress_gateway.openapi.parts import PROBLEM_TYPE, Json
from ingress_gateway.openapi.pieces import (
    access_note,
    command_box,
    json_code,
    kind_of,
    limits_note,
    method_badge,
    path_code,
    reasons_of,
    required_note,
    separated,
    table,
)

_METHODS = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True, slots=True)
class Page:
    """An HTML page and the Content-Security-Policy that lets it do what it does, and nothing else."""

    html: bytes
    security_policy: str


def render_page(document: Json) -> Page:
    """Return the page of an OpenAPI document."""
    static = resources.files("ingress_gateway") / "static"
    style, script, skeleton = ((static / name).read_text() for name in ("docs.css", "docs.js", "docs.html"))
    renderer = _Renderer(document)
    html = Template(skeleton).substitute(
        style=style, script=script, title=document["info"]["title"], nav=renderer.nav(), main=renderer.main()
    )
    policy = (
        f"default-src 'none'; style-src '{_source_hash(style)}'; script-src '{_source_hash(script)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return Page(html.encode(), policy)


def _source_hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


class _Renderer:
    """Turns the parts of one document into HTML."""

    def __init__(self, document: Json) -> None:
        self._document = document

    # -- the page -------------------------------------------------------------------------------------------------

    def nav(self) -> Html:
        """Return the table of contents."""
        above = [tag("li", tag("a", "Start here", href="#start")), tag("li", tag("a", "Errors", href="#errors"))]
        groups = [tag("section", tag("ul", *above))]
        for group in self._document["tags"]:
            items = [
                tag(
                    "li",
                    tag(
                        "a",
                        method_badge(method),
                        tag("span", operation["summary"]),
                        href=f"#{operation['operationId']}",
                    ),
                    data_for=operation["operationId"],
                )
                for method, _, operation in self._operations(group["name"])
            ]
            groups.append(tag("section", tag("h2", group["name"]), tag("ul", *items)))
        return join(*groups)

    def main(self) -> Html:
        """Return everything else."""
        groups = []
        for group in self._document["tags"]:
            articles = [self._operation(*found) for found in self._operations(group["name"])]
            head = tag("header", tag("h2", group["name"]), tag("p", inline(group["description"])))
            groups.append(tag("section", head, *articles, class_="group"))
        return join(self._start(), self._errors(), *groups)

    def _start(self) -> Html:
        info = self._document["info"]
        key = join("export TRELLIS_KEY=wdn_sk_live_acmecorp_key   # the demo's; use your own")
        return tag(
            "section",
            tag("h1", info["title"], " ", tag("small", f"HTTP API, version {info['version']}")),
            tag("p", info["summary"], class_="lead"),
            paragraphs(info["description"]),
            tag("h2", "Try it"),
            tag(
                "p", "The commands on this page take your secret key from the environment. Follow a link, then find it:"
            ),
            *(command_box(command) for command in (key, self._example("follow_link"), self._example("list_events"))),
            tag("p", "For programs: ", tag("a", "openapi.json", href="/openapi.json"), " (OpenAPI 3.1)."),
            id="start",
        )

    def _errors(self) -> Html:
        rows: dict[tuple[int, str], str] = {}
        for response in self._document["components"]["responses"].values():
            examples = response["content"][PROBLEM_TYPE].get("examples", {})
            for reason, example in examples.items():
                body = example["value"]
                rows.setdefault((body["status"], reason), body["detail"])
        cells = [
            tag("tr", tag("td", str(status)), tag("td", tag("code", reason)), tag("td", inline(detail)))
            for (status, reason), detail in sorted(rows.items())
        ]
        example = self._document["components"]["responses"]["BadRequest"]["content"][PROBLEM_TYPE]["examples"]
        return tag(
            "section",
            tag("h2", "Errors"),
            tag("p", inline("Every error that is not an image or a page for people is `application/problem+json`.")),
            json_code(next(iter(example.values()))["value"]),
            table(("Status", "Reason", "For example"), cells),
            id="errors",
        )

    # -- an operation ---------------------------------------------------------------------------------------------

    def _operations(self, group: str) -> Iterator[tuple[str, str, Json]]:
        for path, item in self._document["paths"].items():
            for method in _METHODS:
                if method in item and group in item[method]["tags"]:
                    yield method, path, item[method]

    def _operation(self, method: str, path: str, operation: Json) -> Html:
        name = operation["operationId"]
        parameters = self._parameters_of(operation)
        heading = tag("h3", operation["summary"], tag("a", "#", href=f"#{name}", aria_label="Link to this call"))
        return tag(
            "article",
            heading,
            tag("p", method_badge(method), path_code(path), class_="endpoint"),
            paragraphs(operation["description"]),
            access_note(operation),
            command_box(curl(method, path, operation, parameters)),
            _parameters(parameters),
            self._body(operation),
            self._answers(operation),
            id=name,
            data_words=f"{method} {path} {operation['summary']} {name}".lower(),
        )

    def _example(self, operation_id: str) -> Html:
        for group in self._document["tags"]:
            for method, path, operation in self._operations(group["name"]):
                if operation["operationId"] == operation_id:
                    return curl(method, path, operation, self._parameters_of(operation))
        raise KeyError(operation_id)

    def _parameters_of(self, operation: Json) -> list[Json]:
        return [self._resolved(parameter) for parameter in operation.get("parameters", ())]

    def _body(self, operation: Json) -> Html:
        if "requestBody" not in operation:
            return Html()
        body = operation["requestBody"]
        parts: list[Html] = [tag("h4", "Body", required_note(body.get("required", False)))]
        if "description" in body:
            parts.append(tag("p", inline(body["description"])))
        for content_type, described in body["content"].items():
            schema = self._resolved(described["schema"])
            kind = tag("code", content_type)
            text = schema.get("description", "")
            parts.append(tag("p", kind, join(": ", inline(text)) if text else ""))
            parts.append(self._fields(schema))
        return join(*parts)

    def _answers(self, operation: Json) -> Html:
        parts: list[Html] = [tag("h4", "Answers")]
        errors = []
        for status, response in operation["responses"].items():
            if status == "default" or PROBLEM_TYPE in self._resolved(response).get("content", {}):
                errors.append((status, self._resolved(response)))
            else:
                parts.append(self._answer(status, response))
        reasons = [
            join(tag("a", status, href="#errors"), " ", *separated(reasons_of(response)))
            for status, response in errors
            if status != "default"
        ]
        if reasons:
            parts.append(tag("ul", *(tag("li", reason) for reason in reasons), class_="errors"))
        return join(*parts)

    def _answer(self, status: str, response: Json) -> Html:
        content = response.get("content", {})
        kinds = separated([tag("code", content_type) for content_type in content])
        summary = tag("p", tag("strong", status), " ", inline(response["description"]), " ", *kinds, class_="answer")
        headers = [
            tag("li", tag("code", name), " ", inline(self._resolved(header)["description"]))
            for name, header in response.get("headers", {}).items()
        ]
        details = []
        for described in content.values():
            schema = self._resolved(described["schema"])
            if "example" in described and isinstance(described["example"], dict):
                details.append(tag("details", tag("summary", "Example"), json_code(described["example"])))
            if "properties" in schema:
                details.append(tag("details", tag("summary", "Fields"), self._fields(schema)))
        return join(summary, tag("ul", *headers, class_="headers") if headers else "", *details)

    # -- schemas --------------------------------------------------------------------------------------------------

    def _fields(self, schema: Json) -> Html:
        rows = list(self._rows(schema, "", schema.get("additionalProperties") is False))
        return table(("Field", "Type", "Meaning"), rows) if rows else Html()

    def _rows(self, schema: Json, prefix: str, is_wish: bool) -> Iterator[Html]:
        for name, given in schema.get("properties", {}).items():
            described = self._resolved(given) | {k: v for k, v in given.items() if k != "$ref"}
            is_required = is_wish and name in schema.get("required", ())
            yield tag(
                "tr",
                tag("td", tag("code", prefix + name), required_note(is_required)),
                tag("td", tag("span", kind_of(described), class_="kind")),
                tag("td", inline(described.get("description", "")), limits_note(described)),
            )
            items = self._resolved(described.get("items", {}))
            if "properties" in items:
                yield from self._rows(items, f"{prefix}{name}[].", is_wish)
            elif "properties" in described:
                yield from self._rows(described, f"{prefix}{name}.", is_wish)

    def _resolved(self, part: Json) -> Json:
        """Follow a reference, if it is one."""
        if "$ref" not in part:
            return part
        found: Any = self._document
        for step in part["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        resolved: Json = found
        return resolved


def _parameters(parameters: list[Json]) -> Html:
    if not parameters:
        return Html()
    rows = [
        tag(
            "tr",
            tag("td", tag("code", p["name"]), required_note(p.get("required", False))),
            tag("td", p["in"], tag("br"), tag("span", kind_of(p["schema"]), class_="kind")),
            tag("td", inline(p["description"]), limits_note(p["schema"])),
        )
        for p in parameters
    ]
    return join(tag("h4", "Parameters"), table(("Name", "In", "Meaning"), rows))
