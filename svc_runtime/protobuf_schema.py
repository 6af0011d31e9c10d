"""The protobuf schema of a flat message as ClickHouse reads it: a text that imports nothing."""

import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from svc_runtime.clickhouse import Dsn

_TYPES = {
    getattr(FieldDescriptor, f"TYPE_{name.upper()}"): name
    for name in (
        *("bool", "bytes", "double", "float", "string", "fixed32", "fixed64", "int32", "int64"),
        *("sfixed32", "sfixed64", "sint32", "sint64", "uint32", "uint64"),
    )
}


def schema_text(descriptor: Descriptor, fields: Sequence[str] | None = None) -> str:
    """Return the schema of a message in one line per field; of ``fields`` alone where they are given.

    ClickHouse passes over the others when it reads. Raise ValueError for a field that is no scalar or a list of them.
    """
    wanted = descriptor.fields if fields is None else [descriptor.fields_by_name[name] for name in fields]
    lines = "".join(f"  {_type(field)} {field.name} = {field.number};\n" for field in wanted)
    return f'syntax = "proto3";\nmessage {descriptor.name} {{\n{lines}}}\n'


def schema_settings(dsn: Dsn, descriptor: Descriptor, fields: Sequence[str] | None = None) -> dict[str, str]:
    """Return the settings by which ClickHouse at ``dsn`` reads and writes ``ProtobufList`` of the message.

    Writes a file into the directory of an embedded engine unless it is there: blocks, raises OSError.
    """
    if dsn.is_embedded:
        return file_settings(descriptor, Path(dsn.path) / "format_schemas", fields)
    return inline_settings(descriptor, fields)


def inline_settings(descriptor: Descriptor, fields: Sequence[str] | None = None) -> dict[str, str]:
    """Return the settings for a server."""
    return {
        "format_schema_source": "string",
        "format_schema": schema_text(descriptor, fields),
        "format_schema_message_name": descriptor.name,
    }


def file_settings(descriptor: Descriptor, directory: Path, fields: Sequence[str] | None = None) -> dict[str, str]:
    """Return the settings for an embedded engine, with the schema in a file of ``directory``.

    It would keep an inline schema in the directory that the process was started in, which may be anybody's.
    """
    text = schema_text(descriptor, fields)
    file = directory / f"{descriptor.name.lower()}-{zlib.crc32(text.encode()):08x}.proto"
    if not file.exists():
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile("w", dir=directory, delete=False) as half:
            half.write(text)
        Path(half.name).replace(file)
    return {
        "format_schema_source": "file",
        "format_schema": str(file),
        "format_schema_message_name": descriptor.name,
    }


def _type(field: FieldDescriptor) -> str:
    if field.type not in _TYPES:
        raise ValueError(f"{field.full_name} is neither a scalar nor a list of them")
    return f"repeated {_TYPES[field.type]}" if field.is_repeated else _TYPES[field.type]
