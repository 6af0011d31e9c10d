"""Holds what the gateway answers to what its OpenAPI document says."""

import copy
import re
from collections.abc import Mapping
from typing import Any

import jsonschema
import orjson

from ingress_gateway.instants import parse_instant

Json = dict[str, Any]
METHODS = ("get", "post", "put", "patch", "delete")
_FORMATS = jsonschema.FormatChecker(formats=())
_FORMATS.checks("date-time")(lambda value: not isinstance(value, str) or parse_instant(value) is not None)


class Description:
    """An OpenAPI document, ready to compare answers with."""

    def __init__(self, document: Json) -> None:
        self.document = document
        self._closed = closed(document["components"])
        self._patterns = [
            (re.compile(re.sub(r"\\\{\w+\\\}", "[^/:]+", re.escape(path))), path) for path in document["paths"]
        ]

    def operations(self) -> list[tuple[str, str, Json]]:
        """Return (method, path template, operation) of everything described."""
        return [
            (method, path, item[method])
            for path, item in self.document["paths"].items()
            for method in METHODS
            if method in item
        ]

    def resolved(self, part: Json) -> Json:
        """Follow a reference, if it is one."""
        found: Any = part
        if "$ref" in part:
            found = self.document
            for step in part["$ref"].removeprefix("#/").split("/"):
                found = found[step]
        resolved: Json = found
        return resolved

    def find(self, method: str, path: str) -> Json | None:
        """Return the operation that a request is for; a literal path before a template."""
        templates = [path] if path in self.document["paths"] else []
        templates += [template for pattern, template in self._patterns if pattern.fullmatch(path)]
        for template in templates:
            operation: Json | None = self.document["paths"][template].get(method.lower())
            if operation is not None:
                return operation
        return None

    def check(self, method: str, path: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Fail unless the answer is one that the document describes, with nothing in it that it does not."""
        operation = self.find("GET" if method == "HEAD" else method, path)
        if operation is None:
            assert status in (404, 405), f"{method} {path} is not described and answers {status}"
            return
        response = operation["responses"].get(str(status))
        if response is None:
            assert status in (405, 500), f"{method} {path} answers {status}, which is not described"
            response = operation["responses"]["default"]
        response = self.resolved(response)
        for name in response.get("headers", {}):
            required = ("Retry-After", "WWW-Authenticate", "Location", "ETag", "X-Trellis-Outcome")
            assert name not in required or name in headers, f"{method} {path} {status} has no {name}"
        if method == "HEAD":
            return
        self._check_body(response.get("content", {}), headers.get("Content-Type", ""), body)

    def _check_body(self, content: Json, content_type: str, body: bytes) -> None:
        if not content:
            assert body == b""
            return
        media_type = content_type.partition(";")[0]
        assert media_type in content, f"{media_type} is not among {list(content)}"
        if media_type.endswith("json"):
            self.validate(orjson.loads(body), content[media_type]["schema"])

    def validate(self, value: Any, schema: Json) -> None:
        """Fail unless a value fits a schema, with no member that the schema does not name."""
        whole = {**closed(schema), "components": self._closed}
        jsonschema.Draft202012Validator(whole, format_checker=_FORMATS).validate(value)


def closed(schema: Any) -> Any:
    """Return a schema whose objects take no members but those named."""
    schema = copy.deepcopy(schema)
    _close(schema)
    return schema


def _close(part: Any) -> None:
    if isinstance(part, dict):
        if part.get("type") == "object" and "properties" in part:
            part.setdefault("additionalProperties", False)
        for inner in part.values():
            _close(inner)
    elif isinstance(part, list):
        for inner in part:
            _close(inner)
