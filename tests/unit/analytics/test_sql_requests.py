"""A statement as it comes by RPC: its form, and its values, exactly."""

from typing import Any

import pytest
from google.protobuf import json_format, struct_pb2

from analytics_svc.convert.sql import request_from_pb
from analytics_svc.sql_answer import SqlFormat
from svc_runtime.errors import InvalidArgumentError
from trellis.analytics.v1 import sql_pb2 as pb


def _read(**fields: Any) -> Any:
    message = pb.RunSqlRequest(sql="SELECT 1", **{"format": pb.SQL_FORMAT_CSV, **fields})
    return request_from_pb(message, organization_id="org_a", actor="key:k")


def _list(value: Any) -> struct_pb2.ListValue:
    return json_format.ParseDict(value, struct_pb2.ListValue())


def test_a_statement_is_the_callers() -> None:
    request = _read()
    assert (request.organization_id, request.actor, request.sql) == ("org_a", "key:k", "SELECT 1")
    assert (request.answer_format, request.parameters) == (SqlFormat.CSV, ())


@pytest.mark.parametrize(
    ("name", "answer_format"),
    [
        ("JSON_ROWS", SqlFormat.JSON_ROWS),
        ("CSV", SqlFormat.CSV),
        ("ARROW", SqlFormat.ARROW),
        ("PARQUET", SqlFormat.PARQUET),
    ],
)
def test_every_form_of_the_contract_is_known(name: str, answer_format: SqlFormat) -> None:
    assert _read(format=pb.SqlFormat.Value(f"SQL_FORMAT_{name}")).answer_format is answer_format


@pytest.mark.parametrize("number", [pb.SQL_FORMAT_UNSPECIFIED, 99])
def test_a_form_must_be_chosen(number: Any) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        _read(format=number)
    assert [violation.field for violation in refused.value.violations] == ["format"]


@pytest.mark.parametrize(
    "values",
    [[], ["a", 1, -1, 2.5, True, None, ["x", 2]], [2**53, -(2**53)]],
)
def test_values_are_what_they_were(values: list[Any]) -> None:
    read = _read(positional=_list(values)).parameters
    assert read == values
    assert [type(value) for value in read] == [type(value) for value in values]


def test_named_values_keep_their_names() -> None:
    named = json_format.ParseDict({"day": "2026-01-01", "n": 3}, struct_pb2.Struct())
    assert _read(named=named).parameters == {"day": "2026-01-01", "n": 3}
    assert _read(named=struct_pb2.Struct()).parameters == {}


def test_a_number_that_may_be_another_one_is_refused_by_its_name() -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        _read(positional=_list([1, [2.0**53 * 2]]))
    assert [violation.field for violation in refused.value.violations] == ["positional[1]"]
    assert "{name:UInt64}" in refused.value.message


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_refused(number: float) -> None:
    values = struct_pb2.ListValue(values=[struct_pb2.Value(number_value=number)])
    with pytest.raises(InvalidArgumentError):
        _read(positional=values)
