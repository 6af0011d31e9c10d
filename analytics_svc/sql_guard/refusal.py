"""What the guard says when it does not let a statement through."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from sqlglot import exp

from svc_runtime.errors import InvalidArgumentError, Violation


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in the statement; line and column count from 1."""

    line: int
    column: int


START = Position(1, 1)


class SqlRefusedError(InvalidArgumentError):
    """A statement that may not run.

    ``position`` is where, None for what has no place of its own; ``allowed`` says what may be written instead. Quotes
    names of the statement itself, and nothing that the store holds.
    """

    def __init__(self, message: str, position: Position | None = START, *, allowed: str = "") -> None:
        where = f"{message} (line {position.line}, column {position.column})" if position else message
        text = f"{where}; {allowed}" if allowed else where
        super().__init__(text, reason="SQL_REFUSED", violations=[Violation("sql", text)])
        self.position = position
        self.allowed = allowed


def position_of(node: exp.Expr) -> Position:
    """Return where the first named or spelled out part of ``node`` stands."""
    known = [part.meta for part in node.walk() if part.meta.get("start") is not None]
    if not known:
        return START
    first = min(known, key=lambda meta: meta["start"])
    return Position(first["line"], max(1, first["col"] - (first["end"] - first["start"])))


def refuse(node: exp.Expr, message: str, allowed: str = "") -> SqlRefusedError:
    """Return the refusal of ``node``, with its place."""
    return SqlRefusedError(message, position_of(node), allowed=allowed)


def shown(text: str) -> str:
    """Return ``text`` fit for a message: printable, and not long."""
    printable = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    return printable if len(printable) <= 60 else f"{printable[:57]}..."


def nearest(name: str, names: Iterable[str]) -> str:
    """Return a hint at the names that look most like ``name``, or nothing."""
    close = difflib.get_close_matches(name, sorted(names), n=3)
    return f"did you mean {', '.join(close)}?" if close else ""
