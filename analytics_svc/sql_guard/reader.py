"""From text to a syntax tree: one SELECT, of bounded size.

sqlglot's ClickHouse dialect, with its knowledge of functions taken out: a call stays the name and the arguments
that were written. What sqlglot would make of `toStartOfHour`, for another database, must not reach ours.
"""

import logging
import re
from collections.abc import Sequence
from typing import Any, ClassVar

from sqlglot import exp
from sqlglot.dialects.clickhouse import ClickHouse
from sqlglot.errors import ParseError, TokenError
from sqlglot.parsers.clickhouse import ClickHouseParser
from sqlglot.tokenizer_core import Token, TokenType

from analytics_svc.sql_guard.limits import StatementLimits
from analytics_svc.sql_guard.refusal import START, Position, SqlRefusedError, shown

# It warns, with the statement, about what it does not know: tenants' SQL has no place in the log.
logging.getLogger("sqlglot").setLevel(logging.CRITICAL)

ONE_SELECT = "allowed is one SELECT, also with WITH or UNION"
ORDER = "placeholder"
"""Key in a placeholder's ``meta``: its number in the text, from 0."""

_OPENING = {TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.L_BRACE}
_CLOSING = {TokenType.R_PAREN, TokenType.R_BRACKET, TokenType.R_BRACE}


class _Parser(ClickHouseParser):
    FUNCTIONS: ClassVar[Any] = {}
    FUNCTION_PARSERS: ClassVar[Any] = {name: ClickHouseParser.FUNCTION_PARSERS[name] for name in ("CAST", "EXTRACT")}
    NO_PAREN_FUNCTIONS: ClassVar[Any] = {}
    NO_PAREN_FUNCTION_PARSERS: ClassVar[Any] = {"CASE": ClickHouseParser.NO_PAREN_FUNCTION_PARSERS["CASE"]}
    STATEMENT_PARSERS: ClassVar[Any] = {}
    PROPERTY_PARSERS: ClassVar[Any] = {}

    def expression(self, expression: Any, token: Any = None, comments: Any = None) -> Any:
        """Build a node, and note where: sqlglot does so for names only."""
        node = super().expression(expression, token=token, comments=comments)
        if self._prev and node.meta.get("start") is None:
            node.update_positions(token or self._prev)
        return node


# A bare UNION is DISTINCT in SQL, and an error in ClickHouse.
_DISTINCT: dict[type[exp.Expr], bool | None] = {exp.Except: False, exp.Intersect: False, exp.Union: True}


class _Dialect(ClickHouse):
    # As written: `x[1]` stays `x[1]`.
    INDEX_OFFSET = 0
    SET_OP_DISTINCT_BY_DEFAULT = _DISTINCT
    Parser = _Parser


_dialect = _Dialect()


def read(sql: str, limits: StatementLimits) -> exp.Query:
    """Parse the one SELECT that ``sql`` has to be. Raises SqlRefusedError, whatever the text."""
    try:
        size = len(sql.encode())
    except UnicodeEncodeError:
        raise SqlRefusedError("the statement is not Unicode text") from None
    if size > limits.text_bytes:
        raise SqlRefusedError(f"the statement has {size} bytes, at most {limits.text_bytes} are taken")
    try:
        tokens = _one_statement(_tokens(sql), limits)
        trees = _dialect.parser().parse(tokens, sql)
    except ParseError as error:
        raise _unreadable(error) from None
    except RecursionError:
        raise SqlRefusedError("the statement is nested too deeply") from None
    tree = trees[0] if len(trees) == 1 else None
    if not isinstance(tree, exp.Query):
        raise SqlRefusedError("this is not a query", allowed=ONE_SELECT)
    _check_size(tree, limits)
    _number_placeholders(tree)
    return tree


def _tokens(sql: str) -> Sequence[Token]:
    try:
        return _dialect.tokenize(sql)
    except (TokenError, ValueError, IndexError) as error:
        found = re.search(r"from \d+:(\d+)$", str(error.__cause__))
        place = _position(sql, int(found[1]) if found else sql.rfind("/*"))
        raise SqlRefusedError("a string, a name in quotes or a comment has no end, or is none", place) from None


def _position(sql: str, offset: int) -> Position:
    before = sql[: max(0, offset)]
    return Position(before.count("\n") + 1, len(before) - before.rfind("\n"))


def _one_statement(tokens: Sequence[Token], limits: StatementLimits) -> list[Token]:
    if len(tokens) > limits.tokens:
        place = _place(tokens[limits.tokens])
        raise SqlRefusedError(f"the statement has more than {limits.tokens} words and signs", place)
    kept = [token for token in tokens if token.token_type is not TokenType.SEMICOLON]
    ends = [index for index, token in enumerate(tokens) if token.token_type is TokenType.SEMICOLON]
    if ends and ends[0] < len(kept):
        raise SqlRefusedError("there is a second statement", _place(tokens[ends[0]]), allowed=ONE_SELECT)
    first = next((token for token in kept if token.token_type is not TokenType.L_PAREN), None)
    if first is None:
        raise SqlRefusedError("there is no statement", allowed=ONE_SELECT)
    if first.token_type not in (TokenType.SELECT, TokenType.WITH):
        raise SqlRefusedError(f"a statement cannot begin with {shown(first.text)}", _place(first), allowed=ONE_SELECT)
    _check_brackets(kept, limits)
    return kept


def _check_brackets(tokens: Sequence[Token], limits: StatementLimits) -> None:
    depth = 0
    for token in tokens:
        depth += (token.token_type in _OPENING) - (token.token_type in _CLOSING)
        if depth > limits.bracket_depth:
            raise SqlRefusedError(f"more than {limits.bracket_depth} brackets are open at once", _place(token))


def _place(token: Token) -> Position:
    return Position(token.line, max(1, token.col - (token.end - token.start)))


def _unreadable(error: ParseError) -> SqlRefusedError:
    first = error.errors[0] if error.errors else {}
    highlight = first.get("highlight") or ""
    line, column = first.get("line") or START.line, first.get("col") or START.column
    near = f" near {shown(highlight)}" if highlight else ""
    return SqlRefusedError(f"the statement cannot be read{near}", Position(line, max(1, column - len(highlight) + 1)))


def _check_size(tree: exp.Query, limits: StatementLimits) -> None:
    waiting: list[tuple[exp.Expr, int]] = [(tree, 1)]
    selects = 0
    while waiting:
        node, depth = waiting.pop()
        if depth > limits.tree_depth:
            raise SqlRefusedError(f"more than {limits.tree_depth} expressions are nested in each other")
        selects += isinstance(node, exp.Select)
        chain = type(node) if isinstance(node, exp.And | exp.Or | exp.SetOperation) else None
        waiting += [(child, depth + (type(child) is not chain)) for child in node.iter_expressions()]
    if selects > limits.selects:
        raise SqlRefusedError(f"the statement has {selects} SELECTs, at most {limits.selects} are taken")


def _number_placeholders(tree: exp.Query) -> None:
    unnamed = [node for node in tree.find_all(exp.Placeholder) if node.this is None]
    for number, node in enumerate(sorted(unnamed, key=lambda node: node.meta["start"])):
        node.meta[ORDER] = number
