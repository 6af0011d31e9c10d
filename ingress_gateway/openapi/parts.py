"""The words in which the paths are written: parameters, bodies, answers."""

from typing import Any

Json = dict[str, Any]

PROBLEM_TYPE = "application/problem+json"
API_PROBLEMS = ("BadRequest", "Unauthenticated", "Forbidden", "Unavailable", "DeadlineExceeded")
"""What every management and query call may answer."""
CAPTURE_PROBLEMS = ("UnknownSender", "SenderForbidden", "JournalFull")
"""What every route that refuses events may answer."""
_PROBLEM_STATUS = {
    "BadRequest": "400",
    "SqlRefused": "400",
    "Unauthenticated": "401",
    "UnknownSender": "401",
    "UnknownPartner": "401",
    "Forbidden": "403",
    "SenderForbidden": "403",
    "PartnerRefused": "403",
    "NotFound": "404",
    "NotAcceptable": "406",
    "Conflict": "409",
    "TooLarge": "413",
    "EncodingUnsupported": "415",
    "QueryLimit": "422",
    "RateLimited": "429",
    "Unavailable": "503",
    "JournalFull": "503",
    "DeadlineExceeded": "504",
    "BodyTooSlow": "504",
}


def ref(name: str) -> Json:
    """Refer to a schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def nullable(name: str, description: str) -> Json:
    """Refer to a schema of what may be null."""
    return {"anyOf": [ref(name), {"type": "null"}], "description": description}


def text(description: str, **more: Any) -> Json:
    """Describe a text."""
    return {"type": "string", "description": description, **more}


def number(description: str, **more: Any) -> Json:
    """Describe a whole number."""
    return {"type": "integer", "description": description, **more}


def instant(description: str, *, is_nullable: bool = False) -> Json:
    """Describe an instant: RFC 3339, UTC."""
    kind = ["string", "null"] if is_nullable else "string"
    return {"type": kind, "format": "date-time", "description": description}


def listing(items: Json, description: str, **more: Any) -> Json:
    """Describe a list."""
    return {"type": "array", "items": items, "description": description, **more}


def record(description: str, properties: Json, *, optional: tuple[str, ...] = ()) -> Json:
    """Describe an object; everything that is not optional is always there."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "description": description, "properties": properties, "required": required}


def wish(description: str, properties: Json, *required: str) -> Json:
    """Describe an object that a client sends; unknown members are refused."""
    schema = {"type": "object", "description": description, "properties": properties, "additionalProperties": False}
    return schema | ({"required": list(required)} if required else {})


def page(name: str, item: str, description: str) -> Json:
    """Describe a page of a list."""
    return record(
        description,
        {
            name: {"type": "array", "items": ref(item)},
            "next_page_token": text("Where the next page begins: its `page_token`. Empty on the last page."),
        },
    )


def query(name: str, schema: Json, description: str, **more: Any) -> Json:
    """Describe an optional query parameter."""
    return {"name": name, "in": "query", "description": description, "schema": schema, **more}


def path(name: str, description: str, example: str) -> Json:
    """Describe a variable of the path."""
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": {"type": "string"},
        "example": example,
    }


def header(name: str, description: str, **more: Any) -> Json:
    """Describe an optional request header."""
    return {"name": name, "in": "header", "description": description, "schema": {"type": "string"}, **more}


PAGING = [{"$ref": "#/components/parameters/page_size"}, {"$ref": "#/components/parameters/page_token"}]


def json_body(schema: Json, example: Any, *, is_required: bool = True) -> Json:
    """Describe a JSON body."""
    return {"required": is_required, "content": {"application/json": {"schema": schema, "example": example}}}


def json_answer(description: str, schema: Json, example: Any, *headers: str) -> Json:
    """Describe a JSON answer; ``headers`` are names of components."""
    return answer(description, {"application/json": {"schema": schema, "example": example}}, *headers)


def answer(description: str, content: Json, *headers: str) -> Json:
    """Describe an answer."""
    described: Json = {"description": description}
    if headers:
        described["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in headers}
    return described | ({"content": content} if content else {})


def operation(
    operation_id: str,
    tag: str,
    summary: str,
    description: str,
    *,
    security: list[Json],
    answers: Json,
    problems: tuple[str, ...] = (),
    parameters: list[Json] | None = None,
    body: Json | None = None,
) -> Json:
    """Describe an operation; ``problems`` are names of component responses."""
    described: Json = {"operationId": operation_id, "tags": [tag], "summary": summary, "description": description}
    if parameters:
        described["parameters"] = parameters
    if body:
        described["requestBody"] = body
    described["security"] = security
    named = {_PROBLEM_STATUS[name]: {"$ref": f"#/components/responses/{name}"} for name in problems}
    described["responses"] = answers | named | {"default": {"$ref": "#/components/responses/Problem"}}
    return described


def api(scope: str, operation_id: str, tag: str, summary: str, description: str, **more: Any) -> Json:
    """Describe an operation of a management or query API, which needs a secret key with ``scope``."""
    problems = (*API_PROBLEMS, *more.pop("problems", ()))
    if more.get("body"):
        problems = (*problems, "TooLarge", "EncodingUnsupported")
    return operation(
        operation_id,
        tag,
        summary,
        description,
        security=[{"secret_key": [scope]}],
        problems=problems,
        **more,
    )
