"""Shows what Warden answered: tables for people, JSON for machines."""

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.table import Table
from rich.text import Text

_PIPE_WIDTH = 250

Columns = Mapping[str, Callable[[Any], str]]
"""Titles of a table's columns and how to read each from an item."""


def table(items: Iterable[Message], columns: Columns, *, as_json: bool) -> None:
    """Show a list."""
    if as_json:
        _print_json([_plain(item) for item in items])
        return
    grid = Table(box=None, pad_edge=False)
    for title in columns:
        grid.add_column(title, overflow="fold")
    for item in items:
        # As text, so that nobody's name is read as markup.
        grid.add_row(*(Text(read(item)) for read in columns.values()))
    _console().print(grid)


def one(item: Message, columns: Columns, *, as_json: bool) -> None:
    """Show one thing."""
    if as_json:
        _print_json(_plain(item))
    else:
        table([item], columns, as_json=False)


def key_made(answer: Message, secret: str, columns: Columns, key: Message, *, as_json: bool) -> None:
    """Show a new key in full, this once."""
    if as_json:
        _print_json(_plain(answer))
        return
    table([key], columns, as_json=False)
    print(f"\n{secret}\n")
    sys.stderr.write("Keep it safe now: it is shown this once and stored nowhere.\n")


def instant(stamp: Timestamp) -> str:
    """Write an instant to the second in UTC; empty for one that is not set."""
    if not stamp.seconds:
        return ""
    return stamp.ToDatetime(tzinfo=UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def name_of(enum: Any, prefix: str, number: int) -> str:
    """Write an enum's value as people say it."""
    name: str = enum.Name(number)
    return name.removeprefix(prefix).lower()


def _plain(message: Message) -> dict[str, Any]:
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def _console() -> Console:
    # A pipe has no width: nothing may be folded for it.
    return Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)
