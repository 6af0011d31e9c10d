"""The protobuf schema of an event as ClickHouse reads it: a text that imports nothing."""

import tempfile
import zlib
from functools import cache
from pathlib import Path

from google.protobuf.descriptor import FieldDescriptor

from trellis.capture.v1 import event_pb2

_TYPES = {
    FieldDescriptor.TYPE_BYTES: "bytes",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_UINT32: "uint32",
    FieldDescriptor.TYPE_UINT64: "uint64",
}
MESSAGE = "Event"


@cache
def event_fields() -> tuple[str, ...]:
    """Return the names of Event's fields: the columns that a batch fills."""
    return tuple(field.name for field in event_pb2.Event.DESCRIPTOR.fields)


@cache
def schema_text() -> str:
    """Return Event's schema in one line per field, made from its descriptor."""
    fields = "".join(
        f"  {'repeated ' if field.is_repeated else ''}{_TYPES[field.type]} {field.name} = {field.number};\n"
        for field in event_pb2.Event.DESCRIPTOR.fields
    )
    return f'syntax = "proto3";\nmessage {MESSAGE} {{\n{fields}}}\n'


def inline_settings() -> dict[str, str]:
    """Return the settings by which a server reads and writes ``ProtobufList`` of events."""
    return {
        "format_schema_source": "string",
        "format_schema": schema_text(),
        "format_schema_message_name": MESSAGE,
    }


def file_settings(directory: Path) -> dict[str, str]:
    """Return the same for an embedded engine, with the schema in a file of ``directory``.

    It would keep an inline schema in the directory that the process was started in, which may be anybody's.
    """
    text = schema_text()
    file = directory / f"event-{zlib.crc32(text.encode()):08x}.proto"
    if not file.exists():
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile("w", dir=directory, delete=False) as half:
            half.write(text)
        Path(half.name).replace(file)
    return {
        "format_schema_source": "file",
        "format_schema": str(file),
        "format_schema_message_name": MESSAGE,
    }
