"""The document is valid, whole, and says nothing that is not so."""

import re
from typing import Any

import pytest
from openapi_spec_validator import validate

from ingress_gateway.openapi.document import openapi_document
from ingress_gateway.routes.keys import LONGEST_OVERLAP_SECONDS
from ingress_gateway.routes.table import routes
from svc_runtime.paging import LARGEST_PAGE_SIZE
from svc_runtime.scopes import SCOPES
from tests.contract.gateway_api.description import Description
from trellis.type.v1.error_reason_pb2 import ErrorReason

DESCRIPTION = Description(openapi_document())
NAMED = pytest.mark.parametrize(
    ("method", "path", "operation"),
    DESCRIPTION.operations(),
    ids=[operation["operationId"] for _, _, operation in DESCRIPTION.operations()],
)


def test_the_document_is_valid() -> None:
    validate(openapi_document())


def test_every_route_is_described() -> None:
    described = {(method.upper(), path) for method, path, _ in DESCRIPTION.operations()}
    for route in routes():
        # HEAD goes with GET. Routes that take any method are described as browsers and networks use them.
        for method in set(route.methods or ("GET",)) - {"HEAD"}:
            assert (method, route.template) in described, f"{method} {route.template} is not described"


def test_everything_described_is_a_route() -> None:
    for method, path, _ in DESCRIPTION.operations():
        found = [route for route in routes() if route.template == path]
        assert any(not route.methods or method.upper() in route.methods for route in found), f"{method} {path}"


@NAMED
def test_a_path_names_its_variables(method: str, path: str, operation: dict[str, Any]) -> None:
    parameters = [DESCRIPTION.resolved(parameter) for parameter in operation.get("parameters", ())]
    named = [parameter["name"] for parameter in parameters if parameter["in"] == "path"]
    assert named == re.findall(r"\{(\w+)\}", path)
    assert all("example" in parameter for parameter in parameters if parameter["in"] == "path")


@NAMED
def test_examples_fit_their_schemas(method: str, path: str, operation: dict[str, Any]) -> None:
    bodies = [operation["requestBody"]] if "requestBody" in operation else []
    answers = [DESCRIPTION.resolved(answer) for answer in operation["responses"].values()]
    for part in [*bodies, *answers]:
        for described in part.get("content", {}).values():
            examples = [example["value"] for example in described.get("examples", {}).values()]
            examples += [described["example"]] if "example" in described else []
            for example in examples:
                DESCRIPTION.validate(example, described["schema"])


NAMES_A_THING = {
    "create_key",
    "get_attribution_settings",
    "ask_attribution_report",
    "query_campaigns",
    "ask_query_campaigns",
    "list_journeys",
    "ask_list_journeys",
    "attribute_journey",
}
"""Calls that name a role, campaign or visitor elsewhere than in their path."""


@NAMED
def test_a_management_call_says_what_it_needs_and_how_it_fails(
    method: str, path: str, operation: dict[str, Any]
) -> None:
    if not path.startswith("/api/"):
        return
    ((scope,),) = [way["secret_key"] for way in operation["security"]]
    assert scope in SCOPES
    statuses = set(operation["responses"])
    assert {"400", "401", "403", "503", "504", "default"} <= statuses
    assert ("404" in statuses) == ("{" in path or operation["operationId"] in NAMES_A_THING)
    assert ("413" in statuses) == ("requestBody" in operation)


def test_every_reason_is_told_and_none_is_made_up() -> None:
    known = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.keys()} - {"UNSPECIFIED"}  # noqa: SIM118 - an enum, no dict
    told = set(
        re.findall(
            r"\b[A-Z]+(?:_[A-Z]+)+\b|\bINTERNAL\b|\bUNAVAILABLE\b", str(DESCRIPTION.document["components"]["responses"])
        )
    )
    assert told == known


def test_what_is_written_once_is_used() -> None:
    text = str(DESCRIPTION.document)
    for kind, parts in DESCRIPTION.document["components"].items():
        for name in parts:
            if kind != "securitySchemes":
                assert f"'#/components/{kind}/{name}'" in text, f"nothing refers to {name}"


def test_limits_are_those_of_the_routes() -> None:
    parameters = DESCRIPTION.document["components"]["parameters"]
    assert parameters["page_size"]["schema"]["maximum"] == LARGEST_PAGE_SIZE
    overlap = DESCRIPTION.document["components"]["schemas"]["Rotation"]["properties"]["overlap_seconds"]
    assert overlap["maximum"] == LONGEST_OVERLAP_SECONDS


def test_groups_are_those_that_are_described() -> None:
    groups = [group["name"] for group in DESCRIPTION.document["tags"]]
    assert list(dict.fromkeys(operation["tags"][0] for _, _, operation in DESCRIPTION.operations())) == groups
