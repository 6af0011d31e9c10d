"""Statements and their answers, between the contract and ours."""

from collections.abc import Iterable

from google.protobuf import json_format

from analytics_svc.run_sql import RunningAnswer, SqlRequest, SqlTable
from analytics_svc.sql_answer import AnswerColumn, SqlFormat
from analytics_svc.sql_guard.parameters import Parameters
from svc_runtime.errors import InvalidArgumentError, Violation
from svc_runtime.timestamps import timestamp_of
from trellis.analytics.v1 import sql_pb2 as pb

_FORMATS = {
    pb.SQL_FORMAT_JSON_ROWS: SqlFormat.JSON_ROWS,
    pb.SQL_FORMAT_CSV: SqlFormat.CSV,
    pb.SQL_FORMAT_ARROW: SqlFormat.ARROW,
    pb.SQL_FORMAT_PARQUET: SqlFormat.PARQUET,
}
_LARGEST_EXACT = 2.0**53
"""A number of the contract is a double: above this it may be another than the one that was meant."""


def request_from_pb(message: pb.RunSqlRequest, *, organization_id: str, actor: str) -> SqlRequest:
    """Read a statement. Raise InvalidArgumentError, naming each field."""
    violations: list[Violation] = []
    answer_format = _FORMATS.get(message.format)
    if answer_format is None:
        violations.append(Violation("format", "must be set: JSON_ROWS, CSV, ARROW or PARQUET"))
    parameters = _parameters_from_pb(message, violations)
    if violations or answer_format is None:
        raise InvalidArgumentError.of(violations)
    return SqlRequest(organization_id, actor, message.sql, parameters, answer_format)


def _parameters_from_pb(message: pb.RunSqlRequest, violations: list[Violation]) -> Parameters:
    try:
        match message.WhichOneof("parameters"):
            case "positional":
                return [
                    _value(value, f"positional[{index}]", violations)
                    for index, value in enumerate(json_format.MessageToDict(message.positional))
                ]
            case "named":
                return {
                    name: _value(value, f"named.{name}", violations)
                    for name, value in json_format.MessageToDict(message.named).items()
                }
    except (json_format.Error, ValueError):
        violations.append(Violation("parameters", "hold a number that is none"))
    return ()


def _value(value: object, path: str, violations: list[Violation]) -> object:
    if isinstance(value, list):
        return [_value(item, path, violations) for item in value]
    if not isinstance(value, float):
        return value
    if abs(value) > _LARGEST_EXACT and value.is_integer():
        violations.append(Violation(path, "is beyond 2^53, where numbers are not exact: send a text, as {name:UInt64}"))
        return 0
    return int(value) if value.is_integer() else value


def header_to_pb(answer: RunningAnswer) -> pb.RunSqlResponse:
    """Write the first message of an answer."""
    header = pb.SqlHeader(query_id=answer.query_id, columns=_columns_to_pb(answer.columns))
    if answer.watermark_time is not None:
        header.watermark_time.CopyFrom(timestamp_of(answer.watermark_time))
    return pb.RunSqlResponse(header=header)


def summary_to_pb(answer: RunningAnswer) -> pb.RunSqlResponse:
    """Write the last message of an answer."""
    totals = answer.totals
    return pb.RunSqlResponse(
        summary=pb.SqlSummary(
            row_count=totals.row_count,
            rows_read=totals.rows_read,
            bytes_read=totals.bytes_read,
            elapsed_seconds=answer.elapsed_seconds,
        )
    )


def tables_to_pb(tables: Iterable[SqlTable]) -> pb.DescribeSqlResponse:
    """Write the tables that statements may name."""
    return pb.DescribeSqlResponse(
        tables=[
            pb.SqlTable(name=table.name, description=table.description, columns=_columns_to_pb(table.columns))
            for table in tables
        ]
    )


def _columns_to_pb(columns: Iterable[AnswerColumn]) -> list[pb.SqlColumn]:
    return [pb.SqlColumn(name=column.name, type=column.type) for column in columns]
