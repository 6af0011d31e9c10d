"""Reads a CSV file: in which encoding, with which delimiter, what its columns are, and its rows."""

import codecs
import csv
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from enrichment.parameters import DEFAULT_ALIASES, from_pairs
from svc_runtime.errors import InvalidArgumentError, TooLargeError, Violation

MOST_COLUMNS = 500
LONGEST_ROW = 1024 * 1024
"""Characters of a row, over all its lines; the header's too. A file may be one row, and memory is many times that."""
_PIECE = 256 * 1024
_DELIMITERS = ",;\t|"
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_FINDING = ("click_id", "external_id", "transaction_id")
"""One of these says what a row is about."""


@dataclass(frozen=True, slots=True)
class CsvFile:
    """What a file was found to be."""

    digest: str
    """SHA-256 of its bytes, in hexadecimal."""
    encoding: str
    delimiter: str
    columns: tuple[str, ...]
    row_count: int


@dataclass(frozen=True, slots=True)
class CsvRow:
    """A row."""

    number: int
    """From 1, the header and empty lines not counted."""
    line: int
    """Where it ends in the file, from 1."""
    values: list[str]


def inspect(file: BinaryIO, *, most_rows: int) -> CsvFile:
    """Look a file through. Blocks.

    Raise InvalidArgumentError where it cannot be read or has no column that says which click or order a row is about,
    TooLargeError for more than ``most_rows``.
    """
    digest, encoding = _digest_and_encoding(file)
    text = _text(file, encoding)
    try:
        first = next(filter(str.strip, _BoundedLines(text)))
    except StopIteration:
        raise _refused("is empty: the first line must name the columns") from None
    finally:
        text.detach()
    delimiter = _delimiter(first)
    columns: tuple[str, ...] = ()
    count = 0
    for row in _lines(file, encoding, delimiter):
        if not columns:
            columns = tuple(name.strip() for name in row.values)
            _check(columns)
            continue
        count += 1
        if count > most_rows:
            raise TooLargeError(f"the file has more than {most_rows} rows, the limit")
    return CsvFile(digest, encoding, delimiter, columns, count)


def rows_of(file: BinaryIO, found: CsvFile) -> Iterator[CsvRow]:
    """Yield the rows. Blocks."""
    lines = _lines(file, found.encoding, found.delimiter)
    next(lines)
    yield from lines


class _BoundedLines(Iterator[str]):
    """The lines of a text, until those of one row grow out of bounds."""

    def __init__(self, text: io.TextIOBase) -> None:
        self._text = text
        self._number = 0
        self._room = LONGEST_ROW

    def __next__(self) -> str:
        """Return the next line; raise InvalidArgumentError where the row that it is of is too long."""
        line = self._text.readline(self._room + 1)
        if not line:
            raise StopIteration
        self._number += 1
        if len(line) > self._room:
            raise _refused(f"has a row of more than {LONGEST_ROW} characters, the limit, at line {self._number}")
        self._room -= len(line)
        return line

    def end_row(self) -> None:
        """Begin another row with the next line."""
        self._room = LONGEST_ROW


def _lines(file: BinaryIO, encoding: str, delimiter: str) -> Iterator[CsvRow]:
    """Yield the header, as row 0, and the rows; lines without anything are none."""
    text = _text(file, encoding)
    lines = _BoundedLines(text)
    reader = csv.reader(lines, delimiter=delimiter)
    number = 0
    try:
        for values in reader:
            lines.end_row()
            if any(map(str.strip, values)):
                yield CsvRow(number, reader.line_num, values)
                number += 1
    except csv.Error as error:
        raise _refused(f"is no CSV at line {reader.line_num}: {error}") from None
    finally:
        text.detach()


def _text(file: BinaryIO, encoding: str) -> io.TextIOWrapper:
    file.seek(0)
    return io.TextIOWrapper(file, encoding=encoding, errors="replace", newline="")


def _digest_and_encoding(file: BinaryIO) -> tuple[str, str]:
    """Return what names the file's bytes, and UTF-8 where they are that; else what spreadsheets of old write."""
    file.seek(0)
    digest, decoder, is_utf8 = hashlib.sha256(), codecs.getincrementaldecoder("utf-8")(), True
    start = b""
    while piece := file.read(_PIECE):
        start = start or piece[:4]
        digest.update(piece)
        try:
            decoder.decode(piece)
        except UnicodeDecodeError:
            is_utf8 = False
            decoder.reset()
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            return digest.hexdigest(), encoding
    return digest.hexdigest(), "utf-8" if is_utf8 else "cp1252"


def _delimiter(header: str) -> str:
    """Return what stands most often between the names of columns."""
    outside = "".join(header.split('"')[::2])
    return max(_DELIMITERS, key=outside.count)


def _check(columns: tuple[str, ...]) -> None:
    """Raise InvalidArgumentError for a header that cannot be one."""
    if len(columns) > MOST_COLUMNS:
        raise _refused(f"has {len(columns)} columns; the limit is {MOST_COLUMNS}")
    names = [name.lower() for name in columns]
    for place, name in enumerate(names, start=1):
        if not name:
            raise _refused(f"has no name for column {place}: the first line must name the columns")
        if names.index(name) != place - 1:
            raise _refused(f"has two columns named {columns[place - 1][:80]!r}")
    found = DEFAULT_ALIASES.resolve(from_pairs((name.encode("utf-8", "replace"), b"x") for name in columns))
    if not any(field in found for field in _FINDING):
        shown = ", ".join(repr(name[:40]) for name in columns[:10])
        raise _refused(f"names no column of click or order ids, such as click_id or order_id; there are {shown}")


def _refused(why: str) -> InvalidArgumentError:
    return InvalidArgumentError.of([Violation("file", why)])
