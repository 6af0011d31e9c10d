"""Protobuf schemas as ClickHouse reads them."""

from pathlib import Path

import pytest

from svc_runtime.clickhouse import parse_dsn
from svc_runtime.protobuf_schema import file_settings, inline_settings, schema_settings, schema_text
from trellis.capture.v1 import event_pb2

EVENT = event_pb2.Event.DESCRIPTOR


def test_a_schema_of_some_fields_has_no_other() -> None:
    assert schema_text(EVENT, ["marks", "event_id", "sequence"]) == (
        'syntax = "proto3";\nmessage Event {\n'
        f"  repeated string marks = {EVENT.fields_by_name['marks'].number};\n"
        f"  string event_id = {EVENT.fields_by_name['event_id'].number};\n"
        f"  uint64 sequence = {EVENT.fields_by_name['sequence'].number};\n"
        "}\n"
    )


def test_a_message_within_a_message_has_no_schema() -> None:
    with pytest.raises(ValueError, match=r"EventBatch\.events"):
        schema_text(event_pb2.EventBatch.DESCRIPTOR)


def test_a_server_gets_the_text_and_an_engine_a_file(tmp_path: Path) -> None:
    server = parse_dsn("clickhouse://ch", default_database="x")
    assert schema_settings(server, EVENT) == inline_settings(EVENT)
    assert inline_settings(EVENT)["format_schema"] == schema_text(EVENT)
    engine = parse_dsn(f"chdb://{tmp_path}", default_database="x")
    found = schema_settings(engine, EVENT, ["event_id"])
    assert found == file_settings(EVENT, tmp_path / "format_schemas", ["event_id"])
    assert (found["format_schema_source"], found["format_schema_message_name"]) == ("file", "Event")
    assert Path(found["format_schema"]).read_text() == schema_text(EVENT, ["event_id"])


def test_schemas_of_different_fields_have_files_of_their_own(tmp_path: Path) -> None:
    files = {file_settings(EVENT, tmp_path, fields)["format_schema"] for fields in (None, ["event_id"], None)}
    assert len(files) == 2
    assert {str(path) for path in tmp_path.iterdir()} == files
